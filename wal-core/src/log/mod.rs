//! The intent log: a port, its clauses, and the logs that implement it.
//!
//! A namespace's log has one ordered sequence of records per shard. Who may write is decided by the
//! records themselves (see [`crate::record::Acceptor`]); the log only stores and orders them.
//!
//! # Clauses
//!
//! 1. **Order.** Records of one shard have strictly growing positions, and [`IntentLog::replay`] visits
//!    them in that order. The records of one [`ShardBatch`] are adjacent in their shard.
//! 2. **Durability.** A batch is reported [`Appended::Durable`] only when all of it would survive the
//!    crash of the process and the loss of power (embedded: fdatasync; Kafka: `acks=all`).
//! 3. **Unknown is not failure.** [`Appended::Unknown`] means that the records may or may not be, or
//!    later become, part of the log. [`Appended::Rejected`] means that they never will be.
//! 4. **Nothing after a doubt.** After `Unknown` or `Rejected` for a shard, every later batch of the same
//!    shard and epoch is rejected: the owner must take a new epoch.
//! 5. **Batches of one shard complete in the order in which they were submitted.**
//! 6. **Completion.** The callback of every append is called exactly once, from any thread, also when the
//!    log is closed. It must not block.
//! 7. **Replay** visits every record of the asked shards that was durable when the call began, from the
//!    given positions on, and may visit newer ones. It returns where each shard's next visit starts.
//!    Replaying from a returned position misses nothing and repeats nothing. A [`Tail`] does the same again
//!    and again, and waits where there is nothing; each of its visits ends soon after [`VISIT_BYTES`], so
//!    that who follows a log takes no more of it at once than that.
//! 8. **Trim** makes records before a position unreadable, at once or later, never any at or after it.
//!    Replaying from a trimmed position fails with [`LogError::Trimmed`] rather than skipping.
//! 9. **Damage** is an error ([`LogError::Damaged`]), never a shorter log. Only a tail that was never
//!    reported durable may be cut.
//! 10. **Identity.** A log has a nonce, drawn when it was created, the same for ever.
//! 11. **Hints.** The newest hint stored for a shard that is known durable is returned; a lost hint costs time,
//!     never correctness.
//! 12. **One owner.** Embedded: a second open of the same folder fails with [`LogError::Locked`]. Kafka has any
//!     number; epochs decide among them.
//!
//! And one for callers, which a log may rely on by rejecting what breaks it:
//!
//! 13. **Epochs.** Through one handle, the batches of a shard's epoch have the sequences 0, 1, 2, …,
//!     without a gap; after them come only those of a later epoch. Whoever opens a log takes a new epoch,
//!     and appends record 1 only after reading its record 0 back as the winner.

pub mod conformance;
pub mod file;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod memory;
pub mod segment;
mod tail;

pub use tail::{Tail, VISIT_BYTES};

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::id::{Epoch, Nonce, Position, Sequence, ShardId};

/// Records of one shard, encoded back to back in one buffer.
#[derive(Clone, Debug, Default)]
pub struct ShardBatch {
    /// The shard.
    pub shard: ShardId,
    /// The epoch under which they were written (also inside each record).
    pub epoch: Epoch,
    /// The sequence of the first one (also inside each record).
    pub first: Sequence,
    /// The encoded records, one after the other.
    pub bytes: Bytes,
    /// Where each record ends in `bytes`; never empty, the last equals `bytes.len()`.
    pub ends: Vec<u32>,
}

impl ShardBatch {
    /// The records one by one.
    pub fn records(&self) -> impl Iterator<Item = Bytes> + '_ {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| self.bytes.slice(start as usize..*end as usize))
    }
}

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Appended {
    /// All of it is durable; the position of its first record.
    Durable {
        /// Replaying from here visits the batch's first record first.
        first: Position,
    },
    /// Nobody knows. The epoch is over; the next one will find the truth.
    Unknown {
        /// What happened.
        why: String,
    },
    /// None of it is in the log, nor will it be.
    Rejected {
        /// What happened.
        why: String,
    },
}

/// Called with one result for each batch of an append, in their order.
pub type AppendDone = Box<dyn FnOnce(Vec<Appended>) + Send>;

/// Called for every record: shard, position, encoded record.
pub type Visit<'a> = &'a mut dyn FnMut(ShardId, Position, Bytes) -> Result<(), LogError>;

