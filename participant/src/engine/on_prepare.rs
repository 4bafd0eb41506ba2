//! Phase one: a promise is asked for, and given or refused.

use std::sync::Arc;

use wal_core::record::{Body, Prepare};
use wal_core::{Attempt, Millis, Now, Transaction, TxnId};

use super::admit::{Asked, Checked, Waiter};
use super::{Role, Rule, Rules, ShardCommand, ShardEngine};
use crate::message::{Known, NoReason, Origin, Outcome, PrepareRequest, ShardReply, Vote};

impl<R: Rules> ShardEngine<R> {
    pub(super) fn on_prepare(
        &mut self,
        now: Now,
        origin: Origin,
        prepare: Box<PrepareRequest>,
        out: &mut Vec<ShardCommand>,
    ) {
        let (id, attempt) = (prepare.id, prepare.attempt);
        if let Some(vote) = self.known_vote(id, prepare.fingerprint) {
            self.close_with_participants(now, &prepare, out);
            return self.reply_proved(origin, ShardReply::Voted { id, attempt, vote });
        }
        if let Some(prepared) = self.ledger.entry(id).and_then(|entry| entry.prepared.as_ref())
            && prepared.attempt == attempt
        {
            // Promised already: the promise stands, in whatever epoch it was given.
            let vote = Vote::Yes { proposal: prepared.proposal };
            return self.reply(origin, ShardReply::Voted { id, attempt, vote });
        }
        if self.joins_waiting(origin, &prepare) {
            return;
        }
        if prepare.expected_epoch > self.acceptor.epoch
            && self.rules.holds(Rule::PrepareBoundToEpoch)
        {
            // Somebody else leads by now: only that leader can say anything about the attempt.
            let reply = ShardReply::NotLeading { epoch: self.acceptor.epoch };
            return out.push(ShardCommand::Reply { origin, reply });
        }
        if let Some(reason) = self.reason_to_refuse(now, &prepare) {
            return self.say_no(now, origin, id, attempt, reason);
        }
        if let Some(vote) = self.id_out_of_range(now, id, attempt.bar(id)) {
            return self.reply_proved(origin, ShardReply::Voted { id, attempt, vote });
        }
        let age = (prepare.start, id);
        self.consider(now, age, Waiter::new(Asked::Prepare(prepare), origin, now), out);
    }

    /// A fence that named no participants closed here what turns out to have some. Whoever hears of this
    /// close may say "aborted": it must be kept, and told, until the home has closed too.
    fn close_with_participants(
        &mut self,
        now: Now,
        prepare: &PrepareRequest,
        out: &mut Vec<ShardCommand>,
    ) {
        let Some(entry) = self.ledger.entry(prepare.id) else { return };
        if !entry.participants.is_empty() {
            return;
        }
        if let Some(Outcome::Closed(reason)) = self.ledger.outcome(prepare.id) {
            let fingerprint = Some(prepare.fingerprint);
            self.close(now, prepare.id, fingerprint, &prepare.participants, reason, out);
            self.settle(prepare.id);
        }
    }

    /// The same attempt again while it waits for locks: both senders are told.
    fn joins_waiting(&mut self, origin: Origin, prepare: &PrepareRequest) -> bool {
        let age = (prepare.start, prepare.id);
        let Some(waiter) = self.waiting.get_mut(&age) else { return false };
        match &waiter.asked {
            Asked::Prepare(first) if first.attempt == prepare.attempt => {
                if !waiter.origins.contains(&origin) {
                    waiter.origins.push(origin);
                }
                true
            }
            Asked::Prepare(_) | Asked::Single { .. } | Asked::Read { .. } | Asked::Hold { .. } => {
                false
            }
        }
    }

