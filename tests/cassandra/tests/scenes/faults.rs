//! Nodes that are elsewhere, dead or asleep.

use std::time::{Duration, Instant};

use handfast_cassandra_tests::{options, store};
use handfast_stack::Server;
use participant::store::cassandra::{Cluster, ClusterOptions, OpenError};
use participant::store::{StoreError, TableStore};
use wal_core::RowMutation;
use wal_core::value::Value;

use super::{Scene, cell, key, put, table};

const CQL: &str = "CREATE TABLE t (id text PRIMARY KEY, v bigint)";
const TIMEOUT: Duration = Duration::from_secs(1);

fn quick(scene: &Scene<'_>) -> ClusterOptions {
    ClusterOptions { request_timeout: TIMEOUT, ..options(scene.stack) }
}

fn rows(at: i64) -> Vec<RowMutation> {
    let row = |n| put(&key(0, &format!("r{n}")), [cell(1, at, Some(Value::BigInt(at)))]);
    (0..300).map(row).collect()
}

pub(crate) fn a_wrong_address_or_data_centre_is_told(scene: &Scene<'_>) {
    let begun = Instant::now();
    for point in ["127.0.0.1:1", "no-such-host.invalid:9042"] {
        let elsewhere = ClusterOptions { contact_points: vec![point.to_owned()], ..quick(scene) };
        match Cluster::connect(&elsewhere) {
            Err(error @ OpenError::Unreachable { .. }) => {
                let text = error.to_string();
                assert!(text.contains(point) && text.contains("store.contact_points"), "{text}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(begun.elapsed() < 8 * TIMEOUT, "{:?}", begun.elapsed());
    let elsewhere = ClusterOptions { datacenter: "mars".to_owned(), ..quick(scene) };
    match Cluster::connect(&elsewhere) {
        Err(OpenError::NoSuchDatacenter { named, known, .. }) => {
            assert_eq!((named.as_str(), known), ("mars", vec!["datacenter1".to_owned()]));
        }
        other => panic!("{other:?}"),
    }
}

/// Everything fails for now, within a bound, and goes on when the node does.
pub(crate) fn a_paused_node_is_bounded_and_recovers(scene: &Scene<'_>) {
    scene.cql.keyspace("faults", 1);
    let cluster = Cluster::connect(&quick(scene)).expect("nodes");
    let store = store(&cluster, "faults", &[table(0, CQL)]);
    store.apply(&rows(10)).expect("an apply");
    scene.stack.pause(Server::Cassandra(0)).expect("paused");
    let begun = Instant::now();
    let applied = store.apply(&rows(20));
    let read = store.read(&[key(0, "r0")]);
    let took = begun.elapsed();
    scene.stack.resume(Server::Cassandra(0)).expect("resumed");
    assert!(is_for_now(&applied), "{applied:?}");
    assert!(is_for_now(&read), "{read:?}");
    assert!(took < 4 * TIMEOUT, "{took:?} for one apply and one read");
    let recovered = recovers(&store, &rows(30));
    println!("  paused: failed within {took:?}, recovered after {recovered:?}");
}

pub(crate) fn a_killed_node_comes_back(scene: &Scene<'_>) {
    let cluster = Cluster::connect(&quick(scene)).expect("nodes");
    let store = store(&cluster, "faults", &[table(0, CQL)]);
    scene.stack.kill9(Server::Cassandra(0)).expect("killed");
    let applied = store.apply(&rows(40));
    assert!(is_for_now(&applied), "{applied:?}");
    scene.stack.restart(Server::Cassandra(0)).expect("back");
    println!("  killed: recovered after {:?}", recovers(&store, &rows(50)));
}

fn is_for_now<T>(answer: &Result<T, StoreError>) -> bool {
    matches!(answer, Err(StoreError::Transient { .. } | StoreError::Overloaded { .. }))
}

/// Applies until it is done, reads it back; how long that took.
fn recovers(store: &dyn TableStore, rows: &[RowMutation]) -> Duration {
    let begun = Instant::now();
    while let failed @ Err(error) = &store.apply(rows) {
        assert!(is_for_now(failed), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(60), "{error}");
        std::thread::sleep(Duration::from_millis(50));
    }
    let took = begun.elapsed();
    let keys: Vec<_> = rows.iter().map(|row| row.key.clone()).collect();
    for (row, mutation) in store.read(&keys).expect("a read").iter().zip(rows) {
        assert_eq!(row.cells, mutation.delta.cells);
    }
    took
}

/// A quorum is there: requests that a sleeping node coordinates go to another one in time.
pub(crate) fn one_paused_node_of_three_is_not_noticed(scene: &Scene<'_>) {
    scene.cql.keyspace("faults", 3);
    let cluster = Cluster::connect(&options(scene.stack)).expect("nodes");
    let store = store(&cluster, "faults", &[table(0, CQL)]);
    store.apply(&rows(10)).expect("an apply");
    scene.stack.pause(Server::Cassandra(1)).expect("paused");
    let begun = Instant::now();
    let applied = store.apply(&rows(20));
    let keys: Vec<_> = rows(20).iter().map(|row| row.key.clone()).collect();
    let read = store.read(&keys);
    let took = begun.elapsed();
    scene.stack.resume(Server::Cassandra(1)).expect("resumed");
    applied.expect("an apply");
    for row in read.expect("a read") {
        assert_eq!(row.cells, [cell(1, 20, Some(Value::BigInt(20)))]);
    }
    println!("  one of three paused: 300 rows written and read in {took:?}");
}
