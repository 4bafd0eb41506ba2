//! Connections: how many, how old, and what becomes of the calls on them.

use std::time::Duration;

use handfast_proto::v1;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use super::fake::{FakeBackend, Server, commits, deposit, expect};
use crate::service::{ConnectionLimits, ServiceLimits};

const PATIENCE: Duration = Duration::from_secs(30);

fn limits(connections: ConnectionLimits) -> ServiceLimits {
    ServiceLimits { connections, ..ServiceLimits::default() }
}

fn aging(age_ms: u64) -> ConnectionLimits {
    let max_age = Some(Duration::from_millis(age_ms));
    ConnectionLimits { max_age, ..ConnectionLimits::default() }
}

#[tokio::test]
async fn a_connection_too_many_is_closed_at_once_and_one_that_ends_makes_room() {
    let connections = ConnectionLimits { max_connections: 2, ..ConnectionLimits::default() };
    let server = Server::start_with(FakeBackend::new(commits), limits(connections)).await;
    // The first is the channel of the server's own clients.
    let second = TcpStream::connect(server.address).await.expect("there is room");
    sleep(Duration::from_millis(100)).await;
    let closed = async {
        let mut third = TcpStream::connect(server.address).await.expect("it is accepted");
        let mut bytes = Vec::new();
        let _ = third.read_to_end(&mut bytes).await; // closed or reset: it ends
        bytes
    };
    assert_eq!(timeout(PATIENCE, closed).await.expect("it is closed"), b"");
    let request =
        v1::SubmitRequest { transaction: Some(deposit(1)), ..v1::SubmitRequest::default() };
    server.data().submit(request).await.expect("the others go on");
    drop(second);
    let stays = async {
        loop {
            let mut again = TcpStream::connect(server.address).await.expect("it listens");
            let mut byte = [0];
            // The server speaks first, its settings, if it speaks at all.
            if again.read_exact(&mut byte).await.is_ok() {
                break;
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, stays).await.expect("there is room again");
}

#[tokio::test]
async fn a_call_that_reached_the_server_is_answered_however_old_its_connection_is() {
    let server = Server::start_with(FakeBackend::new(commits), limits(aging(100))).await;
    let end = Instant::now() + Duration::from_secs(2);
    let mut callers = JoinSet::new();
    for caller in 0..4 {
        let mut data = server.data();
        callers.spawn(async move {
            let mut calls = 0;
            while Instant::now() < end {
                let transaction = Some(deposit(caller * 1_000_000 + calls));
                let request = v1::SubmitRequest { transaction, ..v1::SubmitRequest::default() };
                match data.submit(request).await {
                    Ok(_) => calls += 1,
                    // The channel itself lets go of what it was about to send as the connection ends.
                    Err(status) => assert_eq!(status.code(), Code::Cancelled, "{status:?}"),
                }
                sleep(Duration::from_millis(1)).await;
            }
            calls
        });
    }
    let mut calls = 0;
    while let Some(ended) = callers.join_next().await {
        calls += ended.expect("no call failed otherwise");
    }
    assert_eq!(u128::from(server.backend.called()), calls, "what was done was answered");
}

#[tokio::test]
async fn a_stream_ends_with_its_connection_and_answers_all_that_it_has_read() {
    let server = Server::start_with(FakeBackend::new(commits), limits(aging(200))).await;
    let (out, requests) = mpsc::channel(1);
    let mut data = server.data();
    let answers = data.submit_stream(ReceiverStream::new(requests)).await.expect("a stream");
    let mut answers = answers.into_inner();
    tokio::spawn(async move {
        for tag in 1.. {
            let transaction = Some(deposit(u128::from(tag)));
            let one = v1::StreamedSubmission { tag, transaction, ..Default::default() };
            if out.send(v1::SubmitStreamRequest { submissions: vec![one] }).await.is_err() {
                break;
            }
            sleep(Duration::from_millis(2)).await;
        }
    });
    let mut answered = 0;
    let status = loop {
        match timeout(PATIENCE, answers.message()).await.expect("it ends") {
            Ok(Some(message)) => answered += message.answers.len() as u64,
            Ok(None) => panic!("its end says why"),
            Err(status) => break status,
        }
    };
    let details = expect(&status, Code::Unavailable, "CONNECTION_AGED");
    assert!(details.retry_info().is_some());
    assert!(answered > 0);
    assert_eq!(server.backend.called(), answered, "what has no answer was not read");
}

#[tokio::test]
async fn what_lasts_beyond_the_grace_is_cut_off() {
    let connections = ConnectionLimits { grace: Duration::from_millis(300), ..aging(200) };
    let server = Server::start_with(FakeBackend::new(|_| None), limits(connections)).await;
    let begun = Instant::now();
    let request = v1::SubmitRequest {
        transaction: Some(deposit(1)),
        wait_ms: 600_000,
        ..v1::SubmitRequest::default()
    };
    let mut data = server.data();
    let status = timeout(PATIENCE, data.submit(request)).await.expect("it is cut off");
    let status = status.expect_err("it has no answer");
    // Less than age and grace, by what the connection was old when the call began.
    assert!(begun.elapsed() > Duration::from_millis(300), "{status:?}");
    // The next call opens another one.
    let asked = v1::GetOutcomeRequest::default();
    let status = server.data().get_outcome(asked).await.expect_err("it names nothing");
    expect(&status, Code::InvalidArgument, "INVALID_REQUEST");
}
