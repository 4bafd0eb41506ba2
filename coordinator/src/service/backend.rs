//! What the service needs from the process around it.

use std::sync::Arc;

use delivery::region::ShipStatus;
use delivery::runtime::ShardDelivery;
use participant::engine::ParkedChoice;
use wal_core::log::IntentLog;
use wal_core::namespace::Namespace;
use wal_core::record::Record;
use wal_core::{Position, ShardId, TxnId};

use crate::api::Call;
use crate::runtime::{Answers, NamespaceSnapshot, ParkedDone, ParkedList};

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

/// What this process delivers to one target.
#[derive(Clone, Debug)]
pub struct Delivering {
    /// The target's name.
    pub target: String,
    /// The shards that it delivers.
    pub shards: Vec<ShardDelivery>,
    /// Why it cannot, if so.
    pub problem: Option<String>,
}

/// The running system, as the service sees it.
///
/// [`Backend::namespace`] and [`Backend::call`] are on the path of every transaction: they return at
/// once and never block. The others may block; the service calls them on threads made for that.
pub trait Backend: Send + Sync + 'static {
    /// Where this process can be reached: it leads every shard that it says it leads.
    fn address(&self) -> &str;

    /// The newest version of a namespace that is served.
    fn namespace(&self, name: &str) -> Option<Arc<Namespace>>;

    /// Why a namespace that was created is not served.
    fn why_unserved(&self, name: &str) -> Option<String>;

    /// Hands calls to the namespace's commit engine, all or none. Each gets exactly one answer, with its
    /// tag, in any order, possibly before this returns. Returns the number of the first call; the
    /// others follow it.
    fn call(
        &self,
        namespace: &Namespace,
        calls: Vec<(Call, u64)>,
        answers: Arc<dyn Answers>,
    ) -> Result<u64, Refused>;

    /// Nobody waits for this call's answer any more. Its transaction is driven on all the same.
    fn forget(&self, namespace: &Namespace, call: u64);

    /// The namespace's log, to be read.
    fn log(&self, namespace: &Namespace) -> Result<Arc<dyn IntentLog>, BackendError>;

    /// Every record about a transaction that is left in any shard's log, by shard, in log order. Blocks.
    fn explain(&self, namespace: &Namespace, id: TxnId) -> Result<Vec<LoggedRecord>, BackendError>;

    /// How what this process delivers of a namespace stands, by target.
    fn delivering(&self, namespace: &Namespace) -> Vec<Delivering>;

    /// How sending to other regions stands, by region, as far as this process may do it.
    fn sending(&self, namespace: &Namespace) -> Vec<(String, ShipStatus)>;

    /// Tries at once whatever waits for a retry, of what this process delivers to a target.
    fn retry_target(&self, namespace: &Namespace, target: &str);

    /// Parked rows of the shards that this process leads, at most `limit`. Blocks.
    fn parked(&self, namespace: &Namespace, limit: usize) -> Result<ParkedList, BackendError>;

    /// Tries parked rows of the shards that this process leads again, at once. Blocks.
    fn retry_parked(
        &self,
        namespace: &Namespace,
        which: ParkedChoice,
    ) -> Result<ParkedDone, BackendError>;

    /// Gives up parked rows of the shards that this process leads, durably. Blocks.
    fn discard_parked(
        &self,
        namespace: &Namespace,
        which: ParkedChoice,
    ) -> Result<ParkedDone, BackendError>;

    /// How the namespace is, with its `limit` oldest unresolved transactions. Blocks.
    fn look(&self, namespace: &Namespace, limit: usize) -> Result<NamespaceSnapshot, BackendError>;
}
