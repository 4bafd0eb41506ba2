//! What the tests on real Cassandra share: a plain CQL client beside the store, and namespaces.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use handfast_stack::Stack;
use participant::store::cassandra::{CassandraStore, Cluster, ClusterOptions, StoreOptions};
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::deserialize::row::DeserializeRow;
use tokio::runtime::Runtime;
use wal_core::namespace::Namespace;
use wal_core::schema::Table;

/// The data centre of a stack's nodes.
pub const DATACENTER: &str = "datacenter1";

/// An ordinary CQL client, which knows nothing of Handfast.
pub struct Cql {
    session: Session,
    runtime: Runtime,
}

impl Cql {
    /// Connects to the nodes.
    ///
    /// # Panics
    /// If they do not serve.
    pub fn connect(nodes: &[SocketAddr]) -> Self {
        Self::of(SessionBuilder::new().known_nodes_addr(nodes))
    }

    /// Connects to nodes that ask for a login.
    ///
    /// # Panics
    /// If they do not serve, or do not let it in.
    pub fn connect_as(nodes: &[SocketAddr], role: &str, password: &str) -> Self {
        Self::of(SessionBuilder::new().known_nodes_addr(nodes).user(role, password))
    }

    fn of(builder: SessionBuilder) -> Self {
        let runtime = Runtime::new().expect("threads");
        let session = runtime.block_on(builder.build()).expect("a session");
        Self { session, runtime }
    }

    /// Runs a statement.
    ///
    /// # Panics
    /// If the server refuses it.
    pub fn run(&self, text: &str) {
        self.runtime
            .block_on(self.session.query_unpaged(text, ()))
            .unwrap_or_else(|error| panic!("{text}: {error}"));
    }

    /// The rows that a query returns.
    ///
    /// # Panics
    /// If the server refuses it, or its rows are of other types.
    pub fn rows<R>(&self, text: &str) -> Vec<R>
    where
        R: for<'f, 'm> DeserializeRow<'f, 'm>,
    {
        self.try_rows(text).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The same, or what the server says against it.
    ///
    /// # Panics
    /// If its rows are of other types.
    pub fn try_rows<R>(&self, text: &str) -> Result<Vec<R>, String>
    where
        R: for<'f, 'm> DeserializeRow<'f, 'm>,
    {
        let answer = self.runtime.block_on(self.session.query_unpaged(text, ()));
        let answer = answer.map_err(|error| format!("{text}: {error}"))?;
        let rows = answer.into_rows_result().expect("rows");
        Ok(rows.rows::<R>().expect("typed rows").map(|row| row.expect("a row")).collect())
    }

    /// Creates a keyspace with so many replicas.
    pub fn keyspace(&self, name: &str, replicas: usize) {
        self.run(&format!(
            "CREATE KEYSPACE {name} WITH replication = {{'class': 'NetworkTopologyStrategy', \
             '{DATACENTER}': {replicas}}}"
        ));
    }
}

/// How the store reaches a stack.
pub fn options(stack: &Stack) -> ClusterOptions {
    ClusterOptions {
        contact_points: stack.cassandra_nodes().iter().map(ToString::to_string).collect(),
        datacenter: DATACENTER.to_owned(),
        credentials: None,
        tls_ca: None,
        request_timeout: Duration::from_secs(3),
    }
}

/// Tables in a keyspace, created where they are missing.
///
/// # Panics
/// If the store cannot be opened.
pub fn store(cluster: &Arc<Cluster>, keyspace: &str, tables: &[Arc<Table>]) -> CassandraStore {
    let tables: Vec<_> =
        tables.iter().map(|table| (keyspace.to_owned(), Arc::clone(table))).collect();
    let options = StoreOptions { concurrency: 64, create_tables: true };
    let opened = CassandraStore::open(Arc::clone(cluster), &tables, &options);
    opened.unwrap_or_else(|error| panic!("{error}"))
}

/// A namespace whose tables are in a stack, from statements without a keyspace.
///
/// # Panics
/// If they are not tables.
pub fn namespace(stack: &Stack, name: &str, keyspace: &str, more: &str, cql: &[&str]) -> Namespace {
    let points: Vec<String> =
        stack.cassandra_nodes().iter().map(|node| format!("\"{node}\"")).collect();
    let mut text = format!(
        "name = \"{name}\"\n[store]\nkind = \"cassandra\"\ncontact_points = [{}]\ndatacenter = \
         \"{DATACENTER}\"\nkeyspace = \"{keyspace}\"\n{more}\n",
        points.join(", ")
    );
    for statement in cql {
        text += &format!("[[table]]\ncql = '''{statement}'''\n");
    }
    Namespace::from_toml(&text).unwrap_or_else(|error| panic!("{error}"))
}
