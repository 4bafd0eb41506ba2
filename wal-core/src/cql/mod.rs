//! CQL's `CREATE TABLE`, parsed by hand: the one statement that declares a table, so that the same
//! namespace file serves an embedded store and a Cassandra cluster.
//!
//! Quoted names, case folding, comments (`--`, `//`, `/* */`), composite keys, `CLUSTERING ORDER BY`
//! and Cassandra's table options are understood; options are kept as they are. What Handfast cannot do
//! yet (collections, counters, static columns, expiry …) is refused with a reason and a way out.
//!
//! ```
//! let table: wal_core::cql::CreateTable =
//!     "CREATE TABLE bank.accounts (id text PRIMARY KEY, balance bigint);".parse()?;
//! assert_eq!(table.name(), "accounts");
//! let error = "CREATE TABLE t (id text PRIMARY KEY, n counter)"
//!     .parse::<wal_core::cql::CreateTable>()
//!     .expect_err("counters are refused");
//! assert_eq!((error.line, error.column), (1, 40));
//! # Ok::<(), wal_core::cql::CqlError>(())
//! ```

mod lexer;
mod options;
mod parser;
mod print;
#[cfg(test)]
mod tests;

use std::fmt;

pub use options::{OptionValue, TableOption};

use crate::value::ColumnType;

/// Characters of a table's or keyspace's name, as in Cassandra.
pub const MAX_TABLE_NAME: usize = 48;
/// Bytes of a column's name.
pub const MAX_COLUMN_NAME: usize = 255;

/// The order of a clustering column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Smallest first.
    #[default]
    Ascending,
    /// Largest first.
    Descending,
}

/// A parsed and checked `CREATE TABLE`. Printing it gives the canonical statement, which parses back
/// to an equal one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateTable {
    pub(crate) keyspace: Option<String>,
    pub(crate) name: String,
    /// In the order of the statement.
    pub(crate) columns: Vec<(String, ColumnType)>,
    /// Indices into `columns`; at least one.
    pub(crate) partition: Vec<usize>,
    /// Indices into `columns`.
    pub(crate) clustering: Vec<(usize, Order)>,
    pub(crate) options: Vec<TableOption>,
}

impl CreateTable {
    /// The keyspace, if the statement names one.
    pub fn keyspace(&self) -> Option<&str> {
        self.keyspace.as_deref()
    }

    /// The table's name without the keyspace.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same table in a keyspace; one that it names already stays.
    #[must_use]
    pub fn in_keyspace(mut self, keyspace: &str) -> Self {
        self.keyspace.get_or_insert_with(|| keyspace.to_owned());
        self
    }

    /// Names and types, in the order of the statement.
    pub fn columns(&self) -> &[(String, ColumnType)] {
        &self.columns
    }

    /// The options after `WITH`, but for the clustering order.
    pub fn options(&self) -> &[TableOption] {
        &self.options
    }
}

/// A name as it stands in a statement, quoted if it must be.
pub fn quoted(name: &str) -> String {
    print::Named(name).to_string()
}

/// Why a statement was refused, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CqlError {
    /// Line, from 1.
    pub line: usize,
    /// Character within the line, from 1.
    pub column: usize,
    /// What is wrong and what to do.
    pub message: String,
    /// The line itself.
    pub excerpt: String,
}

impl std::error::Error for CqlError {}

/// Several lines: the message, the line of the statement, a caret below the place.
impl fmt::Display for CqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, message, excerpt } = self;
        let gutter = line.to_string();
        let margin = " ".repeat(gutter.len());
        // A tab stays a tab, so that the caret stands below its character.
        let blank = |letter: char| if letter == '\t' { '\t' } else { ' ' };
        let indent: String = excerpt.chars().take(column - 1).map(blank).collect();
        writeln!(f, "line {line}, column {column}: {message}")?;
        writeln!(f, "{gutter} | {excerpt}")?;
        write!(f, "{margin} | {indent}^")
    }
}

impl CqlError {
    /// An error at a byte of `text` (or its end).
    fn at(text: &str, offset: usize, message: impl Into<String>) -> Self {
        let before = &text[..offset.min(text.len())];
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let excerpt = text[start..].lines().next().unwrap_or("").to_owned();
        Self {
            line: before.matches('\n').count() + 1,
            column: before[start..].chars().count() + 1,
            message: message.into(),
            excerpt,
        }
    }
}

impl std::str::FromStr for CreateTable {
    type Err = CqlError;

    /// Parses one statement; the semicolon at its end may be left out.
    fn from_str(text: &str) -> Result<Self, CqlError> {
        parser::parse(text)
    }
}
