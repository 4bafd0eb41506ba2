//! The calls that change namespaces.

use std::sync::Arc;

use sqlx::{Any, AnyPool, Transaction};
use tokio::sync::{Mutex, MutexGuard};
use wal_core::Millis;
use wal_core::namespace::Namespace;
use wal_core::record::NEWEST_WRITE_VERSION;

use crate::error::ControlError;
use crate::open::Kind;
use crate::read::{Described, version_number};
use crate::{MAX_FILE_BYTES, MAX_NAMESPACES, MAX_NOTE_BYTES};

/// Who changes a namespace, why, when, and from what.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// Who.
    pub by: &'a str,
    /// Why, in their words.
    pub note: &'a str,
    /// When, by the clock of the caller.
    pub at: Millis,
    /// The version that the change was made from; `None` takes whichever is current. Ignored by
    /// [`ControlPlane::create`].
    pub expected_version: Option<u32>,
}

/// The store of namespaces. Cheap to clone; the clones share their connections.
#[derive(Clone, Debug)]
pub struct ControlPlane {
    pub(crate) pool: AnyPool,
    /// Without its password.
    pub(crate) address: Arc<str>,
    pub(crate) kind: Kind,
    /// Who writes, where that goes in order: see [`turn`](Self::turn).
    pub(crate) writing: Arc<Mutex<()>>,
}

impl ControlPlane {
    /// Waits for the turn to write, which lasts as long as what is returned. A SQLite file has one writer at a
    /// time, and who finds another tries again now and then: while much is written that can take for ever.
    /// Here it goes in order. PostgreSQL needs none of this.
    pub(crate) async fn turn(&self) -> Option<MutexGuard<'_, ()>> {
        match self.kind {
            Kind::Sqlite => Some(self.writing.lock().await),
            Kind::Postgres => None,
        }
    }

    /// Checks a namespace file against itself, and against the current version if there is one. Changes
    /// nothing. The answer has the version that the file would become.
    pub async fn validate(&self, file: &str) -> Result<Namespace, ControlError> {
        let new = read_file(file)?;
        check_chains(&mut self.pool.begin().await?, &new).await?;
        match self.describe(new.name(), None).await {
            Ok(current) => {
                let new = new.or_write_version(current.namespace.write_version());
                current.namespace.validate_change(&new).map_err(ControlError::ChangeRefused)?;
                Ok(new.with_version(next_version(&current)))
            }
            Err(ControlError::NotFound { .. }) => Ok(new.or_write_version(NEWEST_WRITE_VERSION)),
            Err(error) => Err(error),
        }
    }

    /// Creates a namespace from its file, at version 1.
    pub async fn create(&self, file: &str, change: &Change<'_>) -> Result<Described, ControlError> {
        let namespace = read_file(file)?.or_write_version(NEWEST_WRITE_VERSION);
        check_note(change)?;
        let _turn = self.turn().await;
        let mut txn = self.pool.begin().await?;
        raise_revision(&mut txn).await?;
        let created: Option<(String,)> = sqlx::query_as(
            "INSERT INTO namespaces (name, current_version) VALUES ($1, 1) \
             ON CONFLICT (name) DO NOTHING RETURNING name",
        )
        .bind(namespace.name())
        .fetch_optional(&mut *txn)
        .await?;
        if created.is_none() {
            txn.rollback().await?;
            let version = self.describe(namespace.name(), None).await?.namespace.version();
            return Err(ControlError::Exists { name: namespace.name().to_owned(), version });
        }
        let (count,): (i64,) =
            sqlx::query_as("SELECT COUNT(*) FROM namespaces").fetch_one(&mut *txn).await?;
        if count > MAX_NAMESPACES {
            return Err(ControlError::TooMany);
        }
        check_chains(&mut txn, &namespace).await?;
        insert_version(&mut txn, &namespace, file, change).await?;
        txn.commit().await?;
        Ok(Described::new(namespace, file, change))
    }

    /// Makes a file the next version of the namespace that it names. A file that changes nothing makes
    /// no version: the answer is then the current one.
    pub async fn change(&self, file: &str, change: &Change<'_>) -> Result<Described, ControlError> {
        let new = read_file(file)?;
        check_note(change)?;
        let name = new.name().to_owned();
        let current = self.describe(&name, None).await?;
        let version = current.namespace.version();
        if let Some(expected) = change.expected_version
            && expected != version
        {
            return Err(ControlError::Conflict { name, expected, current: version });
        }
        let new = new.or_write_version(current.namespace.write_version());
        current.namespace.validate_change(&new).map_err(ControlError::ChangeRefused)?;
        if current.namespace.to_toml() == new.to_toml() {
            return Ok(current);
        }
        let new = new.with_version(next_version(&current));
        let _turn = self.turn().await;
        let mut txn = self.pool.begin().await?;
        raise_revision(&mut txn).await?;
        // Moves on only from the version that was checked above.
        let moved: Option<(i64,)> = sqlx::query_as(
            "UPDATE namespaces SET current_version = $3 WHERE name = $1 AND current_version = $2 \
             RETURNING current_version",
        )
        .bind(&name)
        .bind(i64::from(version))
        .bind(i64::from(new.version()))
        .fetch_optional(&mut *txn)
        .await?;
        if moved.is_none() {
            txn.rollback().await?;
            let current = self.describe(&name, None).await?.namespace.version();
            return Err(ControlError::Conflict { name, expected: version, current });
        }
        check_chains(&mut txn, &new).await?;
        insert_version(&mut txn, &new, file, change).await?;
        txn.commit().await?;
        Ok(Described::new(new, file, change))
    }
}

