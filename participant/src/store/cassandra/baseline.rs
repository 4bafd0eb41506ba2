//! Plain requests to tables of their own, for benchmarks: what the table store is held against.
//!
//! What a competent user of Cassandra would write: prepared statements, routed to a replica by token,
//! `LOCAL_QUORUM`, `LOCAL_SERIAL` for conditional writes; the same session settings as the table store's.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::try_join_all;
use scylla::errors::ExecutionError;
use scylla::statement::batch::{Batch as DriverBatch, BatchType};
use scylla::statement::prepared::PreparedStatement;
use wal_core::cql::quoted;

use super::cluster::{Cluster, ClusterOptions};
use super::failure::{OpenError, transient};
use crate::store::StoreError;

/// One of the two tables, and a row of it.
pub type PlainRow = (usize, i64);

const ACTION: &str = "make a plain request";

struct Table {
    name: String,
    put_balance: PreparedStatement,
    put_value: PreparedStatement,
    put_balance_if_exists: PreparedStatement,
    select: PreparedStatement,
}

/// Two tables `(id bigint PRIMARY KEY, balance bigint, value blob)`, with every statement prepared.
pub struct PlainTables {
    cluster: Arc<Cluster>,
    tables: [Table; 2],
}

impl PlainTables {
    /// Connects, makes the tables in the keyspace, and the keyspace itself if it is not there (with three
    /// replicas, or as many as there are nodes), and prepares the statements. Blocks.
    ///
    /// # Errors
    /// If the cluster does not answer, or the role may not create tables.
    pub fn create(
        options: &ClusterOptions,
        keyspace: &str,
        names: [&str; 2],
    ) -> Result<Self, OpenError> {
        let cluster = Cluster::connect(options)?;
        let tables = cluster.block_on(async {
            if cluster.session().get_cluster_state().get_keyspace(keyspace).is_none() {
                cluster.create_keyspace(keyspace).await?;
            }
            let [left, right] = names;
            let left = Table::create(&cluster, keyspace, left).await?;
            Ok([left, Table::create(&cluster, keyspace, right).await?])
        })?;
        Ok(Self { cluster, tables })
    }

    /// Writes the balance of each row: one request each, all at once.
    ///
    /// # Errors
    /// The first request that failed.
    pub async fn write_balances(&self, rows: &[PlainRow], balance: i64) -> Result<(), StoreError> {
        let write = |(table, id): &PlainRow| {
            let statement = &self.tables[*table].put_balance;
            self.cluster.session().execute_unpaged(statement, (balance, *id))
        };
        try_join_all(rows.iter().map(write)).await.map_err(failed)?;
        Ok(())
    }

    /// Writes the value of each row: one request each, all at once.
    ///
    /// # Errors
    /// The first request that failed.
    pub async fn write_values(&self, rows: &[PlainRow], value: &Bytes) -> Result<(), StoreError> {
        let write = |(table, id): &PlainRow| {
            let statement = &self.tables[*table].put_value;
            self.cluster.session().execute_unpaged(statement, (value.clone(), *id))
        };
        try_join_all(rows.iter().map(write)).await.map_err(failed)?;
        Ok(())
    }

    /// Writes the value of all rows in one logged batch.
    ///
    /// # Errors
    /// If it failed; the cluster may do it all the same.
    pub async fn write_logged(&self, rows: &[PlainRow], value: &Bytes) -> Result<(), StoreError> {
        let mut batch = DriverBatch::new(BatchType::Logged);
        batch.set_is_idempotent(true);
        for (table, _) in rows {
            batch.append_statement(self.tables[*table].put_value.clone());
        }
        let values: Vec<_> = rows.iter().map(|(_, id)| (value.clone(), *id)).collect();
        self.cluster.session().batch(&batch, &values).await.map_err(failed)?;
        Ok(())
    }

