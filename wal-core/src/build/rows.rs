//! The rows of a transaction while it is being built.
//!
//! Every mutation and condition becomes one entry with its row's key. Sorting the entries by shard and
//! key brings those of one row together, and folding neighbours gives the parts.

use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use super::{Batch, Check, Columns, Mutation, Parts, Place, Problems, RowCondition, Write};
use crate::id::{ColumnId, ShardId};
use crate::namespace::{Limits, Namespace};
use crate::problem::Step;
use crate::row::RowKey;
use crate::schema::{Column, ColumnKind, KeyError, Table};
use crate::token::Token;
use crate::txn::{CellOp, CompareOp, Condition, ConditionKind, RowOp, WriteOp};
use crate::value::{ColumnType, Value};

/// Bytes that a row, condition or cell counts for beside its keys and values, so that a million empty
/// ones are not free.
const ITEM_BYTES: usize = 8;
/// Blobs of this size are kept where they are instead of copied next to their row's key.
const SHARED_BLOB_BYTES: usize = 1024;

/// What an entry does to its row.
#[derive(Debug)]
enum Piece {
    Check(ConditionKind),
    DeleteRow,
    Cells { insert: bool, cells: Vec<CellOp> },
}

#[derive(Debug)]
struct Entry {
    shard: ShardId,
    key: RowKey,
    place: Place,
    piece: Piece,
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

pub(super) struct Rows<'a> {
    namespace: &'a Namespace,
    entries: Vec<Entry>,
    /// Bytes of keys and values so far.
    bytes: usize,
    /// Reused for every row.
    scratch: Vec<u8>,
}

impl<'a> Rows<'a> {
    pub(super) fn new(namespace: &'a Namespace, batch: &Batch, problems: &mut Problems) -> Self {
        if batch.mutations.is_empty() && batch.conditions.is_empty() {
            problems.add(
                Place::Alone,
                "",
                "the transaction is empty: name a mutation or a condition",
            );
        }
        let count = batch.mutations.len() + batch.conditions.len();
        // Reserves no more than a transaction may have: the rest is refused anyway.
        let limits = namespace.limits();
        let most = limits.rows_per_transaction + limits.conditions_per_transaction;
        let entries = Vec::with_capacity(count.min(most as usize));
        Self { namespace, entries, bytes: 0, scratch: Vec::with_capacity(128) }
    }

    pub(super) fn mutation(&mut self, index: usize, mutation: &Mutation, problems: &mut Problems) {
        let place = Place::mutation(index);
        let Some(mut row) = self.start(&mutation.table, &mutation.key, place, problems) else {
            return;
        };
        let piece = match &mutation.write {
            Write::DeleteRow => Some(Piece::DeleteRow),
            Write::Put(columns) => row.cells(columns, Kind::Put, problems),
            Write::Insert(columns) => row.cells(columns, Kind::Insert, problems),
            Write::Add(columns) => row.cells(columns, Kind::Add, problems),
            Write::DeleteColumns(names) => row.deletes(names, problems),
        };
        let entry = piece.map(|piece| row.entry(piece));
        self.push(entry, problems);
    }

    pub(super) fn condition(
        &mut self,
        index: usize,
        condition: &RowCondition,
        problems: &mut Problems,
    ) {
        let place = Place::condition(index);
        let Some(mut row) = self.start(&condition.table, &condition.key, place, problems) else {
            return;
        };
        let check = match &condition.check {
            Check::Exists => Some(ConditionKind::Exists),
            Check::NotExists => Some(ConditionKind::NotExists),
            Check::Version(version) => Some(ConditionKind::Version(*version)),
            Check::Compare { column, op, value } => {
                row.compare(column, *op, value.as_ref(), problems)
            }
            Check::In { column, values } => row.is_in(column, values, problems),
        };
        let entry = check.map(|check| row.entry(Piece::Check(check)));
        self.push(entry, problems);
    }

