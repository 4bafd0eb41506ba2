//! Committed writes on their way to the table store: queued in log order, folded per cell, flushed.

mod parked;

use std::collections::VecDeque;
use std::sync::Arc;

use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;
use smallvec::SmallVec;
use wal_core::record::Discarded;
use wal_core::{Row, RowKey, RowMutation, Sequence, Timestamp, TxnId};

use super::interface::IoId;
use crate::message::Origin;
pub use parked::{ParkedChoice, ParkedRow};
pub(super) use parked::{ParkedRows, Waiter};

/// The writes of one committed transaction.
#[derive(Debug)]
struct Unapplied {
    seq: Sequence,
    /// When it committed, if that is known: a checkpoint's rows are of several commits.
    at: Option<Timestamp>,
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
    /// The times of these commits, each with the row's place in `mutations`.
    times: Vec<(u32, Option<Timestamp>)>,
    commits: u64,
    bytes: usize,
    pub(super) failed: bool,
    /// Whether it tries parked rows again.
    is_retry: bool,
}

/// What waits to be applied, and who waits for it.
#[derive(Debug, Default)]
pub(super) struct Applier {
    queue: VecDeque<Unapplied>,
    /// Commits applied (or parked) so far, and queued so far.
    applied: u64,
    queued: u64,
    pub(super) flush: Option<Flush>,
    bytes: usize,
    pub(super) last_flush_us: u64,
    pub(super) parked: ParkedRows,
    /// Whether the last flush tried parked rows again: the others come first now.
    retried_last: bool,
    waiters: VecDeque<(u64, Waiter)>,
    /// While the store syncs: what was applied since the sync began, which the sync may not cover.
    retained: Option<Vec<Arc<[RowMutation]>>>,
}

impl Applier {
    pub(super) fn push(
        &mut self,
        seq: Sequence,
        at: Option<Timestamp>,
        rows: SmallVec<[RowMutation; 2]>,
    ) {
        let bytes = rows.iter().map(size).sum();
        self.bytes += bytes;
        self.queued += 1;
        self.queue.push_back(Unapplied { seq, at, rows, bytes });
    }

    /// Bytes that the table store has not acknowledged.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes + self.parked.bytes()
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether everything that is committed is applied or parked.
    pub(super) const fn is_idle(&self) -> bool {
        self.applied == self.queued
    }

    /// Remembers whom to tell when everything committed so far is applied; what is parked of other
    /// transactions is not waited for. False if there is nothing to wait for.
    pub(super) fn wait(&mut self, waiter: Waiter) -> bool {
        if !self.is_idle() {
            self.waiters.push_back((self.queued, waiter));
            return true;
        }
        let parked = self.parked.may_hold(waiter.at);
        if parked {
            self.parked.wait(waiter);
        }
        parked
    }

    pub(super) fn has_waiters(&self) -> bool {
        !self.waiters.is_empty()
    }

    /// Whether a durable commit waits and no flush is under way.
    pub(super) fn can_flush(&self, durable: Sequence) -> bool {
        self.flush.is_none() && self.queue.front().is_some_and(|front| front.seq <= durable)
    }

    /// Folds durable commits, oldest first, into one flush of about `max_rows` rows. Of rows that are
    /// parked, what is new is folded into what is parked; false if there was nothing else. (A test may
    /// let it overtake instead: `in_order` is false.)
    pub(super) fn fold(
        &mut self,
        io: IoId,
        durable: Sequence,
        max_rows: usize,
        now_us: u64,
        in_order: bool,
        told: &mut Vec<(Origin, TxnId)>,
    ) -> bool {
        let mut folded: IndexMap<RowKey, (Row, u32), FxBuildHasher> = IndexMap::default();
        let (mut commits, mut bytes) = (0, 0);
        let mut times = Vec::new();
        while folded.len() < max_rows
            && self.queue.front().is_some_and(|front| front.seq <= durable)
        {
            let commit = self.queue.pop_front().expect("the queue has a front");
            commits += 1;
            bytes += commit.bytes;
            for RowMutation { key, delta } in commit.rows {
                if in_order && self.parked.fold(&key, &delta, commit.at) {
                    continue;
                }
                let index = match folded.get_full_mut(&key) {
                    Some((index, _, (row, pins))) => {
                        row.merge(&delta);
                        *pins += 1;
                        index
                    }
                    None => folded.insert_full(key, (delta, 1)).0,
                };
                times.push((index as u32, commit.at));
            }
        }
        self.last_flush_us = now_us;
        self.retried_last = false;
        if folded.is_empty() {
            self.settle(commits, bytes, told);
            return false;
        }
        let mut pins = Vec::with_capacity(folded.len());
        let mutations = folded
            .into_iter()
            .map(|(key, (delta, count))| {
                pins.push(count);
                RowMutation { key, delta }
            })
            .collect();
        let (failed, is_retry) = (false, false);
        self.flush = Some(Flush { io, mutations, pins, times, commits, bytes, failed, is_retry });
        true
    }

