//! What Handfast keeps in a keyspace of its own: whose tables are whose, which log is the right one, and
//! where a shard's newest checkpoint is.
//!
//! ```text
//! owner   table_name → namespace, deployment, since      claimed by a conditional write; a log stands here
//!                                                        as `log/` and its name
//! log     name       → identity                          drawn once, by a conditional write; another
//!                                                        one only where the log is given up
//! hint    log, shard → position                          written with the position as its time, so that
//!                                                        the largest wins whoever is late
//! ```

use std::sync::Arc;

use scylla::cluster::metadata::Strategy;
use scylla::deserialize::row::DeserializeRow;
use scylla::errors::ExecutionError;
use scylla::frame::types::Consistency;
use scylla::serialize::row::SerializeRow;
use scylla::statement::Statement;
use scylla::value::CqlTimestamp;
use uuid::Uuid;
use wal_core::cql::quoted;
use wal_core::{Position, ShardId};

use super::cluster::Cluster;
use super::failure::{OpenError, is_final};

/// How often a conditional write, and what became of it, is tried.
const MAX_TRIES: usize = 5;

/// Who has claimed something: namespace, deployment, and since when.
type Claim = (String, Uuid, Option<CqlTimestamp>);

/// Handfast's own keyspace in a cluster.
#[derive(Debug)]
pub struct Registry {
    cluster: Arc<Cluster>,
    keyspace: String,
}

impl Registry {
    /// Opens the keyspace; creates it and its tables if they are not there. Blocks.
    ///
    /// # Errors
    /// If the cluster does not answer, or the role may not create what is missing.
    pub fn open(cluster: Arc<Cluster>, keyspace: &str) -> Result<Self, OpenError> {
        let registry = Self { cluster, keyspace: quoted(keyspace) };
        registry.cluster.block_on(registry.create(keyspace))?;
        Ok(registry)
    }

    async fn create(&self, name: &str) -> Result<(), OpenError> {
        let session = self.cluster.session();
        let state = session.get_cluster_state();
        let datacenter = self.cluster.datacenter();
        let own = state.get_keyspace(name);
        if let Some(Strategy::NetworkTopologyStrategy { datacenter_repfactors }) =
            own.map(|keyspace| &keyspace.strategy)
            && datacenter_repfactors.get(datacenter).copied().unwrap_or_default() == 0
        {
            let action = format!("use the keyspace {}", self.keyspace);
            let why = format!("it has no replicas in the data centre {datacenter:?}");
            return Err(OpenError::Failed { action, why });
        }
        if own.is_none() {
            self.cluster.create_keyspace(name).await?;
        }
        let tables = [
            (
                "owner",
                "table_name text PRIMARY KEY, namespace text, deployment uuid, since timestamp",
            ),
            ("log", "name text PRIMARY KEY, identity uuid"),
            ("hint", "log text, shard smallint, position bigint, PRIMARY KEY (log, shard)"),
        ];
        for (table, columns) in tables {
            if own.is_none_or(|keyspace| !keyspace.tables.contains_key(table)) {
                let name = &self.keyspace;
                let text = format!("CREATE TABLE IF NOT EXISTS {name}.{table} ({columns})");
                let action = || format!("create what Handfast keeps about its tables ({text})");
                let done = self.cluster.define(&text).await;
                done.map_err(|error| OpenError::of(action(), &error))?;
            }
        }
        // Another server may have created them a moment ago, and not every node knows them yet.
        let _ = session.await_schema_agreement().await; // a node that is down must not stand in the way
        Ok(())
    }

    /// A statement that may be done twice.
    fn statement(text: String) -> Statement {
        let mut statement = Statement::new(text);
        statement.set_is_idempotent(true);
        statement
    }

    /// Claims tables for a namespace of a deployment; those that are its own already stay so. Blocks.
    ///
    /// # Errors
    /// [`OpenError::OwnedByOther`] says whose a table is, and how it is released.
    pub fn claim(
        &self,
        namespace: &str,
        deployment: u128,
        mut tables: Vec<String>,
    ) -> Result<(), OpenError> {
        tables.sort();
        let deployment = Uuid::from_u128(deployment);
        self.cluster.block_on(async {
            for table in tables {
                let what = format!("table {table}");
                self.claim_one(&what, &table, namespace, deployment).await?;
            }
            Ok(())
        })
    }

    /// Claims a log as [`Self::claim`] does a table: two namespaces on one would depose each other, and read
    /// each other's records. Blocks.
    ///
    /// # Errors
    /// [`OpenError::OwnedByOther`] says whose it is, and how it is released.
    pub fn claim_log(&self, namespace: &str, deployment: u128, log: &str) -> Result<(), OpenError> {
        let (what, key) = (format!("log {log}"), format!("log/{log}")); // no table is called so
        let deployment = Uuid::from_u128(deployment);
        self.cluster.block_on(self.claim_one(&what, &key, namespace, deployment))
    }

