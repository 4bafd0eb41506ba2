//! Rows that the table store refuses for good: parked, tried again, discarded by an administrator.

use std::collections::BTreeMap;

use wal_core::record::{Body, DISCARDS_SINCE, Discarded};
use wal_core::{Now, RowOp, Sequence, TableId};

use super::applier::{ParkedChoice, ParkedRow};
use super::{IoId, Role, Rule, Rules, ShardCommand, ShardEngine};

/// Rows that one record discards.
const DISCARDED_AT_ONCE: usize = 1_024;

impl<R: Rules> ShardEngine<R> {
    /// Parked rows, at most `limit`.
    pub fn parked(&self, limit: usize) -> Vec<ParkedRow> {
        self.applier.parked.list(limit)
    }

    /// How many of the chosen rows are parked here.
    pub fn count_parked(&self, which: &ParkedChoice) -> usize {
        self.applier.parked.count(which)
    }

    /// The store refuses rows of a flush for good: they are parked, and the rest goes out at once.
    pub(super) fn on_flush_refused(
        &mut self,
        now: Now,
        io: IoId,
        refused: Vec<(usize, String)>,
        out: &mut Vec<ShardCommand>,
    ) {
        let mut told = Vec::new();
        let rest = IoId(self.last_io + 1);
        let parked = self.applier.refused(io, rest, refused, now.mono_us, &mut told);
        if let Some(flush) = self.applier.flush.as_ref().filter(|flush| flush.io == rest) {
            self.last_io = rest.0;
            out.push(ShardCommand::Flush { io: rest, mutations: flush.mutations.clone() });
        }
        self.tell_applied(told);
        let mut tables: BTreeMap<TableId, (usize, String)> = BTreeMap::new();
        for (key, why) in parked {
            self.stats.parked_rows += 1;
            tables.entry(key.table).or_insert((0, why)).0 += 1;
        }
        for (table, (rows, why)) in tables {
            out.push(ShardCommand::Parked { table, rows, why });
        }
        self.discard_waiting(now, out);
    }

    /// Tries the chosen parked rows again, at once.
    pub(super) fn on_retry_parked(&mut self, which: &ParkedChoice) {
        self.applier.retry_parked(which);
    }

    pub(super) fn on_discard_parked(
        &mut self,
        now: Now,
        token: u64,
        which: ParkedChoice,
        out: &mut Vec<ShardCommand>,
    ) {
        // Whoever asks has looked at the write version; a change may have crossed the question.
        let may = self.schema.write_version >= DISCARDS_SINCE;
        if may && matches!(self.role, Role::Leading | Role::Draining) {
            self.discards.push((token, which));
            self.discard_waiting(now, out);
        }
    }

    /// Discards what was asked for, unless the store is just being asked to take parked rows: it may.
    pub(super) fn discard_waiting(&mut self, now: Now, out: &mut Vec<ShardCommand>) {
        if self.discards.is_empty() || self.applier.tries_parked() {
            return;
        }
        for (token, which) in std::mem::take(&mut self.discards) {
            let rows = self.applier.to_discard(&which);
            for rows in rows.chunks(DISCARDED_AT_ONCE) {
                let body = Body::Discard { rows: rows.to_vec() };
                if self.rules.holds(Rule::DiscardIsDurable) {
                    self.write(now, body, out);
                } else {
                    self.learn_discard(self.chain.tail(), rows);
                }
            }
            self.hold(false, ShardCommand::Discarded { token, rows: rows.len() });
        }
    }

    /// What is discarded is not applied, and the rows are what the store has of them, and what was
    /// written to them later.
    pub(super) fn learn_discard(&mut self, seq: Sequence, rows: &[Discarded]) {
        for row in rows {
            let owned = self.schema.is_owned(row.key.table);
            let (pins, left) = self.applier.discard(row);
            self.rows.discard(&row.key, left, pins, seq, owned);
        }
        let mut told = Vec::new();
        self.applier.parked.tell_waiters(&mut told);
        self.tell_applied(told);
    }

    /// Whether a transaction writes to a table whose parked rows take their share of the overlay: half of
    /// it, so that the other tables' writes still find room.
    pub(super) fn is_full_of_parked(&self, part: &[RowOp]) -> bool {
        self.applier.parked.bytes() >= self.config.limits.max_overlay_bytes / 2
            && part
                .iter()
                .any(|op| !op.is_read_only() && self.applier.parked.has_table(op.key.table))
    }
}
