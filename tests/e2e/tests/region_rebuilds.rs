//! A region that has lost what it had, or comes later than the log reaches, or whose rows are older than tombstones
//! are kept: what is sent again, and what is refused until somebody has copied the tables.

use anyhow::ensure;
use handfast_client::{Client, Level, Transaction, v1};
use handfast_e2e::{OffsetClock, Regions, Surroundings, WayState, bank, commit, until};
use serde_json::Value as Json;
use tempfile::TempDir;
use uuid::Uuid;

const NAMES: [&str; 2] = ["eu", "us"];
const ACCOUNTS: i64 = 16;

fn account(number: i64) -> Transaction {
    let (name, balance) = (format!("account {number}"), ("balance", number));
    Transaction::new("bank").put("accounts", name, balance)
}

/// A note as long as `bytes`, in one of the shards.
fn note(number: u128, bytes: usize) -> Transaction {
    let key = (format!("{}", number % 24), Uuid::from_u128(number));
    Transaction::new("bank").put("transfers", key, ("note", vec![number as u8; bytes]))
}

/// Which of the accounts are not there.
async fn missing(client: &Client) -> anyhow::Result<Vec<i64>> {
    let names = (0..ACCOUNTS).map(|number| ("accounts", format!("account {number}")));
    let rows = client.read("bank", names).await?;
    let balances = rows.iter().map(|row| row.integer("balance"));
    Ok((0..).zip(balances).filter(|(number, it)| *it != Some(*number)).map(|it| it.0).collect())
}

#[tokio::test]
async fn a_region_that_has_lost_its_tables_is_sent_everything_again() -> anyhow::Result<()> {
    let mut regions = Regions::start(&NAMES).await?;
    // What the tables have is not in the newest checkpoint.
    regions.create(&bank("log.checkpoint_every_bytes = 65536"), "home = \"eu\"").await?;
    let eu = regions.clients[0].clone();
    for number in 0..ACCOUNTS {
        commit(&eu, &account(number)).await?;
    }
    let mut last = 0;
    for number in 0..96 {
        last = commit(&eu, &note(number, 32 << 10)).await?;
    }
    regions.until_arrived(0, 1, last).await?;
    assert!(missing(&regions.clients[1]).await?.is_empty());
    // The checkpoints may be under way; what has arrived is said behind them.
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let last = commit(&eu, &Transaction::new("bank").put("accounts", "z", ("balance", 1))).await?;
    regions.until_arrived(0, 1, last).await?;

    regions.servers[1].kill().await?;
    std::fs::remove_dir_all(regions.data(1).join("namespaces").join("bank").join("tables"))?;
    regions.servers[1].restart().await?;
    let lost = missing(&regions.clients[1]).await?;
    ensure!(!lost.is_empty(), "the log had everything");
    assert!(regions.seen(1, 0).await?.arrived_us >= last, "it does not know that they are lost");
    let all = ["accept", "bank", "--from", "eu", "--beginning"];
    regions.command(1, &all).await?.expect_success();
    regions.until_arrived(0, 1, last).await?;
    assert!(missing(&regions.clients[1]).await?.is_empty());
    let counted = regions.seen(1, 0).await?.arrived_transactions;
    assert_eq!(counted, ACCOUNTS as u64 + 96 + 1, "counted anew");
    regions.stop().await
}

#[tokio::test]
async fn a_region_that_has_lost_its_disk_is_sent_what_others_have_committed() -> anyhow::Result<()>
{
    let mut regions = Regions::start(&NAMES).await?;
    regions.create(&bank(""), "home = \"any\"").await?;
    let [eu, us] = regions.clients.clone().try_into().expect("there are two");
    let mut last = 0;
    for number in 0..ACCOUNTS {
        last = commit(&eu, &account(number)).await?;
    }
    let own =
        commit(&us, &Transaction::new("bank").put("accounts", "ours", ("balance", 1))).await?;
    regions.until_arrived(0, 1, last).await?;
    regions.until_arrived(1, 0, own).await?;

    regions.servers[1].kill().await?;
    std::fs::remove_dir_all(regions.data(1))?;
    regions.servers[1].restart().await?;
    let file = format!("{}{}", bank(""), regions.section(1, "home = \"any\""));
    us.admin().create_namespace(&file).await?;
    // Nobody need say anything: that nothing has arrived is seen.
    regions.until_arrived(0, 1, last).await?;
    assert!(missing(&us).await?.is_empty());
    // What it had committed itself is where it was sent to, and does not come back from there.
    let ours = [eu.read_row("bank", "accounts", "ours"), us.read_row("bank", "accounts", "ours")];
    let [there, here] = ours;
    assert_eq!((there.await?.integer("balance"), here.await?.exists), (Some(1), false));
    // It goes on, and is heard.
    let own = commit(&us, &account(1)).await?;
    regions.until_arrived(1, 0, own).await?;
    regions.stop().await
}

