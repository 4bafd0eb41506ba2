//! Letting a transaction in: its locks are free, its rows are in memory, its conditions hold, and its
//! record is written, all in one step. What cannot go on yet waits, holding nothing.

use std::sync::Arc;

use smallvec::SmallVec;
use wal_core::record::AddResults;
use wal_core::{AbortReason, Now, RowKey, RowOp, Timestamp, Transaction, TxnId, WriteOp};

use super::locks::{Age, LockSet, want};
use super::{Rule, Rules, ShardCommand, ShardEngine, check};
use crate::message::{Origin, PrepareRequest};

/// Records that the log has not been given yet; beyond it nothing new is taken. One append must hold
/// them, whatever else it holds.
const MAX_UNTAKEN_BYTES: usize = 8 << 20;

/// What waits.
#[derive(Clone, Debug)]
pub(super) enum Asked {
    Single { txn: Arc<Transaction>, applied: bool, clock_us: i64 },
    Prepare(Box<PrepareRequest>),
    Read { keys: Arc<[RowKey]>, only: bool },
    Hold { keys: Arc<[RowKey]> },
}

impl Asked {
    /// The rows of a transaction; none for a read, which has keys only.
    pub(super) fn part(&self) -> &[RowOp] {
        match self {
            Self::Single { txn, .. } => &txn.parts[0].1,
            Self::Prepare(prepare) => &prepare.part,
            Self::Read { .. } | Self::Hold { .. } => &[],
        }
    }

    /// The sender's wall clock when it asked, microseconds; none of a reader's.
    const fn clock_us(&self) -> i64 {
        match self {
            Self::Single { clock_us, .. } => *clock_us,
            Self::Prepare(prepare) => prepare.clock_us,
            Self::Read { .. } | Self::Hold { .. } => i64::MAX,
        }
    }
}

/// Something that waits for locks or rows.
#[derive(Clone, Debug)]
pub(super) struct Waiter {
    pub(super) asked: Asked,
    pub(super) origins: SmallVec<[Origin; 1]>,
    pub(super) locks: LockSet,
    /// Whether it has its place in the lock queues.
    pub(super) queued: bool,
    /// Rows that it keeps in memory, read or being read.
    pub(super) pinned: SmallVec<[RowKey; 2]>,
    pub(super) since_us: u64,
}

impl Waiter {
    pub(super) fn new(asked: Asked, origin: Origin, now: Now) -> Self {
        Self {
            asked,
            origins: SmallVec::from_slice(&[origin]),
            locks: LockSet::new(),
            queued: false,
            pinned: SmallVec::new(),
            since_us: now.mono_us,
        }
    }

    /// What its sender's clock says now: how long it waited here is no difference between clocks.
    pub(super) const fn sender_clock_us(&self, now: Now) -> i64 {
        self.asked.clock_us().saturating_add_unsigned(now.mono_us - self.since_us)
    }
}

/// What checking a part came to.
pub(super) struct Checked {
    pub(super) adds: AddResults,
    pub(super) timestamp: Timestamp,
}

impl<R: Rules> ShardEngine<R> {
    /// Lets a transaction in now, or makes it wait.
    pub(super) fn consider(
        &mut self,
        now: Now,
        age: Age,
        mut waiter: Waiter,
        out: &mut Vec<ShardCommand>,
    ) {
        match waiter.asked {
            Asked::Read { .. } => return self.consider_read(now, age, waiter),
            Asked::Hold { .. } => return self.consider_hold(now, age, waiter, out),
            Asked::Single { .. } | Asked::Prepare(_) => {}
        }
        if waiter.locks.is_empty() {
            for op in waiter.asked.part() {
                want(&mut waiter.locks, &op.key, !op.is_read_only());
            }
        }
        let single = matches!(waiter.asked, Asked::Single { .. });
        let ignores_locks = single && !self.rules.holds(Rule::SingleShardRespectsLocks);
        let free = ignores_locks || self.locks.is_free(age, &waiter.locks);
        if !free {
            self.open_while_waiting(now, &waiter, out);
            return self.park(age, waiter);
        }
        if !self.rows_at_hand(age, &mut waiter) {
            return self.park(age, waiter);
        }
        self.leave_lock_queues(age, &waiter);
        match &waiter.asked {
            Asked::Single { txn, applied, .. } => {
                self.decide_single(now, txn, *applied, &waiter, out);
            }
            Asked::Prepare(prepare) => self.decide_prepare(now, prepare, &waiter, out),
            Asked::Read { .. } | Asked::Hold { .. } => {
                unreachable!("reads were sent elsewhere above")
            }
        }
        // Not before: a row of a shared table stays in memory only as long as something pins it.
        self.unpin_rows(&waiter);
    }

    /// Whether every row that must be known is in memory; asks for the others.
    fn rows_at_hand(&mut self, age: Age, waiter: &mut Waiter) -> bool {
        let mut at_hand = true;
        let Waiter { asked, pinned, .. } = waiter;
        for op in asked.part() {
            if self.needs_row(op) {
                at_hand &= self.row_at_hand(age, &op.key, pinned);
            }
        }
        at_hand
    }

    /// Whether one row is in memory; asks for it otherwise, once, or again at the next tick where the
    /// store's answer did not tell whether it exists: it will when it holds what the overlay holds.
    pub(super) fn row_at_hand(
        &mut self,
        age: Age,
        key: &RowKey,
        pinned: &mut SmallVec<[RowKey; 2]>,
    ) -> bool {
        if self.rows.get(key).is_some() {
            return true;
        }
        if !pinned.contains(key) {
            pinned.push(key.clone());
            if self.rows.load(key, age) {
                self.to_read.push(key.clone());
            }
        } else if self.rows.load_again(key, age) {
            self.checkpointer.reread.push(key.clone());
        }
        false
    }

