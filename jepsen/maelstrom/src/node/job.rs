//! One client's request on its way: read, submit, and when an answer does not come, make it definite.
//!
//! ```text
//! read rows ──▶ submit, under an id ──┬─ committed ────────────────▶ ok
//!     ▲                               ├─ a version has changed ──▶ once more, under a new id
//!     └───────────────────────────────┘
//!                                     └─ no answer by then ─▶ fence the id ─┬─ committed ▶ ok
//!                                                                           ├─ aborted ──▶ 14, definite
//!                                                                           └─ no answer ▶ 0, indefinite
//! ```
//!
//! A new id is drawn only when the old one is definitely aborted: so nothing is done twice.

use coordinator::api::{Answer, Call, CallAnswer, Level, OutcomeAnswer, OutcomeQuery, ReadAnswer};
use serde_json::{Map, Value as Json};
use std::sync::Arc;
use wal_core::build::{Batch, build, build_key};
use wal_core::namespace::Namespace;
use wal_core::{AbortReason, ColumnId, ShardId, Timestamp, TxnId};

use super::ask::{Ask, Plan, row_name};
use crate::protocol::{Code, error};

/// Pause before something that could not be done is tried again, microseconds.
const PAUSE_US: u64 = 20_000;

/// What a job needs of its node.
pub(super) struct Context<'a> {
    pub(super) now_us: u64,
    pub(super) namespace: &'a Namespace,
    /// The column that holds values.
    pub(super) column: ColumnId,
    /// An id that was never drawn before.
    pub(super) fresh: TxnId,
    /// Whether answers carry commit timestamps.
    pub(super) timestamps: bool,
}

/// What is to be done for a job.
#[derive(Debug)]
pub(super) enum Step {
    /// Nothing, until an answer or time comes.
    Wait,
    /// This call; an earlier one is to be forgotten.
    Call(Call),
    /// It is over: answer the client.
    Answer(Map<String, Json>),
}

/// A submission whose outcome counts.
#[derive(Clone, Debug)]
struct Submitted {
    id: TxnId,
    home: ShardId,
    answer: Map<String, Json>,
}

#[derive(Clone, Debug)]
enum Doing {
    Reading,
    Submitting(Submitted),
    Fencing(Submitted),
    /// Nothing of it is undecided; it begins again then.
    Pausing {
        until_us: u64,
    },
    /// It is fenced again then.
    PausingFence {
        until_us: u64,
        submitted: Submitted,
    },
}

/// A client's request.
#[derive(Debug)]
pub(super) struct Job {
    /// Who waits.
    pub(super) client: String,
    /// The number of its request.
    pub(super) msg_id: u64,
    ask: Ask,
    doing: Doing,
    fence_at_us: u64,
    until_us: u64,
}

impl Job {
    /// A job that is to be answered within so long.
    pub(super) fn new(client: String, msg_id: u64, ask: Ask, now_us: u64, within_us: u64) -> Self {
        let until_us = now_us + within_us;
        let fence_at_us = now_us + within_us / 8 * 5;
        let doing = Doing::Pausing { until_us: now_us };
        Self { client, msg_id, ask, doing, fence_at_us, until_us }
    }

    /// Begins, or begins again: whatever was submitted is definitely aborted.
    pub(super) fn begin(&mut self, context: &Context<'_>) -> Step {
        let mut keys = Vec::new();
        for key in self.ask.reads() {
            let (table, columns) = row_name(&key);
            match build_key(context.namespace, table, &columns) {
                Ok(key) => keys.push(key),
                Err(why) => return Step::Answer(error(Code::MalformedRequest, &why.to_string())),
            }
        }
        if keys.is_empty() {
            return self.carry_out(self.ask.plan(&[], context.column), context);
        }
        self.doing = Doing::Reading;
        Step::Call(Call::Read { keys })
    }

    /// Its call was answered.
    pub(super) fn on_answer(&mut self, answer: CallAnswer, context: &Context<'_>) -> Step {
        match (answer, self.doing.clone()) {
            (CallAnswer::Read(ReadAnswer::Rows(rows)), Doing::Reading) => {
                self.carry_out(self.ask.plan(&rows, context.column), context)
            }
            (CallAnswer::Read(_), Doing::Reading) => self.pause(context),
            (CallAnswer::Submit(answer), Doing::Submitting(submitted)) => {
                self.on_submitted(answer, submitted, context)
            }
            (CallAnswer::Outcome(answer), Doing::Fencing(submitted)) => {
                self.on_fenced(answer, submitted, context)
            }
            _ => Step::Wait, // an answer to what was given up
        }
    }

