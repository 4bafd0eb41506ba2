//! What coordinators and shards say to each other.
//!
//! Every request may be lost, delayed, repeated and reordered; every handler is idempotent.

pub mod codec;

use std::sync::Arc;

use wal_core::txn::Part;
use wal_core::{
    AbortReason, Attempt, Epoch, Fingerprint, Millis, Row, RowKey, Sequence, ShardId, Timestamp,
    Transaction, TxnId,
};

/// Whom to answer: a process and a number that means something to its commit engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// The process.
    pub node: u64,
    /// The conversation.
    pub token: u64,
}

/// A request to prepare one participant's part of one attempt.
#[derive(Clone, Debug)]
pub struct PrepareRequest {
    /// The transaction.
    pub id: TxnId,
    /// Its content's hash.
    pub fingerprint: Fingerprint,
    /// The namespace version it was validated under.
    pub namespace_version: u32,
    /// The attempt.
    pub attempt: Attempt,
    /// The epoch in which the shard must be led for the promise to be given.
    pub expected_epoch: Epoch,
    /// Start of its age.
    pub start: Millis,
    /// The coordinator's wall clock, microseconds.
    pub clock_us: i64,
    /// Every participant, sorted.
    pub participants: Arc<[ShardId]>,
    /// The shard's own part.
    pub part: Arc<Part>,
    /// The whole, for the home only.
    pub whole: Option<Arc<Transaction>>,
}

/// What is asked of a shard.
#[derive(Clone, Debug)]
pub enum ShardRequest {
    /// Check and commit a transaction that touches this shard alone.
    Single {
        /// The transaction, with one part.
        txn: Arc<Transaction>,
        /// Answer again once it is visible in the table store.
        applied: bool,
        /// Answer once the outcome is known durable; without it, as soon as possible all the same.
        clock_us: i64,
    },
    /// Prepare a part.
    Prepare(Box<PrepareRequest>),
    /// The attempt is committed.
    Commit {
        /// The transaction.
        id: TxnId,
        /// The attempt.
        attempt: Attempt,
        /// The greatest proposal.
        timestamp: Timestamp,
        /// The home, which waits for an acknowledgement.
        home: ShardId,
        /// Answer [`ShardReply::Applied`] once it is visible in the table store.
        applied: bool,
    },
    /// The attempt is aborted.
    Abort {
        /// The transaction.
        id: TxnId,
        /// The attempt.
        attempt: Attempt,
    },
    /// To the home: hold the whole transaction and drive it to an outcome; answer when it is durable
    /// and again when it is decided.
    Open {
        /// The whole.
        txn: Arc<Transaction>,
        /// Start of its age.
        start: Millis,
    },
    /// Recovery: say durably whether this attempt is prepared here, and bar it if it is not.
    Resolve {
        /// The transaction.
        id: TxnId,
        /// The attempt.
        attempt: Attempt,
    },
    /// The outcome is that it was closed: drop every attempt, remember, acknowledge to the home.
    Closed {
        /// The transaction.
        id: TxnId,
        /// Its content's hash, if known.
        fingerprint: Option<Fingerprint>,
        /// Its participants.
        participants: Arc<[ShardId]>,
        /// Why.
        reason: AbortReason,
    },
    /// To the home, from a participant: it durably holds the outcome.
    Acknowledge {
        /// The transaction.
        id: TxnId,
        /// Who holds it.
        shard: ShardId,
    },
    /// From the home: every participant holds the outcome.
    Finished {
        /// The transaction.
        id: TxnId,
        /// The highest bar of the attempts that the home ever promised: no other can ever commit. The
        /// outcome is kept until the floor has passed it.
        until: Millis,
    },
    /// To the home: a permanent reason was found against an attempt that it drives. Only the home closes
    /// then: another participant may be looking at an attempt that was given up long ago.
    Condemn {
        /// The transaction.
        id: TxnId,
        /// The attempt.
        attempt: Attempt,
        /// The reason.
        reason: AbortReason,
    },
    /// What is known of a transaction? Passive: changes nothing.
    Ask {
        /// The transaction.
        id: TxnId,
        /// Answer only when an outcome is known (or the shard stops leading).
        wait: bool,
    },
    /// Bar the transaction from ever committing, unless it is committed already; answer the outcome.
    Fence {
        /// The transaction.
        id: TxnId,
    },
    /// Answer [`ShardReply::Applied`] once the transaction is visible in this shard's table store.
    AwaitApplied {
        /// The transaction.
        id: TxnId,
    },
    /// `Read`, round one: values, once nothing undecided covers them.
    Read {
        /// The rows, all of this shard.
        keys: Arc<[RowKey]>,
        /// The only round, for a read of one shard: the answer must prove leadership by itself.
        only: bool,
    },
    /// `Read`, round two: has anything written the rows since round one's mark?
    Confirm {
        /// The rows, as in round one.
        keys: Arc<[RowKey]>,
        /// Round one's epoch.
        epoch: Epoch,
        /// Round one's mark.
        mark: Sequence,
        /// Which try of the reader's this is.
        tries: u32,
    },
    /// `Read` that holds: values, and nothing writes the rows for a while from then on.
    Hold {
        /// The rows, all of this shard.
        keys: Arc<[RowKey]>,
        /// Which try of the reader's this is: an earlier one's hold ends.
        tries: u32,
    },
    /// The reader needs what it holds no longer.
    Release {
        /// Of this try, and of earlier ones.
        tries: u32,
    },
}

