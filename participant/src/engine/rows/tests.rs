use bytes::Bytes;
use wal_core::{Cell, ColumnId, Millis, TableId, Timestamp, TxnId};

use super::*;

const OLD: Age = (Millis(1), TxnId(1));
const YOUNG: Age = (Millis(2), TxnId(2));

fn key(name: &'static str) -> RowKey {
    let partition = Bytes::from_static(name.as_bytes());
    RowKey { table: TableId(0), partition, clustering: Bytes::new() }
}

/// One cell of one column, written at a time.
fn cell(column: u16, at: i64) -> Row {
    let value = Some(Bytes::copy_from_slice(&at.to_be_bytes()));
    let cell = Cell { column: ColumnId(column), timestamp: Timestamp(at), value };
    Row { cells: vec![cell], ..Row::default() }
}

fn written(owned: bool) -> WriteOrigin {
    WriteOrigin::Newest { owned }
}

fn deleted(at: i64) -> Row {
    Row { deleted_at: Some(Timestamp(at)), ..Row::default() }
}

#[test]
fn a_blind_write_alone_is_not_the_whole_row() {
    let mut rows = RowTable::default();
    rows.write(&key("a"), &cell(0, 9), Sequence(1), written(true));
    assert!(rows.get(&key("a")).is_none(), "other cells may be in the store");
    assert!(rows.peek(&key("a")).is_some());
    assert!(rows.load(&key("a"), OLD));
    rows.loaded(&key("a"), cell(1, 1), true);
    let row = rows.get(&key("a")).expect("now all of it is here");
    assert_eq!(row.cells.len(), 2);
}

#[test]
fn a_deleted_row_is_whole_if_nobody_else_writes_it() {
    let mut rows = RowTable::default();
    rows.write(&key("a"), &deleted(8), Sequence(1), written(true));
    rows.write(&key("b"), &deleted(8), Sequence(1), written(false));
    assert!(rows.get(&key("a")).is_some_and(|row| !row.exists()));
    assert!(rows.get(&key("b")).is_none());
}

#[test]
fn one_read_serves_all_who_wait_and_does_not_undo_what_was_written() {
    let mut rows = RowTable::default();
    assert!(rows.load(&key("a"), OLD));
    assert!(!rows.load(&key("a"), YOUNG), "one read is under way already");
    rows.write(&key("a"), &cell(0, 17), Sequence(1), written(true));
    let waiters = rows.loaded(&key("a"), cell(0, 9), true);
    assert_eq!(waiters.as_slice(), [OLD, YOUNG]);
    assert_eq!(rows.get(&key("a")), Some(&cell(0, 17)));
    assert!(rows.loaded(&key("a"), cell(0, 1), true).is_empty(), "an answer counts once");
}

#[test]
fn a_read_whose_reader_left_still_meets_what_was_written_meanwhile() {
    let mut rows = RowTable::default();
    rows.load(&key("a"), OLD);
    rows.unpin(&key("a"), 1, true);
    // Written, applied and acknowledged while the answer is on its way.
    rows.write(&key("a"), &cell(0, 17), Sequence(1), written(true));
    rows.unpin(&key("a"), 1, true);
    assert!(!rows.load(&key("a"), YOUNG), "the read under way will do");
    rows.loaded(&key("a"), cell(0, 9), true);
    assert_eq!(rows.get(&key("a")), Some(&cell(0, 17)));
}

#[test]
fn an_unpinned_row_is_cached_only_if_it_is_whole_and_owned() {
    for (name, owned, whole, kept) in
        [("a", true, true, true), ("b", true, false, false), ("c", false, true, false)]
    {
        let mut rows = RowTable::default();
        rows.write(&key(name), &cell(0, 9), Sequence(1), written(owned));
        if whole {
            rows.load(&key(name), OLD);
            rows.loaded(&key(name), Row::default(), owned);
            rows.unpin(&key(name), 1, owned);
        }
        assert_eq!(rows.len(), 1, "{name}: the write pins it");
        rows.unpin(&key(name), 1, owned);
        assert_eq!(rows.len(), usize::from(kept), "{name}");
    }
}

#[test]
fn eviction_spares_what_is_pinned_and_what_was_just_used() {
    let mut rows = RowTable::default();
    for name in ["pinned", "used", "idle"] {
        rows.write(&key(name), &deleted(8), Sequence(1), written(true));
    }
    rows.unpin(&key("used"), 1, true);
    rows.unpin(&key("idle"), 1, true);
    let all = rows.bytes();
    rows.evict(all);
    assert_eq!(rows.len(), 3, "they fit");
    // The hand passes over all three and takes off what says that they were used.
    rows.evict(all - 1);
    assert!(rows.len() >= 1 && rows.bytes() < all);
    rows.evict(0);
    assert_eq!(rows.len(), 1);
    assert!(rows.get(&key("pinned")).is_some());
}

