//! `Read`, `GetOutcome`, `WaitFor`, `Explain`.

use handfast_proto::v1;
use handfast_proto::v1::aborted::Reason;
use handfast_proto::v1::outcome::State;
use tonic::Code;
use wal_core::{AbortReason, Cell, ColumnId, Millis, Row, ShardId, Timestamp};

use super::fake::{
    FakeBackend, Server, UNLOGGED, column, commits, expect, id, id_bytes, receipt, row,
};
use crate::api::{Call, CallAnswer, Level, OutcomeAnswer, ReadAnswer};

fn locator() -> Option<v1::Locator> {
    Some(v1::Locator { namespace: "bank".into(), id: id_bytes(id(1)), home_shard: Some(3) })
}

#[tokio::test]
async fn rows_are_read_in_the_order_asked_with_typed_columns_and_versions() {
    let stored = Row {
        cells: vec![
            Cell {
                column: ColumnId(1),
                timestamp: Timestamp(9),
                value: Some(7i64.to_be_bytes().to_vec().into()),
            },
            Cell { column: ColumnId(2), timestamp: Timestamp(8), value: None },
        ],
        ..Row::default()
    };
    let version = bytes::Bytes::from(stored.version().0.to_be_bytes().to_vec());
    let server = Server::start(FakeBackend::new(move |call| {
        let Call::Read { keys } = call else { return None };
        assert_eq!(keys.len(), 2);
        Some(CallAnswer::Read(ReadAnswer::Rows(vec![stored.clone(), Row::default()])))
    }))
    .await;
    let rows = vec![
        row("accounts", ["alice".into()]).expect("a row"),
        row("transfers", ["alice".into(), 7i64.into()]).expect("a row"),
    ];
    let request = v1::ReadRequest { namespace: "bank".into(), rows, ..Default::default() };
    let rows = server.data().read(request).await.expect("rows").into_inner().rows;
    assert_eq!(rows[0].columns, [column("balance", 7i64)]);
    assert_eq!((rows[0].exists, &rows[0].version), (true, &version));
    assert!(!rows[1].exists && rows[1].version.len() == 16);
}

#[tokio::test]
async fn a_read_that_cannot_be_answered_says_when_to_read_again() {
    let read = |key: &str| v1::ReadRequest {
        namespace: "bank".into(),
        rows: vec![row("accounts", [key.into()]).expect("a row")],
        wait_ms: 20,
        ..Default::default()
    };
    let cases = [
        (ReadAnswer::Unavailable { shard: ShardId(2) }, Code::Unavailable, "SHARD_UNAVAILABLE"),
        (ReadAnswer::Overloaded { retry_after_ms: 5 }, Code::ResourceExhausted, "OVERLOADED"),
    ];
    for (answer, code, reason) in cases {
        let script = move |_: &Call| Some(CallAnswer::Read(answer.clone()));
        let server = Server::start(FakeBackend::new(script)).await;
        let status = server.data().read(read("alice")).await.expect_err("a refusal");
        assert!(expect(&status, code, reason).retry_info().is_some());
    }
    let server = Server::start(FakeBackend::new(|_| None)).await;
    let status = server.data().read(read("alice")).await.expect_err("it waited in vain");
    assert!(expect(&status, Code::Unavailable, "READ_TIMED_OUT").retry_info().is_some());
    let status = server.data().read(read("")).await.expect_err("an empty partition key");
    let details = expect(&status, Code::InvalidArgument, "INVALID_REQUEST");
    let path = &details.bad_request().expect("a field").field_violations[0].field;
    assert_eq!(path, "rows[0].key.id");
    let none = v1::ReadRequest { namespace: "bank".into(), ..Default::default() };
    let status = server.data().read(none).await.expect_err("no rows");
    expect(&status, Code::InvalidArgument, "INVALID_REQUEST");
}

