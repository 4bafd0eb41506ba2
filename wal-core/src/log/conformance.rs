//! One suite for every implementation of [`IntentLog`]: it checks the numbered clauses of [`super`].
//!
//! An implementation's own tests add what only they can do: lose power, flip bits, fill the disk.

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;

use super::{Appended, IntentLog, LogError, ShardBatch, VISIT_BYTES};
use crate::id::{Epoch, Position, Sequence, ShardId};
use crate::record::{Body, Header, encode_into};

/// No answer takes this long, on any machine.
const PATIENCE: Duration = Duration::from_secs(60);
const A: ShardId = ShardId(0);
const B: ShardId = ShardId(1);

/// A log under test, and what it can be asked to do beyond the port.
pub trait Subject {
    /// The log.
    fn log(&self) -> &dyn IntentLog;

    /// Closes the log and opens it again; `None` if it cannot be closed.
    fn reopen(self: Box<Self>) -> Option<Box<dyn Subject>>;

    /// Tries to open the same log a second time; `None` if it may have two owners (clause 12).
    fn open_second(&self) -> Option<LogError>;

    /// Makes the next batch of that shard be rejected; `None`, or a batch of that shard and epoch to be
    /// appended, which this log rejects.
    fn rejected(&self, shard: ShardId, epoch: Epoch) -> Option<ShardBatch>;

    /// Makes the answer to the next batch of that shard unknown; whether it can.
    fn make_unknown(&self, shard: ShardId) -> bool;

    /// A third shard beside 0 and 1; far from them, if the log has that many.
    fn third_shard(&self) -> ShardId {
        ShardId(700)
    }
}

/// One visited record.
pub type Visited = (ShardId, Position, Bytes);

/// Records of one shard, with the sequences from `first` on, each with `size` bytes of content.
pub fn batch(shard: ShardId, epoch: Epoch, first: u64, count: u64, size: usize) -> ShardBatch {
    let (mut bytes, mut ends) = (Vec::new(), Vec::new());
    for seq in first..first + count {
        let header = Header { epoch, seq: Sequence(seq), previous: u64::from(shard.0) };
        let payload = Bytes::from(vec![seq as u8; size]);
        let body = Body::Checkpoint { chunk: seq as u32, last: false, payload };
        encode_into(&mut bytes, &header, &body);
        ends.push(bytes.len() as u32);
    }
    ShardBatch { shard, epoch, first: Sequence(first), bytes: bytes.into(), ends }
}

/// Appends and waits for the answers.
pub fn append(log: &dyn IntentLog, batches: Vec<ShardBatch>) -> Vec<Appended> {
    let (send, receive) = mpsc::channel();
    let done = move |results| send.send(results).expect("somebody waits");
    log.append(batches, Box::new(done));
    receive.recv_timeout(PATIENCE).expect("an answer (clause 6)")
}

/// Appends one batch that must become durable; where it starts.
pub fn append_durable(log: &dyn IntentLog, batch: ShardBatch) -> Position {
    match append(log, vec![batch]).pop() {
        Some(Appended::Durable { first }) => first,
        other => panic!("not durable: {other:?}"),
    }
}

/// All records of some shards from given positions on, and where the next visit starts.
pub fn replay(
    log: &dyn IntentLog,
    from: &[(ShardId, Position)],
) -> Result<(Vec<Visited>, BTreeMap<ShardId, Position>), LogError> {
    let mut visited = Vec::new();
    let from = from.iter().copied().collect();
    let next = log.replay(&from, &mut |shard, position, record| {
        visited.push((shard, position, record));
        Ok(())
    })?;
    Ok((visited, next))
}

/// All records, shard by shard: nothing is promised of the order between shards.
fn everything(subject: &dyn Subject) -> Vec<Visited> {
    let all = [A, B, subject.third_shard()].map(|shard| (shard, Position(0)));
    by_shard(replay(subject.log(), &all).expect("a readable log").0)
}

fn by_shard(mut visited: Vec<Visited>) -> Vec<Visited> {
    visited.sort_by_key(|(shard, _, _)| *shard);
    visited
}

fn of_shard(visited: &[Visited], shard: ShardId) -> Vec<(Position, Bytes)> {
    let own = visited.iter().filter(|(of, _, _)| *of == shard);
    own.map(|(_, position, record)| (*position, record.clone())).collect()
}

