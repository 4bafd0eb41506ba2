//! Hierarchical locks with queues that grant by age.
//!
//! Only undecided prepared transactions hold locks. A transaction that waits holds nothing, but no
//! younger one that conflicts with it is let past: a waiter reserves its place on all of its keys.

use bytes::Bytes;
use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;
use smallvec::SmallVec;
use wal_core::{Millis, RowKey, TableId, TxnId};

/// The order in which the queues grant: older first.
pub(super) type Age = (Millis, TxnId);

/// How something is locked. Intent modes are taken on a partition before a row in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    IntentShared,
    IntentExclusive,
    Shared,
    Exclusive,
    /// Only waits: a read that must see no undecided write, and holds up nobody.
    Observe,
}

impl Mode {
    const fn conflicts(self, other: Self) -> bool {
        use Mode::{Exclusive, IntentExclusive, IntentShared, Observe, Shared};
        match (self, other) {
            (Observe, _) | (_, Observe) => false,
            (Exclusive, _) | (_, Exclusive) => true,
            (Shared, IntentExclusive) | (IntentExclusive, Shared) => true,
            (IntentShared | IntentExclusive | Shared, IntentShared | Shared)
            | (IntentShared | IntentExclusive, IntentExclusive) => false,
        }
    }
}

/// What is locked: a partition, or a row of one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct LockKey {
    table: TableId,
    partition: Bytes,
    row: Option<Bytes>,
}

/// What one transaction wants to lock.
pub(super) type LockSet = SmallVec<[(LockKey, Mode); 4]>;

/// What waiting for the undecided writers of `key` takes.
pub(super) fn observe(set: &mut LockSet, key: &RowKey) {
    let before = set.len();
    want(set, key, false);
    set[before..].iter_mut().for_each(|(_, mode)| *mode = Mode::Observe);
}

/// Adds what locking `key` takes. A row without clustering columns is its partition.
pub(super) fn want(set: &mut LockSet, key: &RowKey, exclusive: bool) {
    let partition = LockKey { table: key.table, partition: key.partition.clone(), row: None };
    let mode = if exclusive { Mode::Exclusive } else { Mode::Shared };
    if key.clustering.is_empty() {
        set.push((partition, mode));
        return;
    }
    let row = LockKey { row: Some(key.clustering.clone()), ..partition.clone() };
    let intent = if exclusive { Mode::IntentExclusive } else { Mode::IntentShared };
    set.push((partition, intent));
    set.push((row, mode));
}

#[derive(Debug, Default)]
struct Entry {
    holders: SmallVec<[(TxnId, Mode); 2]>,
    queue: SmallVec<[(Age, Mode); 2]>,
}

/// The locks of one shard.
#[derive(Debug, Default)]
pub(super) struct LockTable {
    entries: IndexMap<LockKey, Entry, FxBuildHasher>,
}

impl LockTable {
    /// Whether `age` may have all of `set` now: no conflicting holder, no conflicting older waiter.
    pub(super) fn is_free(&self, age: Age, set: &LockSet) -> bool {
        if self.entries.is_empty() {
            return true;
        }
        set.iter().all(|(key, mode)| {
            self.entries.get(key).is_none_or(|entry| {
                let held = entry.holders.iter().any(|(id, m)| *id != age.1 && m.conflicts(*mode));
                let queued = entry.queue.iter().any(|(a, m)| *a < age && m.conflicts(*mode));
                !held && !queued
            })
        })
    }

    /// The holders that stand in the way of `set`.
    pub(super) fn holders_against(&self, id: TxnId, set: &LockSet) -> SmallVec<[TxnId; 4]> {
        let mut against = SmallVec::new();
        for (key, mode) in set {
            let Some(entry) = self.entries.get(key) else { continue };
            for (holder, held) in &entry.holders {
                if *holder != id && held.conflicts(*mode) && !against.contains(holder) {
                    against.push(*holder);
                }
            }
        }
        against
    }

    /// Whether any holder stands in the way of reading `key`.
    pub(super) fn is_covered(&self, key: &RowKey) -> bool {
        if self.entries.is_empty() {
            return false;
        }
        let mut set = LockSet::new();
        want(&mut set, key, false);
        !self.holders_against(TxnId(0), &set).is_empty()
    }