    async fn claim_one(
        &self,
        what: &str,
        key: &str,
        namespace: &str,
        deployment: Uuid,
    ) -> Result<(), OpenError> {
        let action = format!("claim the {what}");
        let failed = |error: ExecutionError| OpenError::of(action.clone(), &error);
        let insert = format!(
            "INSERT INTO {}.owner (table_name, namespace, deployment, since) VALUES (?, ?, ?, \
             toTimestamp(now())) IF NOT EXISTS",
            self.keyspace
        );
        let claim = (key, namespace, deployment);
        let first: Claim =
            self.first_written(insert, claim, self.select_claim(), (key,)).await.map_err(failed)?;
        if (first.0.as_str(), first.1) == (namespace, deployment) {
            return Ok(());
        }
        Err(self.owned_by_other(what, key, first))
    }

    fn select_claim(&self) -> String {
        format!(
            "SELECT namespace, deployment, since FROM {}.owner WHERE table_name = ?",
            self.keyspace
        )
    }

    fn owned_by_other(&self, what: &str, key: &str, (namespace, owner, since): Claim) -> OpenError {
        OpenError::OwnedByOther {
            what: what.to_owned(),
            namespace,
            deployment: owner.to_string(),
            since: since_text(since),
            release: format!(
                "DELETE FROM {}.owner WHERE table_name = '{}' IF deployment = {owner};",
                self.keyspace,
                key.replace('\'', "''")
            ),
        }
    }

    /// Refuses tables that some namespace has claimed, for who writes others without claiming them. Creates
    /// nothing: where nobody keeps claims, none was made. Blocks.
    ///
    /// # Errors
    /// [`OpenError::OwnedByOther`] says whose a table is.
    pub(super) fn refuse_claimed(
        cluster: &Arc<Cluster>,
        keyspace: &str,
        tables: &[String],
    ) -> Result<(), OpenError> {
        let state = cluster.session().get_cluster_state();
        if state.get_keyspace(keyspace).is_none_or(|own| !own.tables.contains_key("owner")) {
            return Ok(());
        }
        let registry = Self { cluster: Arc::clone(cluster), keyspace: quoted(keyspace) };
        for table in tables {
            let mut select = Self::statement(registry.select_claim());
            select.set_consistency(Consistency::LocalSerial);
            let found = cluster.block_on(registry.first_row::<Claim>(select, (table.as_str(),)));
            let action = || format!("read whose the table {table} is");
            if let Some(claim) = found.map_err(|error| OpenError::of(action(), &error))? {
                return Err(registry.owned_by_other(&format!("table {table}"), table, claim));
            }
        }
        Ok(())
    }

    /// Gives tables back, if they are this deployment's. Blocks.
    ///
    /// # Errors
    /// If the cluster does not answer.
    pub fn release(
        &self,
        deployment: u128,
        tables: impl Iterator<Item = String>,
    ) -> Result<(), OpenError> {
        let text =
            format!("DELETE FROM {}.owner WHERE table_name = ? IF deployment = ?", self.keyspace);
        self.cluster.block_on(async {
            for table in tables {
                let values = (table.as_str(), Uuid::from_u128(deployment));
                let delete = Self::statement(text.clone());
                let done = self.cluster.session().query_unpaged(delete, values).await;
                done.map_err(|error| OpenError::of(format!("release the table {table}"), &error))?;
            }
            Ok(())
        })
    }

    /// The identity of a log: what was stored first, which is `fresh` if nothing was. Blocks.
    ///
    /// # Errors
    /// If the cluster does not answer.
    pub fn log_identity(&self, log: &str, fresh: u128) -> Result<u128, OpenError> {
        let failed = |error: ExecutionError| {
            OpenError::of(format!("read the identity of log {log}"), &error)
        };
        let insert = format!(
            "INSERT INTO {}.log (name, identity) VALUES (?, ?) IF NOT EXISTS",
            self.keyspace
        );
        let select = self.select_identity();
        let first =
            self.first_written::<(Uuid,)>(insert, (log, Uuid::from_u128(fresh)), select, (log,));
        let (identity,) = self.cluster.block_on(first).map_err(failed)?;
        Ok(identity.as_u128())
    }

    /// The identity of a log, if one was drawn. Blocks.
    ///
    /// # Errors
    /// If the cluster does not answer.
    pub fn known_identity(&self, log: &str) -> Result<Option<u128>, OpenError> {
        let mut select = Self::statement(self.select_identity());
        select.set_consistency(Consistency::LocalSerial);
        let failed = |error| OpenError::of(format!("read the identity of log {log}"), &error);
        let found = self.cluster.block_on(self.first_row::<(Uuid,)>(select, (log,)));
        Ok(found.map_err(failed)?.map(|(identity,)| identity.as_u128()))
    }

