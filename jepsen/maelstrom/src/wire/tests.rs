use std::sync::Arc;

use participant::message::{Known, NoReason, PrepareRequest, Resolution, Vote};
use wal_core::{
    AbortReason, Attempt, Cell, CellOp, ColumnId, Epoch, Fingerprint, Millis, Nonce, Row, RowKey,
    RowOp, Sequence, TableId, Timestamp, Transaction, TxnId, WriteOp,
};

use super::*;

const ID: TxnId = TxnId(7 << 90 | 3);
const ATTEMPT: Attempt = Attempt { number: 2, nonce: Nonce(5 << 80 | 9) };

fn key() -> RowKey {
    RowKey { table: TableId(0), partition: Bytes::from_static(b"k"), clustering: Bytes::new() }
}

fn txn() -> Arc<Transaction> {
    let put = CellOp::Put { column: ColumnId(1), value: Bytes::from_static(b"v") };
    let write = WriteOp::Cells { insert: false, cells: vec![put] };
    let part = Arc::new(vec![RowOp { key: key(), conditions: vec![], write }]);
    let parts = vec![(ShardId(1), part.clone()), (ShardId(3), part)];
    Arc::new(Transaction { id: ID, fingerprint: Fingerprint(8), namespace_version: 1, parts })
}

fn requests() -> Vec<ShardRequest> {
    let txn = txn();
    let participants: Arc<[ShardId]> = txn.participants().collect();
    let (id, attempt, reason) = (ID, ATTEMPT, AbortReason::Fenced);
    let prepare = PrepareRequest {
        id,
        fingerprint: txn.fingerprint,
        namespace_version: 1,
        attempt,
        expected_epoch: Epoch(4),
        start: Millis(9),
        clock_us: -3,
        participants: participants.clone(),
        part: txn.parts[0].1.clone(),
        whole: Some(txn.clone()),
    };
    let keys: Arc<[RowKey]> = Arc::from([key()]);
    vec![
        ShardRequest::Single { txn: txn.clone(), applied: true, clock_us: i64::MIN },
        ShardRequest::Prepare(Box::new(PrepareRequest { whole: None, ..prepare.clone() })),
        ShardRequest::Prepare(Box::new(prepare)),
        ShardRequest::Commit {
            id,
            attempt,
            timestamp: Timestamp(8),
            home: ShardId(3),
            applied: false,
        },
        ShardRequest::Abort { id, attempt },
        ShardRequest::Open { txn, start: Millis(1) },
        ShardRequest::Resolve { id, attempt },
        ShardRequest::Closed { id, fingerprint: None, participants, reason: reason.clone() },
        ShardRequest::Acknowledge { id, shard: ShardId(1) },
        ShardRequest::Finished { id, until: Millis(3) },
        ShardRequest::Condemn { id, attempt, reason },
        ShardRequest::Ask { id, wait: true },
        ShardRequest::Fence { id },
        ShardRequest::AwaitApplied { id },
        ShardRequest::Read { keys: keys.clone(), only: true },
        ShardRequest::Confirm { keys, epoch: Epoch(1), mark: Sequence(2), tries: 3 },
    ]
}

fn replies() -> Vec<ShardReply> {
    let (id, attempt, floor) = (ID, ATTEMPT, Millis(77));
    let participants: Arc<[ShardId]> = Arc::from([ShardId(1), ShardId(3)]);
    let committed =
        Outcome::Committed { timestamp: Timestamp(16), epoch: Epoch(2), seq: Sequence(5) };
    let closed = Outcome::Closed(AbortReason::TimestampInFuture { key: key() });
    let cell = Cell { column: ColumnId(1), timestamp: Timestamp(1), value: None };
    let votes = [
        Vote::Yes { proposal: Timestamp(8) },
        Vote::No(NoReason::WrongEpoch { current: Epoch(3) }),
        Vote::No(NoReason::Busy),
        Vote::No(NoReason::Refused),
        Vote::No(NoReason::Overloaded),
        Vote::No(NoReason::Drift),
        Vote::Condemned(AbortReason::IdReused),
        Vote::Decided(closed.clone()),
        Vote::IdReused,
        Vote::TooOld { floor },
        Vote::FromFuture,
    ];
    let resolutions = [
        Resolution::Prepared { proposal: Timestamp(8) },
        Resolution::Refused,
        Resolution::Decided { outcome: committed.clone(), attempt },
    ];
    let knowns = [
        Known::Outcome { outcome: committed, participants: participants.clone() },
        Known::Open { participants: participants.clone() },
        Known::Prepared { participants },
        Known::Nothing,
        Known::TooOld { floor },
    ];
    let mut replies = vec![
        ShardReply::Single { id, vote: Vote::Decided(closed) },
        ShardReply::Opened { id, epoch: Epoch(1) },
        ShardReply::Applied { id },
        ShardReply::Rows {
            epoch: Epoch(1),
            mark: Sequence(2),
            rows: vec![Row { cells: vec![cell], ..Row::default() }],
        },
        ShardReply::Confirmed { tries: 4, unchanged: true },
        ShardReply::NotLeading { epoch: Epoch(6) },
        ShardReply::Overloaded,
    ];
    replies.extend(votes.map(|vote| ShardReply::Voted { id, attempt, vote }));
    replies.extend(resolutions.map(|resolution| ShardReply::Resolved { id, attempt, resolution }));
    replies.extend(knowns.map(|known| ShardReply::Known { id, known }));
    replies
}

fn items() -> Vec<Item> {
    let (origin, shard) = (Origin { node: u64::MAX, token: 12 }, ShardId(3));
    let requests = requests().into_iter().map(|request| Item::Request { origin, shard, request });
    requests
        .chain(replies().into_iter().map(|reply| Item::Reply { origin, shard, reply }))
        .collect()
}

#[test]
fn every_message_is_read_as_it_was_written() {
    for item in items() {
        let read = decode(&encode(&item)).expect("what was just written");
        assert_eq!(format!("{read:?}"), format!("{item:?}"));
    }
}

#[test]
fn what_is_cut_off_or_longer_is_refused() {
    for item in items() {
        let text = encode(&item);
        let bytes = STANDARD_NO_PAD.decode(&text).expect("base64");
        for length in 0..bytes.len() {
            assert!(decode(&STANDARD_NO_PAD.encode(&bytes[..length])).is_err(), "{item:?}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(decode(&STANDARD_NO_PAD.encode(longer)).is_err(), "{item:?}");
    }
    assert!(decode("no base64!").is_err());
    assert!(decode("AgEAAA").is_err(), "another version");
}
