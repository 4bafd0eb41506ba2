use std::sync::Arc;

use bytes::Bytes;
use wal_core::record::{Body, CommitSingle, Header, Prepare, Reader, Writer, encode_into};
use wal_core::txn::{CellOp, RowOp, WriteOp};
use wal_core::{
    AbortReason, Attempt, ColumnId, Epoch, Fingerprint, Millis, Nonce, Position, RowKey, Sequence,
    ShardId, TableId, Timestamp, TxnId,
};

use super::{Follower, Place, Scope, Told};

const HERE: ShardId = ShardId(0);
const THERE: ShardId = ShardId(1);

/// An id whose home, of two participants, has that index.
fn id(number: u64, home: u64) -> TxnId {
    TxnId::from_parts(Millis(1_000 + number), u128::from(number * 2 + home))
}

const ATTEMPT: Attempt = Attempt { number: 1, nonce: Nonce(1) };

fn part(name: &'static str) -> Arc<Vec<RowOp>> {
    let key = RowKey {
        table: TableId(0),
        partition: Bytes::from_static(name.as_bytes()),
        clustering: Bytes::new(),
    };
    let cell = CellOp::Add { column: ColumnId(1), delta: Bytes::from_static(b"2") };
    let write = WriteOp::Cells { insert: false, cells: vec![cell] };
    Arc::new(vec![RowOp { key, conditions: Vec::new(), write }])
}

/// Writes a shard's log as its leaders would.
#[derive(Default)]
struct Log {
    header: Header,
    records: Vec<(Position, Bytes)>,
}

impl Log {
    fn put(&mut self, header: Header, body: &Body) -> u64 {
        let mut bytes = Vec::new();
        let hash = encode_into(&mut bytes, &header, body);
        // Positions are not dense.
        self.records.push((Position(10 + self.records.len() as u64 * 3), bytes.into()));
        hash
    }

    fn write(&mut self, body: &Body) -> &mut Self {
        let hash = self.put(self.header, body);
        self.header.seq = self.header.seq.next();
        self.header.previous = hash;
        self
    }

    fn lead(&mut self) -> &mut Self {
        let epoch = self.header.epoch.next();
        self.header = Header { epoch, seq: Sequence(0), ..self.header };
        let owner = Nonce(epoch.0.into());
        self.write(&Body::Epoch { log: Nonce(1), owner, address: String::new(), wall_us: 0 })
    }

    fn prepare(&mut self, id: TxnId, attempt: Attempt) -> &mut Self {
        let home = id.home_index(2) == 0;
        self.write(&Body::Prepare(Box::new(Prepare {
            id,
            fingerprint: Fingerprint(1),
            namespace_version: 1,
            attempt,
            start: id.time(),
            proposal: Timestamp(8),
            participants: vec![HERE, THERE],
            part: part("here"),
            adds: vec![Bytes::from_static(b"5")],
            others: if home { vec![(THERE, part("there"))] } else { Vec::new() },
            depends_on: Vec::new(),
        })))
    }

    fn commit(&mut self, id: TxnId, attempt: Attempt) -> &mut Self {
        self.write(&Body::Commit { id, attempt, timestamp: Timestamp(16) })
    }

    fn single(&mut self, id: TxnId) -> &mut Self {
        self.write(&Body::CommitSingle(Box::new(CommitSingle {
            id,
            fingerprint: Fingerprint(1),
            timestamp: Timestamp(24),
            part: part("single"),
            adds: vec![Bytes::from_static(b"7")],
        })))
    }

    /// What is told from a place on, and the place behind it.
    fn follow(&self, scope: Scope, place: Place) -> (Vec<Told>, Place) {
        let mut follower = Follower::new(HERE, scope, place.clone());
        let mut told = Vec::new();
        for (position, bytes) in self.records.iter().filter(|(at, _)| *at >= place.from) {
            told.extend(follower.take(*position, bytes.clone()).expect("a readable log"));
        }
        (told, follower.place())
    }

    fn told(&self, scope: Scope) -> Vec<TxnId> {
        self.follow(scope, Place::default()).0.into_iter().map(|told| told.id).collect()
    }
}

#[test]
fn whole_transactions_are_told_by_their_home_and_parts_by_every_shard() {
    let (home, elsewhere, single) = (id(1, 0), id(2, 1), id(3, 0));
    let mut log = Log::default();
    log.lead().prepare(home, ATTEMPT).prepare(elsewhere, ATTEMPT);
    log.single(single).commit(elsewhere, ATTEMPT).commit(home, ATTEMPT);
    let (whole, _) = log.follow(Scope::Whole, Place::default());
    assert_eq!(whole.iter().map(|told| told.id).collect::<Vec<_>>(), [single, home]);
    assert_eq!(whole[1].parts, [(HERE, part("here")), (THERE, part("there"))]);
    assert_eq!((whole[1].timestamp, &whole[1].adds), (Timestamp(16), &None));
    let (parts, _) = log.follow(Scope::Parts, Place::default());
    assert_eq!(parts.iter().map(|told| told.id).collect::<Vec<_>>(), [single, elsewhere, home]);
    assert_eq!(parts[1].parts, [(HERE, part("here"))]);
    assert_eq!(parts[1].adds, Some(vec![Bytes::from_static(b"5")]));
    assert_eq!(parts[1].participants, [HERE, THERE]);
}

