//! Shared by the tests of this folder: records of every kind, drawn by proptest or fixed.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of this module")]

use std::sync::Arc;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use wal_core::record::{Body, CommitSingle, Discarded, Header, Prepare};
use wal_core::txn::Part;
use wal_core::{
    AbortReason, Attempt, Cell, CellOp, ColumnId, CompareOp, Condition, ConditionKind, Epoch,
    Fingerprint, FoundValue, Millis, Nonce, Row, RowKey, RowOp, RowVersion, Sequence, ShardId,
    TableId, Timestamp, Transaction, TxnId, WriteOp,
};

pub fn blob() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

pub fn id() -> impl Strategy<Value = TxnId> {
    any::<u128>().prop_map(TxnId)
}

pub fn attempt() -> impl Strategy<Value = Attempt> {
    (any::<u32>(), any::<u128>())
        .prop_map(|(number, nonce)| Attempt { number, nonce: Nonce(nonce) })
}

pub fn shards() -> impl Strategy<Value = Vec<ShardId>> {
    vec(any::<u16>().prop_map(ShardId), 0..4)
}

pub fn key() -> impl Strategy<Value = RowKey> {
    (any::<u32>(), blob(), blob()).prop_map(|(table, partition, clustering)| RowKey {
        table: TableId(table),
        partition,
        clustering,
    })
}

pub fn row() -> impl Strategy<Value = Row> {
    let time = || option::of(any::<i64>().prop_map(Timestamp));
    let cell = (any::<u16>(), any::<i64>(), option::of(blob())).prop_map(|(column, at, value)| {
        Cell { column: ColumnId(column), timestamp: Timestamp(at), value }
    });
    (time(), time(), vec(cell, 0..4)).prop_map(|(deleted_at, marker_at, cells)| Row {
        deleted_at,
        marker_at,
        cells,
        ..Row::default()
    })
}

fn compare_op() -> impl Strategy<Value = CompareOp> {
    prop_oneof![
        Just(CompareOp::Eq),
        Just(CompareOp::Ne),
        Just(CompareOp::Lt),
        Just(CompareOp::Le),
        Just(CompareOp::Gt),
        Just(CompareOp::Ge),
    ]
}

fn condition() -> impl Strategy<Value = Condition> {
    let column = || any::<u16>().prop_map(ColumnId);
    let kind = prop_oneof![
        Just(ConditionKind::Exists),
        Just(ConditionKind::NotExists),
        (column(), compare_op(), option::of(blob()))
            .prop_map(|(column, op, value)| ConditionKind::Compare { column, op, value }),
        (column(), vec(blob(), 0..3))
            .prop_map(|(column, values)| ConditionKind::In { column, values }),
        any::<u128>().prop_map(|version| ConditionKind::Version(RowVersion(version))),
    ];
    (any::<u32>(), kind).prop_map(|(index, kind)| Condition { index, kind })
}

fn write() -> impl Strategy<Value = WriteOp> {
    let column = || any::<u16>().prop_map(ColumnId);
    let cell = prop_oneof![
        (column(), blob()).prop_map(|(column, value)| CellOp::Put { column, value }),
        column().prop_map(|column| CellOp::Delete { column }),
        (column(), blob()).prop_map(|(column, delta)| CellOp::Add { column, delta }),
    ];
    prop_oneof![
        Just(WriteOp::None),
        Just(WriteOp::DeleteRow),
        (any::<bool>(), vec(cell, 0..4))
            .prop_map(|(insert, cells)| WriteOp::Cells { insert, cells }),
    ]
}

pub fn part() -> impl Strategy<Value = Arc<Part>> {
    let row = (key(), vec(condition(), 0..3), write()).prop_map(|(key, conditions, write)| RowOp {
        key,
        conditions,
        write,
    });
    vec(row, 0..4).prop_map(Arc::new)
}

pub fn without_conditions(part: &Part) -> Arc<Part> {
    let rows = part.iter().cloned().map(|row| RowOp { conditions: Vec::new(), ..row });
    Arc::new(rows.collect())
}

