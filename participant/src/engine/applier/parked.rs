//! Rows that the table store refuses for good: set aside, so that they hold up nothing but themselves.
//!
//! A parked row is a row of the overlay that flushes leave out. Whatever is written to it later is folded
//! into it: so its writes reach the store in their order, all at once, or not at all.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use wal_core::record::Discarded;
use wal_core::{Row, RowKey, RowMutation, TableId, Timestamp, TxnId};

use crate::message::Origin;

/// Commits into one parked row that are known one by one; of older ones only the newest time is.
const MAX_TIMES: usize = 64;
/// Who waits for parked rows; beyond it the oldest gets no answer (and asks again, or gives up).
const MAX_WAITERS: usize = 4_096;
/// How long a refused row rests before it is tried again.
const RETRY_AFTER_US: u64 = 30_000_000;
/// Rows tried again by one flush, in which nothing else goes out.
const RETRY_ROWS: usize = 64;
/// Time between two such flushes unless all of the first was taken, so that thousands of parked rows
/// cost the others little.
const RETRY_PAUSE_US: u64 = 250_000;

/// Which parked rows are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParkedChoice {
    /// These.
    Rows(BTreeSet<RowKey>),
    /// All of one table.
    Table(TableId),
    /// All.
    All,
}

impl ParkedChoice {
    fn has(&self, key: &RowKey) -> bool {
        match self {
            Self::Rows(keys) => keys.contains(key),
            Self::Table(table) => key.table == *table,
            Self::All => true,
        }
    }
}

/// A parked row, as an administrator may see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedRow {
    /// Which.
    pub key: RowKey,
    /// What is not applied.
    pub delta: Row,
    /// The commit timestamp of the oldest write in it.
    pub first: Timestamp,
    /// The commit timestamp of the newest.
    pub last: Timestamp,
    /// Commits that wrote to it.
    pub commits: u32,
    /// What the store says.
    pub why: Arc<str>,
    /// How often the store has refused it since this leader began.
    pub tries: u32,
}

#[derive(Debug)]
struct Parked {
    delta: Row,
    /// Commits that it stands for: so many pins come off.
    pins: u32,
    /// The commit timestamps of its writes, oldest first.
    times: VecDeque<Timestamp>,
    /// Whether one committed at or before this is in it, nobody knows any more.
    blurred: Option<Timestamp>,
    first: Timestamp,
    why: Arc<str>,
    due_us: u64,
    tries: u32,
}

impl Parked {
    fn written_at(&mut self, at: Option<Timestamp>, newest: Option<Timestamp>) {
        match at {
            Some(at) => self.times.push_back(at),
            None => self.blurred = self.blurred.max(newest),
        }
        if self.times.len() > MAX_TIMES {
            self.blurred = self.blurred.max(self.times.pop_front());
        }
    }

    fn last(&self) -> Timestamp {
        let newest = self.delta.newest().unwrap_or(self.first);
        Timestamp(newest.0 & !(Timestamp::STEP - 1))
    }

    fn may_hold(&self, at: Option<Timestamp>) -> bool {
        // Who asks for a commit that is forgotten is not told that it is applied.
        at.is_none_or(|at| Some(at) <= self.blurred || self.times.contains(&at))
    }
}

/// Who waits until a transaction is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) struct Waiter {
    pub(in crate::engine) origin: Origin,
    pub(in crate::engine) id: TxnId,
    /// Its commit timestamp, if it is remembered.
    pub(in crate::engine) at: Option<Timestamp>,
}

/// The parked rows of one shard.
#[derive(Debug, Default)]
pub(in crate::engine) struct ParkedRows {
    rows: BTreeMap<RowKey, Parked>,
    /// When each is tried again.
    due: BTreeSet<(u64, RowKey)>,
    /// Rows parked, by table.
    tables: BTreeMap<TableId, usize>,
    bytes: usize,
    not_before_us: u64,
    waiters: VecDeque<Waiter>,
}

fn size(key: &RowKey, delta: &Row) -> usize {
    key.size_bytes() + delta.size_bytes()
}

impl ParkedRows {
    pub(in crate::engine) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(in crate::engine) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(in crate::engine) fn has_table(&self, table: TableId) -> bool {
        self.tables.contains_key(&table)
    }

    /// Sets a row aside that the store has refused. `times` are those of its writes, as far as known.
    pub(super) fn park(
        &mut self,
        mutation: &RowMutation,
        pins: u32,
        times: impl Iterator<Item = Option<Timestamp>>,
        why: String,
        now_us: u64,
    ) {
        let RowMutation { key, delta } = mutation;
        let first = delta.oldest().unwrap_or_default();
        let mut parked = Parked {
            delta: delta.clone(),
            pins,
            times: VecDeque::new(),
            blurred: None,
            first: Timestamp(first.0 & !(Timestamp::STEP - 1)),
            why: why.into(),
            due_us: now_us + RETRY_AFTER_US,
            tries: 1,
        };
        for at in times {
            // Of a row without cells, only the commits tell the time.
            parked.first = if delta.is_empty() { at.unwrap_or_default() } else { parked.first };
            parked.written_at(at, delta.newest());
        }
        parked.first = parked.times.front().map_or(parked.first, |at| parked.first.min(*at));
        self.bytes += size(key, delta);
        *self.tables.entry(key.table).or_default() += 1;
        self.due.insert((parked.due_us, key.clone()));
        self.rows.insert(key.clone(), parked);
    }