#[test]
fn what_was_aborted_refused_or_closed_is_not_told() {
    let again = Attempt { number: 2, nonce: Nonce(2) };
    let (later, closed) = (id(1, 0), id(2, 0));
    let mut log = Log::default();
    log.lead().prepare(later, ATTEMPT);
    log.write(&Body::Abort { id: later, attempt: ATTEMPT });
    log.prepare(later, again).write(&Body::Refuse { id: later, attempt: ATTEMPT });
    log.write(&Body::Close {
        id: closed,
        fingerprint: None,
        participants: vec![HERE],
        reason: AbortReason::Fenced,
    });
    assert_eq!(log.told(Scope::Whole), []);
    log.commit(later, again);
    assert_eq!(log.told(Scope::Whole), [later]);
}

#[test]
fn behind_a_gap_nothing_of_an_epoch_is_told() {
    let (lost, next) = (id(1, 0), id(2, 0));
    let mut log = Log::default();
    log.lead();
    let good = log.header;
    // A record is missing, then one comes that would follow the last accepted one.
    log.put(Header { seq: Sequence(2), ..good }, &Body::Barrier);
    log.single(lost);
    assert_eq!(log.told(Scope::Whole), []);
    // Nor by a follower that goes on from between them.
    let whole = log.records.pop().expect("it was written");
    let (_, place) = log.follow(Scope::Whole, Place::default());
    log.records.push(whole);
    assert_eq!(log.follow(Scope::Whole, place).0, []);
    log.header = good;
    log.lead().single(next);
    assert_eq!(log.told(Scope::Whole), [next]);
}

#[test]
fn a_deposed_leaders_commit_is_not_told() {
    let mut log = Log::default();
    log.lead();
    let deposed = log.header;
    log.lead();
    let leads = std::mem::replace(&mut log.header, deposed);
    log.single(id(1, 0));
    log.header = leads;
    log.single(id(2, 0));
    assert_eq!(log.told(Scope::Whole), [id(2, 0)]);
}

/// Wherever a follower is stopped and another goes on, each transaction is told once, in the same order.
#[test]
fn going_on_from_any_place_misses_and_repeats_nothing() {
    let mut log = Log::default();
    log.lead();
    for number in 0..12 {
        log.prepare(id(number, number % 2), ATTEMPT);
        if number >= 4 {
            log.commit(id(number - 4, number % 2), ATTEMPT);
        }
        log.single(id(100 + number, 0));
        if number == 6 {
            log.lead();
        }
    }
    for scope in [Scope::Whole, Scope::Parts] {
        let expected = log.told(scope);
        for first in 0..log.records.len() {
            for second in first..log.records.len() {
                let mut seen = Vec::new();
                let mut place = Place::default();
                for end in [first, second, log.records.len()] {
                    let read = Log { header: log.header, records: log.records[..end].to_vec() };
                    let told;
                    (told, place) = read.follow(scope, place);
                    seen.extend(told.into_iter().map(|told| told.id));
                    place = written_and_read(&place);
                }
                assert_eq!(seen, expected, "stopped at {first} and {second}");
            }
        }
    }
}

fn written_and_read(place: &Place) -> Place {
    let mut bytes = Vec::new();
    Writer::new(&mut bytes).piece(place);
    let mut input = Reader::new(bytes.into());
    let read = input.piece().expect("it was just written");
    input.finish().expect("nothing behind it");
    read
}

/// As an engine that looks for a start does not: what a deposed leader wrote late does not begin anything.
#[test]
fn a_late_checkpoint_of_a_leader_that_was_deposed_within_another_is_no_start() {
    let chunk = |chunk| Body::Checkpoint { chunk, last: false, payload: Bytes::new() };
    let mut log = Log::default();
    log.lead();
    log.records.clear(); // trimmed
    log.write(&chunk(0));
    let deposed = log.header;
    log.lead();
    log.header = deposed;
    log.write(&chunk(0));
    let mut follower = Follower::new(HERE, Scope::Whole, Place::default());
    for (position, bytes) in &log.records {
        follower.take(*position, bytes.clone()).expect("a readable log");
    }
    assert!(follower.is_searching(), "neither checkpoint is whole, and the second one is stale");
}

#[test]
fn a_commit_without_its_promise_is_an_error_and_not_a_gap() {
    let mut log = Log::default();
    log.lead().commit(id(1, 0), ATTEMPT);
    let mut follower = Follower::new(HERE, Scope::Whole, Place::default());
    let results: Vec<_> =
        log.records.iter().map(|(at, bytes)| follower.take(*at, bytes.clone())).collect();
    assert!(results[0].is_ok() && results[1].is_err());
    assert_eq!(Epoch(1), log.header.epoch);
}

#[test]
fn what_is_closed_is_below_what_is_undecided_and_never_committed_later() {
    let (first, second, third) = (id(1, 0), id(2, 0), id(3, 0));
    let mut log = Log::default();
    log.lead().single(first).prepare(second, ATTEMPT).single(third).commit(second, ATTEMPT);
    let mut follower = Follower::new(HERE, Scope::Parts, Place::default());
    let mut closed = Vec::new();
    for (position, bytes) in &log.records {
        follower.take(*position, bytes.clone()).expect("a readable log");
        closed.push(follower.closed().0);
    }
    // A promise at 8 may commit at 8 and later; whatever is decided leaves the greatest of all.
    assert_eq!(closed, [0, 24, 7, 7, 24]);
    // Who goes on from a place knows less for a while, and never more.
    let (_, place) = log.follow(Scope::Parts, Place::default());
    let follower = Follower::new(HERE, Scope::Parts, place);
    assert_eq!((follower.closed(), follower.unseen()), (Timestamp(0), Timestamp(0)));
}
