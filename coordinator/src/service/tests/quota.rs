//! What a namespace may take: its quota, and its part of what all share.

use std::sync::Arc;
use std::time::Duration;

use handfast_proto::v1;
use handfast_proto::v1::streamed_answer::Result as Streamed;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};
use wal_core::namespace::Namespace;

use super::fake::{DEFINITION, FakeBackend, Server, commits, deposit, expect, id, id_bytes, row};
use crate::api::{Call, CallAnswer};
use crate::service::ServiceLimits;

/// The bank with a quota.
fn bank(quota: &str) -> Arc<Namespace> {
    let definition = DEFINITION.replace("shards = 16", &format!("shards = 16\n[quota]\n{quota}"));
    Arc::new(Namespace::from_toml(&definition).expect("a definition"))
}

async fn served(
    quota: &str,
    script: impl Fn(&Call) -> Option<CallAnswer> + Send + Sync + 'static,
) -> Server {
    Server::start(FakeBackend { namespace: bank(quota), ..FakeBackend::new(script) }).await
}

async fn submit(server: &Server, transaction: v1::Transaction) -> Result<(), Status> {
    let request = v1::SubmitRequest { transaction: Some(transaction), level: 0, wait_ms: 0 };
    server.data().submit(request).await.map(|_| ())
}

/// The quota that a refusal names, and when to try again.
fn full(status: &Status) -> (String, Duration) {
    let details = expect(status, Code::ResourceExhausted, "OVERLOADED");
    let name = details.error_info().expect("one").metadata["full"].clone();
    let retry = details.retry_info().and_then(|info| info.retry_delay);
    (name, retry.expect("it says when"))
}

#[tokio::test]
async fn beyond_the_rate_calls_are_refused_with_the_time_until_there_is_room() {
    let server = served("transactions_per_second = 1\nburst_ms = 2000", commits).await;
    submit(&server, deposit(1)).await.expect("the first of two");
    let rows = vec![row("accounts", ["alice".into()]).expect("a row")];
    let read = v1::ReadRequest { namespace: "bank".to_owned(), rows, ..Default::default() };
    server.data().read(read.clone()).await.expect("the second");
    let status = submit(&server, deposit(2)).await.expect_err("no third");
    let (name, retry) = full(&status);
    assert_eq!(name, "quota.transactions_per_second");
    assert!(retry > Duration::from_millis(100) && retry <= Duration::from_secs(1), "{retry:?}");
    assert!(status.message().contains("nothing was logged"), "{status:?}");
    let (name, _) = full(&server.data().read(read).await.expect_err("reads count too"));
    assert_eq!(name, "quota.transactions_per_second");
    assert_eq!(server.backend.called(), 2, "what was refused has not reached the engine");
    // Clients that do as they are told are served.
    tokio::time::sleep(retry).await;
    submit(&server, deposit(2)).await.expect("there is room");
}

#[tokio::test]
async fn bytes_count_whether_or_not_they_make_sense_and_questions_use_nothing() {
    let server = served("bytes_per_second = 1024\ntransactions_per_second = 3", commits).await;
    let mut large = deposit(1);
    large.mutations = (0..200).map(|_| large.mutations[0].clone()).collect();
    // It is wrong, a column is written twice: but its bytes came, and count.
    let status = submit(&server, large.clone()).await.expect_err("it is wrong");
    expect(&status, Code::InvalidArgument, "INVALID_REQUEST");
    for _ in 0..10 {
        let (name, retry) = full(&submit(&server, large.clone()).await.expect_err("no room"));
        assert_eq!(name, "quota.bytes_per_second");
        assert!(retry > Duration::from_secs(1), "{retry:?}");
    }
    let asked = v1::GetOutcomeRequest {
        locator: Some(v1::Locator {
            namespace: "bank".to_owned(),
            id: id_bytes(id(7)),
            home_shard: None,
        }),
        ..v1::GetOutcomeRequest::default()
    };
    server.data().get_outcome(asked).await.expect("a question uses nothing");
}

#[tokio::test]
async fn beyond_what_may_be_in_flight_calls_are_refused_until_one_is_answered() {
    let server = served("in_flight = 2", |_| None).await;
    let held: Vec<_> = (1..=2)
        .map(|number| {
            let mut data = server.data();
            let transaction = Some(deposit(number));
            let request = v1::SubmitRequest { transaction, level: 0, wait_ms: 60_000 };
            tokio::spawn(async move { data.submit(request).await })
        })
        .collect();
    while server.backend.called() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (name, retry) = full(&submit(&server, deposit(3)).await.expect_err("two are in flight"));
    assert_eq!((name.as_str(), retry), ("quota.in_flight", Duration::from_millis(20)));
    held.iter().for_each(tokio::task::JoinHandle::abort);
    // Their clients are gone, so nobody waits for them any more.
    let request = v1::SubmitRequest { transaction: Some(deposit(4)), level: 0, wait_ms: 10 };
    let retried = async {
        while server.data().submit(request.clone()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), retried).await.expect("there is room again");
}

