//! `Submit`: validation, outcomes, errors, waits.

use std::time::Duration;

use handfast_proto::v1;
use handfast_proto::v1::aborted::Reason;
use handfast_proto::v1::condition_failed::Found;
use handfast_proto::v1::outcome::State;
use tonic::{Code, Request, Status};
use wal_core::{AbortReason, ColumnId, FoundValue, Millis, RowVersion, ShardId, Timestamp};

use super::fake::{FakeBackend, Server, column, commits, deposit, expect, id, put, receipt, row};
use crate::api::{Answer, Call, CallAnswer};
use crate::service::{Refused, ServiceLimits};

async fn submit(server: &Server, transaction: v1::Transaction) -> Result<v1::Outcome, Status> {
    let request = v1::SubmitRequest { transaction: Some(transaction), ..Default::default() };
    let response = server.data().submit(request).await?.into_inner();
    Ok(response.outcome.expect("every answer has an outcome"))
}

/// What a server whose engine answers so says to a deposit.
async fn answered(answer: Answer) -> Result<v1::Outcome, Status> {
    let server =
        Server::start(FakeBackend::new(move |_| Some(CallAnswer::Submit(answer.clone())))).await;
    let mut deposit = deposit(1);
    let balance = v1::Compare {
        column: "balance".into(),
        op: v1::CompareOp::GreaterOrEqual.into(),
        value: Some(7i64.into()),
    };
    let kind = Some(v1::condition::Kind::Compare(balance));
    deposit.conditions = vec![v1::Condition { row: row("accounts", ["alice".into()]), kind }];
    submit(&server, deposit).await
}

#[tokio::test]
async fn a_commit_comes_with_its_locator_receipt_and_timestamp() {
    let server = Server::start(FakeBackend::new(commits)).await;
    let outcome = submit(&server, deposit(1)).await.expect("an outcome");
    let locator = outcome.locator.expect("always there");
    assert_eq!((locator.namespace.as_str(), &locator.id), ("bank", &deposit(1).id));
    let receipt = outcome.receipt.expect("it is durable");
    assert_eq!(Some(receipt.home_shard), locator.home_shard);
    let committed = v1::Committed { commit_timestamp_us: 1_760_000_000_000_008, applied: false };
    assert_eq!(outcome.state, Some(State::Committed(committed)));
}

#[tokio::test]
async fn an_id_may_be_text_or_left_out() {
    let server = Server::start(FakeBackend::new(commits)).await;
    let text = v1::Transaction { id: id(1).to_string().into(), ..deposit(1) };
    let outcome = submit(&server, text).await.expect("an outcome");
    assert_eq!(outcome.locator.expect("always there").id, deposit(1).id);
    let none = v1::Transaction { id: bytes::Bytes::new(), ..deposit(1) };
    let outcome = submit(&server, none).await.expect("an outcome");
    let drawn = uuid::Uuid::from_slice(&outcome.locator.expect("always there").id);
    assert_eq!(drawn.expect("a UUID").get_version_num(), 7);
}

#[tokio::test]
async fn an_abort_is_an_answer_that_says_which_condition_and_what_was_found() {
    let namespace = FakeBackend::new(commits).namespace;
    let table = namespace.table_named("accounts").expect("declared");
    let key = table.row_key(&[&"alice".into()], &[]).expect("a key");
    let balance = 3i64.to_be_bytes().to_vec();
    let found = FoundValue::Column { column: ColumnId(1), value: Some(balance.into()) };
    let reason = AbortReason::ConditionFailed { index: 0, key: key.clone(), found };
    let outcome = answered(Answer::Aborted { home: ShardId(1), reason }).await;
    let Some(State::Aborted(aborted)) = outcome.expect("an outcome").state else {
        panic!("not an abort");
    };
    let Some(Reason::ConditionFailed(failed)) = aborted.reason else {
        panic!("another reason");
    };
    assert_eq!((failed.index, failed.row), (0, row("accounts", ["alice".into()])));
    assert_eq!(failed.found, Some(Found::FoundColumn(column("balance", 3i64))));
    let found = FoundValue::Row { exists: false, version: RowVersion(5) };
    let reason = AbortReason::ConditionFailed { index: 0, key, found };
    let outcome = answered(Answer::Aborted { home: ShardId(1), reason }).await;
    let version = bytes::Bytes::from(5u128.to_be_bytes().to_vec());
    let found = Found::FoundRow(v1::FoundRow { exists: false, version });
    let Some(State::Aborted(aborted)) = outcome.expect("an outcome").state else {
        panic!("not an abort");
    };
    assert!(
        matches!(aborted.reason, Some(Reason::ConditionFailed(failed)) if failed.found == Some(found))
    );
}

#[tokio::test]
async fn logged_is_unknown_with_a_receipt() {
    let outcome = answered(Answer::Logged(receipt(id(1), ShardId(1)))).await.expect("an outcome");
    assert_eq!(outcome.state, Some(State::Unknown(v1::Unknown { logged: true })));
    assert!(outcome.receipt.is_some());
}

