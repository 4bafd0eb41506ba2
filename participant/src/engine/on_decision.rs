//! Phase two: the decision arrives, and who holds it is told to the home.

use std::sync::Arc;

use wal_core::record::Body;
use wal_core::{AbortReason, Attempt, Fingerprint, Now, ShardId, Timestamp, TxnId};

use super::{HaltReason, Rule, Rules, ShardCommand, ShardEngine};
use crate::message::{Known, Outcome, ShardReply, ShardRequest, Vote};

impl<R: Rules> ShardEngine<R> {
    pub(super) fn on_commit(
        &mut self,
        now: Now,
        id: TxnId,
        attempt: Attempt,
        timestamp: Timestamp,
        home: ShardId,
        out: &mut Vec<ShardCommand>,
    ) {
        if let Some(attempt) = self.held_attempt(id, attempt) {
            self.write_decision(now, Body::Commit { id, attempt, timestamp }, out);
            return self.settle(id);
        }
        if self.ledger.outcome(id).is_some() {
            self.acknowledge(id, home);
        } else {
            self.acknowledge_forgotten(id, home);
        }
    }

    /// The attempt that a decision ends: the one that it names, if this shard has promised that.
    fn held_attempt(&self, id: TxnId, named: Attempt) -> Option<Attempt> {
        let held = self.ledger.entry(id)?.prepared.as_ref()?.attempt;
        (held == named || !self.rules.holds(Rule::DecisionsNameTheirAttempt)).then_some(held)
    }

    /// Logs a decision, then lets others have the locks that it frees.
    fn write_decision(&mut self, now: Now, body: Body, out: &mut Vec<ShardCommand>) {
        if self.rules.holds(Rule::CommitBeforeLockReuse) {
            return self.write(now, body, out);
        }
        let seq = self.chain.tail().next();
        if let Err(contradiction) = self.learn(now, seq, body.clone()) {
            return self.halt(HaltReason::Corrupt(contradiction), out);
        }
        self.wake_waiters(now, out);
        self.chain.write(&body);
    }

    /// Tells the home, once it is durable, that this shard holds the outcome.
    fn acknowledge(&mut self, id: TxnId, home: ShardId) {
        let shard = self.config.shard;
        if home == shard {
            return self.finish_if_held_by_all(id);
        }
        let request = ShardRequest::Acknowledge { id, shard };
        self.hold(false, ShardCommand::Tell { shard: home, request });
    }

    /// The outcome was held and forgotten, as the floor allows. A deposed leader that never heard of the
    /// transaction must not say so: it takes a proof of leadership.
    fn acknowledge_forgotten(&mut self, id: TxnId, home: ShardId) {
        let shard = self.config.shard;
        if self.ledger.get(id).is_none() && id.time() <= self.ledger.floor && home != shard {
            let request = ShardRequest::Acknowledge { id, shard };
            self.hold_proved(ShardCommand::Tell { shard: home, request });
        }
    }

    pub(super) fn on_abort(
        &mut self,
        now: Now,
        id: TxnId,
        attempt: Attempt,
        out: &mut Vec<ShardCommand>,
    ) {
        if let Some(attempt) = self.held_attempt(id, attempt) {
            self.write_decision(now, Body::Abort { id, attempt }, out);
            return self.close_if_fenced(now, id, out);
        }
        self.drop_waiting(id, attempt, Vote::No(crate::message::NoReason::Refused));
        self.remember_no(id, attempt);
        self.attempt_ended(now, id, attempt);
        self.close_if_fenced(now, id, out);
    }

    /// Says no to an attempt for the rest of this epoch.
    pub(super) fn remember_no(&mut self, id: TxnId, attempt: Attempt) {
        if attempt.bar(id) > self.ledger.floor
            && self.rules.holds(Rule::NoIsRemembered)
            && self.ledger.outcome(id).is_none()
            && let Some(entry) = self.ledger.entry_or_new(id)
            && !entry.bars(attempt)
        {
            entry.refused.push(attempt);
        }
    }

    /// Takes a waiting attempt out of the queues and tells whoever asked for it.
    pub(super) fn drop_waiting(&mut self, id: TxnId, attempt: Attempt, vote: Vote) -> bool {
        let Some(age) = self.waiter_of(id) else { return false };
        let waits = self.waiting.get(&age).is_some_and(|waiter| {
            matches!(&waiter.asked, super::admit::Asked::Prepare(p) if p.attempt == attempt)
        });
        if !waits {
            return false;
        }
        let waiter = self.remove_waiter(age).expect("found above");
        for origin in waiter.origins {
            let vote = vote.clone();
            self.reply(origin, ShardReply::Voted { id, attempt, vote });
        }
        true
    }

    /// Somebody found that the transaction is closed.
    pub(super) fn on_closed(
        &mut self,
        now: Now,
        id: TxnId,
        fingerprint: Option<Fingerprint>,
        participants: Arc<[ShardId]>,
        reason: AbortReason,
        out: &mut Vec<ShardCommand>,
    ) {
        let known = self.ledger.entry(id).and_then(|entry| entry.fingerprint);
        if known.is_some_and(|known| fingerprint.is_some_and(|closed| closed != known)) {
            return; // the id was used for other content; that is what was closed
        }
        if self.ledger.outcome(id).is_none() {
            let waiter = self.waiter_of(id);
            if id.time() > self.ledger.floor || self.ledger.entry(id).is_some() {
                self.close(now, id, fingerprint, &participants, reason.clone(), out);
            }
            // The record first: what is said of it waits for it.
            if let Some(age) = waiter {
                self.drop_all_waiting(age, id, &reason);
            }
        }
        self.settle(id);
        if let Some(home) = participants.get(id.home_index(participants.len().max(1))) {
            match self.ledger.outcome(id) {
                Some(_) => self.acknowledge(id, *home),
                None => self.acknowledge_forgotten(id, *home),
            }
        }
    }

