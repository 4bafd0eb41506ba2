//! What a client asks, in names and typed values: the common ground of the wire and of JSON.

use crate::message::Message;
use crate::row::RowVersion;
use crate::txn::CompareOp;
use crate::value::Value;

/// Named values; `None` is null. The order does not matter.
pub type Columns = Vec<(String, Option<Value>)>;

/// A request to write and check rows, all or nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// What to write.
    pub mutations: Vec<Mutation>,
    /// What must hold.
    pub conditions: Vec<RowCondition>,
    /// What to tell others than the tables.
    pub messages: Vec<Message>,
    /// To which regions it goes, by name; none stands for all.
    pub regions: Vec<String>,
}

/// A write to one row.
#[derive(Clone, Debug, PartialEq)]
pub struct Mutation {
    /// The table's name, with or without its keyspace.
    pub table: String,
    /// Every column of the primary key.
    pub key: Columns,
    /// What to write.
    pub write: Write,
}

/// What to write to a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// Sets columns; null deletes one. As CQL's `UPDATE`, the row exists while it has a column set.
    Put(Columns),
    /// Sets columns, none of them needed, and makes the row exist. As CQL's `INSERT`.
    Insert(Columns),
    /// Deletes the row.
    DeleteRow,
    /// Deletes columns.
    DeleteColumns(Vec<String>),
    /// Adds to numbers, null counting as zero.
    Add(Columns),
}

/// A condition on one row.
#[derive(Clone, Debug, PartialEq)]
pub struct RowCondition {
    /// The table's name, with or without its keyspace.
    pub table: String,
    /// Every column of the primary key.
    pub key: Columns,
    /// What must hold.
    pub check: Check,
}

/// What must hold of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Check {
    /// It exists.
    Exists,
    /// It does not exist.
    NotExists,
    /// A column compares with a value; null with `Eq` and `Ne` only.
    Compare {
        /// The column.
        column: String,
        /// How.
        op: CompareOp,
        /// With what.
        value: Option<Value>,
    },
    /// A column equals one of the values.
    In {
        /// The column.
        column: String,
        /// The values; at least one, none null.
        values: Vec<Option<Value>>,
    },
    /// Its version is this one.
    Version(RowVersion),
}
