//! The rows of the table of what is due later, in the committed stream.

use std::sync::Arc;

use bytes::Bytes;
use participant::follow::Told;
use uuid::Uuid;
use wal_core::message::Message;
use wal_core::schema::Table;
use wal_core::value::{ColumnType, Value};
use wal_core::{CellOp, ColumnId, Millis, Row, RowKey, RowOp, TxnId, WriteOp};

use super::index::Change;
use crate::message::Ticket;
use crate::outgoing::{Name, Outgoing};
use crate::runtime::Picks;

/// The columns of the table: see [`wal_core::namespace::DELAYED_CQL`].
#[derive(Clone, Debug)]
pub struct DelayedTable {
    table: Arc<Table>,
    due: ColumnId,
    body: ColumnId,
    problem: ColumnId,
}

impl DelayedTable {
    /// The table as a namespace declares it; `None` if it lacks a column, which no checked namespace does.
    pub fn new(table: Arc<Table>) -> Option<Self> {
        let column = |name: &str| table.find_column(name).map(|column| column.id);
        let (due, body, problem) = (column("due")?, column("body")?, column("problem")?);
        Some(Self { table, due, body, problem })
    }

    /// The table.
    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// The column that says when.
    pub const fn due(&self) -> ColumnId {
        self.due
    }

    /// The column that says what.
    pub const fn body(&self) -> ColumnId {
        self.body
    }

    /// The column that says why it was refused.
    pub const fn problem(&self) -> ColumnId {
        self.problem
    }

    /// The row of a part.
    pub fn row_of(&self, name: Name) -> RowKey {
        let key = [Value::Uuid(name.id.to_uuid()), Value::Int(name.index.into())];
        self.table.row_key(&[&key[0], &key[1]], &[]).expect("a uuid and an int are its key")
    }

    /// The part whose row this is; `None` if it is none of ours.
    pub fn name_of(&self, key: &RowKey) -> Option<Name> {
        match &*self.table.partition_values(&key.partition).ok()? {
            [Value::Uuid(id), Value::Int(index)] => Some(Name {
                id: TxnId::from_uuid(Uuid::from_bytes(*id.as_bytes())).ok()?,
                index: u16::try_from(*index).ok()?,
            }),
            _ => None,
        }
    }

    /// A value of the column `due`.
    pub fn time(value: &[u8]) -> Option<Millis> {
        match Value::decode(ColumnType::Timestamp, value).ok()? {
            Value::Timestamp(millis) => Some(Millis(u64::try_from(millis).unwrap_or(0))),
            _ => None,
        }
    }

    /// What a write to a row of the table says; `None` if it says nothing of what is due when.
    fn told(&self, op: &RowOp) -> Option<ToldChange> {
        let is_insert = matches!(op.write, WriteOp::Cells { insert: true, .. });
        self.change(op).map(|change| ToldChange { change, is_insert })
    }

    fn change(&self, op: &RowOp) -> Option<Change> {
        let cells = match &op.write {
            WriteOp::DeleteRow => return Some(Change::Gone),
            WriteOp::None => return None,
            WriteOp::Cells { cells, .. } => cells,
            WriteOp::Merge(row) => return self.merged(row),
        };
        let mut change = None;
        for cell in cells {
            match cell {
                CellOp::Put { column, .. } if *column == self.problem => {
                    return Some(Change::Refused);
                }
                CellOp::Put { column, value } if *column == self.due => {
                    change = Self::time(value).map(Change::Due);
                }
                CellOp::Put { .. } | CellOp::Delete { .. } | CellOp::Add { .. } => {}
            }
        }
        change
    }

    /// What a row says that was written in another region.
    fn merged(&self, row: &Row) -> Option<Change> {
        let due = row.get(self.due);
        match (row.get(self.problem), due) {
            (Some(_), _) => Some(Change::Refused),
            (None, Some(due)) => Self::time(due).map(Change::Due),
            (None, None) => row.deleted_at.map(|_| Change::Gone),
        }
    }
}

/// The changes of what is due when, each as a message whose key is that of the row: so they keep their order.
#[derive(Clone, Debug)]
pub struct ChangesOf {
    /// The namespace.
    pub namespace: Arc<str>,
    /// The table.
    pub table: DelayedTable,
}

impl Picks for ChangesOf {
    type Item = (Ticket, Outgoing);

    fn bytes(&self, (_, outgoing): &(Ticket, Outgoing)) -> usize {
        outgoing.message.payload.len()
    }

    fn pick(&self, told: &Told) -> Result<Vec<(Ticket, Outgoing)>, String> {
        let of_table = |op: &&RowOp| op.key.table == self.table.table.id();
        let rows = told.parts.iter().flat_map(|(_, part)| part.iter()).filter(of_table);
        let mut found = Vec::new();
        for op in rows {
            let (Some(name), Some(told_change)) =
                (self.table.name_of(&op.key), self.table.told(op))
            else {
                continue;
            };
            let index = u32::try_from(found.len()).unwrap_or(u32::MAX);
            let ticket = Ticket { position: told.position, index };
            let key = Some(op.key.partition.clone());
            let message = Message { key, payload: encode(told_change), ..Message::default() };
            let outgoing = Outgoing {
                namespace: Arc::clone(&self.namespace),
                shard: told.shard,
                name,
                timestamp: told.timestamp,
                message: Arc::new(message),
            };
            found.push((ticket, outgoing));
        }
        Ok(found)
    }
}

/// A change as the stream tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ToldChange {
    pub(super) change: Change,
    /// It is what scheduled it: nothing was ever written to the row before.
    pub(super) is_insert: bool,
}

/// Nothing for one that is gone, one byte for one that was refused, eight for when it is due, and one more if that
/// is what scheduled it.
fn encode(ToldChange { change, is_insert }: ToldChange) -> Bytes {
    match change {
        Change::Gone => Bytes::new(),
        Change::Refused => Bytes::from_static(&[1]),
        Change::Due(due) => {
            let due = due.0.to_be_bytes();
            due.into_iter().chain(is_insert.then_some(1)).collect()
        }
    }
}

/// What [`encode`] made.
pub(super) fn decode(payload: &[u8]) -> Option<ToldChange> {
    let change = match payload {
        [] => Change::Gone,
        [_] => Change::Refused,
        _ => Change::Due(Millis(u64::from_be_bytes(*payload.first_chunk()?))),
    };
    Some(ToldChange { change, is_insert: payload.len() > 8 })
}