/// Runs every clause on logs that `make` creates, each new and empty.
///
/// # Panics
/// If a clause does not hold.
pub fn run(make: &mut dyn FnMut() -> Box<dyn Subject>) {
    clauses_1_and_7_replay_visits_in_order_what_was_appended(&*make());
    clause_7_replay_goes_on_where_it_ended(&*make());
    clause_7_a_visitor_can_stop(&*make());
    clause_7_a_tail_visits_what_comes(&*make());
    clause_7_a_visit_of_a_tail_is_bounded(&*make());
    clause_2_what_was_durable_is_there_after_reopening(make());
    clauses_3_and_4_rejected_is_never_there_and_bars_the_epoch(&*make());
    clauses_3_and_4_unknown_bars_the_epoch(&*make());
    clause_5_batches_complete_in_order(&*make());
    clause_6_every_append_is_answered_once_also_at_closing(make());
    clause_8_trim_drops_nothing_at_or_after_the_position(make());
    clauses_10_and_11_identity_and_hints_are_kept(make(), &*make());
    clause_12_there_is_one_owner(make());
}

fn clauses_1_and_7_replay_visits_in_order_what_was_appended(subject: &dyn Subject) {
    let log = subject.log();
    let mut expected: BTreeMap<ShardId, Vec<Bytes>> = BTreeMap::new();
    let (send, receive) = mpsc::channel();
    for round in 0..50 {
        let mut batches = Vec::new();
        for shard in [A, B, subject.third_shard()] {
            if (round + u64::from(shard.0)).is_multiple_of(2) {
                let records = expected.entry(shard).or_default();
                let (first, count) = (records.len() as u64, 1 + round % 4);
                let next = batch(shard, Epoch(1), first, count, 40 * round as usize);
                records.extend(next.records());
                batches.push(next);
            }
        }
        let firsts: Vec<(ShardId, Bytes)> = batches
            .iter()
            .map(|batch| (batch.shard, batch.records().next().expect("a record")))
            .collect();
        let send = send.clone();
        let done = move |results: Vec<Appended>| {
            send.send((firsts, results)).expect("somebody waits");
        };
        log.append(batches, Box::new(done));
    }
    drop(send);
    wait_for_durable(log, &receive, 50);
    let visited = everything(subject);
    for (shard, records) in &expected {
        let own = of_shard(&visited, *shard);
        assert!(own.is_sorted_by(|a, b| a.0 < b.0), "positions grow (clause 1)");
        let read: Vec<Bytes> = own.into_iter().map(|(_, record)| record).collect();
        assert_eq!(&read, records, "shard {shard} (clauses 1 and 7)");
    }
    let only_b = replay(log, &[(B, Position(0))]).expect("a readable log").0;
    assert!(only_b.iter().all(|(shard, _, _)| *shard == B), "only what was asked (clause 7)");
    assert_eq!(only_b.len(), expected[&B].len());
}

type Answer = (Vec<(ShardId, Bytes)>, Vec<Appended>);

/// Waits for all answers; each must be durable, and replaying from its position must start with its record.
fn wait_for_durable(log: &dyn IntentLog, receive: &mpsc::Receiver<Answer>, count: usize) {
    for _ in 0..count {
        let (firsts, results) = receive.recv_timeout(PATIENCE).expect("an answer (clause 6)");
        assert_eq!(firsts.len(), results.len(), "one answer for each batch");
        for ((shard, record), result) in firsts.into_iter().zip(results) {
            let Appended::Durable { first } = result else { panic!("{result:?}") };
            let visited = replay(log, &[(shard, first)]).expect("a readable log").0;
            assert_eq!(visited[0], (shard, first, record), "the position of a batch");
        }
    }
}

fn clause_7_replay_goes_on_where_it_ended(subject: &dyn Subject) {
    let log = subject.log();
    let mut next: Vec<(ShardId, Position)> = vec![(A, Position(0)), (B, Position(0))];
    let mut seen = Vec::new();
    for round in 0..10 {
        append_durable(log, batch(A, Epoch(1), round * 2, 2, 10));
        if round % 3 == 0 {
            append_durable(log, batch(B, Epoch(1), round / 3, 1, 10));
        }
        let (visited, positions) = replay(log, &next).expect("a readable log");
        assert!(!visited.is_empty());
        seen.extend(visited);
        next = positions.into_iter().collect();
        assert_eq!(next.len(), 2, "a position for each shard that was asked for");
    }
    assert_eq!(by_shard(seen), everything(subject), "nothing missed, nothing repeated");
    let (nothing, _) = replay(log, &next).expect("a readable log");
    assert!(nothing.is_empty());
}

