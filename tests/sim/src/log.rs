//! The log as a broker has it: records in the order in which they landed, wherever they came from.

use bytes::Bytes;
use wal_core::{Position, ShardId};

/// One shard's records. Nothing is ever dropped, so that the checks can look back; what was trimmed
/// cannot be read.
#[derive(Default)]
pub(crate) struct ShardLog {
    pub(crate) records: Vec<Bytes>,
    first: u64,
    hint: Option<Position>,
    /// Until then nothing lands.
    pub(crate) unavailable_until: u64,
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

    pub(crate) fn shard(&mut self, shard: ShardId) -> &mut ShardLog {
        &mut self.shards[shard.0 as usize]
    }
}

impl ShardLog {
    /// The offset after the last record.
    pub(crate) fn end(&self) -> u64 {
        self.records.len() as u64
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

    pub(crate) fn hint(&self) -> Option<Position> {
        self.hint
    }
}
