//! Why a transaction was aborted.

use std::fmt;

use handfast_proto::v1;
use handfast_proto::v1::condition_failed::Found;

use crate::outcome::Locator;

/// None of the transaction is committed, or ever will be. A new transaction, with a new id, may be made.
#[derive(Clone, Debug, PartialEq)]
pub struct Aborted {
    /// Where to ask about it.
    pub locator: Locator,
    /// Why: the same for everybody who asks.
    pub reason: AbortReason,
}

/// Why a transaction was aborted.
#[derive(Clone, Debug, PartialEq)]
pub enum AbortReason {
    /// A condition did not hold.
    ConditionFailed(v1::ConditionFailed),
    /// An `add` left the range of its column's type.
    Overflow(v1::Overflow),
    /// Another writer wrote a row with a time in the future.
    TimestampInFuture(v1::TimestampInFuture),
    /// The namespace changed meanwhile: what, in words.
    SchemaChanged(String),
    /// Somebody asked that it never commit.
    Fenced,
    /// Its id had been used for other content.
    IdReused,
}

impl From<v1::aborted::Reason> for AbortReason {
    fn from(reason: v1::aborted::Reason) -> Self {
        use v1::aborted::Reason;
        match reason {
            Reason::ConditionFailed(failed) => Self::ConditionFailed(failed),
            Reason::Overflow(overflow) => Self::Overflow(overflow),
            Reason::TimestampInFuture(row) => Self::TimestampInFuture(row),
            Reason::SchemaChanged(change) => Self::SchemaChanged(change.what),
            Reason::Fenced(_) => Self::Fenced,
            Reason::IdReused(_) => Self::IdReused,
        }
    }
}

impl fmt::Display for AbortReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = |row: &Option<v1::RowKey>| row.as_ref().map_or("", |row| &row.table).to_owned();
        match self {
            Self::ConditionFailed(failed) => {
                let row = failed.row.clone().unwrap_or_default();
                write!(f, "condition {} on {row} did not hold: ", failed.index)?;
                match &failed.found {
                    Some(Found::FoundRow(found)) if found.exists => {
                        f.write_str("the row exists, or has changed")
                    }
                    Some(Found::FoundRow(_)) => f.write_str("the row does not exist"),
                    Some(Found::FoundColumn(found)) => {
                        let value = found.value.clone().unwrap_or_default();
                        write!(f, "{} is {value}", found.name)
                    }
                    None => f.write_str("what was found is not known"),
                }
            }
            Self::Overflow(overflow) => {
                let (table, column) = (table(&overflow.row), &overflow.column);
                write!(f, "adding to {table}.{column} left the range of its type")
            }
            Self::TimestampInFuture(row) => {
                let table = table(&row.row);
                write!(f, "a row of {table} was written with a time in the future")
            }
            Self::SchemaChanged(what) => write!(f, "the namespace changed: {what}"),
            Self::Fenced => f.write_str("it was barred by request"),
            Self::IdReused => f.write_str("its id had been used for other content"),
        }
    }
}