    /// One conditional write of a row that exists, so that it is applied: a lightweight transaction at its
    /// cheapest. A counter would have to try again whenever somebody else came first.
    ///
    /// # Errors
    /// If it failed: with a row that many write, a time-out.
    pub async fn write_conditionally(
        &self,
        (table, id): PlainRow,
        balance: i64,
    ) -> Result<(), StoreError> {
        let statement = &self.tables[table].put_balance_if_exists;
        let answer = self.cluster.session().execute_unpaged(statement, (balance, id)).await;
        answer.map_err(failed)?;
        Ok(())
    }

    /// Reads balance and value of each row: one request each, all at once.
    ///
    /// # Errors
    /// The first request that failed.
    pub async fn read(&self, rows: &[PlainRow]) -> Result<(), StoreError> {
        let read = |(table, id): &PlainRow| {
            self.cluster.session().execute_unpaged(&self.tables[*table].select, (*id,))
        };
        try_join_all(rows.iter().map(read)).await.map_err(failed)?;
        Ok(())
    }

    /// The sum of the balances of two tables, any of the keyspace, as an ordinary reader sees it.
    ///
    /// # Errors
    /// If a table is not there, or cannot be read.
    pub async fn sum(&self, keyspace: &str, tables: &[&str]) -> Result<i64, StoreError> {
        let mut sum = 0_i64;
        for table in tables {
            let text = format!("SELECT sum(balance) FROM {}", full(keyspace, table));
            let answer = self.cluster.session().query_unpaged(text, ()).await.map_err(failed)?;
            let malformed = |why: String| StoreError::Transient { action: ACTION, why };
            let rows = answer.into_rows_result().map_err(|error| malformed(error.to_string()))?;
            let row = rows.single_row::<(i64,)>().map_err(|error| malformed(error.to_string()))?;
            sum += row.0;
        }
        Ok(sum)
    }

    /// How many nodes the data centre has.
    pub fn nodes(&self) -> usize {
        self.cluster.local_nodes()
    }

    /// Drops the tables.
    ///
    /// # Errors
    /// If the cluster refuses or does not answer: then some may be there still.
    pub async fn drop_tables(self) -> Result<(), StoreError> {
        for table in &self.tables {
            let text = format!("DROP TABLE IF EXISTS {}", table.name);
            self.cluster.session().query_unpaged(text, ()).await.map_err(failed)?;
        }
        Ok(())
    }
}

impl Table {
    async fn create(cluster: &Cluster, keyspace: &str, name: &str) -> Result<Self, OpenError> {
        let name = full(keyspace, name);
        let session = cluster.session();
        let text = format!(
            "CREATE TABLE IF NOT EXISTS {name} (id bigint PRIMARY KEY, balance bigint, value blob)"
        );
        let done = cluster.define(&text).await;
        done.map_err(|error| OpenError::of(format!("create the table {name}"), &error))?;
        let prepare = async |text: String, is_idempotent| {
            let prepared = session.prepare(text.as_str()).await;
            let mut prepared = prepared
                .map_err(|error| OpenError::of(format!("prepare {text}"), &error.into()))?;
            prepared.set_is_idempotent(is_idempotent);
            Ok::<_, OpenError>(prepared)
        };
        Ok(Self {
            put_balance: prepare(format!("UPDATE {name} SET balance = ? WHERE id = ?"), true)
                .await?,
            put_value: prepare(format!("UPDATE {name} SET value = ? WHERE id = ?"), true).await?,
            put_balance_if_exists: prepare(
                format!("UPDATE {name} SET balance = ? WHERE id = ? IF EXISTS"),
                false,
            )
            .await?,
            select: prepare(format!("SELECT balance, value FROM {name} WHERE id = ?"), true)
                .await?,
            name,
        })
    }
}

fn full(keyspace: &str, table: &str) -> String {
    format!("{}.{}", quoted(keyspace), quoted(table))
}

#[expect(clippy::needless_pass_by_value, reason = "it stands where errors are mapped")]
fn failed(error: ExecutionError) -> StoreError {
    transient(ACTION, &error)
}
