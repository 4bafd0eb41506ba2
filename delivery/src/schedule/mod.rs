//! Transactions that are due later.
//!
//! What is scheduled is a row of a table of the namespace ([`DelayedTable`]), written by the transaction that
//! schedules it, and **that row is the truth**: firing is an ordinary transaction that has the condition that the
//! row is as it was read, deletes it, and does what it says. So a part is done at most once, whoever tries, and
//! cancelling and scheduling anew, which write the same row, have one answer each.
//!
//! ```text
//!  log ──▶ delivery engine ──▶ write-behind ──▶ index (by time, durable) ──pages──▶ schedule (in memory)
//!          (the table's rows)        └──────────────── told ────────────────────▶     │ due
//!  row ◀── read, then: if unchanged, delete it and do what it says ◀──────────────────┘
//! ```
//!
//! The [`Index`] is a copy, ordered by time, that a delivery makes from the committed stream, like any other:
//! its mark holds back trimming, claims spread the shards over processes. It may lag, and may have what is gone:
//! whoever acts on an entry reads the row first. What is due soon need not pass it ([`behind`]): the mark waits
//! until it is done. So nothing is lost (the log is kept until the index has it, or it is done), nothing early (the row says when, a [`clock`] that jumps is doubted) and nothing doubled.

mod behind;
mod clock;
mod engine;
mod index;
mod runtime;
mod stream;
#[cfg(test)]
mod tests;

use wal_core::{Millis, ShardId, Timestamp};

use crate::outgoing::Name;
use crate::target::Later;

pub use behind::WriteBehind;
pub use engine::{Ended, Schedule, ScheduleConfig, ScheduleStatus, Wanted};
pub use index::{Change, Entry, EntryCount, EntryState, Filter, Index, Noted};
pub use runtime::{DELAYS, Delays, DelaysParts, change};
pub use stream::{ChangesOf, DelayedTable};

/// Does what is due. A port.
pub trait Fires: Send + Sync + 'static {
    /// Reads the row of a part and, if it is due by `time`, does what it says and deletes it, in one transaction
    /// that commits only if the row is still as it was read.
    fn fire(&self, shard: ShardId, name: Name, time: Millis) -> Later<'_, Fired>;
}

/// How that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fired {
    /// It was done, by this call.
    Done,
    /// The row is not there any more: it was done or cancelled.
    Gone,
    /// The row says that it is due later.
    Later {
        /// When.
        due: Millis,
        /// When that was written.
        written: Timestamp,
    },
    /// It can never be done as it is; the row says why, and when that was written.
    Refused {
        /// When that was written.
        written: Timestamp,
    },
    /// It is not known yet, or could not be done now.
    Again {
        /// Why.
        why: String,
    },
}
