//! What is shown on real nodes, one scene at a time on one stack.

#![allow(dead_code, reason = "each test of this folder plays some of the scenes")]

pub(crate) mod coalescing;
pub(crate) mod conformance;
pub(crate) mod faults;
pub(crate) mod fidelity;
pub(crate) mod plain;
pub(crate) mod registry;
pub(crate) mod schema;
pub(crate) mod target;
pub(crate) mod types;

use std::sync::Arc;
use std::time::Instant;

use handfast_cassandra_tests::Cql;
use handfast_stack::Stack;
use wal_core::schema::{Ownership, Table};
use wal_core::value::Value;
use wal_core::{Cell, ColumnId, Row, RowKey, RowMutation, TableId, Timestamp};

/// The nodes, and an ordinary client of theirs.
pub(crate) struct Scene<'a> {
    pub(crate) stack: &'a Stack,
    pub(crate) cql: &'a Cql,
}

impl Scene<'_> {
    pub(crate) fn play(&self, name: &str, scene: impl FnOnce(&Self)) {
        let begun = Instant::now();
        scene(self);
        println!("{name}: {:?}", begun.elapsed());
    }
}

pub(crate) fn table(number: u32, cql: &str) -> Arc<Table> {
    Arc::new(Table::new(TableId(number), cql.parse().expect("CQL"), Ownership::Owned))
}

/// A row of a table with one text column as its key.
pub(crate) fn key(table: u32, id: &str) -> RowKey {
    RowKey {
        table: TableId(table),
        partition: id.as_bytes().to_vec().into(),
        clustering: bytes::Bytes::new(),
    }
}

pub(crate) fn cell(column: u16, at: i64, value: Option<Value>) -> Cell {
    let value = value.map(|value| value.encode());
    Cell { column: ColumnId(column), timestamp: Timestamp(at), value }
}

pub(crate) fn put(key: &RowKey, cells: impl IntoIterator<Item = Cell>) -> RowMutation {
    let delta = Row { cells: cells.into_iter().collect(), ..Row::default() };
    RowMutation { key: key.clone(), delta }
}
