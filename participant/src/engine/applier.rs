//! Committed writes on their way to the table store: queued in log order, folded per cell, flushed.

use std::collections::VecDeque;
use std::sync::Arc;

use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;
use smallvec::SmallVec;
use wal_core::{Row, RowKey, RowMutation, Sequence, TxnId};

use super::interface::IoId;
use crate::message::Origin;

/// The writes of one committed transaction.
#[derive(Debug)]
struct Unapplied {
    seq: Sequence,
    rows: SmallVec<[RowMutation; 2]>,
    bytes: usize,
}

/// A flush under way.
#[derive(Debug)]
pub(super) struct Flush {
    pub(super) io: IoId,
    pub(super) mutations: Arc<[RowMutation]>,
    /// How many commits each row of `mutations` stands for: so many pins come off.
    pub(super) pins: Vec<u32>,
    commits: u64,
    bytes: usize,
    pub(super) failed: bool,
}

/// What waits to be applied, and who waits for it.
#[derive(Debug, Default)]
pub(super) struct Applier {
    queue: VecDeque<Unapplied>,
    /// Commits applied so far, and queued so far.
    applied: u64,
    queued: u64,
    pub(super) flush: Option<Flush>,
    bytes: usize,
    pub(super) last_flush_us: u64,
    waiters: VecDeque<(u64, Origin, TxnId)>,
    /// While the store syncs: what was applied since the sync began, which the sync may not cover.
    retained: Option<Vec<Arc<[RowMutation]>>>,
}

impl Applier {
    pub(super) fn push(&mut self, seq: Sequence, rows: SmallVec<[RowMutation; 2]>) {
        let bytes = rows.iter().map(|m| m.key.size_bytes() + m.delta.size_bytes()).sum();
        self.bytes += bytes;
        self.queued += 1;
        self.queue.push_back(Unapplied { seq, rows, bytes });
    }

    /// Bytes that the table store has not acknowledged.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether everything that is committed is applied.
    pub(super) const fn is_idle(&self) -> bool {
        self.applied == self.queued
    }

    /// Remembers whom to tell when everything committed so far is applied.
    pub(super) fn wait(&mut self, origin: Origin, id: TxnId) {
        self.waiters.push_back((self.queued, origin, id));
    }

    pub(super) fn has_waiters(&self) -> bool {
        !self.waiters.is_empty()
    }

    /// Whether a durable commit waits and no flush is under way.
    pub(super) fn can_flush(&self, durable: Sequence) -> bool {
        self.flush.is_none() && self.queue.front().is_some_and(|front| front.seq <= durable)
    }

    /// Folds durable commits, oldest first, into one flush of about `max_rows` rows.
    pub(super) fn fold(&mut self, io: IoId, durable: Sequence, max_rows: usize, now_us: u64) {
        let mut folded: IndexMap<RowKey, (Row, u32), FxBuildHasher> = IndexMap::default();
        let (mut commits, mut bytes) = (0, 0);
        while folded.len() < max_rows
            && self.queue.front().is_some_and(|front| front.seq <= durable)
        {
            let commit = self.queue.pop_front().expect("the queue has a front");
            commits += 1;
            bytes += commit.bytes;
            for RowMutation { key, delta } in commit.rows {
                match folded.get_mut(&key) {
                    Some((row, pins)) => {
                        row.merge(&delta);
                        *pins += 1;
                    }
                    None => {
                        folded.insert(key, (delta, 1));
                    }
                }
            }
        }
        let mut pins = Vec::with_capacity(folded.len());
        let mutations = folded
            .into_iter()
            .map(|(key, (delta, count))| {
                pins.push(count);
                RowMutation { key, delta }
            })
            .collect();
        self.last_flush_us = now_us;
        self.flush = Some(Flush { io, mutations, pins, commits, bytes, failed: false });
    }

    /// The flush is in the store. Returns it, and adds to `told` who waited for it.
    pub(super) fn flushed(&mut self, io: IoId, told: &mut Vec<(Origin, TxnId)>) -> Option<Flush> {
        if self.flush.as_ref().is_none_or(|flush| flush.io != io) {
            return None;
        }
        let flush = self.flush.take().expect("tested above");
        self.applied += flush.commits;
        self.bytes -= flush.bytes;
        if let Some(retained) = &mut self.retained {
            retained.push(flush.mutations.clone());
        }
        self.tell_waiters(told);
        Some(flush)
    }

    /// Adds to `told` those whose commits are applied.
    pub(super) fn tell_waiters(&mut self, told: &mut Vec<(Origin, TxnId)>) {
        while self.waiters.front().is_some_and(|(commit, ..)| *commit <= self.applied) {
            let (_, origin, id) = self.waiters.pop_front().expect("the queue has a front");
            told.push((origin, id));
        }
    }

    /// A sync begins: from now on, keep what is applied.
    pub(super) fn begin_sync(&mut self) {
        self.retained = Some(Vec::new());
    }

    /// The sync ended: every committed row that it may not cover, folded.
    pub(super) fn end_sync(&mut self) -> IndexMap<RowKey, Row, FxBuildHasher> {
        let mut rows: IndexMap<RowKey, Row, FxBuildHasher> = IndexMap::default();
        let retained = self.retained.take().unwrap_or_default();
        let flying = self.flush.iter().flat_map(|flush| flush.mutations.iter());
        let queued = self.queue.iter().flat_map(|commit| &commit.rows);
        for mutation in retained.iter().flat_map(|r| r.iter()).chain(flying).chain(queued) {
            rows.entry(mutation.key.clone()).or_default().merge(&mutation.delta);
        }
        rows
    }
}

#[cfg(test)]
mod tests;
