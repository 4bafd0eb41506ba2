//! Bytes of records as they were first written: what a released version wrote, every later one reads.
//!
//! `golden/records-v1.hex` has one line for each record: its name, then its bytes. A line is never changed; a
//! new version of the format gets a file of its own.

mod common;

use std::sync::Arc;

use bytes::Bytes;
use wal_core::record::{Body, CommitSingle, Discarded, Header, Prepare, decode, encode_into};
use wal_core::{
    AbortReason, Attempt, CellOp, ColumnId, CompareOp, Condition, ConditionKind, Epoch,
    Fingerprint, FoundValue, Millis, Nonce, RowKey, RowOp, RowVersion, Sequence, ShardId, TableId,
    Timestamp, Transaction, TxnId, WriteOp,
};

const GOLDEN: &str = include_str!("golden/records-v1.hex");
const HEADER: Header =
    Header { epoch: Epoch(7), seq: Sequence(300), previous: 0x1122_3344_5566_7788 };
const ID: TxnId = TxnId(0x0198_0000_0000_7000_8000_0000_0000_0001);
const FINGERPRINT: Fingerprint = Fingerprint(0xf1f2);
const ATTEMPT: Attempt = Attempt { number: 2, nonce: Nonce(0x0198_0000_0001) };

fn key(name: &'static str) -> RowKey {
    let partition = Bytes::from_static(name.as_bytes());
    RowKey { table: TableId(3), partition, clustering: Bytes::from_static(b"c") }
}

fn conditions() -> Vec<Condition> {
    let column = ColumnId(4);
    let value = Some(Bytes::from_static(b"v"));
    [
        ConditionKind::Exists,
        ConditionKind::NotExists,
        ConditionKind::Compare { column, op: CompareOp::Ge, value },
        ConditionKind::Compare { column, op: CompareOp::Eq, value: None },
        ConditionKind::In { column, values: vec![Bytes::from_static(b"x"), Bytes::new()] },
        ConditionKind::Version(RowVersion(9)),
    ]
    .into_iter()
    .enumerate()
    .map(|(index, kind)| Condition { index: index as u32, kind })
    .collect()
}

fn part() -> Arc<Vec<RowOp>> {
    let cells = vec![
        CellOp::Put { column: ColumnId(1), value: Bytes::from_static(b"put") },
        CellOp::Delete { column: ColumnId(2) },
        CellOp::Add { column: ColumnId(200), delta: Bytes::from_static(&[1]) },
    ];
    let read_only = RowOp { key: key("a"), conditions: conditions(), write: WriteOp::None };
    let row = |name, write| RowOp { key: key(name), conditions: Vec::new(), write };
    Arc::new(vec![
        read_only,
        row("b", WriteOp::DeleteRow),
        row("d", WriteOp::Cells { insert: false, cells: Vec::new() }),
        row("e", WriteOp::Cells { insert: true, cells }),
    ])
}

fn close(reason: AbortReason) -> Body {
    let participants = vec![ShardId(1), ShardId(500)];
    Body::Close { id: ID, fingerprint: Some(FINGERPRINT), participants, reason }
}

fn prepare() -> Body {
    Body::Prepare(Box::new(Prepare {
        id: ID,
        fingerprint: FINGERPRINT,
        namespace_version: 5,
        attempt: ATTEMPT,
        start: Millis(1_760_000_000_000),
        proposal: Timestamp(1_760_000_000_000_008),
        participants: vec![ShardId(1), ShardId(2)],
        part: part(),
        adds: vec![Bytes::from_static(&[2])],
        others: vec![(ShardId(2), part())],
        depends_on: Vec::new(),
    }))
}

fn closes() -> Vec<(&'static str, Body)> {
    let version = RowVersion(3);
    let row = FoundValue::Row { exists: false, version };
    let column = |value| FoundValue::Column { column: ColumnId(8), value };
    let letter = Some(Bytes::from_static(b"f"));
    let failed = |found| AbortReason::ConditionFailed { index: 1, key: key("k"), found };
    vec![
        ("close-row", close(failed(row))),
        ("close-column", close(failed(column(letter)))),
        ("close-null", close(failed(column(None)))),
        ("close-overflow", close(AbortReason::Overflow { key: key("k"), column: ColumnId(8) })),
        ("close-future", close(AbortReason::TimestampInFuture { key: key("k") })),
        ("close-schema", close(AbortReason::Schema { what: "no table t".into() })),
        ("close-fenced", close(AbortReason::Fenced)),
        ("close-reused", close(AbortReason::IdReused)),
    ]
}

fn records() -> Vec<(&'static str, Body)> {
    let timestamp = Timestamp(1_760_000_000_000_016);
    let transaction = Transaction {
        id: ID,
        fingerprint: FINGERPRINT,
        namespace_version: 5,
        parts: vec![(ShardId(1), part())],
    };
    let single = CommitSingle {
        id: ID,
        fingerprint: FINGERPRINT,
        timestamp,
        part: common::without_conditions(&part()),
        adds: vec![Bytes::from_static(&[2])],
    };
    let mut all = vec![
        (
            "epoch",
            Body::Epoch {
                log: Nonce(1),
                owner: Nonce(2),
                address: "127.0.0.1:7070".into(),
                wall_us: -1,
            },
        ),
        ("intent", Body::Intent { transaction: Arc::new(transaction), start: Millis(77) }),
        ("prepare", prepare()),
        ("commit", Body::Commit { id: ID, attempt: ATTEMPT, timestamp }),
        ("commit-single", Body::CommitSingle(Box::new(single))),
        ("abort", Body::Abort { id: ID, attempt: ATTEMPT }),
        ("refuse", Body::Refuse { id: ID, attempt: ATTEMPT }),
        ("finished", Body::Finished { ids: vec![ID, TxnId(1)] }),
        ("floor", Body::Floor { floor: Millis(78) }),
        (
            "checkpoint",
            Body::Checkpoint { chunk: 129, last: true, payload: Bytes::from_static(b"state") },
        ),
        ("resign", Body::Resign),
        ("barrier", Body::Barrier),
    ];
    all.extend(closes());
    let discarded =
        |name, from| Discarded { key: key(name), from: Timestamp(from), until: timestamp };
    all.push(("discard", Body::Discard { rows: vec![discarded("k", 8), discarded("l", 16)] }));
    all
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Bytes {
    let digit = |place: usize| u8::from_str_radix(&text[place..place + 2], 16);
    (0..text.len()).step_by(2).map(|place| digit(place).expect("two hex digits")).collect()
}

#[test]
fn records_are_written_as_they_always_were() {
    let written: Vec<String> = records()
        .iter()
        .map(|(name, body)| {
            let mut out = Vec::new();
            encode_into(&mut out, &HEADER, body);
            format!("{name} {}", to_hex(&out))
        })
        .collect();
    let golden: Vec<&str> = GOLDEN.lines().collect();
    assert_eq!(written, golden, "the format changed; what is written now:\n{}", written.join("\n"));
}

#[test]
fn records_written_long_ago_are_read() {
    let golden: Vec<&str> = GOLDEN.lines().collect();
    let records = records();
    assert_eq!(golden.len(), records.len());
    for (line, (name, body)) in golden.into_iter().zip(records) {
        let (found, hex) = line.split_once(' ').expect("a name and bytes");
        assert_eq!(found, name);
        let (record, _) = decode(from_hex(hex)).expect("a golden record");
        assert_eq!((record.header, record.body), (HEADER, body), "{name}");
    }
}
