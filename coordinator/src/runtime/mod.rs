//! The runtime: the only place where the engines' commands meet the world.
//!
//! One thread runs everything of one namespace that this process leads and coordinates: the commit
//! engine and the engines of all shards. It takes whatever arrived (calls, appends that became durable,
//! answers of the table store), steps the engines until they have nothing more to say to each other,
//! hands what they wrote to the log as one append, and delivers the answers. While one append syncs,
//! the next fills.
//!
//! ```text
//!   callers ──▶ ┌───────────────── core thread ─────────────────┐ ──▶ answers
//!               │ commit engine ◀─▶ shard engines (all of them) │
//!               └──▲────────┬──────────▲────────┬───────────────┘
//!               durable   append    read/flushed │ read / flush / sync
//!                  └── log ──┘         └── store threads ──┘
//! ```

mod append;
mod candidates;
mod clock;
mod core;
mod found;
mod handle;
mod hold;
mod metrics;
mod outgoing;
mod parked;
mod peers;
mod reader;
mod recover;
mod seat;
mod storage;

use std::sync::Arc;
use std::time::Duration;

use participant::engine::{EngineSchema, Leadership, ShardLimits, TableTypes};
use participant::store::TableStore;
use wal_core::Clock;
use wal_core::log::IntentLog;
use wal_core::namespace::{Namespace, RegionSettings, StoreKind};
use wal_core::schema::{Ownership, Table};

pub use clock::SystemClock;
pub use found::{FoundError, found_log};
pub use handle::{Answers, Busy, Handle, NamespaceSnapshot, Reply, Running, Stopped};
pub use hold::Hold;
pub use parked::{ParkedDone, ParkedList};
pub use peers::{Cluster, FromPeer, PeerReply, PeerRequest, Transport};
pub use recover::StartError;

/// What the runtime of one namespace is made of.
pub struct Parts {
    /// The namespace, as it is when the runtime starts.
    pub namespace: Arc<Namespace>,
    /// Its log.
    pub log: Arc<dyn IntentLog>,
    /// Its tables.
    pub store: Arc<dyn TableStore>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// How shards prove that they lead.
    pub leadership: Leadership,
    /// Where this process can be reached; goes into `Epoch` records.
    pub address: String,
    /// Random: tells this process from every other.
    pub seed: u64,
    /// Threads that read the tables: 1 where a read waits for a disk of this machine, more where it waits
    /// for a network.
    pub readers: usize,
    /// How long the log is kept at least behind a checkpoint: zero where the store's sync writes to the
    /// disk, longer where servers of the tables may do so later.
    pub keep_log_for: Duration,
    /// What of the log is kept for who delivers its messages, until [`Handle::hold`] says otherwise.
    pub hold: Hold,
}

/// Starts the runtime: replays the log, takes over every shard, then serves. Blocks until it serves.
///
/// # Errors
/// [`StartError`] says what stands in the way and what to do.
pub fn start(parts: Parts) -> Result<Running, StartError> {
    handle::start(parts, None)
}

/// Starts the runtime of one server among others. It leads what the placement gives it, as soon as it has
/// heard who else is there, and passes to the others what they lead.
///
/// # Errors
/// As [`start`].
pub fn start_among(parts: Parts, cluster: Cluster) -> Result<Running, StartError> {
    debug_assert_eq!(cluster.placement.log, parts.log.identity(), "epochs are of this log");
    handle::start(parts, Some(cluster))
}

/// What the engines must know of a namespace's tables.
pub fn engine_schema(namespace: &Namespace) -> EngineSchema {
    let region = namespace.region();
    let home = |table: &Table| {
        let region = region.filter(|region| !region.is_written_here(table.full_name()))?;
        region.home_of(table.full_name()).map(str::to_owned)
    };
    let tables = namespace.tables().iter().map(|table| TableTypes {
        columns: table.columns().iter().map(|column| column.ty).collect(),
        owned: table.ownership() == Ownership::Owned,
        home: home(table),
    });
    EngineSchema {
        version: namespace.version(),
        write_version: namespace.write_version(),
        region: region.map_or(0, RegionSettings::number),
        merges: region.is_some(),
        tables: tables.collect(),
    }
}

/// The bounds of one shard: what is given for a server is shared among its shards.
fn shard_limits(namespace: &Namespace) -> ShardLimits {
    let limits = namespace.limits();
    let shards = u64::from(namespace.shards());
    let count = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    // Load is rarely even: a shard may take four times its share while others take less.
    let share = |n: u64| count((4 * n / shards).clamp(1, n.max(1)));
    ShardLimits {
        max_waiting: count(limits.waiting_per_shard),
        max_prepared: count(limits.prepared_per_shard),
        max_overlay_bytes: share(limits.overlay_bytes),
        max_cache_bytes: share(limits.cache_bytes),
        max_remembered: share(limits.remembered_ids),
        id_window_ms: namespace.policy().id_window_ms,
        recover_after_us: namespace.policy().recover_after_ms * 1000,
        max_drift_us: wal_core::limits::MAX_CLOCK_DRIFT_US,
        max_flush_rows: count(limits.flush_rows),
        flush_every_us: match namespace.store().kind {
            StoreKind::Embedded => 4_000,
            // Each batch costs requests to several nodes, whether it has two rows or twenty.
            StoreKind::Cassandra => 25_000,
        },
        checkpoint_every_bytes: namespace.log().checkpoint_every_bytes,
    }
}