#[tokio::test]
async fn every_refusal_has_its_code_reason_and_details() {
    let failed = async |answer| answered(answer).await.expect_err("a refusal");
    let closed = Answer::Aborted { home: ShardId(1), reason: AbortReason::IdReused };
    for answer in [Answer::IdReused, closed] {
        expect(&failed(answer).await, Code::AlreadyExists, "ID_REUSED");
    }
    let status = failed(Answer::TooOld { floor: Millis(17) }).await;
    let details = expect(&status, Code::FailedPrecondition, "ID_TOO_OLD");
    assert_eq!(details.error_info().expect("checked").metadata["floor_ms"], "17");
    assert!(details.retry_info().is_none());
    let details =
        expect(&failed(Answer::FromFuture).await, Code::InvalidArgument, "ID_FROM_FUTURE");
    assert_eq!(details.bad_request().expect("a field").field_violations[0].field, "transaction.id");
    let status = failed(Answer::Overloaded { what: "the overlay", retry_after_ms: 30 }).await;
    let details = expect(&status, Code::ResourceExhausted, "OVERLOADED");
    let retry = details.retry_info().expect("it can be retried").retry_delay;
    assert_eq!(retry, Some(Duration::from_millis(30)));
    let status = failed(Answer::Unavailable { shard: ShardId(4) }).await;
    let details = expect(&status, Code::Unavailable, "SHARD_UNAVAILABLE");
    assert!(details.retry_info().is_some());
    let status = failed(Answer::ClocksApart { shard: ShardId(4) }).await;
    assert!(status.message().contains("500 ms apart"), "{status:?}");
    let details = expect(&status, Code::Unavailable, "CLOCKS_APART");
    assert!(details.retry_info().is_some());
}

#[tokio::test]
async fn what_is_wrong_is_refused_with_its_path_before_the_engine_hears_of_it() {
    let server = Server::start(FakeBackend::new(commits)).await;
    let with = |mutation| v1::Transaction { mutations: vec![mutation], ..deposit(1) };
    let version = |bytes: &'static [u8]| v1::Transaction {
        conditions: vec![v1::Condition {
            row: row("accounts", ["alice".into()]),
            kind: Some(v1::condition::Kind::RowVersion(bytes::Bytes::from_static(bytes))),
        }],
        ..deposit(1)
    };
    let missing = v1::Column { name: "balance".into(), value: None };
    let cases = [
        (v1::Transaction { mutations: vec![], ..deposit(1) }, "transaction"),
        (v1::Transaction { id: "short".into(), ..deposit(1) }, "transaction.id"),
        (v1::Transaction { namespace: String::new(), ..deposit(1) }, "transaction.namespace"),
        (with(put("acounts", "alice", vec![column("balance", 5i64)])), "mutations[0].row.table"),
        (
            with(put("accounts", "alice", vec![column("balence", 5i64)])),
            "mutations[0].columns.balence",
        ),
        (
            with(put("accounts", "alice", vec![column("balance", "x")])),
            "mutations[0].columns.balance",
        ),
        (with(put("accounts", 7i64, vec![column("balance", 5i64)])), "mutations[0].key.id"),
        (with(put("accounts", v1::Value::null(), vec![])), "mutations[0].key.id"),
        (with(put("accounts", "alice", vec![missing])), "mutations[0].put.columns[0].value"),
        (with(put("transfers", "alice", vec![])), "mutations[0].row.key"),
        (with(v1::Mutation { row: None, op: None }), "mutations[0].row"),
        (with(v1::Mutation { op: None, ..put("accounts", "a", vec![]) }), "mutations[0].op"),
        (version(b"short"), "conditions[0].row_version"),
    ];
    for (transaction, path) in cases {
        let status = submit(&server, transaction).await.expect_err(path);
        let details = expect(&status, Code::InvalidArgument, "INVALID_REQUEST");
        let violation = &details.bad_request().expect("a field").field_violations[0];
        assert!(violation.field.ends_with(path), "{path}: {violation:?}");
        assert!(violation.field.starts_with("transaction"), "{path}: {violation:?}");
    }
    let version_4 = v1::Transaction { id: vec![0u8; 16].into(), ..deposit(1) };
    let status = submit(&server, version_4).await.expect_err("not version 7");
    expect(&status, Code::InvalidArgument, "INVALID_REQUEST");
    let elsewhere = v1::Transaction { namespace: "bnak".into(), ..deposit(1) };
    let status = submit(&server, elsewhere).await.expect_err("no such namespace");
    let details = expect(&status, Code::NotFound, "NAMESPACE_NOT_FOUND");
    assert_eq!(details.resource_info().expect("what was not found").resource_name, "bnak");
    let unserved = v1::Transaction { namespace: "unserved".into(), ..deposit(1) };
    let status = submit(&server, unserved).await.expect_err("it cannot be served yet");
    let details = expect(&status, Code::Unavailable, "NAMESPACE_UNSERVED");
    assert!(details.retry_info().is_some() && status.message().contains("the brokers are away"));
    let nothing = server.data().submit(v1::SubmitRequest::default()).await;
    expect(&nothing.expect_err("no transaction"), Code::InvalidArgument, "INVALID_REQUEST");
    assert_eq!(server.backend.called(), 0);
}

