//! Steps in words.

use super::state::{HOME, LATER, Outcome, State};
use super::{Answer, Commit, Step};

fn shard_name(shard: usize) -> &'static str {
    match shard {
        HOME => "home",
        1 => "P",
        _ => "Q",
    }
}

fn attempt_name(state: &State, attempt: usize) -> String {
    match attempt {
        0 => "attempt 1 of gateway A".into(),
        1 => "attempt 1 of gateway B".into(),
        _ => format!("attempt {} (nonce time {})", attempt, state.attempts[attempt].bar),
    }
}

impl Commit {
    pub(super) fn sentence(&self, before: &State, step: Step, after: &State) -> String {
        let name = |attempt| attempt_name(after, attempt);
        match step {
            Step::Start(gateway) => {
                format!("gateway {} sends Prepare(t, attempt 1) to all", ["A", "B"][gateway])
            }
            Step::SendAgain(attempt) => {
                format!("{} is sent again, with the epochs of now", name(attempt))
            }
            Step::StartLater { attempt, .. } => {
                format!(
                    "home, which holds {}, sends Prepare(t, {}) to all",
                    self.holds(before),
                    name(attempt)
                )
            }
            Step::Prepare { attempt, shard, answer } => {
                self.tell_prepare(before, after, attempt, shard, answer)
            }
            Step::Grant(shard) => {
                format!("{} grants the lock to the Prepare that waited", shard_name(shard))
            }
            Step::Durable(shard) => {
                format!("{}'s Prepare is durable: it votes yes", shard_name(shard))
            }
            Step::FailOver { shard, kept } => {
                let record = match (before.shards[shard].appending, kept) {
                    (None, _) => "",
                    (Some(_), true) => "; the Prepare in flight turns out to be in the log",
                    (Some(_), false) => "; the Prepare in flight is lost",
                };
                let epoch = after.shards[shard].epoch;
                format!("{} fails over and leads at epoch {epoch}{record}", shard_name(shard))
            }
            Step::Resolve { attempt, shard } => self.tell_resolve(before, after, attempt, shard),
            Step::DeposedRefuses { attempt, shard } => {
                format!(
                    "a deposed leader of {} says, without a record, that it refuses {}",
                    shard_name(shard),
                    name(attempt)
                )
            }
            Step::DeposedTurnsAway { attempt, shard } => format!(
                "{}, which expects the new leader of {}, reaches the old one: it says \"wrong epoch\", taken as a no",
                name(attempt),
                shard_name(shard)
            ),
            Step::DeposedAcknowledges(shard) => format!(
                "a deposed leader of {}, which remembers nothing, acknowledges the outcome to the home",
                shard_name(shard)
            ),
            Step::Commit { attempt, shard } => {
                format!(
                    "{} hears that {} is committed, appends Commit and applies",
                    shard_name(shard),
                    name(attempt)
                )
            }
            Step::Abort { attempt, shard } => {
                format!(
                    "{} hears that {} is aborted and appends Abort",
                    shard_name(shard),
                    name(attempt)
                )
            }
            Step::Fence(shard) => format!(
                "{} is asked to fence and appends Close; the client may be told \"aborted\"",
                shard_name(shard)
            ),
            Step::CloseTold(shard) => {
                format!("home hears of {}'s Close and appends Close too", shard_name(shard))
            }
            Step::Open => {
                "a gateway's Open(t) arrives at the home, which appends Intent: logged".into()
            }
            Step::TellAborted => "the client is told \"aborted\"".into(),
            Step::Floor { shard, .. } => {
                format!(
                    "{}'s floor is now {} (the id's time is 1)",
                    shard_name(shard),
                    after.shards[shard].floor
                )
            }
            Step::Acknowledge(HOME) => {
                "home counts itself among those that have the outcome".into()
            }
            Step::Acknowledge(shard) => {
                format!("{} acknowledges the outcome to the home", shard_name(shard))
            }
            Step::Finish => format!(
                "home appends and sends Finished (until {})",
                after.home.finished.unwrap_or(0)
            ),
            Step::Finished(shard) => format!("{} hears Finished", shard_name(shard)),
            Step::AskFinished(shard) => {
                format!(
                    "{} asks the home, which knows nothing, and hears Finished",
                    shard_name(shard)
                )
            }
            Step::Forget(shard) => format!("{} forgets the outcome", shard_name(shard)),
            Step::ForgetRefuse { attempt, shard } => {
                format!("{} forgets that it refused {}", shard_name(shard), name(attempt))
            }
        }
    }

    fn holds(&self, state: &State) -> &'static str {
        if state.home.intent { "the open intent" } else { "no intent" }
    }

    fn tell_prepare(
        &self,
        before: &State,
        after: &State,
        attempt: usize,
        shard: usize,
        answer: Answer,
    ) -> String {
        let (who, what) = (shard_name(shard), attempt_name(after, attempt));
        let old = before.shards[shard];
        let new = after.shards[shard];
        if new.appending != old.appending {
            format!("{who} begins to append Prepare({what})")
        } else if new.held != old.held {
            format!("{who} appends Prepare({what}), which is durable: it votes yes")
        } else if new.waiting != old.waiting {
            format!("{who} lets Prepare({what}) wait for a lock")
        } else if new.outcome == Outcome::Close && old.outcome != Outcome::Close {
            format!("{who} finds a condition of {what} false and appends Close")
        } else if answer == Answer::Close && after.told_aborted && !before.told_aborted {
            format!(
                "{who} finds a condition of {what} false, says so, and dies before Close is in the log"
            )
        } else if attempt < LATER && after.attempts[attempt].bar <= old.floor {
            format!("{who} says that {what} is too old")
        } else {
            format!("{who} says no to {what}, without a record")
        }
    }

    fn tell_resolve(&self, before: &State, after: &State, attempt: usize, shard: usize) -> String {
        let (who, what) = (shard_name(shard), attempt_name(after, attempt));
        if before.shards[shard].barred == after.shards[shard].barred {
            format!("{who}, asked to resolve {what}, says \"refused\" from what it has")
        } else {
            format!("{who}, asked to resolve {what}, appends Refuse and says so")
        }
    }
}
