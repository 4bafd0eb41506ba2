//! Power lost at every step of the disk: what was acknowledged is there, and nothing else appears.

mod ledger;

use std::sync::Arc;

use ledger::{Ledger, SHARDS};
use wal_core::log::LogError;
use wal_core::log::conformance::batch;
use wal_core::log::file::test_disk::TestDisk;
use wal_core::log::segment::{SegmentLog, SegmentOptions};
use wal_core::{Epoch, ShardId};

const SEGMENT_BYTES: u64 = 20 << 10;
const ROUNDS: u64 = 24;

fn open(disk: &TestDisk) -> Result<SegmentLog, LogError> {
    let options = SegmentOptions { segment_bytes: SEGMENT_BYTES, ..SegmentOptions::default() };
    SegmentLog::open_on(Arc::new(disk.clone()), &options)
}

/// Appends, hints and trims until all is done or something fails. Rolls over many segments.
fn live(log: &SegmentLog, ledger: &mut Ledger, epoch: Epoch) -> bool {
    let mut next = [1u64; SHARDS as usize];
    for round in 0..ROUNDS {
        let mut appends = Vec::new();
        for append in 0..3 {
            let shards = (0..SHARDS).filter(|shard| (round + append + u64::from(*shard)) % 3 != 0);
            let mut batches = Vec::new();
            for shard in shards {
                let count = 1 + (round + append) % 3;
                let size = if round % 8 == 7 { 4_000 } else { 100 + 90 * append as usize };
                let first = &mut next[usize::from(shard)];
                batches.push(batch(ShardId(shard), epoch, *first, count, size / count as usize));
                *first += count;
            }
            appends.push(batches);
        }
        if !ledger.append_all(log, appends) {
            return false;
        }
        let shard = ShardId((round % u64::from(SHARDS)) as u16);
        let done = if round % 2 == 0 { ledger.trim(log, shard) } else { ledger.hint(log, shard) };
        if !done {
            return false;
        }
    }
    true
}

/// Opens, checks, lives, ends. Returns whether nothing failed.
fn life(disk: &TestDisk, ledger: &mut Ledger, epoch: u64) -> bool {
    let log = match open(disk) {
        Ok(log) => log,
        Err(error) => {
            assert!(!disk.is_powered(), "cannot open: {error}");
            return false;
        }
    };
    if !ledger.check(&log) {
        assert!(!disk.is_powered(), "cannot read");
        return false;
    }
    live(&log, ledger, Epoch(epoch))
}

/// How the first life ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Power,
    Kill,
}

/// The first life ends after `first` steps, and power is lost after `second` steps of the next; then
/// comes a whole life.
fn three_lives(end: End, first: u64, second: u64) -> (bool, Ledger) {
    let disk = TestDisk::new(first);
    let mut ledger = Ledger::default();
    disk.power_off_after(first);
    let finished = life(&disk, &mut ledger, 1);
    let disk = match end {
        End::Power => disk.restart(),
        End::Kill => disk.restart_process(),
    };
    disk.power_off_after(second);
    life(&disk, &mut ledger, 2);
    let disk = disk.restart();
    assert!(life(&disk, &mut ledger, 3), "{end:?}, steps {first} and {second}");
    let disk = disk.restart();
    let log = open(&disk).expect("a log that was closed");
    assert!(ledger.check(&log));
    assert_eq!(disk.misuse(), None);
    (finished, ledger)
}

/// Ends the first life at every step. The counts are of appends in doubt that were there afterwards, and that
/// were not.
fn at_every_step(end: End) -> (u64, u64) {
    let (mut kept, mut lost, mut first) = (0, 0, 0);
    loop {
        let (finished, ledger) = three_lives(end, first, (first * 37) % 151);
        kept += ledger.unknown_kept;
        lost += ledger.unknown_lost;
        first += 1;
        if finished {
            assert!(first > 150, "only {first} steps");
            return (kept, lost);
        }
    }
}

