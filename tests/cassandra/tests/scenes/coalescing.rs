//! How many requests a flush costs.

use std::collections::BTreeMap;

use handfast_cassandra_tests::{options, store};
use participant::store::TableStore;
use participant::store::cassandra::{Cluster, StoreCounts};
use wal_core::RowMutation;
use wal_core::value::Value;

use super::{Scene, cell, key, put, table};

const CQL: &str = "CREATE TABLE accounts (id text PRIMARY KEY, owner text, balance bigint)";

fn row(id: &str, at: i64) -> RowMutation {
    let key = key(0, id);
    put(&key, [cell(1, at, Some(Value::from("somebody"))), cell(2, at, Some(Value::BigInt(at)))])
}

fn difference(before: StoreCounts, after: StoreCounts) -> (u64, u64, u64) {
    (after.batches - before.batches, after.statements - before.statements, after.warnings)
}

pub(crate) fn ten_rows_are_one_batch(scene: &Scene<'_>) {
    scene.cql.keyspace("coalescing", 1);
    let cluster = Cluster::connect(&options(scene.stack)).expect("nodes");
    let store = store(&cluster, "coalescing", &[table(0, CQL)]);
    let rows: Vec<_> = (0..10).map(|n| row(&format!("a{n}"), 10)).collect();
    store.apply(&rows).expect("an apply");
    assert_eq!(difference(StoreCounts::default(), store.counts()), (1, 10, 0));
    // A row that is written a hundred times goes once, with its last values, each at its own time.
    let before = store.counts();
    let mut folded = row("hot", 10);
    (11..110).for_each(|at| folded.delta.merge(&row("hot", at).delta));
    folded.delta.merge(&put(&folded.key, [cell(1, 200, None)]).delta);
    store.apply(&[folded]).expect("an apply");
    assert_eq!(difference(before, store.counts()), (1, 2, 0));
    let text =
        "SELECT owner, balance, WRITETIME(balance) FROM coalescing.accounts WHERE id = 'hot'";
    let rows = scene.cql.rows::<(Option<String>, i64, i64)>(text);
    assert_eq!(rows, [(None, 109, 109)]);
    // A thousand rows: batches of ten, and no server warns of one.
    let before = store.counts();
    let rows: Vec<_> = (0..1000).map(|n| row(&format!("b{n}"), 10)).collect();
    store.apply(&rows).expect("an apply");
    assert_eq!(difference(before, store.counts()), (100, 1000, 0));
    let log = scene.stack.log(handfast_stack::Server::Cassandra(0)).expect("a log");
    assert!(!log.contains("exceeding specified threshold"), "a batch was too large");
    assert!(!log.contains("Unlogged batch covering"), "a batch had too many partitions");
}

pub(crate) fn a_large_share_goes_alone(scene: &Scene<'_>) {
    let cluster = Cluster::connect(&options(scene.stack)).expect("nodes");
    let cql = "CREATE TABLE events (id text, seq int, body blob, PRIMARY KEY (id, seq))";
    let store = store(&cluster, "coalescing", &[table(0, cql)]);
    let event = |id: &str, seq: i32, bytes: usize| {
        let mut key = key(0, id);
        key.clustering = [&[0, 0, 0, 4][..], &seq.to_be_bytes()].concat().into();
        put(&key, [cell(2, 10, Some(Value::Blob(vec![7; bytes].into())))])
    };
    // Twenty rows of one partition, far above the threshold, between rows of others.
    let mut rows: Vec<_> = (0..20).map(|seq| event("large", seq, 4 << 10)).collect();
    rows.insert(5, event("a", 1, 10));
    rows.insert(9, event("b", 1, 10));
    store.apply(&rows).expect("an apply");
    assert_eq!(difference(StoreCounts::default(), store.counts()), (2, 22, 0));
    let counted = "SELECT count(*) FROM coalescing.events WHERE id = 'large'";
    assert_eq!(scene.cql.rows::<(i64,)>(counted), [(20,)]);
    // More than the server takes as one: it goes row by row.
    let before = store.counts();
    let rows: Vec<_> = (0..5).map(|seq| event("huge", seq, 2 << 20)).collect();
    store.apply(&rows).expect("an apply");
    let (batches, ..) = difference(before, store.counts());
    assert_eq!(batches, 1 + 5, "one refused whole, then five");
    assert_eq!(store.counts().refused, 0);
    let counted = "SELECT count(*) FROM coalescing.events WHERE id = 'huge'";
    assert_eq!(scene.cql.rows::<(i64,)>(counted), [(5,)]);
}

/// Two replicas on three nodes: three replica sets, each with its batches.
pub(crate) fn batches_keep_to_a_replica_set(scene: &Scene<'_>) {
    scene.cql.keyspace("sets", 2);
    let cluster = Cluster::connect(&options(scene.stack)).expect("nodes");
    let store = store(&cluster, "sets", &[table(0, CQL)]);
    // The stack's nodes have one token each: a third of the ring is one replica set.
    let third = |id: &str| {
        let token = wal_core::token::Token::of(id.as_bytes()).0;
        (((token as i128) + (1 << 63)) * 3) >> 64
    };
    let rows: Vec<_> = (0..30).map(|n| row(&format!("c{n}"), 10)).collect();
    let mut sets: BTreeMap<i128, u64> = BTreeMap::new();
    (0..30).for_each(|n| *sets.entry(third(&format!("c{n}"))).or_default() += 1);
    assert_eq!(sets.len(), 3, "thirty rows are in every third: {sets:?}");
    store.apply(&rows).expect("an apply");
    let expected: u64 = sets.values().map(|rows| rows.div_ceil(10)).sum();
    assert_eq!(difference(StoreCounts::default(), store.counts()), (expected, 30, 0), "{sets:?}");
    assert_eq!(scene.cql.rows::<(i64,)>("SELECT count(*) FROM sets.accounts"), [(30,)]);
}
