//! Batches, keys and rows as JSON: what the command line reads and prints.
//!
//! ```json
//! {
//!   "id": "01983e5c-7d10-7000-8000-000000000001",
//!   "mutations": [
//!     {"put":    {"table": "accounts", "key": {"id": "alice"}, "columns": {"balance": 100, "note": null}}},
//!     {"insert": {"table": "ledger", "key": {"account": "alice", "seq": 1}, "columns": {}}},
//!     {"add":    {"table": "accounts", "key": {"id": "bob"}, "columns": {"balance": -5}}},
//!     {"delete": {"table": "ledger", "key": {"account": "bob", "seq": 1}, "columns": ["note"]}},
//!     {"delete": {"table": "ledger", "key": {"account": "bob", "seq": 2}}}
//!   ],
//!   "conditions": [
//!     {"table": "accounts", "key": {"id": "alice"}, "exists": true},
//!     {"table": "accounts", "key": {"id": "alice"}, "column": "balance", "op": ">=", "value": 10},
//!     {"table": "accounts", "key": {"id": "bob"}, "column": "note", "in": ["a", "b"]},
//!     {"table": "accounts", "key": {"id": "bob"}, "version": "0123456789abcdef0123456789abcdef"}
//!   ],
//!   "messages": [
//!     {"key": "alice", "headers": {"kind": "paid"}, "payload": {"json": {"amount": 5}}},
//!     {"content_type": "image/png", "payload": {"blob": "0x89504e47"}},
//!     {"payload": "some text"}
//!   ],
//!   "regions": ["us"]
//! }
//! ```
//!
//! One mutation by itself is what a message to a [target of tables](crate::namespace::TargetPlace::Table) carries.
//!
//! `id`, `mutations`, `conditions`, `messages` and `regions` may each be left out. Operators are `=`, `!=`, `<`, `<=`, `>`,
//! `>=`. A put of null deletes the column. How each type is written is told in [`crate::value`]'s
//! `from_json`. A key named twice in one object is an error, not the last one's victory.

mod message;
mod object;
mod read;
mod row;
mod strict;
#[cfg(test)]
mod tests;
mod write;

pub use message::message_to_json;
pub use read::{JsonBatch, parse_batch, parse_key, parse_mutation};
pub use row::RowView;
pub use strict::{NotJson, parse};
pub use write::{batch_to_json, key_to_json};
