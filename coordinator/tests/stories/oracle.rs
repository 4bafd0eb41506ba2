//! What must hold in every story, however often its messages come again.

use std::collections::{BTreeMap, BTreeSet};

use coordinator::interface::CommitCommand;
use participant::message::ShardRequest;
use wal_core::{Attempt, Timestamp, TxnId};

/// A decision that was sent to a participant.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Decision {
    Commit(Timestamp),
    Abort,
}

/// Remembers what was answered and decided.
#[derive(Default)]
pub(crate) struct Oracle {
    answered: BTreeSet<u64>,
    decided: BTreeMap<(TxnId, Attempt), Decision>,
}

impl Oracle {
    /// Each call is answered once, each attempt decided one way.
    pub(crate) fn judge(&mut self, commands: &[CommitCommand]) -> Result<(), String> {
        for command in commands {
            match command {
                CommitCommand::Answer { call, answer } if !self.answered.insert(*call) => {
                    return Err(format!("call {call} is answered again: {answer:?}"));
                }
                CommitCommand::Send {
                    request: ShardRequest::Commit { id, attempt, timestamp, .. },
                    ..
                } => self.decide(*id, *attempt, Decision::Commit(*timestamp))?,
                CommitCommand::Send { request: ShardRequest::Abort { id, attempt }, .. } => {
                    self.decide(*id, *attempt, Decision::Abort)?;
                }
                CommitCommand::Answer { .. } | CommitCommand::Send { .. } => {}
            }
        }
        Ok(())
    }

    fn decide(&mut self, id: TxnId, attempt: Attempt, decision: Decision) -> Result<(), String> {
        let first = *self.decided.entry((id, attempt)).or_insert(decision);
        match first == decision {
            true => Ok(()),
            false => Err(format!("{id} {attempt:?} is decided as {first:?}, then {decision:?}")),
        }
    }
}
