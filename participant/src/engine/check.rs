//! Conditions, adds and what a committed part does to its rows: pure functions on rows.

use std::cmp::Ordering;

use bytes::Bytes;
use wal_core::message::MESSAGES;
use wal_core::value::{self, ColumnType};
use wal_core::{
    AbortReason, Cell, CellOp, CompareOp, ConditionKind, FoundValue, Row, RowMutation, RowOp,
    Timestamp, WriteOp,
};

use super::schema::EngineSchema;

/// Checks that what is asked of a row may be asked in this region.
pub(super) fn home(schema: &EngineSchema, op: &RowOp) -> Result<(), Box<AbortReason>> {
    if matches!(op.write, WriteOp::None | WriteOp::Merge(_)) && op.conditions.is_empty() {
        return Ok(());
    }
    schema.home_elsewhere(op.key.table).map_or(Ok(()), |home| {
        let what = format!("table {} is written in region {home:?} now", op.key.table);
        Err(Box::new(AbortReason::Schema { what }))
    })
}

/// Checks every condition of `op` on `row`.
pub(super) fn conditions(
    schema: &EngineSchema,
    op: &RowOp,
    row: &Row,
) -> Result<(), Box<AbortReason>> {
    for condition in &op.conditions {
        let holds = match &condition.kind {
            ConditionKind::Exists => row.exists(),
            ConditionKind::NotExists => !row.exists(),
            ConditionKind::Version(version) => row.version() == *version,
            ConditionKind::Compare { column, op: compare, value } => {
                let ty = column_type(schema, op, *column)?;
                holds(ty, *compare, row.get(*column), value.as_ref())
            }
            ConditionKind::In { column, values } => {
                let ty = column_type(schema, op, *column)?;
                values.iter().any(|v| holds(ty, CompareOp::Eq, row.get(*column), Some(v)))
            }
        };
        if !holds {
            return Err(Box::new(AbortReason::ConditionFailed {
                index: condition.index,
                key: op.key.clone(),
                found: found(&condition.kind, row),
            }));
        }
    }
    Ok(())
}

fn found(kind: &ConditionKind, row: &Row) -> FoundValue {
    match kind {
        ConditionKind::Exists | ConditionKind::NotExists | ConditionKind::Version(_) => {
            FoundValue::Row { exists: row.exists(), version: row.version() }
        }
        ConditionKind::Compare { column, .. } | ConditionKind::In { column, .. } => {
            FoundValue::Column { column: *column, value: row.get(*column).cloned() }
        }
    }
}

/// A null equals null, differs from every value, and is neither less nor greater than anything.
fn holds(ty: ColumnType, op: CompareOp, found: Option<&Bytes>, wanted: Option<&Bytes>) -> bool {
    match (found, wanted) {
        (Some(found), Some(wanted)) => {
            let ordering = value::compare(ty, found, wanted);
            match op {
                CompareOp::Eq => ordering == Ordering::Equal,
                CompareOp::Ne => ordering != Ordering::Equal,
                CompareOp::Lt => ordering == Ordering::Less,
                CompareOp::Le => ordering != Ordering::Greater,
                CompareOp::Gt => ordering == Ordering::Greater,
                CompareOp::Ge => ordering != Ordering::Less,
            }
        }
        (None, None) => op == CompareOp::Eq,
        (Some(_), None) | (None, Some(_)) => op == CompareOp::Ne,
    }
}

/// Computes the adds of `op`, appending their results.
pub(super) fn adds(
    schema: &EngineSchema,
    op: &RowOp,
    row: &Row,
    results: &mut Vec<Bytes>,
) -> Result<(), Box<AbortReason>> {
    let WriteOp::Cells { cells, .. } = &op.write else { return Ok(()) };
    for cell in cells {
        let CellOp::Add { column, delta } = cell else { continue };
        let ty = column_type(schema, op, *column)?;
        let current = row.get(*column).map(Bytes::as_ref);
        let sum = value::add(ty, current, delta).map_err(|_| {
            Box::new(AbortReason::Overflow { key: op.key.clone(), column: *column })
        })?;
        results.push(sum);
    }
    Ok(())
}

fn column_type(
    schema: &EngineSchema,
    op: &RowOp,
    column: wal_core::ColumnId,
) -> Result<ColumnType, Box<AbortReason>> {
    schema.column(op.key.table, column).ok_or_else(|| {
        let what = format!("table {} has no column {}", op.key.table, column);
        Box::new(AbortReason::Schema { what })
    })
}

/// What a committed part does to its rows: messages are none of them. `adds` are the results of its adds, in
/// order.
pub(crate) fn mutations<'a>(
    part: impl IntoIterator<Item = &'a RowOp, IntoIter: 'a>,
    timestamp: Timestamp,
    adds: &'a [Bytes],
) -> impl Iterator<Item = RowMutation> + 'a {
    let mut adds = adds.iter();
    let written = |op: &&RowOp| !op.is_read_only() && op.key.table != MESSAGES;
    part.into_iter().filter(written).map(move |op| RowMutation {
        key: op.key.clone(),
        delta: delta(&op.write, timestamp, &mut adds),
    })
}

fn delta(write: &WriteOp, timestamp: Timestamp, adds: &mut std::slice::Iter<'_, Bytes>) -> Row {
    match write {
        WriteOp::None => Row::default(),
        WriteOp::DeleteRow => Row { deleted_at: Some(timestamp.of_delete()), ..Row::default() },
        WriteOp::Merge(row) => row.clone(),
        WriteOp::Cells { insert, cells } => Row {
            deleted_at: None,
            marker_at: insert.then(|| timestamp.of_put()),
            cells: cells.iter().map(|cell| cell_at(cell, timestamp, adds)).collect(),
            ..Row::default()
        },
    }
}

fn cell_at(op: &CellOp, timestamp: Timestamp, adds: &mut std::slice::Iter<'_, Bytes>) -> Cell {
    let (column, value) = match op {
        CellOp::Put { column, value } => (*column, Some(value.clone())),
        CellOp::Delete { column } => (*column, None),
        CellOp::Add { column, .. } => {
            let sum = adds.next().expect("the record holds one result for each add");
            (*column, Some(sum.clone()))
        }
    };
    let timestamp = if value.is_some() { timestamp.of_put() } else { timestamp.of_delete() };
    Cell { column, timestamp, value }
}

#[cfg(test)]
mod tests;
