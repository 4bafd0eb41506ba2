//! Replay, candidacy, leases: how an engine comes to lead its shard, and stops.

use std::collections::VecDeque;

use bytes::Bytes;
use wal_core::record::{self, Body, Record, Verdict};
use wal_core::{Epoch, Nonce, Now, Position, Sequence};

use super::{HaltReason, Leadership, Role, Rule, Rules, ShardCommand, ShardEngine};

/// A lease runs from the sending of any record that is later accepted.
#[derive(Debug, Default)]
pub(super) struct Lease {
    in_flight: VecDeque<(Sequence, u64)>,
    from_us: Option<u64>,
    /// The newest barrier record.
    pub(super) barrier: Sequence,
}

impl Lease {
    pub(super) fn sent(&mut self, last: Sequence, now: Now) {
        self.in_flight.push_back((last, now.mono_us));
    }

    fn accepted(&mut self, last: Sequence) {
        while self.in_flight.front().is_some_and(|(seq, _)| *seq <= last) {
            self.from_us = self.in_flight.pop_front().map(|(_, sent_us)| sent_us);
        }
    }
}

impl<R: Rules> ShardEngine<R> {
    /// Whether nobody else can lead before `at_us` of this process's clock.
    pub(super) fn has_lease_until(&self, at_us: u64) -> bool {
        match self.config.leadership {
            Leadership::Exclusive => true,
            Leadership::Lease { lease_us, .. } => {
                self.lease.from_us.is_some_and(|from| at_us < from.saturating_add(lease_us))
            }
        }
    }

    /// Writes a record that begins a lease once it is accepted, unless one is about to be sent.
    pub(super) fn write_barrier(&mut self, now: Now, out: &mut Vec<ShardCommand>) {
        if self.lease.barrier < self.chain.untaken_from() {
            self.write(now, Body::Barrier, out);
            self.lease.barrier = self.chain.tail();
        }
    }

    /// A record of the log, before this engine leads.
    pub(super) fn on_logged(
        &mut self,
        now: Now,
        position: Position,
        bytes: Bytes,
        out: &mut Vec<ShardCommand>,
    ) {
        match self.role {
            Role::Searching | Role::Following | Role::Standing { .. } => {}
            Role::Waiting { .. }
            | Role::Leading
            | Role::Draining
            | Role::Resigning { .. }
            | Role::Halted => return,
        }
        // A copy of its own: what is remembered of a record must not keep a whole log block alive.
        let (record, hash) = match record::decode(Bytes::copy_from_slice(&bytes)) {
            Ok(decoded) => decoded,
            Err(error) => {
                let why = format!("record at position {position} cannot be read: {error}");
                return self.halt(HaltReason::Corrupt(why), out);
            }
        };
        let is_chunk = matches!(record.body, Body::Checkpoint { .. });
        // What does not count (a deposed leader's late record, say) does not interrupt a checkpoint.
        if self.checkpointer.is_restoring() && !is_chunk && self.would_accept(&record, hash) {
            self.checkpointer.give_up_restore();
            self.role = Role::Searching;
        }
        if self.role == Role::Searching && !self.found_start(position, &record) {
            return;
        }
        if self.accept(&record, hash) {
            self.take_in(now, record, out);
        }
    }

    fn would_accept(&self, record: &Record, hash: u64) -> bool {
        self.acceptor.clone().judge(record, hash) == Verdict::Accepted
    }

    fn accept(&mut self, record: &Record, hash: u64) -> bool {
        let verdict = self.acceptor.judge(record, hash);
        if verdict == Verdict::Ignored && !self.rules.holds(Rule::SequenceIsChecked) {
            return record.header.epoch == self.acceptor.epoch;
        }
        if verdict == Verdict::Ignored && !self.rules.holds(Rule::OlderEpochsAreIgnored) {
            return record.header.epoch < self.acceptor.epoch;
        }
        verdict == Verdict::Accepted
    }

    /// Whether this record is the log's beginning, or a checkpoint's first chunk.
    fn found_start(&mut self, position: Position, record: &Record) -> bool {
        let newest = self.checkpointer.newest_epoch_seen.max(record.header.epoch);
        let stale = record.header.epoch < newest;
        self.checkpointer.newest_epoch_seen = newest;
        match &record.body {
            Body::Epoch { .. } if record.header.epoch.0 == 1 && record.header.previous == 0 => {
                self.role = Role::Following;
                true
            }
            Body::Checkpoint { chunk: 0, .. } if !stale => {
                // The chain before the chunk is what its header says.
                self.acceptor.epoch = record.header.epoch;
                self.acceptor.last = Sequence(record.header.seq.0.saturating_sub(1));
                self.acceptor.hash = record.header.previous;
                self.acceptor.broken = false;
                self.checkpointer.begin_restore();
                self.checkpointer.starts_at(position);
                self.role = Role::Following;
                true
            }
            _ => false,
        }
    }

    fn take_in(&mut self, now: Now, record: Record, out: &mut Vec<ShardCommand>) {
        if let Body::Epoch { log, owner, .. } = &record.body {
            if *log != self.config.log {
                let why = format!(
                    "the log's identity is {:?}, its epoch {} says {:?}: it was recreated",
                    self.config.log, record.header.epoch, log
                );
                return self.halt(HaltReason::Corrupt(why), out);
            }
            match self.role {
                Role::Standing { owner: mine } if mine == *owner => return self.win(now, out),
                Role::Standing { .. } => return self.halt(HaltReason::Deposed, out),
                _ => self.resigned = false,
            }
        }
        if matches!(record.body, Body::Resign) {
            self.resigned = true;
        }
        self.learning = record.header.seq;
        // Replayed records are durable: nothing of them waits for this epoch's sequences.
        if let Err(contradiction) = self.learn(now, Sequence(0), record.body) {
            self.halt(HaltReason::Corrupt(contradiction), out);
        }
    }

