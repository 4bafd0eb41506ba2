//! Hostile requests: read or refused, with an answer that fits into what gRPC clients accept.
//!
//! `HANDFAST_FUZZ_CASES` sets how many inputs each test tries.

use std::time::{Duration, Instant};

use bytes::Bytes;
use handfast_proto::v1;
use handfast_proto::v1::value::Kind;
use proptest::prelude::*;
use proptest::sample::Index;
use prost::Message as _;
use tonic::{Code, Status};
use wal_core::TxnId;
use wal_core::namespace::Namespace;

use super::fake::{DEFINITION, FakeBackend, Server, commits, deposit, expect, put, row};
use crate::service::convert;
use crate::service::errors::ServiceError;
use crate::service::submission::parse_id;

/// No request may keep its reader busy for so long, on however slow a machine.
const LONGEST: Duration = Duration::from_secs(10);
/// What the headers of an answer may take: clients of gRPC accept 8 KiB without being asked to.
const MOST_HEADER_BYTES: usize = 8 << 10;

fn config(cases: u32) -> ProptestConfig {
    let told = std::env::var("HANDFAST_FUZZ_CASES").ok();
    let told = told.map(|it| it.parse().expect("HANDFAST_FUZZ_CASES is a number"));
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(told.unwrap_or(cases))
    }
}

fn bytes() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from),
        (any::<u8>(), prop::sample::select(vec![16_usize, 4_096, 200_000]))
            .prop_map(|(byte, count)| Bytes::from(vec![byte; count])),
    ]
}

fn name() -> impl Strategy<Value = String> {
    let known =
        ["accounts", "transfers", "id", "balance", "note", "since", "account", "seq", "amount"];
    prop_oneof![
        8 => prop::sample::select(known.to_vec()).prop_map(str::to_owned),
        1 => any::<String>(),
        1 => ("[a-zü\"\n]", 1_000..100_000_usize).prop_map(|(letter, count)| letter.repeat(count)),
    ]
}

fn value() -> impl Strategy<Value = v1::Value> {
    let decimal = (bytes(), any::<i32>())
        .prop_map(|(unscaled, scale)| Kind::Decimal(v1::Decimal { unscaled, scale }));
    let kind = prop_oneof![
        Just(Kind::Null(0)),
        name().prop_map(Kind::Text),
        bytes().prop_map(Kind::Blob),
        any::<bool>().prop_map(Kind::Boolean),
        any::<i64>().prop_map(Kind::Integer),
        bytes().prop_map(Kind::Varint),
        any::<u32>().prop_map(|bits| Kind::Float(f32::from_bits(bits))),
        any::<u64>().prop_map(|bits| Kind::Double(f64::from_bits(bits))),
        decimal,
        any::<i32>().prop_map(Kind::Date),
        any::<i64>().prop_map(Kind::Time),
        any::<i64>().prop_map(Kind::Timestamp),
        bytes().prop_map(Kind::Uuid),
        bytes().prop_map(Kind::Inet),
    ];
    proptest::option::weighted(0.95, kind).prop_map(|kind| v1::Value { kind })
}

fn row_key() -> impl Strategy<Value = v1::RowKey> {
    (name(), prop::collection::vec(value(), 0..4))
        .prop_map(|(table, key)| v1::RowKey { table, key })
}

fn columns() -> impl Strategy<Value = Vec<v1::Column>> {
    let column = (name(), proptest::option::weighted(0.95, value()));
    prop::collection::vec(column.prop_map(|(name, value)| v1::Column { name, value }), 0..4)
}

fn mutation() -> impl Strategy<Value = v1::Mutation> {
    use v1::mutation::Op;
    let op = prop_oneof![
        columns().prop_map(|columns| Op::Put(v1::Put { columns })),
        columns().prop_map(|columns| Op::Insert(v1::Insert { columns })),
        columns().prop_map(|columns| Op::Add(v1::Add { columns })),
        Just(Op::DeleteRow(v1::DeleteRow {})),
        prop::collection::vec(name(), 0..3)
            .prop_map(|columns| Op::DeleteColumns(v1::DeleteColumns { columns })),
    ];
    let some = |of: f64| proptest::bool::weighted(of);
    (row_key(), op, some(0.95), some(0.95)).prop_map(|(row, op, has_row, has_op)| v1::Mutation {
        row: has_row.then_some(row),
        op: has_op.then_some(op),
    })
}

fn condition() -> impl Strategy<Value = v1::Condition> {
    use v1::condition::Kind;
    let compare = (name(), any::<i32>(), 0..8_i32, any::<bool>(), value()).prop_map(
        |(column, odd, op, known, value)| {
            let op = if known { op } else { odd };
            Kind::Compare(v1::Compare { column, op, value: Some(value) })
        },
    );
    let kind = prop_oneof![
        Just(Kind::Exists(v1::Exists {})),
        Just(Kind::NotExists(v1::NotExists {})),
        compare,
        (name(), prop::collection::vec(value(), 0..5))
            .prop_map(|(column, values)| Kind::In(v1::In { column, values })),
        bytes().prop_map(Kind::RowVersion),
    ];
    (row_key(), proptest::option::weighted(0.95, kind))
        .prop_map(|(row, kind)| v1::Condition { row: Some(row), kind })
}

