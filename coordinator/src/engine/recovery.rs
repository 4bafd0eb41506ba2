//! Recovery of one attempt: ask every participant whether it is prepared, and bar it where it is not.
//! Safe any number of times, by anyone.

use std::sync::Arc;

use participant::engine::{Rule, Rules};
use participant::message::{Outcome, Resolution, ShardReply, ShardRequest};
use wal_core::{Attempt, Now, ShardId, Timestamp, TxnId};

use super::{Context, Next, age_us};

#[derive(Debug)]
pub(super) struct Recovery {
    id: TxnId,
    attempt: Attempt,
    participants: Arc<[ShardId]>,
    proposals: Vec<Option<Timestamp>>,
    begun_us: u64,
    sent_us: u64,
}

impl Recovery {
    pub(super) fn new(now: Now, id: TxnId, attempt: Attempt, participants: Arc<[ShardId]>) -> Self {
        let proposals = vec![None; participants.len()];
        Self { id, attempt, participants, proposals, begun_us: now.mono_us, sent_us: now.mono_us }
    }

    pub(super) fn ask<R: Rules>(&self, context: &mut Context<'_, R>) {
        for (shard, proposal) in self.participants.iter().zip(&self.proposals) {
            if proposal.is_none() {
                let request = ShardRequest::Resolve { id: self.id, attempt: self.attempt };
                context.send(*shard, request);
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
            ShardReply::Resolved { resolution, .. } => {
                self.on_resolution(shard, resolution, context)
            }
            ShardReply::NotLeading { epoch } => {
                context.learn_epoch(shard, epoch);
                Next::Continue
            }
            ShardReply::Voted { .. }
            | ShardReply::Single { .. }
            | ShardReply::Opened { .. }
            | ShardReply::Applied { .. }
            | ShardReply::Known { .. }
            | ShardReply::Rows { .. }
            | ShardReply::Held { .. }
            | ShardReply::Confirmed { .. }
            | ShardReply::Overloaded => Next::Continue,
        }
    }

    fn on_resolution<R: Rules>(
        &mut self,
        shard: ShardId,
        resolution: Resolution,
        context: &mut Context<'_, R>,
    ) -> Next {
        match resolution {
            Resolution::Prepared { proposal } => {
                let index = self.participants.iter().position(|p| *p == shard);
                if let Some(index) = index {
                    self.proposals[index] = Some(proposal);
                }
                let all: Option<Vec<_>> = self.proposals.iter().copied().collect();
                let Some(timestamp) = all.and_then(|all| all.into_iter().max()) else {
                    return Next::Continue;
                };
                self.tell(|r| r.commit(timestamp), context);
            }
            Resolution::Refused => self.tell(|r| r.abort(), context),
            // Another attempt was committed: this one never was.
            Resolution::Decided { outcome: Outcome::Committed { .. }, attempt }
                if attempt != self.attempt =>
            {
                self.tell(|r| r.abort(), context);
            }
            Resolution::Decided { outcome: Outcome::Committed { timestamp, .. }, .. } => {
                self.tell(|r| r.commit(timestamp), context);
            }
            Resolution::Decided { outcome: Outcome::Closed(reason), .. } => {
                let closed = |r: &Self| ShardRequest::Closed {
                    id: r.id,
                    fingerprint: None,
                    participants: r.participants.clone(),
                    reason: reason.clone(),
                };
                self.tell(closed, context);
            }
        }
        Next::Done
    }

    fn commit(&self, timestamp: Timestamp) -> ShardRequest {
        let home = self.participants[self.id.home_index(self.participants.len())];
        let (id, attempt) = (self.id, self.attempt);
        ShardRequest::Commit { id, attempt, timestamp, home, applied: false }
    }

    const fn abort(&self) -> ShardRequest {
        ShardRequest::Abort { id: self.id, attempt: self.attempt }
    }

    fn tell<R: Rules>(
        &self,
        request: impl Fn(&Self) -> ShardRequest,
        context: &mut Context<'_, R>,
    ) {
        let all = context.rules.holds(Rule::RecoveryReachesAll);
        let skipped = usize::from(!all);
        for shard in self.participants.iter().skip(skipped) {
            context.send(*shard, request(self));
        }
    }

    pub(super) fn on_tick<R: Rules>(
        &mut self,
        resend_us: u64,
        give_up_us: u64,
        context: &mut Context<'_, R>,
    ) -> Next {
        if age_us(context.now, self.begun_us) > give_up_us {
            return Next::Done; // the shard that needs it will ask for it again
        }
        if age_us(context.now, self.sent_us) > resend_us {
            self.sent_us = context.now.mono_us;
            self.ask(context);
        }
        Next::Continue
    }
}
