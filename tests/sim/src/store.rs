//! The table store: rows that merge, writes that fail and show up later all the same.

use std::collections::{BTreeMap, BTreeSet};

use wal_core::{Row, RowKey, RowMutation, TableId};

use crate::rng::Rng;

/// What the tables refuse until somebody mends it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Refused {
    /// One row.
    Row(RowKey),
    /// A whole table.
    Table(TableId),
}

/// All tables' rows.
#[derive(Default)]
pub(crate) struct Store {
    rows: BTreeMap<RowKey, Row>,
    refused: BTreeSet<Refused>,
    /// What failed writes left on some replica: a read may see it or not.
    half_seen: Vec<RowMutation>,
    /// Embedded: what survives the loss of power.
    synced: BTreeMap<RowKey, Row>,
    /// Embedded: what was applied since the last sync, and how much was before it.
    unsynced: Vec<RowMutation>,
    synced_count: usize,
}

impl Store {
    /// One row, as a reader sees it now.
    pub(crate) fn read(&self, key: &RowKey, rng: &mut Rng) -> Row {
        let mut row = self.rows.get(key).cloned().unwrap_or_default();
        for mutation in self.half_seen.iter().filter(|mutation| mutation.key == *key) {
            if rng.coin() {
                row.merge(&mutation.delta);
            }
        }
        row
    }

    /// Refuses from now on.
    pub(crate) fn refuse(&mut self, what: Refused) {
        self.refused.insert(what);
    }

    pub(crate) fn take_again(&mut self, what: &Refused) {
        self.refused.remove(what);
    }

    pub(crate) fn take_all_again(&mut self) {
        self.refused.clear();
    }

    /// Places of the mutations that are refused.
    pub(crate) fn refused(&self, mutations: &[RowMutation]) -> Vec<usize> {
        if self.refused.is_empty() {
            return Vec::new();
        }
        let is_refused = |key: &RowKey| {
            self.refused.contains(&Refused::Table(key.table))
                || self.refused.contains(&Refused::Row(key.clone()))
        };
        (0..mutations.len()).filter(|index| is_refused(&mutations[*index].key)).collect()
    }

    /// Places of the keys that cannot be read: a table that refuses all of its writes is gone.
    pub(crate) fn unreadable(&self, keys: &[RowKey]) -> Vec<usize> {
        let is_gone = |key: &RowKey| self.refused.contains(&Refused::Table(key.table));
        (0..keys.len()).filter(|index| is_gone(&keys[*index])).collect()
    }

    /// What every reader sees of a row.
    pub(crate) fn row(&self, key: &RowKey) -> Row {
        self.rows.get(key).cloned().unwrap_or_default()
    }

    pub(crate) fn rows(&self) -> &BTreeMap<RowKey, Row> {
        &self.rows
    }

    pub(crate) fn apply(&mut self, mutation: &RowMutation, remember_unsynced: bool) {
        self.rows.entry(mutation.key.clone()).or_default().merge(&mutation.delta);
        if remember_unsynced {
            self.unsynced.push(mutation.clone());
        }
    }

    pub(crate) fn apply_half(&mut self, mutation: &RowMutation) {
        self.half_seen.push(mutation.clone());
    }

    /// Repairs everything that is on some replica only.
    pub(crate) fn repair(&mut self) {
        for mutation in std::mem::take(&mut self.half_seen) {
            self.apply(&mutation, false);
        }
    }

    /// How much a sync that starts now covers.
    pub(crate) fn sync_mark(&self) -> usize {
        self.synced_count + self.unsynced.len()
    }

    /// A sync that covers so much has ended.
    pub(crate) fn sync(&mut self, mark: usize) {
        // Syncs may overlap, and power may have been lost meanwhile.
        let covered = mark.saturating_sub(self.synced_count).min(self.unsynced.len());
        self.synced_count += covered;
        for mutation in self.unsynced.drain(..covered) {
            self.synced.entry(mutation.key).or_default().merge(&mutation.delta);
        }
    }

    /// Power is lost: any of what was not synced may be gone.
    pub(crate) fn lose_power(&mut self, rng: &mut Rng) {
        self.synced_count += self.unsynced.len();
        for mutation in std::mem::take(&mut self.unsynced) {
            if rng.coin() {
                self.synced.entry(mutation.key).or_default().merge(&mutation.delta);
            }
        }
        self.rows = self.synced.clone();
    }
}
