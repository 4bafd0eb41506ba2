//! Rows in memory: the overlay of committed writes that the table store has not acknowledged, and the
//! cache of rows that it has. One table serves both: a row that something still needs is pinned.

use bytes::Bytes;
use indexmap::IndexMap;
use rustc_hash::{FxBuildHasher, FxHasher};
use smallvec::SmallVec;
use std::hash::{Hash, Hasher};
use wal_core::{Row, RowKey, Sequence, TableId, Timestamp};

use super::locks::Age;

const LAST_WRITE_SLOTS: usize = 4096;

/// What a write says of the rest of its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WriteOrigin {
    /// Nothing of the row is newer; `owned` tells whether Handfast alone writes its table.
    Newest { owned: bool },
    /// It was written in another region: the store may have something newer, which may hide it, and which
    /// CQL does not always show (a tombstone). Only the store can tell what comes of it.
    Elsewhere,
}

/// The newest write time of each table's rows in a shard.
#[derive(Debug)]
pub(super) struct NewestWrites {
    /// By the table's number.
    of: Vec<Timestamp>,
    /// Of tables that nothing was written to since the term began. In a replay nothing is known.
    others: Timestamp,
}

impl Default for NewestWrites {
    fn default() -> Self {
        Self { of: Vec::new(), others: Timestamp(i64::MAX) }
    }
}

impl NewestWrites {
    /// A term begins: nothing in the shard is newer than `last`.
    pub(super) fn begin_at(&mut self, last: Timestamp) {
        *self = Self { of: Vec::new(), others: last };
    }

    /// Whether nothing of a table is newer than `at`.
    pub(super) fn is_newest(&self, table: TableId, at: Timestamp) -> bool {
        at > *self.of.get(table.0 as usize).unwrap_or(&self.others)
    }

    /// Something of a table was written at `at`.
    pub(super) fn note(&mut self, table: TableId, at: Timestamp) {
        let index = table.0 as usize;
        if self.of.len() <= index {
            self.of.resize(index + 1, self.others);
        }
        self.of[index] = self.of[index].max(at);
    }
}

#[derive(Debug, Default)]
struct Entry {
    row: Row,
    /// Whether `row` is all of it, or only what was written since it was last evicted.
    complete: bool,
    /// Unapplied commits, reads under way and waiters that need the row to stay.
    pins: u32,
    /// Whether it was used since the clock hand last passed.
    used: bool,
    /// Commits of the row that the store has not acknowledged.
    unapplied: u32,
    /// Whether one of them is [`WriteOrigin::Elsewhere`]: until all are applied nobody is told of the row.
    elsewhere: bool,
    /// Whether the read that is under way may have come before what was applied, and counts for nothing.
    read_is_stale: bool,
    /// Who waits for the read that is under way, if one is.
    loading: Option<SmallVec<[Age; 2]>>,
}

/// The rows of one shard that are in memory.
#[derive(Debug)]
pub(super) struct RowTable {
    entries: IndexMap<RowKey, Entry, FxBuildHasher>,
    /// The sequence of the newest record that wrote a row of each hash: a collision only makes a
    /// reader try again.
    last_write: Box<[Sequence]>,
    bytes: usize,
    hand: usize,
}

impl Default for RowTable {
    fn default() -> Self {
        Self {
            entries: IndexMap::default(),
            last_write: vec![Sequence(0); LAST_WRITE_SLOTS].into_boxed_slice(),
            bytes: 0,
            hand: 0,
        }
    }
}

fn slot(key: &RowKey) -> usize {
    let mut hasher = FxHasher::default();
    key.hash(&mut hasher);
    // The high bits of this hash are its better ones.
    (hasher.finish() >> 40) as usize % LAST_WRITE_SLOTS
}

fn entry_bytes(key: &RowKey, row: &Row) -> usize {
    key.size_bytes() + row.size_bytes() + 96
}

impl RowTable {
    /// The row, if all of it is in memory, and whether it exists is known.
    pub(super) fn get(&mut self, key: &RowKey) -> Option<&Row> {
        let entry = self.entries.get_mut(key)?;
        entry.used = true;
        let known = entry.complete && !entry.elsewhere && entry.row.is_decided();
        known.then_some(&entry.row)
    }

    /// The row, or an absent one, without having read the store (for what only needs write times).
    pub(super) fn peek(&self, key: &RowKey) -> Option<&Row> {
        self.entries.get(key).map(|entry| &entry.row)
    }

    /// Merges a committed write in and pins the row until [`Self::applied`].
    pub(super) fn write(&mut self, key: &RowKey, delta: &Row, seq: Sequence, origin: WriteOrigin) {
        self.last_write[slot(key)] = seq;
        if !self.entries.contains_key(key) {
            self.entries.insert(compact(key), Entry::default());
            self.bytes += entry_bytes(key, &Row::default());
        }
        let entry = self.entries.get_mut(key).expect("inserted above");
        let before = entry.row.size_bytes();
        entry.row.merge(delta);
        entry.pins += 1;
        entry.unapplied += 1;
        entry.used = true;
        match origin {
            // Nothing older survives a row's deletion, so what is in memory is all there is.
            WriteOrigin::Newest { owned } => entry.complete |= owned && delta.deleted_at.is_some(),
            WriteOrigin::Elsewhere => entry.elsewhere = true,
        }
        self.bytes = self.bytes + entry.row.size_bytes() - before;
    }

