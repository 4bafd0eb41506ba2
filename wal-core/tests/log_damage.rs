//! Bits flipped, files lost, other formats: refused, never read as a shorter log.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wal_core::log::LogError;
use wal_core::log::conformance::{Visited, append_durable, batch, replay};
use wal_core::log::file::Disk;
use wal_core::log::file::test_disk::TestDisk;
use wal_core::log::segment::{SegmentLog, SegmentOptions};
use wal_core::{Epoch, Position, ShardId};

const SEGMENT_BYTES: u64 = 20 << 10;
const A: ShardId = ShardId(0);

fn open(disk: &TestDisk) -> Result<SegmentLog, LogError> {
    let options = SegmentOptions { segment_bytes: SEGMENT_BYTES, ..SegmentOptions::default() };
    SegmentLog::open_on(Arc::new(disk.clone()), &options)
}

/// Opens and reads everything; the damage may be found in either.
fn read(disk: &TestDisk) -> Result<Vec<Visited>, LogError> {
    let log = open(disk)?;
    Ok(replay(&log, &[(A, Position(0))])?.0)
}

/// With so many batches the last one is followed by a mark in its own segment.
const MARK_BESIDE: u64 = 7;
/// With so many the mark opens a segment of its own.
const MARK_ALONE: u64 = 8;

/// A disk with a log of a few segments, and what the log holds: two records of each batch.
fn written(batches: u64) -> (TestDisk, SegmentLog, Vec<Visited>) {
    let disk = TestDisk::new(1);
    let log = open(&disk).expect("a new log");
    for round in 0..batches {
        append_durable(&log, batch(A, Epoch(1), round * 2, 2, 100 + 400 * round as usize));
    }
    let records = replay(&log, &[(A, Position(0))]).expect("a readable log").0;
    assert_eq!(records.len() as u64, 2 * batches);
    (disk, log, records)
}

fn closed(batches: u64) -> (TestDisk, Vec<Visited>) {
    let (disk, log, records) = written(batches);
    drop(log);
    (disk, records)
}

fn segments(disk: &TestDisk) -> Vec<String> {
    let names = disk.list().expect("names").into_iter();
    names.filter(|name| name.starts_with("segment-")).collect()
}

#[test]
fn no_flipped_bit_makes_a_closed_log_shorter() {
    for batches in [MARK_BESIDE, MARK_ALONE] {
        let (disk, records) = closed(batches);
        let (mut refused, mut harmless) = (0, 0);
        for name in segments(&disk) {
            for offset in 0..disk.content(&name).len() {
                // Every byte of headers, some of the rest.
                if offset % 4096 < 64 || offset % 41 == 0 {
                    let harm = flip(&disk, &name, offset, &records);
                    *(if harm { &mut refused } else { &mut harmless }) += 1;
                }
            }
        }
        assert!(refused > 700 && harmless > 700, "{refused} refused, {harmless} harmless");
    }
}

/// Whether a copy with one bit flipped is refused; if not, it must hold everything.
fn flip(disk: &TestDisk, name: &str, offset: usize, records: &[Visited]) -> bool {
    let copy = disk.fork();
    copy.flip_bit(name, offset, (offset % 8) as u8);
    let before = copy.content(name);
    match read(&copy) {
        Ok(read) => assert!(read == records, "{name} at {offset}: not what was written"),
        Err(LogError::Damaged { .. }) => {
            let same = copy.content(name) == before;
            assert!(same || open(&copy).is_ok(), "{name} at {offset}: changed, then refused");
            return true;
        }
        Err(other) => panic!("{name} at {offset}: {other}"),
    }
    false
}

#[test]
fn a_flipped_bit_in_any_record_of_a_closed_log_is_refused() {
    for batches in [MARK_BESIDE, MARK_ALONE] {
        let (disk, records) = closed(batches);
        let segments = segments(&disk);
        for (_, position, record) in &records {
            let at = position.0 + record.len() as u64 / 2;
            let name = &segments[(at / SEGMENT_BYTES) as usize];
            let copy = disk.fork();
            copy.flip_bit(name, (at % SEGMENT_BYTES) as usize, 5);
            assert!(matches!(read(&copy), Err(LogError::Damaged { .. })), "{position}");
        }
    }
}

