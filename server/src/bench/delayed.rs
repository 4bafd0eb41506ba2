//! `handfast bench delayed`: how late is what is due later.
//!
//! Messages are scheduled at a steady rate, each due a while after, and told by the committed stream when they
//! are due: the lateness is the commit timestamp less when it was due. With a backlog, many more are due at one
//! moment while the rate goes on: how fast they are done, and how late the others become.

use std::collections::HashSet;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use clap::Args;
use handfast_client::{
    Client, Due, Message, Outcome, StreamOptions, SubmitStream, Subscription, Transaction, Uuid,
};
use serde_json::{Value as Json, json};
use tokio::sync::mpsc;

use super::wire;
use crate::cli::{Global, duration};
use crate::exit::Failure;
use crate::output;

const NAMESPACE: &str = "bench";
/// Messages that are scheduled together, so often as the rate needs.
const TICK: Duration = Duration::from_millis(5);
/// Nothing was done for so long: the rest is lost.
const PATIENCE: Duration = Duration::from_secs(60);
/// Of the backlog in flight while it is scheduled.
const WINDOW: usize = 4_096;

#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Exits 1 if anything is done early, twice or never.

Examples:
  handfast bench delayed
  handfast bench delayed --per-second 1000 --backlog 1000000 --duration 2m
  handfast --endpoint http://10.0.0.5:7420 bench delayed --running reminders")]
pub(crate) struct DelayedBenchArgs {
    /// Messages that are due in each second
    #[arg(long, default_value_t = 5_000)]
    per_second: u64,
    /// How long after it was scheduled each is due
    #[arg(long, default_value = "3s", value_parser = duration, value_name = "DURATION")]
    ahead: Duration,
    /// How long messages are scheduled
    #[arg(long, default_value = "20s", value_parser = duration, value_name = "DURATION")]
    duration: Duration,
    /// So many more, which are all due when the rate begins
    #[arg(long, default_value_t = 0)]
    backlog: u64,
    /// Bytes of a payload
    #[arg(long, default_value_t = 300)]
    bytes: usize,
    /// A namespace with [delay] of the running server, instead of a server of the benchmark's own
    #[arg(long, value_name = "NAMESPACE")]
    running: Option<String>,
}

pub(crate) async fn command(global: &Global, args: DelayedBenchArgs) -> Result<(), Failure> {
    let folder = tempfile::tempdir().map_err(Failure::error)?;
    let measured = match &args.running {
        Some(namespace) => {
            let client = Client::connect(global.endpoint.iter().cloned()).await?;
            measure(&client, namespace, &args).await?
        }
        None => {
            let file = "name = \"bench\"\n[delay]\ntable = \"later\"\n[[table]]\ncql = \"\"\"";
            let file = format!("{file}{}\"\"\"\n", wal_core::namespace::DELAYED_CQL);
            let mut server = wire::serve(folder.path(), &file).await?;
            let mut measured = measure(&server.client, NAMESPACE, &args).await;
            if let Ok(measured) = &mut measured {
                measured["peak_memory_mib"] = json!(server.peak_memory_mib());
            }
            server.stop().await?;
            measured?
        }
    };
    output::one(global, measured)
}

/// What was done, as the stream tells it.
struct Done {
    id: u64,
    due_ms: u64,
    done_us: i64,
}

async fn measure(
    client: &Client,
    namespace: &str,
    args: &DelayedBenchArgs,
) -> anyhow::Result<Json> {
    let (tell, mut told) = mpsc::channel(1_024);
    let following = tokio::spawn(follow(client.clone(), namespace.to_owned(), tell));
    let stream = client.stream(StreamOptions { window: WINDOW, ..StreamOptions::default() });
    let begin_backlog = Instant::now();
    let backlog_due = now_ms() + estimated(args.backlog);
    schedule_backlog(&stream, namespace, args, backlog_due).await?;
    let scheduled = begin_backlog.elapsed();
    if args.backlog > 0 {
        eprintln!("{} scheduled in {:.1} s", args.backlog, scheduled.as_secs_f64());
        let wait = backlog_due.saturating_sub(now_ms());
        ensure!(wait > 0, "the backlog was due before all of it was scheduled: use a smaller one");
        tokio::time::sleep(Duration::from_millis(wait)).await;
    }
    let began = Instant::now();
    let rate = tokio::spawn(schedule_rate(stream, namespace.to_owned(), args.clone()));
    let expected = args.backlog + args.per_second * args.duration.as_secs().max(1);
    let mut seen = HashSet::new();
    let (mut late, mut early) = (Vec::new(), 0_u64);
    let (mut doubled, mut backlog_done, mut drained) = (0_u64, 0_u64, Duration::ZERO);
    while (seen.len() as u64) < expected {
        let next = tokio::time::timeout(PATIENCE + args.ahead, told.recv()).await;
        let Ok(Some(batch)) = next else { break };
        for Done { id, due_ms, done_us } in batch {
            if !seen.insert(id) {
                doubled += 1;
                continue;
            }
            let late_us = done_us - (due_ms as i64) * 1_000;
            early += u64::from(late_us < 0);
            if id < args.backlog {
                backlog_done += 1;
                drained = began.elapsed();
            } else {
                late.push(late_us);
            }
        }
    }
    let seen = seen.len() as u64;
    rate.await??;
    following.abort();
    late.sort_unstable();
    let at = |share: f64| {
        let place = (late.len() as f64 * share) as usize;
        late.get(place.min(late.len().saturating_sub(1))).map(|us| *us as f64 / 1_000.0)
    };
    let report = json!({
        "per_second": args.per_second,
        "scheduled": expected,
        "done": seen,
        "lost": expected.saturating_sub(seen),
        "doubled": doubled,
        "early": early,
        "late_ms": {"p50": at(0.5), "p99": at(0.99), "p999": at(0.999), "most": at(1.0)},
        "backlog": {
            "scheduled": args.backlog,
            "scheduled_per_second": (args.backlog as f64 / scheduled.as_secs_f64()).round(),
            "done": backlog_done,
            "seconds": drained.as_secs_f64(),
            "per_second": if backlog_done == 0 { 0.0 } else { (backlog_done as f64 / drained.as_secs_f64()).round() },
        },
    });
    ensure!(
        doubled == 0 && early == 0 && seen == expected,
        "not everything was done once and in time: {report}"
    );
    Ok(report)
}

