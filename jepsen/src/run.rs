//! One run, from the first process to the verdict.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use handfast_checker::{Event, Type, Value};
use handfast_client::{Client, Options as ClientOptions, RetryPolicy, Transaction};
use handfast_e2e::Server;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::client::{Told, perform};
use crate::fault::Fault;
use crate::ground::Ground;
use crate::history::History;
use crate::nemesis::{Struck, Until, strike};
use crate::report::{Report, judge};
use crate::resolve::{ask_again, read_everything, resolve};
use crate::timeline::{Band, Bar, Ending, Timeline, nanos};
use crate::workload::{Done, End, Kind, Task, Workload};

/// How long a client waits for one answer.
const WAIT: Duration = Duration::from_secs(5);
/// How long a client rests after a failure, so that an absent server does not fill the history.
pub(crate) const REST: Duration = Duration::from_millis(10);

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// What the clients do.
    pub workload: Kind,
    /// What happens to the server meanwhile.
    pub fault: Fault,
    /// For how long.
    pub time: Duration,
    /// Decides what clients ask and when faults strike.
    pub seed: u64,
    /// Clients at the same time, at least 1.
    pub concurrency: u16,
    /// A run with fewer committed operations is not valid.
    pub at_least_committed: usize,
    /// The run goes on until faults have struck so often, at most five times as long.
    pub at_least_faults: usize,
    /// Where it leaves history, verdict, picture and logs.
    pub folder: PathBuf,
}

/// A task whose answer was lost.
pub(crate) struct Lost {
    pub(crate) task: Task,
    pub(crate) process: i64,
    pub(crate) invoked: u64,
    pub(crate) rows: Vec<handfast_client::Row>,
    pub(crate) transaction: Transaction,
}

/// What the clients have done so far.
#[derive(Default)]
pub(crate) struct Ran {
    pub(crate) done: Vec<Done>,
    pub(crate) lost: Vec<Lost>,
    bars: Vec<Bar>,
}

/// Everything that the clients share.
pub(crate) struct Shared {
    pub(crate) workload: Box<dyn Workload>,
    pub(crate) history: History,
    pub(crate) ran: Mutex<Ran>,
    /// How many clients there are: the lane of whoever reads at the end.
    pub(crate) clients: u16,
    stop: AtomicBool,
    /// The next process: one whose answer was lost is never used again.
    pub(crate) process: AtomicI64,
    /// The wall clock when the history began, microseconds.
    began_us: i64,
    /// How far a commit timestamp was from the clients' clock when it was told, microseconds, at most.
    off_us: AtomicI64,
}

/// Runs a workload under a fault, checks it, and leaves everything in the folder. An error is no verdict:
/// the run broke off, or is [`NotRun`](crate::NotRun).
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    ensure!(options.concurrency > 0, "a run needs at least one client");
    let folder = &options.folder;
    prepare(folder)?;
    let workload = options.workload.workload();
    // Small logs, so that they are trimmed while the run goes on; and quick recovery, because a process
    // that is killed more often than attempts are recovered gets nothing done that could be wrong.
    let definition = format!(
        "name = '{}'\nshards = 8\npolicy.recover_after_ms = 100\nlog.segment_bytes = 16781312\nlog.retain_ms = 0\n\
         log.retain_bytes = 67108864\nlog.checkpoint_every_bytes = 262144\n{}\n",
        workload.namespace(),
        workload.tables()
    );
    let mut ground = Ground::start(options.fault, folder, &definition).await?;
    let start = Instant::now();
    let began_us = SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros();
    let shared = Arc::new(Shared {
        workload,
        history: History::create(folder, "history", start)?,
        ran: Mutex::default(),
        clients: options.concurrency,
        stop: AtomicBool::new(false),
        process: AtomicI64::new(i64::from(options.concurrency)),
        began_us: i64::try_from(began_us)?,
        off_us: AtomicI64::new(0),
    });
    let struck = operate(options, &shared, &mut ground).await;
    shared.history.flush()?;
    let Struck { counts, strikes, mut bands } = struck?;
    let mut report = Report::new(options, strikes, counts);
    report.missing = std::mem::take(&mut ground.missing);
    report.clock_off_ms = shared.off_us.load(Ordering::Relaxed) / 1_000;

    let patient = client(&ground.server, RetryPolicy::default()).await?;
    let mut ran = std::mem::take(&mut *shared.ran.lock().expect("no holder of this lock panics"));
    let mut bars = std::mem::take(&mut ran.bars);
    let resolved = History::create(folder, "resolved", start)?;
    let ran = resolve(&patient, &shared, &resolved, ran, start, &mut report.verdict).await?;
    resolved.flush()?;

    // Nothing that counts now may live in memory only.
    let from = nanos(start.elapsed());
    ground.server.kill().await?;
    ground.server.restart().await?;
    bands.push(Band { name: "kill".to_owned(), from, to: nanos(start.elapsed()) });
    let history_of_last = History::create(folder, "last", start)?;
    let last = read_everything(&patient, &shared, &history_of_last, &ran).await?;
    history_of_last.flush()?;
    shared.history.flush()?;
    ask_again(&patient, &ran, &mut report.verdict).await?;
    ground.server.stop().await?;

    judge(options, &*shared.workload, &ran, &last, &mut report)?;
    if ground.server.said().contains("panicked") {
        report.verdict.anomalies.push("the server panicked: see server.log".to_owned());
    }
    bars.append(&mut shared.ran.lock().expect("no holder of this lock panics").bars);
    Timeline { title: report.headline(), bars, bands, clients: options.concurrency.into() }
        .save(&folder.join("timeline.svg"))?;
    let text = serde_json::to_string_pretty(&report.to_json())?;
    std::fs::write(folder.join("verdict.json"), text + "\n")?;
    // The log and the tables have told what they had to tell; the rest is kept.
    if report.validity() == crate::Validity::Valid {
        std::fs::remove_dir_all(folder.join("data"))?;
    } else {
        ground.keep_data(folder).await?;
    }
    Ok(report)
}