    pub(super) fn needs_row(&self, op: &RowOp) -> bool {
        // What was written elsewhere has its time already: no row decides on it.
        let blind = self.schema.is_owned(op.key.table) || matches!(op.write, WriteOp::Merge(_));
        op.needs_row() || !blind
    }

    /// Whether something was validated under a version of the namespace that this server has not seen, or
    /// something that is in the log was: homes may have moved since.
    pub(super) fn is_behind(&self, version: u32) -> bool {
        version.max(self.newest_version) > self.schema.version
    }

    pub(super) fn park(&mut self, age: Age, mut waiter: Waiter) {
        if !waiter.queued {
            self.locks.enqueue(age, &waiter.locks);
            waiter.queued = true;
        }
        self.waiting.insert(age, waiter);
    }

    /// Gives up a waiter's place in the queues and its hold on rows.
    pub(super) fn leave_queues(&mut self, age: Age, waiter: &Waiter) {
        self.leave_lock_queues(age, waiter);
        self.unpin_rows(waiter);
    }

    pub(super) fn leave_lock_queues(&mut self, age: Age, waiter: &Waiter) {
        if waiter.queued {
            self.locks.dequeue(age, &waiter.locks, &mut self.wake);
        }
    }

    pub(super) fn unpin_rows(&mut self, waiter: &Waiter) {
        for key in &waiter.pinned {
            let owned = self.schema.is_owned(key.table);
            self.rows.unpin(key, 1, owned);
        }
    }

    /// Takes a waiting transaction out of every queue.
    pub(super) fn remove_waiter(&mut self, age: Age) -> Option<Waiter> {
        let waiter = self.waiting.remove(&age)?;
        self.leave_queues(age, &waiter);
        Some(waiter)
    }

    /// The waiter of a transaction. There is at most one, of whatever age.
    pub(super) fn waiter_of(&self, id: TxnId) -> Option<Age> {
        let own = (id.time(), id);
        if self.waiting.contains_key(&own) {
            return Some(own);
        }
        let start = self.ledger.entry(id)?.open.as_ref()?.start;
        self.waiting.contains_key(&(start, id)).then_some((start, id))
    }

    /// Looks again at everything that may be able to go on, older first.
    pub(super) fn wake_waiters(&mut self, now: Now, out: &mut Vec<ShardCommand>) {
        while !self.wake.is_empty() {
            let mut ages = std::mem::take(&mut self.wake);
            ages.sort_unstable();
            ages.dedup();
            for age in ages {
                if let Some(waiter) = self.waiting.remove(&age) {
                    self.consider(now, age, waiter, out);
                }
            }
        }
    }

    /// Checks a part whose rows are at hand: conditions, adds, write times.
    pub(super) fn check(&mut self, now: Now, part: &[RowOp]) -> Result<Checked, Box<AbortReason>> {
        self.check_again(now, part, true)
    }

    /// The same; `conditions` tells whether they are looked at.
    pub(super) fn check_again(
        &mut self,
        now: Now,
        part: &[RowOp],
        conditions: bool,
    ) -> Result<Checked, Box<AbortReason>> {
        let mut adds = Vec::new();
        let mut newest = self.last_timestamp;
        for op in part {
            check::home(&self.schema, op)?;
            if !self.needs_row(op) {
                continue;
            }
            let absent = wal_core::Row::default();
            let row = self.rows.get(&op.key).unwrap_or(&absent);
            if conditions {
                check::conditions(&self.schema, op, row)?;
            }
            check::adds(&self.schema, op, row, &mut adds)?;
            let written = row.newest().unwrap_or_default();
            if written.0 > now.wall_us + self.config.limits.max_drift_us && written > newest {
                let key = op.key.clone();
                return Err(Box::new(AbortReason::TimestampInFuture { key }));
            }
            newest = newest.max(written);
        }
        let step = if self.rules.holds(Rule::TimestampsIncrease) { 0 } else { Timestamp::STEP };
        let last = Timestamp(newest.0 - step);
        Ok(Checked { adds, timestamp: Timestamp::propose(self.schema.region, now.wall_us, last) })
    }

    /// Whether a timestamp is later than a waiter's sender can explain: one of the two clocks is wrong.
    pub(super) const fn is_beyond_drift(
        &self,
        now: Now,
        waiter: &Waiter,
        timestamp: Timestamp,
    ) -> bool {
        let latest_us = waiter.sender_clock_us(now).saturating_add(self.config.limits.max_drift_us);
        timestamp.0 > latest_us
    }

    /// Whether there is no room for another transaction: the reason, in a word for the client.
    /// What is remembered already takes no further room: to refuse an attempt of it would only keep it,
    /// and for ever if everything remembered is open.
    pub(super) fn is_full(&self, now: Now, id: TxnId, part: &[RowOp]) -> bool {
        let remembered = self.ledger.get(id).is_some();
        let limits = &self.config.limits;
        self.waiting.len() >= limits.max_waiting
            || self.ledger.prepared.len() >= limits.max_prepared
            || self.chain.untaken_bytes() >= MAX_UNTAKEN_BYTES
            || self.applier.bytes() >= limits.max_overlay_bytes
            || self.is_full_of_parked(part)
            || (!remembered && self.ledger.memories.len() >= self.max_remembered.saturating_mul(2))
            || self.last_timestamp.0 > now.wall_us + limits.max_drift_us / 2
    }
}
