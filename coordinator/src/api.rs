//! What the commit engine is asked and what it answers: the words of the gRPC service, typed.

use std::sync::Arc;

use wal_core::{
    AbortReason, Epoch, Millis, Row, RowKey, Sequence, ShardId, Timestamp, Transaction, TxnId,
};

/// How long a client waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The intent is durable: it will be driven to an outcome even if client and coordinator both die.
    Logged,
    /// It is decided.
    Committed,
    /// It is visible in every table store.
    Applied,
}

/// What a client gets for an accepted intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The transaction.
    pub id: TxnId,
    /// Its home.
    pub home: ShardId,
    /// The epoch in which the home logged it, 0 where it was not learned.
    pub epoch: Epoch,
    /// The record's sequence, 0 where it was not learned.
    pub seq: Sequence,
}

/// The answer to a submission. `Unknown` is never among them: it is what a wait that ends first says.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Durable, undecided (level `Logged` only).
    Logged(Receipt),
    /// Committed.
    Committed {
        /// The receipt.
        receipt: Receipt,
        /// The commit timestamp.
        timestamp: Timestamp,
        /// Whether it is known to be visible in every table store.
        applied: bool,
    },
    /// Closed for good.
    Aborted {
        /// The home.
        home: ShardId,
        /// Why.
        reason: AbortReason,
    },
    /// The id was already used for other content.
    IdReused,
    /// The id is at or below the floor: its outcome may have been forgotten.
    TooOld {
        /// The floor.
        floor: Millis,
    },
    /// The id is from too far in the future.
    FromFuture,
    /// No room: nothing was logged; try again later.
    Overloaded {
        /// What is full.
        what: &'static str,
        /// When to try again.
        retry_after_ms: u64,
    },
    /// A shard is not led: nothing was logged; try again later.
    Unavailable {
        /// Which.
        shard: ShardId,
    },
    /// The clocks of this process and of a shard's leader are too far apart: nothing was logged; another
    /// process may do it.
    ClocksApart {
        /// Which shard.
        shard: ShardId,
    },
}

/// The answer to a read.
#[derive(Clone, Debug, PartialEq)]
pub enum ReadAnswer {
    /// The rows, in the order asked, all at one point of the serial order.
    Rows(Vec<Row>),
    /// No room.
    Overloaded {
        /// When to try again.
        retry_after_ms: u64,
    },
    /// A shard is not led.
    Unavailable {
        /// Which.
        shard: ShardId,
    },
}

/// The answer to a question about an outcome.
#[derive(Clone, Debug, PartialEq)]
pub enum OutcomeAnswer {
    /// Committed.
    Committed {
        /// The receipt.
        receipt: Receipt,
        /// The commit timestamp.
        timestamp: Timestamp,
        /// Whether it is known to be visible in every table store.
        applied: bool,
    },
    /// Closed for good.
    Aborted {
        /// Why.
        reason: AbortReason,
    },
    /// Durable and being driven.
    Open,
    /// Unknown: an id that no shard has seen, or whose attempt is undecided.
    Unknown,
    /// At or below the floor.
    TooOld {
        /// The floor.
        floor: Millis,
    },
    /// A shard is not led.
    Unavailable {
        /// Which.
        shard: ShardId,
    },
}

/// A question about an outcome.
#[derive(Clone, Copy, Debug)]
pub struct OutcomeQuery {
    /// The transaction.
    pub id: TxnId,
    /// Its home, if a receipt or locator is at hand; without it every shard is asked.
    pub home: Option<ShardId>,
    /// Bar it from ever committing if it has not.
    pub fence: bool,
    /// Wait until it is decided (`Committed`) or visible (`Applied`).
    pub wait: Option<Level>,
}

/// What the commit engine is asked.
#[derive(Clone, Debug)]
pub enum Call {
    /// Commit a transaction.
    Submit {
        /// It.
        txn: Arc<Transaction>,
        /// When to answer.
        level: Level,
    },
    /// Read rows at one point of the serial order.
    Read {
        /// The rows with their shards, in the order of the answer.
        keys: Vec<(ShardId, RowKey)>,
    },
    /// What became of a transaction?
    Outcome(OutcomeQuery),
}

/// What the commit engine answers.
#[derive(Clone, Debug, PartialEq)]
pub enum CallAnswer {
    /// To `Submit`.
    Submit(Answer),
    /// To `Read`.
    Read(ReadAnswer),
    /// To `Outcome`.
    Outcome(OutcomeAnswer),
}