impl ShardRequest {
    /// The protocol's name of the step, for traces.
    pub const fn step(&self) -> &'static str {
        match self {
            Self::Single { .. } => "single",
            Self::Prepare(_) => "prepare",
            Self::Commit { .. } => "commit",
            Self::Abort { .. } => "abort",
            Self::Open { .. } => "open",
            Self::Resolve { .. } => "resolve",
            Self::Closed { .. } => "closed",
            Self::Acknowledge { .. } => "acknowledge",
            Self::Finished { .. } => "finished",
            Self::Condemn { .. } => "condemn",
            Self::Ask { .. } => "ask",
            Self::Fence { .. } => "fence",
            Self::AwaitApplied { .. } => "await_applied",
            Self::Read { .. } => "read",
            Self::Confirm { .. } => "confirm",
            Self::Hold { .. } => "hold",
            Self::Release { .. } => "release",
        }
    }

    /// The transaction that it is about, if it is about one.
    pub fn txn(&self) -> Option<TxnId> {
        match self {
            Self::Single { txn, .. } | Self::Open { txn, .. } => Some(txn.id),
            Self::Prepare(prepare) => Some(prepare.id),
            Self::Commit { id, .. }
            | Self::Abort { id, .. }
            | Self::Resolve { id, .. }
            | Self::Closed { id, .. }
            | Self::Acknowledge { id, .. }
            | Self::Finished { id, .. }
            | Self::Condemn { id, .. }
            | Self::Ask { id, .. }
            | Self::Fence { id }
            | Self::AwaitApplied { id } => Some(*id),
            Self::Read { .. } | Self::Confirm { .. } | Self::Hold { .. } | Self::Release { .. } => {
                None
            }
        }
    }
}

/// A participant's answer to `Prepare`.
#[derive(Clone, Debug, PartialEq)]
pub enum Vote {
    /// Promised, durably.
    Yes {
        /// The timestamp proposed.
        proposal: Timestamp,
    },
    /// Not this attempt; another may do.
    No(NoReason),
    /// Not this attempt, and none: for a reason that only the home may make durable.
    Condemned(AbortReason),
    /// The transaction has an outcome already.
    Decided(Outcome),
    /// The id was used for other content.
    IdReused,
    /// The id, or the attempt's nonce, is at or below the floor.
    TooOld {
        /// The floor.
        floor: Millis,
    },
    /// The id is from too far ahead of the shard's clock.
    FromFuture,
}

