//! What a failed request means: wrong for good, or for now.

use scylla::errors::{DbError, ExecutionError, PrepareError, RequestAttemptError};
use wal_core::cql::quoted;

use crate::store::StoreError;

/// Why a store could not be opened. Every one says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No node answered as it should.
    #[error(
        "cannot connect to Cassandra at {tried}: {why}; check `store.contact_points`, that the nodes are \
         up, and `store.tls_ca` if they speak TLS"
    )]
    Unreachable {
        /// The contact points.
        tried: String,
        /// What the driver said of the last one.
        why: String,
    },
    /// The nodes do not let the role in.
    #[error("{}", login(.tried, .role.as_deref(), .why))]
    Login {
        /// The contact points.
        tried: String,
        /// Who tried, if anybody was named.
        role: Option<String>,
        /// What the driver said.
        why: String,
    },
    /// The file with the authority of the nodes' certificates cannot be used.
    #[error(
        "cannot use {path} (`store.tls_ca`): {why}; it must hold the certificates, in PEM, of the authority \
         that signed those of the nodes"
    )]
    Authority {
        /// The file.
        path: String,
        /// What is wrong with it.
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
    /// Another deployment, or another namespace, has claimed a table or a log.
    #[error(
        "the {what} belongs to namespace {namespace:?} of the deployment {deployment} since {since}; two of \
         them cannot have it. Use another, or, if that deployment is gone for good, release it:\n    {release}"
    )]
    OwnedByOther {
        /// `table`, with its keyspace, or `log`.
        what: String,
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
        "cannot {action}: {why} (docs/cassandra.md lists under \"Permissions\" what a role needs)"
    )]
    Denied {
        /// What was tried.
        action: String,
        /// What the server said, and the statement that would mend it.
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
        let action = action.into();
        match db_error(error) {
            Some(DbError::Unauthorized) => Self::Denied { action, why: with_grant(error) },
            _ => Self::Failed { action, why: error.to_string() },
        }
    }

    /// No session came about.
    pub(super) fn unconnected(tried: String, role: Option<String>, why: String) -> Self {
        // The driver tells of its last attempt in many ways; all of these have the word.
        match ["uthenticat", "redential"].iter().any(|word| why.contains(word)) {
            true => Self::Login { tried, role, why },
            false => Self::Unreachable { tried, why },
        }
    }
}

fn login(tried: &str, role: Option<&str>, why: &str) -> String {
    match role {
        None => format!(
            "Cassandra at {tried} asks for a login ({why}); set HANDFAST_CASSANDRA_USER and \
             HANDFAST_CASSANDRA_PASSWORD in the environment of this server"
        ),
        Some(role) => format!(
            "Cassandra at {tried} does not let the role {role:?} in: {why}; check \
             HANDFAST_CASSANDRA_USER and HANDFAST_CASSANDRA_PASSWORD, and that the role may log in"
        ),
    }
}

/// The error, and where the role lacks a permission, the statement that grants it.
pub(super) fn with_grant(error: &ExecutionError) -> String {
    let text = error.to_string();
    match grant(&text) {
        Some(grant) => format!("{text}; have an administrator run: {grant}"),
        None => text,
    }
}

/// `User ann has no MODIFY permission on <table bank.accounts> or any of its parents`: what grants it.
fn grant(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("User ")?;
    let (role, rest) = rest.split_once(" has no ")?;
    let (permission, rest) = rest.split_once(" permission on <")?;
    let (resource, _) = rest.split_once('>')?;
    let resource = match resource.split_once(' ')? {
        ("table", name) => {
            let (keyspace, table) = name.split_once('.')?;
            format!("TABLE {}.{}", quoted(keyspace), quoted(table))
        }
        ("keyspace", name) => format!("KEYSPACE {}", quoted(name)),
        ("all", "keyspaces") => "ALL KEYSPACES".to_owned(),
        ("all", rest) => {
            format!("ALL TABLES IN KEYSPACE {}", quoted(rest.strip_prefix("tables in ")?))
        }
        _ => return None,
    };
    Some(format!("GRANT {permission} ON {resource} TO {};", quoted(role)))
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

/// Whether the role lacks a permission. (A node that cannot ask whether it has it says *unauthorized*, too,
/// in other words: that is for now.)
pub(super) fn is_denied(error: &ExecutionError) -> bool {
    matches!(db_error(error), Some(DbError::Unauthorized)) && grant(&error.to_string()).is_some()
}

/// Whether trying again is of no use until somebody mends something.
pub(super) fn is_final(error: &ExecutionError) -> bool {
    is_invalid(error) || is_denied(error)
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

/// Whether no node was there to be asked, or one said that it has too much to do.
fn is_overloaded(error: &ExecutionError) -> bool {
    match error {
        ExecutionError::ConnectionPoolError(_)
        | ExecutionError::PrepareError(PrepareError::ConnectionPoolError(_)) => true,
        _ => matches!(
            db_error(error),
            Some(DbError::Overloaded | DbError::IsBootstrapping | DbError::RateLimitReached { .. })
        ),
    }
}

/// A request that failed for now.
pub(super) fn transient(action: &'static str, error: &ExecutionError) -> StoreError {
    let why = error.to_string();
    match is_overloaded(error) {
        true => StoreError::Overloaded { action, why },
        false => StoreError::Transient { action, why },
    }
}

#[cfg(test)]
mod tests {
    use super::grant;

    #[test]
    fn a_missing_permission_names_the_statement_that_grants_it() {
        let said = |permission, resource| {
            format!(
                "Database returned an error: User ann has no {permission} permission on <{resource}> or \
                 any of its parents"
            )
        };
        for (permission, resource, expected) in [
            ("MODIFY", "table bank.accounts", "GRANT MODIFY ON TABLE bank.accounts TO ann;"),
            ("SELECT", "table Bank.t", "GRANT SELECT ON TABLE \"Bank\".t TO ann;"),
            ("CREATE", "keyspace bank", "GRANT CREATE ON KEYSPACE bank TO ann;"),
            ("CREATE", "all tables in b", "GRANT CREATE ON ALL TABLES IN KEYSPACE b TO ann;"),
            ("CREATE", "all keyspaces", "GRANT CREATE ON ALL KEYSPACES TO ann;"),
        ] {
            assert_eq!(grant(&said(permission, resource)).as_deref(), Some(expected));
        }
        assert_eq!(grant("Unable to perform authorization of permissions"), None);
    }
}
