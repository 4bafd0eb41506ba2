//! What transactions mean, said a second time and plainly: the serial model.

use std::cmp::Ordering;

use bytes::Bytes;
use wal_core::message::MESSAGES;
use wal_core::{
    Cell, CellOp, CompareOp, ConditionKind, Row, RowMutation, RowOp, Timestamp, Transaction,
    WriteOp,
};

use crate::truth::Committed;
use crate::workload::as_number;

/// Whether a condition holds of a row.
pub(crate) fn holds(kind: &ConditionKind, row: &Row) -> bool {
    match kind {
        ConditionKind::Exists => row.exists(),
        ConditionKind::NotExists => !row.exists(),
        ConditionKind::Version(version) => row.version() == *version,
        ConditionKind::In { column, values } => {
            row.get(*column).is_some_and(|found| values.contains(found))
        }
        ConditionKind::Compare { column, op, value } => {
            compares(row.get(*column), *op, value.as_ref())
        }
    }
}

fn compares(found: Option<&Bytes>, op: CompareOp, wanted: Option<&Bytes>) -> bool {
    let (Some(found), Some(wanted)) = (found, wanted) else {
        return match op {
            CompareOp::Eq => found.is_none() && wanted.is_none(),
            CompareOp::Ne => found.is_none() != wanted.is_none(),
            CompareOp::Lt | CompareOp::Le | CompareOp::Gt | CompareOp::Ge => false,
        };
    };
    let order = as_number(found).cmp(&as_number(wanted));
    match op {
        CompareOp::Eq => order == Ordering::Equal,
        CompareOp::Ne => order != Ordering::Equal,
        CompareOp::Lt => order == Ordering::Less,
        CompareOp::Le => order != Ordering::Greater,
        CompareOp::Gt => order == Ordering::Greater,
        CompareOp::Ge => order != Ordering::Less,
    }
}

/// What an add comes to; `None` if it leaves the range of its type.
pub(crate) fn sum(row: &Row, op: &CellOp) -> Option<i64> {
    let CellOp::Add { column, delta } = op else { return None };
    let before = row.get(*column).map_or(0, |value| as_number(value));
    before.checked_add(as_number(delta))
}

/// The adds of a row operation.
pub(crate) fn adds(op: &RowOp) -> impl Iterator<Item = &CellOp> {
    let cells = match &op.write {
        WriteOp::Cells { cells, .. } => cells.as_slice(),
        WriteOp::None | WriteOp::DeleteRow | WriteOp::Merge(_) => &[],
    };
    cells.iter().filter(|cell| matches!(cell, CellOp::Add { .. }))
}

/// What an operation does to its row at a timestamp, with these results of its adds.
pub(crate) fn delta(op: &RowOp, at: Timestamp, adds: &mut impl Iterator<Item = Bytes>) -> Row {
    match &op.write {
        WriteOp::None => Row::default(),
        WriteOp::DeleteRow => Row { deleted_at: Some(at.of_delete()), ..Row::default() },
        WriteOp::Merge(row) => row.clone(),
        WriteOp::Cells { insert, cells } => Row {
            deleted_at: None,
            marker_at: insert.then_some(at.of_put()),
            cells: cells
                .iter()
                .map(|cell| {
                    let value = match cell {
                        CellOp::Put { value, .. } => Some(value.clone()),
                        CellOp::Delete { .. } => None,
                        CellOp::Add { .. } => adds.next(),
                    };
                    let timestamp = if value.is_some() { at.of_put() } else { at.of_delete() };
                    Cell { column: cell.column(), timestamp, value }
                })
                .collect(),
            ..Row::default()
        },
    }
}

/// What a committed transaction does to each row that it writes.
pub(crate) fn mutations_of(txn: &Transaction, committed: &Committed) -> Vec<RowMutation> {
    let mut mutations = Vec::new();
    for (shard, part) in &txn.parts {
        let logged = committed.adds.iter().find(|(of, _)| of == shard);
        let mut adds = logged.map(|(_, adds)| adds.clone()).unwrap_or_default().into_iter();
        let written = |op: &&RowOp| !op.is_read_only() && op.key.table != MESSAGES;
        for op in part.iter().filter(written) {
            let delta = delta(op, committed.timestamp, &mut adds);
            mutations.push(RowMutation { key: op.key.clone(), delta });
        }
    }
    mutations
}
