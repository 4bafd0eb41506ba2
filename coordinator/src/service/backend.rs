//! What the service needs from the process around it.

use std::sync::Arc;

use wal_core::namespace::Namespace;
use wal_core::record::Record;
use wal_core::{Epoch, Millis, Position, Sequence, ShardId, TxnId};

use crate::api::{Call, CallAnswer};

/// Takes the answers of calls. Runs on the engine's thread: it must return at once.
pub trait AnswerSink: Send + Sync {
    /// The one answer of the call that was handed over with `tag`.
    fn answer(&self, tag: u64, answer: CallAnswer);
}

/// A call was not taken: nothing of it was logged, and no answer will come.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A queue is full.
    #[error("{what} is full; try again in {retry_after_ms} ms")]
    Overloaded {
        /// Which.
        what: &'static str,
        /// When to try again.
        retry_after_ms: u64,
    },
    /// The engine is being stopped.
    #[error("the server is shutting down; send the same to another one, or later")]
    ShuttingDown,
}

/// Why a question about the inside could not be answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackendError {
    /// A shard is not led here and now.
    #[error("shard {shard} has no leader just now; try again")]
    Unavailable {
        /// Which.
        shard: ShardId,
    },
    /// Something broke.
    #[error("{0}")]
    Broken(String),
}

/// A record of one transaction, as it stands in a shard's log.
#[derive(Clone, Debug)]
pub struct LoggedRecord {
    /// The shard.
    pub shard: ShardId,
    /// Its place.
    pub position: Position,
    /// Whether it counts.
    pub accepted: bool,
    /// It.
    pub record: Record,
}

/// How a shard is.
#[derive(Clone, Debug, Default)]
pub struct ShardStatus {
    /// Its number.
    pub shard: ShardId,
    /// Address of its leader, if it has one.
    pub leader: Option<String>,
    /// Its epoch.
    pub epoch: Epoch,
    /// The newest accepted record's number.
    pub seq: Sequence,
    /// Transactions that wait for locks or rows.
    pub waiting: u64,
    /// Undecided prepared transactions.
    pub prepared: u64,
    /// Bytes committed, but not yet in the table store.
    pub overlay_bytes: u64,
    /// Outcomes remembered.
    pub remembered: u64,
    /// An id at or below it may have been forgotten.
    pub floor: Millis,
}

/// How a namespace is.
#[derive(Clone, Debug, Default)]
pub struct NamespaceStatus {
    /// Its shards, by number.
    pub shards: Vec<ShardStatus>,
    /// Bytes of log on disk.
    pub log_bytes: u64,
}

/// A durable transaction without an outcome.
#[derive(Clone, Debug)]
pub struct UnresolvedTxn {
    /// It.
    pub id: TxnId,
    /// Its home.
    pub home: ShardId,
    /// Its participants.
    pub participants: Vec<ShardId>,
    /// Since the start of its age, milliseconds.
    pub age_ms: u64,
    /// The number of its newest attempt, 0 if none was made.
    pub attempt: u32,
    /// The shard that reports it.
    pub shard: ShardId,
}

/// The running system, as the service sees it.
///
/// [`Backend::namespace`] and [`Backend::call`] are on the path of every transaction: they return at
/// once and never block. The others may block; the service calls them on threads made for that.
pub trait Backend: Send + Sync + 'static {
    /// The newest version of a namespace that is served.
    fn namespace(&self, name: &str) -> Option<Arc<Namespace>>;

    /// Hands calls to the namespace's commit engine, all or none. Each gets exactly one answer, with its
    /// tag, in any order, possibly before this returns. Returns the number of the first call; the
    /// others follow it.
    fn call(
        &self,
        namespace: &Namespace,
        calls: Vec<(u64, Call)>,
        answers: Arc<dyn AnswerSink>,
    ) -> Result<u64, Refused>;

    /// Nobody waits for this call's answer any more. Its transaction is driven on all the same.
    fn forget(&self, namespace: &Namespace, call: u64);

    /// Every record about a transaction that is left in any shard's log, by shard, in log order. Blocks.
    fn explain(&self, namespace: &Namespace, id: TxnId) -> Result<Vec<LoggedRecord>, BackendError>;

    /// How the namespace's shards are. Blocks.
    fn status(&self, namespace: &Namespace) -> Result<NamespaceStatus, BackendError>;

    /// Durable transactions without an outcome, oldest first, at most `limit`, each at least
    /// `min_age_ms` old. Blocks.
    fn unresolved(
        &self,
        namespace: &Namespace,
        min_age_ms: u64,
        limit: usize,
    ) -> Result<Vec<UnresolvedTxn>, BackendError>;
}