#[tokio::test]
async fn a_wait_that_ends_first_is_answered_unknown_and_forgotten() {
    let server = Server::start(FakeBackend::new(|_| None)).await;
    let request = v1::SubmitRequest {
        transaction: Some(deposit(1)),
        level: v1::Level::Applied.into(),
        wait_ms: 20,
    };
    let response = server.data().submit(request).await.expect("an answer").into_inner();
    let outcome = response.outcome.expect("always there");
    assert_eq!(outcome.state, Some(State::Unknown(v1::Unknown { logged: false })));
    assert!(outcome.locator.expect("always there").home_shard.is_some());
    assert_eq!(server.backend.forgotten(), [0]);
}

/// An hour is never waited for.
const AN_HOUR_MS: u32 = 3_600_000;

#[tokio::test]
async fn an_engine_that_failed_leaves_nobody_waiting() {
    let server = Server::start(FakeBackend { failed: true, ..FakeBackend::new(|_| None) }).await;
    let request = v1::SubmitRequest {
        transaction: Some(deposit(1)),
        wait_ms: AN_HOUR_MS,
        ..Default::default()
    };
    let response = server.data().submit(request).await.expect("an answer").into_inner();
    let state = response.outcome.expect("always there").state;
    assert_eq!(state, Some(State::Unknown(v1::Unknown { logged: false })));
    let rows = row("accounts", ["alice".into()]).into_iter().collect();
    let namespace = "bank".into();
    let read = v1::ReadRequest { namespace, rows, wait_ms: AN_HOUR_MS, ..Default::default() };
    let status = server.data().read(read).await.expect_err("no rows");
    expect(&status, Code::Unavailable, "SHUTTING_DOWN");
}

#[tokio::test]
async fn an_answer_comes_before_grpcs_own_deadline() {
    let server = Server::start(FakeBackend::new(|_| None)).await;
    let mut request =
        Request::new(v1::SubmitRequest { transaction: Some(deposit(1)), ..Default::default() });
    request.set_timeout(Duration::from_millis(500));
    let outcome = server.data().submit(request).await.expect("an answer").into_inner().outcome;
    assert!(matches!(outcome.expect("always there").state, Some(State::Unknown(_))));
}

#[tokio::test]
async fn a_caller_that_hangs_up_is_forgotten() {
    let server = Server::start(FakeBackend::new(|_| None)).await;
    let request = v1::SubmitRequest { transaction: Some(deposit(1)), ..Default::default() };
    let mut data = server.data();
    let call = tokio::time::timeout(Duration::from_millis(100), data.submit(request));
    call.await.expect_err("nobody answers");
    while server.backend.forgotten().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn levels_are_the_namespaces_unless_they_are_named() {
    let server = Server::start(FakeBackend::new(|call| {
        let Call::Submit { txn, level } = call else { return None };
        let receipt = receipt(txn.id, txn.home());
        let timestamp = Timestamp(*level as i64);
        Some(CallAnswer::Submit(Answer::Committed { receipt, timestamp, applied: false }))
    }))
    .await;
    for (asked, expected) in [(0, 1), (1, 0), (2, 1), (3, 2)] {
        let transaction = Some(deposit(1));
        let request = v1::SubmitRequest { transaction, level: asked, wait_ms: 0 };
        let response = server.data().submit(request).await.expect("an answer").into_inner();
        let Some(State::Committed(committed)) = response.outcome.expect("always there").state
        else {
            panic!("not committed");
        };
        assert_eq!(committed.commit_timestamp_us, expected);
    }
    let request = v1::SubmitRequest { transaction: Some(deposit(1)), level: 9, wait_ms: 0 };
    let status = server.data().submit(request).await.expect_err("no such level");
    expect(&status, Code::InvalidArgument, "INVALID_REQUEST");
}

#[tokio::test]
async fn overload_is_refused_at_once_with_a_hint() {
    let refuse = Some(Refused::Overloaded { what: "the queue", retry_after_ms: 40 });
    let server = Server::start(FakeBackend { refuse, ..FakeBackend::new(commits) }).await;
    let status = submit(&server, deposit(1)).await.expect_err("refused");
    let details = expect(&status, Code::ResourceExhausted, "OVERLOADED");
    assert!(details.retry_info().is_some());

    let limits = ServiceLimits { max_calls: 1, ..ServiceLimits::default() };
    let server = Server::start_with(FakeBackend::new(|_| None), limits).await;
    let mut data = server.data();
    let request = v1::SubmitRequest { transaction: Some(deposit(1)), ..Default::default() };
    let first = tokio::spawn(async move { data.submit(request).await });
    while server.backend.called() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let status = submit(&server, deposit(2)).await.expect_err("one call is in work");
    expect(&status, Code::ResourceExhausted, "OVERLOADED");
    first.abort();
}