    /// Gives a log up for another one. Whether the other one is its identity now. Blocks.
    ///
    /// # Errors
    /// If the cluster does not answer.
    pub fn replace_identity(&self, log: &str, old: u128, new: u128) -> Result<bool, OpenError> {
        let text =
            format!("UPDATE {}.log SET identity = ? WHERE name = ? IF identity = ?", self.keyspace);
        let values = (Uuid::from_u128(new), log, Uuid::from_u128(old));
        let session = self.cluster.session();
        let done = self.cluster.block_on(session.query_unpaged(Self::statement(text), values));
        // What is there then is what counts: an answer may be lost, and the write done all the same.
        let found = self.known_identity(log)?;
        match (found == Some(new), done) {
            (true, _) => Ok(true),
            (false, Ok(_)) => Ok(false),
            (false, Err(error)) => {
                Err(OpenError::of(format!("replace the identity of log {log}"), &error))
            }
        }
    }

    fn select_identity(&self) -> String {
        format!("SELECT identity FROM {}.log WHERE name = ?", self.keyspace)
    }

    /// Stores where a shard's newest checkpoint is. One that is behind what is stored changes nothing.
    /// Blocks.
    ///
    /// # Errors
    /// If the cluster does not answer. A lost hint costs a longer scan, nothing else.
    pub fn store_hint(
        &self,
        log: &str,
        shard: ShardId,
        position: Position,
    ) -> Result<(), OpenError> {
        let text = format!(
            "UPDATE {}.hint USING TIMESTAMP ? SET position = ? WHERE log = ? AND shard = ?",
            self.keyspace
        );
        let action = || format!("store the checkpoint of shard {shard}");
        let position = i64::try_from(position.0).map_err(|_| OpenError::Failed {
            action: action(),
            why: format!("the position {} is too large", position.0),
        })?;
        // A shard's number fits: there are at most 1,024.
        let values = (position, position, log, shard.0 as i16);
        let stored = self.cluster.session().query_unpaged(Self::statement(text), values);
        let stored = self.cluster.block_on(stored);
        stored.map(drop).map_err(|error| OpenError::of(action(), &error))
    }

    /// Where a shard's newest checkpoint is, if that was stored. Blocks.
    ///
    /// # Errors
    /// If the cluster does not answer.
    pub fn hint(&self, log: &str, shard: ShardId) -> Result<Option<Position>, OpenError> {
        let text =
            format!("SELECT position FROM {}.hint WHERE log = ? AND shard = ?", self.keyspace);
        let read = self.first_row::<(Option<i64>,)>(Self::statement(text), (log, shard.0 as i16));
        let failed = |error| OpenError::of(format!("read the checkpoint of shard {shard}"), &error);
        let found = self.cluster.block_on(read).map_err(failed)?;
        Ok(found.and_then(|(position,)| u64::try_from(position?).ok()).map(Position))
    }

    /// The first row of an answer, if it has any.
    async fn first_row<R>(
        &self,
        select: Statement,
        key: impl SerializeRow,
    ) -> Result<Option<R>, ExecutionError>
    where
        R: for<'f, 'm> DeserializeRow<'f, 'm>,
    {
        let answer = self.cluster.session().query_unpaged(select, key).await?;
        let rows = answer.into_rows_result().map_err(|_| ExecutionError::EmptyPlan)?;
        rows.maybe_first_row::<R>().map_err(|_| ExecutionError::EmptyPlan)
    }

    /// The row that is there, after writing this one if there was none. What is there is read, in the order
    /// of conditional writes: one whose answer was lost may have been applied all the same.
    async fn first_written<R>(
        &self,
        insert: String,
        row: impl SerializeRow,
        select: String,
        key: impl SerializeRow,
    ) -> Result<R, ExecutionError>
    where
        R: for<'f, 'm> DeserializeRow<'f, 'm>,
    {
        let session = self.cluster.session();
        let insert = Self::statement(insert);
        let mut select = Self::statement(select);
        select.set_consistency(Consistency::LocalSerial);
        let mut last = ExecutionError::EmptyPlan;
        for _ in 0..MAX_TRIES {
            match self.first_row(select.clone(), &key).await {
                Ok(Some(found)) => return Ok(found),
                Ok(None) => {}
                Err(error) if is_final(&error) => return Err(error),
                Err(error) => last = error,
            }
            match session.query_unpaged(insert.clone(), &row).await {
                Err(error) if is_final(&error) => return Err(error),
                Err(error) => last = error,
                Ok(_) => {}
            }
        }
        Err(last)
    }
}

fn since_text(since: Option<CqlTimestamp>) -> String {
    let Some(CqlTimestamp(millis)) = since else { return "an unknown time".to_owned() };
    wal_core::value::Value::Timestamp(millis).to_string().trim_matches('\'').to_owned()
}
