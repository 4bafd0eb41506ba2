//! The middle of the demo: a hundred clients, `kill -9`, a restart, and every doubt resolved.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use handfast_client::{Client, Outcome, SubmitError};
use indicatif::{ProgressBar, ProgressDrawTarget};
use tokio::task::JoinSet;

use super::bank::{self, Bank, Transfer};
use super::ground::Ground;
use super::say;

/// Clients that transfer at the same time.
const CLIENTS: usize = 100;
/// Answers after which the worst happens: all clients are busy then.
const STRIKE_AFTER: usize = 500;
/// How long a client waits that was not answered.
const PAUSE: Duration = Duration::from_millis(100);
/// How long these answers may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a transfer ended before the server was started again.
struct Sent {
    transfer: Transfer,
    /// `None` if the client was left in the dark.
    outcome: Option<Outcome>,
}

/// Kills the server under load and finds out what became of every transfer.
pub(super) async fn survives(
    bank: &Bank,
    ground: &mut Ground,
) -> anyhow::Result<Vec<(Transfer, Outcome)>> {
    say::title("A hundred concurrent transfers, and kill -9 in the middle");
    let sent = load_and_strike(bank, ground).await?;
    let dark = sent.iter().filter(|sent| sent.outcome.is_none()).count();
    let answered = sent.len() - dark;
    say::line(format!("{answered} answers; {dark} clients do not know what became of theirs"));
    let took = ground.mend(bank).await?;
    match ground {
        Ground::Own(server) => {
            ensure!(dark > 0, "the server was killed, yet every client was answered");
            let (id, took) = (server.process_id(), took.as_millis());
            say::line(format!(
                "process {id} serves the same files, {took} ms after it was started"
            ));
        }
        Ground::Running(_) => {
            say::line(format!("all accounts could be read {} ms later", took.as_millis()));
        }
    }

    say::title("Every answer still holds, every doubt is resolved");
    let client = ground.client().await?;
    let mut ended = Vec::with_capacity(sent.len());
    let progress = progress(sent.len());
    let mut tally = Tally::default();
    for (number, Sent { transfer, outcome }) in sent.into_iter().enumerate() {
        let outcome = match outcome {
            Some(before) => still_holds(&client, &transfer, before).await?,
            None => resolve(&client, &transfer, number, &mut tally).await?,
        };
        ended.push((transfer, outcome));
        progress.inc(1);
    }
    progress.finish_and_clear();
    say::line(format!("all {answered} answers are given again, to the microsecond"));
    let Tally { had_committed, committed_now, aborted, barred } = tally;
    say::line(format!(
        "of {dark} in doubt: {had_committed} had committed before the kill, {committed_now} committed \
         when sent again under their ids, {aborted} were aborted by a condition, {barred} were barred \
         for ever"
    ));
    let total = bank.total(&client).await?;
    ensure!(total == bank::TOTAL, "the accounts hold {total} together, not {}", bank::TOTAL);
    Ok(ended)
}

/// What the clients have in common.
#[derive(Default)]
struct Load {
    /// Whether there are servers that are not struck.
    goes_on: bool,
    answers: AtomicUsize,
    stop: AtomicBool,
}

