//! What a failed request means: wrong for good, or for now.

use scylla::errors::{DbError, ExecutionError, PrepareError, RequestAttemptError};

use crate::store::StoreError;

/// Why a store could not be opened. Every one says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No node answered as it should.
    #[error(
        "cannot connect to Cassandra at {tried}: {why}; check `store.contact_points`, that the nodes are \
         up, and HANDFAST_CASSANDRA_USER and _PASSWORD if they ask for a login"
    )]
    Unreachable {
        /// The contact points.
        tried: String,
        /// What the driver said of the last one.
        why: String,
    },
    /// The cluster is there, the data centre is not.
    #[error(
        "the cluster at {tried} has no data centre {named:?}, it has {known:?}; set `store.datacenter` to \
         the one that this server is in"
    )]
    NoSuchDatacenter {
        /// What was asked for.
        named: String,
        /// The contact points.
        tried: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// Tables are missing, or not as the namespace says.
    #[error("the tables of the cluster are not those of the namespace:\n{}", lines(.0))]
    Schema(Vec<wal_core::namespace::Problem>),
    /// Another deployment has claimed a table.
    #[error(
        "the table {table} belongs to namespace {namespace:?} of the deployment {deployment} \
         since {since}; two of them would lock its rows apart. Use other tables, or, if that deployment is \
         gone for good, release the table:\n    {release}"
    )]
    OwnedByOther {
        /// The table, with its keyspace.
        table: String,
        /// The namespace that claimed it.
        namespace: String,
        /// The deployment of that namespace.
        deployment: String,
        /// When, as text.
        since: String,
        /// The statement that gives it up.
        release: String,
    },
    /// The role may not do what is needed.
    #[error(
        "cannot {action}: {why}; grant the role what docs/cassandra.md lists under \"Permissions\", or \
         have an administrator run it"
    )]
    Denied {
        /// What was tried.
        action: String,
        /// What the server said.
        why: String,
    },
    /// A request failed for now.
    #[error("cannot {action}: {why}; try again when the cluster is well")]
    Failed {
        /// What was tried.
        action: String,
        /// What the driver said.
        why: String,
    },
    /// The machine gives no threads.
    #[error("cannot start the threads of the table store: {0}")]
    Threads(std::io::Error),
}

fn lines(problems: &[wal_core::namespace::Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

impl OpenError {
    /// A failed request of the opening.
    pub(super) fn of(action: impl Into<String>, error: &ExecutionError) -> Self {
        let (action, why) = (action.into(), error.to_string());
        match db_error(error) {
            Some(DbError::Unauthorized) => Self::Denied { action, why },
            _ => Self::Failed { action, why },
        }
    }
}

fn db_error(error: &ExecutionError) -> Option<&DbError> {
    match error {
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(error, _))
        | ExecutionError::PrepareError(PrepareError::AllAttemptsFailed {
            first_attempt: RequestAttemptError::DbError(error, _),
        }) => Some(error),
        _ => None,
    }
}

/// Whether the server says that the request itself is wrong (a column or table that it does not have, a
/// value too large), so that sending it again is of no use unless the schema changes.
pub(super) fn is_invalid(error: &ExecutionError) -> bool {
    match error {
        ExecutionError::BadQuery(_) => true,
        _ => matches!(
            db_error(error),
            Some(DbError::Invalid | DbError::SyntaxError | DbError::ConfigError)
        ),
    }
}

/// Whether trying again is of no use until somebody mends something.
pub(super) fn is_final(error: &ExecutionError) -> bool {
    is_invalid(error) || matches!(db_error(error), Some(DbError::Unauthorized))
}

/// Whether a prepared statement has become another one, and must be prepared anew.
pub(super) fn is_stale(error: &ExecutionError) -> bool {
    matches!(
        error,
        ExecutionError::LastAttemptError(
            RequestAttemptError::RepreparedIdChanged { .. }
                | RequestAttemptError::RepreparedIdMissingInBatch
        )
    )
}

pub(super) fn transient(action: &'static str, error: &ExecutionError) -> StoreError {
    StoreError::Transient { action, why: error.to_string() }
}
