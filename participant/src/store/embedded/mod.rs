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
//! * Damage: the end of a journal that cannot be read is cut as an unfinished write (see `journal.rs`).
//!   So every sync leaves a number in the journal and in a file of its own: a store whose journal no
//!   longer holds the number that was promised is refused at open, rather than served with rows
//!   missing. Rows in the journal and blocks of the tree are checksummed; the engine's own sequence
//!   numbers in the journal are not.
//! * After a failed write or sync the engine refuses all further writes: the error says to restart.

mod codec;
mod folder;
mod journal;
mod open;
mod purge;
mod recent;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use fjall::{Database, Keyspace, OwnedWriteBatch, PersistMode, Slice};
use wal_core::{Row, RowKey, RowMutation, Timestamp};

pub use self::open::{EmbeddedOptions, OpenError};

use self::codec::{MAX_KEY_BYTES, decode_row, encode_key, encode_row, key_bytes};
use self::folder::Folder;
use self::open::Engine;
use self::purge::PurgeBefore;
use self::recent::Recent;
use super::{Refusal, StoreError, TableStore};

/// A log filter for the library below, which tells every file that it opens: that is debugging, not news.
pub const QUIET_LOGS: &str = "fjall=warn,lsm_tree=warn";

/// Where the number of the last sync is kept among the rows. Shorter than any row's key.
const MARK_KEY: &[u8] = b"mark";

/// A table store on this machine's disk. See the module's documentation.
pub struct EmbeddedStore {
    rows: Keyspace,
    database: Database,
    /// Reading, merging and writing back is one step: one apply at a time.
    writer: Mutex<Writer>,
    /// The number of the last sync.
    syncs: Mutex<Synced>,
    /// Applies that wrote something.
    applied: AtomicU64,
    purge_before: PurgeBefore,
    purge_after_us: Option<i64>,
    // Last, so that the folder is free only once the engine has closed its files.
    folder: Folder,
}

/// What the one apply at a time works with.
#[derive(Default)]
struct Writer {
    recent: Recent,
    /// Room for one encoded key.
    key: Vec<u8>,
    /// Room for one encoded row.
    row: Vec<u8>,
}

/// A row's key and what is to be stored under it, if anything.
type Write = (Slice, Option<Slice>);

struct Synced {
    /// The number of the last sync.
    number: u64,
    /// What `applied` was then.
    applied: u64,
}

impl EmbeddedStore {
    /// Opens the store in `folder`, or creates it if the folder is empty or absent.
    pub fn open(folder: &Path, options: EmbeddedOptions) -> Result<Self, OpenError> {
        let purge_before = PurgeBefore::default();
        let engine = Engine::open(folder, &options, &purge_before)?;
        Ok(Self {
            rows: engine.rows,
            database: engine.database,
            writer: Mutex::default(),
            syncs: Mutex::new(Synced { number: engine.synced, applied: 0 }),
            applied: AtomicU64::new(0),
            purge_before,
            purge_after_us: options
                .purge_after
                .map(|age| i64::try_from(age.as_micros()).unwrap_or(i64::MAX)),
            folder: engine.folder,
        })
    }

    /// Allows tombstones older than `before` to be dropped: when their row is next written, or, if
    /// nothing else is left of it, when the tree is compacted. Only ever raised; not kept over a
    /// restart.
    ///
    /// A tombstone may go once no older write can be applied any more, not even again after a
    /// restart. A replay of the log applies the older write and then, further on, the deletion again;
    /// who applies in another order keeps `before` below all that may still come.
    pub fn purge_before(&self, before: Timestamp) {
        self.purge_before.raise(before);
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

    /// Merges the mutations of one row into it. `None` if that changes nothing.
    fn merge_one<'a>(
        &self,
        key: &RowKey,
        deltas: impl Iterator<Item = &'a Row>,
        writer: &mut Writer,
    ) -> Result<Option<Write>, StoreError> {
        encode_key(key, &mut writer.key);
        let encoded = Slice::from(&writer.key[..]);
        let stored = match writer.recent.get(&encoded) {
            Some(stored) => stored,
            None => self.rows.get(&encoded).map_err(|error| transient("read a row", &error))?,
        };
        let mut row = match &stored {
            None => Row::default(),
            Some(stored) => decode_row(stored).map_err(|error| damaged(key, &error))?,
        };
        deltas.for_each(|delta| row.merge(delta));
        self.purge_before.purge(&mut row);
        if row.is_empty() {
            return Ok(stored.map(|_| (encoded, None)));
        }
        encode_row(&row, &mut writer.row);
        // What is applied again changes nothing, and costs no write.
        let same = stored.is_some_and(|stored| *stored == writer.row[..]);
        Ok((!same).then(|| (encoded, Some(Slice::from(&writer.row[..])))))
    }

