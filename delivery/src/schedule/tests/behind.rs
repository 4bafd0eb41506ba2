//! What is given to the index, change by change.

use wal_core::{Millis, Now, Timestamp, TxnId};

use super::super::behind::WriteBehind;
use super::super::index::{Change, Noted};
use super::world::{S, SHARD};
use crate::outgoing::Name;

const MOST: usize = 2;
/// When a process claims the shard; what it can be sure that nobody noted is scheduled later.
const BEGAN_S: u64 = 1_000;
const LATER_S: u64 = BEGAN_S + 10;

type Behind = WriteBehind<u32>;

fn at(s: u64) -> Now {
    Now { wall_us: (s * S) as i64, mono_us: s * S }
}

fn name(n: u128) -> Name {
    Name { id: TxnId(n), index: 0 }
}

fn noted(n: u128, written_s: u64, change: Change) -> Noted {
    Noted { name: name(n), shard: SHARD, written: Timestamp((written_s * S) as i64), change }
}

fn due(s: u64) -> Change {
    Change::Due(Millis(s * 1_000))
}

fn begun() -> Behind {
    let mut behind = Behind::new(MOST);
    behind.begin(at(BEGAN_S), SHARD);
    behind
}

/// A change is read, and asked for as `who`; who hears that something is dealt with.
fn hear(behind: &mut Behind, now_s: u64, noted: Noted, is_insert: bool, who: u32) -> Vec<u32> {
    let mut answered = Vec::new();
    behind.read(at(now_s), noted, is_insert, &mut answered);
    behind.ask(&noted, who, &mut answered);
    answered
}

fn done(behind: &mut Behind, n: u128) -> Vec<u32> {
    let mut answered = Vec::new();
    behind.done(SHARD, name(n), &mut answered);
    answered
}

/// What is noted now, which succeeds; and who hears of it.
fn note(behind: &mut Behind, now_s: u64) -> (Vec<Noted>, Vec<u32>) {
    let mut answered = Vec::new();
    let Some(changes) = behind.batch(at(now_s)) else { return (Vec::new(), answered) };
    behind.noted(at(now_s), true, &mut answered);
    (changes, answered)
}

const NOTHING: (Vec<Noted>, Vec<u32>) = (Vec::new(), Vec::new());

#[test]
fn what_is_done_soon_is_never_noted_and_holds_the_mark_until_then() {
    for stream_is_first in [false, true] {
        let mut behind = begun();
        let now = LATER_S;
        assert!(hear(&mut behind, now, noted(1, now, due(now + 3)), true, 1).is_empty());
        assert_eq!(note(&mut behind, now + 3), NOTHING);
        behind.fires(at(now + 3), SHARD, name(1));
        let deleted = noted(1, now + 4, Change::Gone);
        if stream_is_first {
            assert_eq!(hear(&mut behind, now + 4, deleted, false, 2), [1, 2]);
            assert!(done(&mut behind, 1).is_empty());
        } else {
            assert_eq!(done(&mut behind, 1), [1]);
            assert_eq!(hear(&mut behind, now + 4, deleted, false, 2), [2]);
        }
        assert_eq!(note(&mut behind, now + 60), NOTHING);
        assert_eq!(behind.next_wake(at(now + 60)), None);
    }
}

#[test]
fn what_another_may_have_noted_is_taken_out() {
    // Scheduled before the shard was claimed, or long ago and now anew.
    let now = LATER_S;
    for (written, is_insert) in [(BEGAN_S - 1, true), (BEGAN_S, true), (now, false)] {
        let mut behind = begun();
        let read = noted(1, written, due(now + 3));
        assert!(hear(&mut behind, now, read, is_insert, 1).is_empty());
        behind.fires(at(now + 3), SHARD, name(1));
        assert!(done(&mut behind, 1).is_empty());
        let deleted = noted(1, now + 4, Change::Gone);
        assert_eq!(hear(&mut behind, now + 4, deleted, false, 2), [1], "replaced");
        assert_eq!(note(&mut behind, now + 4), (vec![deleted], vec![2]));
    }
}

#[test]
fn what_is_not_done_in_time_is_noted() {
    let mut behind = begun();
    let now = LATER_S;
    let read = noted(1, now, due(now + 3));
    hear(&mut behind, now, read, true, 1);
    behind.fires(at(now + 3), SHARD, name(1));
    behind.not_done(SHARD, name(1));
    assert_eq!(note(&mut behind, now + 4), NOTHING);
    assert_eq!(behind.next_wake(at(now + 4)), Some(S));
    assert_eq!(note(&mut behind, now + 5), (vec![read], vec![1]));
    // Its deletion is then noted too.
    let deleted = noted(1, now + 6, Change::Gone);
    assert!(hear(&mut behind, now + 6, deleted, false, 2).is_empty());
    assert_eq!(note(&mut behind, now + 6), (vec![deleted], vec![2]));
}

