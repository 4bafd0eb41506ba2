//! `SubmitStream`: batches, windows, deadlines, draining.

use std::collections::BTreeSet;
use std::time::Duration;

use handfast_proto::v1;
use handfast_proto::v1::outcome::State;
use handfast_proto::v1::streamed_answer::Result as Streamed;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use super::fake::{FakeBackend, Server, commits, deposit, expect};
use crate::service::{Refused, ServiceLimits};

fn submission(tag: u64) -> v1::StreamedSubmission {
    let transaction = Some(deposit(u128::from(tag)));
    v1::StreamedSubmission { tag, transaction, level: 0, wait_ms: 0 }
}

type Out = mpsc::Sender<v1::SubmitStreamRequest>;

async fn open(server: &Server) -> (Out, Streaming<v1::SubmitStreamResponse>) {
    let (out, requests) = mpsc::channel(1);
    let mut data = server.data();
    let answers = data.submit_stream(ReceiverStream::new(requests)).await.expect("a stream");
    (out, answers.into_inner())
}

async fn send(out: &Out, submissions: Vec<v1::StreamedSubmission>) {
    out.send(v1::SubmitStreamRequest { submissions }).await.expect("the stream is open");
}

/// Everything until the end of the stream, and how it ended.
async fn rest(
    mut answers: Streaming<v1::SubmitStreamResponse>,
) -> (Vec<v1::StreamedAnswer>, Option<Status>) {
    let mut all = Vec::new();
    loop {
        match answers.message().await {
            Ok(Some(message)) => all.extend(message.answers),
            Ok(None) => return (all, None),
            Err(status) => return (all, Some(status)),
        }
    }
}

fn state(answer: &v1::StreamedAnswer) -> Option<&State> {
    match &answer.result {
        Some(Streamed::Outcome(outcome)) => outcome.state.as_ref(),
        Some(Streamed::Error(_)) | None => None,
    }
}

#[tokio::test]
async fn every_submission_gets_exactly_one_answer() {
    let server = Server::start(FakeBackend::new(commits)).await;
    let (out, answers) = open(&server).await;
    let sender = tokio::spawn(async move {
        for batch in 0..100 {
            send(&out, (batch * 100..(batch + 1) * 100).map(submission).collect()).await;
        }
    });
    let (all, end) = rest(answers).await;
    sender.await.expect("it sent everything");
    assert!(end.is_none());
    let tags: BTreeSet<u64> = all.iter().map(|answer| answer.tag).collect();
    assert_eq!((all.len(), tags.len()), (10_000, 10_000));
    assert!(all.iter().all(|answer| matches!(state(answer), Some(State::Committed(_)))));
}

#[tokio::test]
async fn a_wrong_submission_does_not_harm_its_neighbours() {
    let server = Server::start(FakeBackend::new(commits)).await;
    let (out, answers) = open(&server).await;
    let mut elsewhere = submission(2);
    elsewhere.transaction.as_mut().expect("there").namespace = "nowhere".into();
    let empty = v1::StreamedSubmission { tag: 3, ..Default::default() };
    send(&out, vec![submission(1), elsewhere, empty, submission(4)]).await;
    drop(out);
    let (mut all, end) = rest(answers).await;
    assert!(end.is_none());
    all.sort_by_key(|answer| answer.tag);
    let committed: Vec<bool> = all.iter().map(|answer| state(answer).is_some()).collect();
    assert_eq!(committed, [true, false, false, true]);
    let Some(Streamed::Error(error)) = &all[1].result else { panic!("an error") };
    assert_eq!(error.code, Code::NotFound as i32);
    use tonic_types::RpcStatusExt as _;
    let details = error.get_error_details();
    assert_eq!(details.error_info().expect("always").reason, "NAMESPACE_NOT_FOUND");
}