    /// Begins to try parked rows again, if some are due and it is their turn; false if not.
    pub(super) fn try_parked(&mut self, durable: Sequence, now_us: u64, io: IoId) -> bool {
        if self.flush.is_some() || (self.retried_last && self.can_flush(durable)) {
            return false;
        }
        let (mutations, pins): (Vec<_>, Vec<_>) = self.parked.to_try(now_us).into_iter().unzip();
        if mutations.is_empty() {
            return false;
        }
        self.retried_last = true;
        self.flush = Some(Flush {
            io,
            mutations: mutations.into(),
            pins,
            times: Vec::new(),
            commits: 0,
            bytes: 0,
            failed: false,
            is_retry: true,
        });
        true
    }

    /// The flush is in the store. Returns its rows with the pins that come off, and adds to `told` who
    /// waited for it.
    pub(super) fn flushed(
        &mut self,
        io: IoId,
        told: &mut Vec<(Origin, TxnId)>,
    ) -> Vec<(RowKey, u32)> {
        let Some(mut flush) = self.flush.take_if(|flush| flush.io == io) else {
            return Vec::new();
        };
        if let Some(retained) = &mut self.retained {
            retained.push(flush.mutations.clone());
        }
        if flush.is_retry {
            // One that was discarded meanwhile has no pins left.
            for (mutation, pins) in flush.mutations.iter().zip(&mut flush.pins) {
                *pins = self.parked.remove(&mutation.key).unwrap_or_default();
            }
            self.parked.tell_waiters(told);
        }
        self.settle(flush.commits, flush.bytes, told);
        flush.mutations.iter().map(|mutation| mutation.key.clone()).zip(flush.pins).collect()
    }

    fn settle(&mut self, commits: u64, bytes: usize, told: &mut Vec<(Origin, TxnId)>) {
        self.applied += commits;
        self.bytes -= bytes;
        self.tell_waiters(told);
    }

    /// The flush failed for now. One that tries parked rows is given up until their next turn.
    pub(super) fn flush_failed(&mut self, io: IoId, now_us: u64) -> bool {
        let Some(flush) = self.flush.as_mut().filter(|flush| flush.io == io) else { return false };
        flush.failed = true;
        if let Some(flush) = self.flush.take_if(|flush| flush.is_retry) {
            for mutation in flush.mutations.iter() {
                self.parked.postpone(&mutation.key, None, now_us);
            }
            self.parked.pause(now_us);
        }
        true
    }

    /// The store refuses these rows of the flush for good. They are parked; what is left of the flush
    /// goes out as `rest`. Returns the rows that were not parked before, with the reasons.
    pub(super) fn refused(
        &mut self,
        io: IoId,
        rest: IoId,
        refused: Vec<(usize, String)>,
        now_us: u64,
        told: &mut Vec<(Origin, TxnId)>,
    ) -> Vec<(RowKey, String)> {
        let Some(flush) = self.flush.take_if(|flush| flush.io == io) else { return Vec::new() };
        let mut refused: Vec<Option<String>> =
            refused.into_iter().fold(vec![None; flush.mutations.len()], |mut all, (index, why)| {
                if let Some(place) = all.get_mut(index) {
                    *place = Some(why);
                }
                all
            });
        if flush.is_retry {
            // The others are tried again without these, when their turn comes.
            for (mutation, why) in flush.mutations.iter().zip(refused) {
                if why.is_some() {
                    self.parked.postpone(&mutation.key, why, now_us);
                }
            }
            self.parked.pause(now_us);
            return Vec::new();
        }
        let mut parked = Vec::new();
        let mut left = Flush {
            io: rest,
            mutations: Arc::new([]),
            pins: Vec::new(),
            times: Vec::new(),
            ..flush
        };
        let mut mutations = Vec::new();
        // Where each row stands in what is left.
        let mut places = vec![None; refused.len()];
        for (index, mutation) in flush.mutations.iter().enumerate() {
            if let Some(why) = refused[index].take() {
                let times = flush.times.iter().filter(|(of, _)| *of as usize == index);
                let times = times.map(|(_, at)| *at);
                self.parked.park(mutation, flush.pins[index], times, why.clone(), now_us);
                parked.push((mutation.key.clone(), why));
            } else {
                places[index] = Some(mutations.len() as u32);
                mutations.push(mutation.clone());
                left.pins.push(flush.pins[index]);
            }
        }
        if mutations.is_empty() {
            self.settle(left.commits, left.bytes, told);
        } else {
            let place = |(of, at): &(u32, _)| Some((places[*of as usize]?, *at));
            left.times = flush.times.iter().filter_map(place).collect();
            left.mutations = mutations.into();
            self.flush = Some(left);
        }
        parked
    }

