//! What goes into the shard engine and what comes out of it.

use std::sync::Arc;

use bytes::Bytes;
use wal_core::log::ShardBatch;
use wal_core::{
    Attempt, Epoch, Millis, Nonce, Position, Row, RowKey, RowMutation, Sequence, ShardId, TableId,
    Transaction, TxnId,
};

use super::applier::ParkedChoice;
use crate::message::{Origin, ShardReply, ShardRequest};

/// How a shard proves that it still leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leadership {
    /// The log has one owner (the embedded log's folder is locked).
    Exclusive,
    /// By a lease that runs from the sending of any record that is later accepted.
    Lease {
        /// How long, microseconds.
        lease_us: u64,
        /// How much two clocks' rates may differ, parts per million.
        drift_ppm: u64,
    },
}

/// Bounds and times of one shard. Every queue of the engine is bounded by one of these.
#[derive(Clone, Copy, Debug)]
pub struct ShardLimits {
    /// Transactions that may wait for locks or rows.
    pub max_waiting: usize,
    /// Undecided prepared transactions.
    pub max_prepared: usize,
    /// Bytes of committed writes that the table store has not acknowledged.
    pub max_overlay_bytes: usize,
    /// Bytes of rows kept in memory once they are applied.
    pub max_cache_bytes: usize,
    /// Outcomes remembered; beyond it the floor advances faster.
    pub max_remembered: usize,
    /// How long an id is remembered if memory allows, milliseconds.
    pub id_window_ms: u64,
    /// Age at which an undecided attempt is recovered by its home; others wait twice as long.
    pub recover_after_us: u64,
    /// How far two clocks may be apart, microseconds.
    pub max_drift_us: i64,
    /// Rows of one flush to the table store.
    pub max_flush_rows: usize,
    /// How long a commit waits for others to be applied with it, unless somebody waits for it, microseconds.
    pub flush_every_us: u64,
    /// Bytes of log after which a checkpoint is written.
    pub checkpoint_every_bytes: u64,
}

/// Everything that is fixed while an engine lives.
#[derive(Clone, Debug)]
pub struct ShardConfig {
    /// Which shard.
    pub shard: ShardId,
    /// The log's identity: an `Epoch` record with another is fatal.
    pub log: Nonce,
    /// How leadership is proved.
    pub leadership: Leadership,
    /// Bounds.
    pub limits: ShardLimits,
}

/// Numbers a read of the table store, a flush to it, or a sync of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IoId(pub u64);

/// What the engine is told.
#[derive(Clone, Debug)]
pub enum ShardEvent {
    /// A record of the shard's log, in log order, from the hinted checkpoint or the beginning on.
    /// Fed until the shard leads; a leader does not read its own log.
    Logged {
        /// Its position.
        position: Position,
        /// Its bytes.
        record: Bytes,
    },
    /// Everything that was in the log a moment ago was fed: stand for leadership. The engine answers
    /// with an `Epoch` record in its next batch; feed the log from the last position on until it says
    /// [`ShardCommand::Leading`] or [`ShardCommand::Halt`].
    Stand {
        /// Unique to this candidacy.
        owner: Nonce,
        /// Where this process can be reached.
        address: String,
    },
    /// The batch that begins with this sequence is durable and accepted.
    Appended {
        /// Its epoch.
        epoch: Epoch,
        /// The first record's sequence.
        first: Sequence,
        /// The last record's sequence.
        last: Sequence,
        /// The first record's position.
        position: Position,
    },
    /// A batch is not durable, or nobody knows: the epoch is over.
    AppendFailed {
        /// What happened.
        why: String,
    },
    /// A message.
    Request {
        /// Whom to answer.
        origin: Origin,
        /// What is asked.
        request: ShardRequest,
    },
    /// The rows of a [`ShardCommand::ReadRows`], in its order.
    RowsRead {
        /// Which read.
        io: IoId,
        /// The rows.
        rows: Vec<Row>,
    },
    /// The read failed; the engine asks again after its next tick.
    ReadFailed {
        /// Which read.
        io: IoId,
    },
    /// The flush is in the table store.
    Flushed {
        /// Which flush.
        io: IoId,
    },
    /// The flush failed, perhaps in part; the engine sends it again after its next tick.
    FlushFailed {
        /// Which flush.
        io: IoId,
    },
    /// The table store refuses rows of the flush for good; what was beside them may have been applied.
    /// The engine parks them, and sends the rest as another flush.
    FlushRefused {
        /// Which flush.
        io: IoId,
        /// Places in the flush's mutations, each with the reason.
        rows: Vec<(usize, String)>,
    },
    /// Try parked rows again at once, not only when their time has come.
    RetryParked {
        /// Which.
        which: ParkedChoice,
    },
    /// Give parked rows up for good. Answered by [`ShardCommand::Discarded`] if this engine leads.
    DiscardParked {
        /// Names the answer.
        token: u64,
        /// Which.
        which: ParkedChoice,
    },
    /// Everything flushed before the [`ShardCommand::SyncStore`] survives the loss of power.
    Synced {
        /// Which sync.
        io: IoId,
    },
    /// Time passes. About every 10 ms.
    Tick,
    /// Stop leading: take nothing new, finish what is prepared, resign.
    Drain,
}