    /// Whether the newest write of any row with this row's hash is at or before `mark`.
    pub(super) fn unwritten_since(&self, key: &RowKey, mark: Sequence) -> bool {
        self.last_write[slot(key)] <= mark
    }

    /// A new epoch counts its sequences anew.
    pub(super) fn forget_sequences(&mut self) {
        self.last_write.fill(Sequence(0));
    }

    /// Keeps the row (whatever of it is there) in memory until [`Self::unpin`].
    pub(super) fn pin(&mut self, key: &RowKey) {
        if !self.entries.contains_key(key) {
            self.entries.insert(compact(key), Entry::default());
            self.bytes += entry_bytes(key, &Row::default());
        }
        self.entries.get_mut(key).expect("inserted above").pins += 1;
    }

    /// Notes that `waiter` needs the row to be read; true if a read must be started. The read itself
    /// keeps the row in memory too: whatever is written before its answer comes must be merged into it.
    pub(super) fn load(&mut self, key: &RowKey, waiter: Age) -> bool {
        self.pin(key);
        let entry = self.entries.get_mut(key).expect("pinned above");
        match &mut entry.loading {
            Some(waiters) => {
                waiters.push(waiter);
                false
            }
            None => {
                entry.loading = Some(SmallVec::from_slice(&[waiter]));
                entry.pins += 1;
                true
            }
        }
    }

    /// Notes that a waiter that has had the row read must have it read again, because what was read does
    /// not tell whether it exists; true if a read must be started. Its pin stays as it is.
    pub(super) fn load_again(&mut self, key: &RowKey, waiter: Age) -> bool {
        let Some(entry) = self.entries.get_mut(key) else { return false };
        match &mut entry.loading {
            Some(waiters) => {
                if !waiters.contains(&waiter) {
                    waiters.push(waiter);
                }
                false
            }
            None => {
                entry.loading = Some(SmallVec::from_slice(&[waiter]));
                entry.pins += 1;
                true
            }
        }
    }

    /// The read that [`Self::load`] asked for: completes the row, tells who waited. Their pins stay.
    pub(super) fn loaded(&mut self, key: &RowKey, stored: Row, owned: bool) -> SmallVec<[Age; 2]> {
        let Some(entry) = self.entries.get_mut(key) else { return SmallVec::new() };
        let Some(waiters) = entry.loading.take() else { return SmallVec::new() };
        if !std::mem::take(&mut entry.read_is_stale) {
            let before = entry.row.size_bytes();
            let newer = std::mem::replace(&mut entry.row, stored);
            entry.row.merge(&newer);
            entry.complete = true;
            self.bytes = self.bytes + entry.row.size_bytes() - before;
        }
        self.unpin(key, 1, owned);
        waiters
    }

    /// So many commits of the row are in the store. If something of them came from elsewhere, the store alone
    /// knows what the row is now.
    pub(super) fn applied(&mut self, key: &RowKey, commits: u32, owned: bool) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        entry.unapplied = entry.unapplied.saturating_sub(commits);
        if entry.elsewhere && entry.unapplied == 0 {
            let before = entry.row.size_bytes();
            entry.row = Row::default();
            self.bytes = self.bytes + entry.row.size_bytes() - before;
            entry.complete = false;
            entry.elsewhere = false;
            entry.read_is_stale = entry.loading.is_some();
        }
        self.unpin(key, commits, owned);
    }

    /// Takes `pins` off. A row that nothing needs stays as cache if it is all there and may be cached.
    pub(super) fn unpin(&mut self, key: &RowKey, pins: u32, owned: bool) {
        let Some(index) = self.entries.get_index_of(key) else { return };
        let entry = &mut self.entries[index];
        entry.pins = entry.pins.checked_sub(pins).expect("every pin is taken off once");
        if entry.pins == 0 && (!entry.complete || !owned) {
            self.remove(index);
        }
    }

    /// Some of what is in memory of the row was given up: `left` is what the store does not have yet, and
    /// `pins` come off. What the store has must be read again.
    pub(super) fn discard(
        &mut self,
        key: &RowKey,
        left: Row,
        pins: u32,
        seq: Sequence,
        owned: bool,
    ) {
        self.last_write[slot(key)] = seq;
        let Some(entry) = self.entries.get_mut(key) else { return };
        self.bytes = self.bytes + left.size_bytes() - entry.row.size_bytes();
        entry.complete = owned && left.deleted_at.is_some();
        entry.row = left;
        self.applied(key, pins, owned);
    }

    /// Evicts rows that nothing needs until they take at most `max_bytes`; looks at a bounded number.
    pub(super) fn evict(&mut self, max_bytes: usize) {
        let mut looks = 256;
        while self.bytes > max_bytes && looks > 0 && !self.entries.is_empty() {
            looks -= 1;
            self.hand = (self.hand + 1) % self.entries.len();
            let entry = &mut self.entries[self.hand];
            if entry.pins == 0 && !entry.used {
                self.remove(self.hand);
            } else {
                entry.used = false;
            }
        }
    }

    fn remove(&mut self, index: usize) {
        let (key, entry) = self.entries.swap_remove_index(index).expect("the index is in range");
        self.bytes -= entry_bytes(&key, &entry.row);
    }

    /// Memory that the rows take, roughly.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many rows are in memory.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

/// A copy of the key that keeps no larger buffer alive.
fn compact(key: &RowKey) -> RowKey {
    RowKey {
        table: key.table,
        partition: Bytes::copy_from_slice(&key.partition),
        clustering: Bytes::copy_from_slice(&key.clustering),
    }
}

#[cfg(test)]
mod tests;
