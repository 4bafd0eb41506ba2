//! Taking a record in: the one way in which what a shard knows changes, live and in replay.
//!
//! Each arm checks again what was decided when the record was written. A contradiction means that the
//! protocol or the log is broken: the shard halts rather than guess.

use std::sync::Arc;

use smallvec::SmallVec;
use wal_core::record::{Body, CommitSingle, Prepare};
use wal_core::{Attempt, Millis, Nonce, Now, RowMutation, Sequence, Timestamp, Transaction, TxnId};

use super::ledger::{Open, Prepared};
use super::locks::{LockSet, want};
use super::rows::WriteOrigin;
use super::{Role, Rule, Rules, ShardEngine, check};
use crate::message::Outcome;

impl<R: Rules> ShardEngine<R> {
    /// Takes in an accepted record. `seq` is 0 in replay: what is replayed is durable.
    pub(super) fn learn(&mut self, now: Now, seq: Sequence, body: Body) -> Result<(), String> {
        match body {
            Body::Epoch { .. } => self.rows.forget_sequences(),
            Body::Intent { transaction, start } => self.learn_intent(now, transaction, start),
            Body::Prepare(prepare) => self.learn_prepare(now, &prepare)?,
            Body::Commit { id, attempt, timestamp } => {
                self.learn_commit(now, seq, id, attempt, timestamp)?;
            }
            Body::CommitSingle(commit) => self.learn_single(seq, &commit)?,
            Body::Abort { id, attempt } | Body::Refuse { id, attempt } => {
                self.learn_abort(now, id, attempt);
            }
            Body::Close { id, fingerprint, participants, reason } => {
                if let Some(entry) = self.ledger.entry_or_new(id) {
                    entry.fingerprint = entry.fingerprint.or(fingerprint);
                    if entry.participants.is_empty() {
                        entry.participants = participants.as_slice().into();
                    }
                }
                let outcome = Outcome::Closed(reason);
                let held = self.ledger.decide(id, outcome, Attempt::default(), now.mono_us);
                self.free(id, held.as_deref());
            }
            Body::Finished { ids } => {
                ids.into_iter().for_each(|id| self.ledger.finish(id, Millis(0)));
            }
            Body::Floor { floor } => self.learn_floor(floor),
            Body::Checkpoint { chunk, last, payload } => {
                self.learn_checkpoint(now, chunk, last, payload)?;
            }
            Body::Discard { rows } => self.learn_discard(seq, &rows),
            Body::Resign | Body::Barrier => {}
        }
        Ok(())
    }

    fn learn_intent(&mut self, now: Now, txn: Arc<Transaction>, start: Millis) {
        let id = txn.id;
        let Some(entry) = self.ledger.entry_or_new(id) else { return };
        entry.fingerprint = Some(txn.fingerprint);
        entry.participants = txn.participants().collect();
        if entry.decided.is_none() && entry.open.is_none() {
            let attempt = Attempt { number: 1, nonce: Nonce(0) };
            let since_us = now.mono_us;
            entry.open = Some(Box::new(Open {
                txn,
                start,
                attempt,
                under_way: false,
                since_us,
                fence: false,
            }));
            self.ledger.open.insert(id);
        }
    }

    fn learn_prepare(&mut self, now: Now, prepare: &Prepare) -> Result<(), String> {
        let id = prepare.id;
        if !prepare.depends_on.is_empty() {
            return Err(format!(
                "the promise of transaction {id} depends on others: this version cannot read it; \
                 use the version that wrote it"
            ));
        }
        if self.ledger.outcome(id).is_some() && self.rules.holds(Rule::IdsDeduplicate) {
            if id.time() > self.ledger.floor {
                return Err(format!("transaction {id} is prepared after it was decided"));
            }
            // Its writer had been told that everybody held the outcome, which no record says, and had
            // forgotten it. (A deposed home drove this attempt: it will never commit.)
            self.ledger.forget(id);
        }
        if self.ledger.entry(id).is_some_and(|entry| entry.prepared.is_some()) {
            return Err(format!("transaction {id} is prepared twice"));
        }
        let mut locks = LockSet::new();
        for op in prepare.part.iter() {
            let absent_unlocked = !self.rules.holds(Rule::AbsentRowsLock)
                && self.rows.peek(&op.key).is_none_or(|row| !row.exists());
            let read_unlocked = op.is_read_only() && !self.rules.holds(Rule::ReadsLock);
            if !absent_unlocked && !read_unlocked {
                want(&mut locks, &op.key, !op.is_read_only());
            }
        }
        self.locks.acquire(id, &locks);
        let home = prepare.participants.get(id.home_index(prepare.participants.len().max(1)))
            == Some(&self.config.shard);
        self.ledger.prepare(prepare, locks, home, now.mono_us);
        self.newest_version = self.newest_version.max(prepare.namespace_version);
        self.raise_timestamp(prepare.proposal);
        Ok(())
    }

