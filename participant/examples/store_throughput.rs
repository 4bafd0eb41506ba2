//! What the embedded table store costs: rows applied, rows read, and the time of a sync.
//!
//! `cargo run --release -p participant --example store_throughput -- [folder] [rows per batch] [buffer MiB]`

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use participant::store::TableStore;
use participant::store::embedded::{EmbeddedOptions, EmbeddedStore};
use wal_core::{Cell, ColumnId, Row, RowKey, RowMutation, TableId, Timestamp};

const ROWS: usize = 10_000;
const VALUE_BYTES: usize = 100;
const ROUNDS: i64 = 200;

/// The key of one of the rows, spread over two tables.
fn key(row: usize) -> RowKey {
    // Scattered, as tokens are: neighbours in one batch are not neighbours in the store.
    let scattered = (row as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    RowKey {
        table: TableId(row as u32 % 2),
        partition: Bytes::copy_from_slice(&scattered.to_be_bytes()),
        clustering: Bytes::new(),
    }
}

fn mutation(row: usize, round: i64) -> RowMutation {
    let mut value = vec![round as u8; VALUE_BYTES];
    value[..8].copy_from_slice(&round.to_be_bytes());
    let cell = Cell {
        column: ColumnId(2),
        timestamp: Timestamp(round * Timestamp::STEP).of_put(),
        value: Some(value.into()),
    };
    RowMutation { key: key(row), delta: Row { cells: vec![cell], ..Row::default() } }
}

/// User and system time of this process, all threads (Linux; zero elsewhere).
fn cpu() -> Duration {
    const TICKS_PER_SECOND: u64 = 100;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<u64> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .map(|field| field.parse().unwrap_or(0))
        .collect();
    let ticks = fields.get(11).unwrap_or(&0) + fields.get(12).unwrap_or(&0);
    Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND)
}

/// Resident memory, mebibytes (Linux; zero elsewhere).
fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1024
}

fn report(what: &str, rows: usize, wall: Duration, cpu: Duration) {
    println!(
        "{what:<34} {:>9.0} rows/s   {:>6.2} us/row   {:>6.2} us of CPU/row",
        rows as f64 / wall.as_secs_f64(),
        wall.as_secs_f64() * 1e6 / rows as f64,
        cpu.as_secs_f64() * 1e6 / rows as f64,
    );
}

fn measured(what: &str, rows: usize, mut work: impl FnMut()) {
    let (start, before) = (Instant::now(), cpu());
    work();
    report(what, rows, start.elapsed(), cpu().saturating_sub(before));
}

fn apply_all(store: &EmbeddedStore, mutations: &[RowMutation], batch_rows: usize) {
    for batch in mutations.chunks(batch_rows) {
        store.apply(batch).expect("the apply succeeds");
    }
}

fn round(number: i64) -> Vec<RowMutation> {
    (0..ROWS).map(|row| mutation(row, number)).collect()
}

/// Writes every row again and again, with a sync now and then, and returns how long those took.
///
/// Making the mutations is no part of the store's cost; but the engine's own threads work on while
/// they are made, so all time is counted and that of the making taken off.
fn apply_hot_rows(store: &EmbeddedStore, batch_rows: usize) -> Vec<Duration> {
    let before = cpu();
    (2..ROUNDS).for_each(|number| drop(std::hint::black_box(round(number))));
    let making = cpu().saturating_sub(before);
    let (mut wall, mut syncs, before) = (Duration::ZERO, Vec::new(), cpu());
    for number in 2..ROUNDS {
        let mutations = round(number);
        let start = Instant::now();
        apply_all(store, &mutations, batch_rows);
        wall += start.elapsed();
        if number % 20 == 0 {
            let start = Instant::now();
            store.sync().expect("the sync succeeds");
            syncs.push(start.elapsed());
        }
    }
    let used = cpu().saturating_sub(before).saturating_sub(making);
    report("apply, hot rows", ROWS * (ROUNDS as usize - 2), wall, used);
    syncs.sort();
    syncs
}

fn read_all(store: &EmbeddedStore, what: &str) {
    let keys: Vec<RowKey> = (0..ROWS).map(key).collect();
    measured(what, ROWS * 50, || {
        for _ in 0..50 {
            for keys in keys.chunks(64) {
                let rows = store.read(keys).expect("the read succeeds");
                assert!(rows.iter().all(Row::exists));
            }
        }
    });
}

fn main() {
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let mut args = std::env::args().skip(1);
    let folder = args.next().map_or(temporary.path().join("store"), PathBuf::from);
    let batch_rows: usize = args.next().map_or(512, |n| n.parse().expect("rows per batch"));
    let mut options = EmbeddedOptions::default();
    if let Some(mib) = args.next() {
        options.write_buffer_bytes = mib.parse::<u64>().expect("a number of MiB") << 20;
    }
    let store = EmbeddedStore::open(&folder, options.clone()).expect("the store opens");
    println!(
        "{ROWS} rows in two tables, {VALUE_BYTES} bytes, {batch_rows} rows per batch, in {}",
        folder.display()
    );

    let (first, last) = (round(1), round(ROUNDS - 1));
    measured("apply, new rows", ROWS, || apply_all(&store, &first, batch_rows));
    let syncs = apply_hot_rows(&store, batch_rows);
    measured("apply, the same again", ROWS, || apply_all(&store, &last, batch_rows));
    read_all(&store, "read, 64 keys a call");
    drop(store);
    let store = EmbeddedStore::open(&folder, options).expect("the store opens again");
    read_all(&store, "read after opening again");
    println!(
        "sync: median {:?}, longest {:?}; {} rows, {} MiB on disk, at most {} MiB resident",
        syncs[syncs.len() / 2],
        syncs[syncs.len() - 1],
        store.approximate_rows(),
        store.size_bytes() >> 20,
        resident_mib(),
    );
}
