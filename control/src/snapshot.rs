//! Everything that servers act on, at one moment.

use wal_core::namespace::Namespace;
use wal_core::record::OLDEST_WRITE_VERSION;

use crate::error::ControlError;
use crate::plane::ControlPlane;
use crate::pools::DEFAULT_POOL;
use crate::read::{Described, entry};

/// All namespaces at their current versions, and who serves them, as they were together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Which installation: drawn when its database was created.
    pub installation: String,
    /// Raised by every change; 0 before the first.
    pub revision: u64,
    /// By name.
    pub namespaces: Vec<Placed>,
}

impl Snapshot {
    /// The namespace of that name.
    pub fn namespace(&self, name: &str) -> Option<&Placed> {
        self.namespaces.iter().find(|placed| placed.described.namespace.name() == name)
    }
}

/// A namespace at its current version, and the pool that serves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The namespace.
    pub described: Described,
    /// The pool.
    pub pool: String,
}

/// Installation, revision, name, version, source, canonical form, when, by whom, why, pool.
type Row = (String, i64, String, i64, String, String, i64, String, String, String);

impl ControlPlane {
    /// The number that every change raises: a cheap question whether there is something new.
    pub async fn revision(&self) -> Result<u64, ControlError> {
        let (revision,): (i64,) =
            sqlx::query_as("SELECT revision FROM installation").fetch_one(&self.pool).await?;
        Ok(u64::try_from(revision).unwrap_or(0))
    }

    /// Everything, by one statement, so that it belongs together.
    pub async fn snapshot(&self) -> Result<Snapshot, ControlError> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT i.id, i.revision, COALESCE(n.name, ''), COALESCE(v.version, 0), \
                    COALESCE(v.source, ''), COALESCE(v.canonical, ''), COALESCE(v.changed_at_ms, 0), \
                    COALESCE(v.changed_by, ''), COALESCE(v.note, ''), COALESCE(( \
                        SELECT p.pool FROM placements p WHERE p.namespace = n.name \
                        ORDER BY p.version DESC LIMIT 1), $1) \
             FROM installation i \
             LEFT JOIN namespaces n ON 1 = 1 \
             LEFT JOIN namespace_versions v ON v.name = n.name AND v.version = n.current_version \
             ORDER BY n.name",
        )
        .bind(DEFAULT_POOL)
        .fetch_all(&self.pool)
        .await?;
        let mut snapshot =
            Snapshot { installation: String::new(), revision: 0, namespaces: Vec::new() };
        for (installation, revision, name, version, source, canonical, at, by, note, pool) in rows {
            snapshot.installation = installation;
            snapshot.revision = u64::try_from(revision).unwrap_or(0);
            // The one row of an installation without namespaces.
            if !name.is_empty() {
                let entry = entry(&name, (version, at, by, note))?;
                let described = Described::read(&name, source, &canonical, entry)?;
                snapshot.namespaces.push(Placed { described, pool });
            }
        }
        Ok(snapshot)
    }
}

impl Described {
    /// Out of what is stored.
    pub(crate) fn read(
        name: &str,
        source: String,
        canonical: &str,
        entry: crate::read::HistoryEntry,
    ) -> Result<Self, ControlError> {
        let damaged = |why: String| ControlError::Damaged {
            name: name.to_owned(),
            version: entry.version.into(),
            why,
        };
        let namespace =
            Namespace::from_toml(canonical).map_err(|error| damaged(error.to_string()))?;
        if namespace.name() != name {
            return Err(damaged(format!("it is of {:?}", namespace.name())));
        }
        let namespace =
            namespace.with_version(entry.version).or_write_version(OLDEST_WRITE_VERSION);
        Ok(Self { namespace, source, entry })
    }
}
