//! Tables in a Cassandra or ScyllaDB cluster: plain tables, which any CQL reader can read.
//!
//! # What goes out
//!
//! Every write carries its own time (`USING TIMESTAMP`), so that doing it twice, late, or by a process
//! that should have stopped changes nothing. A put is an `UPDATE`, an insert an `INSERT` (which writes a
//! row marker too), a deletion a tombstone of its time. All of one flush that goes to the same replicas
//! goes out as unlogged batches, each within the sizes at which a server warns ([`plan`]); the share of a
//! data partition is never split, and it goes alone if it is large. All statements of a row are in one
//! batch, which a replica takes as one change: a reader sees it whole or not yet.
//!
//! The caller keeps to one flush at a time for each data partition (a shard has one, and a partition one
//! shard), so one batch at most is in flight for each.
//!
//! # What comes back
//!
//! CQL shows live cells with their write times, and whether there is a row. It shows no tombstones, and
//! of a row marker only that there is one when there is nothing else. So a row is read as
//! [`wal_core::Row::shown`] says.
//!
//! # What is refused
//!
//! When a server says that a statement is wrong, the schema is read again, after the nodes have agreed on
//! it: if the table or column is really gone, the write is refused for good, and only it; the
//! others of its batch go out by themselves. Everything else is for now.

mod access;
mod baseline;
mod cluster;
mod failure;
mod foreign;
mod plan;
mod read;
mod registry;
mod schema;
mod statements;
mod values;
mod write;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use rustc_hash::FxBuildHasher;
use tokio::sync::Semaphore;
use wal_core::namespace::{Namespace, StoreKind};
use wal_core::schema::Table;
use wal_core::{Row, RowKey, RowMutation, TableId};

pub use baseline::{PlainRow, PlainTables};
pub use cluster::{Cluster, ClusterOptions, Credentials};
pub use failure::OpenError;
pub use foreign::open_unclaimed;
pub use registry::Registry;

use self::statements::ClusterTable;
use super::{StoreError, TableStore};

/// The driver tells much of its connections that nobody asked for: a log filter that stops it.
pub const QUIET_LOGS: &str = "scylla=warn";

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Batches under way at once, and reads under way at once.
    pub concurrency: usize,
    /// Whether tables that are not there are created.
    pub create_tables: bool,
}

/// Counts since the store was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreCounts {
    /// Requests that wrote.
    pub batches: u64,
    /// Statements in them.
    pub statements: u64,
    /// Requests that read a row.
    pub reads: u64,
    /// Requests that failed for now.
    pub failures: u64,
    /// Row mutations refused for good.
    pub refused: u64,
    /// Warnings of the servers, for example of a batch that is too large.
    pub warnings: u64,
}

#[derive(Debug, Default)]
struct Counters {
    batches: AtomicU64,
    statements: AtomicU64,
    reads: AtomicU64,
    failures: AtomicU64,
    refused: AtomicU64,
    warnings: AtomicU64,
}

fn add(counter: &AtomicU64, count: usize) {
    counter.fetch_add(count as u64, Ordering::Relaxed);
}

type Tables = HashMap<TableId, Arc<ClusterTable>, FxBuildHasher>;

/// The tables of a namespace in a cluster.
#[derive(Debug)]
pub struct CassandraStore {
    cluster: Arc<Cluster>,
    tables: RwLock<Tables>,
    /// Bounds batches, and apart from them reads, so that neither starves the other.
    writing: Semaphore,
    reading: Semaphore,
    concurrency: usize,
    counters: Counters,
}

/// A namespace's tables, opened, checked and claimed.
#[derive(Debug)]
pub struct Opened {
    /// The tables.
    pub store: Arc<CassandraStore>,
    /// What Handfast keeps about them in its own keyspace.
    pub registry: Arc<Registry>,
    deployment: u128,
}

impl Opened {
    /// Claims the log of the namespace, beside its tables. Blocks.
    ///
    /// # Errors
    /// [`OpenError::OwnedByOther`] if it is another's.
    pub fn claim_log(&self, namespace: &Namespace, log: &str) -> Result<(), OpenError> {
        self.registry.claim_log(namespace.name(), self.deployment, log)
    }

    /// Takes in the tables of the next version of the namespace: checks them, creates those that are
    /// missing if the namespace says so, and claims what is new. Blocks.
    ///
    /// # Errors
    /// As [`open`]. Nothing may be written to the new tables then: they may be another's.
    pub fn change(&self, namespace: &Namespace) -> Result<(), OpenError> {
        self.store.change(&tables_of(namespace), namespace.store().create_tables)?;
        self.registry.claim(namespace.name(), self.deployment, self.store.table_names())
    }
}

/// The tables of a namespace, each with its keyspace.
fn tables_of(namespace: &Namespace) -> Vec<(String, Arc<Table>)> {
    let tables = namespace.tables().iter().map(|table| {
        let keyspace = namespace.keyspace_of(table).expect("a cluster's keyspaces are checked");
        (keyspace.to_owned(), Arc::clone(table))
    });
    tables.collect()
}

