//! The table store's own suite on real nodes. The tables are created once, and every fresh store gets
//! partitions of its own in them: creating and dropping tables by the dozen would take minutes.

use std::sync::Arc;

use bytes::Bytes;
use handfast_cassandra_tests::{options, store};
use participant::store::cassandra::{CassandraStore, Cluster};
use participant::store::conformance::{self, Subject};
use participant::store::{StoreError, TableStore};
use wal_core::{Row, RowKey, RowMutation, TableId};

use super::Scene;

const KEYSPACE: &str = "conformance";

/// A store whose partition keys begin with a number.
struct Apart {
    store: CassandraStore,
    number: u32,
}

impl Apart {
    fn key(&self, key: &RowKey) -> RowKey {
        let number = self.number.to_be_bytes();
        // The first column of a composite key stands behind its length.
        let partition: Vec<u8> = if key.table == TableId(2) {
            let (length, rest) = key.partition.split_at(2);
            let length = u16::from_be_bytes([length[0], length[1]]) + 4;
            [&length.to_be_bytes()[..], &number, rest].concat()
        } else {
            [&number[..], &key.partition].concat()
        };
        RowKey { partition: Bytes::from(partition), ..key.clone() }
    }
}

impl TableStore for Apart {
    fn read(&self, keys: &[RowKey]) -> Result<Vec<Row>, StoreError> {
        let keys: Vec<RowKey> = keys.iter().map(|key| self.key(key)).collect();
        self.store.read(&keys)
    }

    fn apply(&self, mutations: &[RowMutation]) -> Result<(), StoreError> {
        let moved = |m: &RowMutation| RowMutation { key: self.key(&m.key), delta: m.delta.clone() };
        let mutations: Vec<RowMutation> = mutations.iter().map(moved).collect();
        self.store.apply(&mutations)
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.store.sync()
    }
}

struct Nodes {
    cluster: Arc<Cluster>,
    count: u32,
}

impl Nodes {
    fn open(&self) -> Box<dyn TableStore> {
        let store = store(&self.cluster, KEYSPACE, &conformance::tables());
        Box::new(Apart { store, number: self.count })
    }
}

impl Subject for Nodes {
    fn fresh(&mut self) -> Box<dyn TableStore> {
        self.count += 1;
        self.open()
    }

    fn view(&self) -> fn(&Row) -> Row {
        Row::shown
    }

    fn reopen(&mut self, store: Box<dyn TableStore>) -> Option<Box<dyn TableStore>> {
        drop(store);
        Some(self.open())
    }
}

pub(crate) fn prepare(scene: &Scene<'_>, replicas: usize) {
    scene.cql.keyspace(KEYSPACE, replicas);
    let cluster = Cluster::connect(&options(scene.stack)).expect("nodes");
    store(&cluster, KEYSPACE, &conformance::tables());
}

pub(crate) fn run_prepared(scene: &Scene<'_>) {
    let cluster = Cluster::connect(&options(scene.stack)).expect("nodes");
    conformance::run(&mut Nodes { cluster, count: 0 });
}

pub(crate) fn run(scene: &Scene<'_>, replicas: usize) {
    prepare(scene, replicas);
    run_prepared(scene);
}
