//! Conditions: what must hold of a row for a transaction to commit.

use bytes::Bytes;
use handfast_proto::v1::condition::Kind;
use handfast_proto::v1::{Compare, CompareOp, Exists, In, NotExists, Value};

use crate::row::RowVersion;

/// What must hold of a row. Made by [`exists`], [`not_exists`], [`unchanged`] and [`column`].
#[derive(Clone, Debug, PartialEq)]
pub struct Condition(pub(crate) Kind);

/// The row exists.
pub const fn exists() -> Condition {
    Condition(Kind::Exists(Exists {}))
}

/// The row does not exist.
pub const fn not_exists() -> Condition {
    Condition(Kind::NotExists(NotExists {}))
}

/// The row is as it was when it was read: [`crate::Row::version`].
pub fn unchanged(version: RowVersion) -> Condition {
    Condition(Kind::RowVersion(Bytes::copy_from_slice(&version.0)))
}

/// A condition on a column, to be completed: `column("balance").at_least(30)`.
pub fn column(name: impl Into<String>) -> ColumnCondition {
    ColumnCondition { column: name.into() }
}

/// A condition on a column that lacks its comparison. A column without a value satisfies only
/// `equals(null)` and `not_equals(a value)`.
#[derive(Clone, Debug)]
#[must_use = "say how the column must compare"]
pub struct ColumnCondition {
    column: String,
}

impl ColumnCondition {
    fn compare(self, op: CompareOp, value: impl Into<Value>) -> Condition {
        let value = Some(value.into());
        Condition(Kind::Compare(Compare { column: self.column, op: op.into(), value }))
    }

    /// column = value
    pub fn equals(self, value: impl Into<Value>) -> Condition {
        self.compare(CompareOp::Equal, value)
    }

    /// column ≠ value
    pub fn not_equals(self, value: impl Into<Value>) -> Condition {
        self.compare(CompareOp::NotEqual, value)
    }

    /// column < value
    pub fn less_than(self, value: impl Into<Value>) -> Condition {
        self.compare(CompareOp::Less, value)
    }

    /// column ≤ value
    pub fn at_most(self, value: impl Into<Value>) -> Condition {
        self.compare(CompareOp::LessOrEqual, value)
    }

    /// column > value
    pub fn greater_than(self, value: impl Into<Value>) -> Condition {
        self.compare(CompareOp::Greater, value)
    }

    /// column ≥ value
    pub fn at_least(self, value: impl Into<Value>) -> Condition {
        self.compare(CompareOp::GreaterOrEqual, value)
    }

    /// column equals one of the values
    pub fn one_of<V: Into<Value>>(self, values: impl IntoIterator<Item = V>) -> Condition {
        let values = values.into_iter().map(Into::into).collect();
        Condition(Kind::In(In { column: self.column, values }))
    }
}
