//! The files of the log, spoilt.

use std::sync::{Arc, OnceLock};

use proptest::prelude::*;
use wal_core::log::LogError;
use wal_core::log::conformance::{Visited, append_durable, batch, replay};
use wal_core::log::file::Disk;
use wal_core::log::file::test_disk::TestDisk;
use wal_core::log::segment::{SegmentLog, SegmentOptions};
use wal_core::{Epoch, Position, ShardId};

use crate::mangle::{config, in_bounds, mangled, mangles};

const PAGE: usize = 4096;
const A: ShardId = ShardId(0);

fn open(disk: &TestDisk) -> Result<SegmentLog, LogError> {
    let options = SegmentOptions { segment_bytes: 5 * PAGE as u64, ..SegmentOptions::default() };
    SegmentLog::open_on(Arc::new(disk.clone()), &options)
}

/// A closed log of a few segments, and what it holds.
fn written() -> &'static (TestDisk, Vec<Visited>) {
    static WRITTEN: OnceLock<(TestDisk, Vec<Visited>)> = OnceLock::new();
    WRITTEN.get_or_init(|| {
        let disk = TestDisk::new(1);
        let log = open(&disk).expect("a new log");
        for round in 0..7_u64 {
            append_durable(&log, batch(A, Epoch(1), round * 2, 2, 100 + 400 * round as usize));
        }
        let records = replay(&log, &[(A, Position(0))]).expect("a readable log").0;
        drop(log);
        (disk, records)
    })
}

/// The names of all its files that are ever read.
fn files(disk: &TestDisk) -> Vec<String> {
    let names = disk.list().expect("names").into_iter();
    names.filter(|name| name.starts_with("segment-") || name == "log.state").collect()
}

/// Puts other content into a file.
fn replace(disk: &TestDisk, name: &str, content: &[u8]) {
    disk.remove(name).expect("a file");
    let file = disk.create(name).expect("a free name");
    file.write_at(content, 0).expect("a write");
    file.sync_data().expect("a sync");
    disk.sync_dir().expect("a sync");
}

/// Makes the checksums of headers right again: of the file, and of every block.
fn with_checksums(bytes: &mut [u8], is_segment: bool) {
    let header = if is_segment { 64.min(bytes.len()) } else { bytes.len() };
    if header >= 16 {
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&bytes[..12]);
        checksum.update(&bytes[16..header]);
        bytes[12..16].copy_from_slice(&checksum.finalize().to_le_bytes());
    }
    for start in (PAGE..bytes.len()).step_by(PAGE) {
        let end = bytes.len();
        if end < start + 64 || !bytes[start..].starts_with(b"HFb1") {
            continue;
        }
        let length =
            u32::from_le_bytes(*bytes[start + 48..].first_chunk().expect("64 bytes")) as usize;
        if let Some(content) = bytes.get(start + 64..(start + 64).saturating_add(length)) {
            let checksum = crc32fast::hash(content).to_le_bytes();
            bytes[start + 52..start + 56].copy_from_slice(&checksum);
        }
        let checksum = crc32fast::hash(&bytes[start + 8..start + 64]).to_le_bytes();
        bytes[start + 4..start + 8].copy_from_slice(&checksum);
    }
}

/// Opens and reads everything.
fn read(disk: &TestDisk) -> Result<Vec<Visited>, LogError> {
    let log = open(disk)?;
    Ok(replay(&log, &[(A, Position(0))])?.0)
}

proptest! {
    #![proptest_config(config(400))]

    /// Without the right checksums nothing but an end that is missing can pass for the log.
    #[test]
    fn mangled_files_of_the_log(which in any::<prop::sample::Index>(), mangles in mangles()) {
        let (disk, records) = written();
        let disk = disk.fork();
        let names = files(&disk);
        let name = &names[which.index(names.len())];
        let content = mangled(disk.content(name), &mangles);
        replace(&disk, name, &content);
        if let Ok(found) = in_bounds(|| read(&disk)) {
            prop_assert!(records.starts_with(&found), "{name}: not what was written");
        }
    }

    /// Behind right checksums anything may stand: a number of the header beyond all others, too.
    #[test]
    fn forged_files_of_the_log(
        which in any::<prop::sample::Index>(),
        page in 0..5_usize,
        mangles in mangles(),
    ) {
        let disk = written().0.fork();
        let names = files(&disk);
        let name = &names[which.index(names.len())];
        let mut content = disk.content(name);
        // Headers are where numbers stand that decide what is read next.
        let start = (page * PAGE).min(content.len());
        let end = (start + 256).min(content.len());
        let header = mangled(content[start..end].to_vec(), &mangles);
        content.splice(start..end, header);
        with_checksums(&mut content, name.starts_with("segment-"));
        replace(&disk, name, &content);
        let _ = in_bounds(|| read(&disk));
    }

    #[test]
    fn arbitrary_files_of_the_log(
        which in any::<prop::sample::Index>(),
        content in prop::collection::vec(any::<u8>(), 0..3 * PAGE),
    ) {
        let disk = written().0.fork();
        let names = files(&disk);
        let name = &names[which.index(names.len())];
        replace(&disk, name, &content);
        prop_assert!(in_bounds(|| read(&disk)).is_err(), "{name} was replaced by noise");
    }
}