fn clause_7_a_visitor_can_stop(subject: &dyn Subject) {
    let log = subject.log();
    append_durable(log, batch(A, Epoch(1), 0, 5, 10));
    let mut count = 0;
    let stopped = log.replay(&[(A, Position(0))].into(), &mut |_, _, _| {
        count += 1;
        if count == 3 { Err(LogError::Stopped("enough".into())) } else { Ok(()) }
    });
    assert!(matches!(stopped, Err(LogError::Stopped(_))));
    assert_eq!(count, 3);
}

fn clause_7_a_tail_visits_what_comes(subject: &dyn Subject) {
    const GLANCE: Duration = Duration::from_millis(20);
    let log = subject.log();
    append_durable(log, batch(A, Epoch(1), 0, 3, 10));
    let second = append_durable(log, batch(A, Epoch(1), 3, 2, 10));
    let from = [(A, second), (B, Position(0))].into();
    let mut tail = log.tail(from).expect("a tail");
    let mut seen = Vec::new();
    for round in 0..20 {
        let a = append_durable(log, batch(A, Epoch(1), 5 + round * 2, 2, 10));
        let b = append_durable(log, batch(B, Epoch(1), round, 1, 300));
        let end = std::time::Instant::now() + PATIENCE;
        let has_both = |seen: &[Visited]| {
            [(A, a), (B, b)].iter().all(|(of, at)| seen.iter().any(|it| (it.0, it.1) == (*of, *at)))
        };
        while !has_both(&seen) {
            assert!(std::time::Instant::now() < end, "a tail comes to what is durable (clause 7)");
            let note = &mut |shard, position, record| {
                seen.push((shard, position, record));
                Ok(())
            };
            tail.visit(GLANCE, note).expect("a readable log");
        }
        if round == 10 {
            let next = tail.next().clone();
            drop(tail);
            tail = log.tail(next).expect("a tail goes on where another was");
        }
    }
    tail.visit(GLANCE, &mut |shard, position, record| {
        seen.push((shard, position, record));
        Ok(())
    })
    .expect("a readable log");
    let expected = replay(log, &[(A, second), (B, Position(0))]).expect("a readable log").0;
    assert_eq!(by_shard(seen), by_shard(expected), "nothing missed, nothing repeated, in order");
}

fn clause_7_a_visit_of_a_tail_is_bounded(subject: &dyn Subject) {
    const RECORDS: u64 = 16;
    const RECORD_BYTES: usize = 2048;
    const BATCH_BYTES: usize = RECORDS as usize * RECORD_BYTES;
    const BATCHES: u64 = 4 * (VISIT_BYTES / BATCH_BYTES) as u64;
    let log = subject.log();
    for round in 0..BATCHES {
        append_durable(log, batch(A, Epoch(1), round * RECORDS, RECORDS, RECORD_BYTES));
        append_durable(log, batch(B, Epoch(1), round, 1, RECORD_BYTES));
    }
    // Of B, what is behind a place that the first visits do not come to: asked for, or all that was not trimmed.
    let late = replay(log, &[(B, Position(0))]).expect("a readable log").0[BATCHES as usize / 2].1;
    visits_are_bounded_and_whole(log, late, BATCH_BYTES);
    log.trim(B, late).expect("it was written");
    visits_are_bounded_and_whole(log, Position(0), BATCH_BYTES);
}

/// Follows A from its beginning, and B from a place on.
fn visits_are_bounded_and_whole(log: &dyn IntentLog, from_of_b: Position, batch_bytes: usize) {
    let from = [(A, Position(0)), (B, from_of_b)];
    let expected = replay(log, &from).expect("a readable log").0;
    let mut tail = log.tail(from.into()).expect("a tail");
    let end = std::time::Instant::now() + PATIENCE;
    let mut seen = Vec::new();
    while seen.len() < expected.len() {
        assert!(std::time::Instant::now() < end, "a tail comes to what is durable (clause 7)");
        let mut bytes = 0;
        let note = &mut |shard, position, record: Bytes| {
            bytes += record.len();
            seen.push((shard, position, record));
            Ok(())
        };
        tail.visit(PATIENCE, note).expect("nothing that is asked for was trimmed");
        // Every record is somewhat longer than what it carries.
        assert!(bytes <= 2 * (VISIT_BYTES + batch_bytes), "{bytes} bytes in one visit (clause 7)");
        assert!(bytes > 0, "a visit waits for what is there (clause 7)");
        // Whoever leaves here and comes again goes on where this one stopped.
        let next = tail.next().clone();
        drop(tail);
        tail = log.tail(next).expect("a tail goes on where another was");
    }
    assert_eq!(by_shard(seen), by_shard(expected), "nothing missed, nothing repeated, in order");
}

