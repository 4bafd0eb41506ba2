//! One mutation or condition on its way to its row: values become bytes next to the row's key.

use bytes::Bytes;
use smallvec::SmallVec;

use super::key::row_key;
use super::{Columns, Place, Problems};
use crate::id::{ColumnId, ShardId};
use crate::problem::Step;
use crate::row::RowKey;
use crate::schema::{Column, ColumnKind, Table};
use crate::token::Token;
use crate::txn::{CellOp, CompareOp, ConditionKind};
use crate::value::{ColumnType, Value, WrongType};

/// Bytes that a row, condition or cell counts for beside its keys and values, so that a million empty
/// ones are not free.
const ITEM_BYTES: usize = 8;
/// Blobs of this size are kept where they are instead of copied next to their row's key.
const SHARED_BLOB_BYTES: usize = 1024;

/// What an entry does to its row.
#[derive(Debug)]
pub(super) enum Piece {
    Check(ConditionKind),
    DeleteRow,
    Cells { insert: bool, cells: Vec<CellOp> },
}

/// A mutation or condition with the full name of its row.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) shard: ShardId,
    pub(super) key: RowKey,
    pub(super) place: Place,
    pub(super) piece: Piece,
}

/// A value on its way into a row's buffer: copied to a range of it, or kept as it is.
enum Placed {
    At(std::ops::Range<usize>),
    Kept(Bytes),
}

/// What a mutation does to a cell, before its bytes have their final place.
enum Op {
    Put(Placed),
    Delete,
    Add(Placed),
}

impl Entry {
    /// What the entry counts for against the limit of bytes.
    pub(super) fn size_bytes(&self) -> usize {
        let inside = match &self.piece {
            Piece::DeleteRow => 0,
            Piece::Check(ConditionKind::Compare { value, .. }) => {
                value.as_ref().map_or(0, Bytes::len)
            }
            Piece::Check(ConditionKind::In { values, .. }) => {
                values.iter().map(|value| ITEM_BYTES + value.len()).sum()
            }
            Piece::Check(
                ConditionKind::Exists | ConditionKind::NotExists | ConditionKind::Version(_),
            ) => 0,
            Piece::Cells { cells, .. } => cells.iter().map(cell_bytes).sum(),
        };
        2 * ITEM_BYTES + self.key.size_bytes() + inside
    }
}

pub(super) fn cell_bytes(cell: &CellOp) -> usize {
    ITEM_BYTES
        + match cell {
            CellOp::Put { value, .. } => value.len(),
            CellOp::Add { delta, .. } => delta.len(),
            CellOp::Delete { .. } => 0,
        }
}

/// How the columns of a mutation are written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Put,
    Insert,
    Add,
}

/// A row whose key is at the start of the buffer, its values being appended.
pub(super) struct OpenRow<'a> {
    pub(super) table: &'a Table,
    pub(super) shards: u16,
    pub(super) place: Place,
    /// Where the partition key and the clustering key end.
    pub(super) split: (usize, usize),
    pub(super) scratch: &'a mut Vec<u8>,
}

type Cells = SmallVec<[(ColumnId, Op); 8]>;

