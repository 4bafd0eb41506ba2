//! The vocabulary, records and log of Handfast.
//!
//! Words, as they are used in every crate:
//!
//! * a **transaction** is a set of mutations and conditions that commits as a whole. It is named by a
//!   [`TxnId`] that the client chose and the [`Fingerprint`] of its content;
//! * a **shard** is one partition of a namespace's intent log and the range of tokens that it owns;
//! * an **attempt** is one try to commit a transaction, an **epoch** one term of leadership of a shard;
//! * a **record** is what a shard's log holds: see [`record`];
//! * a **position** is a place in the log, a **sequence** number the count of records of one epoch.
//!
//! Nothing here does protocol work. Engines live in `participant` and `coordinator`.

pub mod build;
pub mod cql;
pub mod id;
pub mod json;
pub mod limits;
pub mod log;
pub mod message;
pub mod namespace;
pub mod nearest;
pub mod problem;
pub mod record;
pub mod region;
pub mod row;
pub mod schema;
pub mod time;
pub mod token;
pub mod txn;
pub mod value;

pub use id::{
    Attempt, ColumnId, Epoch, Fingerprint, Nonce, Position, Sequence, ShardId, TableId, TxnId,
};
pub use row::{Cell, CellMutation, Row, RowKey, RowMutation, RowVersion};
pub use time::{Clock, Millis, Now, Timestamp};
pub use txn::{
    AbortReason, CellOp, CompareOp, Condition, ConditionKind, FoundValue, RowOp, Transaction,
    WriteOp,
};