/// What the engine wants done. Replies and requests to other shards come out only when their cause is
/// durable: the runtime may send them at once.
#[derive(Debug)]
pub enum ShardCommand {
    /// Answer somebody.
    Reply {
        /// Whom.
        origin: Origin,
        /// What.
        reply: ShardReply,
    },
    /// Send a request to another shard (or this one) of the namespace.
    Tell {
        /// Which.
        shard: ShardId,
        /// What.
        request: ShardRequest,
    },
    /// Read rows of one table of the table store.
    ReadRows {
        /// Answer with it.
        io: IoId,
        /// Which rows, all of one table.
        keys: Vec<RowKey>,
    },
    /// Merge rows into the table store. One flush at a time is outstanding.
    Flush {
        /// Answer with it.
        io: IoId,
        /// What to merge, each row at most once.
        mutations: Arc<[RowMutation]>,
    },
    /// Rows were parked, for an operator to know.
    Parked {
        /// Of which table.
        table: TableId,
        /// How many.
        rows: usize,
        /// What the store says of the first.
        why: String,
    },
    /// The chosen parked rows were given up, durably.
    Discarded {
        /// As in the event.
        token: u64,
        /// How many there were.
        rows: usize,
    },
    /// Make what was flushed durable.
    SyncStore {
        /// Answer with it.
        io: IoId,
    },
    /// Remember where the newest checkpoint starts; then the log before `trim` may go.
    Checkpointed {
        /// Where replay may start.
        checkpoint: Position,
        /// What may be trimmed.
        trim: Position,
    },
    /// To this process's commit engine: start this attempt. Only a home says it, one at a time.
    Drive {
        /// The whole transaction.
        txn: Arc<Transaction>,
        /// Start of its age.
        start: Millis,
        /// The attempt.
        attempt: Attempt,
    },
    /// To this process's commit engine: find out what became of an attempt, barring it where it is not
    /// prepared, and tell every participant.
    Recover {
        /// The transaction.
        id: TxnId,
        /// The attempt.
        attempt: Attempt,
        /// Its participants.
        participants: Arc<[ShardId]>,
    },
    /// The shard is led by this engine from now on.
    Leading {
        /// In this epoch.
        epoch: Epoch,
    },
    /// This engine is finished: deposed, resigned or in doubt. Make a new one and replay.
    Halt {
        /// Why.
        why: HaltReason,
    },
}

/// Why an engine stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HaltReason {
    /// Another owner won the epoch.
    Deposed,
    /// An append failed or is unknown.
    AppendInDoubt(String),
    /// It was asked to drain, and has.
    Resigned,
    /// The log contradicts the protocol: nobody may lead this shard until a person has looked.
    Corrupt(String),
}

/// A batch for the log, taken from the engine by its runtime whenever it is ready to append.
pub type TakenBatch = ShardBatch;
