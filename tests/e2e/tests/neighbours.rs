//! Namespaces of one server: one that is flooded takes nothing from the others, and quotas change while they
//! are in use.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use handfast_client::{Client, Outcome, StreamOptions, SubmitError, Transaction, column};
use handfast_e2e::{Server, bank, http_get};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

/// Transactions of one second that the namespace may have that is flooded.
const QUOTA: u64 = 100;
/// Callers of the neighbour, and what each does.
const CALLERS: usize = 4;
const CALLS: usize = 100;
/// How long the neighbour may take, on a machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(120);

fn deposit(namespace: &str, account: String) -> Transaction {
    Transaction::new(namespace).add("accounts", account, ("balance", 1))
}

/// What the neighbour was answered.
#[derive(Debug, Default, PartialEq, Eq)]
struct Answered {
    committed: usize,
    aborted: usize,
    unknown: usize,
    /// With reads.
    failed: usize,
}

/// Transfers with conditions, each between rows of its caller alone, each tried once; and a read after
/// each.
async fn neighbour(client: &Client) -> anyhow::Result<Answered> {
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let client = client.clone();
        callers.spawn(async move {
            let mut answered = Answered::default();
            let [from, to] = ["from", "to"].map(|side| format!("{side}-{caller}"));
            for _ in 0..CALLS {
                let transfer = Transaction::new("bank")
                    .require("accounts", from.as_str(), column("balance").at_least(1))
                    .add("accounts", from.as_str(), ("balance", -1))
                    .add("accounts", to.as_str(), ("balance", 1));
                match client.submit(&transfer).await {
                    Ok(Outcome::Committed(_)) => answered.committed += 1,
                    Ok(Outcome::Aborted(_)) => answered.aborted += 1,
                    Ok(Outcome::Unknown(_)) => answered.unknown += 1,
                    Err(_) => answered.failed += 1,
                }
                let keys = [("accounts", from.as_str()), ("accounts", to.as_str())];
                answered.failed += usize::from(client.read("bank", keys).await.is_err());
            }
            answered
        });
    }
    let mut all = Answered::default();
    while let Some(ended) = timeout(PATIENCE, callers.join_next()).await.context("it starves")? {
        let answered = ended?;
        all.committed += answered.committed;
        all.aborted += answered.aborted;
        all.unknown += answered.unknown;
        all.failed += answered.failed;
    }
    Ok(all)
}

/// What the flood was answered: taken, and refused for its quota.
#[derive(Debug, Default)]
struct Flooded {
    taken: u64,
    refused: u64,
}

/// Submits as fast as it can until it is told to stop, over connections and streams of its own.
async fn flood(server: &Server, stop: Arc<AtomicBool>) -> anyhow::Result<JoinSet<Flooded>> {
    let mut callers = JoinSet::new();
    for connection in 0..4 {
        let client = server.impatient_client().await?;
        for caller in 0..32 {
            let (client, stop) = (client.clone(), Arc::clone(&stop));
            callers.spawn(async move {
                let mut flooded = Flooded::default();
                while !stop.load(Ordering::Relaxed) {
                    let account = format!("{connection}-{caller}");
                    count(client.submit(&deposit("noisy", account)).await, &mut flooded);
                }
                flooded
            });
        }
        let stop = Arc::clone(&stop);
        callers.spawn(async move {
            let stream = client.stream(StreamOptions { window: 2_048, max_batch: 512 });
            let mut flooded = Flooded::default();
            while !stop.load(Ordering::Relaxed) {
                let mut answers = Vec::new();
                for number in 0..2_048 {
                    let account = format!("{connection}-{number}");
                    answers.push(stream.send(deposit("noisy", account)).await);
                }
                for answer in answers {
                    count(answer.await, &mut flooded);
                }
            }
            flooded
        });
    }
    Ok(callers)
}

fn count(answer: Result<Outcome, SubmitError>, flooded: &mut Flooded) {
    match answer {
        Ok(outcome) => {
            assert!(outcome.is_committed(), "{outcome:?}");
            flooded.taken += 1;
        }
        Err(SubmitError::Unavailable { message }) if message.contains("quota.") => {
            flooded.refused += 1;
        }
        Err(other) => panic!("{other:?}"),
    }
}

