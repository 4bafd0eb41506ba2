use bytes::Bytes;
use wal_core::{Cell, ColumnId, TableId, Timestamp};

use super::*;

fn write(name: &'static str, at: i64) -> RowMutation {
    let partition = Bytes::from_static(name.as_bytes());
    let key = RowKey { table: TableId(0), partition, clustering: Bytes::new() };
    let value = Some(Bytes::copy_from_slice(&at.to_be_bytes()));
    let cell = Cell { column: ColumnId(0), timestamp: Timestamp(at), value };
    RowMutation { key, delta: Row { cells: vec![cell], ..Row::default() } }
}

fn push(applier: &mut Applier, seq: u64, rows: &[RowMutation]) {
    applier.push(
        Sequence(seq),
        rows.first().map(|row| row.delta.oldest().expect("a cell")),
        rows.iter().cloned().collect(),
    );
}

/// Folds and returns what goes out, with the commits that each row stands for.
fn fold(applier: &mut Applier, io: u64, durable: u64, max_rows: usize) -> Vec<(RowMutation, u32)> {
    assert!(applier.fold(IoId(io), Sequence(durable), max_rows, 0, true, &mut Vec::new()));
    let flush = applier.flush.as_ref().expect("folded");
    flush.mutations.iter().cloned().zip(flush.pins.iter().copied()).collect()
}

fn wait(applier: &mut Applier, id: u128) -> bool {
    applier.wait(Waiter {
        origin: Origin::default(),
        id: TxnId(id),
        at: Some(Timestamp(id as i64)),
    })
}

fn flushed(applier: &mut Applier, io: u64) -> Vec<TxnId> {
    let mut told = Vec::new();
    assert!(!applier.flushed(IoId(io), &mut told).is_empty(), "it is under way");
    told.into_iter().map(|(_, id)| id).collect()
}

#[test]
fn commits_to_one_row_are_folded_to_its_last_state() {
    let mut applier = Applier::default();
    push(&mut applier, 1, &[write("a", 9), write("b", 9)]);
    push(&mut applier, 2, &[write("a", 17)]);
    push(&mut applier, 3, &[write("a", 25)]);
    let out = fold(&mut applier, 1, 2, 100);
    assert_eq!(out, [(write("a", 17), 2), (write("b", 9), 1)], "the third is not durable");
    assert_eq!((applier.len(), applier.is_idle()), (1, false));
    assert!(!applier.can_flush(Sequence(3)), "one flush is under way");
    flushed(&mut applier, 1);
    assert!(applier.can_flush(Sequence(3)));
    assert!(!applier.can_flush(Sequence(2)));
}

#[test]
fn a_flush_takes_whole_commits_until_it_is_large_enough() {
    let mut applier = Applier::default();
    push(&mut applier, 1, &[write("a", 9), write("b", 9), write("c", 9)]);
    push(&mut applier, 2, &[write("d", 17)]);
    assert_eq!(fold(&mut applier, 1, 2, 2).len(), 3, "a commit is never split");
    flushed(&mut applier, 1);
    assert_eq!(fold(&mut applier, 2, 2, 2).len(), 1);
}

#[test]
fn bytes_are_given_back_when_the_store_has_acknowledged() {
    let mut applier = Applier::default();
    push(&mut applier, 1, &[write("a", 9)]);
    let one = applier.bytes();
    push(&mut applier, 2, &[write("a", 17)]);
    assert_eq!(applier.bytes(), 2 * one);
    fold(&mut applier, 1, 1, 100);
    assert_eq!(applier.bytes(), 2 * one, "sent is not acknowledged");
    flushed(&mut applier, 1);
    assert_eq!(applier.bytes(), one);
}

#[test]
fn who_waits_is_told_when_everything_before_is_applied() {
    let mut applier = Applier::default();
    push(&mut applier, 1, &[write("a", 9)]);
    assert!(wait(&mut applier, 1));
    push(&mut applier, 2, &[write("b", 17)]);
    assert!(wait(&mut applier, 2));
    assert!(wait(&mut applier, 3));
    fold(&mut applier, 1, 1, 100);
    assert_eq!(flushed(&mut applier, 1), [TxnId(1)]);
    fold(&mut applier, 2, 2, 100);
    assert_eq!(flushed(&mut applier, 2), [TxnId(2), TxnId(3)]);
    assert!(applier.is_idle() && !applier.has_waiters());
}

#[test]
fn an_acknowledgement_of_another_flush_changes_nothing() {
    let mut applier = Applier::default();
    push(&mut applier, 1, &[write("a", 9)]);
    fold(&mut applier, 7, 1, 100);
    assert!(applier.flushed(IoId(6), &mut Vec::new()).is_empty());
    assert!(!applier.is_idle());
    flushed(&mut applier, 7);
    assert!(applier.flushed(IoId(7), &mut Vec::new()).is_empty(), "it counts once");
}

#[test]
fn a_sync_that_ends_leaves_what_it_may_not_cover() {
    let mut applier = Applier::default();
    push(&mut applier, 1, &[write("before", 9)]);
    fold(&mut applier, 1, 1, 100);
    flushed(&mut applier, 1);
    push(&mut applier, 2, &[write("during", 17)]);
    fold(&mut applier, 2, 2, 100);
    applier.begin_sync();
    flushed(&mut applier, 2);
    push(&mut applier, 3, &[write("flying", 25)]);
    fold(&mut applier, 3, 3, 100);
    push(&mut applier, 4, &[write("queued", 33), write("during", 33)]);
    let rows = applier.end_sync(true);
    assert_eq!(rows, [write("during", 33), write("flying", 25), write("queued", 33)], "folded");
}
