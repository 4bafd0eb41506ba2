use std::fmt::Debug;

use bytes::Bytes;
use proptest::prelude::*;
use wal_core::{
    AbortReason, Attempt, ColumnId, Epoch, Fingerprint, Millis, Nonce, Row, RowKey, RowOp, TableId,
    Timestamp, Transaction, TxnId, WriteOp,
};

use super::*;

const ID: TxnId = TxnId(0x0190_0000_0000_7000_8000_0000_0000_0007);
const ATTEMPT: Attempt = Attempt { number: 2, nonce: Nonce(99) };

fn key() -> RowKey {
    RowKey { table: TableId(1), partition: Bytes::from_static(b"alice"), clustering: Bytes::new() }
}

fn txn() -> Arc<Transaction> {
    let op = RowOp { key: key(), conditions: Vec::new(), write: WriteOp::DeleteRow };
    Arc::new(Transaction {
        id: ID,
        fingerprint: Fingerprint(5),
        namespace_version: 3,
        parts: vec![(ShardId(1), Arc::new(vec![op]))],
    })
}

fn shards() -> Arc<[ShardId]> {
    [ShardId(1), ShardId(9)].into()
}

fn reason() -> AbortReason {
    AbortReason::Overflow { key: key(), column: ColumnId(4) }
}

fn outcomes() -> [Outcome; 2] {
    let (timestamp, epoch, seq) = (Timestamp(80), Epoch(3), Sequence(12));
    [Outcome::Committed { timestamp, epoch, seq }, Outcome::Closed(reason())]
}

fn requests() -> Vec<ShardRequest> {
    let (id, attempt) = (ID, ATTEMPT);
    let prepare = |whole| {
        ShardRequest::Prepare(Box::new(PrepareRequest {
            id,
            fingerprint: Fingerprint(5),
            namespace_version: 3,
            attempt,
            expected_epoch: Epoch(8),
            start: Millis(1_000),
            clock_us: -1,
            participants: shards(),
            part: txn().parts[0].1.clone(),
            whole,
        }))
    };
    let closed = |fingerprint| ShardRequest::Closed {
        id,
        fingerprint,
        participants: shards(),
        reason: AbortReason::Fenced,
    };
    let timestamp = Timestamp(8);
    let keys: Arc<[RowKey]> = [key(), key()].into();
    vec![
        ShardRequest::Single { txn: txn(), applied: true, clock_us: 7 },
        prepare(None),
        prepare(Some(txn())),
        ShardRequest::Commit { id, attempt, timestamp, home: ShardId(1), applied: false },
        ShardRequest::Abort { id, attempt },
        ShardRequest::Open { txn: txn(), start: Millis(4) },
        ShardRequest::Resolve { id, attempt },
        closed(None),
        closed(Some(Fingerprint(6))),
        ShardRequest::Acknowledge { id, shard: ShardId(2) },
        ShardRequest::Finished { id, until: Millis(77) },
        ShardRequest::Condemn { id, attempt, reason: reason() },
        ShardRequest::Ask { id, wait: true },
        ShardRequest::Fence { id },
        ShardRequest::AwaitApplied { id },
        ShardRequest::Read { keys: keys.clone(), only: false },
        ShardRequest::Confirm {
            keys: keys.clone(),
            epoch: Epoch(2),
            mark: Sequence(300),
            tries: 1,
        },
        ShardRequest::Hold { keys, tries: 3 },
        ShardRequest::Release { tries: 4 },
    ]
}

