//! The encodings of ids, rows and transactions: see [`super::pieces`].

use super::Discarded;
use super::codec::DecodeError;
use super::pieces::{Piece, Reader, Writer};
use crate::id::{
    Attempt, ColumnId, Epoch, Fingerprint, Nonce, Position, Sequence, ShardId, TableId, TxnId,
};
use crate::row::{Cell, Row, RowKey, RowMutation, RowVersion};
use crate::time::{Millis, Timestamp};
use crate::txn::{
    AbortReason, CellOp, CompareOp, Condition, ConditionKind, FoundValue, RowOp, Transaction,
    WriteOp,
};

macro_rules! numbers {
    ($($name:ident => varint,)*) => {$(
        impl Piece for $name {
            fn write(&self, out: &mut Writer<'_>) {
                out.varint(u64::from(self.0));
            }

            fn read(input: &mut Reader) -> Result<Self, DecodeError> {
                input.small().map(Self)
            }
        }
    )*};
    ($($name:ident => $method:ident as $inner:ty as $wire:ty,)*) => {$(
        impl Piece for $name {
            fn write(&self, out: &mut Writer<'_>) {
                out.$method(self.0 as $wire);
            }

            fn read(input: &mut Reader) -> Result<Self, DecodeError> {
                Ok(Self(input.$method()? as $inner))
            }
        }
    )*};
}

numbers! {
    ShardId => varint,
    TableId => varint,
    ColumnId => varint,
    Epoch => varint,
    Sequence => varint,
    Position => varint,
}

numbers! {
    Millis => fixed64 as u64 as u64,
    Timestamp => fixed64 as i64 as u64,
    TxnId => fixed128 as u128 as u128,
    Fingerprint => fixed128 as u128 as u128,
    Nonce => fixed128 as u128 as u128,
    RowVersion => fixed128 as u128 as u128,
}

/// Number, nonce.
impl Piece for Attempt {
    fn write(&self, out: &mut Writer<'_>) {
        out.varint(u64::from(self.number));
        out.piece(&self.nonce);
    }

    fn read(input: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self { number: input.small()?, nonce: input.piece()? })
    }
}

/// Table, partition, clustering.
impl Piece for RowKey {
    fn write(&self, out: &mut Writer<'_>) {
        out.piece(&self.table);
        out.bytes(&self.partition);
        out.bytes(&self.clustering);
    }

    fn read(input: &mut Reader) -> Result<Self, DecodeError> {
        let table = input.piece()?;
        Ok(Self { table, partition: input.bytes()?, clustering: input.bytes()? })
    }
}

/// Column, timestamp, optional value.
impl Piece for Cell {
    fn write(&self, out: &mut Writer<'_>) {
        out.piece(&self.column);
        out.piece(&self.timestamp);
        out.piece(&self.value);
    }

    fn read(input: &mut Reader) -> Result<Self, DecodeError> {
        let column = input.piece()?;
        Ok(Self { column, timestamp: input.piece()?, value: input.piece()? })
    }
}

/// Optional tombstone, optional marker, cells.
impl Piece for Row {
    fn write(&self, out: &mut Writer<'_>) {
        out.piece(&self.deleted_at);
        out.piece(&self.marker_at);
        out.list(&self.cells);
    }

    fn read(input: &mut Reader) -> Result<Self, DecodeError> {
        let deleted_at = input.piece()?;
        let marker_at = input.piece()?;
        Ok(Self { deleted_at, marker_at, cells: input.list()?, ..Self::default() })
    }
}

/// Key, row.
impl Piece for RowMutation {
    fn write(&self, out: &mut Writer<'_>) {
        out.piece(&self.key);
        out.piece(&self.delta);
    }

    fn read(input: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self { key: input.piece()?, delta: input.piece()? })
    }
}

/// Key, oldest and newest time.
impl Piece for Discarded {
    fn write(&self, out: &mut Writer<'_>) {
        out.piece(&self.key);
        out.piece(&self.from);
        out.piece(&self.until);
    }

    fn read(input: &mut Reader) -> Result<Self, DecodeError> {
        let key = input.piece()?;
        Ok(Self { key, from: input.piece()?, until: input.piece()? })
    }
}

/// Pinned by the numbers of [`CompareOp`] itself: 1 to 6.
impl Piece for CompareOp {
    fn write(&self, out: &mut Writer<'_>) {
        out.byte(*self as u8);
    }

    fn read(input: &mut Reader) -> Result<Self, DecodeError> {
        Ok(match input.byte()? {
            1 => Self::Eq,
            2 => Self::Ne,
            3 => Self::Lt,
            4 => Self::Le,
            5 => Self::Gt,
            6 => Self::Ge,
            _ => return Err(input.damaged("an unknown comparison")),
        })
    }
}

/// 1 exists, 2 not exists, 3 compare (column, op, optional value), 4 in (column, values), 5 version.
impl Piece for ConditionKind {
    fn write(&self, out: &mut Writer<'_>) {
        match self {
            Self::Exists => out.byte(1),
            Self::NotExists => out.byte(2),
            Self::Compare { column, op, value } => {
                out.byte(3);
                out.piece(column);
                out.piece(op);
                out.piece(value);
            }
            Self::In { column, values } => {
                out.byte(4);
                out.piece(column);
                out.list(values);
            }
            Self::Version(version) => {
                out.byte(5);
                out.piece(version);
            }
        }
    }

    fn read(input: &mut Reader) -> Result<Self, DecodeError> {
        Ok(match input.byte()? {
            1 => Self::Exists,
            2 => Self::NotExists,
            3 => {
                let column = input.piece()?;
                Self::Compare { column, op: input.piece()?, value: input.piece()? }
            }
            4 => Self::In { column: input.piece()?, values: input.list()? },
            5 => Self::Version(input.piece()?),
            _ => return Err(input.damaged("an unknown condition")),
        })
    }
}

