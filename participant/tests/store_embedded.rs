//! The embedded store's folder: who may open it, what survives, what is refused.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use participant::store::embedded::{EmbeddedOptions, EmbeddedStore, OpenError};
use participant::store::{StoreError, TableStore};
use tempfile::TempDir;
use wal_core::{Cell, ColumnId, Row, RowKey, RowMutation, TableId, Timestamp};

fn key(partition: u32) -> RowKey {
    RowKey {
        table: TableId(1),
        partition: partition.to_be_bytes().to_vec().into(),
        clustering: "c".into(),
    }
}

fn put(partition: u32, at: i64) -> RowMutation {
    let cell = Cell {
        column: ColumnId(1),
        timestamp: Timestamp(at),
        value: Some(at.to_be_bytes().to_vec().into()),
    };
    RowMutation { key: key(partition), delta: Row { cells: vec![cell], ..Row::default() } }
}

fn delete_row(partition: u32, at: i64) -> RowMutation {
    let delta = Row { deleted_at: Some(Timestamp(at)), ..Row::default() };
    RowMutation { key: key(partition), delta }
}

fn delete_cell(partition: u32, at: i64) -> RowMutation {
    let cell = Cell { column: ColumnId(1), timestamp: Timestamp(at), value: None };
    RowMutation { key: key(partition), delta: Row { cells: vec![cell], ..Row::default() } }
}

fn open(folder: &Path) -> Result<EmbeddedStore, OpenError> {
    EmbeddedStore::open(folder, EmbeddedOptions::default())
}

fn refused(folder: &Path) -> OpenError {
    match open(folder) {
        Ok(_) => panic!("the store was opened"),
        Err(error) => error,
    }
}

fn row(store: &EmbeddedStore, partition: u32) -> Row {
    store.read(&[key(partition)]).expect("reads").remove(0)
}

/// A folder with one synced store of 100 rows, closed.
fn synced_store() -> (TempDir, PathBuf) {
    let parent = tempfile::tempdir().expect("a folder");
    let folder = parent.path().join("store");
    let store = open(&folder).expect("opens");
    for partition in 0..100 {
        store.apply(&[put(partition, 7)]).expect("applies");
    }
    store.sync().expect("syncs");
    drop(store);
    (parent, folder)
}

#[test]
fn what_was_synced_is_there_after_opening_again() {
    let (_parent, folder) = synced_store();
    for _ in 0..3 {
        let store = open(&folder).expect("opens again");
        assert!((0..100).all(|partition| row(&store, partition) == put(partition, 7).delta));
        store.apply(&[put(3, 7)]).expect("applies again");
        store.sync().expect("syncs");
    }
}

#[test]
fn a_second_opener_is_refused_until_the_first_is_gone() {
    let (_parent, folder) = synced_store();
    let first = open(&folder).expect("opens");
    let error = refused(&folder);
    assert!(matches!(error, OpenError::Locked { .. }), "{error}");
    assert!(error.to_string().contains("stop the other server"), "{error}");
    drop(first);
    drop(open(&folder).expect("the first is gone"));
}

#[test]
fn another_format_is_refused_and_left_as_it_is() {
    let (_parent, folder) = synced_store();
    let format = folder.join("FORMAT");
    fs::write(&format, "handfast table store, format 2\n").expect("writes");
    let error = refused(&folder);
    assert!(matches!(&error, OpenError::Format { found, .. } if found == "2"), "{error}");
    assert!(error.to_string().contains("start the version that wrote it"), "{error}");
    fs::write(&format, "handfast table store, format 1\n").expect("writes");
    assert_eq!(row(&open(&folder).expect("opens"), 5), put(5, 7).delta);
}

#[test]
fn a_folder_with_other_things_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("thesis.tex"), "dear to somebody").expect("writes");
    let error = refused(folder.path());
    assert!(matches!(&error, OpenError::Foreign { found, .. } if found == "thesis.tex"), "{error}");
}

