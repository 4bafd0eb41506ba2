//! Sending what a namespace commits to another region.
//!
//! ```text
//!  log ──Tail──▶ reader (a thread) ──pieces, closed──▶ task ──one batch at a time──▶ the other region
//!                 one Follower for each shard          Gather                         │ merges the rows, and its
//!                                                        ▲                            │ watermark: one transaction
//!                                                        └───────── watermark ◀───────┘
//! ```
//!
//! Each shard's log says up to which timestamp it is **closed**: nothing committed at or below that will be read
//! any more ([`participant::follow::Follower::closed`]). The least of all shards is closed for the namespace, so
//! up to there every transaction is whole. They go over in the order of their timestamps, as batches, each one
//! transaction there that has the condition that the **watermark** is what the batch begins behind. So nothing is
//! missed, nothing applied twice, and a sender that others have taken for dead changes nothing; and whoever reads
//! there sees whole transactions up to the watermark, and none behind it.
//!
//! A shard of which nothing was committed for a while holds up the others: it is given a **pulse**, an ordinary
//! transaction that only raises its last timestamp.

mod gather;
mod metrics;
mod pieces;
mod runtime;
mod term;
#[cfg(test)]
mod tests;

use std::time::Duration;

use wal_core::namespace::Homes;
use wal_core::{ShardId, Timestamp};

pub use gather::{Batch, Gather, Piece};
pub use pieces::PiecesTo;
pub use runtime::{Ship, ShipParts, ShipStatus};

use crate::target::Later;

/// What has arrived of this region in another, and how that one sees things.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arrived {
    /// Everything is there that committed here at or before this time.
    pub watermark: Timestamp,
    /// How many transactions that were.
    pub transactions: u64,
    /// Its term.
    pub term: u64,
    /// Where it thinks that tables are written.
    pub homes: Homes,
}

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It is there, for good.
    Yes {
        /// The term there.
        term: u64,
    },
    /// Nothing of it: the watermark there is another than the batch begins behind.
    Not(Arrived),
}

/// Why another region did not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct PeerError {
    /// Why, and what to do.
    pub text: String,
    /// When to try again, if it said so.
    pub retry_after: Option<Duration>,
}

/// Another region. A port.
pub trait Peer: Send + Sync + 'static {
    /// What has arrived there.
    fn arrived(&self) -> Later<'_, Result<Arrived, PeerError>>;

    /// Applies a batch, as a whole, if the watermark there is `batch.after`. After an error it may have been
    /// applied, or may be later. `arrived` is how many transactions are there before it.
    fn apply(&self, batch: Batch, arrived: u64) -> Later<'_, Result<Applied, PeerError>>;
}

/// This region, as far as sending needs it. A port.
pub trait Home: Send + Sync + 'static {
    /// Raises the last timestamps of some shards.
    fn pulse(&self, shards: Vec<ShardId>) -> Later<'_, Result<(), String>>;

    /// Another region is in a later term: its homes are the right ones.
    fn adopt(&self, term: u64, homes: Homes) -> Later<'_, Result<(), String>>;
}
