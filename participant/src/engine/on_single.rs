//! A transaction of this shard alone: checked and committed by one record.

use std::sync::Arc;

use wal_core::record::{Body, CommitSingle};
use wal_core::{AbortReason, Fingerprint, Millis, Now, ShardId, Transaction, TxnId};

use super::admit::{Asked, Checked, Waiter};
use super::ledger::Memory;
use super::{Role, Rule, Rules, ShardCommand, ShardEngine};
use crate::message::{NoReason, Origin, Outcome, ShardReply, Vote};

impl<R: Rules> ShardEngine<R> {
    pub(super) fn on_single(
        &mut self,
        now: Now,
        origin: Origin,
        txn: Arc<Transaction>,
        applied: bool,
        clock_us: i64,
        out: &mut Vec<ShardCommand>,
    ) {
        let id = txn.id;
        if let Some(vote) = self.known_vote(id, txn.fingerprint) {
            let committed = matches!(vote, Vote::Decided(Outcome::Committed { .. }));
            self.reply_proved(origin, ShardReply::Single { id, vote });
            if applied && committed {
                self.on_await_applied(origin, id);
            }
            return;
        }
        let age = (id.time(), id);
        if let Some(waiter) = self.waiting.get_mut(&age) {
            // The same transaction again while it waits: both are told.
            let same = matches!(&waiter.asked, Asked::Single { txn: first, .. }
                if first.fingerprint == txn.fingerprint);
            if !same {
                self.reply_proved(origin, ShardReply::Single { id, vote: Vote::IdReused });
            } else if !waiter.origins.contains(&origin) {
                waiter.origins.push(origin);
            }
            return;
        }
        if let Some(vote) = self.id_out_of_range(now, id, id.time()) {
            return self.reply_proved(origin, ShardReply::Single { id, vote });
        }
        // Its tables may be others than those that are known here: until the server has seen them too.
        let is_newer = self.is_behind(txn.namespace_version);
        if is_newer || self.is_full(now, id, &txn.parts[0].1) || self.role == Role::Draining {
            self.stats.refused += 1;
            out.push(ShardCommand::Reply { origin, reply: ShardReply::Overloaded });
            return;
        }
        let asked = Asked::Single { txn, applied, clock_us };
        self.consider(now, age, Waiter::new(asked, origin, now), out);
    }

    /// Its locks are free and its rows at hand: commit it, or close it.
    pub(super) fn decide_single(
        &mut self,
        now: Now,
        txn: &Arc<Transaction>,
        applied: bool,
        waiter: &Waiter,
        out: &mut Vec<ShardCommand>,
    ) {
        let origins = &waiter.origins;
        let id = txn.id;
        let part = &txn.parts[0].1;
        let Checked { adds, timestamp } = match self.check(now, part) {
            Ok(checked) => checked,
            Err(reason) => {
                self.close(now, id, Some(txn.fingerprint), &[self.config.shard], *reason, out);
                return self.tell_single(id, origins);
            }
        };
        if self.is_beyond_drift(now, waiter, timestamp) {
            for origin in origins {
                let vote = Vote::No(NoReason::Drift);
                self.reply(*origin, ShardReply::Single { id, vote });
            }
            return;
        }
        let commit =
            CommitSingle { id, fingerprint: txn.fingerprint, timestamp, part: part.clone(), adds };
        self.write(now, Body::CommitSingle(Box::new(commit)), out);
        self.tell_single(id, origins);
        if applied {
            origins.iter().for_each(|origin| self.on_await_applied(*origin, id));
        }
    }

    fn tell_single(&mut self, id: TxnId, origins: &[Origin]) {
        let Some(outcome) = self.ledger.outcome(id) else { return };
        for origin in origins {
            let vote = Vote::Decided(outcome.clone());
            self.reply(*origin, ShardReply::Single { id, vote });
        }
    }

    /// Closes a transaction for good; the record is what lets anybody say "aborted".
    pub(super) fn close(
        &mut self,
        now: Now,
        id: TxnId,
        fingerprint: Option<Fingerprint>,
        participants: &[ShardId],
        reason: AbortReason,
        out: &mut Vec<ShardCommand>,
    ) {
        let participants = participants.to_vec();
        self.stats.closed += 1;
        self.write(now, Body::Close { id, fingerprint, participants, reason }, out);
    }

    /// The answer to a repeated request, if the transaction has an outcome or other content.
    pub(super) fn known_vote(&self, id: TxnId, fingerprint: Fingerprint) -> Option<Vote> {
        if !self.rules.holds(Rule::IdsDeduplicate) {
            return None;
        }
        let remembered = match self.ledger.get(id) {
            Some(Memory::Settled(settled)) => Some(settled.fingerprint),
            Some(Memory::Entry(entry)) => entry.fingerprint,
            None => None,
        };
        // What waits for its locks has not left a record yet, and holds its id all the same.
        let known = remembered.or_else(|| self.waiting_content(self.waiter_of(id)?).0);
        if known.is_some_and(|known| known != fingerprint) {
            return Some(Vote::IdReused);
        }
        self.ledger.outcome(id).map(Vote::Decided)
    }

    /// Why an id cannot be used now, judged by the time that bars it.
    pub(super) fn id_out_of_range(&self, now: Now, id: TxnId, bar: Millis) -> Option<Vote> {
        if bar <= self.ledger.floor && self.rules.holds(Rule::FloorIsEnforced) {
            return Some(Vote::TooOld { floor: self.ledger.floor });
        }
        let ahead = now.millis().0 + wal_core::limits::MAX_ID_AHEAD_MS;
        (id.time().0 > ahead).then_some(Vote::FromFuture)
    }
}