/// The sum of the figures of `/metrics` that begin so; 0 if there are none.
async fn metric(server: &Server, start: &str) -> anyhow::Result<f64> {
    let (_, text) = http_get(server.http(), "/metrics").await?;
    let lines = text.lines().filter(|line| line.starts_with(start));
    let values = lines.filter_map(|line| line.rsplit(' ').next()).map(str::parse::<f64>);
    Ok(values.sum::<Result<f64, _>>()?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_that_floods_beyond_its_quota_takes_nothing_from_its_neighbour()
-> anyhow::Result<()> {
    let folder = TempDir::new()?;
    let quota = format!("quota.transactions_per_second = {QUOTA}\nquota.in_flight = 64");
    let noisy = bank(&quota).replace("name = \"bank\"", "name = \"noisy\"");
    let mut server = Server::start(folder.path(), &[&bank(""), &noisy]).await?;
    let client = server.impatient_client().await?;
    for caller in 0..CALLERS {
        let enough = ("balance", 2 * CALLS as i64);
        let funded = Transaction::new("bank").put("accounts", format!("from-{caller}"), enough);
        ensure!(client.submit(&funded).await?.is_committed());
    }

    let alone = (Instant::now(), neighbour(&client).await?);
    let alone = (alone.0.elapsed(), alone.1);

    let stop = Arc::new(AtomicBool::new(false));
    let begun = Instant::now();
    let mut callers = flood(&server, Arc::clone(&stop)).await?;
    // In the middle of the flood, not at its beginning.
    while metric(&server, "handfast_quota_refused_total{namespace=\"noisy\"").await? < 1_000.0 {
        ensure!(begun.elapsed() < PATIENCE, "no flood comes about");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let beside = (Instant::now(), neighbour(&client).await?);
    let beside = (beside.0.elapsed(), beside.1);
    stop.store(true, Ordering::Relaxed);
    let mut flooded = Flooded::default();
    while let Some(ended) = callers.join_next().await {
        let some = ended?;
        flooded.taken += some.taken;
        flooded.refused += some.refused;
    }
    let lasted = begun.elapsed();
    println!(
        "the neighbour alone: {alone:?}; beside the flood: {beside:?}; {flooded:?} in {lasted:?}"
    );

    let every = Answered { committed: CALLERS * CALLS, ..Answered::default() };
    assert_eq!(alone.1, every, "alone");
    assert_eq!(beside.1, every, "beside the flood");
    assert!(flooded.taken > 0, "the flooded namespace makes progress too: {flooded:?}");
    let most = QUOTA as f64 * (lasted.as_secs_f64() + 1.0);
    assert!(flooded.taken as f64 <= most, "{flooded:?} in {lasted:?}");
    assert!(flooded.refused > 5 * flooded.taken, "it was no flood: {flooded:?}");
    for quota in ["transactions_per_second", "bytes_per_second", "in_flight", "share"] {
        let name = format!("handfast_quota_refused_total{{namespace=\"bank\",quota=\"{quota}\"}}");
        assert_eq!(metric(&server, &name).await?, 0.0, "{name}");
    }
    let taken = metric(&server, "handfast_quota_transactions_total{namespace=\"noisy\"}").await?;
    assert_eq!(taken as u64, flooded.taken, "what was taken was answered");
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quota_is_changed_while_it_is_in_use() -> anyhow::Result<()> {
    let folder = TempDir::new()?;
    let mut server =
        Server::start(folder.path(), &[&bank("quota.transactions_per_second = 1")]).await?;
    let client = server.impatient_client().await?;
    ensure!(client.submit(&deposit("bank", "a".to_owned())).await?.is_committed());
    let refused = client.submit(&deposit("bank", "a".to_owned())).await;
    let refused = refused.expect_err("one a second").to_string();
    assert!(refused.contains("quota.transactions_per_second"), "{refused}");
    // A client that is patient is served in the end, as it is told when.
    ensure!(server.client().await?.submit(&deposit("bank", "a".to_owned())).await?.is_committed());

    let changed =
        client.admin().change_namespace(&bank("quota.bytes_per_second = 100000"), 1).await?;
    assert_eq!(changed.version, 2);
    for _ in 0..50 {
        ensure!(client.submit(&deposit("bank", "a".to_owned())).await?.is_committed());
    }
    let limit = "handfast_quota_limit{namespace=\"bank\",quota=\"bytes_per_second\"}";
    assert_eq!(metric(&server, limit).await?, 100_000.0);
    let rows = client.read("bank", [("accounts", "a")]).await?;
    assert_eq!(rows[0].integer("balance"), Some(52));
    server.stop().await
}
