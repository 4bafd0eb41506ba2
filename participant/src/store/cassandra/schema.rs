//! The tables of the cluster against those of the namespace: what differs, and the statement that mends
//! it. A user's table is never altered; one that is missing is created only if the namespace says so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use scylla::client::session::Session;
use scylla::cluster::metadata::Strategy;
use scylla::errors::ExecutionError;
use scylla::statement::Statement;
use wal_core::ColumnId;
use wal_core::cql::quoted;
use wal_core::namespace::Problem;
use wal_core::schema::ColumnKind;
use wal_core::value::ColumnType;

use super::cluster::Cluster;
use super::failure::OpenError;
use super::statements::ClusterTable;
use super::write::MAX_APPLY_AGE;

/// How long a node keeps hints, where it does not say.
const HINT_WINDOW: Duration = Duration::from_secs(3 * 60 * 60);
/// How often tables that are not as they should be are looked at, and how long between two looks.
const LOOKS: usize = 10;
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// A column of a table in the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Column {
    /// `partition_key`, `clustering`, `regular` or `static`.
    kind: String,
    /// Place among those of its kind, -1 for a regular one.
    position: i32,
    /// As `DESCRIBE` prints it.
    ty: String,
}

/// A table in the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Found {
    columns: BTreeMap<String, Column>,
    gc_grace_seconds: i32,
    default_time_to_live: i32,
    flags: Vec<String>,
}

/// A query of the cluster's own tables, safe to repeat.
fn query(text: &str) -> Statement {
    let mut statement = Statement::new(text);
    statement.set_is_idempotent(true);
    statement
}

/// A driver's answer that is not what was asked for counts as a failed request.
fn odd<E>(_: E) -> ExecutionError {
    ExecutionError::EmptyPlan
}

async fn columns_of(
    session: &Session,
    keyspace: &str,
    table: &str,
) -> Result<BTreeMap<String, Column>, ExecutionError> {
    let text = "SELECT column_name, kind, position, type FROM system_schema.columns \
                WHERE keyspace_name = ? AND table_name = ?";
    let answer = session.query_unpaged(query(text), (keyspace, table)).await?;
    let rows = answer.into_rows_result().map_err(odd)?;
    let mut columns = BTreeMap::new();
    for row in rows.rows::<(String, String, i32, String)>().map_err(odd)? {
        let (name, kind, position, ty) = row.map_err(odd)?;
        columns.insert(name, Column { kind, position, ty });
    }
    Ok(columns)
}

/// A table of the cluster, or `None` if there is none.
async fn find(
    session: &Session,
    keyspace: &str,
    table: &str,
) -> Result<Option<Found>, ExecutionError> {
    let text = "SELECT gc_grace_seconds, default_time_to_live, flags FROM system_schema.tables \
                WHERE keyspace_name = ? AND table_name = ?";
    let answer = session.query_unpaged(query(text), (keyspace, table)).await?;
    let rows = answer.into_rows_result().map_err(odd)?;
    type Options = (Option<i32>, Option<i32>, Option<Vec<String>>);
    let Some((gc, ttl, flags)) = rows.maybe_first_row::<Options>().map_err(odd)? else {
        return Ok(None);
    };
    Ok(Some(Found {
        columns: columns_of(session, keyspace, table).await?,
        gc_grace_seconds: gc.unwrap_or_default(),
        default_time_to_live: ttl.unwrap_or_default(),
        flags: flags.unwrap_or_default(),
    }))
}

/// The longest hint window that the contacted node says it has.
async fn hint_window(session: &Session) -> Duration {
    let text = "SELECT name, value FROM system_views.settings \
                WHERE name IN ('max_hint_window', 'max_hint_window_in_ms')";
    let read = async {
        let rows = session.query_unpaged(query(text), ()).await.ok()?.into_rows_result().ok()?;
        let rows = rows.rows::<(String, Option<String>)>().ok()?;
        rows.filter_map(Result::ok).filter_map(|(_, value)| duration(&value?)).max()
    };
    // A server without this view, or a role that may not see it: what servers have by default.
    read.await.unwrap_or(HINT_WINDOW)
}

