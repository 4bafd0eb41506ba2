//! When something is due: with jitter, in years, by default, and not beyond the longest delay.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use handfast_client::{Client, Due, Outcome, SubmitError, Transaction, Uuid, v1};
use handfast_e2e::{Server, bank, run_with_input};
use serde_json::Value as Json;
use tempfile::TempDir;
use tokio::time::Instant;

const PATIENCE: Duration = Duration::from_secs(60);
const HOUR_MS: u64 = 3_600_000;
/// The longest delay of a namespace that says nothing.
const TEN_YEARS_MS: u64 = 315_619_200_000;

/// A server of the bank with these delays.
async fn served(settings: &str) -> anyhow::Result<(TempDir, Server, Client)> {
    let later = "CREATE TABLE later (id uuid, place int, due timestamp, body blob, problem text, \
                 PRIMARY KEY ((id, place)))";
    let delay = format!("[[table]]\ncql = \"{later}\"\n[delay]\ntable = \"later\"\n{settings}\n");
    let folder = TempDir::new()?;
    let server = Server::start(folder.path(), &[&format!("{}{delay}", bank(""))]).await?;
    let client = server.client().await?;
    Ok((folder, server, client))
}

/// Something that is due later.
fn later(due: Due) -> Transaction {
    let then = Transaction::new("bank").add("accounts", "a", ("balance", 1));
    Transaction::new("bank").later(due, then)
}

/// The time in an id.
fn time_of(id: Uuid) -> anyhow::Result<u64> {
    let (seconds, nanos) = id.get_timestamp().context("of version 7")?.to_unix();
    Ok(seconds * 1_000 + u64::from(nanos) / 1_000_000)
}

