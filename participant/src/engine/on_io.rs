//! The table store answers: rows read, writes flushed, everything synced.

use wal_core::{Now, Row, TxnId};

use super::{IoId, Rule, Rules, ShardCommand, ShardEngine};
use crate::message::{Origin, ShardReply};

impl<R: Rules> ShardEngine<R> {
    pub(super) fn on_rows_read(&mut self, io: IoId, rows: Vec<Row>) {
        let Some(keys) = self.reads.remove(&io) else { return };
        for (key, row) in keys.iter().zip(rows) {
            let owned = self.schema.is_owned(key.table);
            let waiters = self.rows.loaded(key, row, owned);
            self.wake.extend(waiters);
        }
    }

    /// The rows stay wanted: they are asked for again at the next tick.
    pub(super) fn on_read_failed(&mut self, io: IoId) {
        if let Some(keys) = self.reads.remove(&io) {
            self.stats.store_failures += 1;
            self.checkpointer.reread.extend(keys);
        }
    }

    pub(super) fn flush_if_due(&mut self, now: Now, out: &mut Vec<ShardCommand>) {
        if self.applier.flush.is_none() && self.applier.parked.len() > 0 {
            let io = IoId(self.last_io + 1);
            if self.applier.try_parked(self.durable, now.mono_us, io) {
                self.last_io = io.0;
                self.send_flush(out);
            }
        }
        if !self.applier.can_flush(self.durable) {
            return;
        }
        let due = now.mono_us >= self.applier.last_flush_us + self.config.limits.flush_every_us;
        let large = self.applier.len() >= self.config.limits.max_flush_rows;
        if due || large || self.applier.has_waiters() {
            let io = self.next_io();
            let max_rows = self.config.limits.max_flush_rows;
            let in_order = self.rules.holds(Rule::ParkedRowsKeepOrder);
            let mut told = Vec::new();
            if self.applier.fold(io, self.durable, max_rows, now.mono_us, in_order, &mut told) {
                self.send_flush(out);
            }
            self.tell_applied(told);
            if !self.rules.holds(Rule::OverlayKeptUntilApplied) {
                self.on_flushed(now, io, out);
            }
        }
    }

    fn send_flush(&mut self, out: &mut Vec<ShardCommand>) {
        let flush = self.applier.flush.as_ref().expect("it was just made");
        self.stats.flushed_rows += flush.mutations.len() as u64;
        out.push(ShardCommand::Flush { io: flush.io, mutations: flush.mutations.clone() });
    }

    pub(super) fn on_flushed(&mut self, now: Now, io: IoId, out: &mut Vec<ShardCommand>) {
        let mut told = Vec::new();
        for (key, pins) in self.applier.flushed(io, &mut told) {
            let owned = self.schema.is_owned(key.table);
            self.rows.applied(&key, pins, owned);
        }
        self.tell_applied(told);
        self.rows.evict(self.config.limits.max_cache_bytes);
        self.discard_waiting(now, out);
    }

    pub(super) fn tell_applied(&mut self, told: Vec<(Origin, TxnId)>) {
        for (origin, id) in told {
            self.reply(origin, ShardReply::Applied { id });
        }
    }

    pub(super) fn on_flush_failed(&mut self, now: Now, io: IoId, out: &mut Vec<ShardCommand>) {
        if self.applier.flush_failed(io, now.mono_us) {
            self.stats.store_failures += 1;
        }
        self.discard_waiting(now, out);
    }

    /// Sends again what failed. Applying again changes nothing.
    pub(super) fn retry_io(&mut self, out: &mut Vec<ShardCommand>) {
        if let Some(flush) = self.applier.flush.as_mut().filter(|flush| flush.failed) {
            flush.failed = false;
            let (io, mutations) = (flush.io, flush.mutations.clone());
            out.push(ShardCommand::Flush { io, mutations });
        }
        self.to_read.append(&mut self.checkpointer.reread);
    }
}