    fn learn_commit(
        &mut self,
        now: Now,
        seq: Sequence,
        id: TxnId,
        attempt: Attempt,
        timestamp: Timestamp,
    ) -> Result<(), String> {
        let epoch = self.acceptor.epoch;
        let outcome = Outcome::Committed { timestamp, epoch, seq: self.learning };
        let held = self.ledger.decide(id, outcome, attempt, now.mono_us);
        match &held {
            Some(prepared) if prepared.attempt == attempt => {
                self.apply_part(seq, &prepared.part, timestamp, &prepared.adds);
            }
            Some(prepared) => {
                return Err(format!(
                    "transaction {id}: attempt {attempt:?} is committed, {:?} is prepared",
                    prepared.attempt
                ));
            }
            None => return Err(format!("transaction {id} is committed but was not prepared")),
        }
        if self.rules.holds(Rule::LastTimestampIsRaised) {
            self.raise_timestamp(timestamp);
        }
        self.free(id, held.as_deref());
        self.stats.committed += 1;
        Ok(())
    }

    fn learn_single(&mut self, seq: Sequence, commit: &CommitSingle) -> Result<(), String> {
        let CommitSingle { id, fingerprint, timestamp, ref part, ref adds } = *commit;
        if self.ledger.outcome(id).is_some() && self.rules.holds(Rule::IdsDeduplicate) {
            return Err(format!("transaction {id} is committed twice"));
        }
        let epoch = self.acceptor.epoch;
        self.ledger.remember_single(id, fingerprint, timestamp, epoch, self.learning);
        self.apply_part(seq, part, timestamp, adds);
        self.raise_timestamp(timestamp);
        self.stats.committed += 1;
        Ok(())
    }

    fn learn_abort(&mut self, now: Now, id: TxnId, attempt: Attempt) {
        let held = self.ledger.abort(id, attempt);
        self.free(id, held.as_deref());
        self.attempt_ended(now, id, attempt);
        self.ledger.forget_if_done(id);
    }

    /// At the home: the attempt is over; the next one starts after a pause that grows with their number
    /// and differs between transactions, so that two that met do not meet again.
    pub(super) fn attempt_ended(&mut self, now: Now, id: TxnId, attempt: Attempt) {
        const FIRST_PAUSE_US: u64 = 2_000;
        const LONGEST_PAUSE_DOUBLINGS: u32 = 7;
        let Some(open) = self.ledger.entry_mut(id).and_then(|entry| entry.open.as_mut()) else {
            return;
        };
        if open.under_way && open.attempt == attempt {
            let doublings = attempt.number.min(LONGEST_PAUSE_DOUBLINGS);
            let jitter = (id.0 as u64 ^ u64::from(attempt.number)) % FIRST_PAUSE_US;
            open.under_way = false;
            open.since_us = now.mono_us + ((FIRST_PAUSE_US + jitter) << doublings);
        }
    }

    pub(super) fn learn_floor(&mut self, floor: Millis) {
        self.ledger.raise_floor(floor);
        if !self.rules.holds(Rule::OutcomesAreRemembered) {
            self.ledger.forget_unfinished();
        }
    }

    pub(super) fn raise_timestamp(&mut self, timestamp: Timestamp) {
        let replays = self.role == Role::Following;
        if replays && !self.rules.holds(Rule::LastTimestampSurvivesRestart) {
            return;
        }
        self.last_timestamp = self.last_timestamp.max(timestamp);
    }

    /// Puts a committed part into the overlay and the queue for the table store.
    fn apply_part(
        &mut self,
        seq: Sequence,
        part: &[wal_core::RowOp],
        timestamp: Timestamp,
        adds: &[bytes::Bytes],
    ) {
        let mutations: SmallVec<[_; 2]> = check::mutations(part, timestamp, adds).collect();
        if mutations.is_empty() {
            return;
        }
        // The rows of one part are looked at before any of them is taken in: they came together.
        let origins: SmallVec<[_; 2]> =
            mutations.iter().map(|mutation| self.origin_of(mutation, timestamp)).collect();
        for (mutation, origin) in mutations.iter().zip(origins) {
            let newest = mutation.delta.newest().unwrap_or_default();
            self.newest_writes.note(mutation.key.table, newest);
            self.rows.write(&mutation.key, &mutation.delta, seq, origin);
            if newest.of_delete() != timestamp.of_delete() {
                // Above what came from elsewhere too: who writes the row here next must win.
                self.raise_timestamp(newest);
            }
        }
        self.applier.push(seq, Some(timestamp), mutations);
    }

    /// What a write says of the rest of its row.
    fn origin_of(&self, mutation: &RowMutation, timestamp: Timestamp) -> WriteOrigin {
        let RowMutation { key, delta } = mutation;
        // What another region wrote says so in its write times.
        let merges = delta.oldest().is_some_and(|at| at.of_delete() != timestamp.of_delete());
        if merges && !self.newest_writes.is_newest(key.table, delta.oldest().unwrap_or_default()) {
            return WriteOrigin::Elsewhere;
        }
        WriteOrigin::Newest { owned: self.schema.is_owned(key.table) }
    }

    fn free(&mut self, id: TxnId, held: Option<&Prepared>) {
        if let Some(prepared) = held {
            self.locks.release(id, &prepared.locks, &mut self.wake);
        }
    }
}
