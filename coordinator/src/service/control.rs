//! What the service needs from the control plane.

use std::sync::Arc;

use wal_core::namespace::Namespace;

/// A namespace and the text that defines it.
#[derive(Clone, Debug)]
pub struct Definition {
    /// It.
    pub namespace: Arc<Namespace>,
    /// Its TOML, as it was given.
    pub text: String,
}

/// A pool of participants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// Why it was created.
    pub note: String,
    /// The namespaces that it serves, by name.
    pub namespaces: Vec<String>,
}

/// Why the control plane refused or failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// The definition is wrong.
    #[error("{0}")]
    InvalidDefinition(String),
    /// There is no such namespace.
    #[error("namespace {name:?} does not exist")]
    NotFound {
        /// Its name.
        name: String,
    },
    /// It exists already.
    #[error("namespace {name:?} exists already")]
    Exists {
        /// Its name.
        name: String,
    },
    /// The change is not possible on live data.
    #[error("{0}")]
    ChangeRefused(String),
    /// Somebody changed it meanwhile.
    #[error("namespace {name:?} is at version {found}, not {expected}")]
    VersionConflict {
        /// Its name.
        name: String,
        /// The version that the caller expected.
        expected: u32,
        /// The version found.
        found: u32,
    },
    /// The store of namespaces is away; nothing was changed.
    #[error("{0}")]
    Unavailable(String),
    /// It is stored, and this server cannot serve it yet.
    #[error("{0}")]
    Unserved(String),
    /// Something broke.
    #[error("{0}")]
    Broken(String),
}

/// Namespaces, durable. When `create` or `change` answers, the new version is served.
#[tonic::async_trait]
pub trait Control: Send + Sync + 'static {
    /// Creates a namespace.
    async fn create(&self, definition: &str) -> Result<Definition, ControlError>;

    /// What `create`, or `change` if it exists, would make; and whether it exists. Changes nothing.
    async fn validate(&self, definition: &str) -> Result<(Definition, bool), ControlError>;

    /// All of them, by name.
    async fn list(&self) -> Result<Vec<Definition>, ControlError>;

    /// The newest version of one.
    async fn describe(&self, name: &str) -> Result<Definition, ControlError>;

    /// Makes a new version, if the current one is `expected_version`.
    async fn change(
        &self,
        definition: &str,
        expected_version: u32,
    ) -> Result<Definition, ControlError>;

    /// What deliveries keep: how far they are, and dead letters.
    fn deliveries(&self) -> Result<Arc<dyn delivery::Store>, ControlError>;

    /// What is due later, by time.
    fn delays(&self) -> Result<Arc<dyn delivery::schedule::Index>, ControlError>;

    /// Creates a pool.
    async fn create_pool(&self, name: &str, note: &str) -> Result<Pool, ControlError>;

    /// All pools, by name.
    async fn pools(&self) -> Result<Vec<Pool>, ControlError>;

    /// Has a namespace served by a pool. How often it was pinned by now.
    async fn pin(&self, namespace: &str, pool: &str, note: &str) -> Result<u32, ControlError>;
}
