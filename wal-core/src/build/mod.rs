//! From what a client asked to what the engines run: names become numbers, values become bytes, rows
//! find their shards, and everything that is wrong is told at once, before anything is logged.
//!
//! ```
//! use wal_core::build::{Batch, Mutation, Write, build};
//! use wal_core::namespace::Namespace;
//! use wal_core::value::Value;
//! use wal_core::TxnId;
//!
//! let bank = Namespace::from_toml(r#"
//!     name = "bank"
//!     [[table]]
//!     cql = "CREATE TABLE accounts (id text PRIMARY KEY, balance bigint)"
//! "#)?;
//! let batch = Batch {
//!     mutations: vec![Mutation {
//!         table: "accounts".into(),
//!         key: vec![("id".into(), Some("alice".into()))],
//!         write: Write::Put(vec![("balance".into(), Some(Value::BigInt(100)))]),
//!     }],
//!     ..Batch::default()
//! };
//! let transaction = build(&bank, TxnId(7), &batch)?;
//! assert_eq!(transaction.parts.len(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Rules
//!
//! * Mutations of one row are one write: each column at most once; a row that is deleted is not
//!   written otherwise. So the order in which a client lists them cannot matter.
//! * All conditions are checked before any write, on the row as it was.
//! * A put of null is the deletion of that column, as in CQL.
//! * The fingerprint covers what is written (in the order of shards, keys and columns, whatever the
//!   order of the request) and every condition with its place in the request, because answers name that
//!   place. It does not cover the namespace's version, or how names were spelled, nor the id, except as the
//!   name of messages without a key.
//! * Messages are rows of a table of their own: see [`crate::message`].

mod batch;
mod entry;
mod fingerprint;
mod key;
mod region;
mod rows;
#[cfg(test)]
pub(crate) mod tests;
mod unbuild;

use std::fmt;
use std::sync::Arc;

pub use batch::{Batch, Check, Columns, Mutation, RowCondition, Write};
pub use region::{Arriving, arrival, arrived_columns, arriving, pulse};
pub use unbuild::{OtherVersion, unbuild};

use crate::id::{ShardId, TxnId};
use crate::namespace::Namespace;
use crate::problem::{Problem, write_lines};
use crate::row::RowKey;
use crate::token::Token;
use crate::txn::{Part, RowOp, Transaction};
use rows::Rows;

/// Problems that one answer lists.
pub const MAX_PROBLEMS: usize = 20;
/// Characters of a problem's path, and of its message.
const MAX_SHOWN: usize = 500;

/// Everything that is wrong with a request, up to [`MAX_PROBLEMS`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildError {
    /// The problems, conditions after mutations and then messages; never empty.
    pub problems: Vec<Problem>,
    /// Whether there are more than are listed.
    pub more: bool,
}

impl std::error::Error for BuildError {}

/// One problem a line.
impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_lines(f, &self.problems)?;
        if self.more { f.write_str("\nand more") } else { Ok(()) }
    }
}

/// Checks a request against its namespace and makes it a transaction.
pub fn build(namespace: &Namespace, id: TxnId, batch: &Batch) -> Result<Transaction, BuildError> {
    let mut problems = Problems::default();
    let mut rows = Rows::new(namespace, batch, &mut problems);
    rows.batch(batch, &mut problems);
    region::check_homes(namespace, batch, &mut problems);
    let mut parts = rows.into_parts(id, &mut problems);
    region::add_regions(namespace, &batch.regions, &mut parts, &mut problems);
    problems.into_result()?;
    Ok(Transaction {
        id,
        fingerprint: fingerprint::of(&parts),
        namespace_version: namespace.version(),
        parts,
    })
}

/// Checks a mutation by itself: one row, and what is written to it.
///
/// # Errors
///
/// Paths in the problems start at the mutation: `table`, `key.id`, `columns.balance`.
pub fn build_row(namespace: &Namespace, mutation: Mutation) -> Result<RowOp, BuildError> {
    let mut problems = Problems::default();
    let batch = Batch { mutations: vec![mutation], ..Batch::default() };
    let mut rows = Rows::new(namespace, &batch, &mut problems);
    rows.write(Place::Alone, &batch.mutations[0], &mut problems);
    let parts = rows.into_parts(TxnId(0), &mut problems); // the id is for messages alone
    problems.into_result()?;
    let (_, part) = parts.into_iter().next().expect("a mutation has a shard");
    Ok(Arc::unwrap_or_clone(part).pop().expect("a mutation has a row"))
}

/// Checks the name of one row, for reading it.
///
/// # Errors
///
/// Paths in the problems start at the row: `table`, `key.id`.
pub fn build_key(
    namespace: &Namespace,
    table: &str,
    key: &Columns,
) -> Result<(ShardId, RowKey), BuildError> {
    let mut problems = Problems::default();
    let found = key::key(namespace, table, key, Place::Alone, &mut Vec::new(), &mut problems);
    problems.into_result()?;
    let (_, key) = found.expect("a key without a problem");
    Ok((Token::of(&key.partition).shard(namespace.shards()), key))
}

/// Where in the request something stands; turned into a path only if something is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// A mutation of the batch.
    Mutation(u32),
    /// A condition of the batch.
    Condition(u32),
    /// A message of the batch.
    Message(u32),
    /// A row by itself.
    Alone,
}

impl Place {
    fn mutation(index: usize) -> Self {
        Self::Mutation(u32::try_from(index).unwrap_or(u32::MAX))
    }

    fn message(index: usize) -> Self {
        Self::Message(u32::try_from(index).unwrap_or(u32::MAX))
    }

    fn condition(index: usize) -> Self {
        Self::Condition(u32::try_from(index).unwrap_or(u32::MAX))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mutation(index) => write!(f, "mutations[{index}]"),
            Self::Condition(index) => write!(f, "conditions[{index}]"),
            Self::Message(index) => write!(f, "messages[{index}]"),
            Self::Alone => Ok(()),
        }
    }
}

/// The problems found so far.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    found: Vec<Problem>,
    more: bool,
}

impl Problems {
    /// Whether looking further is of no use.
    pub(crate) fn full(&self) -> bool {
        self.more
    }

    /// Notes a problem of a place, or of something below it (`below` starts with a dot or bracket).
    pub(crate) fn add(
        &mut self,
        place: Place,
        below: impl fmt::Display,
        message: impl fmt::Display,
    ) {
        if self.found.len() == MAX_PROBLEMS {
            self.more = true;
            return;
        }
        let path = format!("{place}{below}");
        let path = shorten(path.strip_prefix('.').unwrap_or(&path));
        self.found.push(Problem { path, message: shorten(&message.to_string()) });
    }

    pub(crate) fn into_result(self) -> Result<(), BuildError> {
        if self.found.is_empty() {
            Ok(())
        } else {
            Err(BuildError { problems: self.found, more: self.more })
        }
    }
}

/// A text without what exceeds [`MAX_SHOWN`]: names in it are the client's, and may be megabytes.
fn shorten(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Parts of a transaction: sorted by shard, none empty.
type Parts = Vec<(ShardId, Arc<Part>)>;