/// A duration as settings are printed: `3h`, `10800s`, `10800000ms`, or milliseconds alone.
fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let seconds = match unit {
        "" | "ms" => return number.parse().ok().map(Duration::from_millis),
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(seconds).map(Duration::from_secs)
}

/// Checks every table, and creates those that are missing, and their keyspaces, if `create` says so.
///
/// Another server may be creating the same tables: a node shows the parts of a new table one after the
/// other, and two nodes show them at different times. So what looks wrong is looked at again, and only what
/// looks the same twice is refused.
pub(super) async fn check(
    cluster: &Cluster,
    tables: &[Arc<ClusterTable>],
    create: bool,
) -> Result<(), OpenError> {
    let session = cluster.session();
    let least_grace = (2 * (hint_window(session).await + MAX_APPLY_AGE)).as_secs();
    let mut before = Vec::new();
    for _ in 0..LOOKS {
        let _ = session.await_schema_agreement().await; // a node that is down must not stand in the way
        let problems = look(cluster, tables, create, least_grace).await?;
        if problems.is_empty() {
            return Ok(());
        }
        if problems == before {
            break;
        }
        before = problems;
        tokio::time::sleep(LOOK_AGAIN_AFTER).await;
        refresh(cluster).await?;
    }
    Err(OpenError::Schema(before))
}

/// What is wrong with the tables now, once those that are missing have been created if `create` says so.
async fn look(
    cluster: &Cluster,
    tables: &[Arc<ClusterTable>],
    create: bool,
    least_grace: u64,
) -> Result<Vec<Problem>, OpenError> {
    let session = cluster.session();
    let mut problems = Vec::new();
    let mut created = create && create_keyspaces(cluster, tables).await?;
    for table in tables {
        if let Some(message) = check_keyspace(cluster, &table.keyspace) {
            problems.push(Problem { path: table.keyspace.clone(), message });
            continue;
        }
        let found = find(session, &table.keyspace, table.table.name()).await;
        match found.map_err(|error| OpenError::of("read the schema", &error))? {
            Some(found) => {
                let messages = differences(table, &found, least_grace);
                let problem = |message| Problem { path: table.name.clone(), message };
                problems.extend(messages.into_iter().map(problem));
            }
            None if create => {
                create_table(cluster, table).await?;
                created = true;
            }
            None => {
                let message = format!(
                    "the table is not there; set `store.create_tables = true`, or run:\n    {}",
                    declaration(table).replace('\n', "\n    ")
                );
                problems.push(Problem { path: table.name.clone(), message });
            }
        }
    }
    problems.dedup();
    if created {
        refresh(cluster).await?;
    }
    Ok(problems)
}

async fn refresh(cluster: &Cluster) -> Result<(), OpenError> {
    let refreshed = cluster.session().refresh_metadata().await;
    refreshed.map_err(|error| OpenError::of("read the schema", &error.into()))
}

/// The table's own declaration, in its keyspace.
fn declaration(table: &ClusterTable) -> String {
    table.table.statement().clone().in_keyspace(&table.keyspace).to_string()
}

/// Creates the keyspaces that are not there; whether there were any.
async fn create_keyspaces(
    cluster: &Cluster,
    tables: &[Arc<ClusterTable>],
) -> Result<bool, OpenError> {
    let state = cluster.session().get_cluster_state();
    let named: BTreeSet<&str> = tables.iter().map(|table| table.keyspace.as_str()).collect();
    let missing: Vec<&str> =
        named.into_iter().filter(|name| state.get_keyspace(name).is_none()).collect();
    for keyspace in &missing {
        cluster.create_keyspace(keyspace).await?;
    }
    if !missing.is_empty() {
        refresh(cluster).await?;
    }
    Ok(!missing.is_empty())
}

