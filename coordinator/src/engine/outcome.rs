//! What became of a transaction? The home is asked if it is known, every shard if it is not.

use std::collections::BTreeMap;

use participant::engine::Rules;
use participant::message::{Known, Outcome, ShardReply, ShardRequest};
use wal_core::{Epoch, Millis, Now, Sequence, ShardId, Timestamp};

use super::{Context, Next, age_us};
use crate::api::{CallAnswer, Level, OutcomeAnswer, OutcomeQuery, Receipt};

#[derive(Debug)]
enum Phase {
    /// These shards were asked; some have said what they know.
    Asking(BTreeMap<ShardId, Option<Known>>),
    /// Committed; these participants have not yet said that it is applied.
    Applying { receipt: Receipt, timestamp: Timestamp, missing: Vec<ShardId> },
}

#[derive(Debug)]
pub(super) struct Inquiry {
    pub(super) call: u64,
    query: OutcomeQuery,
    phase: Phase,
    sent_us: u64,
}

impl Inquiry {
    pub(super) fn new(now: Now, call: u64, query: OutcomeQuery, shards: u16) -> Self {
        let asked = match query.home {
            Some(home) => BTreeMap::from([(home, None)]),
            None => (0..shards).map(|shard| (ShardId(shard), None)).collect(),
        };
        Self { call, query, phase: Phase::Asking(asked), sent_us: now.mono_us }
    }

