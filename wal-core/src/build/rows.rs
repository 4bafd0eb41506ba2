//! The rows of a transaction while it is being built.
//!
//! Every mutation and condition becomes one entry with its row's key. Sorting the entries by shard and
//! key brings those of one row together, and folding neighbours gives the parts.

use std::sync::Arc;

use super::entry::{Entry, Kind, OpenRow, Piece, cell_bytes};
use super::key::encode_key;
use super::{Batch, Check, Columns, Mutation, Parts, Place, Problems, RowCondition, Write};
use crate::id::{ShardId, TxnId};
use crate::message::{MAX_HEADERS, MAX_MESSAGES, Message, row_of_key, row_without_key};
use crate::namespace::{Limits, MAX_TARGETS, Namespace};
use crate::problem::Step;
use crate::record::MESSAGES_SINCE;
use crate::token::Token;
use crate::txn::{CellOp, Condition, ConditionKind, RowOp, WriteOp};

pub(super) struct Rows<'a> {
    namespace: &'a Namespace,
    entries: Vec<Entry>,
    without_key: Vec<CellOp>,
    /// Bytes of keys and values so far.
    bytes: usize,
    /// Reused for every row.
    scratch: Vec<u8>,
}

impl<'a> Rows<'a> {
    pub(super) fn new(namespace: &'a Namespace, batch: &Batch, problems: &mut Problems) -> Self {
        if batch.mutations.is_empty() && batch.conditions.is_empty() && batch.messages.is_empty() {
            let message = "the transaction is empty: name a mutation, a condition or a message";
            problems.add(Place::Alone, "", message);
        }
        check_messages(namespace, batch.messages.len(), problems);
        let count = batch.mutations.len() + batch.conditions.len() + batch.messages.len();
        // Reserves no more than a transaction may have: the rest is refused anyway.
        let limits = namespace.limits();
        let most = limits.rows_per_transaction + limits.conditions_per_transaction;
        let entries = Vec::with_capacity(count.min(most as usize));
        let without_key = Vec::new();
        Self { namespace, entries, without_key, bytes: 0, scratch: Vec::with_capacity(128) }
    }

    /// Everything that a request asks for.
    pub(super) fn batch(&mut self, batch: &Batch, problems: &mut Problems) {
        for (index, mutation) in batch.mutations.iter().enumerate() {
            self.mutation(index, mutation, problems);
        }
        for (index, condition) in batch.conditions.iter().enumerate() {
            self.condition(index, condition, problems);
        }
        for (index, message) in batch.messages.iter().enumerate() {
            self.message(index, message, problems);
        }
    }

    fn message(&mut self, index: usize, message: &Message, problems: &mut Problems) {
        let place = Place::message(index);
        if message.headers.len() > MAX_HEADERS {
            let got = message.headers.len();
            let what = format!("a message has at most {MAX_HEADERS} headers, got {got}");
            problems.add(place, ".headers", what);
        }
        check_targets(self.namespace, place, &message.targets, problems);
        let cell = message.cell(u16::try_from(index).unwrap_or(u16::MAX));
        let Some(key) = &message.key else {
            if self.takes(place, cell_bytes(&cell), problems) {
                self.without_key.push(cell);
            }
            return;
        };
        let shard = Token::of(key).shard(self.namespace.shards());
        let piece = Piece::Cells { insert: true, cells: vec![cell] };
        self.push(Some(Entry { shard, key: row_of_key(key.clone()), place, piece }), problems);
    }

    fn mutation(&mut self, index: usize, mutation: &Mutation, problems: &mut Problems) {
        self.write(Place::mutation(index), mutation, problems);
    }

    /// What a mutation writes, wherever it stands.
    pub(super) fn write(&mut self, place: Place, mutation: &Mutation, problems: &mut Problems) {
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

    fn condition(&mut self, index: usize, condition: &RowCondition, problems: &mut Problems) {
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
        // Beyond the limit nothing is kept: it is only checked.
        if self.takes(entry.place, entry.size_bytes(), problems) {
            self.entries.push(entry);
        }
    }

    /// Counts bytes; whether the transaction may have them.
    fn takes(&mut self, place: Place, bytes: usize, problems: &mut Problems) -> bool {
        let most = self.namespace.limits().bytes_per_transaction as usize;
        let before = self.bytes;
        self.bytes += bytes;
        if before <= most && self.bytes > most {
            let message = format!("the transaction has more than {most} bytes: split it");
            problems.add(place, "", message);
        }
        self.bytes <= most
    }

    /// Sorts and folds everything.
    pub(super) fn into_parts(self, id: TxnId, problems: &mut Problems) -> Parts {
        let Self { namespace, mut entries, without_key, .. } = self;
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
        if !without_key.is_empty() {
            rows += 1;
            add_messages_without_key(&mut parts, namespace.shards(), id, without_key);
        }
        check_limits(namespace.limits(), rows, conditions, parts.len(), problems);
        parts.into_iter().map(|(shard, part)| (shard, Arc::new(part))).collect()
    }
}

/// Messages are of a write version that an administrator must have allowed.
fn check_messages(namespace: &Namespace, count: usize, problems: &mut Problems) {
    if count > MAX_MESSAGES {
        let message = format!("a transaction has at most {MAX_MESSAGES} messages, got {count}");
        problems.add(Place::Alone, "", message);
    }
    if count > 0 && namespace.write_version() < MESSAGES_SINCE {
        let message = format!(
            "the namespace has write version {}, and messages need {MESSAGES_SINCE}: once every server has \
             been upgraded, put `write_version = {MESSAGES_SINCE}` into its file, and change it",
            namespace.write_version()
        );
        problems.add(Place::Alone, "", message);
    }
}

/// Targets must be there, each once, and take messages.
fn check_targets(namespace: &Namespace, place: Place, names: &[String], problems: &mut Problems) {
    for (index, name) in names.iter().enumerate() {
        let message = match namespace.target_named(name) {
            Err(error) => error.to_string(),
            Ok(target) if target.retired => {
                format!("the target {name:?} is retired: it takes no new messages")
            }
            Ok(_) if names[..index].contains(name) => format!("the target {name:?} is named twice"),
            Ok(_) => continue,
        };
        problems.add(place, format!(".targets[{index}]"), message);
        if index >= MAX_TARGETS {
            return; // more than a namespace can have: enough is said
        }
    }
}

/// Messages without a key lie at the transaction's home, so that they add no participant.
fn add_messages_without_key(
    parts: &mut Vec<(ShardId, Vec<RowOp>)>,
    shards: u16,
    id: TxnId,
    cells: Vec<CellOp>,
) {
    let key = row_without_key(id);
    if parts.is_empty() {
        parts.push((Token::of(&key.clustering).shard(shards), Vec::new()));
    }
    let home = id.home_index(parts.len());
    let part = &mut parts[home].1;
    let at = part.partition_point(|row| row.key < key);
    part.insert(
        at,
        RowOp { key, conditions: Vec::new(), write: WriteOp::Cells { insert: true, cells } },
    );
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
        (_, WriteOp::Merge(_)) => unreachable!("a client merges nothing"),
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