/// Why an attempt was not prepared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoReason {
    /// The shard is led in another epoch, and did not hold the attempt.
    WrongEpoch {
        /// The epoch in which it is led.
        current: Epoch,
    },
    /// It holds another undecided attempt of the same transaction.
    Busy,
    /// It barred the attempt, or said no before.
    Refused,
    /// No room.
    Overloaded,
    /// Its clock, or its last timestamp, is too far ahead of the coordinator's clock.
    Drift,
    /// It was validated under a version of the namespace that the shard's server has not seen yet.
    NewerVersion,
}

/// What became of a transaction, for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Committed.
    Committed {
        /// Its commit timestamp.
        timestamp: Timestamp,
        /// The epoch of the shard that answers, when it logged the commit.
        epoch: Epoch,
        /// The sequence of that record.
        seq: Sequence,
    },
    /// Closed: it will never commit.
    Closed(AbortReason),
}

/// What a shard knows when it is asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Known {
    /// The outcome.
    Outcome {
        /// It.
        outcome: Outcome,
        /// The participants, where known (empty for a transaction of one shard).
        participants: Arc<[ShardId]>,
    },
    /// Undecided, and will be driven to an outcome by its home.
    Open {
        /// The participants.
        participants: Arc<[ShardId]>,
    },
    /// Prepared here, undecided, home elsewhere.
    Prepared {
        /// The participants.
        participants: Arc<[ShardId]>,
    },
    /// Never seen, or waiting for a lock.
    Nothing,
    /// At or below the floor, and nothing is remembered.
    TooOld {
        /// The floor.
        floor: Millis,
    },
}

/// The answer to `Resolve`.
#[derive(Clone, Debug, PartialEq)]
pub enum Resolution {
    /// Prepared, durably.
    Prepared {
        /// The timestamp proposed.
        proposal: Timestamp,
    },
    /// Barred, durably.
    Refused,
    /// The transaction has an outcome already.
    Decided {
        /// It.
        outcome: Outcome,
        /// The attempt that was committed (of a closed one: nothing).
        attempt: Attempt,
    },
}

/// What a shard answers. Each names the shard, since replies are matched by it.
#[derive(Clone, Debug)]
pub enum ShardReply {
    /// To `Prepare`.
    Voted {
        /// The transaction.
        id: TxnId,
        /// The attempt.
        attempt: Attempt,
        /// The answer.
        vote: Vote,
    },
    /// To `Single`: the outcome, or why there is none (never `Vote::Yes`).
    Single {
        /// The transaction.
        id: TxnId,
        /// The answer.
        vote: Vote,
    },
    /// To `Open`, `Prepare` at a busy home: the intent is durable and will be driven.
    Opened {
        /// The transaction.
        id: TxnId,
        /// The home's epoch.
        epoch: Epoch,
    },
    /// To `Single`, `Commit` and `AwaitApplied`.
    Applied {
        /// The transaction.
        id: TxnId,
    },
    /// To `Resolve`.
    Resolved {
        /// The transaction.
        id: TxnId,
        /// The attempt.
        attempt: Attempt,
        /// The answer.
        resolution: Resolution,
    },
    /// To `Ask`, `Open` (once decided) and `Fence`.
    Known {
        /// The transaction.
        id: TxnId,
        /// What is known.
        known: Known,
    },
    /// To `Read`.
    Rows {
        /// The epoch.
        epoch: Epoch,
        /// For round two.
        mark: Sequence,
        /// The rows, in the order asked.
        rows: Vec<Row>,
    },
    /// To `Confirm`.
    Confirmed {
        /// The try, as it was asked: an earlier one's answer says nothing about this one.
        tries: u32,
        /// Whether nothing changed since round one.
        unchanged: bool,
    },
    /// To `Hold`.
    Held {
        /// The try, as it was last asked.
        tries: u32,
        /// How long nothing writes the rows, from some instant after the request was sent, microseconds
        /// of the shard's clock.
        held_us: u64,
        /// The rows, in the order asked.
        rows: Vec<Row>,
    },
    /// The shard is not led here, or not yet; the request had no effect.
    NotLeading {
        /// The newest epoch that is known here.
        epoch: Epoch,
    },
    /// No room; the request had no effect.
    Overloaded,
}
