//! Opening the engine: settings, errors, and the check that nothing promised is missing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fjall::compaction::filter::Factory;
use fjall::config::PartitioningPolicy;
use fjall::{Database, Keyspace, KeyspaceCreateOptions};

use super::folder::{self, Folder};
use super::purge::PurgeBefore;
use super::{MARK_KEY, journal};

/// Memtables that can exist at once: one is written, and writers wait when four wait to be flushed.
const MEMTABLES: u64 = 5;
/// The least that the engine can keep its journal to: one file.
const MIN_JOURNAL_BYTES: u64 = 64 << 20;
const MIN_WRITE_BUFFER_BYTES: u64 = 64 << 10;

/// Sizes that bound the store's memory and disk beside its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbeddedOptions {
    /// Cache of blocks read from disk, bytes.
    pub cache_bytes: u64,
    /// Writes kept in memory before they go to the tree, bytes. Up to five such buffers exist when
    /// the disk is slow, and they take about twice their size. At least 64 KiB. Fixed when the
    /// store is created.
    pub write_buffer_bytes: u64,
    /// Journal files on disk beyond which buffers are written out early, bytes. At least 64 MiB.
    pub journal_bytes: u64,
    /// Tombstones that are so much older than the newest write are dropped (see
    /// [`EmbeddedStore::purge_before`](super::EmbeddedStore::purge_before)). `None`: never by itself.
    pub purge_after: Option<Duration>,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        Self {
            cache_bytes: 32 << 20,
            write_buffer_bytes: 12 << 20,
            journal_bytes: 128 << 20,
            purge_after: None,
        }
    }
}

const _: () = assert!(MEMTABLES * (12 << 20) * 2 + (32 << 20) < 160 << 20);

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Somebody has it open.
    #[error(
        "the table store in {folder} is in use; stop the other server, or choose another data folder"
    )]
    Locked {
        /// The store's folder.
        folder: PathBuf,
    },
    /// Another version wrote it.
    #[error(
        "the table store in {folder} has format {found:?}, this version reads format {expected}; start the version that wrote it, or choose an empty data folder"
    )]
    Format {
        /// The store's folder.
        folder: PathBuf,
        /// The format found, as it is written there.
        found: String,
        /// The format that this version reads and writes.
        expected: u32,
    },
    /// The folder holds other things.
    #[error(
        "the folder {folder} is not a table store, and not empty: it holds {found:?}; choose another data folder"
    )]
    Foreign {
        /// The folder.
        folder: PathBuf,
        /// Something that it holds.
        found: String,
    },
    /// Rows that were durable are gone.
    #[error(
        "the table store in {folder} is damaged: {why}; restore the whole data folder from a copy"
    )]
    Damaged {
        /// The store's folder.
        folder: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Input or output failed.
    #[error("table store: cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A setting is out of range.
    #[error("table store: {setting} must be at least {least}, and is {got}")]
    Setting {
        /// Which.
        setting: &'static str,
        /// The least value.
        least: u64,
        /// What was given.
        got: u64,
    },
}

/// The open engine in its folder.
pub(super) struct Engine {
    pub(super) rows: Keyspace,
    pub(super) database: Database,
    /// The number of the last sync.
    pub(super) synced: u64,
    pub(super) folder: Folder,
}

/// Why opening did not succeed, and whether another try makes sense.
enum Failure {
    /// A batch of the journal is not whole.
    Torn {
        /// As the engine says it.
        why: String,
    },
    Final(OpenError),
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        Self::Final(error)
    }
}

impl Engine {
    /// Opens the engine in a folder that this process then owns, creating what is missing.
    pub(super) fn open(
        folder: &Path,
        options: &EmbeddedOptions,
        purge: &PurgeBefore,
    ) -> Result<Self, OpenError> {
        check_options(options)?;
        let folder = Folder::take(folder, |rows| {
            let created = open_files(rows, options, purge);
            created.map(drop).map_err(|error| open_error(rows, &error))
        })?;
        let opened = match open_checked(&folder, options, purge) {
            Ok(opened) => opened,
            Err(Failure::Torn { why }) => open_after_cut(&folder, options, purge, why)?,
            Err(Failure::Final(error)) => return Err(error),
        };
        let (database, rows, synced) = opened;
        Ok(Self { rows, database, synced, folder })
    }
}

fn check_options(options: &EmbeddedOptions) -> Result<(), OpenError> {
    let least = [
        ("journal_bytes", options.journal_bytes, MIN_JOURNAL_BYTES),
        ("write_buffer_bytes", options.write_buffer_bytes, MIN_WRITE_BUFFER_BYTES),
    ];
    for (setting, got, least) in least {
        if got < least {
            return Err(OpenError::Setting { setting, least, got });
        }
    }
    Ok(())
}