/// What can go wrong outside an append.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Another process owns the log.
    #[error(
        "the log is in use by another process: {what}; stop that server, or choose another data folder"
    )]
    Locked {
        /// What is locked.
        what: String,
    },
    /// The log holds bytes that cannot have been written by Handfast, before the last durable batch.
    #[error("the log is damaged: {what}; restore it from a copy: nothing was cut or changed")]
    Damaged {
        /// Where and how.
        what: String,
    },
    /// The log was written in a format that this version does not read.
    #[error(
        "the log has format {found}, this version reads {expected}; use the version that wrote it"
    )]
    Format {
        /// The format found.
        found: u32,
        /// The format that this version reads.
        expected: u32,
    },
    /// The position was trimmed.
    #[error("position {asked} of shard {shard} was trimmed; the log starts at {first}")]
    Trimmed {
        /// The shard.
        shard: ShardId,
        /// What was asked.
        asked: Position,
        /// Where the log starts.
        first: Position,
    },
    /// The servers that keep the log cannot be reached.
    #[error("cannot reach Kafka at {brokers}: {why}; check `log.brokers`, and that they run")]
    Unreachable {
        /// Where they should be.
        brokers: String,
        /// What was tried and what it came to.
        why: String,
    },
    /// The servers that keep the log do not let this one in.
    #[error(
        "Kafka at {brokers} does not let this server in: {why}; check sasl.mechanism, sasl.username and \
         sasl.password in [log.client], and the variables of the environment that they name"
    )]
    Login {
        /// Where they are.
        brokers: String,
        /// What a broker said.
        why: String,
    },
    /// The log could lose what it acknowledges, or is somebody else's.
    #[error("the topic {log} cannot be the log: {problems}")]
    Unsafe {
        /// The topic.
        log: String,
        /// Everything that is wrong, each with its fix.
        problems: String,
    },
    /// The log is not the one that was written to: acknowledged records are gone.
    #[error(
        "the topic {log} is not the log that was written: {what}. What was acknowledged and not yet \
         applied is lost with it: restore the topic, or give it up with `handfast namespace recover \
         --new-log`, which first says what is lost"
    )]
    Lost {
        /// The topic.
        log: String,
        /// How that was seen.
        what: String,
    },
    /// The visitor stopped the replay.
    #[error("replay stopped: {0}")]
    Stopped(String),
    /// Input or output failed.
    #[error("log: cannot {action}: {source}")]
    Io {
        /// What was tried.
        action: String,
        /// Why it failed.
        source: std::io::Error,
    },
}

/// The durable, ordered log of one namespace. See the module's clauses.
pub trait IntentLog: Send + Sync {
    /// The log's nonce (clause 10).
    fn identity(&self) -> Nonce;

    /// Submits batches of any shards; returns at once. `done` gets one result per batch (clauses 1–6).
    /// The log bounds what it queues by rejecting; callers keep few appends in flight.
    fn append(&self, batches: Vec<ShardBatch>, done: AppendDone);

    /// Visits the records of the shards in `from`, each from its position on (clauses 1, 7–9). Blocks.
    /// `Position(0)` stands for the first record that is left: it never fails with `Trimmed`.
    fn replay(
        &self,
        from: &BTreeMap<ShardId, Position>,
        visit: Visit<'_>,
    ) -> Result<BTreeMap<ShardId, Position>, LogError>;

    /// Goes on visiting the records of the shards in `from`, each from its position on, as they come (clause
    /// 7). Positions are as of [`Self::replay`]; one that was trimmed is refused here, or at the first visit.
    fn tail(&self, from: BTreeMap<ShardId, Position>) -> Result<Box<dyn Tail + '_>, LogError> {
        Ok(Box::new(tail::Replaying::new(self, from)))
    }

    /// Allows records before `before` to be dropped (clause 8). Blocks shortly.
    fn trim(&self, shard: ShardId, before: Position) -> Result<(), LogError>;

    /// Stores where the newest checkpoint of a shard starts (clause 11). Blocks shortly.
    fn store_hint(&self, shard: ShardId, checkpoint: Position) -> Result<(), LogError>;

    /// The stored hint of a shard, if any.
    fn hint(&self, shard: ShardId) -> Result<Option<Position>, LogError>;

    /// Bytes that the log takes on disk (0 if it cannot tell).
    fn size_bytes(&self) -> u64;
}