/// How long scheduling so many may take, with room, milliseconds.
fn estimated(backlog: u64) -> u64 {
    const PER_SECOND: u64 = 5_000;
    if backlog == 0 { 0 } else { 5_000 + backlog * 1_000 / PER_SECOND }
}

async fn schedule_backlog(
    stream: &SubmitStream,
    namespace: &str,
    args: &DelayedBenchArgs,
    due_ms: u64,
) -> anyhow::Result<()> {
    let mut waiting = Vec::new();
    for number in 0..args.backlog {
        let due = Due::at(UNIX_EPOCH + Duration::from_millis(due_ms));
        waiting.push(stream.send(message(namespace, args, number, due, due_ms)).await);
        if waiting.len() == WINDOW {
            for submitted in waiting.drain(..) {
                expect(submitted.await)?;
            }
        }
    }
    for submitted in waiting {
        expect(submitted.await)?;
    }
    Ok(())
}

async fn schedule_rate(
    stream: SubmitStream,
    namespace: String,
    args: DelayedBenchArgs,
) -> anyhow::Result<()> {
    let total = args.per_second * args.duration.as_secs().max(1);
    let mut every = tokio::time::interval(TICK);
    let began = Instant::now();
    let mut sent = 0;
    let mut waiting = std::collections::VecDeque::new();
    while sent < total {
        every.tick().await;
        let wanted = (began.elapsed().as_secs_f64() * args.per_second as f64) as u64;
        while sent < wanted.min(total) {
            let due_ms = now_ms() + args.ahead.as_millis() as u64;
            let due = Due::at(UNIX_EPOCH + Duration::from_millis(due_ms));
            let number = args.backlog + sent;
            waiting.push_back(stream.send(message(&namespace, &args, number, due, due_ms)).await);
            sent += 1;
        }
        while waiting.len() > WINDOW / 2
            && let Some(submitted) = waiting.pop_front()
        {
            expect(submitted.await)?;
        }
    }
    for submitted in waiting {
        expect(submitted.await)?;
    }
    Ok(())
}

fn expect(outcome: Result<Outcome, handfast_client::SubmitError>) -> anyhow::Result<()> {
    match outcome {
        Ok(Outcome::Committed(_)) => Ok(()),
        other => anyhow::bail!("it was not scheduled: {other:?}"),
    }
}

/// Its number and when it is due, in a payload of the wanted size.
fn message(
    namespace: &str,
    args: &DelayedBenchArgs,
    number: u64,
    due: Due,
    due_ms: u64,
) -> Transaction {
    let mut payload = Vec::with_capacity(args.bytes.max(16));
    payload.extend(number.to_be_bytes());
    payload.extend(due_ms.to_be_bytes());
    payload.resize(args.bytes.max(16), 7);
    let then = Transaction::new(namespace).message(Message::new(payload));
    Transaction::new(namespace).with_id(Uuid::now_v7()).later(due, then)
}

async fn follow(
    client: Client,
    namespace: String,
    tell: mpsc::Sender<Vec<Done>>,
) -> anyhow::Result<()> {
    let mut subscribed = client.subscribe(Subscription::new(namespace).messages());
    loop {
        let told = subscribed.next().await?;
        let messages = told.transactions.iter().flat_map(|it| {
            it.messages.iter().filter_map(|message| {
                let number = |from: usize| {
                    let bytes = message.payload.get(from..from + 8)?;
                    Some(u64::from_be_bytes(bytes.try_into().ok()?))
                };
                Some(Done { id: number(0)?, due_ms: number(8)?, done_us: it.timestamp_us })
            })
        });
        tell.send(messages.collect()).await.context("nobody listens")?;
    }
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}
