//! The table store: where committed rows live. A port, its clauses, and the stores that implement it.
//!
//! # Clauses
//!
//! 1. **Merging.** [`TableStore::apply`] merges each mutation by [`wal_core::Row::merge`]'s rules. Applying
//!    again, in any order, at any time, changes nothing.
//! 2. **Visibility.** Once an apply was answered, every later read sees it (Cassandra: LOCAL_QUORUM).
//!    A row mutation is applied whole or, for a reader, not yet.
//! 3. **Reads** return, for every key asked and in that order, the merged row: either with everything
//!    that the store still knows of it, or as [`wal_core::Row::shown`] says, which is what CQL shows: every
//!    live cell with its write time, and whether there is a row. An absent row is
//!    [`wal_core::Row::default`].
//! 4. **Sync.** When [`TableStore::sync`] returns, everything applied before it was called survives the
//!    loss of power (Cassandra: of a minority of replicas, or of all of them if their commit logs are
//!    not periodic). Until then it survives the crash of the process or is in the log.
//! 5. **Failure.** A failed apply may have been applied in part or later: it is tried again until it
//!    succeeds. [`StoreError::Refused`] is for good (a column dropped) and names at least one of the
//!    mutations that the store will not take as they are, if it can all of them: these are not applied at
//!    all; what was given beside them may have been, and is tried again without them. A read is refused
//!    where a table cannot be read (it was dropped): the refusal names every key of such tables, and the
//!    other keys are read again without them. All else is transient; [`StoreError::Overloaded`] says besides
//!    that it was not about what was asked.
//! 6. **Bounds.** Calls block; the store bounds its own memory.

#[cfg(feature = "cassandra")]
pub mod cassandra;
pub mod conformance;
mod draw;
pub mod embedded;
pub mod memory;

use wal_core::{Row, RowKey, RowMutation};

/// What can go wrong in a table store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// May succeed if tried again.
    #[error("table store: cannot {action}: {why}")]
    Transient {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        why: String,
    },
    /// As [`Self::Transient`], and not for what was asked: the store as a whole takes nothing for now, because it
    /// is away or has too much to do.
    #[error("table store takes nothing for now, cannot {action}: {why}")]
    Overloaded {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        why: String,
    },
    /// Will not succeed as it is until somebody mends something.
    #[error("table store refuses {} rows, the first because {}", .0.len(), first(.0))]
    Refused(Vec<Refusal>),
}

/// A mutation that a table store will never take as it is, or a key of a table that it cannot read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refusal {
    /// Which of the mutations or keys given.
    pub index: usize,
    /// Why, and what can be done.
    pub why: String,
}

fn first(refused: &[Refusal]) -> &str {
    refused.first().map_or("of nothing that it names", |refusal| &refusal.why)
}

/// Where committed rows live. See the module's clauses. Calls block and come from the runtime's threads.
pub trait TableStore: Send + Sync {
    /// Reads rows (clauses 2, 3).
    fn read(&self, keys: &[RowKey]) -> Result<Vec<Row>, StoreError>;

    /// Merges mutations in (clauses 1, 2, 5).
    fn apply(&self, mutations: &[RowMutation]) -> Result<(), StoreError>;

    /// Makes what was applied durable (clause 4).
    fn sync(&self) -> Result<(), StoreError>;
}
