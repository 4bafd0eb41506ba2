//! What is due when: a port. A copy of what the table of delayed transactions says, ordered by time, which that
//! table cannot be. It is made from the committed stream and may lag behind it; whoever acts on an entry reads
//! the row first, and says what it found.
//!
//! # Clauses
//!
//! 1. **Durable when answered.** What was answered `Ok` survives a crash.
//! 2. **An error is not a no**: what was asked for may have happened. Everything here may be repeated.
//! 3. **The newest holds**: a change that was written before the one that is noted of its name changes
//!    nothing. One that is gone is forgotten, so an old change of it that comes late may bring it back.
//! 4. **By time**: entries come in the order of when they are due, and of one time in the order of their names.

use wal_core::{Millis, ShardId, Timestamp};

use crate::outgoing::Name;
use crate::store::Stored;

/// A part of a transaction that is due later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// When it is due.
    pub due: Millis,
    /// What it is called: the transaction that scheduled it, and its place among what that one scheduled.
    pub name: Name,
    /// The shard of its row.
    pub shard: ShardId,
    /// What becomes of it.
    pub state: EntryState,
}

/// What becomes of a delayed part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntryState {
    /// It is done when it is due.
    Pending,
    /// It was refused when it was due. It waits to be scheduled again, or cancelled.
    Refused,
}

/// A change of a row, as the stream told it, or as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Noted {
    /// What it is called.
    pub name: Name,
    /// The shard of its row.
    pub shard: ShardId,
    /// When the transaction committed that wrote it.
    pub written: Timestamp,
    /// What was written.
    pub change: Change,
}

/// What was written to the row of a delayed part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is pending, and due then.
    Due(Millis),
    /// It was refused. Changes nothing if the name is not noted.
    Refused,
    /// The row is deleted: it was done, or cancelled.
    Gone,
}

/// Which entries of a namespace. Everything given must hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of one shard.
    pub shard: Option<ShardId>,
    /// In one state.
    pub state: Option<EntryState>,
    /// Due before this time.
    pub due_before: Option<Millis>,
    /// Due at or after this time.
    pub due_since: Option<Millis>,
}

/// How many entries a namespace has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EntryCount {
    /// Pending.
    pub pending: u64,
    /// Refused.
    pub refused: u64,
}

/// Keeps what is due when. See the module's clauses.
pub trait Index: Send + Sync + 'static {
    /// Notes changes, all in one go; of one name at most one at a time.
    fn note(&self, namespace: &str, changes: Vec<Noted>) -> Stored<'_, ()>;

    /// Entries in order, at most `limit`; behind that one if `after` is given.
    fn entries(
        &self,
        namespace: &str,
        filter: Filter,
        after: Option<(Millis, Name)>,
        limit: u32,
    ) -> Stored<'_, Vec<Entry>>;

    /// How many there are. Counts them one by one: not for every second.
    fn count(&self, namespace: &str) -> Stored<'_, EntryCount>;
}
