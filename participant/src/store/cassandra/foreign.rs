//! Tables that are written and not claimed: copies of rows for somebody else, in another keyspace or another
//! cluster.

use wal_core::namespace::Namespace;

use super::{CassandraStore, Credentials, OpenError, Registry, StoreOptions, connect, tables_of};

/// Connects to the cluster of these tables and checks them as [`open`](super::open) does, creating those that are
/// missing if `tables` says so. They stay whosever they are: a table that a namespace of some deployment has claimed
/// in that cluster is refused, because its owner would not see what is written to it. Blocks.
///
/// # Errors
/// [`OpenError`] says what stands in the way and what to do.
///
/// # Panics
/// If the tables are not in a cluster.
pub fn open_unclaimed(
    tables: &Namespace,
    credentials: Option<Credentials>,
) -> Result<CassandraStore, OpenError> {
    let cluster = connect(tables, credentials)?;
    let settings = tables.store();
    let tables = tables_of(tables);
    let names: Vec<String> =
        tables.iter().map(|(keyspace, table)| format!("{keyspace}.{}", table.name())).collect();
    Registry::refuse_claimed(&cluster, &settings.own_keyspace, &names)?;
    let options = StoreOptions {
        concurrency: usize::try_from(settings.concurrency).unwrap_or(usize::MAX),
        create_tables: settings.create_tables,
    };
    CassandraStore::open(cluster, &tables, &options)
}
