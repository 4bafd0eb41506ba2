//! One run, from the first process to the verdict.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use handfast_checker::{Event, Type, Value};
use handfast_client::{Client, Options as ClientOptions, RetryPolicy, Transaction};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::client::{Told, perform};
use crate::fault::Fault;
use crate::ground::{Embedded, Ground, Place, Regions};
use crate::history::History;
use crate::nemesis::{Struck, Until, strike};
use crate::report::{Report, judge};
use crate::resolve::{ask_again, read_everything, resolve, rest, settle};
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
    /// What happens to the servers meanwhile: one that the ground has.
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

/// Runs a workload against an embedded server, or one in each of its regions, under a fault, checks it, and leaves everything in the folder. An
/// error is no verdict: the run broke off, or is [`NotRun`](crate::NotRun).
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    prepare(options, Place::Embedded)?;
    let ahead = Place::Embedded.clocks_ahead(options.fault);
    let workload = options.workload.workload("jepsen".to_owned(), ahead).await?;
    let Options { fault, folder, .. } = options;
    if workload.regions().is_empty() {
        let mut ground = Embedded::start(*fault, folder, &*workload).await?;
        play(options, workload, &mut ground).await
    } else {
        let mut ground = Regions::start(*fault, folder, &*workload).await?;
        play(options, workload, &mut ground).await
    }
}

/// Plays a run on its ground, and judges it.
pub(crate) async fn play<G: Ground>(
    options: &Options,
    workload: Box<dyn Workload>,
    ground: &mut G,
) -> anyhow::Result<Report> {
    let folder = &options.folder;
    let start = Instant::now();
    let began_us = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros())?;
    workload.begins(began_us);
    let shared = Arc::new(Shared {
        workload,
        history: History::create(folder, "history", start)?,
        ran: Mutex::default(),
        clients: options.concurrency,
        stop: AtomicBool::new(false),
        process: AtomicI64::new(i64::from(options.concurrency)),
        began_us,
        off_us: AtomicI64::new(0),
    });
    let struck = operate(options, &shared, ground).await;
    shared.history.flush()?;
    let Struck { counts, strikes, mut bands } = struck?;
    let mut report = Report::new(options, G::PLACE, strikes, counts);
    report.missing = ground.missing();
    report.clock_off_ms = shared.off_us.load(Ordering::Relaxed) / 1_000;

    let patient = patient(ground).await?;
    let mut ran = std::mem::take(&mut *shared.ran.lock().expect("no holder of this lock panics"));
    let mut bars = std::mem::take(&mut ran.bars);
    let resolved = History::create(folder, "resolved", start)?;
    let ran = resolve(&patient, &shared, &resolved, ran, start, &mut report.verdict).await?;
    resolved.flush()?;

    // Nothing that counts now may live in memory only.
    let from = nanos(start.elapsed());
    ground.forget().await?;
    bands.push(Band { name: "kill".to_owned(), from, to: nanos(start.elapsed()) });
    settle(&patient, &shared, &ran).await?;
    let history_of_last = History::create(folder, "last", start)?;
    let last = read_everything(&patient, &shared, &history_of_last, &ran).await?;
    history_of_last.flush()?;
    shared.history.flush()?;
    ask_again(&patient, &shared, &ran, &mut report.verdict).await?;
    report.verdict.anomalies.extend(rest(ground, shared.workload.namespace()).await?);
    report.verdict.anomalies.extend(ground.end(folder).await?);

    judge(options, &*shared.workload, &ran, &last, &mut report)?;
    bars.append(&mut shared.ran.lock().expect("no holder of this lock panics").bars);
    Timeline { title: report.headline(), bars, bands, clients: options.concurrency.into() }
        .save(&folder.join("timeline.svg"))?;
    let text = serde_json::to_string_pretty(&report.to_json())?;
    std::fs::write(folder.join("verdict.json"), text + "\n")?;
    ground.leave(folder, report.validity() == crate::Validity::Valid).await?;
    Ok(report)
}

/// Checks what is asked for, and makes the folder, or empties one that a run made before.
pub(crate) fn prepare(options: &Options, place: Place) -> anyhow::Result<()> {
    ensure!(options.concurrency > 0, "a run needs at least one client");
    let known = place.faults().iter().any(|(fault, _)| *fault == options.fault);
    ensure!(known, "{} cannot happen there", options.fault.name());
    ensure!(options.workload.is_on(place), "{} cannot be run there", options.workload.name());
    let folder = &options.folder;
    let shown = folder.display();
    if folder.exists() && std::fs::read_dir(folder)?.next().is_some() {
        let made = ["history.edn", "server.log", "eu/server.log"];
        let made = made.iter().any(|name| folder.join(name).exists());
        ensure!(made, "{shown} is not empty and no run made it; choose another folder");
        std::fs::remove_dir_all(folder).with_context(|| format!("cannot empty {shown}"))?;
    }
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {shown}"))
}

async fn client(endpoints: Vec<String>, retry: RetryPolicy) -> anyhow::Result<Client> {
    let options = ClientOptions { wait: WAIT, retry, ..ClientOptions::default() };
    Ok(Client::connect_with(endpoints, options).await?)
}