    /// Time has passed.
    pub(super) fn on_tick(&mut self, context: &Context<'_>) -> Step {
        let late = context.now_us >= self.until_us;
        match self.doing.clone() {
            Doing::Reading | Doing::Pausing { .. } if late => Step::Answer(error(
                Code::TemporarilyUnavailable,
                "nobody who leads could be reached",
            )),
            Doing::Fencing(_) | Doing::PausingFence { .. } if late => {
                Step::Answer(error(Code::Timeout, "the outcome could not be found out in time"))
            }
            Doing::Pausing { until_us } if context.now_us >= until_us => self.begin(context),
            Doing::PausingFence { until_us, submitted } if context.now_us >= until_us => {
                self.fence(submitted)
            }
            Doing::Submitting(submitted) if context.now_us >= self.fence_at_us => {
                self.fence(submitted)
            }
            Doing::Reading
            | Doing::Submitting(_)
            | Doing::Fencing(_)
            | Doing::Pausing { .. }
            | Doing::PausingFence { .. } => Step::Wait,
        }
    }

    fn pause(&mut self, context: &Context<'_>) -> Step {
        self.doing = Doing::Pausing { until_us: context.now_us + PAUSE_US };
        Step::Wait
    }

    fn carry_out(&mut self, plan: Plan, context: &Context<'_>) -> Step {
        match plan {
            Plan::Answer(answer) => Step::Answer(answer),
            Plan::Commit(batch, answer) => self.submit(&batch, answer, context),
        }
    }

    fn submit(&mut self, batch: &Batch, answer: Map<String, Json>, context: &Context<'_>) -> Step {
        match build(context.namespace, context.fresh, batch) {
            Ok(txn) => {
                self.doing = Doing::Submitting(Submitted { id: txn.id, home: txn.home(), answer });
                Step::Call(Call::Submit { txn: Arc::new(txn), level: Level::Committed })
            }
            Err(why) => Step::Answer(error(Code::Abort, &why.to_string())),
        }
    }

    /// Makes the outcome definite: committed, or never.
    fn fence(&mut self, submitted: Submitted) -> Step {
        let (id, home) = (submitted.id, Some(submitted.home));
        self.doing = Doing::Fencing(submitted);
        Step::Call(Call::Outcome(OutcomeQuery { id, home, fence: true, wait: None }))
    }

    fn on_submitted(&mut self, answer: Answer, it: Submitted, context: &Context<'_>) -> Step {
        match answer {
            Answer::Committed { timestamp, .. } => committed(it, timestamp, context),
            Answer::Aborted { reason, .. } => self.on_aborted(reason, context),
            // Said before anything was sent.
            Answer::Unavailable { .. } | Answer::ClocksApart { .. } => self.pause(context),
            // An earlier message with the same request may still be on its way.
            Answer::Overloaded { .. } => self.fence(it),
            Answer::Logged(_) => Step::Wait,
            Answer::IdReused | Answer::TooOld { .. } | Answer::FromFuture => {
                let text = "the outcome cannot be known: the clocks of two nodes are too far apart";
                Step::Answer(error(Code::Crash, text))
            }
        }
    }

    fn on_fenced(&mut self, answer: OutcomeAnswer, it: Submitted, context: &Context<'_>) -> Step {
        match answer {
            OutcomeAnswer::Committed { timestamp, .. } => committed(it, timestamp, context),
            OutcomeAnswer::Aborted { reason } => self.on_aborted(reason, context),
            OutcomeAnswer::Open | OutcomeAnswer::Unknown | OutcomeAnswer::Unavailable { .. } => {
                let until_us = context.now_us + PAUSE_US;
                self.doing = Doing::PausingFence { until_us, submitted: it };
                Step::Wait
            }
            OutcomeAnswer::TooOld { .. } => {
                Step::Answer(error(Code::Crash, "the id was forgotten: the outcome is not known"))
            }
        }
    }

    /// Definitely aborted.
    fn on_aborted(&mut self, reason: AbortReason, context: &Context<'_>) -> Step {
        match reason {
            AbortReason::ConditionFailed { found, .. } => {
                match self.ask.on_failed_condition(&found) {
                    Some(answer) => Step::Answer(answer),
                    None if context.now_us >= self.fence_at_us => {
                        let text = "others changed what it read, each time that it was tried";
                        Step::Answer(error(Code::TxnConflict, text))
                    }
                    None => self.begin(context),
                }
            }
            AbortReason::Fenced => {
                Step::Answer(error(Code::Abort, "it was not committed in time, and was given up"))
            }
            other => Step::Answer(error(Code::Abort, &format!("aborted: {other:?}"))),
        }
    }
}

fn committed(it: Submitted, timestamp: Timestamp, context: &Context<'_>) -> Step {
    let mut answer = it.answer;
    if context.timestamps {
        answer.insert("commit_timestamp".into(), timestamp.0.into());
    }
    Step::Answer(answer)
}

impl Ask {
    /// A job's share of a client's patience, microseconds.
    pub(super) const fn within_us(&self, txn_us: u64, key_value_us: u64) -> u64 {
        if self.is_txn() { txn_us } else { key_value_us }
    }
}