    /// Everything that was in the log was fed: stand.
    pub(super) fn on_stand(
        &mut self,
        now: Now,
        owner: Nonce,
        address: String,
        out: &mut Vec<ShardCommand>,
    ) {
        if !matches!(self.role, Role::Searching | Role::Following) {
            return;
        }
        let found_none = self.role == Role::Searching || self.checkpointer.is_restoring();
        if found_none && self.checkpointer.newest_epoch_seen > Epoch(0) {
            // Not an empty log: to lead it from nothing would be to forget everything.
            let why =
                "the log has neither its beginning nor a whole checkpoint; restore it".to_owned();
            return self.halt(HaltReason::Corrupt(why), out);
        }
        let body = Body::Epoch { log: self.config.log, owner, address, wall_us: now.wall_us };
        let previous = self.acceptor.hash;
        self.is_urgent = true;
        self.chain.write_epoch(self.acceptor.epoch.next(), previous, &body);
        self.role = Role::Standing { owner };
    }

    /// Its own `Epoch` record was read back as the winning one.
    fn win(&mut self, now: Now, out: &mut Vec<ShardCommand>) {
        self.chain.resume(self.acceptor.epoch, Sequence(0), self.acceptor.hash);
        self.durable = Sequence(0);
        self.rows.forget_sequences();
        self.begin_term(now);
        let first = self.acceptor.epoch.0 == 1;
        let wait_us = match self.config.leadership {
            Leadership::Lease { lease_us, drift_ppm }
                if !first && !self.resigned && self.rules.holds(Rule::SuccessorWaitsForLease) =>
            {
                lease_us + lease_us * drift_ppm / 1_000_000 + 1
            }
            Leadership::Lease { .. } | Leadership::Exclusive => 0,
        };
        self.role = Role::Waiting { open_at_us: now.mono_us + wait_us };
        self.open_if_due(now, out);
    }

    /// Begins to answer, once no predecessor's lease can run any more.
    pub(super) fn open_if_due(&mut self, now: Now, out: &mut Vec<ShardCommand>) {
        if let Role::Waiting { open_at_us } = self.role
            && now.mono_us >= open_at_us
        {
            self.role = Role::Leading;
            out.push(ShardCommand::Leading { epoch: self.acceptor.epoch });
        }
    }

    /// What was prepared or open in the log is this leader's to bring to an end.
    fn begin_term(&mut self, now: Now) {
        self.newest_writes.begin_at(self.last_timestamp);
        // Where the log has one owner, whoever drove these is gone: nothing need be waited for.
        let waited_us = match self.config.leadership {
            Leadership::Exclusive => 2 * self.config.limits.recover_after_us,
            Leadership::Lease { .. } => 0,
        };
        let since_us = now.mono_us.saturating_sub(waited_us);
        let ids: Vec<_> = self.ledger.prepared.iter().chain(&self.ledger.open).copied().collect();
        for id in ids {
            let Some(entry) = self.ledger.entry_mut(id) else { continue };
            let is_prepared = entry.prepared.is_some();
            if let Some(prepared) = &mut entry.prepared {
                prepared.since_us = since_us;
            }
            if let Some(open) = &mut entry.open {
                // Its last attempt may still be held elsewhere: it is recovered before the next starts.
                open.under_way |= is_prepared;
                open.since_us = since_us;
            }
        }
        let unfinished: Vec<_> = self.ledger.unfinished.iter().copied().collect();
        for id in unfinished {
            let decided = self.ledger.entry_mut(id).and_then(|entry| entry.decided.as_mut());
            if let Some(decided) = decided {
                decided.told_us = now.mono_us;
            }
        }
    }

    /// A batch is durable and accepted.
    pub(super) fn on_appended(
        &mut self,
        now: Now,
        first: Sequence,
        last: Sequence,
        position: Position,
        out: &mut Vec<ShardCommand>,
    ) {
        match self.role {
            Role::Waiting { .. } | Role::Leading | Role::Draining | Role::Resigning { .. } => {}
            Role::Standing { .. } if !self.rules.holds(Rule::EpochIsReadBack) => {
                self.acceptor.epoch = self.acceptor.epoch.next();
                self.acceptor.hash = self.chain.hash();
                return self.win(now, out);
            }
            // A candidate reads its own record back.
            Role::Searching | Role::Following | Role::Standing { .. } | Role::Halted => return,
        }
        self.lease.accepted(last);
        self.durable = self.durable.max(last);
        self.checkpoint_appended(first, last, position, out);
        if matches!(self.role, Role::Resigning { last } if last <= self.durable) {
            self.halt(HaltReason::Resigned, out);
        }
    }

    pub(super) fn on_drain(&mut self, out: &mut Vec<ShardCommand>) {
        match self.role {
            Role::Leading => self.role = Role::Draining,
            Role::Draining | Role::Resigning { .. } | Role::Halted => {}
            Role::Searching | Role::Following | Role::Standing { .. } | Role::Waiting { .. } => {
                self.halt(HaltReason::Resigned, out);
            }
        }
    }

    /// Resigns once nothing is undecided, unanswered or unapplied.
    pub(super) fn resign_if_drained(&mut self, now: Now, out: &mut Vec<ShardCommand>) {
        let busy = !self.ledger.prepared.is_empty()
            || !self.waiting.is_empty()
            || !self.holds.is_empty()
            || self.outbox.len() > 0
            || !self.applier.is_idle();
        if self.role == Role::Draining && !busy {
            self.write(now, Body::Resign, out);
            self.role = Role::Resigning { last: self.chain.tail() };
        }
    }
}
