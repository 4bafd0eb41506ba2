//! What a message writes.

use wal_core::build::build_row;
use wal_core::json::{parse, parse_mutation};
use wal_core::namespace::Namespace;
use wal_core::txn::{CellOp, RowOp, WriteOp};
use wal_core::{Cell, Row, RowMutation, Timestamp};

use crate::outgoing::Outgoing;

/// The row that a message writes, or why it writes none.
pub(super) fn of(tables: &Namespace, outgoing: &Outgoing) -> Result<RowMutation, String> {
    let payload = std::str::from_utf8(&outgoing.message.payload)
        .map_err(|error| format!("the payload is not text: {error}"))?;
    let json = parse(payload).map_err(|error| format!("the payload: {error}"))?;
    let mutation = parse_mutation(tables, &json).map_err(|error| error.to_string())?;
    let RowOp { key, write, .. } =
        build_row(tables, mutation).map_err(|error| error.to_string())?;
    Ok(RowMutation { key, delta: delta(write, outgoing.timestamp)? })
}

/// What is written, at its time, as the tables of a namespace are given it.
fn delta(write: WriteOp, at: Timestamp) -> Result<Row, String> {
    let cell = |op| match op {
        CellOp::Put { column, value } => {
            Ok(Cell { column, timestamp: at.of_put(), value: Some(value) })
        }
        CellOp::Delete { column } => Ok(Cell { column, timestamp: at.of_delete(), value: None }),
        CellOp::Add { .. } => {
            Err("an add cannot be delivered, a repeat would add again: put what it comes to"
                .to_owned())
        }
    };
    match write {
        WriteOp::None => Ok(Row::default()),
        WriteOp::Merge(row) => Ok(row),
        WriteOp::DeleteRow => Ok(Row { deleted_at: Some(at.of_delete()), ..Row::default() }),
        WriteOp::Cells { insert, cells } => Ok(Row {
            marker_at: insert.then(|| at.of_put()),
            cells: cells.into_iter().map(cell).collect::<Result<_, _>>()?,
            ..Row::default()
        }),
    }
}