/// Checks targets that are namespaces against the others as they are now; they stay so until the transaction
/// ends if it has raised the revision.
async fn check_chains(txn: &mut Transaction<'_, Any>, new: &Namespace) -> Result<(), ControlError> {
    if !new.is_chained() {
        return Ok(());
    }
    let rows: Vec<(String, i64, String)> = sqlx::query_as(
        "SELECT n.name, v.version, v.canonical FROM namespaces n JOIN namespace_versions v \
         ON v.name = n.name AND v.version = n.current_version WHERE n.name <> $1",
    )
    .bind(new.name())
    .fetch_all(&mut **txn)
    .await?;
    let read = |(name, version, canonical): (String, i64, String)| {
        let damaged = |error| ControlError::Damaged { name, version, why: format!("{error}") };
        Namespace::from_toml(&canonical).map_err(damaged)
    };
    let others = rows.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
    new.validate_chains(&others).map_err(ControlError::ChangeRefused)
}

async fn insert_version(
    txn: &mut Transaction<'_, Any>,
    namespace: &Namespace,
    source: &str,
    change: &Change<'_>,
) -> Result<(), ControlError> {
    sqlx::query(
        "INSERT INTO namespace_versions \
         (name, version, source, canonical, changed_at_ms, changed_by, note) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(namespace.name())
    .bind(i64::from(namespace.version()))
    .bind(source)
    .bind(namespace.to_toml())
    .bind(i64::try_from(change.at.0).unwrap_or(i64::MAX))
    .bind(change.by)
    .bind(change.note)
    .execute(&mut **txn)
    .await?;
    Ok(())
}

/// The first statement of every change. It locks the one row until the end, so that changes come one
/// after another, and whoever has seen a revision has seen every change up to it. On SQLite it is a
/// write that waits for its turn rather than lose it half-way.
pub(crate) async fn raise_revision(txn: &mut Transaction<'_, Any>) -> Result<(), ControlError> {
    sqlx::query("UPDATE installation SET revision = revision + 1").execute(&mut **txn).await?;
    Ok(())
}

fn read_file(file: &str) -> Result<Namespace, ControlError> {
    if file.len() > MAX_FILE_BYTES {
        return Err(ControlError::FileTooLarge { got: file.len() });
    }
    Namespace::from_toml(file).map_err(ControlError::Invalid)
}

pub(crate) fn check_note(change: &Change<'_>) -> Result<(), ControlError> {
    if change.by.len() > MAX_NOTE_BYTES || change.note.len() > MAX_NOTE_BYTES {
        return Err(ControlError::NoteTooLong);
    }
    Ok(())
}

fn next_version(current: &Described) -> u32 {
    version_number(i64::from(current.namespace.version()) + 1)
        .expect("a namespace is not changed four billion times")
}