#[test]
fn a_store_that_lost_its_format_file_is_not_overwritten() {
    let (_parent, folder) = synced_store();
    fs::remove_file(folder.join("FORMAT")).expect("removes");
    assert!(matches!(refused(&folder), OpenError::Foreign { .. }));
    fs::write(folder.join("FORMAT"), "handfast table store, format 1\n").expect("writes");
    assert_eq!(row(&open(&folder).expect("opens"), 5), put(5, 7).delta);
}

#[test]
fn making_a_store_can_be_cut_off_at_every_step() {
    let leave_behind: [&[(&str, &str)]; 4] = [
        &[("LOCK", "")],
        &[("LOCK", ""), ("FORMAT.new", "handf")],
        &[("LOCK", ""), ("FORMAT", "handfast table store, format 1\n"), ("SYNCED.new", "")],
        &[("FORMAT", "handfast table store, format 1\n"), ("rows.new/0.jnl", "half")],
    ];
    for files in leave_behind {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, content) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("it has one")).expect("creates");
            fs::write(path, content).expect("writes");
        }
        let store = open(folder.path()).unwrap_or_else(|error| panic!("{files:?}: {error}"));
        store.apply(&[put(1, 1)]).expect("applies");
        store.sync().expect("syncs");
    }
}

#[test]
fn rows_that_were_synced_and_are_gone_are_noticed() {
    let (_parent, folder) = synced_store();
    fs::remove_dir_all(folder.join("rows")).expect("removes");
    let error = refused(&folder);
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
}

/// The journal's one file, and how much of it is written.
fn journal(folder: &Path) -> (PathBuf, Vec<u8>, usize) {
    let path = folder.join("rows/0.jnl");
    let bytes = fs::read(&path).expect("the journal of a small store is one file");
    let written = bytes.iter().rposition(|byte| *byte != 0).expect("it is not empty") + 1;
    (path, bytes, written)
}

#[test]
fn a_journal_damaged_before_the_last_sync_is_refused() {
    let (_parent, folder) = synced_store();
    let (path, whole, written) = journal(&folder);
    for at in (0..written).step_by(97) {
        let mut zeros = whole.clone();
        zeros[at..written].fill(0);
        let mut flipped = whole.clone();
        flipped[at] ^= 0x10;
        for (how, damaged) in [("cut", zeros), ("flipped", flipped)] {
            fs::write(&path, damaged).expect("writes");
            match open(&folder) {
                Err(OpenError::Damaged { .. }) => {}
                Err(error) => panic!("{how} at {at}: {error}"),
                // The engine does not checksum its own sequence numbers.
                Ok(store) => assert!(
                    how == "flipped" && (0..100).all(|n| row(&store, n) == put(n, 7).delta),
                    "{how} at {at}: opened, and rows are missing"
                ),
            }
        }
    }
    fs::write(&path, &whole).expect("writes");
    assert_eq!(row(&open(&folder).expect("whole again"), 5), put(5, 7).delta);
}

/// Rows of several pages of bytes that no compression shortens.
fn put_large(partition: u32, at: i64) -> RowMutation {
    let mut mutation = put(partition, at);
    let mut state = u64::from(partition) + 1;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    });
    mutation.delta.cells[0].value = Some(noise.take(20_000).collect());
    mutation
}

#[test]
fn a_batch_torn_by_a_loss_of_power_is_cut_and_nothing_synced_is_lost() {
    const PAGE_BYTES: usize = 4096;
    let (_parent, folder) = synced_store();
    let (path, _, synced) = journal(&folder);
    let store = open(&folder).expect("opens");
    let batch: Vec<_> =
        (0..60).map(|n| if n % 20 == 9 { put_large(n, 9) } else { put(n, 9) }).collect();
    store.apply(&batch).expect("applies");
    drop(store);
    let (_, whole, written) = journal(&folder);
    let pages = synced.div_ceil(PAGE_BYTES)..written / PAGE_BYTES;
    assert!(pages.len() > 10, "the batch spans pages");
    for page in pages {
        let mut torn = whole.clone();
        torn[page * PAGE_BYTES..(page + 1) * PAGE_BYTES].fill(0);
        fs::write(&path, torn).expect("writes");
        let store = open(&folder).unwrap_or_else(|error| panic!("page {page}: {error}"));
        // The batch is there whole or not at all.
        assert!((0..100).all(|partition| row(&store, partition) == put(partition, 7).delta));
        store.apply(&batch).expect("applies again from the log");
        assert_eq!(row(&store, 29), batch[29].delta);
    }
}

