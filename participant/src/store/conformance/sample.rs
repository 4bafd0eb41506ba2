//! Keys and mutations drawn from a seed: few of each, so that they meet.

use bytes::Bytes;
use wal_core::{Cell, ColumnId, Row, RowKey, RowMutation, TableId, Timestamp};

use crate::store::draw::Draw;

/// A key from its parts.
pub(super) fn key(table: u32, partition: &[u8], clustering: &[u8]) -> RowKey {
    RowKey {
        table: TableId(table),
        partition: Bytes::copy_from_slice(partition),
        clustering: Bytes::copy_from_slice(clustering),
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
    let two_columns = |a: &[u8], b: &[u8]| {
        let mut bytes = Vec::new();
        for column in [a, b] {
            bytes.extend_from_slice(&(column.len() as u16).to_be_bytes());
            bytes.extend_from_slice(column);
            bytes.push(0);
        }
        bytes
    };
    let clustering = |a: &[u8], b: &[u8]| {
        let mut bytes = Vec::new();
        for column in [a, b] {
            bytes.extend_from_slice(&(column.len() as u32).to_be_bytes());
            bytes.extend_from_slice(column);
        }
        bytes
    };
    let mut keys = Vec::new();
    for table in [0, 1, 256, u32::MAX] {
        keys.extend([
            key(table, b"", b""),
            key(table, b"\0", b""),
            key(table, b"", b"\0"),
            key(table, b"\0\0", b""),
            key(table, b"\0", b"\0"),
            key(table, b"ab", b"c"),
            key(table, b"a", b"bc"),
            key(table, b"abc", b""),
            key(table, b"\xff\xff", b"\xff"),
            key(table, &two_columns(b"a", b"\0"), &clustering(b"\0", b"")),
            key(table, &two_columns(b"a\0", b""), &clustering(b"", b"\0")),
            key(table, &[7; 2000], &[7; 2000]),
        ]);
    }
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