    /// Folds a later write into a parked row; false if the row is not parked.
    pub(super) fn fold(&mut self, key: &RowKey, delta: &Row, at: Option<Timestamp>) -> bool {
        if self.rows.is_empty() {
            return false;
        }
        let Some(parked) = self.rows.get_mut(key) else { return false };
        self.bytes -= parked.delta.size_bytes();
        parked.delta.merge(delta);
        self.bytes += parked.delta.size_bytes();
        parked.pins += 1;
        parked.written_at(at, delta.newest());
        true
    }

    /// The rows whose next try is due, at most as many as one flush takes.
    pub(super) fn to_try(&self, now_us: u64) -> Vec<(RowMutation, u32)> {
        if now_us < self.not_before_us {
            return Vec::new();
        }
        let due = self.due.iter().take(RETRY_ROWS).take_while(|(due_us, _)| *due_us <= now_us);
        due.map(|(_, key)| {
            let parked = &self.rows[key];
            (RowMutation { key: key.clone(), delta: parked.delta.clone() }, parked.pins)
        })
        .collect()
    }

    /// A flush of parked rows has been answered, and not all of it was taken.
    pub(super) fn pause(&mut self, now_us: u64) {
        self.not_before_us = now_us + RETRY_PAUSE_US;
    }

    /// The store has refused the row again, or may have failed because of it.
    pub(super) fn postpone(&mut self, key: &RowKey, why: Option<String>, now_us: u64) {
        let Some(parked) = self.rows.get_mut(key) else { return };
        if let Some(why) = why {
            parked.why = why.into();
            parked.tries += 1;
        }
        self.due.remove(&(parked.due_us, key.clone()));
        parked.due_us = now_us + RETRY_AFTER_US;
        self.due.insert((parked.due_us, key.clone()));
    }

    /// The store has taken the row: how many pins come off, if it is still parked.
    pub(super) fn remove(&mut self, key: &RowKey) -> Option<u32> {
        let parked = self.rows.remove(key)?;
        self.due.remove(&(parked.due_us, key.clone()));
        self.bytes -= size(key, &parked.delta);
        let count = self.tables.get_mut(&key.table).expect("counted when it was parked");
        *count -= 1;
        if *count == 0 {
            self.tables.remove(&key.table);
        }
        Some(parked.pins)
    }

    /// Gives up what was written at these times; returns how many pins come off.
    pub(super) fn discard(&mut self, row: &Discarded) -> u32 {
        let Some(parked) = self.rows.get_mut(&row.key) else { return 0 };
        let before = parked.delta.size_bytes();
        parked.delta.remove_written(row.from, row.until);
        self.bytes = self.bytes + parked.delta.size_bytes() - before;
        if parked.delta.is_empty() { self.remove(&row.key).unwrap_or_default() } else { 0 }
    }

    /// Tries the chosen rows at once.
    pub(super) fn retry(&mut self, which: &ParkedChoice) {
        self.not_before_us = 0;
        for (key, parked) in self.rows.iter_mut().filter(|(key, _)| which.has(key)) {
            self.due.remove(&(parked.due_us, key.clone()));
            parked.due_us = 0;
            self.due.insert((0, key.clone()));
        }
    }

    /// What a record that discards the chosen rows says.
    pub(super) fn discarded(&self, which: &ParkedChoice) -> Vec<Discarded> {
        let chosen = self.rows.iter().filter(|(key, _)| which.has(key));
        chosen
            .map(|(key, parked)| Discarded {
                key: key.clone(),
                from: parked.first,
                until: Timestamp(parked.last().0 | (Timestamp::STEP - 1)),
            })
            .collect()
    }

    pub(in crate::engine) fn count(&self, which: &ParkedChoice) -> usize {
        self.rows.keys().filter(|key| which.has(key)).count()
    }

    pub(in crate::engine) fn list(&self, limit: usize) -> Vec<ParkedRow> {
        let row = |(key, parked): (&RowKey, &Parked)| ParkedRow {
            key: key.clone(),
            delta: parked.delta.clone(),
            first: parked.first,
            last: parked.last(),
            commits: parked.pins,
            why: Arc::clone(&parked.why),
            tries: parked.tries,
        };
        self.rows.iter().take(limit).map(row).collect()
    }

    /// What is parked of one row.
    pub(super) fn delta(&self, key: &RowKey) -> Option<&Row> {
        self.rows.get(key).map(|parked| &parked.delta)
    }

    pub(super) fn mutations(&self) -> impl Iterator<Item = RowMutation> + '_ {
        let row = |(key, parked): (&RowKey, &Parked)| RowMutation {
            key: key.clone(),
            delta: parked.delta.clone(),
        };
        self.rows.iter().map(row)
    }

    /// Whether something of this commit may be parked.
    pub(super) fn may_hold(&self, at: Option<Timestamp>) -> bool {
        self.rows.values().any(|parked| parked.may_hold(at))
    }

    /// Makes somebody wait whose transaction may be parked in part.
    pub(super) fn wait(&mut self, waiter: Waiter) {
        if self.waiters.contains(&waiter) {
            return;
        }
        if self.waiters.len() >= MAX_WAITERS {
            self.waiters.pop_front();
        }
        self.waiters.push_back(waiter);
    }

    /// Rows have left: adds to `told` who need not wait any more.
    pub(in crate::engine) fn tell_waiters(&mut self, told: &mut Vec<(Origin, TxnId)>) {
        let waiters = std::mem::take(&mut self.waiters);
        for waiter in waiters {
            if self.may_hold(waiter.at) {
                self.waiters.push_back(waiter);
            } else {
                told.push((waiter.origin, waiter.id));
            }
        }
    }
}