    fn commit(&self, writes: &[Write]) -> fjall::Result<()> {
        let mut batch = OwnedWriteBatch::with_capacity(self.database.clone(), writes.len())
            .durability(Some(PersistMode::Buffer));
        for (key, row) in writes {
            match row {
                Some(row) => batch.insert(&self.rows, key.clone(), row.clone()),
                None => batch.remove(&self.rows, key.clone()),
            }
        }
        batch.commit()
    }
}

impl TableStore for EmbeddedStore {
    fn read(&self, keys: &[RowKey]) -> Result<Vec<Row>, StoreError> {
        let mut scratch = Vec::new();
        keys.iter().map(|key| self.read_one(key, &mut scratch)).collect()
    }

    fn apply(&self, mutations: &[RowMutation]) -> Result<(), StoreError> {
        let refused: Vec<Refusal> = mutations
            .iter()
            .map(|mutation| key_bytes(&mutation.key))
            .enumerate()
            .filter(|(_, bytes)| *bytes > MAX_KEY_BYTES)
            .map(|(index, bytes)| Refusal {
                index,
                why: format!(
                    "the row's key takes {bytes} bytes, more than {MAX_KEY_BYTES}; discard the write"
                ),
            })
            .collect();
        if !refused.is_empty() {
            return Err(StoreError::Refused(refused));
        }
        let mut order: Vec<u32> = (0..mutations.len() as u32).collect();
        let key = |index: u32| &mutations[index as usize].key;
        order.sort_by(|a, b| key(*a).cmp(key(*b)));

        let mut writer = lock(&self.writer);
        let mut writes = Vec::with_capacity(order.len());
        for same_row in order.chunk_by(|a, b| key(*a) == key(*b)) {
            let deltas = same_row.iter().map(|index| &mutations[*index as usize].delta);
            writes.extend(self.merge_one(key(same_row[0]), deltas, &mut writer)?);
        }
        if writes.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.commit(&writes) {
            writer.recent.forget();
            return Err(transient("write rows", &error));
        }
        writer.recent.committed(writes.into_iter());
        if let Some(age_us) = self.purge_after_us {
            let newest = mutations.iter().filter_map(|mutation| mutation.delta.newest()).max();
            let newest = newest.unwrap_or(Timestamp(i64::MIN));
            self.purge_before(Timestamp(newest.0.saturating_sub(age_us)));
        }
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

// A panic inside leaves no half-made state behind: both are changed only after a success.
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use wal_core::{Cell, ColumnId, TableId};

    use super::*;

    fn key(partition: u32) -> RowKey {
        RowKey {
            table: TableId(1),
            partition: partition.to_be_bytes().to_vec().into(),
            clustering: Bytes::new(),
        }
    }

    fn cell(at: i64, value: Option<Bytes>) -> Row {
        let cell = Cell { column: ColumnId(1), timestamp: Timestamp(at), value };
        Row { cells: vec![cell], ..Row::default() }
    }

    fn compact(store: &EmbeddedStore) {
        store.rows.rotate_memtable_and_wait().expect("flushes");
        store.rows.major_compact().expect("compacts");
    }

    #[test]
    fn compaction_drops_rows_of_which_only_old_tombstones_are_left() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = EmbeddedStore::open(folder.path(), EmbeddedOptions::default()).expect("opens");
        let deltas = [
            cell(10, None),
            Row { deleted_at: Some(Timestamp(10)), ..Row::default() },
            cell(20, None),
            cell(10, Some("old and alive".into())),
            Row { marker_at: Some(Timestamp(10)), ..Row::default() },
        ];
        let mutation = |(n, delta): (u32, &Row)| RowMutation { key: key(n), delta: delta.clone() };
        let all: Vec<_> = (0..).zip(&deltas).map(mutation).collect();
        store.apply(&all).expect("applies");
        store.sync().expect("syncs");
        compact(&store);
        assert_eq!(store.rows.len().expect("counts"), 5 + 1, "nothing may go yet, nor the mark");

        store.purge_before(Timestamp(15));
        compact(&store);
        store.apply(&[RowMutation { key: key(9), delta: deltas[3].clone() }]).expect("applies");
        compact(&store);
        assert_eq!(store.rows.len().expect("counts"), 4 + 1);
        let found = store.read(&[0, 1, 2, 3, 4].map(key)).expect("reads");
        assert_eq!(found[..2], [Row::default(), Row::default()]);
        assert_eq!(found[2..], deltas[2..]);
        drop(store);
        EmbeddedStore::open(folder.path(), EmbeddedOptions::default()).expect("the mark is there");
    }

