//! A transaction after validation: typed, hashed, routed; what the engines and records carry.

use std::sync::Arc;

use bytes::Bytes;

use crate::id::{ColumnId, Fingerprint, ShardId, TxnId};
use crate::row::{Row, RowKey, RowVersion};

/// How a condition compares a column with a value. A null column satisfies only [`CompareOp::Ne`]
/// with a value and [`CompareOp::Eq`] with null.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum CompareOp {
    /// Equal.
    Eq = 1,
    /// Not equal.
    Ne = 2,
    /// Less.
    Lt = 3,
    /// Less or equal.
    Le = 4,
    /// Greater.
    Gt = 5,
    /// Greater or equal.
    Ge = 6,
}

/// What must hold of a row for the transaction to commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConditionKind {
    /// The row exists.
    Exists,
    /// The row does not exist.
    NotExists,
    /// A column compares with a value (`None` is null, only with `Eq` and `Ne`).
    Compare {
        /// Which column.
        column: ColumnId,
        /// How.
        op: CompareOp,
        /// With what, in CQL's binary form.
        value: Option<Bytes>,
    },
    /// A column equals one of the values.
    In {
        /// Which column.
        column: ColumnId,
        /// The values, in CQL's binary form.
        values: Vec<Bytes>,
    },
    /// The row's version is this one.
    Version(RowVersion),
}

/// A condition and where it stood in the client's request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Index into the request's list of conditions, for the answer.
    pub index: u32,
    /// What must hold.
    pub kind: ConditionKind,
}

/// What a transaction does to one cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CellOp {
    /// Writes a value.
    Put {
        /// Which column.
        column: ColumnId,
        /// The value in CQL's binary form.
        value: Bytes,
    },
    /// Writes a tombstone.
    Delete {
        /// Which column.
        column: ColumnId,
    },
    /// Adds to a number, null counting as zero; computed under the lock, logged as its result.
    Add {
        /// Which column.
        column: ColumnId,
        /// What to add, in the column's own type.
        delta: Bytes,
    },
}

impl CellOp {
    /// The column that the operation writes.
    pub const fn column(&self) -> ColumnId {
        match self {
            Self::Put { column, .. } | Self::Delete { column } | Self::Add { column, .. } => {
                *column
            }
        }
    }
}

/// What a transaction writes to one row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum WriteOp {
    /// Nothing: the row is only read (its conditions are checked, and it is locked shared).
    #[default]
    None,
    /// Deletes the row.
    DeleteRow,
    /// Writes cells, each column at most once, sorted by column.
    Cells {
        /// Also write the row marker, as CQL's `INSERT` does.
        insert: bool,
        /// The cells.
        cells: Vec<CellOp>,
    },
    /// Merges what was written in another region, with the write times that it has there.
    Merge(Row),
}

/// Everything a transaction asks of one row. One per row: conditions are checked before any write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowOp {
    /// Which row.
    pub key: RowKey,
    /// What must hold.
    pub conditions: Vec<Condition>,
    /// What is written.
    pub write: WriteOp,
}

impl RowOp {
    /// Whether the row's current content must be known before the transaction can be decided.
    pub fn needs_row(&self) -> bool {
        !self.conditions.is_empty()
            || matches!(&self.write, WriteOp::Cells { cells, .. }
            if cells.iter().any(|cell| matches!(cell, CellOp::Add { .. })))
    }

    /// Whether the row is only read.
    pub const fn is_read_only(&self) -> bool {
        matches!(self.write, WriteOp::None)
    }
}

/// The share of one transaction that one shard holds: its rows, sorted by key.
pub type Part = Vec<RowOp>;

/// A whole validated transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// The client's id.
    pub id: TxnId,
    /// The hash of its canonical content.
    pub fingerprint: Fingerprint,
    /// The version of the namespace under which it was validated.
    pub namespace_version: u32,
    /// Its parts, sorted by shard, none empty.
    pub parts: Vec<(ShardId, Arc<Part>)>,
}

impl Transaction {
    /// The shards that take part, in order.
    pub fn participants(&self) -> impl ExactSizeIterator<Item = ShardId> + '_ {
        self.parts.iter().map(|(shard, _)| *shard)
    }

    /// The shard that holds the intent and drives the transaction if its coordinator dies.
    pub fn home(&self) -> ShardId {
        self.parts[self.id.home_index(self.parts.len())].0
    }

    /// The part of one shard.
    pub fn part(&self, shard: ShardId) -> Option<&Arc<Part>> {
        let index = self.parts.binary_search_by_key(&shard, |(shard, _)| *shard).ok()?;
        Some(&self.parts[index].1)
    }
}

/// The value that a failed condition found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FoundValue {
    /// Whether the row existed, for conditions on the row.
    Row {
        /// Whether it existed.
        exists: bool,
        /// Its version.
        version: RowVersion,
    },
    /// A column and its value: with the column, whoever asks for the outcome later can be told its name
    /// and type without the transaction at hand.
    Column {
        /// Which column.
        column: ColumnId,
        /// Its value in CQL's binary form; `None` is null.
        value: Option<Bytes>,
    },
}

/// Why a transaction was closed: final, and the same for everybody who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AbortReason {
    /// A condition did not hold.
    ConditionFailed {
        /// Index into the request's conditions.
        index: u32,
        /// The row.
        key: RowKey,
        /// What was found.
        found: FoundValue,
    },
    /// An `add` left the range of its type.
    Overflow {
        /// The row.
        key: RowKey,
        /// The column.
        column: ColumnId,
    },
    /// A row holds a write time beyond the clock and the drift limit: no later write could win.
    TimestampInFuture {
        /// The row.
        key: RowKey,
    },
    /// The namespace no longer has the table or column, or its type changed.
    Schema {
        /// Which, in words.
        what: String,
    },
    /// Somebody asked that it never commit.
    Fenced,
    /// The id was already used for other content.
    IdReused,
}