pub fn reason() -> impl Strategy<Value = AbortReason> {
    let found = prop_oneof![
        (any::<bool>(), any::<u128>())
            .prop_map(|(exists, version)| FoundValue::Row { exists, version: RowVersion(version) }),
        (any::<u16>(), option::of(blob()))
            .prop_map(|(column, value)| FoundValue::Column { column: ColumnId(column), value }),
    ];
    prop_oneof![
        (any::<u32>(), key(), found).prop_map(|(index, key, found)| AbortReason::ConditionFailed {
            index,
            key,
            found
        }),
        (key(), any::<u16>())
            .prop_map(|(key, column)| AbortReason::Overflow { key, column: ColumnId(column) }),
        key().prop_map(|key| AbortReason::TimestampInFuture { key }),
        any::<String>().prop_map(|what| AbortReason::Schema { what }),
        Just(AbortReason::Fenced),
        Just(AbortReason::IdReused),
    ]
}

fn parts() -> impl Strategy<Value = Vec<(ShardId, Arc<Part>)>> {
    vec((any::<u16>().prop_map(ShardId), part()), 0..3)
}

fn prepare() -> impl Strategy<Value = Body> {
    let names = (id(), any::<u128>(), any::<u32>(), attempt(), any::<u64>(), any::<i64>());
    let content = (shards(), part(), vec(blob(), 0..3), parts(), vec(id(), 0..2));
    (names, content).prop_map(|(names, content)| {
        let (id, fingerprint, namespace_version, attempt, start, proposal) = names;
        let (participants, part, adds, others, depends_on) = content;
        Body::Prepare(Box::new(Prepare {
            id,
            fingerprint: Fingerprint(fingerprint),
            namespace_version,
            attempt,
            start: Millis(start),
            proposal: Timestamp(proposal),
            participants,
            part,
            adds,
            others,
            depends_on,
        }))
    })
}

fn transaction() -> impl Strategy<Value = Arc<Transaction>> {
    (id(), any::<u128>(), any::<u32>(), parts()).prop_map(
        |(id, fingerprint, namespace_version, parts)| {
            let fingerprint = Fingerprint(fingerprint);
            Arc::new(Transaction { id, fingerprint, namespace_version, parts })
        },
    )
}

fn commit_single() -> impl Strategy<Value = Body> {
    (id(), any::<u128>(), any::<i64>(), part(), vec(blob(), 0..3)).prop_map(
        |(id, fingerprint, timestamp, part, adds)| {
            Body::CommitSingle(Box::new(CommitSingle {
                id,
                fingerprint: Fingerprint(fingerprint),
                timestamp: Timestamp(timestamp),
                part,
                adds,
            }))
        },
    )
}

/// A body of any kind.
pub fn body() -> impl Strategy<Value = Body> {
    let epoch = (any::<u128>(), any::<u128>(), any::<String>(), any::<i64>());
    let commit = (id(), attempt(), any::<i64>());
    prop_oneof![
        epoch.prop_map(|(log, owner, address, wall_us)| {
            Body::Epoch { log: Nonce(log), owner: Nonce(owner), address, wall_us }
        }),
        (transaction(), any::<u64>())
            .prop_map(|(transaction, start)| Body::Intent { transaction, start: Millis(start) }),
        prepare(),
        commit.prop_map(|(id, attempt, at)| Body::Commit { id, attempt, timestamp: Timestamp(at) }),
        commit_single(),
        (id(), attempt()).prop_map(|(id, attempt)| Body::Abort { id, attempt }),
        (id(), attempt()).prop_map(|(id, attempt)| Body::Refuse { id, attempt }),
        (id(), option::of(any::<u128>()), shards(), reason()).prop_map(
            |(id, fingerprint, participants, reason)| {
                let fingerprint = fingerprint.map(Fingerprint);
                Body::Close { id, fingerprint, participants, reason }
            }
        ),
        vec(id(), 0..5).prop_map(|ids| Body::Finished { ids }),
        any::<u64>().prop_map(|floor| Body::Floor { floor: Millis(floor) }),
        (any::<u32>(), any::<bool>(), blob()).prop_map(|(chunk, last, payload)| Body::Checkpoint {
            chunk,
            last,
            payload
        }),
        Just(Body::Resign),
        Just(Body::Barrier),
        vec((key(), any::<i64>(), any::<i64>()), 0..4).prop_map(|rows| Body::Discard {
            rows: rows
                .into_iter()
                .map(|(key, from, until)| Discarded {
                    key,
                    from: Timestamp(from),
                    until: Timestamp(until)
                })
                .collect(),
        }),
    ]
}

pub fn header() -> impl Strategy<Value = Header> {
    (any::<u64>(), any::<u64>(), any::<u64>()).prop_map(|(epoch, seq, previous)| Header {
        epoch: Epoch(epoch),
        seq: Sequence(seq),
        previous,
    })
}
