//! Tombstones that can no longer matter.
//!
//! They go when their row is written, and, for rows that nobody writes again, when the engine compacts
//! the part of the tree that holds them: a table through which rows only pass stays small.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use fjall::compaction::filter::{
    CompactionFilter, CompactionFilterResult, Context, Factory, ItemAccessor, Verdict,
};
use wal_core::{Row, Timestamp};

use super::MARK_KEY;
use super::codec::is_dead;

/// Below this, tombstones may go. Shared between the store and the engine's compactions.
#[derive(Clone, Debug)]
pub(super) struct PurgeBefore(Arc<AtomicI64>);

impl Default for PurgeBefore {
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(i64::MIN)))
    }
}

impl PurgeBefore {
    pub(super) fn raise(&self, before: Timestamp) {
        self.0.fetch_max(before.0, Ordering::Relaxed);
    }

    fn get(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }

    /// Drops the row's old tombstones.
    pub(super) fn purge(&self, row: &mut Row) {
        let before = self.get();
        if row.deleted_at.is_some_and(|at| at < before) {
            row.deleted_at = None;
        }
        row.cells.retain(|cell| cell.value.is_some() || cell.timestamp >= before);
    }
}

impl Factory for PurgeBefore {
    fn name(&self) -> &str {
        "handfast-purge"
    }

    fn make_filter(&self, _: &Context) -> Box<dyn CompactionFilter> {
        Box::new(Filter { before: self.get() })
    }
}

struct Filter {
    before: Timestamp,
}

impl CompactionFilter for Filter {
    fn filter_item(&mut self, item: ItemAccessor<'_>, _: &Context) -> CompactionFilterResult {
        if **item.key() == *MARK_KEY {
            return Ok(Verdict::Keep);
        }
        // What cannot be decoded stays: a read will tell.
        match is_dead(&item.value()?, self.before) {
            Ok(true) => Ok(Verdict::Remove),
            Ok(false) | Err(_) => Ok(Verdict::Keep),
        }
    }
}