/// Connects to the cluster of a namespace, checks its tables, creating those that are missing if the
/// namespace says so, and claims them for this deployment. Blocks.
///
/// # Errors
/// [`OpenError`] says what stands in the way and what to do.
///
/// # Panics
/// If the namespace's tables are not in a cluster.
pub fn open(
    namespace: &Namespace,
    deployment: u128,
    credentials: Option<Credentials>,
) -> Result<Opened, OpenError> {
    let cluster = connect(namespace, credentials)?;
    let settings = namespace.store();
    let options = StoreOptions {
        concurrency: usize::try_from(settings.concurrency).unwrap_or(usize::MAX),
        create_tables: settings.create_tables,
    };
    let store = CassandraStore::open(Arc::clone(&cluster), &tables_of(namespace), &options)?;
    let registry = Registry::open(cluster, &settings.own_keyspace)?;
    registry.claim(namespace.name(), deployment, store.table_names())?;
    Ok(Opened { store: Arc::new(store), registry: Arc::new(registry), deployment })
}

/// What Handfast keeps about the tables of a namespace, without a look at the tables. Blocks.
///
/// # Errors
/// [`OpenError`] says what stands in the way and what to do.
///
/// # Panics
/// If the namespace's tables are not in a cluster.
pub fn open_registry(
    namespace: &Namespace,
    credentials: Option<Credentials>,
) -> Result<Registry, OpenError> {
    Registry::open(connect(namespace, credentials)?, &namespace.store().own_keyspace)
}

fn connect(
    namespace: &Namespace,
    credentials: Option<Credentials>,
) -> Result<Arc<Cluster>, OpenError> {
    let settings = namespace.store();
    assert_eq!(settings.kind, StoreKind::Cassandra, "the namespace's tables are elsewhere");
    Cluster::connect(&ClusterOptions {
        contact_points: settings.contact_points.clone(),
        datacenter: settings.datacenter.clone().expect("a cluster's data centre is checked"),
        credentials,
        tls_ca: settings.tls_ca.as_ref().map(std::path::PathBuf::from),
        request_timeout: std::time::Duration::from_millis(settings.request_timeout_ms),
    })
}

impl CassandraStore {
    /// Checks the tables (each with its keyspace) and is ready to serve them. Blocks.
    ///
    /// # Errors
    /// All that is wrong with the tables, each with its fix.
    pub fn open(
        cluster: Arc<Cluster>,
        tables: &[(String, Arc<Table>)],
        options: &StoreOptions,
    ) -> Result<Self, OpenError> {
        let store = Self {
            cluster,
            tables: RwLock::default(),
            writing: Semaphore::new(options.concurrency),
            reading: Semaphore::new(options.concurrency),
            concurrency: options.concurrency,
            counters: Counters::default(),
        };
        store.change(tables, options.create_tables)?;
        Ok(store)
    }

    /// Serves these tables from now on, all of a namespace's next version, and creates those that are not
    /// there if `create_tables` says so. Blocks.
    ///
    /// # Errors
    /// As [`Self::open`]; the tables are then those that were served before.
    pub fn change(
        &self,
        tables: &[(String, Arc<Table>)],
        create_tables: bool,
    ) -> Result<(), OpenError> {
        let of = |(keyspace, table): &(String, Arc<Table>)| match self.table(table.id()) {
            // It keeps what was prepared.
            Some(same) if same.keyspace == *keyspace && same.table == *table => same,
            _ => Arc::new(ClusterTable::new(keyspace, Arc::clone(table))),
        };
        let tables: Vec<Arc<ClusterTable>> = tables.iter().map(of).collect();
        self.cluster.block_on(schema::check(&self.cluster, &tables, create_tables))?;
        self.cluster.block_on(access::check_permissions(&self.cluster, &tables))?;
        *self.tables.write().unwrap_or_else(PoisonError::into_inner) =
            tables.into_iter().map(|table| (table.table.id(), table)).collect();
        Ok(())
    }

    fn table(&self, id: TableId) -> Option<Arc<ClusterTable>> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// Full names of the tables as the cluster has them, without quotes.
    pub fn table_names(&self) -> Vec<String> {
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        let name = |table: &Arc<ClusterTable>| format!("{}.{}", table.keyspace, table.table.name());
        tables.values().map(name).collect()
    }

    /// What was done so far.
    pub fn counts(&self) -> StoreCounts {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        StoreCounts {
            batches: count(&self.counters.batches),
            statements: count(&self.counters.statements),
            reads: count(&self.counters.reads),
            failures: count(&self.counters.failures),
            refused: count(&self.counters.refused),
            warnings: count(&self.counters.warnings),
        }
    }
}

impl TableStore for CassandraStore {
    fn read(&self, keys: &[RowKey]) -> Result<Vec<Row>, StoreError> {
        self.cluster.block_on(self.read_rows(keys))
    }

    fn apply(&self, mutations: &[RowMutation]) -> Result<(), StoreError> {
        self.cluster.block_on(self.apply_mutations(mutations))
    }

    /// Nothing is left to be done: a quorum of replicas has taken whatever was answered. How soon their
    /// commit logs reach their disks is the cluster's setting; see clause 4.
    fn sync(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
