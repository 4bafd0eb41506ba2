//! The tables of a simulated cluster, without faults.

use std::sync::{Mutex, MutexGuard, PoisonError};

use participant::store::{Refusal, StoreError, TableStore};
use wal_core::{Row, RowKey, RowMutation, TableId};

use crate::rng::Rng;
use crate::store::{Refused, Store};

/// The simulator's tables as a store: what its worlds read, merge and refuse, in the same way.
#[derive(Default)]
pub struct ModelTables {
    store: Mutex<Store>,
}

impl ModelTables {
    /// From now on the table is gone.
    pub fn drop_table(&self, table: TableId) {
        self.lock().refuse(Refused::Table(table));
    }

    // A panic between two merges leaves whole rows behind: the state is always fit for use.
    fn lock(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TableStore for ModelTables {
    fn read(&self, keys: &[RowKey]) -> Result<Vec<Row>, StoreError> {
        let store = self.lock();
        let unread = store.unreadable(keys);
        if !unread.is_empty() {
            return Err(StoreError::Refused(named(unread)));
        }
        // Nothing is half seen here, so nothing is drawn.
        let rng = &mut Rng::new(0);
        Ok(keys.iter().map(|key| store.read(key, rng).shown()).collect())
    }

    fn apply(&self, mutations: &[RowMutation]) -> Result<(), StoreError> {
        let mut store = self.lock();
        let refused = store.refused(mutations);
        if !refused.is_empty() {
            return Err(StoreError::Refused(named(refused)));
        }
        mutations.iter().for_each(|mutation| store.apply(mutation, false));
        Ok(())
    }

    fn sync(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

fn named(indices: Vec<usize>) -> Vec<Refusal> {
    let refusal = |index| Refusal { index, why: "the table is gone".to_owned() };
    indices.into_iter().map(refusal).collect()
}