/// Index, kind.
impl Piece for Condition {
    fn write(&self, out: &mut Writer<'_>) {
        out.varint(u64::from(self.index));
        out.piece(&self.kind);
    }

    fn read(input: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self { index: input.small()?, kind: input.piece()? })
    }
}

/// 1 put (column, value), 2 delete (column), 3 add (column, delta).
impl Piece for CellOp {
    fn write(&self, out: &mut Writer<'_>) {
        match self {
            Self::Put { column, value } => {
                out.byte(1);
                out.piece(column);
                out.bytes(value);
            }
            Self::Delete { column } => {
                out.byte(2);
                out.piece(column);
            }
            Self::Add { column, delta } => {
                out.byte(3);
                out.piece(column);
                out.bytes(delta);
            }
        }
    }

    fn read(input: &mut Reader) -> Result<Self, DecodeError> {
        Ok(match input.byte()? {
            1 => Self::Put { column: input.piece()?, value: input.bytes()? },
            2 => Self::Delete { column: input.piece()? },
            3 => Self::Add { column: input.piece()?, delta: input.bytes()? },
            _ => return Err(input.damaged("an unknown cell operation")),
        })
    }
}

/// 1 none, 2 delete the row, 3 cells, 4 cells with a row marker, 5 merge a row.
impl Piece for WriteOp {
    fn write(&self, out: &mut Writer<'_>) {
        match self {
            Self::None => out.byte(1),
            Self::DeleteRow => out.byte(2),
            Self::Cells { insert, cells } => {
                out.byte(if *insert { 4 } else { 3 });
                out.list(cells);
            }
            Self::Merge(row) => {
                out.byte(5);
                out.piece(row);
            }
        }
    }

    fn read(input: &mut Reader) -> Result<Self, DecodeError> {
        Ok(match input.byte()? {
            1 => Self::None,
            2 => Self::DeleteRow,
            3 => Self::Cells { insert: false, cells: input.list()? },
            4 => Self::Cells { insert: true, cells: input.list()? },
            5 => Self::Merge(input.piece()?),
            _ => return Err(input.damaged("an unknown write")),
        })
    }
}

/// Key, conditions, write.
impl Piece for RowOp {
    fn write(&self, out: &mut Writer<'_>) {
        out.piece(&self.key);
        out.list(&self.conditions);
        out.piece(&self.write);
    }

    fn read(input: &mut Reader) -> Result<Self, DecodeError> {
        let key = input.piece()?;
        Ok(Self { key, conditions: input.list()?, write: input.piece()? })
    }
}

/// Writes a part as if it had no conditions; it is read back as an ordinary `Part`.
pub fn write_part_without_conditions(part: &[RowOp], out: &mut Writer<'_>) {
    out.varint(part.len() as u64);
    for row in part {
        out.piece(&row.key);
        out.list::<Condition>(&[]);
        out.piece(&row.write);
    }
}

/// Id, fingerprint, namespace version, parts.
impl Piece for Transaction {
    fn write(&self, out: &mut Writer<'_>) {
        out.piece(&self.id);
        out.piece(&self.fingerprint);
        out.varint(u64::from(self.namespace_version));
        out.list(&self.parts);
    }

    fn read(input: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self {
            id: input.piece()?,
            fingerprint: input.piece()?,
            namespace_version: input.small()?,
            parts: input.list()?,
        })
    }
}

/// 1 row (exists, version), 2 column (optional value), 3 named column (column, optional value).
impl Piece for FoundValue {
    fn write(&self, out: &mut Writer<'_>) {
        match self {
            Self::Row { exists, version } => {
                out.byte(1);
                out.piece(exists);
                out.piece(version);
            }
            Self::Column { column, value } => {
                out.byte(2);
                out.piece(column);
                out.piece(value);
            }
        }
    }

    fn read(input: &mut Reader) -> Result<Self, DecodeError> {
        Ok(match input.byte()? {
            1 => Self::Row { exists: input.piece()?, version: input.piece()? },
            2 => Self::Column { column: input.piece()?, value: input.piece()? },
            _ => return Err(input.damaged("an unknown kind of found value")),
        })
    }
}

/// 1 condition failed (index, key, found), 2 overflow (key, column), 3 timestamp in future (key),
/// 4 schema (what), 5 fenced, 6 id reused.
impl Piece for AbortReason {
    fn write(&self, out: &mut Writer<'_>) {
        match self {
            Self::ConditionFailed { index, key, found } => {
                out.byte(1);
                out.varint(u64::from(*index));
                out.piece(key);
                out.piece(found);
            }
            Self::Overflow { key, column } => {
                out.byte(2);
                out.piece(key);
                out.piece(column);
            }
            Self::TimestampInFuture { key } => {
                out.byte(3);
                out.piece(key);
            }
            Self::Schema { what } => {
                out.byte(4);
                out.piece(what);
            }
            Self::Fenced => out.byte(5),
            Self::IdReused => out.byte(6),
        }
    }

    fn read(input: &mut Reader) -> Result<Self, DecodeError> {
        Ok(match input.byte()? {
            1 => {
                let index = input.small()?;
                Self::ConditionFailed { index, key: input.piece()?, found: input.piece()? }
            }
            2 => Self::Overflow { key: input.piece()?, column: input.piece()? },
            3 => Self::TimestampInFuture { key: input.piece()? },
            4 => Self::Schema { what: input.piece()? },
            5 => Self::Fenced,
            6 => Self::IdReused,
            _ => return Err(input.damaged("an unknown abort reason")),
        })
    }
}