/// The bank, with delays.
fn namespace() -> Namespace {
    let later = wal_core::namespace::DELAYED_CQL;
    let delay = format!("[[table]]\ncql = \"{later}\"\n[delay]\ntable = \"later\"\n");
    Namespace::from_toml(&format!("{DEFINITION}{delay}")).expect("a definition")
}

fn transaction() -> impl Strategy<Value = v1::Transaction> {
    let delayed = (proptest::option::of(due()), proptest::option::weighted(0.9, at_once()))
        .prop_map(|(due, transaction)| v1::Delayed { due, transaction });
    let delayed = prop::collection::vec(delayed, 0..3);
    (at_once(), delayed).prop_map(|(at_once, delayed)| v1::Transaction { delayed, ..at_once })
}

fn at_once() -> impl Strategy<Value = v1::Transaction> {
    let lists = (
        prop::collection::vec(mutation(), 0..30),
        prop::collection::vec(condition(), 0..30),
        prop::collection::vec(message(), 0..4),
    );
    (bytes(), lists).prop_map(|(id, (mutations, conditions, messages))| v1::Transaction {
        namespace: "bank".to_owned(),
        id,
        mutations,
        conditions,
        messages,
        delayed: Vec::new(),
        regions: Vec::new(),
    })
}

fn due() -> impl Strategy<Value = v1::Due> {
    use v1::due::When;
    let when = prop_oneof![any::<u64>().prop_map(When::AtMs), any::<u64>().prop_map(When::AfterMs)];
    (proptest::option::of(when), proptest::option::of(any::<u64>()))
        .prop_map(|(when, jitter_ms)| v1::Due { when, jitter_ms })
}

fn message() -> impl Strategy<Value = v1::Message> {
    let header = (name(), bytes()).prop_map(|(name, value)| v1::Header { name, value });
    let headers = prop::collection::vec(header, 0..70);
    let targets = prop::collection::vec(name(), 0..3);
    (proptest::option::of(bytes()), name(), headers, bytes(), targets).prop_map(
        |(key, content_type, headers, payload, targets)| v1::Message {
            key,
            content_type,
            headers,
            payload,
            targets,
        },
    )
}

/// Reads a transaction as `Submit` does; a refusal must fit into headers.
fn convert(namespace: &Namespace, wire: v1::Transaction) -> Result<(), TestCaseError> {
    let begun = Instant::now();
    let rows = wire.mutations.iter().filter_map(|it| it.row.clone()).collect();
    let answers = [
        parse_id(&wire.id, "transaction.id").err(),
        convert::keys_to_read(namespace, rows).err(),
        convert::transaction(namespace, TxnId(7), wire).err(),
    ];
    prop_assert!(begun.elapsed() < LONGEST, "it took {:?}", begun.elapsed());
    for error in answers.into_iter().flatten() {
        fits_into_headers(&error)?;
    }
    Ok(())
}

fn fits_into_headers(error: &ServiceError) -> Result<(), TestCaseError> {
    let status = Status::from(error.clone());
    // The message is percent-encoded, the details are written in base64.
    let encoded = |byte: u8| if (b' '..b'~').contains(&byte) && byte != b'%' { 1 } else { 3 };
    let message: usize = status.message().bytes().map(encoded).sum();
    let bytes = message + status.details().len() * 4 / 3;
    prop_assert!(bytes < MOST_HEADER_BYTES, "{bytes} bytes of headers: {:.300}", status.message());
    Ok(())
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn requests_of_any_content(wire in transaction()) {
        let namespace = namespace();
        convert(&namespace, wire)?;
    }

    #[test]
    fn mangled_requests(
        wire in transaction(),
        spoilt in prop::collection::vec((any::<Index>(), any::<u8>()), 1..8),
        cut in proptest::option::weighted(0.2, any::<Index>()),
    ) {
        let mut bytes = wire.encode_to_vec();
        for (at, byte) in spoilt {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(cut.map_or(bytes.len(), |cut| cut.index(bytes.len())));
        if let Ok(wire) = v1::Transaction::decode(&bytes[..]) {
            let namespace = namespace();
            convert(&namespace, wire)?;
        }
    }
}

/// Names of megabytes, and as many of them as there is room for: the refusal still arrives.
#[tokio::test]
async fn a_refusal_of_long_names_arrives() {
    let server = Server::start(FakeBackend::new(commits)).await;
    let long = "x".repeat(200_000);
    let mutations = (0..40).map(|_| put(&long, "a", Vec::new())).collect();
    let request = v1::SubmitRequest {
        transaction: Some(v1::Transaction { mutations, ..deposit(1) }),
        ..Default::default()
    };
    let status = server.data().submit(request).await.expect_err("there is no such table");
    expect(&status, Code::InvalidArgument, "INVALID_REQUEST");

    let request = v1::ReadRequest { namespace: long.clone(), ..Default::default() };
    let status = server.data().read(request).await.expect_err("there is no such namespace");
    expect(&status, Code::NotFound, "NAMESPACE_NOT_FOUND");

    let rows = vec![row(&long, ["a".into()]).expect("a row")];
    let request = v1::ReadRequest { namespace: "bank".to_owned(), rows, ..Default::default() };
    let status = server.data().read(request).await.expect_err("there is no such table");
    expect(&status, Code::InvalidArgument, "INVALID_REQUEST");
}