/// Makes the folder, or empties one that a run made before.
fn prepare(folder: &Path) -> anyhow::Result<()> {
    let shown = folder.display();
    if folder.exists() && std::fs::read_dir(folder)?.next().is_some() {
        ensure!(
            folder.join("history.edn").exists() || folder.join("server.log").exists(),
            "{shown} is not empty and no run made it; choose another folder"
        );
        std::fs::remove_dir_all(folder).with_context(|| format!("cannot empty {shown}"))?;
    }
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {shown}"))
}

async fn client(server: &Server, retry: RetryPolicy) -> anyhow::Result<Client> {
    let options = ClientOptions { wait: WAIT, retry, ..ClientOptions::default() };
    Ok(Client::connect_with([server.endpoint()], options).await?)
}

/// Lets the clients work while the fault strikes.
async fn operate(
    options: &Options,
    shared: &Arc<Shared>,
    ground: &mut Ground,
) -> anyhow::Result<Struck> {
    let patient = client(&ground.server, RetryPolicy::default()).await?;
    for transaction in shared.workload.open() {
        let outcome = patient.submit(&transaction).await?;
        ensure!(outcome.is_committed(), "the workload could not begin: {outcome:?}");
    }
    let mut rng = StdRng::seed_from_u64(options.seed);
    let mut clients = JoinSet::new();
    for lane in 0..options.concurrency {
        let client = client(&ground.server, RetryPolicy::NEVER).await?;
        let rng = StdRng::from_rng(&mut rng);
        clients.spawn(work(client, Arc::clone(shared), lane, rng));
    }
    let begun = Instant::now();
    let until = Until {
        time: begun + options.time,
        faults: options.at_least_faults,
        latest: begun + options.time * 5,
    };
    let struck = strike(options.fault, ground, &until, &shared.history, &mut rng).await;
    shared.stop.store(true, Ordering::Relaxed);
    while let Some(ended) = clients.join_next().await {
        ended??;
    }
    struck
}

/// One client: a task after the other.
async fn work(
    client: Client,
    shared: Arc<Shared>,
    lane: u16,
    mut rng: StdRng,
) -> anyhow::Result<()> {
    let mut process = i64::from(lane);
    while !shared.stop.load(Ordering::Relaxed) {
        let task = shared.workload.next(&mut rng);
        if one(&client, &shared, (lane.into(), process), task).await? {
            process = shared.process.fetch_add(1, Ordering::Relaxed);
        }
    }
    Ok(())
}

/// One task of a client, by its lane and its process, written down. Whether its answer was lost.
pub(crate) async fn one(
    client: &Client,
    shared: &Shared,
    (lane, process): (usize, i64),
    task: Task,
) -> anyhow::Result<bool> {
    let Shared { workload, history, ran, .. } = shared;
    let asked = workload.shown(&task, None);
    let event = |kind, value| Event::new(kind, process, task.f, value);
    let from = history.write(event(Type::Invoke, asked.clone()))?;
    let told = perform(client, &**workload, &task).await;
    let id = |it: &Transaction| ("id".to_owned(), Value::Text(it.id().to_string()));
    let error = |why: String| ("error".to_owned(), Value::Text(why));
    let bar = |to, ending| Bar { lane, from, to, ending };
    let lost = match told {
        Told::Done { rows, transaction, timestamp_us } => {
            let mut event = event(Type::Ok, workload.shown(&task, Some(&rows)));
            event.ts = timestamp_us;
            event.more.extend(transaction.as_ref().map(id));
            let to = history.write(event)?;
            if let Some(at) = timestamp_us {
                shared.compare_clocks(at, to);
            }
            let end = timestamp_us.map_or(End::Read, End::Committed);
            let done = Done { task, invoked: from, completed: to, rows, transaction, end };
            let mut ran = ran.lock().expect("no holder of this lock panics");
            ran.bars.push(bar(to, Ending::Happened));
            ran.done.push(done);
            return Ok(false);
        }
        Told::Failed { transaction, why } => {
            let mut event = event(Type::Fail, asked);
            event.more.extend(transaction.as_ref().map(id));
            event.more.push(error(why));
            let to = history.write(event)?;
            let (rows, end) = (Vec::new(), End::Failed);
            let done = Done { task, invoked: from, completed: to, rows, transaction, end };
            let mut ran = ran.lock().expect("no holder of this lock panics");
            ran.bars.push(bar(to, Ending::Failed));
            ran.done.push(done);
            false
        }
        Told::Unknown { rows, transaction, why } => {
            let mut event = event(Type::Info, asked);
            event.more.extend([id(&transaction), error(why)]);
            let to = history.write(event)?;
            let lost = Lost { task, process, invoked: from, rows, transaction };
            let mut ran = ran.lock().expect("no holder of this lock panics");
            ran.bars.push(bar(to, Ending::Unknown));
            ran.lost.push(lost);
            true
        }
    };
    tokio::time::sleep(REST).await;
    Ok(lost)
}

impl Shared {
    /// Notes how far the server's clock seems to be from ours: a clock fault that does not show here did
    /// not happen.
    fn compare_clocks(&self, committed_us: i64, told_ns: u64) {
        let ours = self.began_us + i64::try_from(told_ns / 1_000).unwrap_or(i64::MAX / 2);
        self.off_us.fetch_max((committed_us - ours).abs(), Ordering::Relaxed);
    }
}
