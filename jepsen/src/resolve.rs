//! After the faults: what was lost is found out, everything is read, every answer is asked for again.

use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::ensure;
use handfast_checker::{Event, Type, Value};
use handfast_client::{Client, Outcome, OutcomeError, Transaction};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::client::send;
use crate::ground::Ground;
use crate::history::History;
use crate::run::{Lost, REST, Ran, Shared, one};
use crate::verdict::Verdict;
use crate::workload::{Done, End, Task};

/// How often an unknown outcome is asked for until it counts as undecided.
const ASKED: usize = 30;
/// Outcomes that are asked for again at the end, at most.
const ASKED_AGAIN: usize = 5_000;
/// Of these at the same time.
const ASKED_AT_ONCE: usize = 32;
/// Anomalies of one kind that are told.
const TOLD: usize = 10;
/// Rows of one read that waits until they are gone.
const ROWS_PER_READ: usize = 400;
/// How long the servers may take, after everything was read, until nothing is left to do; and before, until
/// what goes on by itself is over.
const REST_WITHIN: Duration = Duration::from_secs(60);

/// Finds out what became of everything whose answer was lost.
pub(crate) async fn resolve(
    clients: &[Client],
    shared: &Shared,
    resolved: &History,
    ran: Ran,
    start: Instant,
    verdict: &mut Verdict,
) -> anyhow::Result<Vec<Done>> {
    let Ran { mut done, lost, .. } = ran;
    verdict.unknown = lost.len();
    for (number, it) in lost.into_iter().enumerate() {
        let Lost { task, process, invoked, rows, transaction } = it;
        let client = &clients[shared.workload.region(&task)];
        let outcome = end_of(client, &task, &transaction, number).await?;
        let completed = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let (kind, ts, end) = match outcome {
            Some(End::Committed(at)) => {
                verdict.unknown_committed += 1;
                (Type::Ok, Some(at), End::Committed(at))
            }
            Some(end) => (Type::Fail, None, end),
            None => {
                let id = transaction.id();
                verdict.undecided.push(format!("nobody can say what became of {id}"));
                continue;
            }
        };
        let value = shared.workload.shown(&task, Some(&rows));
        let more = vec![("id".to_owned(), Value::Text(transaction.id().to_string()))];
        resolved.write(Event { ts, more, ..Event::new(kind, process, task.f, value) })?;
        let (arrived, transaction) = (Vec::new(), Some(transaction));
        done.push(Done { task, invoked, completed, rows, arrived, transaction, end });
    }
    Ok(done)
}

/// Asks; if nobody knows, bars it for ever or sends the same again, by turns. `None` if that fails too.
async fn end_of(
    client: &Client,
    task: &Task,
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
                Ok(send(client, task, transaction).await?)
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

/// Waits until what the workload's servers do by themselves is done, or could have been.
pub(crate) async fn settle(
    clients: &[Client],
    shared: &Shared,
    ran: &[Done],
) -> anyhow::Result<()> {
    shared.workload.settle(clients, ran).await?;
    let client = &clients[0];
    let mut left = shared.workload.passing(ran);
    let end = Instant::now() + REST_WITHIN;
    while !left.is_empty() && Instant::now() < end {
        let mut there = Vec::new();
        for some in left.chunks(ROWS_PER_READ) {
            let rows = client.read(shared.workload.namespace(), some.iter().cloned()).await?;
            let there_still = some.iter().zip(rows).filter(|(_, row)| row.exists);
            there.extend(there_still.map(|(it, _)| it.clone()));
        }
        left = there;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// Reads every key, as operations of the history, and once more in a history of their own: reads that
/// began when everything else was over, also what had no answer and was resolved.
pub(crate) async fn read_everything(
    clients: &[Client],
    shared: &Shared,
    history: &History,
    ran: &[Done],
) -> anyhow::Result<Vec<Done>> {
    let lane = usize::from(shared.clients);
    let tasks = shared.workload.last(ran);
    let process = shared.process.fetch_add(1, Ordering::Relaxed);
    for task in tasks {
        let client = &clients[shared.workload.region(&task)];
        one(client, shared, (lane, process), task).await?;
    }
    let mut ran = shared.ran.lock().expect("no holder of this lock panics");
    let last = std::mem::take(&mut ran.done);
    ensure!(last.iter().all(Done::has_happened), "the last reads failed: see history.edn");
    for Done { task, rows, .. } in &last {
        let event =
            |kind, rows| Event::new(kind, process, task.f, shared.workload.shown(task, rows));
        history.write(event(Type::Invoke, None))?;
        history.write(event(Type::Ok, Some(rows.as_slice())))?;
    }
    Ok(last)
}

/// Every answer that was given must be given again: durability, whoever reads or not.
pub(crate) async fn ask_again(
    clients: &[Client],
    shared: &Shared,
    ran: &[Done],
    verdict: &mut Verdict,
) -> anyhow::Result<()> {
    let submitted = ran.iter().filter_map(|done| {
        let client = &clients[shared.workload.region(&done.task)];
        Some((client, done.transaction.as_ref()?, done.end))
    });
    let submitted: Vec<(&Client, &Transaction, End)> = submitted.collect();
    // All of them, or an even sample of a long run.
    let step = submitted.len().div_ceil(ASKED_AGAIN).max(1);
    let mut asked = JoinSet::new();
    let mut wrong = Vec::new();
    let mut rest = submitted.into_iter().step_by(step);
    loop {
        if asked.len() < ASKED_AT_ONCE
            && let Some((client, transaction, end)) = rest.next()
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

/// Waits until every server is at rest: nothing waits, is locked, open, parked or still to be applied. What is
/// left behind.
pub(crate) async fn rest<G: Ground>(ground: &G, namespace: &str) -> anyhow::Result<Vec<String>> {
    let end = Instant::now() + REST_WITHIN;
    loop {
        let mut busy = Vec::new();
        for endpoint in ground.leaders() {
            let status =
                Client::connect([endpoint.clone()]).await?.admin().status(namespace).await?;
            busy.extend(status.shards.iter().filter_map(|it| {
                let left = [it.waiting, it.prepared, it.open, it.parked_rows, it.overlay_bytes];
                (left != [0; 5]).then(|| {
                    let [waiting, prepared, open, parked, overlay] = left;
                    format!(
                        "{endpoint} has left in shard {}: {waiting} waiting, {prepared} prepared, {open} open, \
                         {parked} rows parked, {overlay} bytes to apply",
                        it.shard
                    )
                })
            }));
        }
        if busy.is_empty() || Instant::now() > end {
            return Ok(busy);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
