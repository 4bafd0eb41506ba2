//! Transactions that are due later: written as rows of a table of the namespace, changed there, and done from
//! there when they are due. See [`delivery::schedule`].

mod fire;
mod list;
mod write;

use delivery::Name;
use delivery::schedule::DelayedTable;
use wal_core::namespace::Namespace;
use wal_core::value::Value;

pub use fire::Firing;
pub(super) use write::{change, check_direct, due_transaction, rows};

/// The table of a namespace that keeps what is due later, if it has one.
pub fn delayed_table(namespace: &Namespace) -> Option<DelayedTable> {
    DelayedTable::new(namespace.delayed_table()?.clone())
}

/// The key of a part's row, in names.
fn key_of(name: Name) -> Vec<(String, Option<Value>)> {
    vec![
        ("id".to_owned(), Some(Value::Uuid(name.id.to_uuid()))),
        ("place".to_owned(), Some(Value::Int(name.index.into()))),
    ]
}
