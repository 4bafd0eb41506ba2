//! A shard's engine in this process, and what the runtime knows of it.

use participant::engine::ShardEngine;
use wal_core::{Position, ShardId};

/// One engine of a shard. A shard that is led anew by the same process gets another: what was under way for
/// an earlier one (reads, flushes, appends) says nothing to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SeatId {
    pub(super) shard: ShardId,
    pub(super) uid: u64,
}

/// How far an engine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It takes in the log.
    Reading,
    /// It wrote its `Epoch` record, and has read the log up to here.
    Standing(Position),
    /// It leads.
    Leading,
}

/// An engine and its affairs.
pub(super) struct Seat {
    pub(super) uid: u64,
    pub(super) engine: ShardEngine,
    pub(super) phase: Phase,
    /// It may have written something.
    pub(super) dirty: bool,
    /// Its appends that are not durable yet, where each shard appends by itself.
    pub(super) appends: usize,
    /// Since when it has written only what may wait, microseconds.
    pub(super) waits_since: Option<u64>,
    /// Bytes of the whole log when its newest checkpoint began.
    pub(super) checkpoint_at: u64,
}

impl Seat {
    pub(super) const fn new(uid: u64, engine: ShardEngine, phase: Phase) -> Self {
        Self { uid, engine, phase, dirty: true, appends: 0, waits_since: None, checkpoint_at: 0 }
    }
}