#[test]
fn the_last_block_is_cut_until_a_mark_proves_it() {
    let (disk, log, records) = written(MARK_BESIDE);
    let (before, [_, (_, last, _)]) = records.split_last_chunk().expect("two records at least");
    let name = &segments(&disk)[(last.0 / SEGMENT_BYTES) as usize];
    let flipped = || {
        let copy = disk.fork();
        copy.flip_bit(name, (last.0 % SEGMENT_BYTES) as usize, 0);
        read(&copy)
    };
    // Just written, it could be a torn tail: that it was acknowledged is not on the disk.
    let at_once = flipped();
    if let Ok(left) = &at_once {
        assert_eq!(left, before);
    }
    // A moment later it is.
    let begun = Instant::now();
    while !matches!(flipped(), Err(LogError::Damaged { .. })) {
        assert!(begun.elapsed() < Duration::from_secs(60), "no mark is written");
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(log);
}

#[test]
fn a_missing_file_is_damage() {
    let (disk, _) = closed(MARK_BESIDE);
    for name in segments(&disk).into_iter().chain(["log.state".to_owned()]) {
        let copy = disk.fork();
        copy.remove(&name).expect("a file");
        let error = open(&copy).err().expect("a refusal");
        assert!(matches!(error, LogError::Damaged { .. }), "{name}: {error}");
    }
}

#[test]
fn an_older_copy_of_the_state_is_damage() {
    let disk = TestDisk::new(1);
    drop(open(&disk).expect("a new log"));
    let old = disk.content("log.state");
    let log = open(&disk).expect("a log");
    for round in 0..20 {
        append_durable(&log, batch(A, Epoch(1), round, 1, 3_000));
    }
    drop(log);
    disk.remove("log.state").expect("a file");
    let file = disk.create("log.state").expect("a file");
    file.write_at(&old, 0).expect("a write");
    assert!(matches!(open(&disk), Err(LogError::Damaged { .. })));
}

#[test]
fn a_segment_of_another_log_is_damage() {
    let (disk, _) = closed(MARK_BESIDE);
    let (other, _) = closed(MARK_BESIDE);
    let name = &segments(&disk)[1];
    let file = disk.open(name).expect("a segment");
    file.write_at(&other.content(name), 0).expect("a write");
    assert!(matches!(open(&disk), Err(LogError::Damaged { .. })));
}

/// Two copies of one log went on, each in its own way, with blocks of the same numbers and sizes.
#[test]
fn a_segment_of_a_copy_of_the_log_is_damage() {
    let (disk, _) = closed(MARK_BESIDE);
    let copy = disk.fork();
    for disk in [&disk, &copy] {
        let log = open(disk).expect("a log");
        for round in 0..20 {
            append_durable(&log, batch(A, Epoch(2), round, 1, 3_000));
        }
    }
    let names = segments(&disk);
    assert_eq!(names, segments(&copy));
    for name in &names[3..names.len() - 1] {
        let mixed = disk.fork();
        let content = copy.content(name);
        mixed.open(name).expect("a segment").write_at(&content, 0).expect("a write");
        assert!(matches!(read(&mixed), Err(LogError::Damaged { .. })), "{name}");
    }
}

#[test]
fn another_format_is_told_from_damage() {
    let (disk, _) = closed(MARK_BESIDE);
    for (name, header) in [(segments(&disk)[0].as_str(), Some(64)), ("log.state", None)] {
        let copy = disk.fork();
        let mut bytes = copy.content(name);
        bytes[8] = 9;
        let end = header.unwrap_or(bytes.len());
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&bytes[..12]);
        checksum.update(&bytes[16..end]);
        bytes[12..16].copy_from_slice(&checksum.finalize().to_le_bytes());
        copy.open(name).expect("a file").write_at(&bytes, 0).expect("a write");
        let error = open(&copy).err().expect("a refusal");
        assert!(matches!(error, LogError::Format { found: 9, expected: 1 }), "{name}: {error}");
    }
}

#[test]
fn segments_may_change_their_size_between_openings() {
    let disk = TestDisk::new(1);
    let mut expected = Vec::new();
    for (life, pages) in [8, 40, 4, 100, 8].into_iter().enumerate() {
        let options = SegmentOptions { segment_bytes: pages * 4096, ..SegmentOptions::default() };
        let log = SegmentLog::open_on(Arc::new(disk.clone()), &options).expect("a log");
        for round in 0..6 {
            let size = (pages as usize - 2) * 4096;
            let batch = batch(A, Epoch(life as u64), round, 1, size);
            expected.extend(batch.records());
            append_durable(&log, batch);
        }
    }
    let records = read(&disk).expect("a readable log").into_iter();
    assert_eq!(records.map(|(_, _, record)| record).collect::<Vec<_>>(), expected);
}
