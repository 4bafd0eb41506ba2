//! The Rust client of Handfast: batches of writes and conditions over many tables and partitions, each
//! committed as a whole or not at all.
//!
//! ```no_run
//! use handfast_client::{Client, Outcome, Transaction, column};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let client = Client::connect(["http://127.0.0.1:7420"]).await?;
//!     let transfer = Transaction::new("bank")
//!         .require("accounts", "alice", column("balance").at_least(30))
//!         .add("accounts", "alice", ("balance", -30))
//!         .add("accounts", "bob", ("balance", 30))
//!         .insert("transfers", ("alice", 1), [("recipient", "bob")]);
//!     match client.submit(&transfer).await? {
//!         Outcome::Committed(committed) => println!("committed at {}", committed.timestamp_us),
//!         Outcome::Aborted(aborted) => println!("aborted: {}", aborted.reason),
//!         Outcome::Unknown(unknown) => println!("not known yet, ask again: {}", unknown.locator),
//!     }
//!     Ok(())
//! }
//! ```
//!
//! Words: a [`Transaction`] has an id that it keeps over every retry, so that it commits at most once.
//! Its [`Outcome`] is committed, aborted, or unknown; **unknown is never aborted**, and a new transaction
//! for the same purpose may only be made after the old one is definitely aborted. [`Client::submit`]
//! resolves what it can by itself: it sends the same transaction again, under the same id, for as long as
//! [`RetryPolicy`] allows. [`Client::transact`] runs a closure that reads and writes.
//! [`Client::stream`] is for throughput, [`Client::subscribe`] for what commits.

mod aborted;
mod admin;
mod client;
mod condition;
mod connect;
mod delayed;
mod errors;
mod failure;
mod key;
mod message;
mod options;
mod outcome;
mod questions;
mod row;
mod stream;
mod submit;
mod subscribe;
mod transact;
mod transaction;

pub use aborted::{AbortReason, Aborted};
pub use admin::{Admin, AdminError};
pub use client::Client;
pub use condition::{ColumnCondition, Condition, column, exists, not_exists, unchanged};
pub use connect::ConnectError;
pub use delayed::Due;
pub use errors::{ExplainError, OutcomeError, ReadError, SubmitError, SubscribeError, Violation};
pub use handfast_proto::v1::{ArrivedFrom, Event, EventKind, Value, value::Kind};
pub use handfast_proto::{DEFAULT_ENDPOINT, v1};
pub use key::{Columns, Key};
pub use message::{Durable, Message};
pub use options::{Level, Options, RetryPolicy};
pub use outcome::{Committed, Locator, Outcome, Receipt, Unknown};
pub use questions::Explained;
pub use row::{Row, RowVersion};
pub use stream::{StreamOptions, SubmitStream, Submitted};
pub use subscribe::{
    Change, CommittedMessage, CommittedTransaction, Subscribed, Subscription, Told,
};
pub use transact::{Scope, TransactError, Transacted};
pub use transaction::Transaction;
pub use uuid::Uuid;
