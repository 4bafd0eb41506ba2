//! Measures the embedded log: `cargo run --release -p wal-core --example log_throughput [folder] [seconds]`.
//!
//! Prints how long a record takes to encode and decode and how long an fdatasync of one page takes, then
//! records per second and latencies for 1 to 1024 appends in flight, each of one record.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use bytes::Bytes;
use wal_core::log::conformance::{batch, replay};
use wal_core::log::file::{Disk, RealDisk};
use wal_core::log::segment::{SegmentLog, SegmentOptions};
use wal_core::log::{Appended, IntentLog};
use wal_core::record::{Body, CommitSingle, Header, decode, encode_into};
use wal_core::{
    CellOp, ColumnId, Epoch, Fingerprint, Position, RowKey, RowOp, ShardId, TableId, Timestamp,
    TxnId, WriteOp,
};

const RECORD_BYTES: usize = 256;
const SHARDS: u64 = 16;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let parent = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let seconds = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(5);
    let folder = tempfile::tempdir_in(parent).expect("a temporary folder");
    print_codec_time();
    print_sync_time(&folder.path().join("probe"));
    let mut records = 0;
    for callers in [1, 64, 256, 1024] {
        let path = folder.path().join(format!("log-{callers}"));
        let log = SegmentLog::open(&path, &SegmentOptions::default()).expect("a new log");
        records = measure(&log, callers, Duration::from_secs(seconds));
    }
    print_recovery(&folder.path().join("log-1024"), records);
}

/// The record of a transaction that writes one value of 100 bytes.
fn print_codec_time() {
    const ROUNDS: u32 = 1_000_000;
    let value = Bytes::from(vec![7; 100]);
    let cells = vec![CellOp::Put { column: ColumnId(1), value }];
    let partition = Bytes::from_static(b"account-000001");
    let key = RowKey { table: TableId(1), partition, clustering: Bytes::new() };
    let write = WriteOp::Cells { insert: false, cells };
    let commit = CommitSingle {
        id: TxnId(1 << 100),
        fingerprint: Fingerprint(1 << 99),
        timestamp: Timestamp(1_760_000_000_000_000),
        part: Arc::new(vec![RowOp { key, conditions: Vec::new(), write }]),
        adds: Vec::new(),
    };
    let body = Body::CommitSingle(Box::new(commit));
    let (mut out, mut header) = (Vec::new(), Header::default());
    let begun = Instant::now();
    for _ in 0..ROUNDS {
        out.clear();
        header.previous = encode_into(&mut out, &header, &body);
    }
    let encoded = begun.elapsed() / ROUNDS;
    let bytes = Bytes::from(out);
    let begun = Instant::now();
    for _ in 0..ROUNDS {
        black_box(decode(black_box(bytes.clone())).expect("a record"));
    }
    let decoded = begun.elapsed() / ROUNDS;
    println!(
        "a record of {} bytes: encoded in {encoded:.0?}, decoded in {decoded:.0?}",
        bytes.len()
    );
}

fn print_sync_time(folder: &Path) {
    let disk = RealDisk::new(folder).expect("a folder");
    let file = disk.create("probe").expect("a file");
    file.allocate(4096 * 2000).expect("space");
    let mut times: Vec<Duration> = (0..2000)
        .map(|page| {
            let begun = Instant::now();
            file.write_at(&[1; 4096], page * 4096).expect("a write");
            file.sync_data().expect("a sync");
            begun.elapsed()
        })
        .collect();
    println!("fdatasync of a page: {}", percentiles(&mut times));
}

/// One thread keeps `callers` appends in flight, as the core thread of a server does.
fn measure(log: &SegmentLog, callers: u64, lasts: Duration) -> u64 {
    let mut times = Vec::new();
    let mut sequences = [0; SHARDS as usize];
    let (send, receive) = mpsc::channel();
    let mut start = |shard: u64| {
        let seq = &mut sequences[shard as usize];
        let next = batch(ShardId(shard as u16), Epoch(1), *seq, 1, RECORD_BYTES);
        *seq += 1;
        let (sent, send) = (Instant::now(), send.clone());
        let done = move |results| send.send((shard, sent, results)).expect("a waiter");
        log.append(vec![next], Box::new(done));
    };
    let begun = Instant::now();
    (0..callers).for_each(|caller| start(caller % SHARDS));
    for _ in 0..callers {
        loop {
            let (shard, sent, results): (u64, Instant, Vec<Appended>) =
                receive.recv().expect("an answer");
            assert!(matches!(results[..], [Appended::Durable { .. }]), "{results:?}");
            times.push(sent.elapsed());
            if begun.elapsed() > lasts {
                break;
            }
            start(shard);
        }
    }
    let elapsed = begun.elapsed().as_secs_f64();
    let stats = log.stats();
    println!(
        "{callers:>4} in flight: {:>8.0} records/s, {:>6.0} syncs/s, {:>6.1} MB/s; {}; \
         write and sync: mean {} us, max {} us",
        times.len() as f64 / elapsed,
        stats.syncs as f64 / elapsed,
        stats.written_bytes as f64 / elapsed / 1e6,
        percentiles(&mut times),
        stats.sum_sync_us / stats.syncs.max(1),
        stats.max_sync_us,
    );
    stats.records
}

fn print_recovery(folder: &Path, records: u64) {
    let begun = Instant::now();
    let log = SegmentLog::open(folder, &SegmentOptions::default()).expect("the log of before");
    let opened = begun.elapsed();
    let from: Vec<(ShardId, Position)> =
        (0..SHARDS).map(|shard| (ShardId(shard as u16), Position(0))).collect();
    let (visited, _) = replay(&log, &from).expect("a readable log");
    assert_eq!(visited.len() as u64, records);
    let read = begun.elapsed() - opened;
    let size = log.size_bytes() as f64 / 1e6;
    println!("opened {size:.0} MB in {opened:.1?}, replayed {records} records in {read:.1?}");
}

fn percentiles(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    format!("p50 {:.1?}, p99 {:.1?}, max {:.1?}", at(0.5), at(0.99), at(1.0))
}
