//! The table store of the embedded mode: rows in an LSM tree (fjall) on this machine's disk.
//!
//! One key-value pair per row, so that a row is replaced whole or not at all; an apply reads the rows
//! that it touches, merges, and writes them back in one atomic batch.
//!
//! # What survives what
//!
//! * `kill -9`: everything applied. Each batch is handed to the operating system before `apply`
//!   returns; a batch that was being written is cut off as a whole when the store is opened again.
//! * Loss of power: everything applied before the last [`TableStore::sync`] that returned, perhaps
//!   more. Later batches are in the intent log.
//! * Damage: the end of a journal that cannot be read is cut as an unfinished write (see [`journal`]).
//!   So every sync leaves a number in the journal and in a file of its own: a store whose journal no
//!   longer holds the number that was promised is refused at open, rather than served with rows
//!   missing. Rows in the journal and blocks of the tree are checksummed; the engine's own sequence
//!   numbers in the journal are not.
//! * After a failed write or sync the engine refuses all further writes: the error says to restart.

mod codec;
mod folder;
mod journal;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode};
use wal_core::{Row, RowKey, RowMutation, Timestamp};

use self::codec::{MAX_KEY_BYTES, decode_row, encode_key, encode_row, key_bytes};
use self::folder::Folder;
use super::{StoreError, TableStore};

/// Where the number of the last sync is kept among the rows. Shorter than any row's key.
const MARK_KEY: &[u8] = b"mark";
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
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        Self { cache_bytes: 32 << 20, write_buffer_bytes: 12 << 20, journal_bytes: 128 << 20 }
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

/// A table store on this machine's disk. See the module's documentation.
pub struct EmbeddedStore {
    rows: Keyspace,
    database: Database,
    /// Reading, merging and writing back is one step: one apply at a time.
    writer: Mutex<Scratch>,
    /// The number of the last sync.
    syncs: Mutex<Synced>,
    /// Applies that wrote something.
    applied: AtomicU64,
    purge_before: AtomicI64,
    // Last, so that the folder is free only once the engine has closed its files.
    folder: Folder,
}

#[derive(Default)]
struct Scratch {
    key: Vec<u8>,
    row: Vec<u8>,
}

struct Synced {
    /// The number of the last sync.
    number: u64,
    /// What `applied` was then.
    applied: u64,
}

impl EmbeddedStore {
    /// Opens the store in `folder`, or creates it if the folder is empty or absent.
    pub fn open(folder: &Path, options: EmbeddedOptions) -> Result<Self, OpenError> {
        check_options(&options)?;
        let folder = Folder::take(folder, |rows| {
            open_engine(rows, &options).map(drop).map_err(|error| open_error(rows, &error))
        })?;
        let (database, rows, number) = match open_checked(&folder, &options) {
            Err(Opening::Torn { why }) => open_after_cut(&folder, &options, why)?,
            Err(Opening::Failed(error)) => return Err(error),
            Ok(opened) => opened,
        };
        Ok(Self {
            rows,
            database,
            writer: Mutex::default(),
            syncs: Mutex::new(Synced { number, applied: 0 }),
            applied: AtomicU64::new(0),
            purge_before: AtomicI64::new(i64::MIN),
            folder,
        })
    }

    /// Allows tombstones older than `before` to be dropped when their row is next written. Only ever
    /// raised.
    ///
    /// A tombstone may go once no older write can be applied any more, not even again after a
    /// restart: `before` must not be above the commit timestamp of any record that a replay of the
    /// log from its last checkpoint would apply.
    pub fn purge_before(&self, before: Timestamp) {
        self.purge_before.fetch_max(before.0, Ordering::Relaxed);
    }

    /// How many rows there are, roughly: a row that was written several times since the tree was last
    /// compacted counts as often.
    pub fn approximate_rows(&self) -> u64 {
        self.rows.approximate_len() as u64
    }

    /// Bytes on disk, journal included (it is preallocated, in steps of 64 MiB).
    pub fn size_bytes(&self) -> u64 {
        self.database.disk_space().unwrap_or(0)
    }

    fn read_one(&self, key: &RowKey, scratch: &mut Vec<u8>) -> Result<Row, StoreError> {
        if key_bytes(key) > MAX_KEY_BYTES {
            return Ok(Row::default()); // no such row was ever let in
        }
        encode_key(key, scratch);
        match self.rows.get(&scratch).map_err(|error| transient("read a row", &error))? {
            None => Ok(Row::default()),
            Some(stored) => decode_row(&stored).map_err(|error| damaged(key, &error)),
        }
    }

    /// Merges the mutations of one row into it and adds the result to the batch.
    fn merge_one<'a>(
        &self,
        key: &RowKey,
        deltas: impl Iterator<Item = &'a Row>,
        scratch: &mut Scratch,
        batch: &mut OwnedWriteBatch,
    ) -> Result<(), StoreError> {
        encode_key(key, &mut scratch.key);
        let stored =
            self.rows.get(&scratch.key).map_err(|error| transient("read a row", &error))?;
        let mut row = match &stored {
            None => Row::default(),
            Some(stored) => decode_row(stored).map_err(|error| damaged(key, &error))?,
        };
        deltas.for_each(|delta| row.merge(delta));
        purge(&mut row, Timestamp(self.purge_before.load(Ordering::Relaxed)));
        if row.is_empty() {
            if stored.is_some() {
                batch.remove(&self.rows, &scratch.key[..]);
            }
            return Ok(());
        }
        encode_row(&row, &mut scratch.row);
        // What is applied again changes nothing, and costs no write.
        if stored.is_none_or(|stored| *stored != scratch.row[..]) {
            batch.insert(&self.rows, &scratch.key[..], &scratch.row[..]);
        }
        Ok(())
    }
}

