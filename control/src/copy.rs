//! What was last seen of the control plane, kept in a file.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use wal_core::Millis;

use crate::error::ControlError;
use crate::read::{Described, HistoryEntry};
use crate::snapshot::{Placed, Snapshot};

/// The number of this file format.
const FORMAT: u32 = 1;

/// A snapshot, and when the database last said so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// What it said.
    pub snapshot: Snapshot,
    /// When, by the clock of this machine.
    pub seen_at: Millis,
}

/// Why a copy cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The file cannot be read or written.
    #[error("the copy of the control plane {path}: {source}", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not what was written.
    #[error(
        "the copy of the control plane {path} is damaged: {why}; delete it, and start the server while \
         the control database is there",
        path = path.display()
    )]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// As it is written: one line with a hash of the rest, then JSON.
#[derive(Serialize, Deserialize)]
struct Stored {
    format: u32,
    seen_at_ms: u64,
    installation: String,
    revision: u64,
    namespaces: Vec<StoredNamespace>,
}

#[derive(Serialize, Deserialize)]
struct StoredNamespace {
    name: String,
    version: u32,
    source: String,
    canonical: String,
    changed_at_ms: u64,
    changed_by: String,
    note: String,
    pool: String,
}

impl Copy {
    /// What the file holds; `None` if there is none.
    pub fn read(path: &Path) -> Result<Option<Self>, CopyError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(CopyError::File { path: path.to_owned(), source }),
        };
        let damaged = |why: String| CopyError::Damaged { path: path.to_owned(), why };
        let (hash, json) = text.split_once('\n').ok_or_else(|| damaged("it is cut off".into()))?;
        if hash != blake3::hash(json.as_bytes()).to_hex().as_str() {
            return Err(damaged("its hash is another".into()));
        }
        let stored: Stored =
            serde_json::from_str(json).map_err(|error| damaged(error.to_string()))?;
        if stored.format != FORMAT {
            return Err(damaged(format!("it has format {}, not {FORMAT}", stored.format)));
        }
        let namespaces: Result<Vec<Placed>, ControlError> =
            stored.namespaces.into_iter().map(StoredNamespace::read).collect();
        Ok(Some(Self {
            snapshot: Snapshot {
                installation: stored.installation,
                revision: stored.revision,
                namespaces: namespaces.map_err(|error| damaged(error.to_string()))?,
            },
            seen_at: Millis(stored.seen_at_ms),
        }))
    }

    /// Replaces the file as a whole: after a crash it holds the old copy or the new one.
    pub fn write(&self, path: &Path) -> Result<(), CopyError> {
        let stored = Stored {
            format: FORMAT,
            seen_at_ms: self.seen_at.0,
            installation: self.snapshot.installation.clone(),
            revision: self.snapshot.revision,
            namespaces: self.snapshot.namespaces.iter().map(StoredNamespace::of).collect(),
        };
        let json = serde_json::to_string_pretty(&stored).expect("numbers and texts are JSON");
        let hash = blake3::hash(json.as_bytes()).to_hex();
        let written = (|| {
            let making = path.with_extension("making");
            let mut file = File::create(&making)?;
            file.write_all(format!("{hash}\n{json}").as_bytes())?;
            file.sync_all()?;
            fs::rename(&making, path)?;
            match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
                Some(folder) => File::open(folder)?.sync_all(),
                None => Ok(()),
            }
        })();
        written.map_err(|source| CopyError::File { path: path.to_owned(), source })
    }
}

impl StoredNamespace {
    fn of(placed: &Placed) -> Self {
        let Described { namespace, source, entry } = &placed.described;
        Self {
            name: namespace.name().to_owned(),
            version: entry.version,
            source: source.clone(),
            canonical: namespace.to_toml(),
            changed_at_ms: entry.changed_at.0,
            changed_by: entry.changed_by.clone(),
            note: entry.note.clone(),
            pool: placed.pool.clone(),
        }
    }

    fn read(self) -> Result<Placed, ControlError> {
        let entry = HistoryEntry {
            version: self.version,
            changed_at: Millis(self.changed_at_ms),
            changed_by: self.changed_by,
            note: self.note,
        };
        let described = Described::read(&self.name, self.source, &self.canonical, entry)?;
        Ok(Placed { described, pool: self.pool })
    }
}
