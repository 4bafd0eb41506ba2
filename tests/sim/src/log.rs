//! The log as a broker has it: records in the order in which they landed, wherever they came from.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use wal_core::log::ShardBatch;
use wal_core::{Position, ShardId};

use crate::message::SeatId;

/// One shard's records. Nothing is ever dropped, so that the checks can look back; what was trimmed
/// cannot be read.
#[derive(Default)]
pub(crate) struct ShardLog {
    pub(crate) records: Vec<Bytes>,
    first: u64,
    hint: Option<Position>,
    /// Until then nothing lands.
    pub(crate) unavailable_until: u64,
    /// What the log's leader holds alone: nobody may read it yet, and it may be lost with that leader.
    pub(crate) unstable: VecDeque<Landed>,
}

/// A batch that has reached the log's leader.
pub(crate) struct Landed {
    pub(crate) seat: SeatId,
    pub(crate) append: u64,
    pub(crate) batch: Arc<ShardBatch>,
    /// Nobody will hear of it.
    pub(crate) silent: bool,
}

/// All shards' logs.
pub(crate) struct Broker {
    shards: Vec<ShardLog>,
}

/// The position was trimmed.
pub(crate) struct Trimmed;

impl Broker {
    pub(crate) fn new(shards: u16) -> Self {
        Self { shards: (0..shards).map(|_| ShardLog::default()).collect() }
    }

    pub(crate) fn log(&self, shard: ShardId) -> &ShardLog {
        &self.shards[shard.0 as usize]
    }

    pub(crate) fn shard(&mut self, shard: ShardId) -> &mut ShardLog {
        &mut self.shards[shard.0 as usize]
    }
}

impl ShardLog {
    /// The offset after the last record.
    pub(crate) fn end(&self) -> u64 {
        self.records.len() as u64
    }

    /// The first record that can be read.
    pub(crate) const fn first(&self) -> u64 {
        self.first
    }

    /// Where a replay starts that asks for this position; 0 stands for the first record that is left.
    pub(crate) fn start(&self, from: Position) -> Result<u64, Trimmed> {
        match from.0 {
            0 => Ok(self.first),
            position if position < self.first => Err(Trimmed),
            position => Ok(position),
        }
    }

    pub(crate) fn trim(&mut self, before: Position) {
        self.first = self.first.max(before.0.min(self.end()));
    }

    pub(crate) fn store_hint(&mut self, checkpoint: Position) {
        self.hint = self.hint.max(Some(checkpoint));
    }

    /// A hint that is written whatever stood there.
    pub(crate) fn overwrite_hint(&mut self, checkpoint: Position) {
        self.hint = Some(checkpoint);
    }

    /// The records from an offset on that a reader may see, at most so many. A reader that ignores where
    /// the stable part ends sees more.
    pub(crate) fn read(&self, from: u64, most: usize, past_stable: bool) -> Vec<Bytes> {
        let stable = self.records.iter().cloned();
        let unstable = self.unstable.iter().filter(|_| past_stable);
        let unstable = unstable.flat_map(|landed| landed.batch.records());
        stable.chain(unstable).skip(from as usize).take(most).collect()
    }

    pub(crate) fn hint(&self) -> Option<Position> {
        self.hint
    }
}
