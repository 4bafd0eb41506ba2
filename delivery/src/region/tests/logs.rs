//! The shards of a region: their logs as records, and as little of an engine as writes them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use wal_core::record::{Body, CommitSingle, Header, Prepare, encode_into};
use wal_core::txn::{Part, RowOp};
use wal_core::{Attempt, Epoch, Fingerprint, Nonce, Sequence, ShardId, Timestamp, TxnId, WriteOp};

const ATTEMPT: Attempt = Attempt { number: 1, nonce: Nonce(1) };

/// One shard.
pub(super) struct Shard {
    pub(super) records: Vec<Bytes>,
    header: Header,
    /// The greatest timestamp in the log.
    last: Timestamp,
    region: u8,
    /// By how much its leader's clock is off, microseconds.
    pub(super) offset_us: i64,
    pub(super) prepared: BTreeMap<TxnId, (Timestamp, Arc<Part>)>,
}

impl Shard {
    pub(super) fn new(region: u8) -> Self {
        let mut shard = Self {
            records: Vec::new(),
            header: Header::default(),
            last: Timestamp(0),
            region,
            offset_us: 0,
            prepared: BTreeMap::new(),
        };
        shard.lead(true);
        shard
    }

    fn write(&mut self, body: &Body) {
        let mut bytes = Vec::new();
        self.header.previous = encode_into(&mut bytes, &self.header, body);
        self.header.seq = self.header.seq.next();
        self.records.push(bytes.into());
    }

    /// Another leads; it knows the last timestamp from the log, if nothing is planted.
    pub(super) fn lead(&mut self, knows_last: bool) {
        self.header.epoch = Epoch(self.header.epoch.0 + 1);
        self.header.seq = Sequence(0);
        let owner = Nonce(self.header.epoch.0.into());
        self.write(&Body::Epoch { log: Nonce(1), owner, address: String::new(), wall_us: 0 });
        if !knows_last {
            self.last = Timestamp(0);
        }
    }

    fn propose(&mut self, now_us: i64, part: &Part) -> Timestamp {
        let proposal = Timestamp::propose(self.region, now_us + self.offset_us, self.last);
        self.last = proposal;
        for op in part {
            if let WriteOp::Merge(row) = &op.write {
                self.last = self.last.max(row.newest().unwrap_or_default());
            }
        }
        proposal
    }

    pub(super) fn single(&mut self, now_us: i64, id: TxnId, part: Part) -> Timestamp {
        let timestamp = self.propose(now_us, &part);
        let (part, fingerprint) = (Arc::new(part), Fingerprint(1));
        let commit = CommitSingle { id, fingerprint, timestamp, part, adds: Vec::new() };
        self.write(&Body::CommitSingle(Box::new(commit)));
        timestamp
    }

    pub(super) fn prepare(
        &mut self,
        now_us: i64,
        id: TxnId,
        participants: Vec<ShardId>,
        part: Part,
    ) -> Timestamp {
        let proposal = self.propose(now_us, &part);
        let part = Arc::new(part);
        self.prepared.insert(id, (proposal, Arc::clone(&part)));
        self.write(&Body::Prepare(Box::new(Prepare {
            id,
            fingerprint: Fingerprint(1),
            namespace_version: 1,
            attempt: ATTEMPT,
            start: id.time(),
            proposal,
            participants,
            part,
            adds: Vec::new(),
            others: Vec::new(),
            depends_on: Vec::new(),
        })));
        proposal
    }

    pub(super) fn commit(&mut self, id: TxnId, timestamp: Timestamp) {
        if self.prepared.remove(&id).is_some() {
            self.last = self.last.max(timestamp);
            self.write(&Body::Commit { id, attempt: ATTEMPT, timestamp });
        }
    }

    pub(super) fn abort(&mut self, id: TxnId) {
        if self.prepared.remove(&id).is_some() {
            self.write(&Body::Abort { id, attempt: ATTEMPT });
        }
    }

    /// Whether a row is locked by something undecided.
    pub(super) fn locks(&self, op: &RowOp) -> bool {
        let mut parts = self.prepared.values().flat_map(|(_, part)| part.iter());
        !op.is_read_only() && parts.any(|other| other.key == op.key)
    }

    /// The greatest timestamp in its log.
    pub(super) const fn last(&self) -> Timestamp {
        self.last
    }
}
