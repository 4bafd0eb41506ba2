//! What a shard's log holds.
//!
//! ```text
//! Epoch(7) ── Prepare(t1) ── Prepare(t2) ── Commit(t1) ── CommitSingle(t3) ── Close(t4) ── …
//!   seq 0       1              2              3             4                   5
//! ```
//!
//! Every record carries its epoch, its sequence number and the hash of the accepted record before it,
//! so that accepted records are a function of the log's prefix: see [`Acceptor`].
//! A transaction is committed as soon as every participant's log holds an accepted `Prepare` of the
//! same attempt; `Commit` only says so. A `CommitSingle` is a whole transaction of one shard.

mod acceptor;
pub mod codec;
pub mod pieces;
pub mod vocabulary;

pub use acceptor::{Acceptor, Verdict};
pub use codec::{DecodeError, RECORD_VERSION, decode, decode_header, encode_into};
pub use pieces::{Piece, Reader, Writer};

use std::sync::Arc;

use crate::id::{Attempt, Epoch, Fingerprint, Nonce, Sequence, ShardId, TxnId};
use crate::row::RowKey;
use crate::time::{Millis, Timestamp};
use crate::txn::{AbortReason, Part, Transaction};

/// What every record carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The epoch of its writer.
    pub epoch: Epoch,
    /// Its number within the epoch.
    pub seq: Sequence,
    /// The hash of the accepted record before it (0 before the first).
    pub previous: u64,
}

/// A decoded record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its place in the chain.
    pub header: Header,
    /// What it says.
    pub body: Body,
}

/// A result of an `Add`, in the order of the adds in the part's rows and cells.
pub type AddResults = Vec<bytes::Bytes>;

/// One participant's durable promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepare {
    /// The transaction.
    pub id: TxnId,
    /// Its content's hash.
    pub fingerprint: Fingerprint,
    /// The namespace version it was validated under.
    pub namespace_version: u32,
    /// The attempt.
    pub attempt: Attempt,
    /// Start of its age: the id's own time, or a delayed intent's first firing.
    pub start: Millis,
    /// The timestamp that this shard proposes.
    pub proposal: Timestamp,
    /// Every participant, sorted.
    pub participants: Vec<ShardId>,
    /// This shard's rows: locked, checked, and written if it commits.
    pub part: Arc<Part>,
    /// What the part's adds came to.
    pub adds: AddResults,
    /// At the home, the other participants' parts: with `part`, the whole transaction.
    pub others: Vec<(ShardId, Arc<Part>)>,
    /// Older undecided transactions on whose commit this one depends. Empty at this write version;
    /// a reader that meets another must halt.
    pub depends_on: Vec<TxnId>,
}

/// A whole transaction of one shard, checked and committed by one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitSingle {
    /// The transaction.
    pub id: TxnId,
    /// Its content's hash.
    pub fingerprint: Fingerprint,
    /// Its commit timestamp.
    pub timestamp: Timestamp,
    /// Its rows. Conditions were checked and are not kept.
    pub part: Arc<Part>,
    /// What the part's adds came to.
    pub adds: AddResults,
}

/// Some of what was committed to a row, which an administrator has given up because the table store will
/// not take it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discarded {
    /// The row.
    pub key: RowKey,
    /// The oldest write time that is given up.
    pub from: Timestamp,
    /// The newest: what is written later stays.
    pub until: Timestamp,
}