    pub(super) fn acquire(&mut self, id: TxnId, set: &LockSet) {
        for (key, mode) in set {
            self.entries.entry(key.clone()).or_default().holders.push((id, *mode));
        }
    }

    /// Frees what `id` holds of `set` and adds to `wake` the waiters that this may let go on.
    pub(super) fn release(&mut self, id: TxnId, set: &LockSet, wake: &mut Vec<Age>) {
        for (key, _) in set {
            let Some(entry) = self.entries.get_mut(key) else { continue };
            entry.holders.retain(|(holder, _)| *holder != id);
            wake.extend(entry.queue.iter().map(|(age, _)| *age));
            self.drop_if_idle(key);
        }
    }

    /// Takes a place in the queues of `set`.
    pub(super) fn enqueue(&mut self, age: Age, set: &LockSet) {
        for (key, mode) in set {
            self.entries.entry(key.clone()).or_default().queue.push((age, *mode));
        }
    }

    /// Gives up the place; adds to `wake` the waiters that this may let go on.
    pub(super) fn dequeue(&mut self, age: Age, set: &LockSet, wake: &mut Vec<Age>) {
        for (key, _) in set {
            let Some(entry) = self.entries.get_mut(key) else { continue };
            entry.queue.retain(|(waiter, _)| *waiter != age);
            wake.extend(entry.queue.iter().map(|(waiter, _)| *waiter).filter(|w| *w > age));
            self.drop_if_idle(key);
        }
    }

    fn drop_if_idle(&mut self, key: &LockKey) {
        if self.entries.get(key).is_some_and(|e| e.holders.is_empty() && e.queue.is_empty()) {
            self.entries.swap_remove(key);
        }
    }

    /// How many keys are held or waited for.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(partition: &'static str, clustering: &'static str) -> RowKey {
        RowKey {
            table: TableId(0),
            partition: Bytes::from_static(partition.as_bytes()),
            clustering: Bytes::from_static(clustering.as_bytes()),
        }
    }

    fn set(key: &RowKey, exclusive: bool) -> LockSet {
        let mut set = LockSet::new();
        want(&mut set, key, exclusive);
        set
    }

    const fn age(n: u64) -> Age {
        (Millis(n), TxnId(n as u128))
    }

    #[test]
    fn rows_of_one_partition_do_not_conflict_but_the_partition_does() {
        let mut locks = LockTable::default();
        locks.acquire(TxnId(1), &set(&key("p", "a"), true));
        assert!(locks.is_free(age(2), &set(&key("p", "b"), true)));
        assert!(!locks.is_free(age(2), &set(&key("p", "a"), false)));
        assert!(!locks.is_free(age(2), &set(&key("p", ""), false)));
        assert!(locks.is_covered(&key("p", "a")) && !locks.is_covered(&key("p", "b")));
    }

    #[test]
    fn readers_share() {
        let mut locks = LockTable::default();
        locks.acquire(TxnId(1), &set(&key("p", "a"), false));
        assert!(locks.is_free(age(2), &set(&key("p", "a"), false)));
        assert!(!locks.is_free(age(2), &set(&key("p", "a"), true)));
    }

    #[test]
    fn no_arrival_overtakes_an_older_waiter() {
        let mut locks = LockTable::default();
        let row = key("p", "a");
        locks.acquire(TxnId(1), &set(&row, false));
        locks.enqueue(age(2), &set(&row, true));
        assert!(
            !locks.is_free(age(3), &set(&row, false)),
            "2 waits to write, 3 may not read past it"
        );
        assert!(locks.is_free(age(1), &set(&row, false)));
        let mut wake = Vec::new();
        locks.release(TxnId(1), &set(&row, false), &mut wake);
        assert_eq!(wake, vec![age(2), age(2)], "once for the partition, once for the row");
        assert!(locks.is_free(age(2), &set(&row, true)));
        locks.dequeue(age(2), &set(&row, true), &mut wake);
        assert_eq!(locks.len(), 0);
    }
}
