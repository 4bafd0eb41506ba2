//! The canonical encoding of a transaction's content, and its hash.
//!
//! This encoding is hashed, never stored or read. It is pinned all the same: a client's retry may
//! reach a server of another version, and must be recognised there.

use super::Parts;
use crate::id::Fingerprint;
use crate::row::Row;
use crate::txn::{CellOp, Condition, ConditionKind, RowOp, WriteOp};

/// Tells this encoding from any other; its last byte is the version.
const DOMAIN: &[u8] = b"handfast transaction\x01";

pub(super) fn of(parts: &Parts) -> Fingerprint {
    let mut out = Vec::with_capacity(512);
    out.extend_from_slice(DOMAIN);
    for row in parts.iter().flat_map(|(_, part)| part.iter()) {
        encode_row(row, &mut out);
    }
    let hash = blake3::hash(&out);
    let (first, _) = hash.as_bytes().split_first_chunk::<16>().expect("a hash has 32 bytes");
    Fingerprint(u128::from_be_bytes(*first))
}

fn encode_row(row: &RowOp, out: &mut Vec<u8>) {
    number(u64::from(row.key.table.0), out);
    bytes(&row.key.partition, out);
    bytes(&row.key.clustering, out);
    number(row.conditions.len() as u64, out);
    for condition in &row.conditions {
        encode_condition(condition, out);
    }
    match &row.write {
        WriteOp::None => out.push(0),
        WriteOp::DeleteRow => out.push(1),
        WriteOp::Cells { insert, cells } => {
            out.push(if *insert { 3 } else { 2 });
            number(cells.len() as u64, out);
            for cell in cells {
                encode_cell(cell, out);
            }
        }
        WriteOp::Merge(row) => {
            out.push(4);
            encode_row_state(row, out);
        }
    }
}

fn encode_row_state(row: &Row, out: &mut Vec<u8>) {
    for at in [row.deleted_at, row.marker_at] {
        out.push(u8::from(at.is_some()));
        number(at.unwrap_or_default().0 as u64, out);
    }
    number(row.cells.len() as u64, out);
    for cell in &row.cells {
        number(u64::from(cell.column.0), out);
        number(cell.timestamp.0 as u64, out);
        out.push(u8::from(cell.value.is_some()));
        bytes(cell.value.as_deref().unwrap_or_default(), out);
    }
}

fn encode_cell(cell: &CellOp, out: &mut Vec<u8>) {
    number(u64::from(cell.column().0), out);
    match cell {
        CellOp::Put { value, .. } => {
            out.push(0);
            bytes(value, out);
        }
        CellOp::Delete { .. } => out.push(1),
        CellOp::Add { delta, .. } => {
            out.push(2);
            bytes(delta, out);
        }
    }
}

fn encode_condition(condition: &Condition, out: &mut Vec<u8>) {
    number(u64::from(condition.index), out);
    match &condition.kind {
        ConditionKind::Exists => out.push(0),
        ConditionKind::NotExists => out.push(1),
        ConditionKind::Compare { column, op, value } => {
            out.push(2);
            number(u64::from(column.0), out);
            out.push(*op as u8);
            match value {
                None => out.push(0),
                Some(value) => {
                    out.push(1);
                    bytes(value, out);
                }
            }
        }
        ConditionKind::In { column, values } => {
            out.push(3);
            number(u64::from(column.0), out);
            number(values.len() as u64, out);
            for value in values {
                bytes(value, out);
            }
        }
        ConditionKind::Version(version) => {
            out.push(4);
            out.extend_from_slice(&version.0.to_be_bytes());
        }
    }
}

fn number(value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(&value.to_be_bytes());
}

fn bytes(value: &[u8], out: &mut Vec<u8>) {
    number(value.len() as u64, out);
    out.extend_from_slice(value);
}