    /// Adds to `told` those whose commits are applied.
    pub(super) fn tell_waiters(&mut self, told: &mut Vec<(Origin, TxnId)>) {
        while self.waiters.front().is_some_and(|(commit, _)| *commit <= self.applied) {
            let (_, waiter) = self.waiters.pop_front().expect("the queue has a front");
            if self.parked.may_hold(waiter.at) {
                self.parked.wait(waiter);
            } else {
                told.push((waiter.origin, waiter.id));
            }
        }
    }

    /// Whether the store is just being asked to take parked rows.
    pub(super) fn tries_parked(&self) -> bool {
        self.flush.as_ref().is_some_and(|flush| flush.is_retry)
    }

    /// Tries the chosen parked rows at once.
    pub(super) fn retry_parked(&mut self, which: &ParkedChoice) {
        self.parked.retry(which);
    }

    /// What a record that discards the chosen rows says.
    pub(super) fn to_discard(&self, which: &ParkedChoice) -> Vec<Discarded> {
        self.parked.discarded(which)
    }

    /// Gives up what was written to a row at these times and is not applied. Returns how many pins come
    /// off, and what else of the row is not applied.
    pub(super) fn discard(&mut self, row: &Discarded) -> (u32, Row) {
        let mut pins = self.parked.discard(row);
        let mut left = self.parked.delta(&row.key).cloned().unwrap_or_default();
        for commit in &mut self.queue {
            let before = commit.rows.len();
            commit.rows.retain(|mutation| {
                if mutation.key == row.key {
                    mutation.delta.remove_written(row.from, row.until);
                    left.merge(&mutation.delta);
                }
                mutation.key != row.key || !mutation.delta.is_empty()
            });
            pins += (before - commit.rows.len()) as u32;
            let bytes = commit.rows.iter().map(size).sum();
            self.bytes = self.bytes + bytes - commit.bytes;
            commit.bytes = bytes;
        }
        let flying = self.flush.iter().filter(|flush| !flush.is_retry);
        for mutation in flying.flat_map(|flush| flush.mutations.iter()) {
            if mutation.key == row.key {
                left.merge(&mutation.delta);
            }
        }
        (pins, left)
    }

    /// A sync begins: from now on, keep what is applied.
    pub(super) fn begin_sync(&mut self) {
        self.retained = Some(Vec::new());
    }

    /// The sync ended: every committed row that it may not cover, folded; what is parked by itself.
    /// (A test may leave that out.)
    pub(super) fn end_sync(&mut self, with_parked: bool) -> Vec<RowMutation> {
        let mut rows: IndexMap<RowKey, Row, FxBuildHasher> = IndexMap::default();
        let retained = self.retained.take().unwrap_or_default();
        let flying = self.flush.iter().filter(|flush| !flush.is_retry);
        let flying = flying.flat_map(|flush| flush.mutations.iter());
        let queued = self.queue.iter().flat_map(|commit| &commit.rows);
        for mutation in retained.iter().flat_map(|r| r.iter()).chain(flying).chain(queued) {
            rows.entry(mutation.key.clone()).or_default().merge(&mutation.delta);
        }
        let rows = rows.into_iter().map(|(key, delta)| RowMutation { key, delta });
        rows.chain(self.parked.mutations().filter(|_| with_parked)).collect()
    }
}

fn size(mutation: &RowMutation) -> usize {
    mutation.key.size_bytes() + mutation.delta.size_bytes()
}

#[cfg(test)]
mod tests;
