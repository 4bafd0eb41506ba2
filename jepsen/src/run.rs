//! One run, from the first process to the verdict.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, ensure};
use handfast_checker::{Event, Type, Value};
use handfast_client::{
    Client, Options as ClientOptions, Outcome, OutcomeError, RetryPolicy, Transaction,
};
use handfast_e2e::Server;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::client::{Told, perform};
use crate::fault::{Fault, Until, strike};
use crate::history::History;
use crate::verdict::Verdict;
use crate::workload::{Done, End, Kind, Task, Workload};

/// How long a client waits for one answer.
const WAIT: Duration = Duration::from_secs(5);
/// How long a client rests after a failure, so that an absent server does not fill the history.
const REST: Duration = Duration::from_millis(10);
/// How often an unknown outcome is asked for until it counts as undecided.
const ASKED: usize = 30;
/// Outcomes that are asked for again at the end, at most.
const ASKED_AGAIN: usize = 5_000;
/// Of these at the same time.
const ASKED_AT_ONCE: usize = 32;
/// Anomalies of one kind that are told.
const TOLD: usize = 10;

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
    /// The run goes on until so many faults have struck, at most five times as long.
    pub at_least_faults: usize,
    /// Where it leaves history, verdict and logs.
    pub folder: PathBuf,
}

/// A task whose answer was lost.
struct Lost {
    task: Task,
    process: i64,
    invoked: u64,
    rows: Vec<handfast_client::Row>,
    transaction: Transaction,
}

/// What the clients have done so far.
#[derive(Default)]
struct Ran {
    done: Vec<Done>,
    lost: Vec<Lost>,
}

/// Everything that the clients share.
struct Shared {
    workload: Box<dyn Workload>,
    history: History,
    ran: Mutex<Ran>,
    stop: AtomicBool,
    /// The next process: one whose answer was lost is never used again.
    process: AtomicI64,
}