    /// The row that a mutation or condition names, unless there is nothing more to learn.
    fn start<'b>(
        &'b mut self,
        table: &str,
        columns: &Columns,
        place: Place,
        problems: &mut Problems,
    ) -> Option<OpenRow<'b>> {
        if problems.full() {
            return None;
        }
        self.scratch.clear();
        let (table, split) =
            encode_key(self.namespace, table, columns, place, &mut self.scratch, problems)?;
        let shards = self.namespace.shards();
        Some(OpenRow { table, shards, place, split, scratch: &mut self.scratch })
    }

    fn push(&mut self, entry: Option<Entry>, problems: &mut Problems) {
        let Some(entry) = entry else { return };
        let most = self.namespace.limits().bytes_per_transaction as usize;
        let before = self.bytes;
        self.bytes += entry.size_bytes();
        if before <= most && self.bytes > most {
            let message = format!("the transaction has more than {most} bytes: split it");
            problems.add(entry.place, "", message);
        }
        // Beyond the limit nothing is kept: it is only checked.
        if self.bytes <= most {
            self.entries.push(entry);
        }
    }

    /// Sorts and folds everything.
    pub(super) fn into_parts(self, problems: &mut Problems) -> Parts {
        let Self { namespace, mut entries, .. } = self;
        if entries.len() > 1 {
            entries.sort_unstable_by(|a, b| {
                (a.shard, &a.key, a.place).cmp(&(b.shard, &b.key, b.place))
            });
        }
        let conditions = entries.iter().filter(|e| matches!(e.piece, Piece::Check(_))).count();
        let mut parts: Vec<(ShardId, Vec<RowOp>)> = Vec::new();
        let mut rows = 0;
        for Entry { shard, key, place, piece } in entries {
            if parts.last().is_none_or(|(last, _)| *last != shard) {
                parts.push((shard, Vec::new()));
            }
            let part = &mut parts.last_mut().expect("one was pushed").1;
            if part.last().is_none_or(|row| row.key != key) {
                rows += 1;
                part.push(RowOp { key, conditions: Vec::new(), write: WriteOp::None });
            }
            let row = part.last_mut().expect("one was pushed");
            fold(row, place, piece, namespace, problems);
        }
        check_limits(namespace.limits(), rows, conditions, parts.len(), problems);
        parts.into_iter().map(|(shard, part)| (shard, Arc::new(part))).collect()
    }
}

fn check_limits(
    limits: &Limits,
    rows: usize,
    conditions: usize,
    shards: usize,
    problems: &mut Problems,
) {
    for (what, count, most) in [
        ("rows", rows, limits.rows_per_transaction),
        ("conditions", conditions, limits.conditions_per_transaction),
        ("shards", shards, limits.shards_per_transaction),
    ] {
        if count as u64 > most {
            let message = format!("the transaction has {count} {what}, at most {most} are allowed");
            problems.add(Place::Alone, "", message);
        }
    }
}

/// Adds one entry to its row.
fn fold(
    row: &mut RowOp,
    place: Place,
    piece: Piece,
    namespace: &Namespace,
    problems: &mut Problems,
) {
    match (piece, &mut row.write) {
        (Piece::Check(kind), _) => {
            let Place::Condition(index) = place else {
                unreachable!("only conditions are checks");
            };
            row.conditions.push(Condition { index, kind });
        }
        (Piece::DeleteRow, write @ WriteOp::None) => *write = WriteOp::DeleteRow,
        (Piece::Cells { insert, cells }, write @ WriteOp::None) => {
            *write = WriteOp::Cells { insert, cells };
        }
        (Piece::DeleteRow, WriteOp::DeleteRow) => {
            problems.add(place, "", "the row is deleted twice in one transaction");
        }
        (Piece::DeleteRow, WriteOp::Cells { .. }) | (Piece::Cells { .. }, WriteOp::DeleteRow) => {
            problems.add(place, "", "the row is both deleted and written in one transaction");
        }
        (Piece::Cells { insert, cells: more }, WriteOp::Cells { insert: inserted, cells }) => {
            *inserted |= insert;
            for cell in more {
                match cells.binary_search_by_key(&cell.column(), CellOp::column) {
                    Err(index) => cells.insert(index, cell),
                    Ok(_) => {
                        let column = namespace
                            .table(row.key.table)
                            .and_then(|table| table.column(cell.column()))
                            .map_or("", |column| column.name.as_str());
                        let below = format_args!(".columns{}", Step(column)).to_string();
                        problems.add(place, below, "another mutation writes this column too");
                    }
                }
            }
        }
    }
}

