//! `handfast bench region`: how far one region is behind another.
//!
//! Two servers on this machine have one namespace, each as a region of its own. Transactions of two rows on two
//! partitions are committed in the first, at a steady rate, while the second is asked again and again what has
//! arrived: the lag of a transaction is when it was first seen to be there, less its commit timestamp. Before that
//! as many as go are committed for a while, which gives the rate, of which the half is used; and what is behind
//! then is caught up.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use clap::Args;
use handfast_client::{ArrivedFrom, Client, Outcome, StreamOptions, SubmitStream, Submitted};
use serde_json::{Value as Json, json};
use wal_core::namespace::ARRIVED_CQL;

use super::{Workload, wire, workload};
use crate::cli::{Global, duration};
use crate::exit::Failure;
use crate::output;

/// Transactions that are committed together, so often as the rate needs.
const TICK: Duration = Duration::from_millis(5);
/// In flight at most.
const WINDOW: usize = 1_024;
/// How often the other region is asked.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// What has not arrived within so long is lost.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Exits 1 if anything does not arrive.

Examples:
  handfast bench region
  handfast bench region --per-second 5000 --duration 60s -o json")]
pub(crate) struct RegionBenchArgs {
    /// Transactions in each second [default: half of what goes]
    #[arg(long)]
    per_second: Option<u64>,
    /// How long transactions are committed at that rate
    #[arg(long, default_value = "20s", value_parser = duration, value_name = "DURATION")]
    duration: Duration,
    /// How long it is tried how many go
    #[arg(long, default_value = "10s", value_parser = duration, value_name = "DURATION")]
    most_for: Duration,
    /// Rows, spread over two tables
    #[arg(long, default_value_t = 10_000)]
    rows: u64,
    /// Bytes of a value
    #[arg(long, default_value_t = 100)]
    value_bytes: usize,
}

pub(crate) async fn command(global: &Global, args: RegionBenchArgs) -> Result<(), Failure> {
    let folder = tempfile::tempdir().map_err(Failure::error)?;
    let mut eu = wire::serve_nothing(&folder.path().join("eu")).await?;
    let mut us = wire::serve_nothing(&folder.path().join("us")).await?;
    for (here, server) in [("eu", &eu), ("us", &us)] {
        let file = file(here, [&eu.endpoint, &us.endpoint]);
        server.client.admin().create_namespace(&file).await?;
    }
    let measured = measure(&eu.client, &us.client, &args).await;
    eu.stop().await?;
    us.stop().await?;
    output::one(global, measured?)
}

/// The benchmark's namespace, as one of two regions has it.
fn file(here: &str, endpoints: [&str; 2]) -> String {
    let regions: String = ["eu", "us"]
        .iter()
        .zip(endpoints)
        .map(|(name, server)| {
            format!("[[region.all]]\nname = \"{name}\"\nservers = [\"{server}\"]\n")
        })
        .collect();
    format!(
        "{}\n[[table]]\ncql = \"{ARRIVED_CQL}\"\n[region]\nhere = \"{here}\"\nhome = \"eu\"\ntable = \"arrived\"\n{regions}",
        workload::namespace_file(1 << 30)
    )
}

async fn measure(eu: &Client, us: &Client, args: &RegionBenchArgs) -> anyhow::Result<Json> {
    let stream = eu.stream(StreamOptions { window: WINDOW, ..StreamOptions::default() });
    let most = as_many_as_go(&stream, args).await?;
    let behind = caught_up(us, most.last_us).await?;
    let per_second = args.per_second.unwrap_or((most.per_second / 2.0) as u64).max(1);
    eprintln!(
        "{:.0} go in a second; measuring with {per_second}, for {:?} …",
        most.per_second, args.duration
    );
    let stop = Arc::new(AtomicBool::new(false));
    let watching = tokio::spawn(watch(us.clone(), Arc::clone(&stop)));
    let committed = steady(&stream, per_second, args).await?;
    let last = committed.iter().copied().max().context("nothing was committed")?;
    caught_up(us, last).await?;
    stop.store(true, Ordering::Relaxed);
    let seen = watching.await??;
    let mut lags: Vec<i64> = committed
        .iter()
        .filter_map(|at| {
            let first = seen.partition_point(|(_, watermark)| watermark < at);
            seen.get(first).map(|(when, _)| when - at)
        })
        .collect();
    ensure!(lags.len() == committed.len(), "{} did not arrive", committed.len() - lags.len());
    lags.sort_unstable();
    let at = |share: f64| {
        let place = (lags.len() as f64 * share) as usize;
        lags.get(place.min(lags.len().saturating_sub(1))).map(|us| *us as f64 / 1_000.0)
    };
    let sent = eu.admin().list_regions(workload::NAMESPACE).await?;
    let sent = sent.regions.iter().find(|region| region.name == "us");
    Ok(json!({
        "most_per_second": most.per_second.round(),
        "caught_up_after_ms": behind.as_millis() as u64,
        "per_second": per_second,
        "committed": committed.len(),
        "arrived": sent.map(|region| region.sent_transactions),
        "lag_ms": {"p50": at(0.5), "p99": at(0.99), "p999": at(0.999), "most": at(1.0)},
    }))
}