type Answers = Streaming<v1::SubmitStreamResponse>;

/// A stream that has sent these.
async fn stream(
    server: &Server,
    submissions: Vec<v1::StreamedSubmission>,
) -> (mpsc::Sender<v1::SubmitStreamRequest>, Result<Answers, Status>) {
    let (out, requests) = mpsc::channel(1);
    out.send(v1::SubmitStreamRequest { submissions }).await.expect("there is room for one");
    let answers = server.data().submit_stream(ReceiverStream::new(requests)).await;
    (out, answers.map(tonic::Response::into_inner))
}

fn submission(namespace: &str, tag: u64) -> v1::StreamedSubmission {
    let transaction =
        v1::Transaction { namespace: namespace.to_owned(), ..deposit(u128::from(tag)) };
    v1::StreamedSubmission { tag, transaction: Some(transaction), level: 0, wait_ms: 0 }
}

#[tokio::test]
async fn on_a_stream_each_submission_beyond_the_quota_is_refused_by_itself() {
    let server = served("transactions_per_second = 5", commits).await;
    let (out, answers) =
        stream(&server, (1..=20).map(|tag| submission("bank", tag)).collect()).await;
    drop(out);
    let (mut answers, mut committed, mut refused) = (answers.expect("a stream"), 0, 0);
    while let Some(message) = answers.message().await.expect("the stream goes on") {
        for answer in message.answers {
            match answer.result.expect("a result") {
                Streamed::Outcome(_) => committed += 1,
                Streamed::Error(error) => {
                    assert_eq!(error.code, Code::ResourceExhausted as i32);
                    assert!(error.message.contains("quota.transactions_per_second"), "{error:?}");
                    refused += 1;
                }
            }
        }
    }
    assert_eq!(committed + refused, 20);
    assert_eq!(committed, server.backend.called());
    // More only if the test itself took as long as that.
    assert!((5..15).contains(&committed), "{committed}");
}

/// The bank, whose ids from 1,000 on are never answered, and another namespace beside it.
async fn two(limits: ServiceLimits) -> Server {
    let script = |call: &Call| match call {
        Call::Submit { txn, .. } if txn.id >= id(1_000) => None,
        other => commits(other),
    };
    let quiet = DEFINITION.replace("name = \"bank\"", "name = \"quiet\"");
    let quiet = Arc::new(Namespace::from_toml(&quiet).expect("a definition"));
    let backend = FakeBackend { other: Some(quiet), ..FakeBackend::new(script) };
    Server::start_with(backend, limits).await
}

#[tokio::test]
async fn one_namespace_cannot_have_all_calls() {
    let server = two(ServiceLimits { max_calls: 8, ..ServiceLimits::default() }).await;
    let (told, mut refused) = mpsc::channel(32);
    for number in 0..20 {
        let (mut data, told) = (server.data(), told.clone());
        let transaction = Some(deposit(1_000 + number));
        tokio::spawn(async move {
            let request = v1::SubmitRequest { transaction, level: 0, wait_ms: 60_000 };
            if let Err(status) = data.submit(request).await {
                let _ = told.send(status).await; // the test may be over
            }
        });
    }
    for _ in 0..16 {
        let status = refused.recv().await.expect("all but four are refused");
        let (name, _) = full(&status);
        assert_eq!(name, "the namespace's part of the number of calls in work");
    }
    assert_eq!(server.backend.called(), 4, "half of eight");
    for number in 0..50 {
        let quiet = v1::Transaction { namespace: "quiet".to_owned(), ..deposit(number) };
        submit(&server, quiet).await.expect("there is always room for one that has little");
    }
}

#[tokio::test]
async fn one_namespace_cannot_have_all_streams() {
    let server = two(ServiceLimits { max_streams: 4, ..ServiceLimits::default() }).await;
    let mut open = Vec::new();
    for tag in 1..=2 {
        let (out, answers) = stream(&server, vec![submission("bank", tag)]).await;
        let mut answers = answers.expect("a stream");
        answers.message().await.expect("an answer").expect("an answer");
        open.push((out, answers));
    }
    let (_out, third) = stream(&server, vec![submission("bank", 3)]).await;
    let ended = match third {
        Ok(mut answers) => answers.message().await.expect_err("it is one too many"),
        Err(status) => status,
    };
    assert_eq!(full(&ended).0, "the namespace's part of the number of open streams");
    let (_out, quiet) = stream(&server, vec![submission("quiet", 4)]).await;
    let message = quiet.expect("a stream").message().await.expect("an answer");
    assert_eq!(message.expect("an answer").answers.len(), 1);
    // One that ends makes room.
    open.pop();
    let again = async {
        loop {
            let (_out, answers) = stream(&server, vec![submission("bank", 5)]).await;
            if let Ok(mut answers) = answers
                && let Ok(Some(_)) = answers.message().await
            {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), again).await.expect("there is room again");
}
