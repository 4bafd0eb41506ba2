//! What the log tells about its work.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Figures since the log was opened, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SegmentStats {
    /// Blocks written and synced.
    pub syncs: u64,
    /// Bytes written in blocks, padding included.
    pub written_bytes: u64,
    /// Batches that became durable.
    pub batches: u64,
    /// Records that became durable.
    pub records: u64,
    /// Duration of the last write and sync, microseconds.
    pub last_sync_us: u64,
    /// Duration of the longest, microseconds.
    pub max_sync_us: u64,
    /// Duration of all together, microseconds.
    pub sum_sync_us: u64,
    /// Bytes of batches that wait or are being written now.
    pub queued_bytes: u64,
    /// Appends that wait now.
    pub queued_appends: u64,
}

/// One group commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Synced {
    /// How long the write and its sync took.
    pub took: Duration,
    /// Bytes written, padding included.
    pub bytes: u64,
    /// Batches in it.
    pub batches: u64,
    /// Records in it.
    pub records: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    syncs: AtomicU64,
    written_bytes: AtomicU64,
    batches: AtomicU64,
    records: AtomicU64,
    last_sync_us: AtomicU64,
    max_sync_us: AtomicU64,
    sum_sync_us: AtomicU64,
}

impl Counters {
    pub(super) fn count(&self, synced: &Synced) {
        let took_us = synced.took.as_micros() as u64;
        self.syncs.fetch_add(1, Relaxed);
        self.written_bytes.fetch_add(synced.bytes, Relaxed);
        self.batches.fetch_add(synced.batches, Relaxed);
        self.records.fetch_add(synced.records, Relaxed);
        self.last_sync_us.store(took_us, Relaxed);
        self.max_sync_us.fetch_max(took_us, Relaxed);
        self.sum_sync_us.fetch_add(took_us, Relaxed);
    }

    pub(super) fn snapshot(&self, queued_bytes: u64, queued_appends: u64) -> SegmentStats {
        SegmentStats {
            syncs: self.syncs.load(Relaxed),
            written_bytes: self.written_bytes.load(Relaxed),
            batches: self.batches.load(Relaxed),
            records: self.records.load(Relaxed),
            last_sync_us: self.last_sync_us.load(Relaxed),
            max_sync_us: self.max_sync_us.load(Relaxed),
            sum_sync_us: self.sum_sync_us.load(Relaxed),
            queued_bytes,
            queued_appends,
        }
    }
}