impl TableStore for EmbeddedStore {
    fn read(&self, keys: &[RowKey]) -> Result<Vec<Row>, StoreError> {
        let mut scratch = Vec::new();
        keys.iter().map(|key| self.read_one(key, &mut scratch)).collect()
    }

    fn apply(&self, mutations: &[RowMutation]) -> Result<(), StoreError> {
        if let Some(index) = mutations.iter().position(|m| key_bytes(&m.key) > MAX_KEY_BYTES) {
            let got = key_bytes(&mutations[index].key);
            let why = format!("the row's key takes {got} bytes, more than {MAX_KEY_BYTES}");
            return Err(StoreError::Refused { index, why });
        }
        let mut order: Vec<u32> = (0..mutations.len() as u32).collect();
        let key = |index: u32| &mutations[index as usize].key;
        order.sort_by(|a, b| key(*a).cmp(key(*b)));

        let mut scratch = lock(&self.writer);
        let mut batch = OwnedWriteBatch::with_capacity(self.database.clone(), order.len())
            .durability(Some(PersistMode::Buffer));
        for same_row in order.chunk_by(|a, b| key(*a) == key(*b)) {
            let deltas = same_row.iter().map(|index| &mutations[*index as usize].delta);
            self.merge_one(key(same_row[0]), deltas, &mut scratch, &mut batch)?;
        }
        if batch.is_empty() {
            return Ok(());
        }
        batch.commit().map_err(|error| transient("write rows", &error))?;
        self.applied.fetch_add(1, Ordering::Release);
        Ok(())
    }

    fn sync(&self) -> Result<(), StoreError> {
        let mut synced = lock(&self.syncs);
        let applied = self.applied.load(Ordering::Acquire);
        if applied == synced.applied {
            return Ok(());
        }
        let number = synced.number + 1;
        self.rows
            .insert(MARK_KEY, number.to_le_bytes())
            .and_then(|()| self.database.persist(PersistMode::SyncData))
            .map_err(|error| transient("make rows durable", &error))?;
        self.folder.store_synced(number).map_err(|error| StoreError::Transient {
            action: "make rows durable",
            why: error.to_string(),
        })?;
        *synced = Synced { number, applied };
        Ok(())
    }
}

/// Drops tombstones older than `before`.
fn purge(row: &mut Row, before: Timestamp) {
    if row.deleted_at.is_some_and(|at| at < before) {
        row.deleted_at = None;
    }
    row.cells.retain(|cell| cell.value.is_some() || cell.timestamp >= before);
}

// A panic inside cannot leave a half-made state behind: both are written only after they succeeded.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn transient(action: &'static str, error: &fjall::Error) -> StoreError {
    let why = match error {
        fjall::Error::Poisoned => {
            "an earlier write or sync failed; check the disk and restart the server".to_owned()
        }
        other => other.to_string(),
    };
    StoreError::Transient { action, why }
}

fn damaged(key: &RowKey, error: &codec::RowDecodeError) -> StoreError {
    StoreError::Transient {
        action: "read a stored row",
        why: format!(
            "{error} (table {}, partition {:?}); restore the data folder from a copy",
            key.table, key.partition,
        ),
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

fn open_engine(
    path: &Path,
    options: &EmbeddedOptions,
) -> Result<(Database, Keyspace), fjall::Error> {
    let database = Database::builder(path)
        .cache_size(options.cache_bytes)
        .max_journaling_size(options.journal_bytes)
        // With more, one of them spins while another compacts.
        .worker_threads(1)
        .open()?;
    let rows = database.keyspace("rows", || {
        KeyspaceCreateOptions::default().max_memtable_size(options.write_buffer_bytes)
    })?;
    Ok((database, rows))
}

type Opened = (Database, Keyspace, u64);

/// Why opening did not succeed, and whether another try makes sense.
enum Opening {
    /// A batch of the journal is not whole.
    Torn {
        /// As the engine says it.
        why: String,
    },
    Failed(OpenError),
}

impl From<OpenError> for Opening {
    fn from(error: OpenError) -> Self {
        Self::Failed(error)
    }
}

/// Opens the engine and makes sure that everything the last sync promised is there.
fn open_checked(folder: &Folder, options: &EmbeddedOptions) -> Result<Opened, Opening> {
    let place = folder.rows();
    let (database, rows) = open_engine(&place, options).map_err(|error| match error {
        fjall::Error::JournalRecovery(why) => Opening::Torn { why: why.to_string() },
        other => Opening::Failed(open_error(&place, &other)),
    })?;
    let number = check_synced(folder, &rows)?;
    Ok((database, rows, number))
}

/// Opens once more without the batch that is not whole, if that loses nothing that was promised.
fn open_after_cut(
    folder: &Folder,
    options: &EmbeddedOptions,
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
    match open_checked(folder, options) {
        Ok(opened) => {
            cut.keep().map_err(io("remove the copy of the journal in"))?;
            Ok(opened)
        }
        Err(again) => {
            cut.undo().map_err(io("put back the journal in"))?;
            Err(match again {
                Opening::Torn { why } => damaged(why),
                Opening::Failed(error) => error,
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