#[test]
fn what_is_far_off_or_beyond_the_bound_or_of_a_shard_that_is_let_go_is_noted_at_once() {
    let mut behind = begun();
    let now = LATER_S;
    for n in 1..=MOST as u32 {
        assert!(hear(&mut behind, now, noted(n.into(), now, due(now + 1)), true, n).is_empty());
    }
    assert_eq!(note(&mut behind, now), NOTHING);
    let (beyond, far) = (noted(7, now, due(now + 1)), noted(8, now, due(now + 6)));
    hear(&mut behind, now, beyond, true, 7);
    hear(&mut behind, now, far, true, 8);
    assert_eq!(note(&mut behind, now), (vec![beyond, far], vec![7, 8]));
    // One that is done makes room for another.
    behind.fires(at(now + 1), SHARD, name(1));
    assert_eq!(done(&mut behind, 1), [1]);
    hear(&mut behind, now + 1, noted(9, now, due(now + 2)), true, 9);
    assert_eq!(note(&mut behind, now + 1), NOTHING);
    behind.end(SHARD);
    assert_eq!(note(&mut behind, now + 1).1, [2, 9]);
    hear(&mut behind, now + 1, noted(10, now, due(now + 2)), true, 10);
    assert_eq!(note(&mut behind, now + 1).1, [10]);
}

#[test]
fn deletions_of_what_was_done_hold_no_mark_and_wait_for_everything_else() {
    let mut behind = begun();
    let now = LATER_S;
    // Of the index, both: the stream is behind with one, and ahead with the other.
    behind.fires(at(now), SHARD, name(1));
    behind.fires(at(now), SHARD, name(2));
    assert!(done(&mut behind, 1).is_empty());
    let deleted = [1, 2, 3].map(|n| noted(n, now, Change::Gone));
    assert_eq!(hear(&mut behind, now, deleted[0], false, 1), [1]);
    assert_eq!(hear(&mut behind, now, deleted[1], false, 2), [2]);
    assert!(done(&mut behind, 2).is_empty());
    // Cancelled by somebody: it may be due in a year, and would be listed until then.
    assert!(hear(&mut behind, now, deleted[2], false, 3).is_empty());
    let [one, two, three] = deleted;
    assert_eq!(note(&mut behind, now), (vec![three, one, two], vec![3]));
    assert_eq!(note(&mut behind, now), NOTHING);
}

#[test]
fn a_refusal_comes_behind_what_it_refuses_and_anything_else_replaces_it() {
    let mut behind = begun();
    let now = LATER_S;
    let (first, refused) = (noted(1, now, due(now + 1)), noted(1, now + 2, Change::Refused));
    hear(&mut behind, now, first, true, 1);
    behind.fires(at(now + 1), SHARD, name(1));
    // As the row said, and then as the stream does.
    let mut answered = Vec::new();
    behind.correct(at(now + 2), refused, &mut answered);
    assert!(answered.is_empty());
    assert!(hear(&mut behind, now + 2, refused, false, 2).is_empty());
    assert_eq!(note(&mut behind, now + 2), (vec![first], vec![1]));
    assert_eq!(note(&mut behind, now + 2), (vec![refused], vec![2]));

    let (far, anew) = (noted(2, now, due(now + 60)), noted(2, now + 1, due(now + 90)));
    hear(&mut behind, now, far, true, 3);
    assert_eq!(hear(&mut behind, now + 1, anew, false, 4), [3]);
    assert_eq!(note(&mut behind, now + 1), (vec![anew], vec![4]));
}

#[test]
fn what_a_row_said_does_not_replace_what_the_stream_told_meanwhile() {
    let mut behind = begun();
    let now = LATER_S;
    let (old, new) = (noted(1, now, due(now + 900)), noted(1, now + 1, due(now + 60)));
    for is_told in [false, true] {
        behind.fires(at(now), SHARD, name(1));
        if is_told {
            hear(&mut behind, now + 1, new, false, 1);
            assert_eq!(note(&mut behind, now + 1), (vec![new], vec![1]));
        }
        behind.correct(at(now + 2), old, &mut Vec::new());
        let expected = if is_told { Vec::new() } else { vec![old] };
        assert_eq!(note(&mut behind, now + 2).0, expected);
    }
}

#[test]
fn what_could_not_be_noted_is_noted_again_in_its_order() {
    let mut behind = begun();
    let now = LATER_S;
    let far = [1, 2].map(|n| noted(n, now, due(now + 60)));
    hear(&mut behind, now, far[0], true, 1);
    hear(&mut behind, now, far[1], true, 2);
    let mut answered = Vec::new();
    assert_eq!(behind.batch(at(now)), Some(far.to_vec()));
    assert_eq!(behind.batch(at(now)), None, "one at a time");
    assert!(behind.noted(at(now), false, &mut answered).is_empty());
    assert_eq!(behind.batch(at(now)), None, "there is a pause");
    assert_eq!(behind.next_wake(at(now)), Some(S / 10));
    assert_eq!(behind.batch(at(now + 1)), Some(far.to_vec()));
    // One is cancelled meanwhile: it is dealt with by that, and not told again.
    let cancelled = noted(1, now + 1, Change::Gone);
    assert_eq!(hear(&mut behind, now + 1, cancelled, false, 3), [1]);
    assert_eq!(behind.noted(at(now + 1), true, &mut answered), [far[1]]);
    assert_eq!(answered, [2]);
    assert_eq!(note(&mut behind, now + 1), (vec![cancelled], vec![3]));
}
