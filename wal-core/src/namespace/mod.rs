//! A namespace: the unit of configuration. Its file declares shards, log, tables, limits, policies.
//!
//! ```
//! let bank = wal_core::namespace::Namespace::from_toml(r#"
//!     name = "bank"
//!     shards = 16
//!
//!     [limits]
//!     rows_per_transaction = 100
//!
//!     [[table]]
//!     cql = "CREATE TABLE accounts (id text PRIMARY KEY, balance bigint)"
//!     ownership = "owned"
//! "#)?;
//! assert_eq!(bank.table_named("accounts")?.columns().len(), 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Versions
//!
//! A version of a namespace is immutable. The next one may change limits, quotas, policies and retention,
//! and may add tables and columns; [`Namespace::validate_change`] refuses the rest. Tables and columns are
//! numbered by their place in the file and in their `CREATE TABLE`, and these numbers are in the log:
//! **both lists are append-only**. What exists keeps its place, name, type and role; new tables come
//! after the last one, new columns after the last one of their table, and never into a key. Dropping
//! is refused for now, of `[delay]` too. Targets may come, change, and go, once they are `retired`.
//!
//! The **write version** is another thing: it says which kinds of records may stand in the log, so that servers
//! of two releases can serve a namespace together. It is the newest for a new namespace, stays when the program
//! is upgraded, and is raised by an administrator (`write_version = 2`) once no older server is left.

mod chain;
mod change;
mod kafka;
mod read;
mod region;
mod settings;
mod target;
#[cfg(test)]
mod tests;
mod write;

use std::fmt;
use std::sync::Arc;

use crate::id::TableId;
use crate::nearest::suggestion;
use crate::problem::write_lines;
use crate::record::NEWEST_WRITE_VERSION;
use crate::schema::{Table, UnknownName};

pub use crate::problem::Problem;
pub use kafka::{DEFAULT_REPLICATION, KafkaSettings, MAX_REPLICATION, reserved_setting};
pub use read::{ARRIVED_CQL, DELAYED_CQL};
pub use region::{ANY, Homes, RegionMember};
pub use settings::{
    DEFAULT_OWN_KEYSPACE, DelaySettings, DeliverySettings, Limits, LogKind, LogSettings, Policy,
    QuotaSettings, RegionSettings, Setting, StoreKind, StoreSettings, WaitLevel,
};
pub use target::{Login, MAX_MEMCACHED_SERVERS, MAX_TARGETS, MAX_TTL_S, Target, TargetPlace};

/// Characters of a namespace's name.
pub const MAX_NAME: usize = 63;

/// One version of a namespace, checked. Immutable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    name: String,
    version: u32,
    /// `None` where the file does not say.
    write_version: Option<u32>,
    shards: u16,
    log: LogSettings,
    store: StoreSettings,
    limits: Limits,
    quota: QuotaSettings,
    policy: Policy,
    /// In the order of the file: `tables[i]` has `TableId(i)`.
    tables: Vec<Arc<Table>>,
    /// Full names, and bare names where only one table has it; sorted by name.
    by_name: Vec<(String, TableId)>,
    /// In the order of the file; no two have one name.
    targets: Vec<Target>,
    delay: Option<DelaySettings>,
    region: Option<RegionSettings>,
}

impl Namespace {
    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The version: 1 for a namespace straight from a file, else what [`Self::with_version`] was given.
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// The same namespace as another version.
    #[must_use]
    pub fn with_version(self, version: u32) -> Self {
        Self { version, ..self }
    }

    /// Which kinds of records may be written to its log: those that every server that may lead its shards can
    /// read. Where nothing else was decided, the newest.
    pub fn write_version(&self) -> u32 {
        self.write_version.unwrap_or(NEWEST_WRITE_VERSION)
    }

    /// The same namespace with this write version, unless its file says one.
    #[must_use]
    pub fn or_write_version(self, write_version: u32) -> Self {
        Self { write_version: self.write_version.or(Some(write_version)), ..self }
    }

    /// How many shards its log has; never changes.
    pub const fn shards(&self) -> u16 {
        self.shards
    }

    /// The log and its retention.
    pub const fn log(&self) -> &LogSettings {
        &self.log
    }

    /// Where the tables are.
    pub const fn store(&self) -> &StoreSettings {
        &self.store
    }

    /// The keyspace of a table in the cluster: its own, or else that of the namespace. None where the
    /// store has no keyspaces and the file names none.
    pub fn keyspace_of<'a>(&'a self, table: &'a Table) -> Option<&'a str> {
        table.keyspace().or(self.store.keyspace.as_deref())
    }

    /// The bounds.
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What it may take of each server that takes its calls.
    pub const fn quota(&self) -> &QuotaSettings {
        &self.quota
    }

    /// The policies.
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Where messages can be delivered to.
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// The target with this name, or what to say if there is none.
    pub fn target_named(&self, name: &str) -> Result<&Target, UnknownName> {
        self.targets.iter().find(|target| target.name == name).ok_or_else(|| UnknownName {
            what: "target".to_owned(),
            name: name.to_owned(),
            suggestion: suggestion(name, self.targets.iter().map(|target| &*target.name)),
        })
    }

    /// Whether and how transactions may be due later.
    pub const fn delay(&self) -> Option<&DelaySettings> {
        self.delay.as_ref()
    }

    /// The table that keeps what is due later, if anything may be.
    pub fn delayed_table(&self) -> Option<&Arc<Table>> {
        self.find_table(&self.delay.as_ref()?.table)
    }

    /// The regions that have the namespace, if there are several.
    pub const fn region(&self) -> Option<&RegionSettings> {
        self.region.as_ref()
    }

    /// The same namespace with other homes of its tables, as of a later term.
    #[must_use]
    pub fn with_homes(mut self, term: u64, homes: Homes) -> Self {
        if let Some(region) = &mut self.region {
            region.term = term;
            region.homes = homes;
        }
        self
    }

    /// All tables, in the order of their ids.
    pub fn tables(&self) -> &[Arc<Table>] {
        &self.tables
    }

    /// The table with this number, if there is one.
    pub fn table(&self, id: TableId) -> Option<&Arc<Table>> {
        self.tables.get(id.0 as usize)
    }

    /// The table with this name, `accounts` or `bank.accounts`. The bare name will do where only one
    /// keyspace has such a table.
    pub fn find_table(&self, name: &str) -> Option<&Arc<Table>> {
        let found = self.by_name.binary_search_by(|(other, _)| other.as_str().cmp(name)).ok()?;
        self.table(self.by_name[found].1)
    }

    /// The table with this name, or what to say if there is none.
    pub fn table_named(&self, name: &str) -> Result<&Arc<Table>, UnknownName> {
        self.find_table(name).ok_or_else(|| {
            let same: Vec<&str> = self
                .tables
                .iter()
                .filter(|table| table.name() == name)
                .map(|table| table.full_name())
                .collect();
            let suggestion = if same.is_empty() {
                suggestion(name, self.by_name.iter().map(|(name, _)| name.as_str()))
            } else {
                format!(": say which, {}", same.join(" or "))
            };
            UnknownName { what: "table".to_owned(), name: name.to_owned(), suggestion }
        })
    }
}

/// Everything that is wrong, one problem a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceError {
    /// The problems, in the order of the file; never empty.
    pub problems: Vec<Problem>,
}

impl std::error::Error for NamespaceError {}

impl fmt::Display for NamespaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_lines(f, &self.problems)
    }
}
