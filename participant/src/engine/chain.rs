//! The records that this leader writes, on their way to the log.

use bytes::Bytes;
use wal_core::log::ShardBatch;
use wal_core::record::{Body, Header, encode_into};
use wal_core::{Epoch, Sequence, ShardId};

/// Gives records their place in the chain and collects them until the runtime takes a batch.
#[derive(Debug, Default)]
pub(super) struct Chain {
    shard: ShardId,
    epoch: Epoch,
    last: Sequence,
    hash: u64,
    first: Sequence,
    buffer: Vec<u8>,
    ends: Vec<u32>,
    /// Bytes written since the last checkpoint began.
    pub(super) bytes_since_checkpoint: u64,
}

impl Chain {
    pub(super) fn new(shard: ShardId) -> Self {
        Self { shard, ..Self::default() }
    }

    /// Continues an epoch whose last accepted record had this sequence and hash.
    pub(super) fn resume(&mut self, epoch: Epoch, last: Sequence, hash: u64) {
        self.epoch = epoch;
        self.last = last;
        self.hash = hash;
        self.buffer.clear();
        self.ends.clear();
    }

    /// Encodes one record; it goes out with the next batch.
    pub(super) fn write(&mut self, body: &Body) -> Sequence {
        let seq = self.last.next();
        self.push(Header { epoch: self.epoch, seq, previous: self.hash }, body);
        seq
    }

    /// Encodes a candidate's `Epoch` record, which starts a chain of its own.
    pub(super) fn write_epoch(&mut self, epoch: Epoch, previous: u64, body: &Body) {
        self.epoch = epoch;
        self.push(Header { epoch, seq: Sequence(0), previous }, body);
    }

    fn push(&mut self, header: Header, body: &Body) {
        if self.ends.is_empty() {
            self.first = header.seq;
        }
        let before = self.buffer.len();
        self.hash = encode_into(&mut self.buffer, &header, body);
        self.last = header.seq;
        self.bytes_since_checkpoint += (self.buffer.len() - before) as u64;
        self.ends.push(u32::try_from(self.buffer.len()).expect("a batch is below 4 GiB"));
    }

    /// Whether there is something to take.
    pub(super) const fn has_untaken(&self) -> bool {
        !self.ends.is_empty()
    }

    /// Bytes that were not yet taken.
    pub(super) fn untaken_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// The sequence of the newest record, durable or not.
    pub(super) const fn tail(&self) -> Sequence {
        self.last
    }

    /// The hash of the newest record.
    pub(super) const fn hash(&self) -> u64 {
        self.hash
    }

    /// The sequence of the first record that was not yet taken.
    pub(super) fn untaken_from(&self) -> Sequence {
        if self.ends.is_empty() { self.last.next() } else { self.first }
    }

    pub(super) fn take(&mut self) -> Option<ShardBatch> {
        if self.ends.is_empty() {
            return None;
        }
        let capacity = self.buffer.len().min(1 << 20);
        let bytes = std::mem::replace(&mut self.buffer, Vec::with_capacity(capacity));
        Some(ShardBatch {
            shard: self.shard,
            epoch: self.epoch,
            first: self.first,
            bytes: Bytes::from(bytes),
            ends: std::mem::take(&mut self.ends),
        })
    }
}