/// When each part is due, by its name, once there are so many.
async fn listed(client: &Client, count: usize) -> anyhow::Result<BTreeMap<String, u64>> {
    let end = Instant::now() + PATIENCE;
    loop {
        let namespace = "bank".to_owned();
        let request = v1::ListDelayedRequest { namespace, limit: 1_000, ..Default::default() };
        let parts = client.admin().list_delayed(request).await?.parts;
        let found: BTreeMap<_, _> = parts.into_iter().map(|it| (it.name, it.due_ms)).collect();
        if found.len() == count {
            return Ok(found);
        }
        ensure!(Instant::now() < end, "not {count} but {found:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// By how much each is due after the time in its id.
fn delays(listed: &BTreeMap<String, u64>) -> anyhow::Result<Vec<u64>> {
    let mut delays = Vec::new();
    for (name, due_ms) in listed {
        let (id, _) = name.split_once('/').context("ID/PLACE")?;
        delays.push(due_ms - time_of(id.parse()?)?);
    }
    Ok(delays)
}

/// What was refused as due too late, and how that was said.
fn too_late(answer: Result<Outcome, SubmitError>) -> anyhow::Result<String> {
    match answer {
        Err(SubmitError::Invalid { violations, .. }) => {
            let [only] = &violations[..] else { anyhow::bail!("{violations:?}") };
            Ok(format!("{}: {}", only.field, only.description))
        }
        other => anyhow::bail!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn jitter_stays_in_its_range_and_is_the_same_for_what_is_sent_again() -> anyhow::Result<()> {
    let (_folder, mut server, client) = served("").await?;
    let due = Due::after(Duration::from_millis(HOUR_MS)).jitter(Duration::from_secs(600));
    let all: Vec<Transaction> = (0..40).map(|_| later(due)).collect();
    for transaction in &all {
        assert!(client.submit(transaction).await?.is_committed());
    }
    let first = listed(&client, all.len()).await?;
    let spread = delays(&first)?;
    let range = HOUR_MS..=HOUR_MS + 600_000;
    assert!(spread.iter().all(|delay| range.contains(delay)), "{spread:?}");
    let (least, most) = (spread.iter().min(), spread.iter().max());
    let width = most.context("there are some")? - least.context("there are some")?;
    assert!(width > 300_000, "they are spread over {width} ms of 600,000");
    // Sent again, now and by a server that was started anew, it is the same: nothing is due twice, nor moved.
    server.kill().await?;
    server.restart().await?;
    for transaction in &all {
        assert!(client.submit(transaction).await?.is_committed());
    }
    assert_eq!(listed(&client, all.len()).await?, first);
    let places: BTreeSet<String> = all.iter().map(|it| format!("{}/0", it.id())).collect();
    assert_eq!(first.into_keys().collect::<BTreeSet<_>>(), places);
    server.stop().await
}

#[tokio::test]
async fn what_is_due_in_ten_years_is_taken_listed_and_cancelled_and_beyond_that_refused()
-> anyhow::Result<()> {
    let (_folder, mut server, client) = served("").await?;
    let years = Duration::from_millis(TEN_YEARS_MS);
    let far = later(Due::after(years));
    assert!(client.submit(&far).await?.is_committed());
    let at = SystemTime::now() + years - Duration::from_secs(60);
    let dated = later(Due::at(at));
    assert!(client.submit(&dated).await?.is_committed());
    let found = listed(&client, 2).await?;
    assert_eq!(found[&format!("{}/0", far.id())], time_of(far.id())? + TEN_YEARS_MS);
    let wanted = u64::try_from(at.duration_since(UNIX_EPOCH)?.as_millis())?;
    assert_eq!(found[&format!("{}/0", dated.id())], wanted);

    let beyond = later(Due::after(years + Duration::from_millis(1)));
    let told = too_late(client.submit(&beyond).await)?;
    assert!(told.starts_with("transaction.delayed[0].due: "), "{told}");
    assert!(told.contains("315619200001 ms") && told.contains("delay.longest_ms"), "{told}");
    let dated_beyond = later(Due::at(SystemTime::now() + years + Duration::from_secs(60)));
    too_late(client.submit(&dated_beyond).await)?;
    let name = format!("{}/0", dated.id());
    let again =
        client.reschedule_delayed("bank", Uuid::now_v7(), &name, Due::after(years * 2)).await;
    let told = too_late(again)?;
    assert!(told.starts_with("due: "), "{told}");
    assert_eq!(listed(&client, 2).await?, found, "what was refused has changed nothing");

    // They are there after a kill, and go when they are cancelled.
    server.kill().await?;
    server.restart().await?;
    assert_eq!(listed(&client, 2).await?, found);
    for name in found.keys() {
        assert!(client.cancel_delayed("bank", Uuid::now_v7(), name).await?.is_committed());
    }
    listed(&client, 0).await?;
    server.stop().await
}

#[tokio::test]
async fn what_says_no_time_is_due_when_its_namespace_says() -> anyhow::Result<()> {
    let (_folder, mut server, client) = served("after_ms = 7200000\njitter_ms = 60000").await?;
    for _ in 0..10 {
        assert!(client.submit(&later(Due::default())).await?.is_committed());
    }
    let endpoint = server.endpoint();
    let words = ["--endpoint", &endpoint, "-o", "json", "write", "--namespace", "bank", "--later"];
    let written: Json = serde_json::from_str(&run_with_input(&words, "x").await?.expect_success())?;
    let found = listed(&client, 11).await?;
    assert!(found.contains_key(written["delayed"].as_str().context("a name")?), "{written}");
    let range = 2 * HOUR_MS..=2 * HOUR_MS + 60_000;
    let spread = delays(&found)?;
    assert!(spread.iter().all(|delay| range.contains(delay)), "{spread:?}");
    assert!(spread.iter().collect::<BTreeSet<_>>().len() > 5, "{spread:?}");
    // What says one has the namespace's jitter, unless it says none.
    let hour = Due::after(Duration::from_millis(HOUR_MS));
    let exact = later(hour.jitter(Duration::ZERO));
    let spread = later(hour);
    assert!(client.submit(&exact).await?.is_committed());
    assert!(client.submit(&spread).await?.is_committed());
    let found = listed(&client, 13).await?;
    let due = |it: &Transaction| found[&format!("{}/0", it.id())];
    assert_eq!(due(&exact), time_of(exact.id())? + HOUR_MS);
    let delay = due(&spread) - time_of(spread.id())?;
    assert!((HOUR_MS..=HOUR_MS + 60_000).contains(&delay), "{delay}");
    server.stop().await
}

#[tokio::test]
async fn whether_it_is_due_too_late_is_not_left_to_its_jitter() -> anyhow::Result<()> {
    let (_folder, mut server, client) = served("longest_ms = 3600000").await?;
    let minute = |minutes: u64| Duration::from_secs(60 * minutes);
    for _ in 0..20 {
        let may_be_late = later(Due::after(minute(59)).jitter(minute(2)));
        let told = too_late(client.submit(&may_be_late).await)?;
        assert!(told.contains("3660000 ms") && told.contains("120000 of them jitter"), "{told}");
        let never_late = later(Due::after(minute(58)).jitter(minute(2)));
        assert!(client.submit(&never_late).await?.is_committed());
    }
    let found = delays(&listed(&client, 20).await?)?;
    assert!(found.iter().all(|delay| *delay <= HOUR_MS), "{found:?}");
    server.stop().await
}
