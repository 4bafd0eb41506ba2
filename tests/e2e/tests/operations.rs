//! What an operator does: stop in order, overload, two servers, taken ports, folders that are none, health,
//! reflection, metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use handfast_client::{Outcome, SubmitError, Transaction};
use handfast_e2e::{Server, Start, bank, http_get, served};
use handfast_proto::v1;
use handfast_proto::v1::handfast_client::HandfastClient;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_stream::StreamExt as _;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_types::StatusExt as _;

fn transfer(from: usize, to: usize) -> Transaction {
    Transaction::new("bank").add("accounts", format!("account-{from}"), ("balance", -1)).add(
        "accounts",
        format!("account-{to}"),
        ("balance", 1),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_says_not_serving_finishes_what_is_in_work_and_exits_with_0() -> anyhow::Result<()>
{
    let (_folder, mut server, client) = served("").await?;
    let channel = Endpoint::new(server.endpoint())?.connect().await?;
    let request = HealthCheckRequest { service: String::new() };
    let mut health = HealthClient::new(channel).watch(request).await?.into_inner();
    let first = health.next().await.context("a first answer")??;
    assert_eq!(first.status(), ServingStatus::Serving);
    assert_eq!(http_get(server.http(), "/readyz").await?.0, 200);

    // In work: transfers, until the server refuses them.
    let mut writers = JoinSet::new();
    let writer = server.impatient_client().await?;
    for number in 0..16 {
        let writer = writer.clone();
        writers.spawn(async move {
            let (mut acknowledged, mut doubtful) = (Vec::new(), Vec::new());
            loop {
                let transaction = transfer(number, number + 1);
                match writer.submit(&transaction).await {
                    Ok(outcome) if outcome.is_committed() => acknowledged.push(transaction),
                    Ok(Outcome::Unknown(_)) => doubtful.push(transaction),
                    Err(SubmitError::Unavailable { message }) => {
                        break (acknowledged, doubtful, message);
                    }
                    other => panic!("{other:?}"),
                }
            }
        });
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.signal("TERM").await?;
    let next = tokio::time::timeout(Duration::from_secs(20), health.next()).await?;
    assert_eq!(next.context("a change")??.status(), ServingStatus::NotServing);

    let status = server.ended().await?;
    assert!(status.success(), "{status}: {}", server.said());
    let (mut acknowledged, mut doubtful) = (Vec::new(), Vec::new());
    let mut told = Vec::new();
    while let Some(ended) = writers.join_next().await {
        let (some, doubt, message) = ended?;
        acknowledged.extend(some);
        doubtful.extend(doubt);
        told.push(message);
    }
    // Whether a writer meets the refusal or the closed port is a matter of microseconds.
    let known = |told: &String| {
        ["shutting down", "nothing was done", "connect", "transport"]
            .iter()
            .any(|it| told.contains(it))
    };
    assert!(told.iter().all(known), "{told:?}");
    assert!(acknowledged.len() > 16, "{} transfers", acknowledged.len());

    server.restart().await?;
    for transaction in &acknowledged {
        assert!(client.outcome(&transaction.locator()).await?.is_committed(), "an answer was lost");
    }
    for transaction in &doubtful {
        assert!(client.submit(transaction).await?.is_committed());
    }
    let rows = (0..17).map(|n| ("accounts", format!("account-{n}")));
    let rows = client.read("bank", rows).await?;
    let total: i64 = rows.iter().filter_map(|row| row.integer("balance")).sum();
    assert_eq!(total, 0, "a transfer is torn");
    server.stop().await
}

/// A transaction of two rows, on the wire.
fn wire_transaction(number: usize) -> v1::Transaction {
    let add = |account: String| v1::Mutation {
        row: Some(v1::RowKey { table: "accounts".into(), key: vec![account.into()] }),
        op: Some(v1::mutation::Op::Add(v1::Add {
            columns: vec![v1::Column { name: "balance".into(), value: Some(1_i64.into()) }],
        })),
    };
    v1::Transaction {
        namespace: "bank".into(),
        id: uuid::Uuid::now_v7().as_bytes().to_vec().into(),
        mutations: vec![add(format!("account-{number}")), add(format!("other-{number}"))],
        ..v1::Transaction::default()
    }
}

/// Submits twenty transactions one by one: how many were refused, and how many done.
async fn call_again_and_again(mut data: HandfastClient<Channel>, number: usize) -> (usize, usize) {
    let (mut refused, mut done) = (0, 0);
    for _ in 0..20 {
        let transaction = Some(wire_transaction(number));
        let request = v1::SubmitRequest { transaction, level: 0, wait_ms: 0 };
        let begun = Instant::now();
        match data.submit(request).await {
            Ok(response) => {
                let outcome = response.into_inner().outcome.expect("an outcome");
                let committed = matches!(outcome.state, Some(v1::outcome::State::Committed(_)));
                assert!(committed, "{outcome:?}");
                done += 1;
            }
            Err(status) => {
                assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
                let info = status.get_details_error_info().expect("an ErrorInfo");
                let named = (info.reason.as_str(), info.domain.as_str());
                assert_eq!(named, ("OVERLOADED", "handfast"));
                let hint = status.get_details_retry_info().and_then(|info| info.retry_delay);
                assert!(hint.is_some_and(|hint| !hint.is_zero()), "{status:?}");
                // Nobody is queued until the default wait of ten seconds has passed.
                assert!(begun.elapsed() < Duration::from_secs(5), "it was queued");
                refused += 1;
            }
        }
    }
    (refused, done)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overload_is_refused_at_once_with_a_retry_hint_and_nothing_of_it_is_done()
-> anyhow::Result<()> {
    let (_folder, mut server, client) = served("limits.in_flight = 2").await?;
    let channel = Endpoint::new(server.endpoint())?.connect().await?;
    let mut callers = JoinSet::new();
    for number in 0..64 {
        callers.spawn(call_again_and_again(HandfastClient::new(channel.clone()), number));
    }
    let (mut refused, mut done) = (0, 0);
    while let Some(ended) = callers.join_next().await {
        let (some_refused, some_done) = ended?;
        refused += some_refused;
        done += some_done;
    }
    ensure!(refused > 0 && done > 0, "{refused} refused, {done} done");
    let accounts = (0..64).flat_map(|n| [format!("account-{n}"), format!("other-{n}")]);
    let rows = client.read("bank", accounts.map(|account| ("accounts", account))).await?;
    let total: i64 = rows.iter().filter_map(|row| row.integer("balance")).sum();
    assert_eq!(total, 2 * done as i64, "a refused transaction was done, or one answered was not");
    server.stop().await
}

#[tokio::test]
async fn two_servers_cannot_have_one_data_folder() -> anyhow::Result<()> {
    for definitions in [vec![bank("")], Vec::new()] {
        let folder = TempDir::new()?;
        let definitions: Vec<&str> = definitions.iter().map(String::as_str).collect();
        let mut server = Server::start(folder.path(), &definitions).await?;
        let second = Start::on(server.how().data.clone()).await?.refused().await?;
        second.expect_failure(1, &["another server is using the data folder", "--data"]);
        let client = server.client().await?;
        assert_eq!(client.admin().list_namespaces().await?.len(), definitions.len());
        server.stop().await?;
        // Once the first has gone the second may have it.
        let next = Start::on(server.how().data.clone()).await?;
        Server::start_as(next, folder.path().join("second.log")).await?.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_taken_port_is_told_with_the_flag_that_chooses_another() -> anyhow::Result<()> {
    let (folder, mut server, _) = served("").await?;
    let other = Start::on(folder.path().join("other")).await?;
    let (grpc, http) = server.how().ports;
    let start = Start { ports: (grpc, other.ports.1), ..other.clone() };
    start.refused().await?.expect_failure(1, &["is taken by another program", "--listen"]);
    let start = Start { ports: (other.ports.0, http), ..other.clone() };
    start.refused().await?.expect_failure(1, &["is taken by another program", "--http"]);
    assert!(!other.data.exists(), "it touched the disk before it had its ports");
    server.stop().await
}

/// Tests may run as root, whom no permission stops: a file in the folder's place stops everybody.
#[tokio::test]
async fn a_data_folder_that_cannot_be_written_is_told_with_its_path() -> anyhow::Result<()> {
    let folder = TempDir::new()?;
    let file = folder.path().join("file");
    std::fs::write(&file, "not a folder")?;
    for data in [file.clone(), file.join("below")] {
        let said = Start::on(data).await?.refused().await?;
        said.expect_failure(1, &["cannot create the data folder", "file", "--data"]);
    }
    assert_eq!(std::fs::read_to_string(&file)?, "not a folder");
    Ok(())
}

#[tokio::test]
async fn a_wrong_namespace_file_or_folder_content_stops_the_start_with_its_place()
-> anyhow::Result<()> {
    let folder = TempDir::new()?;
    let file = folder.path().join("bank.toml");
    for (text, words) in [
        ("name = ".to_owned(), vec!["bank.toml", "line 1"]),
        (bank("shard = 3"), vec!["bank.toml", "shard: unknown key", "\"shards\""]),
        (bank("").replace("bigint)", "counter)"), vec!["bank.toml", "table[0].cql", "counter"]),
        (
            bank("").replace("CREATE TABLE a", "CREATE TABEL a"),
            vec!["bank.toml", "table[0].cql", "line 1"],
        ),
    ] {
        std::fs::write(&file, text)?;
        let mut start = Start::on(folder.path().join("data")).await?;
        start.namespaces.push(file.clone());
        start.refused().await?.expect_failure(1, &words);
    }
    let mut start = Start::on(folder.path().join("data")).await?;
    start.namespaces.push(folder.path().join("absent.toml"));
    start.refused().await?.expect_failure(1, &["cannot read", "absent.toml"]);
    Ok(())
}

#[tokio::test]
async fn health_reflection_and_metrics_answer() -> anyhow::Result<()> {
    let (_folder, mut server, client) = served("").await?;
    assert!(client.submit(&transfer(0, 1)).await?.is_committed());
    let channel = Endpoint::new(server.endpoint())?.connect().await?;
    let mut health = HealthClient::new(channel.clone());
    for service in ["", "handfast.v1.Handfast", "handfast.v1.HandfastAdmin"] {
        let request = HealthCheckRequest { service: service.to_owned() };
        let answer = health.check(request).await?.into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
    }
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let requests = tokio_stream::once(request);
    let answers = ServerReflectionClient::new(channel).server_reflection_info(requests).await?;
    let answer = answers.into_inner().next().await.context("an answer")??;
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        anyhow::bail!("{answer:?}")
    };
    let names: Vec<String> = list.service.into_iter().map(|service| service.name).collect();
    for service in ["handfast.v1.Handfast", "handfast.v1.HandfastAdmin", "grpc.health.v1.Health"] {
        assert!(names.iter().any(|name| name == service), "{service} is not in {names:?}");
    }
    assert_eq!(http_get(server.http(), "/livez").await?, (200, "ok\n".to_owned()));
    assert_eq!(http_get(server.http(), "/readyz").await?, (200, "ok\n".to_owned()));
    let (status, version) = http_get(server.http(), "/version").await?;
    assert!(status == 200 && version.contains("version"), "{version}");
    let (status, problem) = http_get(server.http(), "/nope").await?;
    assert!(status == 404 && problem.contains("NOT_FOUND"), "{problem}");
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let (status, metrics) = http_get(server.http(), "/metrics").await?;
        assert_eq!(status, 200);
        // Some figures are gathered every second or so.
        if metrics.contains("handfast_in_flight_calls") && metrics.contains("namespace=\"bank\"") {
            break;
        }
        assert!(Instant::now() < end, "{metrics}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_stopped_for_a_while_loses_nothing_when_it_goes_on() -> anyhow::Result<()>
{
    let (_folder, mut server, client) = served("").await?;
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for number in 0..8 {
        let (client, stop) = (client.clone(), Arc::clone(&stop));
        writers.spawn(async move {
            let mut committed = 0;
            while !stop.load(Ordering::Relaxed) {
                let outcome = client.submit(&transfer(number, 100)).await.expect("an outcome");
                assert!(outcome.is_committed(), "{outcome:?}");
                committed += 1;
            }
            committed
        });
    }
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        server.signal("STOP").await?;
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        server.signal("CONT").await?;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    stop.store(true, Ordering::Relaxed);
    let mut committed: i64 = 0;
    while let Some(count) = writers.join_next().await {
        committed += count?;
    }
    let row = client.read_row("bank", "accounts", "account-100").await?;
    assert_eq!(row.integer("balance"), Some(committed));
    server.stop().await
}