/// What a record says. The numbers are pinned in the codec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// A new leader. Counts only if its epoch is the current one plus one, and first in log order.
    Epoch {
        /// The log's identity.
        log: Nonce,
        /// Tells two candidates for the same epoch apart.
        owner: Nonce,
        /// Where the leader can be reached.
        address: String,
        /// The leader's wall clock, microseconds.
        wall_us: i64,
    },
    /// The home holds the whole transaction and will drive it: it could not prepare at once.
    Intent {
        /// The whole transaction.
        transaction: Arc<Transaction>,
        /// Start of its age.
        start: Millis,
    },
    /// A promise.
    Prepare(Box<Prepare>),
    /// The attempt that this shard prepared is committed.
    Commit {
        /// The transaction.
        id: TxnId,
        /// The attempt.
        attempt: Attempt,
        /// The greatest proposal.
        timestamp: Timestamp,
    },
    /// A transaction of one shard.
    CommitSingle(Box<CommitSingle>),
    /// The attempt that this shard prepared is not and never will be committed.
    Abort {
        /// The transaction.
        id: TxnId,
        /// The attempt.
        attempt: Attempt,
    },
    /// This shard will never prepare this attempt.
    Refuse {
        /// The transaction.
        id: TxnId,
        /// The attempt.
        attempt: Attempt,
    },
    /// This shard will never prepare any attempt: the transaction is aborted for good.
    Close {
        /// The transaction.
        id: TxnId,
        /// Its content's hash, if it is known.
        fingerprint: Option<Fingerprint>,
        /// Its participants, if they are known; the home is told by whoever closes.
        participants: Vec<ShardId>,
        /// Why.
        reason: AbortReason,
    },
    /// Every participant knows these outcomes: below the floor they may be forgotten.
    Finished {
        /// The transactions.
        ids: Vec<TxnId>,
    },
    /// Ids at or below this time may have been forgotten.
    Floor {
        /// The time.
        floor: Millis,
    },
    /// Some of the shard's state as of the first chunk's predecessor.
    Checkpoint {
        /// Chunk number, from 0.
        chunk: u32,
        /// Whether this is the last one.
        last: bool,
        /// The encoded part of the state.
        payload: bytes::Bytes,
    },
    /// These writes, which the table store refuses, will never be applied.
    Discard {
        /// Which.
        rows: Vec<Discarded>,
    },
    /// The leader is gone and answers nothing more: no lease need be waited for.
    Resign,
    /// Says only that its writer still leads.
    Barrier,
}

/// The newest write version: every kind of record that this program writes is allowed by it, and it reads
/// whatever namespaces up to it have in their logs.
pub const NEWEST_WRITE_VERSION: u32 = 4;
/// The write version of a namespace that was created before there were any.
pub const OLDEST_WRITE_VERSION: u32 = 1;
/// The write version from which on [`Body::Discard`] may be written.
pub const DISCARDS_SINCE: u32 = 2;
/// The write version from which on parts may have rows of [`crate::message::MESSAGES`].
pub const MESSAGES_SINCE: u32 = 3;
/// The write version from which on parts may have rows of [`crate::region::REGIONS`] and rows that were
/// written in another region, and checkpoints say the newest version of the namespace.
pub const REGIONS_SINCE: u32 = 4;

impl Body {
    /// The least write version of a namespace in whose log a record of this kind may stand: whoever reads it
    /// knows all kinds up to that one. (Messages in it need [`MESSAGES_SINCE`],
    /// what concerns other regions [`REGIONS_SINCE`].)
    pub const fn write_version(&self) -> u32 {
        match self {
            Self::Discard { .. } => DISCARDS_SINCE,
            Self::Epoch { .. }
            | Self::Intent { .. }
            | Self::Prepare(_)
            | Self::Commit { .. }
            | Self::CommitSingle(_)
            | Self::Abort { .. }
            | Self::Refuse { .. }
            | Self::Close { .. }
            | Self::Finished { .. }
            | Self::Floor { .. }
            | Self::Checkpoint { .. }
            | Self::Resign
            | Self::Barrier => OLDEST_WRITE_VERSION,
        }
    }

    /// The transaction that the record is about, if it is about one.
    pub fn txn(&self) -> Option<TxnId> {
        match self {
            Self::Intent { transaction, .. } => Some(transaction.id),
            Self::Prepare(prepare) => Some(prepare.id),
            Self::CommitSingle(commit) => Some(commit.id),
            Self::Commit { id, .. }
            | Self::Abort { id, .. }
            | Self::Refuse { id, .. }
            | Self::Close { id, .. } => Some(*id),
            Self::Epoch { .. }
            | Self::Finished { .. }
            | Self::Floor { .. }
            | Self::Checkpoint { .. }
            | Self::Discard { .. }
            | Self::Resign
            | Self::Barrier => None,
        }
    }
}
