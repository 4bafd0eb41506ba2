//! Recovery asks: is this attempt prepared here? If it is not, it never will be.

use wal_core::record::Body;
use wal_core::{Attempt, Now, TxnId};

use super::{Rule, Rules, ShardCommand, ShardEngine};
use crate::message::{NoReason, Origin, Resolution, ShardReply, Vote};

impl<R: Rules> ShardEngine<R> {
    pub(super) fn on_resolve(
        &mut self,
        now: Now,
        origin: Origin,
        id: TxnId,
        attempt: Attempt,
        out: &mut Vec<ShardCommand>,
    ) {
        let resolution = self.resolve(now, id, attempt, out);
        self.reply_proved(origin, ShardReply::Resolved { id, attempt, resolution });
        self.close_if_fenced(now, id, out);
    }

    fn resolve(
        &mut self,
        now: Now,
        id: TxnId,
        attempt: Attempt,
        out: &mut Vec<ShardCommand>,
    ) -> Resolution {
        if let Some(outcome) = self.ledger.outcome(id) {
            let decided = self.ledger.entry(id).and_then(|entry| entry.decided.as_ref());
            let attempt = decided.map(|decided| decided.attempt).unwrap_or_default();
            return Resolution::Decided { outcome, attempt };
        }
        let entry = self.ledger.entry(id);
        if let Some(prepared) = entry.and_then(|entry| entry.prepared.as_ref())
            && prepared.attempt == attempt
            && self.rules.holds(Rule::RecoveryHonoursPrepared)
        {
            return Resolution::Prepared { proposal: prepared.proposal };
        }
        if entry.is_some_and(|entry| entry.barred.contains(&attempt)) {
            return Resolution::Refused;
        }
        // At or below the floor nothing is ever prepared again: the floor is the record.
        if attempt.bar(id) <= self.ledger.floor && self.rules.holds(Rule::FloorIsEnforced) {
            self.drop_waiting(id, attempt, Vote::No(NoReason::Refused));
            self.attempt_ended(now, id, attempt);
            return Resolution::Refused;
        }
        self.drop_waiting(id, attempt, Vote::No(NoReason::Refused));
        if self.rules.holds(Rule::RefuseIsDurable) {
            self.write(now, Body::Refuse { id, attempt }, out);
        }
        Resolution::Refused
    }
}