#[test]
fn bytes_are_counted_up_and_down_to_nothing() {
    let mut rows = RowTable::default();
    rows.write(&key("a"), &cell(0, 9), Sequence(1), written(true));
    rows.write(&key("a"), &cell(1, 17), Sequence(2), written(true));
    rows.load(&key("b"), OLD);
    assert!(rows.bytes() > 0);
    rows.loaded(&key("b"), cell(0, 1), true);
    rows.unpin(&key("b"), 1, true);
    rows.unpin(&key("a"), 2, true);
    rows.evict(0);
    rows.evict(0);
    assert_eq!((rows.len(), rows.bytes()), (0, 0));
}

#[test]
fn last_writes_are_remembered_by_row_until_a_new_epoch() {
    let mut rows = RowTable::default();
    rows.write(&key("a"), &cell(0, 9), Sequence(5), written(true));
    assert!(rows.unwritten_since(&key("a"), Sequence(5)));
    assert!(!rows.unwritten_since(&key("a"), Sequence(4)));
    assert!(rows.unwritten_since(&key("b"), Sequence(0)));
    rows.forget_sequences();
    assert!(rows.unwritten_since(&key("a"), Sequence(0)));
}

/// What a store that shows neither tombstones nor markers answers.
fn shown(deltas: &[Row]) -> Row {
    let mut row = Row::default();
    deltas.iter().for_each(|delta| row.merge(delta));
    row.shown()
}

#[test]
fn a_row_that_loses_its_last_live_cell_is_read_again_until_the_store_has_it() {
    let dead = |at| {
        let cell = Cell { column: ColumnId(0), timestamp: Timestamp(at), value: None };
        Row { cells: vec![cell], ..Row::default() }
    };
    let inserted = Row { marker_at: Some(Timestamp(9)), ..Row::default() };
    for marker in [true, false] {
        let stored = if marker { vec![inserted.clone(), cell(0, 9)] } else { vec![cell(0, 9)] };
        let mut rows = RowTable::default();
        assert!(rows.load(&key("a"), OLD));
        rows.loaded(&key("a"), shown(&stored), true);
        assert!(rows.get(&key("a")).is_some_and(Row::exists));

        rows.write(&key("a"), &dead(16), Sequence(1), written(true));
        assert!(rows.get(&key("a")).is_none(), "is there a marker? nobody can tell");
        assert!(rows.load(&key("a"), YOUNG));
        assert!(!rows.load_again(&key("a"), YOUNG), "that read is under way");
        // The flush is not in the store yet: this answer says nothing new.
        assert_eq!(rows.loaded(&key("a"), shown(&stored), true).as_slice(), [YOUNG]);
        assert!(rows.get(&key("a")).is_none());
        assert!(rows.load_again(&key("a"), YOUNG));
        let applied: Vec<Row> = stored.iter().cloned().chain([dead(16)]).collect();
        assert_eq!(rows.loaded(&key("a"), shown(&applied), true).as_slice(), [YOUNG]);
        assert_eq!(rows.get(&key("a")).map(Row::exists), Some(marker));

        // Every pin is taken off: the flush's, and those of the two who waited.
        rows.unpin(&key("a"), 1, true);
        rows.unpin(&key("a"), 2, true);
        rows.evict(0);
        rows.evict(0);
        assert_eq!((rows.len(), rows.bytes()), (0, 0));
    }
}

#[test]
fn what_came_from_elsewhere_is_told_by_the_store_alone() {
    let mut rows = RowTable::default();
    rows.write(&key("a"), &deleted(8), Sequence(1), written(true));
    rows.write(&key("a"), &cell(0, 4), Sequence(2), WriteOrigin::Elsewhere);
    assert!(rows.get(&key("a")).is_none(), "a tombstone that nobody shows may hide it");
    assert!(rows.load(&key("a"), OLD));
    rows.loaded(&key("a"), Row::default(), true);
    assert!(rows.get(&key("a")).is_none(), "it is not in the store yet");
    assert!(rows.load_again(&key("a"), OLD));
    rows.applied(&key("a"), 2, true);
    rows.loaded(&key("a"), cell(0, 4), true);
    assert!(rows.get(&key("a")).is_none(), "that was read before it was applied, perhaps");
    assert!(rows.load_again(&key("a"), OLD));
    rows.loaded(&key("a"), cell(1, 9), true);
    assert_eq!(rows.get(&key("a")), Some(&cell(1, 9)), "as the store says");
}

#[test]
fn what_is_newer_than_all_of_its_table_needs_no_second_look() {
    let mut newest = NewestWrites::default();
    assert!(!newest.is_newest(TableId(0), Timestamp(9)), "nothing is known in a replay");
    newest.begin_at(Timestamp(8));
    assert!(newest.is_newest(TableId(0), Timestamp(9)));
    newest.note(TableId(1), Timestamp(20));
    assert!(newest.is_newest(TableId(0), Timestamp(9)), "that was another table");
    assert!(!newest.is_newest(TableId(1), Timestamp(20)));
}