/// A client of each region that does not give up soon.
async fn patient<G: Ground>(ground: &G) -> anyhow::Result<Vec<Client>> {
    let mut clients = Vec::new();
    for endpoints in ground.endpoints() {
        clients.push(client(endpoints, RetryPolicy::default()).await?);
    }
    Ok(clients)
}

/// Lets the clients work while the fault strikes.
async fn operate<G: Ground>(
    options: &Options,
    shared: &Arc<Shared>,
    ground: &mut G,
) -> anyhow::Result<Struck> {
    let patient = patient(ground).await?;
    for transaction in shared.workload.open() {
        let outcome = patient[0].submit(&transaction).await?;
        ensure!(outcome.is_committed(), "the workload could not begin: {outcome:?}");
    }
    let mut rng = StdRng::seed_from_u64(options.seed);
    let mut clients = JoinSet::new();
    for lane in 0..options.concurrency {
        let mut servers = Vec::new();
        for endpoints in ground.endpoints() {
            let mut of_region = Vec::new();
            for endpoint in endpoints {
                of_region.push(client(vec![endpoint], RetryPolicy::NEVER).await?);
            }
            servers.push(of_region);
        }
        let rng = StdRng::from_rng(&mut rng);
        clients.spawn(work(servers, Arc::clone(shared), lane, rng, G::THINK));
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

/// One client: a task after the other, at a server of the task's region until one fails it, then at the next.
async fn work(
    servers: Vec<Vec<Client>>,
    shared: Arc<Shared>,
    lane: u16,
    mut rng: StdRng,
    think: Duration,
) -> anyhow::Result<()> {
    let mut process = i64::from(lane);
    let mut server = usize::from(lane);
    while !shared.stop.load(Ordering::Relaxed) {
        let task = shared.workload.next_of(lane, &mut rng);
        let of_region = &servers[shared.workload.region(&task)];
        let client = &of_region[server % of_region.len()];
        match one(client, &shared, (lane.into(), process), task).await? {
            Ending::Happened => {}
            Ending::Failed => server += 1,
            Ending::Unknown => {
                server += 1;
                process = shared.process.fetch_add(1, Ordering::Relaxed);
            }
        }
        tokio::time::sleep(think).await;
    }
    Ok(())
}

/// One task of a client, by its lane and its process, written down: how it ended.
pub(crate) async fn one(
    client: &Client,
    shared: &Shared,
    (lane, process): (usize, i64),
    task: Task,
) -> anyhow::Result<Ending> {
    let Shared { workload, history, ran, .. } = shared;
    let asked = workload.shown(&task, None);
    let event = |kind, value| Event::new(kind, process, task.f, value);
    let from = history.write(event(Type::Invoke, asked.clone()))?;
    let told = perform(client, &**workload, &task).await;
    let id = |it: &Transaction| ("id".to_owned(), Value::Text(it.id().to_string()));
    let error = |why: String| ("error".to_owned(), Value::Text(why));
    let bar = |to, ending| Bar { lane, from, to, ending };
    let ending = match told {
        Told::Done { rows, arrived, transaction, timestamp_us } => {
            let mut event = event(Type::Ok, workload.shown(&task, Some(&rows)));
            event.ts = timestamp_us;
            event.more.extend(transaction.as_ref().map(id));
            let to = history.write(event)?;
            if let Some(at) = timestamp_us {
                shared.compare_clocks(at, to);
            }
            let end = timestamp_us.map_or(End::Read, End::Committed);
            let (invoked, completed) = (from, to);
            let done = Done { task, invoked, completed, rows, arrived, transaction, end };
            workload.over(&done);
            let mut ran = ran.lock().expect("no holder of this lock panics");
            ran.bars.push(bar(to, Ending::Happened));
            ran.done.push(done);
            return Ok(Ending::Happened);
        }
        Told::Failed { transaction, why } => {
            let mut event = event(Type::Fail, asked);
            event.more.extend(transaction.as_ref().map(id));
            event.more.push(error(why));
            let to = history.write(event)?;
            let (rows, arrived, end) = (Vec::new(), Vec::new(), End::Failed);
            let (invoked, completed) = (from, to);
            let done = Done { task, invoked, completed, rows, arrived, transaction, end };
            workload.over(&done);
            let mut ran = ran.lock().expect("no holder of this lock panics");
            ran.bars.push(bar(to, Ending::Failed));
            ran.done.push(done);
            Ending::Failed
        }
        Told::Unknown { rows, transaction, why } => {
            let mut event = event(Type::Info, asked);
            event.more.extend([id(&transaction), error(why)]);
            let to = history.write(event)?;
            let lost = Lost { task, process, invoked: from, rows, transaction };
            let mut ran = ran.lock().expect("no holder of this lock panics");
            ran.bars.push(bar(to, Ending::Unknown));
            ran.lost.push(lost);
            Ending::Unknown
        }
    };
    tokio::time::sleep(REST).await;
    Ok(ending)
}

impl Shared {
    /// Notes how far the server's clock seems to be from ours: a clock fault that does not show here did
    /// not happen.
    fn compare_clocks(&self, committed_us: i64, told_ns: u64) {
        let ours = self.began_us + i64::try_from(told_ns / 1_000).unwrap_or(i64::MAX / 2);
        self.off_us.fetch_max((committed_us - ours).abs(), Ordering::Relaxed);
    }
}
