//! The calls that only look.

use wal_core::Millis;
use wal_core::namespace::Namespace;
use wal_core::nearest::suggestion;

use crate::error::ControlError;
use crate::plane::{Change, ControlPlane};
use crate::{MAX_HISTORY, MAX_NAMESPACES};

/// One version of a namespace, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// What it says.
    pub namespace: Namespace,
    /// The file as it was handed in.
    pub source: String,
    /// Who made this version, when and why.
    pub entry: HistoryEntry,
}

impl Described {
    pub(crate) fn new(namespace: Namespace, source: &str, change: &Change<'_>) -> Self {
        let entry = HistoryEntry {
            version: namespace.version(),
            changed_at: change.at,
            changed_by: change.by.to_owned(),
            note: change.note.to_owned(),
        };
        Self { namespace, source: source.to_owned(), entry }
    }
}

/// One version in a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryEntry {
    /// The version.
    pub version: u32,
    /// When it was made.
    pub changed_at: Millis,
    /// By whom.
    pub changed_by: String,
    /// Why, in their words.
    pub note: String,
}

/// One namespace in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The name.
    pub name: String,
    /// The current version, when and by whom it was made.
    pub current: HistoryEntry,
}

impl ControlPlane {
    /// One version of a namespace, the current one unless another is asked for.
    pub async fn describe(
        &self,
        name: &str,
        version: Option<u32>,
    ) -> Result<Described, ControlError> {
        let row: Option<(i64, String, String, i64, String, String)> = match version {
            None => sqlx::query_as(
                "SELECT v.version, v.source, v.canonical, v.changed_at_ms, v.changed_by, v.note \
                     FROM namespaces n JOIN namespace_versions v \
                     ON v.name = n.name AND v.version = n.current_version WHERE n.name = $1",
            )
            .bind(name)
            .fetch_optional(&self.pool)
            .await?,
            Some(version) => {
                sqlx::query_as(
                    "SELECT version, source, canonical, changed_at_ms, changed_by, note \
                     FROM namespace_versions WHERE name = $1 AND version = $2",
                )
                .bind(name)
                .bind(i64::from(version))
                .fetch_optional(&self.pool)
                .await?
            }
        };
        let Some((version, source, canonical, at, by, note)) = row else {
            return Err(self.not_found(name, version).await?);
        };
        Described::read(name, source, &canonical, entry(name, (version, at, by, note))?)
    }

    /// All namespaces at their current versions, by name.
    pub async fn list(&self) -> Result<Vec<Summary>, ControlError> {
        let rows: Vec<(String, i64, i64, String, String)> = sqlx::query_as(
            "SELECT n.name, v.version, v.changed_at_ms, v.changed_by, v.note \
             FROM namespaces n JOIN namespace_versions v \
             ON v.name = n.name AND v.version = n.current_version ORDER BY n.name LIMIT $1",
        )
        .bind(MAX_NAMESPACES)
        .fetch_all(&self.pool)
        .await?;
        let summary = |(name, version, at, by, note): (String, _, _, _, _)| {
            let current = entry(&name, (version, at, by, note))?;
            Ok(Summary { name, current })
        };
        rows.into_iter().map(summary).collect()
    }

    /// The versions of a namespace, newest first: those below `before` if given, at most `limit` and
    /// [`MAX_HISTORY`].
    pub async fn history(
        &self,
        name: &str,
        before: Option<u32>,
        limit: u32,
    ) -> Result<Vec<HistoryEntry>, ControlError> {
        let rows: Vec<(i64, i64, String, String)> = sqlx::query_as(
            "SELECT version, changed_at_ms, changed_by, note FROM namespace_versions \
             WHERE name = $1 AND version < $2 ORDER BY version DESC LIMIT $3",
        )
        .bind(name)
        .bind(before.map_or(i64::MAX, i64::from))
        .bind(i64::from(limit.min(MAX_HISTORY)))
        .fetch_all(&self.pool)
        .await?;
        if rows.is_empty() {
            // Nothing below a version is an answer; nothing of a name that nobody has is not.
            self.describe(name, None).await?;
        }
        rows.into_iter().map(|row| entry(name, row)).collect()
    }

    /// What to say of a name or version that is not there.
    async fn not_found(
        &self,
        name: &str,
        version: Option<u32>,
    ) -> Result<ControlError, ControlError> {
        let namespaces = self.list().await?;
        if let Some(found) = namespaces.iter().find(|summary| summary.name == name) {
            let asked = version.unwrap_or(found.current.version);
            return Ok(ControlError::NotFound {
                what: format!("version {asked} of {name:?}"),
                suggestion: format!(": its newest is {}", found.current.version),
            });
        }
        let names = namespaces.iter().map(|summary| summary.name.as_str());
        Ok(ControlError::NotFound {
            what: format!("namespace {name:?}"),
            suggestion: suggestion(name, names),
        })
    }
}

/// A stored version as a number.
pub(crate) fn version_number(version: i64) -> Option<u32> {
    u32::try_from(version).ok().filter(|version| *version > 0)
}

pub(crate) fn entry(
    name: &str,
    (version, at, changed_by, note): (i64, i64, String, String),
) -> Result<HistoryEntry, ControlError> {
    let damaged =
        |why: &str| ControlError::Damaged { name: name.to_owned(), version, why: why.to_owned() };
    Ok(HistoryEntry {
        version: version_number(version).ok_or_else(|| damaged("not the number of a version"))?,
        changed_at: Millis(u64::try_from(at).map_err(|_| damaged("made before 1970"))?),
        changed_by,
        note,
    })
}