#[test]
fn power_lost_at_every_step_loses_nothing_that_was_acknowledged() {
    let (kept, lost) = at_every_step(End::Power);
    assert!(kept > 10 && lost > 10, "unknown appends: {kept} kept, {lost} lost");
}

#[test]
fn a_kill_at_every_step_and_then_a_loss_of_power_lose_nothing_that_was_acknowledged() {
    let (kept, _) = at_every_step(End::Kill);
    assert!(kept > 10, "unknown appends: {kept} kept");
}

/// What the second life found in memory only is lost with the power, unless opening made it durable.
#[test]
fn a_kill_and_a_loss_of_power_soon_after_opening_lose_nothing_that_was_acknowledged() {
    for first in 0..60 {
        for second in (2..34).step_by(2) {
            three_lives(End::Kill, first, second);
        }
    }
}

#[test]
fn a_failed_sync_stops_the_log_and_what_was_acknowledged_survives() {
    for syncs in 1..ROUNDS {
        let disk = TestDisk::new(syncs);
        let mut ledger = Ledger::default();
        let log = open(&disk).expect("a new log");
        assert!(ledger.check(&log));
        disk.fail_sync_after("segment-", syncs);
        assert!(!live(&log, &mut ledger, Epoch(1)));
        assert!(!ledger.append_all(&log, vec![vec![batch(ShardId(0), Epoch(2), 0, 1, 10)]]));
        drop(log);
        // Opened again without a restart: the memory shows what the disk may not have.
        let log = open(&disk).expect("a log that can be read");
        assert!(ledger.check(&log));
        disk.power_off_after(0);
        drop(log);
        let disk = disk.restart();
        assert!(life(&disk, &mut ledger, 3), "sync {syncs}");
        assert_eq!(disk.misuse(), None);
    }
}

#[test]
fn a_failed_sync_of_any_other_file_loses_nothing_either() {
    for prefix in ["next.log", "log.state"] {
        for syncs in 0..12 {
            let disk = TestDisk::new(syncs);
            let mut ledger = Ledger::default();
            disk.fail_sync_after(prefix, syncs);
            if let Ok(log) = open(&disk) {
                assert!(ledger.check(&log));
                live(&log, &mut ledger, Epoch(1));
            }
            let disk = disk.restart();
            assert!(life(&disk, &mut ledger, 2), "sync {syncs} of {prefix}");
            assert_eq!(disk.misuse(), None);
        }
    }
}

#[test]
fn a_full_disk_rejects_and_goes_on_once_there_is_space() {
    for segments in 2..6 {
        let disk = TestDisk::new(segments);
        disk.set_free_bytes(Some(segments * SEGMENT_BYTES + 2_000));
        let mut ledger = Ledger::default();
        let log = open(&disk).expect("a new log");
        for round in 0.. {
            let large = batch(ShardId(0), Epoch(1), round, 1, 3_000);
            if !ledger.append_all(&log, vec![vec![large]]) {
                break;
            }
        }
        assert_eq!(ledger.unknown(), 0, "nothing is in doubt");
        let why = ledger.last_rejection.clone().expect("a rejection");
        assert!(why.contains("the disk is full; free space"), "{why}");
        drop(log);
        disk.set_free_bytes(None);
        assert!(life(&disk, &mut ledger, 2));
    }
}

#[test]
fn trimmed_segments_are_used_again_and_their_old_blocks_never_read() {
    let disk = TestDisk::new(3);
    let mut ledger = Ledger::default();
    for epoch in 1..10 {
        let log = open(&disk).expect("a log");
        assert!(ledger.check(&log));
        assert!(live(&log, &mut ledger, Epoch(epoch)));
        for shard in 0..SHARDS {
            ledger.trim_all_but_last(&log, ShardId(shard));
        }
        use wal_core::log::IntentLog;
        assert!(log.size_bytes() <= 6 * SEGMENT_BYTES, "{} bytes are kept", log.size_bytes());
    }
}