impl Load {
    /// Waits until so many answers more have come, which may not take long.
    async fn answered(&self, more: usize) -> anyhow::Result<()> {
        let wanted = self.answers.load(Ordering::Relaxed) + more;
        let enough = async {
            while self.answers.load(Ordering::Relaxed) < wanted {
                tokio::time::sleep(Duration::from_micros(200)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, enough).await.is_err() {
            bail!("{more} transfers were not answered in {} s", PATIENCE.as_secs());
        }
        Ok(())
    }
}

/// Lets the clients loose and strikes while all of them are busy.
async fn load_and_strike(bank: &Bank, ground: &mut Ground) -> anyhow::Result<Vec<Sent>> {
    let load = Arc::new(Load { goes_on: matches!(ground, Ground::Running(_)), ..Load::default() });
    let mut clients = JoinSet::new();
    let client = ground.impatient_client().await?;
    for _ in 0..CLIENTS {
        clients.spawn(transfer_until_the_end(bank.clone(), client.clone(), Arc::clone(&load)));
    }
    load.answered(STRIKE_AFTER).await?;
    ground.strike().await?;
    if matches!(ground, Ground::Running(_)) {
        // What is left goes on, and takes over from what is gone.
        let begun = Instant::now();
        load.answered(STRIKE_AFTER).await?;
        let took = begun.elapsed().as_millis();
        say::line(format!("{STRIKE_AFTER} answers more came from what was left, in {took} ms"));
    }
    load.stop.store(true, Ordering::Relaxed);
    let mut sent = Vec::new();
    while let Some(ended) = clients.join_next().await {
        sent.extend(ended??);
    }
    Ok(sent)
}

/// One client: a transfer after the other, until the load ends, or one is not answered and nothing is
/// left that could answer the next.
async fn transfer_until_the_end(
    bank: Bank,
    client: Client,
    load: Arc<Load>,
) -> anyhow::Result<Vec<Sent>> {
    let mut sent = Vec::new();
    while !load.stop.load(Ordering::Relaxed) {
        let transfer = bank.random_transfer();
        match client.submit(&transfer.transaction).await {
            Ok(Outcome::Unknown(_)) | Err(SubmitError::Unavailable { .. }) => {
                sent.push(Sent { transfer, outcome: None });
                if !load.goes_on {
                    return Ok(sent);
                }
                tokio::time::sleep(PAUSE).await;
            }
            Ok(outcome) => {
                load.answers.fetch_add(1, Ordering::Relaxed);
                sent.push(Sent { transfer, outcome: Some(outcome) });
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(sent)
}

/// An answer given before the kill must be given again after it.
async fn still_holds(
    client: &Client,
    transfer: &Transfer,
    before: Outcome,
) -> anyhow::Result<Outcome> {
    let now = client.submit(&transfer.transaction).await?;
    let same = match (&before, &now) {
        (Outcome::Committed(before), Outcome::Committed(now)) => {
            before.timestamp_us == now.timestamp_us
        }
        (Outcome::Aborted(before), Outcome::Aborted(now)) => before.reason == now.reason,
        _ => false,
    };
    ensure!(same, "answered {before:?} before the kill, and {now:?} after it");
    Ok(now)
}

/// What became of the transfers in doubt.
#[derive(Default)]
struct Tally {
    had_committed: usize,
    committed_now: usize,
    aborted: usize,
    barred: usize,
}

/// Resolves a doubt: asks; if nobody knows, sends the same again, or bars it for ever, by turns.
async fn resolve(
    client: &Client,
    transfer: &Transfer,
    number: usize,
    tally: &mut Tally,
) -> anyhow::Result<Outcome> {
    let locator = transfer.transaction.locator();
    let asked = client.outcome(&locator).await?;
    let (outcome, count) = match asked {
        Outcome::Committed(_) => (asked, &mut tally.had_committed),
        Outcome::Aborted(_) => (asked, &mut tally.aborted),
        Outcome::Unknown(_) if number.is_multiple_of(2) => {
            let barred = client.fence(&locator).await?;
            // It may have been on its way all the same: then it has committed, and that is final.
            let count = match barred {
                Outcome::Committed(_) => &mut tally.had_committed,
                Outcome::Aborted(_) | Outcome::Unknown(_) => &mut tally.barred,
            };
            (barred, count)
        }
        Outcome::Unknown(_) => {
            let again = client.submit(&transfer.transaction).await?;
            let count = match again {
                Outcome::Committed(_) => &mut tally.committed_now,
                Outcome::Aborted(_) | Outcome::Unknown(_) => &mut tally.aborted,
            };
            (again, count)
        }
    };
    *count += 1;
    ensure!(!matches!(outcome, Outcome::Unknown(_)), "{locator} is still unknown: {outcome:?}");
    Ok(outcome)
}

/// Progress on stderr, if somebody watches.
fn progress(length: usize) -> ProgressBar {
    ProgressBar::with_draw_target(Some(length as u64), ProgressDrawTarget::stderr())
}