impl<'a> OpenRow<'a> {
    /// A column that is not part of the key.
    fn regular(&self, name: &str, below: &str, problems: &mut Problems) -> Option<&'a Column> {
        match self.table.find_column(name) {
            Some(column) if column.kind == ColumnKind::Regular => Some(column),
            Some(_) => {
                let message = "this column is part of the primary key: it is fixed by the key";
                problems.add(self.place, format!("{below}{}", Step(name)), message);
                None
            }
            None => {
                let unknown = self.table.column_named(name).expect_err("it was not found");
                problems.add(self.place, format!("{below}{}", Step(name)), unknown);
                None
            }
        }
    }

    /// Appends a value in its column's form.
    fn place_value(&mut self, ty: ColumnType, value: &Value) -> Result<Placed, WrongType> {
        match value {
            Value::Blob(bytes) if ty == ColumnType::Blob && bytes.len() >= SHARED_BLOB_BYTES => {
                Ok(Placed::Kept(bytes.clone()))
            }
            _ => {
                let start = self.scratch.len();
                value.encode_as(ty, self.scratch)?;
                Ok(Placed::At(start..self.scratch.len()))
            }
        }
    }

    pub(super) fn cells(
        &mut self,
        columns: &Columns,
        kind: Kind,
        problems: &mut Problems,
    ) -> Option<Piece> {
        if columns.is_empty() && kind != Kind::Insert {
            problems.add(self.place, ".columns", "nothing is written: name a column");
            return None;
        }
        let mut cells = Cells::new();
        for (name, value) in columns {
            if problems.full() {
                return None;
            }
            let Some(column) = self.regular(name, ".columns", problems) else { continue };
            let op = match (value, kind) {
                (None, Kind::Put | Kind::Insert) => Op::Delete,
                (None, Kind::Add) => {
                    let message = "null cannot be added: leave the column out";
                    problems.add(self.place, format!(".columns{}", Step(name)), message);
                    continue;
                }
                (Some(_), Kind::Add) if !column.ty.is_number() => {
                    let message = format!("cannot add to a {}: only to numbers", column.ty);
                    problems.add(self.place, format!(".columns{}", Step(name)), message);
                    continue;
                }
                (Some(value), _) => match self.place_value(column.ty, value) {
                    Ok(placed) if kind == Kind::Add => Op::Add(placed),
                    Ok(placed) => Op::Put(placed),
                    Err(error) => {
                        problems.add(self.place, format!(".columns{}", Step(name)), error);
                        continue;
                    }
                },
            };
            cells.push((column.id, op));
        }
        self.piece(kind == Kind::Insert, cells, problems)
    }

    pub(super) fn deletes(&mut self, names: &[String], problems: &mut Problems) -> Option<Piece> {
        if names.is_empty() {
            let message = "no column is named: leave `columns` out to delete the row";
            problems.add(self.place, ".columns", message);
            return None;
        }
        let mut cells = Cells::new();
        for name in names {
            if problems.full() {
                return None;
            }
            if let Some(column) = self.regular(name, ".columns", problems) {
                cells.push((column.id, Op::Delete));
            }
        }
        self.piece(false, cells, problems)
    }

    /// Sorts the cells and gives their bytes the final place.
    fn piece(&mut self, insert: bool, mut cells: Cells, problems: &mut Problems) -> Option<Piece> {
        cells.sort_by_key(|(column, _)| *column);
        for pair in cells.windows(2) {
            if pair[0].0 == pair[1].0 {
                let name = self.table.column(pair[0].0).map_or("", |column| column.name.as_str());
                problems.add(
                    self.place,
                    format!(".columns{}", Step(name)),
                    "the column is named twice",
                );
                return None;
            }
        }
        let bytes = Bytes::copy_from_slice(&self.scratch[self.split.1..]);
        let start = self.split.1;
        let taken = |placed: Placed| match placed {
            Placed::At(range) => bytes.slice(range.start - start..range.end - start),
            Placed::Kept(bytes) => bytes,
        };
        let cells = cells.into_iter().map(|(column, op)| match op {
            Op::Put(placed) => CellOp::Put { column, value: taken(placed) },
            Op::Add(placed) => CellOp::Add { column, delta: taken(placed) },
            Op::Delete => CellOp::Delete { column },
        });
        Some(Piece::Cells { insert, cells: cells.collect() })
    }

    pub(super) fn compare(
        &mut self,
        name: &str,
        op: CompareOp,
        value: Option<&Value>,
        problems: &mut Problems,
    ) -> Option<ConditionKind> {
        let column = self.regular(name, "", problems)?;
        let Some(value) = value else {
            if !matches!(op, CompareOp::Eq | CompareOp::Ne) {
                problems.add(self.place, ".value", "null compares with = and != only");
                return None;
            }
            return Some(ConditionKind::Compare { column: column.id, op, value: None });
        };
        let value = self.value(column, value, ".value", problems)?;
        Some(ConditionKind::Compare { column: column.id, op, value: Some(value) })
    }

    pub(super) fn is_in(
        &mut self,
        name: &str,
        values: &[Option<Value>],
        problems: &mut Problems,
    ) -> Option<ConditionKind> {
        let column = self.regular(name, "", problems)?;
        if values.is_empty() {
            problems.add(self.place, ".in", "no value is named: the condition could never hold");
            return None;
        }
        let mut found = Vec::with_capacity(values.len().min(64));
        for (index, value) in values.iter().enumerate() {
            if problems.full() {
                return None;
            }
            let below = format!(".in[{index}]");
            match value {
                Some(value) => found.extend(self.value(column, value, &below, problems)),
                None => problems.add(self.place, below, "null is never in a list: compare with ="),
            }
        }
        Some(ConditionKind::In { column: column.id, values: found })
    }

    fn value(
        &mut self,
        column: &Column,
        value: &Value,
        below: &str,
        problems: &mut Problems,
    ) -> Option<Bytes> {
        match self.place_value(column.ty, value) {
            Ok(Placed::Kept(bytes)) => Some(bytes),
            Ok(Placed::At(range)) => Some(Bytes::copy_from_slice(&self.scratch[range])),
            Err(error) => {
                problems.add(self.place, below, error);
                None
            }
        }
    }

    pub(super) fn entry(self, piece: Piece) -> Entry {
        let key = row_key(self.table, self.scratch, self.split);
        let shard = Token::of(&key.partition).shard(self.shards);
        Entry { shard, key, place: self.place, piece }
    }
}