#[tokio::test]
async fn what_is_behind_a_time_that_is_accepted_is_sent_again() -> anyhow::Result<()> {
    let regions = Regions::start(&NAMES).await?;
    regions.create(&bank(""), "home = \"eu\"").await?;
    let eu = &regions.clients[0];
    for number in 0..10 {
        commit(eu, &account(number)).await?;
    }
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    let tenth = commit(eu, &account(10)).await?;
    regions.until_arrived(0, 1, tenth).await?;
    // As an operator would who keeps a copy of the tables: how far they are is listed, in milliseconds.
    let listed = regions.command(1, &["list", "bank"]).await?.expect_success();
    let listed: Json = serde_json::from_str(&listed)?;
    let until_then = listed[0]["arrived"].as_str().expect("a time").to_owned();
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    let mut last = 0;
    for number in 11..ACCOUNTS {
        last = commit(eu, &account(number)).await?;
    }
    regions.until_arrived(0, 1, last).await?;
    assert_eq!(regions.seen(1, 0).await?.arrived_transactions, ACCOUNTS as u64);

    let accept = ["accept", "bank", "--from", "eu", "--until", &until_then];
    let said: Json = serde_json::from_str(&regions.command(1, &accept).await?.expect_success())?;
    assert!(said["before_us"].as_i64() >= Some(last), "{said}");
    assert_eq!(said["arrived"], *until_then, "{said}");
    regions.until_arrived(0, 1, last).await?;
    let again = regions.seen(1, 0).await?.arrived_transactions - ACCOUNTS as u64;
    let behind = ACCOUNTS as u64 - 11;
    assert!((behind..=behind + 1).contains(&again), "{again} were sent again, of {behind}");
    assert!(missing(&regions.clients[1]).await?.is_empty());
    for wrong in ["us", "asia"] {
        let accept = ["accept", "bank", "--from", wrong, "--beginning"];
        regions.command(1, &accept).await?.expect_failure(1, &["from"]);
    }
    regions.stop().await
}

/// Says that a region has everything of the other up to a time.
async fn accept(regions: &Regions, at_us: i64) -> anyhow::Result<()> {
    let request = v1::SetArrivedRequest {
        namespace: "bank".to_owned(),
        from: "eu".to_owned(),
        watermark_us: at_us,
    };
    regions.clients[1].admin().set_arrived(request).await?;
    Ok(())
}

/// Waits until the first region says why it sends nothing to the second.
async fn until_problem(regions: &Regions, words: &str) -> anyhow::Result<()> {
    until(&format!("nobody says {words:?}"), async || {
        Ok(regions.seen(0, 1).await?.problem.contains(words).then_some(()))
    })
    .await
}

#[tokio::test]
async fn what_is_before_a_time_that_is_accepted_is_not_sent() -> anyhow::Result<()> {
    let regions = Regions::start(&NAMES).await?;
    regions.way(0, 1).set(WayState::Broken);
    regions.create(&bank(""), "home = \"eu\"").await?;
    let eu = &regions.clients[0];
    let mut times = Vec::new();
    for number in 0..ACCOUNTS {
        times.push(commit(eu, &account(number)).await?);
    }
    accept(&regions, times[9]).await?;
    regions.way(0, 1).set(WayState::Open);
    regions.until_arrived(0, 1, times[15]).await?;
    assert_eq!(missing(&regions.clients[1]).await?, (0..10).collect::<Vec<_>>());
    assert_eq!(regions.seen(1, 0).await?.arrived_transactions, ACCOUNTS as u64 - 10);
    regions.stop().await
}

const SOON_TRIMMED: &str =
    "log.retain_ms = 0\nlog.retain_bytes = 33554432\nlog.checkpoint_every_bytes = 65536";

/// Whether the log of the first region has its beginning yet.
fn has_beginning(regions: &Regions) -> bool {
    regions.servers[0].log_folder("bank").join("segment-000000000001.log").exists()
}

async fn write_mebibyte(client: &Client, number: u128) -> anyhow::Result<()> {
    let outcome = client.at_level(Level::Applied).submit(&note(number, 1 << 20)).await?;
    ensure!(outcome.is_committed(), "{outcome:?}");
    Ok(())
}

