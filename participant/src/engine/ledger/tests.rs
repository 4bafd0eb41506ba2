use wal_core::{AbortReason, Nonce};

use super::*;

const fn id(ms: u64) -> TxnId {
    TxnId((ms as u128) << 80 | 1)
}

fn later_attempt(ms: u64) -> Attempt {
    Attempt { number: 2, nonce: Nonce(u128::from(ms) << 80) }
}

fn prepare(id: TxnId, attempt: Attempt) -> Prepare {
    Prepare {
        id,
        fingerprint: Fingerprint(1),
        namespace_version: 1,
        attempt,
        start: id.time(),
        proposal: Timestamp(8),
        participants: vec![ShardId(1), ShardId(2)],
        part: Arc::new(Part::new()),
        adds: Vec::new(),
        others: vec![(ShardId(1), Arc::new(Part::new()))],
        depends_on: Vec::new(),
    }
}

const FIRST: Attempt = Attempt { number: 1, nonce: Nonce(0) };

fn committed() -> Outcome {
    Outcome::Committed { timestamp: Timestamp(8), epoch: Epoch(1), seq: Sequence(1) }
}

/// Prepared and committed, as the home of two participants.
fn commit(ledger: &mut Ledger, id: TxnId, attempt: Attempt) {
    ledger.prepare(&prepare(id, attempt), LockSet::new(), true, 0);
    ledger.decide(id, committed(), attempt, 0);
}

fn single(ledger: &mut Ledger, id: TxnId) {
    ledger.remember_single(id, Fingerprint(1), Timestamp(8), Epoch(1), Sequence(1));
}

#[test]
fn the_floor_forgets_single_commits_at_and_below_it() {
    let mut ledger = Ledger::default();
    [5, 6, 7].into_iter().for_each(|ms| single(&mut ledger, id(ms)));
    ledger.raise_floor(Millis(6));
    assert!(ledger.outcome(id(6)).is_none());
    assert!(ledger.outcome(id(7)).is_some());
    ledger.raise_floor(Millis(5));
    assert_eq!(ledger.floor, Millis(6), "it never goes back");
}

#[test]
fn what_is_undecided_is_kept_below_the_floor() {
    let mut ledger = Ledger::default();
    ledger.prepare(&prepare(id(5), FIRST), LockSet::new(), false, 0);
    ledger.prepare(&prepare(id(6), FIRST), LockSet::new(), true, 0);
    ledger.abort(id(6), FIRST);
    ledger.raise_floor(Millis(100));
    assert!(ledger.entry(id(5)).is_some_and(|entry| entry.prepared.is_some()));
    assert!(ledger.entry(id(6)).is_some_and(|entry| entry.open.is_some()));
}

#[test]
fn an_outcome_is_kept_until_every_participant_holds_it() {
    let mut ledger = Ledger::default();
    commit(&mut ledger, id(5), FIRST);
    ledger.raise_floor(Millis(100));
    assert_eq!(ledger.outcome(id(5)), Some(committed()));
    assert!(ledger.unfinished.contains(&id(5)));
    ledger.finish(id(5), Millis(5));
    assert!(ledger.get(id(5)).is_none() && ledger.unfinished.is_empty());
}

#[test]
fn an_outcome_is_kept_until_the_floor_bars_every_attempt() {
    let mut ledger = Ledger::default();
    commit(&mut ledger, id(5), later_attempt(50));
    ledger.finish(id(5), Millis(5));
    ledger.raise_floor(Millis(49));
    assert!(ledger.outcome(id(5)).is_some(), "a late prepare of that attempt would pass the floor");
    ledger.raise_floor(Millis(50));
    assert!(ledger.get(id(5)).is_none());
}

#[test]
fn a_participant_keeps_an_outcome_as_long_as_the_home_says() {
    let mut ledger = Ledger::default();
    ledger.prepare(&prepare(id(5), FIRST), LockSet::new(), false, 0);
    ledger.decide(id(5), committed(), FIRST, 0);
    ledger.finish(id(5), Millis(50));
    ledger.raise_floor(Millis(49));
    assert!(ledger.outcome(id(5)).is_some());
    ledger.raise_floor(Millis(50));
    assert!(ledger.get(id(5)).is_none());
}

#[test]
fn a_barred_attempt_is_kept_until_the_floor_bars_it() {
    let mut ledger = Ledger::default();
    ledger.abort(id(5), FIRST);
    ledger.abort(id(6), later_attempt(50));
    ledger.raise_floor(Millis(10));
    assert!(ledger.get(id(5)).is_none(), "the floor bars the first attempt with the id");
    assert!(ledger.entry(id(6)).is_some_and(|entry| entry.bars(later_attempt(50))));
    ledger.raise_floor(Millis(50));
    assert!(ledger.get(id(6)).is_none());
}

#[test]
fn a_closing_of_a_lone_participant_is_finished_at_once() {
    let mut ledger = Ledger::default();
    ledger.decide(id(5), Outcome::Closed(AbortReason::Fenced), Attempt::default(), 0);
    assert!(ledger.unfinished.is_empty());
    ledger.raise_floor(Millis(5));
    assert!(ledger.get(id(5)).is_none());
}

#[test]
fn who_waits_for_an_outcome_keeps_its_entry() {
    let mut ledger = Ledger::default();
    let entry = ledger.entry_or_new(id(5)).expect("new");
    entry.waiters.push(Origin::default());
    ledger.raise_floor(Millis(10));
    assert!(ledger.get(id(5)).is_some());
    ledger.entry_mut(id(5)).expect("kept").waiters.clear();
    ledger.forget_if_done(id(5));
    assert!(ledger.get(id(5)).is_none());
}

#[test]
fn the_floor_that_keeps_so_many_keeps_no_more() {
    let mut ledger = Ledger::default();
    (1..=10).for_each(|ms| single(&mut ledger, id(ms)));
    assert_eq!(ledger.floor_to_keep(10), Some(Millis(1)));
    let floor = ledger.floor_to_keep(4).expect("there are more than four");
    ledger.raise_floor(floor);
    assert!(ledger.memories.len() <= 4, "{} are left", ledger.memories.len());
    assert_eq!(ledger.floor_to_keep(20), None);
}

#[test]
fn the_home_puts_the_whole_together_from_the_parts() {
    let mut ledger = Ledger::default();
    let mut prepare = prepare(id(5), FIRST);
    let home = prepare.participants[prepare.id.home_index(2)];
    let other = if home == ShardId(1) { ShardId(2) } else { ShardId(1) };
    prepare.others = vec![(other, Arc::new(Part::new()))];
    ledger.prepare(&prepare, LockSet::new(), true, 0);
    let open = ledger.entry(id(5)).and_then(|entry| entry.open.as_ref()).expect("open");
    assert_eq!(open.txn.participants().collect::<Vec<_>>(), [ShardId(1), ShardId(2)]);
    assert!(open.under_way);
}