fn clause_2_what_was_durable_is_there_after_reopening(subject: Box<dyn Subject>) {
    let mut subject = subject;
    for life in 1..=4 {
        for round in 0..20 {
            append_durable(subject.log(), batch(A, Epoch(life), round * 3, 3, 300));
            append_durable(subject.log(), batch(subject.third_shard(), Epoch(life), round, 1, 0));
        }
        let before = everything(&*subject);
        assert_eq!(before.len() as u64, life * 80);
        match subject.reopen() {
            None => return,
            Some(reopened) => subject = reopened,
        }
        assert_eq!(everything(&*subject), before, "the same records at the same positions");
    }
}

fn clauses_3_and_4_rejected_is_never_there_and_bars_the_epoch(subject: &dyn Subject) {
    let log = subject.log();
    append_durable(log, batch(A, Epoch(1), 0, 1, 10));
    let Some(rejected) = subject.rejected(A, Epoch(1)) else { return };
    let before = everything(subject);
    let answers = append(log, vec![rejected]);
    assert!(matches!(answers[..], [Appended::Rejected { .. }]), "{answers:?}");
    let later = append(log, vec![batch(A, Epoch(1), 9, 1, 10), batch(B, Epoch(1), 0, 1, 10)]);
    assert!(matches!(later[0], Appended::Rejected { .. }), "the same shard and epoch: {later:?}");
    assert!(matches!(later[1], Appended::Durable { .. }), "another shard: {later:?}");
    append_durable(log, batch(A, Epoch(2), 0, 1, 10));
    let after = everything(subject);
    assert!(before.iter().all(|record| after.contains(record)));
    assert_eq!(after.len(), before.len() + 2, "what was rejected is not there (clause 3)");
}

fn clauses_3_and_4_unknown_bars_the_epoch(subject: &dyn Subject) {
    let log = subject.log();
    append_durable(log, batch(A, Epoch(1), 0, 1, 10));
    if !subject.make_unknown(A) {
        return;
    }
    let answers = append(log, vec![batch(A, Epoch(1), 1, 1, 10)]);
    assert!(matches!(answers[..], [Appended::Unknown { .. }]), "{answers:?}");
    for seq in 2..5 {
        let later = append(log, vec![batch(A, Epoch(1), seq, 1, 10)]);
        assert!(matches!(later[..], [Appended::Rejected { .. }]), "{later:?}");
    }
}

fn clause_5_batches_complete_in_order(subject: &dyn Subject) {
    let log = subject.log();
    let completed: Arc<Mutex<Vec<u64>>> = Arc::default();
    let (send, receive) = mpsc::channel();
    let note = |number: u64| {
        let (completed, send) = (Arc::clone(&completed), send.clone());
        Box::new(move |_| {
            completed.lock().expect("nobody panics").push(number);
            send.send(()).expect("somebody waits");
        })
    };
    for number in 0..100 {
        let rejected = (number == 60).then(|| subject.rejected(A, Epoch(1))).flatten();
        let next = rejected.unwrap_or_else(|| batch(A, Epoch(1), number, 1, 500));
        log.append(vec![next], note(number));
    }
    for _ in 0..100 {
        receive.recv_timeout(PATIENCE).expect("an answer (clause 6)");
    }
    let expected: Vec<u64> = (0..100).collect();
    assert_eq!(*completed.lock().expect("nobody panics"), expected);
}

fn clause_6_every_append_is_answered_once_also_at_closing(subject: Box<dyn Subject>) {
    let (send, receive) = mpsc::channel();
    for number in 0..100 {
        let send = send.clone();
        let done = move |results: Vec<Appended>| {
            send.send((number, results)).expect("somebody waits");
        };
        subject.log().append(vec![batch(A, Epoch(1), number, 1, 100)], Box::new(done));
    }
    drop(send);
    let reopened = subject.reopen();
    let mut answers: Vec<(u64, Vec<Appended>)> = receive.iter().collect();
    answers.sort_by_key(|(number, _)| *number);
    let numbers: Vec<u64> = answers.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (0..100).collect::<Vec<u64>>(), "one answer for each append");
    if let Some(subject) = reopened {
        let there: Vec<Position> =
            everything(&*subject).into_iter().map(|(_, position, _)| position).collect();
        for (_, results) in answers {
            match &results[..] {
                [Appended::Durable { first }] => assert!(there.contains(first)),
                [Appended::Unknown { .. } | Appended::Rejected { .. }] => {}
                other => panic!("one answer for one batch: {other:?}"),
            }
        }
    }
}