/// Writes in the first region until its log has lost its beginning.
async fn until_trimmed(regions: &Regions) -> anyhow::Result<()> {
    let mut written = 0;
    while has_beginning(regions) {
        ensure!(written < 100, "the log is not trimmed: {written} MiB are written");
        write_mebibyte(&regions.clients[0], written).await?;
        written += 1;
    }
    Ok(())
}

#[tokio::test]
async fn no_log_is_kept_for_a_region_that_is_gone() -> anyhow::Result<()> {
    let regions = Regions::start(&NAMES).await?;
    regions.create(&bank(SOON_TRIMMED), "home = \"eu\"").await?;
    let eu = &regions.clients[0];
    let first = commit(eu, &account(0)).await?;
    regions.until_arrived(0, 1, first).await?;
    regions.way(0, 1).set(WayState::Broken);
    for number in 0..64 {
        write_mebibyte(eu, number).await?;
    }
    assert!(has_beginning(&regions), "it is kept for the other region");
    let there = format!("{}{}", bank(SOON_TRIMMED), regions.section(0, "home = \"eu\""));
    let gone = there.replace(&format!("[\"{}\"]", regions.way(0, 1).url()), "[]");
    eu.admin().change_namespace(&gone, 1).await?;
    until_problem(&regions, "nothing is sent there").await?;
    until_trimmed(&regions).await?;

    // It is there again, and what it lacks is not.
    regions.way(0, 1).set(WayState::Open);
    eu.admin().change_namespace(&there, 2).await?;
    until_problem(&regions, "begins behind what region \"us\" has").await?;
    let late = commit(eu, &account(1)).await?;
    accept(&regions, late).await?;
    let after = commit(eu, &account(2)).await?;
    regions.until_arrived(0, 1, after).await?;
    assert_eq!(missing(&regions.clients[1]).await?.first_chunk(), Some(&[1, 3]));
    regions.stop().await
}

#[tokio::test]
async fn a_region_that_comes_behind_a_trimmed_log_is_sent_nothing_until_its_tables_were_copied()
-> anyhow::Result<()> {
    let regions = Regions::start(&NAMES).await?;
    let settings = SOON_TRIMMED;
    let [eu, us] = regions.clients.clone().try_into().expect("there are two");
    eu.admin().create_namespace(&bank(settings)).await?;
    commit(&eu, &account(0)).await?;
    until_trimmed(&regions).await?;
    let file = |here| format!("{}{}", bank(settings), regions.section(here, "home = \"eu\""));
    us.admin().create_namespace(&file(1)).await?;
    eu.admin().change_namespace(&file(0), 1).await?;
    until_problem(&regions, "begins behind what region \"us\" has: copy the tables there").await?;
    let late = commit(&eu, &account(1)).await?;
    assert_eq!(regions.seen(1, 0).await?.arrived_us, 0, "nothing was sent");

    accept(&regions, late).await?;
    let after = commit(&eu, &account(2)).await?;
    regions.until_arrived(0, 1, after).await?;
    assert_eq!(missing(&us).await?.first_chunk(), Some(&[0, 1, 3]), "only what came behind it");
    until("it still complains", async || {
        Ok(regions.seen(0, 1).await?.problem.is_empty().then_some(()))
    })
    .await?;
    regions.stop().await
}

#[tokio::test]
async fn what_is_older_than_tombstones_are_kept_is_refused_where_all_regions_write()
-> anyhow::Result<()> {
    let folder = TempDir::new()?;
    let clock = OffsetClock::build(folder.path()).await?;
    clock.set(-90_000)?;
    let regions = Regions::start_in(&NAMES, |name| match name {
        "eu" => Surroundings::default().with_clock(&clock),
        _ => Surroundings::default(),
    })
    .await?;
    let lines = "home = \"any\"\noldest_ms = 60000\n\n[region.tables]\ntransfers = \"eu\"";
    regions.create(&bank(""), lines).await?;
    let eu = &regions.clients[0];
    // Where a table has a home its tombstones come in order: however old, it arrives.
    let first = commit(eu, &note(1, 10)).await?;
    regions.until_arrived(0, 1, first).await?;
    let old = commit(eu, &account(0)).await?;
    until_problem(&regions, "written more than 60000 ms ago").await?;
    until_problem(&regions, "Copy the tables").await?;

    clock.set(0)?;
    accept(&regions, old).await?;
    let now = commit(eu, &account(1)).await?;
    regions.until_arrived(0, 1, now).await?;
    assert_eq!(missing(&regions.clients[1]).await?.first_chunk(), Some(&[0, 2]));
    regions.stop().await
}