#[tokio::test]
async fn outcomes_are_said_as_they_are_known() {
    let timestamp = Timestamp(800);
    let committed =
        OutcomeAnswer::Committed { receipt: receipt(id(1), ShardId(5)), timestamp, applied: true };
    let cases = [
        (committed, State::Committed(v1::Committed { commit_timestamp_us: 800, applied: true })),
        (OutcomeAnswer::Open, State::Unknown(v1::Unknown { logged: true })),
        (OutcomeAnswer::Unknown, State::Unknown(v1::Unknown { logged: false })),
        (
            OutcomeAnswer::Aborted { reason: AbortReason::Fenced },
            State::Aborted(v1::Aborted { reason: Some(Reason::Fenced(v1::Fenced {})) }),
        ),
        (
            OutcomeAnswer::Aborted { reason: AbortReason::IdReused },
            State::Aborted(v1::Aborted { reason: Some(Reason::IdReused(v1::IdReused {})) }),
        ),
    ];
    for (answer, expected) in cases {
        let script = move |call: &Call| {
            let Call::Outcome(query) = call else { return None };
            assert!(query.fence && query.wait.is_none() && query.home == Some(ShardId(3)));
            Some(CallAnswer::Outcome(answer.clone()))
        };
        let server = Server::start(FakeBackend::new(script)).await;
        let request = v1::GetOutcomeRequest { locator: locator(), fence: true, wait_ms: 0 };
        let response = server.data().get_outcome(request).await.expect("an answer").into_inner();
        assert_eq!(response.outcome.expect("always there").state, Some(expected));
    }
}

#[tokio::test]
async fn what_may_have_been_forgotten_is_never_called_aborted() {
    let script = |_: &Call| Some(CallAnswer::Outcome(OutcomeAnswer::TooOld { floor: Millis(17) }));
    let server = Server::start(FakeBackend::new(script)).await;
    let request = v1::GetOutcomeRequest { locator: locator(), fence: false, wait_ms: 0 };
    let status = server.data().get_outcome(request).await.expect_err("a refusal");
    expect(&status, Code::FailedPrecondition, "ID_TOO_OLD");
}

#[tokio::test]
async fn waiting_ends_with_unknown() {
    let server = Server::start(FakeBackend::new(|call| {
        let Call::Outcome(query) = call else { return None };
        assert_eq!(query.wait, Some(Level::Applied));
        None
    }))
    .await;
    let level = v1::Level::Applied.into();
    let request = v1::WaitForRequest { locator: locator(), level, wait_ms: 20 };
    let response = server.data().wait_for(request).await.expect("an answer").into_inner();
    let state = response.outcome.expect("always there").state;
    assert_eq!(state, Some(State::Unknown(v1::Unknown { logged: false })));
    assert_eq!(server.backend.forgotten(), [0]);
}

#[tokio::test]
async fn a_locator_must_name_a_namespace_an_id_and_a_shard_that_exist() {
    let server = Server::start(FakeBackend::new(commits)).await;
    let valid = locator().expect("a locator");
    let cases = [
        (None, Code::InvalidArgument, "INVALID_REQUEST"),
        (
            Some(v1::Locator { home_shard: Some(16), ..valid.clone() }),
            Code::InvalidArgument,
            "INVALID_REQUEST",
        ),
        (
            Some(v1::Locator { id: bytes::Bytes::new(), ..valid.clone() }),
            Code::InvalidArgument,
            "INVALID_REQUEST",
        ),
        (
            Some(v1::Locator { namespace: "nowhere".into(), ..valid }),
            Code::NotFound,
            "NAMESPACE_NOT_FOUND",
        ),
    ];
    for (locator, code, reason) in cases {
        let request = v1::GetOutcomeRequest { locator, fence: false, wait_ms: 0 };
        let status = server.data().get_outcome(request).await.expect_err("a refusal");
        expect(&status, code, reason);
    }
}

#[tokio::test]
async fn the_life_of_a_transaction_is_told_from_its_records() {
    let server = Server::start(FakeBackend::new(commits)).await;
    let request = v1::ExplainRequest { locator: locator() };
    let told = server.data().explain(request).await.expect("events").into_inner();
    let [event] = told.events.as_slice() else { panic!("one event") };
    assert_eq!((event.shard, event.epoch, event.sequence, event.position), (3, 2, 5, 77));
    assert_eq!((event.kind(), event.timestamp_us), (v1::EventKind::CommitSingle, 800));
    assert_eq!(event.rows, [row("accounts", ["alice".into()]).expect("a row")]);
    assert!(event.accepted && !event.text.is_empty() && told.outcome.is_some());

    let unlogged =
        v1::Locator { namespace: "bank".into(), id: id_bytes(UNLOGGED), home_shard: None };
    let request = v1::ExplainRequest { locator: Some(unlogged) };
    let status = server.data().explain(request).await.expect_err("nothing is left");
    let details = expect(&status, Code::NotFound, "TRANSACTION_NOT_FOUND");
    assert!(details.resource_info().is_some());
}
