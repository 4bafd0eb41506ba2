//! What coalescing is worth: rows written one by one and as the store sends a flush, on the same nodes,
//! in turn, with the time that took and the processor time that it cost the nodes.
//!
//! ```text
//! cargo run --release -p handfast-cassandra-tests --example batches -- --nodes 3 --seconds 20
//! ```

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use handfast_cassandra_tests::{Cql, options, store};
use handfast_stack::{Jit, Stack, StackSpec};
use participant::store::TableStore;
use participant::store::cassandra::Cluster;
use wal_core::schema::{Ownership, Table};
use wal_core::{Cell, ColumnId, Row, RowKey, RowMutation, TableId, Timestamp};

/// Rows of one flush, as by default.
const FLUSH_ROWS: u64 = 1_000;
/// Single writes under way at once: as many as the store has batches.
const WRITERS: u64 = 64;
const VALUE_BYTES: usize = 100;
/// Rows written over and over.
const ROWS: u64 = 100_000;

fn argument(name: &str, default: u64) -> u64 {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    let value = arguments.nth(1).map(|value| value.parse().expect("a whole number"));
    value.unwrap_or(default)
}

fn row(number: u64, at: i64) -> RowMutation {
    let cell = Cell {
        column: ColumnId(1),
        timestamp: Timestamp(at),
        value: Some(Bytes::from(vec![b'x'; VALUE_BYTES])),
    };
    RowMutation {
        key: RowKey {
            table: TableId(0),
            // Spread over all partitions.
            partition: Bytes::copy_from_slice(&(number % ROWS).to_be_bytes()),
            clustering: Bytes::new(),
        },
        delta: Row { cells: vec![cell], ..Row::default() },
    }
}

/// Processor time that the nodes have taken so far: ticks of 10 ms.
fn node_time(stack: &Stack) -> Duration {
    let ticks = |pid: i32| -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
        let (_, behind) = stat.rsplit_once(')').expect("a name in parentheses");
        let fields: Vec<&str> = behind.split_whitespace().collect();
        fields[11..13].iter().map(|ticks| ticks.parse::<u64>().expect("ticks")).sum()
    };
    let nodes = stack.states();
    let ticks: u64 = nodes.iter().filter_map(|node| node.pid).map(ticks).sum();
    Duration::from_millis(10 * ticks)
}

fn main() {
    let nodes = argument("--nodes", 3) as usize;
    let seconds = Duration::from_secs(argument("--seconds", 20));
    let spec = StackSpec { cassandra: nodes, jit: Jit::Peak, ..StackSpec::default() };
    let stack = Stack::start(&spec).expect("nodes");
    Cql::connect(&stack.cassandra_nodes()).keyspace("batches", nodes);
    let cluster = Cluster::connect(&options(&stack)).expect("nodes");
    let cql = "CREATE TABLE t (id bigint PRIMARY KEY, v blob)".parse().expect("CQL");
    let table = Table::new(TableId(0), cql, Ownership::Owned);
    let store = store(&cluster, "batches", &[table.into()]);
    let next = AtomicU64::new(0);
    let draw = || {
        let number = next.fetch_add(1, Ordering::Relaxed);
        row(number, 1 + number as i64)
    };

    let singly = || {
        let until = Instant::now() + seconds;
        std::thread::scope(|scope| {
            for _ in 0..WRITERS {
                scope.spawn(|| {
                    while Instant::now() < until {
                        store.apply(&[draw()]).expect("an apply");
                    }
                });
            }
        });
    };
    let together = || {
        let until = Instant::now() + seconds;
        while Instant::now() < until {
            let flush: Vec<_> = (0..FLUSH_ROWS).map(|_| draw()).collect();
            store.apply(&flush).expect("an apply");
        }
    };
    let measure = |name: &str, work: &dyn Fn()| {
        let (rows, spent, begun) =
            (next.load(Ordering::Relaxed), node_time(&stack), Instant::now());
        let before = store.counts();
        work();
        let rows = next.load(Ordering::Relaxed) - rows;
        let spent = node_time(&stack).saturating_sub(spent).as_micros() as f64 / rows as f64;
        let rate = rows as f64 / begun.elapsed().as_secs_f64();
        let requests = store.counts().batches - before.batches;
        println!(
            "{name:<10} {rate:>8.0} rows/s  {:>6.1} rows/request  {spent:>6.1} µs of the nodes' \
             processors a row",
            rows as f64 / requests as f64
        );
        (rate, spent)
    };
    println!("{nodes} nodes, {nodes} replicas, LOCAL_QUORUM, values of {VALUE_BYTES} bytes");
    measure("(warm-up)", &|| {
        singly();
        together();
    });
    let single = measure("one by one", &singly);
    let flushed = measure("flushes", &together);
    println!(
        "flushes write {:.1} times as many rows a second, for {:.2} of the processor time",
        flushed.0 / single.0,
        flushed.1 / single.1
    );
    assert_eq!(store.counts().warnings, 0, "no server warns");
}