    pub(super) fn shards(&self) -> impl Iterator<Item = ShardId> + '_ {
        let asked = match &self.phase {
            Phase::Asking(asked) => Some(asked.keys().copied()),
            Phase::Applying { .. } => None,
        };
        asked.into_iter().flatten()
    }

    /// Asks those that have not answered.
    pub(super) fn ask<R: Rules>(&self, context: &mut Context<'_, R>) {
        let id = self.query.id;
        match &self.phase {
            Phase::Asking(asked) => {
                let wait = self.query.wait.is_some() && asked.len() == 1;
                for shard in asked.iter().filter(|(_, known)| known.is_none()).map(|(s, _)| *s) {
                    let request = if self.query.fence {
                        ShardRequest::Fence { id }
                    } else {
                        ShardRequest::Ask { id, wait }
                    };
                    context.send(shard, request);
                }
            }
            Phase::Applying { missing, .. } => {
                for shard in missing {
                    context.send(*shard, ShardRequest::AwaitApplied { id });
                }
            }
        }
    }

    pub(super) fn on_reply<R: Rules>(
        &mut self,
        shard: ShardId,
        reply: ShardReply,
        context: &mut Context<'_, R>,
    ) -> Next {
        match reply {
            ShardReply::Known { known, .. } => self.on_known(shard, known, context),
            ShardReply::Applied { .. } => self.on_applied(shard, context),
            ShardReply::NotLeading { epoch } => {
                context.learn_epoch(shard, epoch);
                Next::Continue
            }
            ShardReply::Voted { .. }
            | ShardReply::Single { .. }
            | ShardReply::Opened { .. }
            | ShardReply::Resolved { .. }
            | ShardReply::Rows { .. }
            | ShardReply::Held { .. }
            | ShardReply::Confirmed { .. }
            | ShardReply::Overloaded => Next::Continue,
        }
    }

    fn on_known<R: Rules>(
        &mut self,
        shard: ShardId,
        known: Known,
        context: &mut Context<'_, R>,
    ) -> Next {
        let Phase::Asking(asked) = &mut self.phase else { return Next::Continue };
        if !asked.contains_key(&shard) {
            return Next::Continue;
        }
        match known {
            Known::Outcome {
                outcome: Outcome::Committed { timestamp, epoch, seq },
                participants,
            } => {
                let home = match participants.len() {
                    0 => shard,
                    n => participants[self.query.id.home_index(n)],
                };
                // Where another participant logged it says nothing of the home's log.
                let (epoch, seq) =
                    if shard == home { (epoch, seq) } else { (Epoch(0), Sequence(0)) };
                let receipt = Receipt { id: self.query.id, home, epoch, seq };
                let missing =
                    if participants.is_empty() { vec![shard] } else { participants.to_vec() };
                return self.on_committed(receipt, timestamp, missing, context);
            }
            Known::Open { ref participants } | Known::Prepared { ref participants }
                if !participants.is_empty() =>
            {
                let home = participants[self.query.id.home_index(participants.len())];
                let asks_home_alone = asked.len() == 1 && asked.contains_key(&home);
                if !asks_home_alone {
                    // The home knows, or will: ask it alone.
                    *asked = BTreeMap::from([(home, None)]);
                    self.ask(context);
                    return Next::Continue;
                }
                if self.query.wait.is_some() {
                    // Its answer to the question that went to all. It was asked again, to wait: that
                    // answer comes once there is an outcome.
                    return Next::Continue;
                }
                asked.insert(shard, Some(known));
            }
            known => {
                asked.insert(shard, Some(known));
            }
        }
        self.conclude(context)
    }

    /// Everybody has answered, and nobody has committed it.
    fn conclude<R: Rules>(&mut self, context: &mut Context<'_, R>) -> Next {
        let Phase::Asking(asked) = &self.phase else { return Next::Continue };
        let Some(answers) = asked.values().cloned().collect::<Option<Vec<_>>>() else {
            return Next::Continue;
        };
        let mut too_old: Option<Millis> = None;
        let mut open = false;
        let mut closed = None;
        // A fence without a locator closes blindly, also where the transaction has no part: that says
        // nothing of the participants, unless every shard has closed it.
        let all_closed = answers
            .iter()
            .all(|known| matches!(known, Known::Outcome { outcome: Outcome::Closed(_), .. }));
        for known in answers {
            match known {
                Known::Outcome { outcome: Outcome::Closed(reason), participants } => {
                    if all_closed || !participants.is_empty() {
                        closed = Some(reason);
                    }
                }
                Known::Outcome { outcome: Outcome::Committed { .. }, .. } | Known::Nothing => {}
                Known::Open { .. } => open = true,
                Known::Prepared { .. } => {}
                Known::TooOld { floor } => too_old = too_old.max(Some(floor)),
            }
        }
        let answer = match (closed, open, too_old) {
            (Some(reason), ..) => OutcomeAnswer::Aborted { reason },
            (None, true, _) => OutcomeAnswer::Open,
            (None, false, Some(floor)) => OutcomeAnswer::TooOld { floor },
            (None, false, None) => OutcomeAnswer::Unknown,
        };
        self.answer(answer, context)
    }

    fn on_committed<R: Rules>(
        &mut self,
        receipt: Receipt,
        timestamp: Timestamp,
        missing: Vec<ShardId>,
        context: &mut Context<'_, R>,
    ) -> Next {
        if self.query.wait == Some(Level::Applied) {
            self.phase = Phase::Applying { receipt, timestamp, missing };
            self.ask(context);
            return Next::Continue;
        }
        self.answer(OutcomeAnswer::Committed { receipt, timestamp, applied: false }, context)
    }

    fn on_applied<R: Rules>(&mut self, shard: ShardId, context: &mut Context<'_, R>) -> Next {
        let Phase::Applying { receipt, timestamp, missing } = &mut self.phase else {
            return Next::Continue;
        };
        missing.retain(|waited| *waited != shard);
        if !missing.is_empty() {
            return Next::Continue;
        }
        let (receipt, timestamp) = (*receipt, *timestamp);
        self.answer(OutcomeAnswer::Committed { receipt, timestamp, applied: true }, context)
    }

    fn answer<R: Rules>(&self, answer: OutcomeAnswer, context: &mut Context<'_, R>) -> Next {
        context.answer(Some(self.call), CallAnswer::Outcome(answer));
        Next::Done
    }

    pub(super) fn on_tick<R: Rules>(
        &mut self,
        resend_us: u64,
        context: &mut Context<'_, R>,
    ) -> Next {
        if age_us(context.now, self.sent_us) > resend_us {
            self.sent_us = context.now.mono_us;
            self.ask(context);
        }
        Next::Continue
    }
}