    pub(super) fn drop_all_waiting(
        &mut self,
        age: super::locks::Age,
        id: TxnId,
        reason: &AbortReason,
    ) {
        let Some(waiter) = self.remove_waiter(age) else { return };
        for origin in waiter.origins {
            let vote = Vote::Decided(Outcome::Closed(reason.clone()));
            let reply = match &waiter.asked {
                super::admit::Asked::Prepare(prepare) => {
                    ShardReply::Voted { id, attempt: prepare.attempt, vote }
                }
                super::admit::Asked::Single { .. } => ShardReply::Single { id, vote },
                super::admit::Asked::Read { .. } | super::admit::Asked::Hold { .. } => {
                    continue;
                }
            };
            self.reply(origin, reply);
        }
    }

    /// Tells the home, once it is durable, that this shard holds the outcome.
    pub(super) fn tell_home(&mut self, id: TxnId) {
        let shard = self.config.shard;
        let Some(entry) = self.ledger.entry(id) else { return };
        let (Some(home), Some(decided)) = (entry.home(id), &entry.decided) else { return };
        if decided.finished {
            return;
        }
        if home == shard {
            return self.finish_if_held_by_all(id);
        }
        // The home may not know yet that it was closed: it is told why, too.
        if let Outcome::Closed(reason) = &decided.outcome {
            let request = ShardRequest::Closed {
                id,
                fingerprint: entry.fingerprint,
                participants: entry.participants.clone(),
                reason: reason.clone(),
            };
            self.hold(false, ShardCommand::Tell { shard: home, request });
        }
        self.acknowledge(id, home);
    }

    /// At the home: another participant durably holds the outcome.
    pub(super) fn on_acknowledge(&mut self, id: TxnId, shard: ShardId) {
        let floor = self.ledger.floor;
        let until = match self.ledger.finished_until(id) {
            Some(until) => until,
            None if self.ledger.get(id).is_some() => {
                let Some(entry) = self.ledger.entry_mut(id) else { return };
                if !entry.holders.contains(&shard) {
                    entry.holders.push(shard);
                }
                return self.finish_if_held_by_all(id);
            }
            // Forgotten here means finished; an id that was never seen is above the floor.
            None if id.time() <= floor => floor,
            None => return,
        };
        let request = ShardRequest::Finished { id, until };
        self.hold(false, ShardCommand::Tell { shard, request });
    }

    /// At the home: an attempt that it drives met a permanent reason elsewhere.
    pub(super) fn on_condemn(
        &mut self,
        now: Now,
        id: TxnId,
        attempt: Attempt,
        reason: AbortReason,
        out: &mut Vec<ShardCommand>,
    ) {
        let Some(entry) = self.ledger.entry(id) else { return };
        // Another attempt may be promised by everybody by now: then this news is stale.
        let superseded = entry.prepared.as_ref().is_some_and(|held| held.attempt != attempt);
        if entry.open.is_none() || superseded {
            return;
        }
        let (fingerprint, participants) = (entry.fingerprint, entry.participants.clone());
        let waiter = self.waiter_of(id);
        self.close(now, id, fingerprint, &participants, reason.clone(), out);
        if let Some(age) = waiter {
            self.drop_all_waiting(age, id, &reason);
        }
        self.settle(id);
    }

    fn finish_if_held_by_all(&mut self, id: TxnId) {
        let home = self.config.shard;
        let Some(entry) = self.ledger.entry(id) else { return };
        let everyone = entry.participants.iter();
        let held = everyone.clone().all(|p| *p == home || entry.holders.contains(p));
        if !held || entry.decided.as_ref().is_none_or(|decided| decided.finished) {
            return;
        }
        let others: Vec<_> = everyone.copied().filter(|p| *p != home).collect();
        let until = entry.until.max(id.time());
        for shard in others {
            let request = ShardRequest::Finished { id, until };
            self.hold(false, ShardCommand::Tell { shard, request });
        }
        self.ledger.finish(id, until);
        self.to_finish.push(id);
    }

    /// What is known of a transaction here.
    pub(super) fn known(&self, id: TxnId) -> Known {
        if let Some(outcome) = self.ledger.outcome(id) {
            let participants = self.ledger.participants(id);
            return Known::Outcome { outcome, participants };
        }
        let entry = self.ledger.entry(id);
        if let Some(entry) = entry.filter(|entry| entry.open.is_some()) {
            return Known::Open { participants: entry.participants.clone() };
        }
        if let Some(entry) = entry.filter(|entry| entry.prepared.is_some()) {
            return Known::Prepared { participants: entry.participants.clone() };
        }
        if id.time() <= self.ledger.floor {
            return Known::TooOld { floor: self.ledger.floor };
        }
        Known::Nothing
    }
}