async fn create_table(cluster: &Cluster, table: &ClusterTable) -> Result<(), OpenError> {
    let text = declaration(table).replacen("CREATE TABLE", "CREATE TABLE IF NOT EXISTS", 1);
    let result = cluster.define(&text).await;
    result.map_err(|error| OpenError::of(format!("create the table {}", table.name), &error))?;
    tracing::info!(table = %table.name, "created");
    Ok(())
}

fn check_keyspace(cluster: &Cluster, keyspace: &str) -> Option<String> {
    let state = cluster.session().get_cluster_state();
    let datacenter = cluster.datacenter();
    let Some(found) = state.get_keyspace(keyspace) else {
        return Some(format!(
            "the keyspace is not there; set `store.create_tables = true`, or create it, with at least 3 replicas where \
             data matter:\n    \
             CREATE KEYSPACE {} WITH replication = {{'class': 'NetworkTopologyStrategy', '{datacenter}': 3}};",
            quoted(keyspace)
        ));
    };
    match &found.strategy {
        Strategy::NetworkTopologyStrategy { datacenter_repfactors } => {
            let replicas = datacenter_repfactors.get(datacenter).copied().unwrap_or_default();
            (replicas == 0).then(|| {
                format!(
                    "the keyspace has no replicas in the data centre {datacenter:?}; add them with ALTER \
                     KEYSPACE and `nodetool rebuild`, or run this server in one of {:?}",
                    datacenter_repfactors.keys().collect::<BTreeSet<_>>()
                )
            })
        }
        Strategy::SimpleStrategy { .. } => None,
        Strategy::LocalStrategy | Strategy::Other { .. } => {
            Some("the keyspace is not replicated in a way that tables can be kept in".to_owned())
        }
        _ => Some("the keyspace has a replication strategy that is not known here".to_owned()),
    }
}

/// Everything about a table that is not as the namespace says, each with its fix.
fn differences(table: &ClusterTable, found: &Found, least_grace: u64) -> Vec<String> {
    let mut messages = Vec::new();
    let name = &table.name;
    for flag in
        found.flags.iter().filter(|flag| ["counter", "dense", "super"].contains(&flag.as_str()))
    {
        messages.push(format!(
            "it is a {flag} table, whose writes cannot be applied twice or have no write times: use \
             another table"
        ));
    }
    for column in table.table.columns() {
        match found.columns.get(&column.name) {
            None if column.kind.is_key() => {
                messages.push(format!(
                    "the key column {:?} is not there: a key cannot change, use another table",
                    column.name
                ));
            }
            None => messages.push(format!(
                "the column {:?} is not there; run:\n    ALTER TABLE {name} ADD {} {};",
                column.name,
                quoted(&column.name),
                column.ty
            )),
            Some(there) => {
                if there.ty != column.ty.name() {
                    messages.push(format!(
                        "the column {:?} is {} in the cluster and {} in the namespace: change the \
                         namespace file, or use another table",
                        column.name, there.ty, column.ty
                    ));
                }
                let (kind, position) = role(column.kind);
                if there.kind != kind || (kind != "regular" && there.position != position) {
                    messages.push(format!(
                        "the column {:?} is {} {} in the cluster and {kind} {position} in the \
                         namespace: change the namespace file, or use another table",
                        column.name, there.kind, there.position
                    ));
                }
            }
        }
    }
    for (column, there) in &found.columns {
        if table.table.find_column(column).is_none() {
            messages.push(unknown_column(name, column, there));
        }
    }
    if u64::try_from(found.gc_grace_seconds).unwrap_or_default() < least_grace {
        messages.push(format!(
            "gc_grace_seconds is {}, less than twice the hint window and the age of a write that may \
             still be applied, so that a deleted row might come back; run:\n    \
             ALTER TABLE {name} WITH gc_grace_seconds = {};",
            found.gc_grace_seconds,
            least_grace.max(864_000)
        ));
    }
    if found.default_time_to_live != 0 {
        messages.push(format!(
            "its rows expire by themselves, which is not supported yet; run:\n    ALTER TABLE {name} WITH \
             default_time_to_live = 0;"
        ));
    }
    messages
}