fn replies() -> Vec<ShardReply> {
    let (id, attempt) = (ID, ATTEMPT);
    let mut votes = vec![
        Vote::Yes { proposal: Timestamp(16) },
        Vote::Condemned(reason()),
        Vote::IdReused,
        Vote::TooOld { floor: Millis(3) },
        Vote::FromFuture,
    ];
    votes.extend(outcomes().map(Vote::Decided));
    let noes = [
        NoReason::WrongEpoch { current: Epoch(4) },
        NoReason::Busy,
        NoReason::Refused,
        NoReason::Overloaded,
        NoReason::Drift,
        NoReason::NewerVersion,
    ];
    votes.extend(noes.map(Vote::No));
    let mut known = vec![
        Known::Open { participants: shards() },
        Known::Prepared { participants: shards() },
        Known::Nothing,
        Known::TooOld { floor: Millis(9) },
    ];
    known.extend(outcomes().map(|outcome| Known::Outcome { outcome, participants: shards() }));
    let mut resolutions =
        vec![Resolution::Prepared { proposal: Timestamp(24) }, Resolution::Refused];
    resolutions.extend(outcomes().map(|outcome| Resolution::Decided { outcome, attempt }));
    let rows = vec![Row::default(), Row::default()];
    let mut replies = vec![
        ShardReply::Opened { id, epoch: Epoch(1) },
        ShardReply::Applied { id },
        ShardReply::Rows { epoch: Epoch(1), mark: Sequence(5), rows: rows.clone() },
        ShardReply::Confirmed { tries: 2, unchanged: true },
        ShardReply::Held { tries: 3, held_us: 100_000, rows },
        ShardReply::NotLeading { epoch: Epoch(6) },
        ShardReply::Overloaded,
    ];
    replies.extend(votes.iter().map(|vote| ShardReply::Single { id, vote: vote.clone() }));
    replies.extend(votes.into_iter().map(|vote| ShardReply::Voted { id, attempt, vote }));
    replies.extend(known.into_iter().map(|known| ShardReply::Known { id, known }));
    let resolved = |resolution| ShardReply::Resolved { id, attempt, resolution };
    replies.extend(resolutions.into_iter().map(resolved));
    replies
}

fn encode(message: &impl Piece) -> Vec<u8> {
    let mut out = Vec::new();
    Writer::new(&mut out).piece(message);
    out
}

fn decode<T: Piece>(bytes: &[u8]) -> Result<T, DecodeError> {
    let mut input = Reader::new(Bytes::copy_from_slice(bytes));
    let message = input.piece()?;
    input.finish()?;
    Ok(message)
}

fn comes_back<T: Piece + Debug>(message: &T) {
    let bytes = encode(message);
    let back: T = decode(&bytes).unwrap_or_else(|error| panic!("{message:?}: {error}"));
    assert_eq!(format!("{back:?}"), format!("{message:?}"));
    for cut in 0..bytes.len() {
        assert!(decode::<T>(&bytes[..cut]).is_err(), "{message:?} was read from {cut} bytes");
    }
}

#[test]
fn every_message_comes_back_whole_or_not_at_all() {
    requests().iter().for_each(comes_back);
    replies().iter().for_each(comes_back);
}

/// A new variant must be added to the samples above: each number is used by one of them.
#[test]
fn the_samples_use_every_number_once() {
    let numbers = |bytes: Vec<Vec<u8>>| {
        let mut first: Vec<_> = bytes.into_iter().map(|bytes| bytes[0]).collect();
        first.sort_unstable();
        first.dedup();
        first
    };
    assert_eq!(numbers(requests().iter().map(encode).collect()), (1..=17).collect::<Vec<_>>());
    assert_eq!(numbers(replies().iter().map(encode).collect()), (1..=11).collect::<Vec<_>>());
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode::<ShardRequest>(&bytes);
        let _ = decode::<ShardReply>(&bytes);
    }

    #[test]
    fn no_changed_byte_makes_it_panic(pick in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let all: Vec<_> = requests().iter().map(encode).chain(replies().iter().map(encode)).collect();
        let mut bytes = pick.get(&all).clone();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(message) = decode::<ShardRequest>(&bytes) {
            prop_assert_eq!(encode(&message), bytes.clone());
        }
        if let Ok(message) = decode::<ShardReply>(&bytes) {
            prop_assert_eq!(encode(&message), bytes);
        }
    }
}