fn clause_8_trim_drops_nothing_at_or_after_the_position(subject: Box<dyn Subject>) {
    let mut subject = subject;
    let mut low = BTreeMap::new();
    for round in 0..30 {
        let log = subject.log();
        let (life, turn) = (Epoch(1 + round / 10), round % 10);
        let a = append_durable(log, batch(A, life, turn * 2, 2, 900));
        let b = append_durable(log, batch(B, life, turn, 1, 900));
        let before = everything(&*subject);
        let (first_a, first_b) = (a, if round < 10 { Position(0) } else { b });
        log.trim(A, a).expect("a trim");
        low.insert(A, first_a);
        if round >= 10 {
            log.trim(B, b).expect("a trim");
        }
        low.insert(B, first_b);
        log.trim(A, Position(1)).expect("a trim that is behind another");
        check_trimmed(log, &before, &low);
        if round % 10 == 9 {
            match subject.reopen() {
                None => return,
                Some(reopened) => subject = reopened,
            }
            check_trimmed(subject.log(), &before, &low);
        }
    }
}

fn check_trimmed(log: &dyn IntentLog, before: &[Visited], low: &BTreeMap<ShardId, Position>) {
    let kept = |(shard, position, _): &&Visited| *position >= low[shard];
    let kept: Vec<Visited> = before.iter().filter(kept).cloned().collect();
    let (left, _) = replay(log, &[(A, Position(0)), (B, Position(0))]).expect("a readable log");
    for record in &kept {
        assert!(left.contains(record), "a record at {} was trimmed", record.1);
    }
    for (shard, at) in low {
        let (own, _) = replay(log, &[(*shard, *at)]).expect("the position itself is not trimmed");
        assert_eq!(own.first().map(|record| record.1), kept_first(&kept, *shard));
    }
    let first = before.iter().find(|(shard, _, _)| *shard == A).expect("a record").1;
    if first > Position(0) && first < low[&A] {
        match replay(log, &[(A, first)]) {
            Err(LogError::Trimmed { shard, asked, .. }) => assert_eq!((shard, asked), (A, first)),
            Ok((own, _)) => assert_eq!(own[0].1, first, "it was not trimmed yet"),
            Err(other) => panic!("{other}"),
        }
    }
}

fn kept_first(kept: &[Visited], shard: ShardId) -> Option<Position> {
    kept.iter().find(|(of, _, _)| *of == shard).map(|record| record.1)
}

fn clauses_10_and_11_identity_and_hints_are_kept(subject: Box<dyn Subject>, other: &dyn Subject) {
    let mut subject = subject;
    let identity = subject.log().identity();
    assert_ne!(identity, other.log().identity(), "two logs (clause 10)");
    assert_eq!(subject.log().hint(A).expect("no hint"), None);
    for round in 0..3 {
        let log = subject.log();
        let at = append_durable(log, batch(A, Epoch(1 + round), 0, 1, 10));
        log.store_hint(A, at).expect("a hint");
        assert_eq!(log.hint(A).expect("a hint"), Some(at), "the newest (clause 11)");
        assert_eq!(log.hint(B).expect("no hint"), None);
        match subject.reopen() {
            None => return,
            Some(reopened) => subject = reopened,
        }
        assert_eq!(subject.log().identity(), identity, "the same for ever (clause 10)");
        let kept = subject.log().hint(A).expect("a hint");
        assert!(kept.is_none_or(|kept| kept <= at), "a hint that was never stored");
    }
}

fn clause_12_there_is_one_owner(subject: Box<dyn Subject>) {
    let Some(error) = subject.open_second() else { return };
    assert!(matches!(error, LogError::Locked { .. }), "{error}");
    append_durable(subject.log(), batch(A, Epoch(1), 0, 1, 10));
    if let Some(subject) = subject.reopen() {
        append_durable(subject.log(), batch(A, Epoch(2), 0, 1, 10));
    }
}
