//! Pools of participants, and which of them serves a namespace.

use wal_core::Millis;
use wal_core::nearest::suggestion;

use crate::error::ControlError;
use crate::plane::{Change, ControlPlane, check_note, raise_revision};
use crate::read::{HistoryEntry, entry};
use crate::{MAX_HISTORY, MAX_POOL_NAME_BYTES, MAX_POOLS};

/// The pool of every namespace that is pinned to no other.
pub const DEFAULT_POOL: &str = "default";

/// A group of participants: a namespace is served by those of one pool, so that a noisy one can be set
/// apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// When it was created.
    pub created_at: Millis,
    /// By whom.
    pub created_by: String,
    /// Why, in their words.
    pub note: String,
}

/// One answer to the question which pool serves a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The pool.
    pub pool: String,
    /// Which version of the placement, when it was made, by whom and why. `None` for a namespace that was
    /// never pinned.
    pub entry: Option<HistoryEntry>,
}

impl Placement {
    /// What [`Change::expected_version`] must be to follow this one: 0 for one that was never pinned.
    pub fn version(&self) -> u32 {
        self.entry.as_ref().map_or(0, |entry| entry.version)
    }
}

impl ControlPlane {
    /// Creates a pool. Which participants belong to it is for their own configuration to say.
    pub async fn create_pool(&self, name: &str, change: &Change<'_>) -> Result<Pool, ControlError> {
        check_name(name)?;
        check_note(change)?;
        let _turn = self.turn().await;
        let mut txn = self.pool.begin().await?;
        raise_revision(&mut txn).await?;
        let created: Option<(String,)> = sqlx::query_as(
            "INSERT INTO pools (name, created_at_ms, created_by, note) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (name) DO NOTHING RETURNING name",
        )
        .bind(name)
        .bind(i64::try_from(change.at.0).unwrap_or(i64::MAX))
        .bind(change.by)
        .bind(change.note)
        .fetch_optional(&mut *txn)
        .await?;
        if created.is_none() {
            txn.rollback().await?;
            return Err(ControlError::PoolExists { name: name.to_owned() });
        }
        let (count,): (i64,) =
            sqlx::query_as("SELECT COUNT(*) FROM pools").fetch_one(&mut *txn).await?;
        if count > MAX_POOLS {
            txn.rollback().await?;
            return Err(ControlError::TooManyPools);
        }
        txn.commit().await?;
        Ok(Pool {
            name: name.to_owned(),
            created_at: change.at,
            created_by: change.by.to_owned(),
            note: change.note.to_owned(),
        })
    }

    /// All pools, by name.
    pub async fn pools(&self) -> Result<Vec<Pool>, ControlError> {
        let rows: Vec<(String, i64, String, String)> = sqlx::query_as(
            "SELECT name, created_at_ms, created_by, note FROM pools ORDER BY name LIMIT $1",
        )
        .bind(MAX_POOLS)
        .fetch_all(&self.pool)
        .await?;
        let pool = |(name, at, created_by, note)| Pool {
            name,
            created_at: Millis(u64::try_from(at).unwrap_or(0)),
            created_by,
            note,
        };
        Ok(rows.into_iter().map(pool).collect())
    }

    /// Which pool serves a namespace now.
    pub async fn placement(&self, namespace: &str) -> Result<Placement, ControlError> {
        match self.placements(namespace, 1).await?.pop() {
            Some(placement) => Ok(placement),
            None => Ok(Placement { pool: DEFAULT_POOL.to_owned(), entry: None }),
        }
    }

    /// Which pools have served a namespace, newest first, at most `limit` and [`MAX_HISTORY`]. Empty if
    /// it was never pinned.
    pub async fn placements(
        &self,
        namespace: &str,
        limit: u32,
    ) -> Result<Vec<Placement>, ControlError> {
        let rows: Vec<(String, i64, i64, String, String)> = sqlx::query_as(
            "SELECT pool, version, changed_at_ms, changed_by, note FROM placements \
             WHERE namespace = $1 ORDER BY version DESC LIMIT $2",
        )
        .bind(namespace)
        .bind(i64::from(limit.min(MAX_HISTORY)))
        .fetch_all(&self.pool)
        .await?;
        if rows.is_empty() {
            self.describe(namespace, None).await?;
        }
        let placement = |(pool, version, at, by, note): (String, _, _, _, _)| {
            Ok(Placement { pool, entry: Some(entry(namespace, (version, at, by, note))?) })
        };
        rows.into_iter().map(placement).collect()
    }

    /// Pins a namespace to a pool; to [`DEFAULT_POOL`] frees it. [`Change::expected_version`] is the
    /// version of its placement ([`Placement::version`]), not of the namespace. Pinning it to where it is
    /// makes no new version.
    pub async fn pin(
        &self,
        namespace: &str,
        pool: &str,
        change: &Change<'_>,
    ) -> Result<Placement, ControlError> {
        check_note(change)?;
        let pools = self.pools().await?;
        if !pools.iter().any(|it| it.name == pool) {
            return Err(ControlError::NotFound {
                what: format!("pool {pool:?}"),
                suggestion: suggestion(pool, pools.iter().map(|it| &*it.name)),
            });
        }
        let current = self.placement(namespace).await?;
        let conflict = |current: u32| ControlError::Conflict {
            name: namespace.to_owned(),
            expected: change.expected_version.unwrap_or(current),
            current,
        };
        if change.expected_version.is_some_and(|expected| expected != current.version()) {
            return Err(conflict(current.version()));
        }
        if current.pool == pool {
            return Ok(current);
        }
        let version = current.version() + 1;
        let _turn = self.turn().await;
        let mut txn = self.pool.begin().await?;
        raise_revision(&mut txn).await?;
        let inserted: Option<(i64,)> = sqlx::query_as(
            "INSERT INTO placements (namespace, version, pool, changed_at_ms, changed_by, note) \
             VALUES ($1, $2, $3, $4, $5, $6) \
             ON CONFLICT (namespace, version) DO NOTHING RETURNING version",
        )
        .bind(namespace)
        .bind(i64::from(version))
        .bind(pool)
        .bind(i64::try_from(change.at.0).unwrap_or(i64::MAX))
        .bind(change.by)
        .bind(change.note)
        .fetch_optional(&mut *txn)
        .await?;
        if inserted.is_none() {
            txn.rollback().await?;
            return Err(conflict(self.placement(namespace).await?.version()));
        }
        txn.commit().await?;
        let entry = HistoryEntry {
            version,
            changed_at: change.at,
            changed_by: change.by.to_owned(),
            note: change.note.to_owned(),
        };
        Ok(Placement { pool: pool.to_owned(), entry: Some(entry) })
    }
}

fn check_name(name: &str) -> Result<(), ControlError> {
    let letters =
        name.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-');
    let first = name.bytes().next().is_some_and(|it| it.is_ascii_lowercase());
    if letters && first && name.len() <= MAX_POOL_NAME_BYTES {
        return Ok(());
    }
    Err(ControlError::BadPoolName { name: name.to_owned() })
}