/// Runs a workload under a fault, checks it, and leaves everything in the folder. An error is no verdict:
/// the run broke off.
pub async fn run(options: &Options) -> anyhow::Result<Verdict> {
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
    let mut server = Server::start(folder, &[&definition]).await?;
    let start = Instant::now();
    let history = History::create(folder, "history", start)?;
    let shared = Arc::new(Shared {
        workload,
        history,
        ran: Mutex::default(),
        stop: AtomicBool::new(false),
        process: AtomicI64::new(i64::from(options.concurrency)),
    });
    let faults = operate(options, &shared, &mut server).await;
    shared.history.flush()?;
    let faults = faults?;
    let mut verdict = Verdict {
        workload: options.workload.name(),
        fault: options.fault.name(),
        seed: options.seed,
        faults,
        ..Verdict::default()
    };
    let patient = client(&server, RetryPolicy::default()).await?;
    let ran = std::mem::take(&mut *shared.ran.lock().expect("no holder of this lock panics"));
    let resolved = History::create(folder, "resolved", start)?;
    let ran = resolve(&patient, &shared, &resolved, ran, start, &mut verdict).await?;
    resolved.flush()?;

    // Nothing that counts now may live in memory only.
    server.kill().await?;
    server.restart().await?;
    let last = read_everything(&patient, &shared, &ran).await?;
    shared.history.flush()?;
    ask_again(&patient, &ran, &mut verdict).await?;
    server.stop().await?;

    judge(options, &shared, &ran, &last, &mut verdict);
    if server.said().contains("panicked") {
        verdict.anomalies.push("the server panicked: see server.log".to_owned());
    }
    let text = serde_json::to_string_pretty(&verdict.to_json())?;
    std::fs::write(folder.join("verdict.json"), text + "\n")?;
    // The log and the tables have told what they had to tell; the rest is kept.
    if verdict.validity() == crate::Validity::Valid {
        std::fs::remove_dir_all(folder.join("data"))?;
    }
    Ok(verdict)
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

/// Lets the clients work while the fault strikes. How often it struck.
async fn operate(
    options: &Options,
    shared: &Arc<Shared>,
    server: &mut Server,
) -> anyhow::Result<usize> {
    let patient = client(server, RetryPolicy::default()).await?;
    for transaction in shared.workload.open() {
        let outcome = patient.submit(&transaction).await?;
        ensure!(outcome.is_committed(), "the workload could not begin: {outcome:?}");
    }
    let mut rng = StdRng::seed_from_u64(options.seed);
    let mut clients = JoinSet::new();
    for process in 0..i64::from(options.concurrency) {
        let client = client(server, RetryPolicy::NEVER).await?;
        let rng = StdRng::from_rng(&mut rng);
        clients.spawn(work(client, Arc::clone(shared), process, rng));
    }
    let begun = Instant::now();
    let until = Until {
        time: begun + options.time,
        faults: options.at_least_faults,
        latest: begun + options.time * 5,
    };
    let struck = strike(options.fault, server, &until, &shared.history, &mut rng).await;
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
    mut process: i64,
    mut rng: StdRng,
) -> anyhow::Result<()> {
    while !shared.stop.load(Ordering::Relaxed) {
        let task = shared.workload.next(&mut rng);
        let lost = one(&client, &shared, process, task).await?;
        if lost {
            process = shared.process.fetch_add(1, Ordering::Relaxed);
        }
    }
    Ok(())
}

/// One task, written down. Whether its answer was lost.
async fn one(client: &Client, shared: &Shared, process: i64, task: Task) -> anyhow::Result<bool> {
    let Shared { workload, history, ran, .. } = shared;
    let asked = workload.shown(&task, None);
    let event = |kind, value, more| Event { more, ..Event::new(kind, process, task.f, value) };
    let invoked = history.write(event(Type::Invoke, asked.clone(), Vec::new()))?;
    let told = perform(client, &**workload, &task).await;
    let mut more = Vec::new();
    let id = |it: &Transaction| ("id".to_owned(), Value::Text(it.id().to_string()));
    match told {
        Told::Done { rows, transaction, timestamp_us } => {
            more.extend(transaction.as_ref().map(id));
            let event = event(Type::Ok, workload.shown(&task, Some(&rows)), more);
            let completed = history.write(Event { ts: timestamp_us, ..event })?;
            let end = timestamp_us.map_or(End::Read, End::Committed);
            let done = Done { task, invoked, completed, rows, transaction, end };
            ran.lock().expect("no holder of this lock panics").done.push(done);
        }
        Told::Failed { transaction, why } => {
            more.extend(transaction.as_ref().map(id));
            more.push(("error".to_owned(), Value::Text(why)));
            let completed = history.write(event(Type::Fail, asked, more))?;
            let done =
                Done { task, invoked, completed, rows: Vec::new(), transaction, end: End::Failed };
            ran.lock().expect("no holder of this lock panics").done.push(done);
            tokio::time::sleep(REST).await;
        }
        Told::Unknown { rows, transaction, why } => {
            more.push(id(&transaction));
            more.push(("error".to_owned(), Value::Text(why)));
            history.write(event(Type::Info, asked, more))?;
            let lost = Lost { task, process, invoked, rows, transaction };
            ran.lock().expect("no holder of this lock panics").lost.push(lost);
            tokio::time::sleep(REST).await;
            return Ok(true);
        }
    }
    Ok(false)
}

/// Finds out what became of everything whose answer was lost.
async fn resolve(
    client: &Client,
    shared: &Shared,
    resolved: &History,
    ran: Ran,
    start: Instant,
    verdict: &mut Verdict,
) -> anyhow::Result<Vec<Done>> {
    let Ran { mut done, lost } = ran;
    verdict.unknown = lost.len();
    for (number, it) in lost.into_iter().enumerate() {
        let Lost { task, process, invoked, rows, transaction } = it;
        let outcome = end_of(client, &transaction, number).await?;
        let completed = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let more = vec![("id".to_owned(), Value::Text(transaction.id().to_string()))];
        let (kind, end) = match outcome {
            Some(End::Committed(at)) => {
                verdict.unknown_committed += 1;
                (Type::Ok, End::Committed(at))
            }
            Some(end) => (Type::Fail, end),
            None => {
                let id = transaction.id();
                verdict.undecided.push(format!("nobody can say what became of {id}"));
                continue;
            }
        };
        let value = shared.workload.shown(&task, Some(&rows));
        let ts = match end {
            End::Committed(at) => Some(at),
            End::Read | End::Failed => None,
        };
        resolved.write(Event { ts, more, ..Event::new(kind, process, task.f, value) })?;
        done.push(Done { task, invoked, completed, rows, transaction: Some(transaction), end });
    }
    Ok(done)
}

/// Asks; if nobody knows, bars it for ever or sends the same again, by turns. `None` if that fails too.
async fn end_of(
    client: &Client,
    transaction: &Transaction,
    number: usize,
) -> anyhow::Result<Option<End>> {
    let locator = transaction.locator();
    for _ in 0..ASKED {
        let mut answer = client.outcome(&locator).await;
        if matches!(answer, Ok(Outcome::Unknown(_))) {
            answer = if number.is_multiple_of(2) {
                client.fence(&locator).await
            } else {
                Ok(client.submit(transaction).await?)
            };
        }
        match answer {
            Ok(Outcome::Committed(it)) => return Ok(Some(End::Committed(it.timestamp_us))),
            Ok(Outcome::Aborted(_)) => return Ok(Some(End::Failed)),
            Ok(Outcome::Unknown(_)) => tokio::time::sleep(REST).await,
            Err(OutcomeError::TooOld { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

/// Reads every key, as operations of the history.
async fn read_everything(
    client: &Client,
    shared: &Shared,
    ran: &[Done],
) -> anyhow::Result<Vec<Done>> {
    let tasks = shared.workload.last(ran);
    let process = shared.process.fetch_add(1, Ordering::Relaxed);
    for task in tasks {
        one(client, shared, process, task).await?;
    }
    let mut ran = shared.ran.lock().expect("no holder of this lock panics");
    let last = std::mem::take(&mut ran.done);
    ensure!(last.iter().all(Done::has_happened), "the last reads failed: see history.edn");
    Ok(last)
}

/// Every answer that was given must be given again: durability, whoever reads or not.
async fn ask_again(client: &Client, ran: &[Done], verdict: &mut Verdict) -> anyhow::Result<()> {
    let submitted: Vec<(&Transaction, End)> =
        ran.iter().filter_map(|done| Some((done.transaction.as_ref()?, done.end))).collect();
    // All of them, or an even sample of a long run.
    let step = submitted.len().div_ceil(ASKED_AGAIN).max(1);
    let mut asked = JoinSet::new();
    let mut wrong = Vec::new();
    let mut rest = submitted.into_iter().step_by(step);
    loop {
        if asked.len() < ASKED_AT_ONCE
            && let Some((transaction, end)) = rest.next()
        {
            let (client, locator) = (client.clone(), transaction.locator());
            asked.spawn(async move { (client.outcome(&locator).await, locator.id, end) });
            continue;
        }
        let Some(answered) = asked.join_next().await else { break };
        let (answer, id, end) = answered?;
        let holds = match (&answer, end) {
            (Ok(Outcome::Committed(now)), End::Committed(at)) => now.timestamp_us == at,
            // Refused before anything was logged, it is unseen; anything but committed holds.
            (Ok(Outcome::Aborted(_) | Outcome::Unknown(_)), End::Failed) => true,
            (Err(OutcomeError::TooOld { .. }), _) => continue, // forgotten, as promised
            (Err(error), _) => anyhow::bail!("cannot ask for the outcome of {id}: {error}"),
            (Ok(_), _) => false,
        };
        verdict.asked_again += 1;
        if !holds {
            wrong.push(format!("{id} was told as {end:?}, and is {answer:?} after a restart"));
        }
    }
    wrong.truncate(TOLD);
    verdict.anomalies.extend(wrong);
    Ok(())
}

/// Counts and checks.
fn judge(options: &Options, shared: &Shared, ran: &[Done], last: &[Done], verdict: &mut Verdict) {
    for done in ran {
        match done.end {
            End::Committed(_) => verdict.committed += 1,
            End::Read => verdict.read += 1,
            End::Failed => verdict.failed += 1,
        }
    }
    let mut answered: Vec<u64> =
        ran.iter().filter(|done| done.has_happened()).map(|done| done.completed).collect();
    answered.sort_unstable();
    let silences = answered.windows(2).map(|pair| (pair[1] - pair[0]) / 1_000_000);
    verdict.longest_silence_ms = silences.max().unwrap_or(0);
    let mut wrong = shared.workload.check(ran, last);
    let more = wrong.len().saturating_sub(TOLD);
    wrong.truncate(TOLD);
    if more > 0 {
        wrong.push(format!("and {more} more"));
    }
    // With an outcome missing, what looks wrong may be its doing.
    if verdict.undecided.is_empty() {
        verdict.anomalies.extend(wrong);
    } else {
        verdict.undecided.extend(wrong);
    }
    if verdict.committed < options.at_least_committed {
        let (committed, least) = (verdict.committed, options.at_least_committed);
        verdict
            .undecided
            .push(format!("{committed} operations committed; {least} are too few to tell"));
    }
    if options.fault != Fault::None && verdict.faults < options.at_least_faults {
        let (faults, least) = (verdict.faults, options.at_least_faults);
        verdict.undecided.push(format!("{faults} faults struck, and not {least}"));
    }
}