impl Entry {
    fn size_bytes(&self) -> usize {
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

fn cell_bytes(cell: &CellOp) -> usize {
    ITEM_BYTES
        + match cell {
            CellOp::Put { value, .. } => value.len(),
            CellOp::Add { delta, .. } => delta.len(),
            CellOp::Delete { .. } => 0,
        }
}

/// How the columns of a mutation are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Put,
    Insert,
    Add,
}

/// A row whose key is at the start of the buffer, its values being appended.
struct OpenRow<'a> {
    table: &'a Table,
    shards: u16,
    place: Place,
    /// Where the partition key and the clustering key end.
    split: (usize, usize),
    scratch: &'a mut Vec<u8>,
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
    fn place_value(
        &mut self,
        ty: ColumnType,
        value: &Value,
    ) -> Result<Placed, crate::value::WrongType> {
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

    fn cells(&mut self, columns: &Columns, kind: Kind, problems: &mut Problems) -> Option<Piece> {
        if columns.is_empty() && kind != Kind::Insert {
            problems.add(self.place, ".columns", "nothing is written: name a column");
            return None;
        }
        let mut cells = Cells::new();
        for (name, value) in columns {
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

    fn deletes(&mut self, names: &[String], problems: &mut Problems) -> Option<Piece> {
        if names.is_empty() {
            let message = "no column is named: leave `columns` out to delete the row";
            problems.add(self.place, ".columns", message);
            return None;
        }
        let mut cells = Cells::new();
        for name in names {
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

    fn compare(
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

    fn is_in(
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

    fn entry(self, piece: Piece) -> Entry {
        let key = row_key(self.table, self.scratch, self.split);
        let shard = Token::of(&key.partition).shard(self.shards);
        Entry { shard, key, place: self.place, piece }
    }
}

fn row_key(table: &Table, bytes: &[u8], (partition, clustering): (usize, usize)) -> RowKey {
    let mut whole = Bytes::copy_from_slice(&bytes[..clustering]);
    let clustering =
        if clustering == partition { Bytes::new() } else { whole.split_off(partition) };
    RowKey { table: table.id(), partition: whole, clustering }
}

/// The table and key of a row.
pub(super) fn key<'a>(
    namespace: &'a Namespace,
    table: &str,
    columns: &Columns,
    place: Place,
    scratch: &mut Vec<u8>,
    problems: &mut Problems,
) -> Option<(&'a Table, RowKey)> {
    let (table, split) = encode_key(namespace, table, columns, place, scratch, problems)?;
    Some((table, row_key(table, scratch, split)))
}

/// Appends partition and clustering key; returns where each ends.
fn encode_key<'a>(
    namespace: &'a Namespace,
    table: &str,
    columns: &Columns,
    place: Place,
    out: &mut Vec<u8>,
    problems: &mut Problems,
) -> Option<(&'a Table, (usize, usize))> {
    let Some(found) = namespace.find_table(table) else {
        let unknown = namespace.table_named(table).expect_err("it was not found");
        problems.add(place, ".table", unknown);
        return None;
    };
    let table = found.as_ref();
    let (partition_count, clustering_count) =
        (table.partition_key().len(), table.clustering_key().len());
    let mut values: SmallVec<[Option<&Value>; 8]> =
        SmallVec::from_elem(None, partition_count + clustering_count);
    let mut good = true;
    for (name, value) in columns {
        let refusal = match (table.find_column(name).map(|column| column.kind), value) {
            (None, _) => table.column_named(name).expect_err("it was not found").to_string(),
            (Some(ColumnKind::Regular), _) => {
                "this column is not part of the primary key".to_owned()
            }
            (Some(_), None) => "a part of the key may not be null".to_owned(),
            (Some(kind), Some(value)) => {
                let index = match kind {
                    ColumnKind::Partition(number) => usize::from(number),
                    ColumnKind::Clustering(number, _) => partition_count + usize::from(number),
                    ColumnKind::Regular => unreachable!("was refused above"),
                };
                if values[index].replace(value).is_none() {
                    continue;
                }
                "the column is named twice".to_owned()
            }
        };
        good = false;
        problems.add(place, format!(".key{}", Step(name)), refusal);
    }
    if !good {
        return None;
    }
    if values.iter().any(Option::is_none) {
        let parts = table.partition_key().chain(table.clustering_key());
        let missing: Vec<&str> = parts
            .zip(&values)
            .filter(|(_, value)| value.is_none())
            .map(|(column, _)| column.name.as_str())
            .collect();
        let message = format!("the key of {} also needs {}", table.full_name(), missing.join(", "));
        problems.add(place, ".key", message);
        return None;
    }
    let values: SmallVec<[&Value; 8]> = values.into_iter().flatten().collect();
    let (partition, clustering) = values.split_at(partition_count);
    let start = out.len();
    let encoded = table.encode_partition(partition, out).and_then(|()| {
        let split = out.len() - start;
        table.encode_clustering(clustering, out).map(|()| (split, out.len() - start))
    });
    match encoded {
        Ok(split) => Some((table, split)),
        Err(KeyError { column: Some(column), problem }) => {
            problems.add(place, format!(".key{}", Step(&column)), problem);
            None
        }
        Err(KeyError { column: None, problem }) => {
            problems.add(place, ".key", problem);
            None
        }
    }
}