#[tokio::test]
async fn a_refused_batch_is_answered_with_errors_that_can_be_retried() {
    let refuse = Some(Refused::Overloaded { what: "the queue", retry_after_ms: 40 });
    let server = Server::start(FakeBackend { refuse, ..FakeBackend::new(commits) }).await;
    let (out, answers) = open(&server).await;
    send(&out, vec![submission(1), submission(2)]).await;
    drop(out);
    let (all, _) = rest(answers).await;
    assert_eq!(all.len(), 2);
    for answer in all {
        let Some(Streamed::Error(error)) = answer.result else { panic!("an error") };
        use tonic_types::RpcStatusExt as _;
        assert!(error.get_error_details().retry_info().is_some());
    }
}

#[tokio::test]
async fn the_server_reads_no_further_than_the_window() {
    let limits =
        ServiceLimits { max_stream_in_flight: 8, max_stream_batch: 4, ..ServiceLimits::default() };
    let server = Server::start_with(FakeBackend::new(|_| None), limits).await;
    let (out, _answers) = open(&server).await;
    let sender = tokio::spawn(async move {
        for batch in 0..1_000 {
            send(&out, (batch * 4..batch * 4 + 4).map(submission).collect()).await;
        }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(server.backend.called(), 8);
    sender.abort();
}

#[tokio::test]
async fn too_large_a_batch_ends_the_stream_and_says_so() {
    let limits = ServiceLimits { max_stream_batch: 4, ..ServiceLimits::default() };
    let server = Server::start_with(FakeBackend::new(commits), limits).await;
    let (out, answers) = open(&server).await;
    send(&out, (0..5).map(submission).collect()).await;
    let (all, end) = rest(answers).await;
    assert!(all.is_empty());
    expect(&end.expect("an error"), Code::InvalidArgument, "INVALID_REQUEST");
}

#[tokio::test]
async fn an_engine_that_failed_leaves_no_stream_waiting() {
    let server = Server::start(FakeBackend { failed: true, ..FakeBackend::new(|_| None) }).await;
    let (out, answers) = open(&server).await;
    let long = |tag| v1::StreamedSubmission { wait_ms: 3_600_000, ..submission(tag) };
    send(&out, (1..=3).map(long).collect()).await;
    drop(out);
    let (all, end) = rest(answers).await;
    assert!(end.is_none());
    let tags: BTreeSet<u64> = all.iter().map(|answer| answer.tag).collect();
    assert_eq!((all.len(), tags), (3, (1..=3).collect()));
    assert!(all.iter().all(|answer| matches!(state(answer), Some(State::Unknown(_)))));
}

#[tokio::test]
async fn a_wait_that_ends_first_is_answered_unknown_and_its_neighbour_waits_on() {
    let server = Server::start(FakeBackend::new(|_| None)).await;
    let (out, mut answers) = open(&server).await;
    let short = |tag| v1::StreamedSubmission { wait_ms: 30, ..submission(tag) };
    send(&out, vec![submission(1), short(2), short(3)]).await;
    let mut unknown = Vec::new();
    while unknown.len() < 2 {
        let message = answers.message().await.expect("open").expect("open");
        unknown.extend(message.answers);
    }
    let tags: Vec<u64> = unknown.iter().map(|answer| answer.tag).collect();
    assert_eq!(tags, [2, 3]);
    assert!(unknown.iter().all(|answer| matches!(state(answer), Some(State::Unknown(_)))));
    assert_eq!(server.backend.forgotten(), [1, 2]);
    // The client goes away: the last one is forgotten too.
    drop((out, answers));
    while server.backend.forgotten().len() < 3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn draining_answers_what_is_in_flight_then_ends_the_stream() {
    let slow = |call: &crate::api::Call| {
        std::thread::sleep(Duration::from_millis(100));
        commits(call)
    };
    let server = Server::start(FakeBackend::new(slow)).await;
    let (out, answers) = open(&server).await;
    send(&out, vec![submission(1)]).await;
    while server.backend.called() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    server.drain.begin().await;
    let (all, end) = rest(answers).await;
    assert_eq!(all.len(), 1);
    server.drain.finished().await;
    let details = expect(&end.expect("it says why"), Code::Unavailable, "SHUTTING_DOWN");
    assert!(details.retry_info().is_some());
    drop(out);
}
