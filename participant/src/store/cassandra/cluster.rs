//! The connection to a cluster: one session, and the threads on which it runs.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use scylla::client::PoolSize;
use scylla::client::execution_profile::ExecutionProfile;
use scylla::client::session::{Session, TlsContext};
use scylla::client::session_builder::SessionBuilder;
use scylla::cluster::Node;
use scylla::errors::ExecutionError;
use scylla::frame::types::{Consistency, SerialConsistency};
use scylla::policies::load_balancing::{
    DefaultPolicy, NodeIdentifier, SingleTargetLoadBalancingPolicy,
};
use scylla::policies::retry::DefaultRetryPolicy;
use scylla::policies::speculative_execution::SimpleSpeculativeExecutionPolicy;
use scylla::statement::Statement;
use tokio::runtime::Runtime;
use wal_core::cql::quoted;

use super::{OpenError, access};

/// Replicas of a keyspace that is created, where there are so many nodes.
const REPLICAS: usize = 3;
/// Threads that serve the sockets; the work between them is small.
const THREADS: usize = 2;
/// A request that has no answer yet goes to another node too. Safe: everything here may be done twice.
const SPECULATE_AFTER: Duration = Duration::from_millis(250);
/// How long a change of the schema may take: nodes tell each other of it, and busy ones take their time.
const DEFINITION_TIMEOUT: Duration = Duration::from_secs(30);
/// How long nodes may take to agree on a schema before a table is judged by it.
const SCHEMA_AGREEMENT: Duration = Duration::from_secs(5);

/// Where a cluster is, and who asks.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// `host` or `host:port` of some nodes; the others are learnt from them.
    pub contact_points: Vec<String>,
    /// The data centre whose replicas are read and written.
    pub datacenter: String,
    /// User and password, if the cluster wants them.
    pub credentials: Option<Credentials>,
    /// TLS, with nodes whose certificates the authorities of this file (PEM) have signed; `None`: without.
    pub tls_ca: Option<PathBuf>,
    /// How long one request may take.
    pub request_timeout: Duration,
}

/// Who logs in.
#[derive(Clone)]
pub struct Credentials {
    /// The role.
    pub user: String,
    /// Its password.
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials {{ user: {:?} }}", self.user)
    }
}

impl Credentials {
    /// From `HANDFAST_CASSANDRA_USER` and `HANDFAST_CASSANDRA_PASSWORD`, if the first is set.
    pub fn from_environment() -> Option<Self> {
        let user = std::env::var("HANDFAST_CASSANDRA_USER").ok()?;
        let password = std::env::var("HANDFAST_CASSANDRA_PASSWORD").unwrap_or_default();
        Some(Self { user, password })
    }
}

/// A connected cluster. Cheap to share; closed when the last holder lets it go, which may be anywhere.
pub struct Cluster {
    session: Session,
    datacenter: String,
    /// Taken only by `drop`.
    runtime: Option<Runtime>,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cluster {{ datacenter: {:?} }}", self.datacenter)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Waiting is not allowed where another runtime may be at work.
            runtime.shutdown_background();
        }
    }
}

