//! What is to be committed.

use bytes::Bytes;
use handfast_proto::v1;
use handfast_proto::v1::mutation::Op;
use uuid::Uuid;

use crate::condition::Condition;
use crate::key::{Columns, Key};
use crate::message::Message;
use crate::outcome::Locator;

/// Writes and conditions that commit as a whole or not at all. Conditions see the rows as they were
/// before the transaction's own writes.
///
/// It draws its id, a UUID of version 7, when it is made, and keeps it: submit the same value again
/// whenever an outcome is unknown. Ids are remembered for ten minutes at least as long as the server
/// keeps its pace, so make a transaction when it is about to be submitted.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a transaction does nothing until it is submitted"]
pub struct Transaction {
    id: Uuid,
    pub(crate) wire: v1::Transaction,
}

impl Transaction {
    /// An empty transaction with a new id.
    pub fn new(namespace: impl Into<String>) -> Self {
        Self {
            id: Uuid::nil(),
            wire: v1::Transaction { namespace: namespace.into(), ..v1::Transaction::default() },
        }
        .with_id(Uuid::now_v7())
    }

    /// A transaction from its wire form. An empty id is drawn; otherwise the id must be a UUID, as 16
    /// bytes or as text.
    pub fn from_wire(wire: v1::Transaction) -> Result<Self, uuid::Error> {
        let id = match &wire.id[..] {
            [] => Uuid::now_v7(),
            bytes if bytes.len() == 16 => Uuid::from_slice(bytes)?,
            text => Uuid::try_parse_ascii(text)?,
        };
        Ok(Self { id, wire }.with_id(id))
    }

    /// The same content under an id of your own: a UUID of version 7.
    pub fn with_id(mut self, id: Uuid) -> Self {
        self.id = id;
        self.wire.id = Bytes::copy_from_slice(id.as_bytes());
        self
    }

    /// Goes to these regions of a namespace in several, and to no others; without it, to all.
    pub fn to_regions<T: Into<String>>(mut self, regions: impl IntoIterator<Item = T>) -> Self {
        self.wire.regions = regions.into_iter().map(Into::into).collect();
        self
    }

    /// Its id.
    pub const fn id(&self) -> Uuid {
        self.id
    }

    /// The namespace that its tables belong to.
    pub fn namespace(&self) -> &str {
        &self.wire.namespace
    }

    /// Where it can be asked about. Good before it was ever sent.
    pub fn locator(&self) -> Locator {
        Locator { namespace: self.wire.namespace.clone(), id: self.id, home_shard: None }
    }

    /// Whether it neither writes nor requires nor tells nor schedules anything.
    pub const fn is_empty(&self) -> bool {
        let v1::Transaction { mutations, conditions, messages, delayed, .. } = &self.wire;
        mutations.is_empty() && conditions.is_empty() && messages.is_empty() && delayed.is_empty()
    }

    /// Writes columns, as CQL's `UPDATE` does.
    pub fn put(
        self,
        table: impl Into<String>,
        key: impl Into<Key>,
        columns: impl Into<Columns>,
    ) -> Self {
        self.mutate(table, key, Op::Put(v1::Put { columns: columns.into().0 }))
    }

    /// Writes a row and columns, as CQL's `INSERT` does: the row exists even without columns. It does
    /// not require that the row be absent: add [`crate::not_exists`] for that.
    pub fn insert(
        self,
        table: impl Into<String>,
        key: impl Into<Key>,
        columns: impl Into<Columns>,
    ) -> Self {
        self.mutate(table, key, Op::Insert(v1::Insert { columns: columns.into().0 }))
    }

    /// Adds to numbers; null counts as zero. A sum beyond the column's range aborts the transaction.
    pub fn add(
        self,
        table: impl Into<String>,
        key: impl Into<Key>,
        columns: impl Into<Columns>,
    ) -> Self {
        self.mutate(table, key, Op::Add(v1::Add { columns: columns.into().0 }))
    }

    /// Deletes a row.
    pub fn delete_row(self, table: impl Into<String>, key: impl Into<Key>) -> Self {
        self.mutate(table, key, Op::DeleteRow(v1::DeleteRow {}))
    }

    /// Deletes columns of a row.
    pub fn delete_columns<'a>(
        self,
        table: impl Into<String>,
        key: impl Into<Key>,
        columns: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let columns = columns.into_iter().map(str::to_owned).collect();
        self.mutate(table, key, Op::DeleteColumns(v1::DeleteColumns { columns }))
    }

    /// Tells others than the tables, if it commits: see [`Message`].
    pub fn message(mut self, message: Message) -> Self {
        self.wire.messages.push(message.wire);
        self
    }

    /// Requires a condition of a row. Conditions are numbered from 0 in the order of these calls.
    pub fn require(
        mut self,
        table: impl Into<String>,
        key: impl Into<Key>,
        condition: Condition,
    ) -> Self {
        let row = Some(row(table, key));
        self.wire.conditions.push(v1::Condition { row, kind: Some(condition.0) });
        self
    }

    fn mutate(mut self, table: impl Into<String>, key: impl Into<Key>, op: Op) -> Self {
        self.wire.mutations.push(v1::Mutation { row: Some(row(table, key)), op: Some(op) });
        self
    }
}

pub(crate) fn row(table: impl Into<String>, key: impl Into<Key>) -> v1::RowKey {
    v1::RowKey { table: table.into(), key: key.into().0 }
}
