//! What transactions write, and what becomes of rows.

use std::collections::BTreeMap;

use bytes::Bytes;
use wal_core::{
    Cell, CellOp, Row, RowKey, RowMutation, RowOp, ShardId, TableId, Timestamp, WriteOp,
};

pub(super) const SHARDS: u16 = 3;

pub(super) type Rows = BTreeMap<RowKey, Row>;

pub(super) fn merge(rows: &mut Rows, mutations: &[RowMutation]) {
    for RowMutation { key, delta } in mutations {
        rows.entry(key.clone()).or_default().merge(delta);
    }
}

pub(super) fn written(op: &RowOp, at: Timestamp) -> RowMutation {
    let mut delta = Row::default();
    match &op.write {
        WriteOp::DeleteRow => delta.deleted_at = Some(at.of_delete()),
        WriteOp::Cells { insert, cells } => {
            delta.marker_at = insert.then_some(at.of_put());
            for cell in cells {
                let (value, timestamp) = match cell {
                    CellOp::Put { value, .. } => (Some(value.clone()), at.of_put()),
                    _ => (None, at.of_delete()),
                };
                delta.cells.push(Cell { column: cell.column(), timestamp, value });
            }
        }
        WriteOp::None | WriteOp::Merge(_) => {}
    }
    RowMutation { key: op.key.clone(), delta }
}

/// What came from elsewhere, as if it had been written here.
pub(super) fn as_own(op: &RowOp) -> RowOp {
    let WriteOp::Merge(row) = &op.write else { return op.clone() };
    let put = |cell: &Cell| CellOp::Put {
        column: cell.column,
        value: cell.value.clone().unwrap_or_default(),
    };
    let write = match row.deleted_at {
        Some(_) => WriteOp::DeleteRow,
        None => WriteOp::Cells {
            insert: row.marker_at.is_some(),
            cells: row.cells.iter().map(put).collect(),
        },
    };
    RowOp { write, ..op.clone() }
}

pub(super) fn key_of(number: u64) -> RowKey {
    let partition = Bytes::copy_from_slice(&number.to_be_bytes());
    RowKey { table: TableId(0), partition, clustering: Bytes::new() }
}

pub(super) fn number_of(key: &RowKey) -> u64 {
    key.partition.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

pub(super) fn shard_of(number: u64) -> ShardId {
    ShardId((number % u64::from(SHARDS)) as u16)
}