impl Cluster {
    /// Connects. Blocks, at most a few times the request timeout.
    ///
    /// # Errors
    /// Which nodes were tried, or that none of them is in the data centre named.
    pub fn connect(options: &ClusterOptions) -> Result<Arc<Self>, OpenError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("cassandra")
            .enable_all()
            .build()
            .map_err(OpenError::Threads)?;
        let session = runtime.block_on(connect(options))?;
        let cluster =
            Self { session, datacenter: options.datacenter.clone(), runtime: Some(runtime) };
        cluster.check_datacenter(options)?;
        Ok(Arc::new(cluster))
    }

    fn check_datacenter(&self, options: &ClusterOptions) -> Result<(), OpenError> {
        let state = self.session.get_cluster_state();
        let mut known: Vec<String> =
            state.get_nodes_info().iter().filter_map(|node| node.datacenter.clone()).collect();
        known.sort();
        known.dedup();
        if known.contains(&self.datacenter) {
            return Ok(());
        }
        let tried = options.contact_points.join(", ");
        Err(OpenError::NoSuchDatacenter { named: self.datacenter.clone(), tried, known })
    }

    pub(super) const fn session(&self) -> &Session {
        &self.session
    }

    /// The data centre whose replicas are read and written.
    pub fn datacenter(&self) -> &str {
        &self.datacenter
    }

    /// Changes the schema. Every server asks the same node, the one with the least id that it is connected
    /// to: nodes that create the same table at the same time would each give it an id of its own.
    pub(super) async fn define(&self, text: &str) -> Result<(), ExecutionError> {
        let mut statement = Statement::new(text);
        statement.set_request_timeout(Some(DEFINITION_TIMEOUT));
        let state = self.session.get_cluster_state();
        let connected = state.get_nodes_info().iter().filter(|node| node.is_connected());
        if let Some(node) = connected.min_by_key(|node| node.host_id) {
            let node = NodeIdentifier::Node(Arc::clone(node));
            let only = SingleTargetLoadBalancingPolicy::new(node, None);
            statement.set_load_balancing_policy(Some(only));
        }
        self.session.query_unpaged(statement, ()).await.map(|_| ())
    }

    /// How many nodes the data centre has.
    pub(super) fn local_nodes(&self) -> usize {
        let state = self.session.get_cluster_state();
        let local = |node: &&Arc<Node>| node.datacenter.as_deref() == Some(&*self.datacenter);
        state.get_nodes_info().iter().filter(local).count()
    }

    /// Creates a keyspace with three replicas in the data centre, or as many as it has nodes.
    pub(super) async fn create_keyspace(&self, keyspace: &str) -> Result<(), OpenError> {
        let replicas = self.local_nodes().clamp(1, REPLICAS);
        let text = format!(
            "CREATE KEYSPACE IF NOT EXISTS {} WITH replication = {{'class': \
             'NetworkTopologyStrategy', '{}': {replicas}}}",
            quoted(keyspace),
            self.datacenter.replace('\'', "''")
        );
        let done = self.define(&text).await;
        done.map_err(|error| OpenError::of(format!("create a keyspace ({text})"), &error))?;
        tracing::info!(keyspace, replicas, "created");
        Ok(())
    }

    /// Waits, on the caller's thread, which must not be one that serves other asynchronous work.
    pub(super) fn block_on<F: Future>(&self, work: F) -> F::Output {
        self.runtime.as_ref().expect("taken only when dropped").block_on(work)
    }
}

async fn connect(options: &ClusterOptions) -> Result<Session, OpenError> {
    let routing = DefaultPolicy::builder()
        .prefer_datacenter(options.datacenter.clone())
        .permit_dc_failover(false)
        .token_aware(true)
        .build();
    let speculation =
        SimpleSpeculativeExecutionPolicy { max_retry_count: 1, retry_interval: SPECULATE_AFTER };
    let profile = ExecutionProfile::builder()
        .consistency(Consistency::LocalQuorum)
        .serial_consistency(Some(SerialConsistency::LocalSerial))
        .request_timeout(Some(options.request_timeout))
        .load_balancing_policy(routing)
        // It retries only what is marked as safe to be done twice.
        .retry_policy(Arc::new(DefaultRetryPolicy::new()))
        .speculative_execution_policy(Some(Arc::new(speculation)))
        .build();
    let mut builder = SessionBuilder::new()
        .known_nodes(&options.contact_points)
        .default_execution_profile_handle(profile.into_handle())
        .connection_timeout(options.request_timeout)
        .pool_size(PoolSize::PerHost(std::num::NonZeroUsize::MIN.saturating_add(1)))
        // A node that hangs is found out and left alone.
        .keepalive_interval(Duration::from_secs(2))
        .keepalive_timeout(options.request_timeout)
        .schema_agreement_timeout(SCHEMA_AGREEMENT);
    if let Some(Credentials { user, password }) = &options.credentials {
        builder = builder.user(user, password);
    }
    if let Some(authority) = &options.tls_ca {
        builder = builder.tls_context(Some(TlsContext::Rustls023(access::tls(authority)?)));
    }
    let patience = options.request_timeout * 3;
    let tried = options.contact_points.join(", ");
    match tokio::time::timeout(patience, builder.build()).await {
        Ok(Ok(session)) => Ok(session),
        Ok(Err(error)) => {
            let role = options.credentials.as_ref().map(|credentials| credentials.user.clone());
            Err(OpenError::unconnected(tried, role, error.to_string()))
        }
        Err(_) => {
            let why = format!("no answer within {} ms", patience.as_millis());
            Err(OpenError::Unreachable { tried, why })
        }
    }
}