fn unknown_column(table: &str, column: &str, there: &Column) -> String {
    let drop = format!("ALTER TABLE {table} DROP {};", quoted(column));
    if there.kind == "regular" && ColumnType::from_name(&there.ty).is_some() {
        format!(
            "the namespace does not know the column {column:?}; write `{} {}` behind the last column of \
             its CREATE TABLE in the namespace file, or, if it is not needed, run:\n    {drop}",
            quoted(column),
            there.ty
        )
    } else {
        format!(
            "the column {column:?} is {} of type {}, which is not supported yet: use another table, or, \
             if it is not needed, run:\n    {drop}",
            there.kind, there.ty
        )
    }
}

fn role(kind: ColumnKind) -> (&'static str, i32) {
    match kind {
        ColumnKind::Partition(position) => ("partition_key", i32::from(position)),
        ColumnKind::Clustering(position, _) => ("clustering", i32::from(position)),
        ColumnKind::Regular => ("regular", -1),
    }
}

/// What of a table the cluster does not have any more.
#[derive(Debug, Default)]
pub(super) struct Drift {
    /// Why no write to it can be taken.
    table: Option<String>,
    /// Why no write of these columns can be.
    columns: Vec<(ColumnId, String)>,
}

impl Drift {
    /// Why a write of these columns will not be taken, if it will not.
    pub(super) fn of(&self, mut columns: impl Iterator<Item = ColumnId>) -> Option<&str> {
        let column = || {
            let gone = |id| self.columns.iter().find(|(gone, _)| *gone == id);
            columns.find_map(gone).map(|(_, why)| why)
        };
        self.table.as_ref().or_else(column).map(String::as_str)
    }
}

/// What of a table the cluster does not have any more. Asks only when all nodes agree on a schema, so that
/// a node that is behind is not taken for the truth.
pub(super) async fn drift(
    cluster: &Cluster,
    table: &ClusterTable,
) -> Result<Drift, ExecutionError> {
    let session = cluster.session();
    session.await_schema_agreement().await?;
    let there = columns_of(session, &table.keyspace, table.table.name()).await?;
    let name = &table.name;
    let mut drift = Drift::default();
    if there.is_empty() {
        drift.table =
            Some(format!("the table {name} was dropped; create it again, or discard the write"));
        return Ok(drift);
    }
    for column in table.table.columns() {
        let quoted = quoted(&column.name);
        let why = match there.get(&column.name) {
            Some(found) if found.ty == column.ty.name() => continue,
            Some(found) => format!(
                "the column {quoted} of {name} is {} now, no more {}; discard the write",
                found.ty, column.ty
            ),
            None => format!(
                "the column {quoted} of {name} was dropped; add it again with ALTER TABLE {name} ADD \
                 {quoted} {}, or discard the write",
                column.ty
            ),
        };
        drift.columns.push((column.id, why));
    }
    Ok(drift)
}

/// The columns that a table still has, of those that are not in its key; `None` if it was dropped.
pub(super) async fn columns_left(
    cluster: &Cluster,
    table: &ClusterTable,
) -> Result<Option<Vec<ColumnId>>, ExecutionError> {
    let session = cluster.session();
    session.await_schema_agreement().await?;
    let there = columns_of(session, &table.keyspace, table.table.name()).await?;
    if there.is_empty() {
        return Ok(None);
    }
    let is_left = |id: &ColumnId| {
        let column = table.table.column(*id).expect("it is one of the table's own");
        there.get(&column.name).is_some_and(|found| found.ty == column.ty.name())
    };
    Ok(Some(table.regular().filter(is_left).collect()))
}

#[cfg(test)]
mod tests;