    /// Bytes that this thread has read from files.
    fn bytes_read() -> u64 {
        let io = std::fs::read_to_string("/proc/thread-self/io").expect("Linux tells");
        let line = io.lines().find_map(|line| line.strip_prefix("rchar: "));
        line.and_then(|count| count.parse().ok()).expect("a number")
    }

    #[test]
    fn a_read_among_many_small_rows_reads_little() {
        const BATCHES: u32 = 12;
        const ROWS: u32 = 10_000;
        const READS: u32 = 1_000;
        let folder = tempfile::tempdir().expect("a folder");
        // Less than the filter of all rows, as the usual cache is less than that of many millions.
        let options = EmbeddedOptions { cache_bytes: 64 << 10, ..EmbeddedOptions::default() };
        let store = EmbeddedStore::open(folder.path(), options).expect("opens");
        for batch in 0..BATCHES {
            let row = |n| RowMutation { key: key(n), delta: cell(1, Some("x".into())) };
            let rows: Vec<_> = (0..ROWS).map(|n| row(n * BATCHES + batch)).collect();
            store.apply(&rows).expect("applies");
            store.rows.rotate_memtable_and_wait().expect("flushes");
        }
        // The newest tables may have their filters in memory: most rows are to be in others.
        let is_merged = || store.rows.table_count() <= 4;
        let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while !is_merged() && std::time::Instant::now() < end {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        assert!(is_merged(), "{} tables", store.rows.table_count());

        let keys: Vec<_> =
            (0..READS).map(|n| key(n.wrapping_mul(7_919) % (ROWS * BATCHES))).collect();
        let before = bytes_read();
        let rows = store.read(&keys).expect("reads");
        let each = (bytes_read() - before) / u64::from(READS);
        assert!(rows.iter().all(|row| row.cells.len() == 1));
        // Of each table: a block of rows, one of the index, one of the filter.
        assert!(each <= 4 * 3 * 4_096, "{each} bytes each");
    }

    #[test]
    fn a_stored_row_that_cannot_be_decoded_fails_its_reads_and_applies() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = EmbeddedStore::open(folder.path(), EmbeddedOptions::default()).expect("opens");
        let mut bytes = Vec::new();
        encode_key(&key(1), &mut bytes);
        store.rows.insert(&bytes[..], [9, 9]).expect("inserts");
        let mutation = RowMutation { key: key(1), delta: cell(1, None) };
        for error in [
            store.read(&[key(1)]).expect_err("layout 9 does not exist").to_string(),
            store.apply(&[mutation]).expect_err("layout 9 does not exist").to_string(),
        ] {
            assert!(error.contains("row has layout 9, this version reads 1"), "{error}");
            assert!(error.contains("restore the data folder"), "{error}");
        }
    }
}