#[test]
fn a_torn_batch_that_was_synced_is_refused_and_put_back() {
    let (_parent, folder) = synced_store();
    let store = open(&folder).expect("opens");
    store.apply(&[put_large(1, 9)]).expect("applies");
    store.sync().expect("syncs");
    drop(store);
    let (path, whole, written) = journal(&folder);
    let mut torn = whole.clone();
    torn[written - 10_000..written - 9_000].fill(0);
    fs::write(&path, &torn).expect("writes");
    for _ in 0..2 {
        let error = refused(&folder);
        assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
        assert!(fs::read(&path).expect("reads") == torn, "the journal is as it was found");
    }
    fs::write(&path, &whole).expect("writes");
    assert_eq!(row(&open(&folder).expect("whole again"), 1), put_large(1, 9).delta);
}

#[test]
fn a_torn_sync_file_does_not_stop_the_store() {
    let (_parent, folder) = synced_store();
    fs::write(folder.join("SYNCED"), [9; 16]).expect("writes");
    let store = open(&folder).expect("the promise cannot be read: nothing to hold it to");
    store.apply(&[put(200, 1)]).expect("applies");
    store.sync().expect("syncs");
}

#[test]
fn a_key_too_long_for_the_store_is_refused_for_good() {
    let (_parent, folder) = synced_store();
    let store = open(&folder).expect("opens");
    let mut long = put(1, 9);
    long.key.clustering = vec![0; 65_000].into();
    store.apply(&[long.clone()]).expect("just fits");
    long.key.clustering = vec![0; 65_530].into();
    let error = store.apply(&[put(1, 9), long.clone()]).expect_err("too long");
    let StoreError::Refused(refused) = error else { panic!("{error}") };
    assert_eq!(refused.iter().map(|refusal| refusal.index).collect::<Vec<_>>(), [1]);
    assert_eq!(row(&store, 1), put(1, 7).delta, "nothing of a refused apply is done");
    assert_eq!(store.read(&[long.key]).expect("reads"), [Row::default()]);
}

#[test]
fn old_tombstones_are_dropped_when_their_row_is_written() {
    let (_parent, folder) = synced_store();
    let store = open(&folder).expect("opens");
    store.apply(&[delete_row(1, 10), delete_cell(2, 10), delete_row(3, 20)]).expect("applies");
    store.purge_before(Timestamp(15));
    store.purge_before(Timestamp(5)); // it only goes up
    assert_eq!(row(&store, 1), delete_row(1, 10).delta, "not yet: nothing wrote the row");

    store.apply(&[put(1, 30), delete_cell(2, 10), put(3, 19)]).expect("applies");
    assert_eq!(row(&store, 1), put(1, 30).delta);
    assert_eq!(row(&store, 2), Row::default());
    assert_eq!(row(&store, 3), delete_row(3, 20).delta, "young enough to matter");
}

#[test]
fn old_tombstones_go_by_themselves_when_asked_to() {
    let folder = tempfile::tempdir().expect("a folder");
    let day = Some(Duration::from_micros(15));
    let options = EmbeddedOptions { purge_after: day, ..EmbeddedOptions::default() };
    let store = EmbeddedStore::open(folder.path(), options).expect("opens");
    store.apply(&[delete_row(1, 10), delete_row(2, 20)]).expect("applies");
    store.apply(&[put(3, 30)]).expect("applies");
    store.apply(&[put(1, 31), put(2, 31)]).expect("applies");
    assert_eq!(row(&store, 1), put(1, 31).delta, "a tombstone of 10 is older than 30 - 15");
    assert_eq!(row(&store, 2).deleted_at, delete_row(2, 20).delta.deleted_at);
}

#[test]
fn a_setting_out_of_range_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = EmbeddedOptions { journal_bytes: 1, ..EmbeddedOptions::default() };
    let Err(error) = EmbeddedStore::open(folder.path(), options) else { panic!("opened") };
    assert!(error.to_string().contains("journal_bytes must be at least 67108864"), "{error}");
}