struct Most {
    per_second: f64,
    /// The latest commit timestamp.
    last_us: i64,
}

/// Commits for a while as much as goes.
async fn as_many_as_go(stream: &SubmitStream, args: &RegionBenchArgs) -> anyhow::Result<Most> {
    let mut source = workload::Source::new(Workload::Blind2, args.rows, args.value_bytes, 1);
    let began = Instant::now();
    let mut waiting: VecDeque<Submitted> = VecDeque::new();
    let (mut committed, mut last_us) = (0_u64, 0);
    while began.elapsed() < args.most_for || !waiting.is_empty() {
        if began.elapsed() < args.most_for {
            waiting.push_back(stream.send(next(&mut source)).await);
        }
        if waiting.len() >= WINDOW || began.elapsed() >= args.most_for {
            let Some(first) = waiting.pop_front() else { continue };
            last_us = last_us.max(timestamp(first.await)?);
            committed += 1;
        }
    }
    Ok(Most { per_second: committed as f64 / began.elapsed().as_secs_f64(), last_us })
}

/// Commits at a rate; when each committed.
async fn steady(
    stream: &SubmitStream,
    per_second: u64,
    args: &RegionBenchArgs,
) -> anyhow::Result<Vec<i64>> {
    let mut source = workload::Source::new(Workload::Blind2, args.rows, args.value_bytes, 2);
    let total = per_second * args.duration.as_secs().max(1);
    let mut every = tokio::time::interval(TICK);
    let began = Instant::now();
    let mut waiting: VecDeque<Submitted> = VecDeque::new();
    let mut committed = Vec::new();
    let mut sent = 0;
    while sent < total {
        every.tick().await;
        let wanted = (began.elapsed().as_secs_f64() * per_second as f64) as u64;
        while sent < wanted.min(total) {
            waiting.push_back(stream.send(next(&mut source)).await);
            sent += 1;
        }
        while waiting.len() > WINDOW / 2
            && let Some(first) = waiting.pop_front()
        {
            committed.push(timestamp(first.await)?);
        }
    }
    for left in waiting {
        committed.push(timestamp(left.await)?);
    }
    Ok(committed)
}

fn next(source: &mut workload::Source) -> handfast_client::Transaction {
    match source.next() {
        workload::Request::Submit(batch) => {
            wire::transaction_of(workload::NAMESPACE, &batch, |table| table)
        }
        workload::Request::Read(_) => unreachable!("two rows are written"),
    }
}

fn timestamp(outcome: Result<Outcome, handfast_client::SubmitError>) -> anyhow::Result<i64> {
    match outcome {
        Ok(Outcome::Committed(committed)) => Ok(committed.timestamp_us),
        other => anyhow::bail!("it was not committed: {other:?}"),
    }
}

/// What has arrived, again and again: when that was seen, and up to when.
async fn watch(us: Client, stop: Arc<AtomicBool>) -> anyhow::Result<Vec<(i64, i64)>> {
    let mut seen = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let watermark = arrived(&us, &[]).await?;
        if seen.last().is_none_or(|(_, last)| *last < watermark) {
            seen.push((now_us(), watermark));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(seen)
}

/// Waits until everything has arrived that committed up to a time.
async fn caught_up(us: &Client, at: i64) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let not_before = [ArrivedFrom { region: "eu".to_owned(), watermark_us: at }];
    while let Err(error) = arrived(us, &not_before).await {
        ensure!(began.elapsed() < PATIENCE, "it does not arrive: {error}");
    }
    Ok(began.elapsed())
}

async fn arrived(us: &Client, not_before: &[ArrivedFrom]) -> anyhow::Result<i64> {
    let row = [(workload::TABLES[0], 0_i64)];
    let (_, arrived) = us.read_arrived(workload::NAMESPACE, row, not_before).await?;
    Ok(arrived.first().map_or(0, |it| it.watermark_us))
}

fn now_us() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_micros()).unwrap_or(i64::MAX)
}