    fn reason_to_refuse(&self, now: Now, prepare: &PrepareRequest) -> Option<NoReason> {
        let (id, attempt) = (prepare.id, prepare.attempt);
        let current = self.acceptor.epoch;
        if prepare.expected_epoch != current && self.rules.holds(Rule::PrepareBoundToEpoch) {
            return Some(NoReason::WrongEpoch { current });
        }
        let entry = self.ledger.entry(id);
        if entry.is_some_and(|entry| entry.bars(attempt)) {
            return Some(NoReason::Refused);
        }
        if entry.is_some_and(|entry| entry.prepared.is_some()) || self.waiter_of(id).is_some() {
            return Some(NoReason::Busy);
        }
        let is_home = prepare.whole.is_some();
        let open = entry.and_then(|entry| entry.open.as_ref());
        if is_home && open.is_some_and(|open| open.fence) {
            return Some(NoReason::Refused);
        }
        // Later attempts are the home's own: it accepts only the one that it started itself.
        let started_here = open.is_some_and(|open| open.under_way && open.attempt == attempt);
        if is_home && (attempt.number > 1 || open.is_some()) && !started_here {
            return Some(NoReason::Refused);
        }
        if self.is_full(now, id, &prepare.part) || self.role == Role::Draining {
            return Some(NoReason::Overloaded);
        }
        if self.is_behind(prepare.namespace_version) {
            return Some(NoReason::NewerVersion);
        }
        None
    }

    fn say_no(&mut self, now: Now, origin: Origin, id: TxnId, attempt: Attempt, reason: NoReason) {
        // In another epoch the attempt can never be accepted again; every other no must be remembered.
        let binding = !matches!(reason, NoReason::WrongEpoch { .. });
        if binding {
            self.remember_no(id, attempt);
        }
        self.attempt_ended(now, id, attempt);
        self.stats.refused += 1;
        self.reply(origin, ShardReply::Voted { id, attempt, vote: Vote::No(reason) });
    }

    /// Its locks are free and its rows at hand: promise, close or refuse.
    pub(super) fn decide_prepare(
        &mut self,
        now: Now,
        prepare: &PrepareRequest,
        waiter: &Waiter,
        out: &mut Vec<ShardCommand>,
    ) {
        let origins = &waiter.origins;
        let (id, attempt) = (prepare.id, prepare.attempt);
        let conditions = attempt.number == 1 || self.rules.holds(Rule::EveryAttemptIsChecked);
        let Checked { adds, timestamp } = match self.check_again(now, &prepare.part, conditions) {
            Ok(checked) => checked,
            Err(reason) => {
                let fingerprint = Some(prepare.fingerprint);
                if attempt.number > 1 && prepare.whole.is_none() {
                    self.remember_no(id, attempt);
                    for origin in origins {
                        // The home closes for good by this: a deposed leader's rows must not be its reason.
                        let vote = Vote::Condemned((*reason).clone());
                        self.reply_proved(*origin, ShardReply::Voted { id, attempt, vote });
                    }
                    return;
                }
                if self.rules.holds(Rule::AbortedNeedsClose) {
                    self.close(now, id, fingerprint, &prepare.participants, *reason, out);
                    self.settle(id);
                } else {
                    let outcome = Outcome::Closed(*reason);
                    for origin in origins {
                        let vote = Vote::Decided(outcome.clone());
                        self.reply(*origin, ShardReply::Voted { id, attempt, vote });
                    }
                }
                return self.tell_voters(id, attempt, origins);
            }
        };
        if self.is_beyond_drift(now, waiter, timestamp) {
            for origin in origins {
                self.say_no(now, *origin, id, attempt, NoReason::Drift);
            }
            return;
        }
        let others = prepare.whole.iter().flat_map(|whole| whole.parts.iter());
        let others = others.filter(|(shard, _)| *shard != self.config.shard).cloned().collect();
        let record = Prepare {
            id,
            fingerprint: prepare.fingerprint,
            namespace_version: prepare.namespace_version,
            attempt,
            start: prepare.start,
            proposal: timestamp,
            participants: prepare.participants.to_vec(),
            part: prepare.part.clone(),
            adds,
            others,
            depends_on: Vec::new(),
        };
        self.write(now, Body::Prepare(Box::new(record)), out);
        for origin in origins {
            let vote = Vote::Yes { proposal: timestamp };
            self.reply(*origin, ShardReply::Voted { id, attempt, vote });
        }
    }

