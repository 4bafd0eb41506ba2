//! Keys and mutations drawn from a seed: few of each, so that they meet.

use std::sync::Arc;

use bytes::Bytes;
use wal_core::schema::{Ownership, Table};
use wal_core::{Cell, ColumnId, Row, RowKey, RowMutation, TableId, Timestamp};

use crate::store::draw::Draw;

/// Value columns of the table that has most; they are numbered from 0.
pub(super) const MAX_COLUMNS: u16 = 64;
/// The tables with one column in either part of the key.
pub(super) const SIMPLE: [u32; 4] = [0, 1, 256, u32::MAX];
/// The table with two in each.
const COMPOSITE: u32 = 2;

/// The tables that the suite's rows are of, numbered with gaps.
pub(super) fn tables() -> Vec<Arc<Table>> {
    let table = |number: u32, columns: u16, key: &str| {
        let values: String = (0..columns).map(|n| format!("v{n} blob, ")).collect();
        let cql = format!("CREATE TABLE conformance_{number} ({values}{key})");
        let statement = cql.parse().expect("the suite's own statement");
        Arc::new(Table::new(TableId(number), statement, Ownership::Owned))
    };
    let columns = |number| if number == 1 { MAX_COLUMNS } else { 8 };
    let simple = SIMPLE
        .into_iter()
        .map(|number| table(number, columns(number), "p blob, c blob, PRIMARY KEY (p, c)"));
    let key = "p blob, q blob, c blob, d blob, PRIMARY KEY ((p, q), c, d)";
    simple.chain([table(COMPOSITE, 8, key)]).collect()
}

/// A key of a simple table.
pub(super) fn key(table: u32, partition: &[u8], clustering: &[u8]) -> RowKey {
    RowKey {
        table: TableId(table),
        partition: Bytes::copy_from_slice(partition),
        clustering: clustered(&[clustering]).into(),
    }
}

fn clustered(columns: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for column in columns {
        bytes.extend_from_slice(&(column.len() as u32).to_be_bytes());
        bytes.extend_from_slice(column);
    }
    bytes
}

/// A key of the composite table.
fn composite(partition: [&[u8]; 2], clustering: [&[u8]; 2]) -> RowKey {
    let mut bytes = Vec::new();
    for column in partition {
        bytes.extend_from_slice(&(column.len() as u16).to_be_bytes());
        bytes.extend_from_slice(column);
        bytes.push(0);
    }
    RowKey {
        table: TableId(COMPOSITE),
        partition: bytes.into(),
        clustering: clustered(&clustering).into(),
    }
}

/// A value written at a time.
pub(super) fn put(column: u16, at: i64, value: &[u8]) -> Row {
    Row {
        cells: vec![Cell {
            column: ColumnId(column),
            timestamp: Timestamp(at),
            value: Some(Bytes::copy_from_slice(value)),
        }],
        ..Row::default()
    }
}

/// A cell tombstone.
pub(super) fn delete_cell(column: u16, at: i64) -> Row {
    let cell = Cell { column: ColumnId(column), timestamp: Timestamp(at), value: None };
    Row { cells: vec![cell], ..Row::default() }
}

/// A row marker.
pub(super) fn insert(at: i64) -> Row {
    Row { marker_at: Some(Timestamp(at)), ..Row::default() }
}

/// A row tombstone.
pub(super) fn delete_row(at: i64) -> Row {
    Row { deleted_at: Some(Timestamp(at)), ..Row::default() }
}

/// Keys that a careless encoding would take for one another.
pub(super) fn awkward_keys() -> Vec<RowKey> {
    let mut keys = Vec::new();
    for table in SIMPLE {
        keys.extend([
            key(table, b"\0", b""),
            key(table, b"\0", b"\0"),
            key(table, b"\0\0", b""),
            key(table, b"ab", b"c"),
            key(table, b"a", b"bc"),
            key(table, b"abc", b""),
            key(table, b"\xff\xff", b"\xff"),
            key(table, b"\0\x01a\0\0\x01\0\0", b"\0"),
            key(table, &[7; 2000], &[7; 2000]),
        ]);
    }
    keys.extend([
        composite([b"a", b"\0"], [b"\0", b""]),
        composite([b"a\0", b""], [b"", b"\0"]),
        composite([b"", b"a\0"], [b"\0", b""]),
        composite([b"", b""], [b"", b""]),
        composite([b"", b""], [b"\0", b""]),
        composite([b"\0\x01", b"a"], [b"\0\0", b"\0"]),
    ]);
    keys
}

/// A random change of one row: times from a small range, so that ties are common.
pub(super) fn delta(draw: &mut Draw) -> Row {
    let mut row = Row::default();
    for _ in 0..=draw.below(3) {
        let at = draw.below(12) as i64;
        let column = draw.below(4) as u16;
        row.merge(&match draw.below(8) {
            0 => delete_row(at),
            1 => insert(at),
            2 | 3 => delete_cell(column, at),
            4 => put(column, at, b""),
            _ => put(column, at, &vec![draw.below(3) as u8; draw.below(40)]),
        });
    }
    row
}

/// Random changes of a few rows.
pub(super) fn mutations(draw: &mut Draw, keys: &[RowKey], count: usize) -> Vec<RowMutation> {
    (0..count)
        .map(|_| RowMutation { key: keys[draw.below(keys.len())].clone(), delta: delta(draw) })
        .collect()
}
