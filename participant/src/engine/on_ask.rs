//! Questions about a transaction, and the fence that ends all doubt about one.

use wal_core::record::Body;
use wal_core::{AbortReason, Now, TxnId};

use super::admit::Asked;
use super::applier::Waiter;
use super::{Rules, ShardCommand, ShardEngine};
use crate::message::{Known, NoReason, Origin, Outcome, ShardReply, Vote};

impl<R: Rules> ShardEngine<R> {
    pub(super) fn on_ask(&mut self, origin: Origin, id: TxnId, wait: bool) {
        let known = self.known(id);
        let undecided = matches!(known, Known::Open { .. } | Known::Prepared { .. });
        if wait && undecided {
            return self.wait_for_outcome(origin, id);
        }
        self.reply_proved(origin, ShardReply::Known { id, known });
    }

    /// Bars the transaction, unless it is decided; what is under way is brought to an end first.
    pub(super) fn on_fence(
        &mut self,
        now: Now,
        origin: Origin,
        id: TxnId,
        out: &mut Vec<ShardCommand>,
    ) {
        match self.known(id) {
            Known::Outcome { .. } | Known::TooOld { .. } => {}
            Known::Open { .. } => {
                if let Some(open) = self.open_mut(id) {
                    open.fence = true;
                }
                self.wait_for_outcome(origin, id);
                self.remove_waiting_attempt(now, id);
                self.close_if_fenced(now, id, out);
                return self.recover_now(now, id, out);
            }
            // The home must be fenced instead: the answer names the participants.
            Known::Prepared { .. } => {}
            Known::Nothing => {
                let reason = AbortReason::Fenced;
                match self.waiter_of(id) {
                    Some(age) => {
                        let (fingerprint, participants) = self.waiting_content(age);
                        // The record first: what is said of it waits for it.
                        self.close(now, id, fingerprint, &participants, reason.clone(), out);
                        self.drop_all_waiting(age, id, &reason);
                    }
                    None => {
                        // An attempt that was given up may have named the participants.
                        let entry = self.ledger.entry(id);
                        let fingerprint = entry.and_then(|entry| entry.fingerprint);
                        let participants =
                            entry.map(|entry| entry.participants.clone()).unwrap_or_default();
                        self.close(now, id, fingerprint, &participants, reason, out);
                    }
                }
                self.settle(id);
            }
        }
        let known = self.known(id);
        self.reply_proved(origin, ShardReply::Known { id, known });
    }

    pub(super) fn waiting_content(
        &self,
        age: super::locks::Age,
    ) -> (Option<wal_core::Fingerprint>, Vec<wal_core::ShardId>) {
        match self.waiting.get(&age).map(|waiter| &waiter.asked) {
            Some(Asked::Prepare(p)) => (Some(p.fingerprint), p.participants.to_vec()),
            Some(Asked::Single { txn, .. }) => (Some(txn.fingerprint), vec![self.config.shard]),
            Some(Asked::Read { .. } | Asked::Hold { .. }) | None => (None, Vec::new()),
        }
    }

    fn remove_waiting_attempt(&mut self, now: Now, id: TxnId) {
        let Some(age) = self.waiter_of(id) else { return };
        let Some(Asked::Prepare(prepare)) = self.waiting.get(&age).map(|w| &w.asked) else {
            return;
        };
        let attempt = prepare.attempt;
        self.drop_waiting(id, attempt, Vote::No(NoReason::Refused));
        self.remember_no(id, attempt);
        self.attempt_ended(now, id, attempt);
    }

    /// Closes a fenced transaction as soon as no attempt of it is prepared here.
    pub(super) fn close_if_fenced(&mut self, now: Now, id: TxnId, out: &mut Vec<ShardCommand>) {
        let Some(entry) = self.ledger.entry(id) else { return };
        let Some(open) = entry.open.as_ref() else { return };
        if !open.fence || entry.prepared.is_some() || entry.decided.is_some() {
            return;
        }
        let (fingerprint, participants) = (entry.fingerprint, entry.participants.clone());
        let reason = AbortReason::Fenced;
        self.write(
            now,
            Body::Close { id, fingerprint, participants: participants.to_vec(), reason },
            out,
        );
        self.settle(id);
    }

    /// Answers once everything that is committed by now is visible in the table store, except what is
    /// parked of other transactions.
    pub(super) fn on_await_applied(&mut self, origin: Origin, id: TxnId) {
        // Who asks knows that it is committed; this shard may not have heard it yet.
        if let Some(entry) = self.ledger.entry_mut(id).filter(|entry| entry.prepared.is_some()) {
            if !entry.apply_waiters.contains(&origin) {
                entry.apply_waiters.push(origin);
            }
            return;
        }
        let at = match self.ledger.outcome(id) {
            Some(Outcome::Committed { timestamp, .. }) => Some(timestamp),
            Some(Outcome::Closed(_)) | None => None,
        };
        if !self.applier.wait(Waiter { origin, id, at }) {
            self.reply_proved(origin, ShardReply::Applied { id });
        }
    }
}