    fn tell_voters(&mut self, id: TxnId, attempt: Attempt, origins: &[Origin]) {
        let Some(outcome) = self.ledger.outcome(id) else { return };
        for origin in origins {
            let vote = Vote::Decided(outcome.clone());
            self.reply(*origin, ShardReply::Voted { id, attempt, vote });
        }
    }

    /// The home's lock is busy: the whole is made durable by a record of its own, so that a client that
    /// waits for `LOGGED` need not wait for the lock, and the home drives it whatever happens.
    pub(super) fn open_while_waiting(
        &mut self,
        now: Now,
        waiter: &Waiter,
        out: &mut Vec<ShardCommand>,
    ) {
        let Asked::Prepare(prepare) = &waiter.asked else { return };
        let Some(whole) = &prepare.whole else { return };
        if self.ledger.entry(prepare.id).is_some_and(|entry| entry.open.is_some()) {
            return;
        }
        let transaction = whole.clone();
        self.write(now, Body::Intent { transaction, start: prepare.start }, out);
        if let Some(open) = self.open_mut(prepare.id) {
            open.attempt = prepare.attempt;
            open.under_way = true;
        }
        let epoch = self.acceptor.epoch;
        for origin in &waiter.origins {
            self.reply(*origin, ShardReply::Opened { id: prepare.id, epoch });
        }
    }

    /// The gateway's attempt has ended without an outcome: the home takes over.
    pub(super) fn on_open(
        &mut self,
        now: Now,
        origin: Origin,
        txn: Arc<Transaction>,
        start: Millis,
        out: &mut Vec<ShardCommand>,
    ) {
        let id = txn.id;
        if let Some(vote) = self.known_vote(id, txn.fingerprint) {
            let attempt = Attempt::default();
            let reply = match vote {
                Vote::Decided(_) => ShardReply::Known { id, known: self.known(id) },
                vote => ShardReply::Voted { id, attempt, vote },
            };
            return self.reply_proved(origin, reply);
        }
        let is_open = self.ledger.entry(id).is_some_and(|entry| entry.open.is_some());
        if !is_open {
            if let Some(vote) = self.id_out_of_range(now, id, id.time()) {
                let attempt = Attempt::default();
                return self.reply_proved(origin, ShardReply::Voted { id, attempt, vote });
            }
            if self.role == Role::Draining {
                let reply = ShardReply::NotLeading { epoch: self.acceptor.epoch };
                return out.push(ShardCommand::Reply { origin, reply });
            }
            self.write(now, Body::Intent { transaction: txn, start }, out);
            if let Some(open) = self.open_mut(id) {
                open.since_us = now.mono_us;
            }
        }
        let epoch = self.acceptor.epoch;
        self.reply(origin, ShardReply::Opened { id, epoch });
        self.wait_for_outcome(origin, id);
    }

    pub(super) fn wait_for_outcome(&mut self, origin: Origin, id: TxnId) {
        if let Some(entry) = self.ledger.entry_mut(id)
            && !entry.waiters.contains(&origin)
        {
            entry.waiters.push(origin);
        }
    }

    /// Tells everybody who waits for the outcome, if there is one now.
    pub(super) fn settle(&mut self, id: TxnId) {
        let known = self.known(id);
        if !matches!(known, Known::Outcome { .. }) {
            return;
        }
        let Some(entry) = self.ledger.entry_mut(id) else { return };
        let apply_waiters = std::mem::take(&mut entry.apply_waiters);
        for origin in std::mem::take(&mut entry.waiters) {
            self.reply(origin, ShardReply::Known { id, known: known.clone() });
        }
        for origin in apply_waiters {
            self.on_await_applied(origin, id);
        }
        self.tell_home(id);
        self.ledger.forget_if_done(id);
    }

    pub(super) fn open_mut(&mut self, id: TxnId) -> Option<&mut super::ledger::Open> {
        self.ledger.entry_mut(id)?.open.as_deref_mut()
    }
}