fn open_files(
    path: &Path,
    options: &EmbeddedOptions,
    purge: &PurgeBefore,
) -> fjall::Result<(Database, Keyspace)> {
    let purge = purge.clone();
    let database = Database::builder(path)
        .cache_size(options.cache_bytes)
        .max_journaling_size(options.journal_bytes)
        // With more, one of them spins while another compacts.
        .worker_threads(1)
        .with_compaction_filter_factories(Arc::new(move |_| {
            Some(Arc::new(purge.clone()) as Arc<dyn Factory>)
        }))
        .open()?;
    let rows = database.keyspace("rows", || {
        KeyspaceCreateOptions::default()
            .max_memtable_size(options.write_buffer_bytes)
            .filter_block_partitioning_policy(in_pieces())
            .index_block_partitioning_policy(in_pieces())
    })?;
    Ok((database, rows))
}

/// From the second level on, filters and indices are read in pieces. A table of millions of small entries,
/// such as tombstones, has a filter of several MiB: whole, it fits no part of the cache, and every read of a row
/// would read all of it. What the first level has is small, and stays in memory.
fn in_pieces() -> PartitioningPolicy {
    PartitioningPolicy::new([false, true])
}

type Opened = (Database, Keyspace, u64);

/// Opens the engine and makes sure that everything the last sync promised is there.
fn open_checked(
    folder: &Folder,
    options: &EmbeddedOptions,
    purge: &PurgeBefore,
) -> Result<Opened, Failure> {
    let place = folder.rows();
    let (database, rows) = open_files(&place, options, purge).map_err(|error| match error {
        fjall::Error::JournalRecovery(why) => Failure::Torn { why: why.to_string() },
        other => Failure::Final(open_error(&place, &other)),
    })?;
    let number = check_synced(folder, &rows)?;
    Ok((database, rows, number))
}

/// Opens once more without the batch that is not whole, if that loses nothing that was promised.
fn open_after_cut(
    folder: &Folder,
    options: &EmbeddedOptions,
    purge: &PurgeBefore,
    why: String,
) -> Result<Opened, OpenError> {
    let place = folder.rows();
    let io = |action| {
        let path = place.clone();
        move |source| OpenError::Io { action, path, source }
    };
    let damaged = |why| OpenError::Damaged { folder: folder.path().to_owned(), why };
    if folder.synced().map_err(io("read SYNCED beside"))?.is_none() {
        return Err(damaged(why)); // nobody can tell what was promised
    }
    let cut = journal::cut_unfinished_end(&place).map_err(io("cut the journal in"))?;
    let Some(cut) = cut else { return Err(damaged(why)) };
    match open_checked(folder, options, purge) {
        Ok(opened) => {
            cut.keep().map_err(io("remove the copy of the journal in"))?;
            Ok(opened)
        }
        Err(again) => {
            cut.undo().map_err(io("put back the journal in"))?;
            Err(match again {
                Failure::Torn { why } => damaged(why),
                Failure::Final(error) => error,
            })
        }
    }
}

fn open_error(path: &Path, error: &fjall::Error) -> OpenError {
    let folder = path.parent().unwrap_or(path).to_owned();
    match error {
        fjall::Error::Locked => OpenError::Locked { folder },
        fjall::Error::Io(source) => OpenError::Io {
            action: "open the engine's files in",
            path: path.to_owned(),
            source: std::io::Error::new(source.kind(), source.to_string()),
        },
        fjall::Error::InvalidVersion(found) => OpenError::Format {
            folder,
            found: format!("{found:?} of the engine"),
            expected: folder::FORMAT,
        },
        other => OpenError::Damaged { folder, why: other.to_string() },
    }
}

/// The number of the last sync, once it is sure that everything it promised is there.
fn check_synced(folder: &Folder, rows: &Keyspace) -> Result<u64, OpenError> {
    let damaged = |why| OpenError::Damaged { folder: folder.path().to_owned(), why };
    let mark = rows.get(MARK_KEY).map_err(|error| open_error(&folder.rows(), &error))?;
    let kept = match &mark {
        None => 0,
        Some(bytes) => u64::from_le_bytes(
            bytes[..].try_into().map_err(|_| damaged("its sync mark is malformed".to_owned()))?,
        ),
    };
    let promised = folder.synced().map_err(|source| OpenError::Io {
        action: "read SYNCED in",
        path: folder.path().to_owned(),
        source,
    })?;
    match promised {
        Some(promised) if promised > kept => Err(damaged(format!(
            "its journal ends before sync {promised}, at sync {kept}: rows that were durable are missing"
        ))),
        _ => Ok(kept),
    }
}
