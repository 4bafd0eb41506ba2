//! A transaction of one shard: one request, one answer.

use std::sync::Arc;

use participant::engine::Rules;
use participant::message::{NoReason, Outcome, ShardReply, ShardRequest, Vote};
use wal_core::{Now, ShardId, Timestamp, Transaction};

use super::{Context, Next, RETRY_AFTER_MS, age_us};
use crate::api::{Answer, CallAnswer, Level, Receipt};

#[derive(Debug)]
pub(super) struct Single {
    pub(super) call: Option<u64>,
    txn: Arc<Transaction>,
    level: Level,
    begun_us: u64,
    sent_us: u64,
    /// Whether it was sent more than once: then "no room" says nothing of the other copies.
    resent: bool,
    /// Once it is committed and its application is waited for.
    committed: Option<(Receipt, Timestamp)>,
}

impl Single {
    pub(super) const fn new(now: Now, call: u64, txn: Arc<Transaction>, level: Level) -> Self {
        let begun_us = now.mono_us;
        Self {
            call: Some(call),
            txn,
            level,
            begun_us,
            sent_us: begun_us,
            resent: false,
            committed: None,
        }
    }

    pub(super) fn ask<R: Rules>(&self, context: &mut Context<'_, R>) {
        let request = ShardRequest::Single {
            txn: self.txn.clone(),
            applied: self.level == Level::Applied,
            clock_us: context.now.wall_us,
        };
        context.send(self.txn.parts[0].0, request);
    }

    pub(super) fn on_reply<R: Rules>(
        &mut self,
        shard: ShardId,
        reply: ShardReply,
        context: &mut Context<'_, R>,
    ) -> Next {
        let answer = match reply {
            ShardReply::Single { vote, .. } => match vote {
                Vote::Decided(Outcome::Committed { timestamp, epoch, seq }) => {
                    let receipt = Receipt { id: self.txn.id, home: shard, epoch, seq };
                    if self.level == Level::Applied {
                        self.committed = Some((receipt, timestamp));
                        return Next::Continue;
                    }
                    Answer::Committed { receipt, timestamp, applied: false }
                }
                Vote::Decided(Outcome::Closed(reason)) => Answer::Aborted { home: shard, reason },
                Vote::IdReused => Answer::IdReused,
                Vote::TooOld { floor } => Answer::TooOld { floor },
                Vote::FromFuture => Answer::FromFuture,
                Vote::No(_) | Vote::Condemned(_) | Vote::Yes { .. } if self.resent => {
                    return Next::Continue;
                }
                Vote::No(NoReason::Drift) => Answer::ClocksApart { shard },
                Vote::No(_) | Vote::Condemned(_) | Vote::Yes { .. } => full(),
            },
            ShardReply::Applied { .. } => match self.committed {
                Some((receipt, timestamp)) => {
                    Answer::Committed { receipt, timestamp, applied: true }
                }
                None => return Next::Continue,
            },
            // A copy of it may still be on its way, and find room: asked again at a later tick.
            ShardReply::Overloaded if self.resent => return Next::Continue,
            ShardReply::Overloaded => full(),
            ShardReply::NotLeading { epoch } => {
                context.learn_epoch(shard, epoch);
                return Next::Continue; // asked again at a later tick
            }
            ShardReply::Voted { .. }
            | ShardReply::Opened { .. }
            | ShardReply::Resolved { .. }
            | ShardReply::Known { .. }
            | ShardReply::Rows { .. }
            | ShardReply::Held { .. }
            | ShardReply::Confirmed { .. } => return Next::Continue,
        };
        context.answer(self.call, CallAnswer::Submit(answer));
        Next::Done
    }

    pub(super) fn on_tick<R: Rules>(
        &mut self,
        resend_us: u64,
        give_up_us: u64,
        context: &mut Context<'_, R>,
    ) -> Next {
        if self.call.is_none() && age_us(context.now, self.begun_us) > give_up_us {
            return Next::Done;
        }
        if age_us(context.now, self.sent_us) > resend_us {
            self.sent_us = context.now.mono_us;
            self.resent = true;
            self.ask(context);
        }
        Next::Continue
    }
}

const fn full() -> Answer {
    Answer::Overloaded { what: "the shard's queues", retry_after_ms: RETRY_AFTER_MS }
}
