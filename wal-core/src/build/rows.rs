//! The rows of a transaction while it is being built.
//!
//! Every mutation and condition becomes one entry with its row's key. Sorting the entries by shard and
//! key brings those of one row together, and folding neighbours gives the parts.

use std::sync::Arc;

use super::entry::{Entry, Kind, OpenRow, Piece};
use super::key::encode_key;
use super::{Batch, Check, Columns, Mutation, Parts, Place, Problems, RowCondition, Write};
use crate::id::ShardId;
use crate::namespace::{Limits, Namespace};
use crate::problem::Step;
use crate::txn::{CellOp, Condition, ConditionKind, RowOp, WriteOp};

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
