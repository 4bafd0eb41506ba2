//! Every log keeps every clause.

use std::sync::Arc;

use bytes::Bytes;
use wal_core::log::conformance::{self, Subject};
use wal_core::log::file::test_disk::TestDisk;
use wal_core::log::file::{Disk, RealDisk};
use wal_core::log::memory::{Fault, MemoryLog};
use wal_core::log::segment::{SegmentLog, SegmentOptions};
use wal_core::log::{Appended, IntentLog, LogError, ShardBatch};
use wal_core::{Epoch, Nonce, Sequence, ShardId};

const SEGMENT_BYTES: u64 = 64 << 10;

struct Memory(MemoryLog);

impl Subject for Memory {
    fn log(&self) -> &dyn IntentLog {
        &self.0
    }

    fn reopen(self: Box<Self>) -> Option<Box<dyn Subject>> {
        Some(Box::new(Self(self.0.crash())))
    }

    fn open_second(&self) -> Option<LogError> {
        None
    }

    fn rejected(&self, shard: ShardId, epoch: Epoch) -> Option<ShardBatch> {
        self.0.plan(shard, Fault::Reject);
        Some(conformance::batch(shard, epoch, 1, 1, 10))
    }

    fn make_unknown(&self, shard: ShardId) -> bool {
        self.0.plan(shard, Fault::UnknownLost);
        true
    }
}

/// A segment log, what it lies on, and how a new handle of that is made.
struct Segments<D> {
    log: SegmentLog,
    disk: D,
    fail: fn(&D) -> bool,
    open: fn(&D) -> Arc<dyn Disk>,
}

fn options() -> SegmentOptions {
    SegmentOptions { segment_bytes: SEGMENT_BYTES, ..SegmentOptions::default() }
}

impl<D: 'static> Segments<D> {
    fn boxed(disk: D, open: fn(&D) -> Arc<dyn Disk>, fail: fn(&D) -> bool) -> Box<dyn Subject> {
        let log = SegmentLog::open_on(open(&disk), &options()).expect("a new log");
        Box::new(Self { log, disk, fail, open })
    }
}

impl<D: 'static> Subject for Segments<D> {
    fn log(&self) -> &dyn IntentLog {
        &self.log
    }

    fn reopen(self: Box<Self>) -> Option<Box<dyn Subject>> {
        drop(self.log);
        Some(Self::boxed(self.disk, self.open, self.fail))
    }

    fn open_second(&self) -> Option<LogError> {
        let second = SegmentLog::open_on((self.open)(&self.disk), &options());
        Some(second.err().expect("a second owner"))
    }

    fn rejected(&self, shard: ShardId, epoch: Epoch) -> Option<ShardBatch> {
        let bytes = Bytes::from(vec![0; SEGMENT_BYTES as usize]);
        let ends = vec![SEGMENT_BYTES as u32];
        Some(ShardBatch { shard, epoch, first: Sequence(1), bytes, ends })
    }

    fn make_unknown(&self, _: ShardId) -> bool {
        (self.fail)(&self.disk)
    }
}

#[test]
fn the_log_in_memory_keeps_every_clause() {
    let mut logs = 0;
    conformance::run(&mut || {
        logs += 1;
        Box::new(Memory(MemoryLog::new(Nonce(logs))))
    });
}

#[test]
fn segments_on_the_real_file_system_keep_every_clause() {
    conformance::run(&mut || {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let open = |folder: &tempfile::TempDir| -> Arc<dyn Disk> {
            Arc::new(RealDisk::new(folder.path()).expect("a folder"))
        };
        Segments::boxed(folder, open, |_| false)
    });
}

#[test]
fn segments_on_the_test_disk_keep_every_clause() {
    conformance::run(&mut || {
        let open = |disk: &TestDisk| -> Arc<dyn Disk> { Arc::new(disk.clone()) };
        let fail = |disk: &TestDisk| {
            disk.fail_sync_after("segment-", 0);
            true
        };
        Segments::boxed(TestDisk::new(7), open, fail)
    });
}

#[test]
fn a_callback_that_panics_leaves_nobody_else_waiting() {
    let disk = TestDisk::new(1);
    let log = SegmentLog::open_on(Arc::new(disk), &options()).expect("a new log");
    let batch = |seq| conformance::batch(ShardId(0), Epoch(1), seq, 1, 10);
    log.append(vec![batch(0)], Box::new(|_| panic!("on purpose")));
    for seq in 1..4 {
        conformance::append_durable(&log, batch(seq));
    }
}

#[test]
fn a_queue_that_is_full_rejects_and_bars_the_epoch() {
    let bounded = SegmentOptions { queue_bytes: 4_000, ..options() };
    let log = SegmentLog::open_on(Arc::new(TestDisk::new(1)), &bounded).expect("a new log");
    let large = conformance::batch(ShardId(0), Epoch(1), 0, 1, 5_000);
    let answers = conformance::append(&log, vec![large]);
    let [Appended::Rejected { why }] = &answers[..] else { panic!("{answers:?}") };
    assert!(why.contains("4000 may"), "{why}");
    let later = conformance::append(&log, vec![conformance::batch(ShardId(0), Epoch(1), 1, 1, 9)]);
    assert!(matches!(later[..], [Appended::Rejected { .. }]));
    conformance::append_durable(&log, conformance::batch(ShardId(0), Epoch(2), 0, 1, 9));
    assert_eq!(log.stats().queued_bytes, 0);
}
