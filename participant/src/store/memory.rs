//! A table store in memory, for tests and the simulator, that can fail as a real one does.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use wal_core::{Row, RowKey, RowMutation};

use super::draw::Draw;
use super::{Refusal, StoreError, TableStore};

/// Mutations of failed applies that may still surface; beyond it the oldest surfaces at once.
const MAX_LATE_MUTATIONS: usize = 1024;

/// Which calls fail, in how many of a thousand cases. One seed decides everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// What the draws start from.
    pub seed: u64,
    /// Applies that fail. Some of their mutations were applied, some are lost, and some surface later.
    pub apply_per_mille: u16,
    /// Reads that fail.
    pub read_per_mille: u16,
    /// Syncs that fail.
    pub sync_per_mille: u16,
}

/// Rows in a map. Nothing is durable: [`TableStore::sync`] only says so.
#[derive(Debug)]
pub struct MemoryStore {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    rows: BTreeMap<RowKey, Row>,
    faults: Faults,
    /// Rows of which nothing is taken.
    refused: BTreeSet<RowKey>,
    draw: Draw,
    /// Mutations of failed applies that were not applied yet.
    late: VecDeque<RowMutation>,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::with_faults(Faults::default())
    }
}

impl MemoryStore {
    /// An empty store that fails as told.
    pub fn with_faults(faults: Faults) -> Self {
        let state = State {
            rows: BTreeMap::new(),
            faults,
            refused: BTreeSet::new(),
            draw: Draw::new(faults.seed),
            late: VecDeque::new(),
        };
        Self { state: Mutex::new(state) }
    }

    /// Changes which calls fail from now on. The draws go on where they are.
    pub fn set_faults(&self, faults: Faults) {
        self.lock().faults = faults;
    }

    /// From now on refuses these rows for good, and no others.
    pub fn refuse(&self, rows: impl IntoIterator<Item = RowKey>) {
        self.lock().refused = rows.into_iter().collect();
    }

    /// Every row, in the order of keys.
    pub fn rows(&self) -> Vec<(RowKey, Row)> {
        self.lock().rows.iter().map(|(key, row)| (key.clone(), row.clone())).collect()
    }

    // A panic between two merges leaves whole rows behind: the state is always fit for use.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn merge(&mut self, mutation: &RowMutation) {
        // The key is cloned only for a row that is new.
        match self.rows.get_mut(&mutation.key) {
            Some(row) => row.merge(&mutation.delta),
            None => {
                let mut row = Row::default();
                row.merge(&mutation.delta);
                self.rows.insert(mutation.key.clone(), row);
            }
        }
    }

    /// Each call may be the moment at which something of an earlier failed apply surfaces.
    fn surface_late(&mut self) {
        while !self.late.is_empty()
            && (self.late.len() > MAX_LATE_MUTATIONS || self.draw.happens(250))
        {
            let mutation = self.late.pop_front().expect("checked above");
            self.merge(&mutation);
        }
    }

    fn apply_in_part(&mut self, mutations: &[RowMutation]) {
        for mutation in mutations {
            match self.draw.below(3) {
                _ if self.refused.contains(&mutation.key) => {}
                0 => self.merge(mutation),
                1 => self.late.push_back(mutation.clone()),
                _ => {}
            }
        }
    }

    fn fails(&mut self, per_mille: u16) -> bool {
        per_mille > 0 && self.draw.happens(per_mille)
    }
}

fn injected(action: &'static str) -> StoreError {
    StoreError::Transient { action, why: "a fault was injected".to_owned() }
}

impl TableStore for MemoryStore {
    fn read(&self, keys: &[RowKey]) -> Result<Vec<Row>, StoreError> {
        let mut state = self.lock();
        state.surface_late();
        let per_mille = state.faults.read_per_mille;
        if state.fails(per_mille) {
            return Err(injected("read rows"));
        }
        Ok(keys.iter().map(|key| state.rows.get(key).cloned().unwrap_or_default()).collect())
    }

    fn apply(&self, mutations: &[RowMutation]) -> Result<(), StoreError> {
        let mut state = self.lock();
        state.surface_late();
        let per_mille = state.faults.apply_per_mille;
        if state.fails(per_mille) {
            state.apply_in_part(mutations);
            return Err(injected("apply rows"));
        }
        let is_refused = |(index, mutation): (usize, &RowMutation)| {
            let why = "rows like this are refused".to_owned();
            state.refused.contains(&mutation.key).then_some(Refusal { index, why })
        };
        let refused: Vec<Refusal> = mutations.iter().enumerate().filter_map(is_refused).collect();
        if !refused.is_empty() {
            return Err(StoreError::Refused(refused));
        }
        mutations.iter().for_each(|mutation| state.merge(mutation));
        Ok(())
    }

    fn sync(&self) -> Result<(), StoreError> {
        let mut state = self.lock();
        state.surface_late();
        let per_mille = state.faults.sync_per_mille;
        if state.fails(per_mille) { Err(injected("sync")) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use wal_core::{Cell, ColumnId, TableId, Timestamp};

    use super::*;

    fn put(partition: u8, at: i64) -> RowMutation {
        let cell = Cell {
            column: ColumnId(1),
            timestamp: Timestamp(at),
            value: Some(at.to_be_bytes().to_vec().into()),
        };
        RowMutation {
            key: RowKey {
                table: TableId(1),
                partition: vec![partition].into(),
                clustering: Default::default(),
            },
            delta: Row { cells: vec![cell], ..Row::default() },
        }
    }

    #[test]
    fn a_failed_apply_leaves_every_mixture_behind() {
        let faults = Faults { seed: 7, apply_per_mille: 1000, ..Faults::default() };
        let store = MemoryStore::with_faults(faults);
        let mutations: Vec<_> = (0..100).map(|partition| put(partition, 9)).collect();
        store.apply(&mutations).expect_err("every apply fails");
        let at_once = store.rows().len();
        assert!((1..99).contains(&at_once), "{at_once} applied at once");
        for _ in 0..1000 {
            store.sync().expect("syncs do not fail here");
        }
        let later = store.rows().len();
        assert!((at_once + 1..100).contains(&later), "{later} applied in the end");
    }

    #[test]
    fn one_seed_decides_every_fault() {
        let run = || {
            let faults = Faults { seed: 3, apply_per_mille: 400, ..Faults::default() };
            let store = MemoryStore::with_faults(faults);
            let answers: Vec<bool> =
                (0..200).map(|at| store.apply(&[put(1, at), put(2, at)]).is_ok()).collect();
            (answers, store.rows())
        };
        assert_eq!(run(), run());
    }
}
