//! Administration, health, reflection, draining.

use handfast_proto::v1;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use super::fake::{DEFINITION, FakeBackend, Server, commits, deposit, expect};

#[tokio::test]
async fn namespaces_are_created_validated_listed_described_and_changed() {
    let server = Server::start(FakeBackend::new(commits)).await;
    let mut admin = server.admin();
    let other = DEFINITION.replace("\"bank\"", "\"other\"");
    let create =
        |definition: &str| v1::CreateNamespaceRequest { definition: definition.to_owned() };
    let made = admin.create_namespace(create(&other)).await.expect("created").into_inner();
    let made = made.namespace.expect("always there");
    assert_eq!((made.name.as_str(), made.version, made.shards), ("other", 1, 16));
    let [accounts, transfers] = made.tables.as_slice() else { panic!("two tables") };
    assert_eq!(accounts.columns[1].r#type, "bigint");
    assert_eq!(transfers.partition_key, ["account"]);
    assert_eq!(transfers.clustering_key, ["seq"]);

    let status = admin.create_namespace(create(DEFINITION)).await.expect_err("it exists");
    expect(&status, Code::AlreadyExists, "NAMESPACE_EXISTS");
    let status = admin.create_namespace(create("name = 1")).await.expect_err("not a definition");
    let details = expect(&status, Code::InvalidArgument, "INVALID_DEFINITION");
    assert_eq!(details.bad_request().expect("a field").field_violations[0].field, "definition");
    let status = admin.create_namespace(create(&"#".repeat(2 << 20))).await.expect_err("too long");
    expect(&status, Code::InvalidArgument, "INVALID_REQUEST");

    let request = v1::ValidateNamespaceRequest { definition: DEFINITION.to_owned() };
    assert!(admin.validate_namespace(request).await.expect("valid").into_inner().exists);
    let all = admin.list_namespaces(v1::ListNamespacesRequest {}).await.expect("a list");
    assert_eq!(all.into_inner().namespaces.len(), 1);
    let describe = |name: &str| v1::DescribeNamespaceRequest { name: name.to_owned() };
    let found = admin.describe_namespace(describe("bank")).await.expect("found").into_inner();
    assert_eq!(found.namespace.expect("always there").definition, DEFINITION);
    let status = admin.describe_namespace(describe("nowhere")).await.expect_err("not found");
    expect(&status, Code::NotFound, "NAMESPACE_NOT_FOUND");
    let change = |expected_version| v1::ChangeNamespaceRequest {
        definition: DEFINITION.to_owned(),
        expected_version,
        give_up_pending: false,
    };
    admin.change_namespace(change(1)).await.expect("changed");
    let status = admin.change_namespace(change(7)).await.expect_err("another version");
    let details = expect(&status, Code::Aborted, "NAMESPACE_VERSION_CONFLICT");
    assert_eq!(details.error_info().expect("checked").metadata["version"], "1");
}

#[tokio::test]
async fn pools_are_created_and_listed_and_namespaces_pinned_to_them() {
    let server = Server::start(FakeBackend::new(commits)).await;
    let mut admin = server.admin();
    let (name, note) = ("apart".to_owned(), "noisy tenants".to_owned());
    let create = v1::CreatePoolRequest { name, note };
    let made = admin.create_pool(create).await.expect("created").into_inner().pool;
    let made = made.expect("always there");
    assert_eq!((made.name.as_str(), made.note.as_str()), ("apart", "noisy tenants"));
    let all = admin.list_pools(v1::ListPoolsRequest {}).await.expect("a list").into_inner();
    assert_eq!(all.pools[0].namespaces, ["bank"]);
    let pin = |pool: &str| v1::PinNamespaceRequest {
        namespace: "bank".to_owned(),
        pool: pool.to_owned(),
        note: String::new(),
    };
    let pinned = admin.pin_namespace(pin("default")).await.expect("pinned").into_inner();
    assert_eq!((pinned.pool.as_str(), pinned.version), ("default", 1));
    let status = admin.pin_namespace(pin("nowhere")).await.expect_err("no such pool");
    expect(&status, Code::FailedPrecondition, "CHANGE_REFUSED");
}

#[tokio::test]
async fn shards_and_unresolved_transactions_are_shown() {
    let server = Server::start(FakeBackend::new(commits)).await;
    let request = v1::GetStatusRequest { namespace: "bank".into() };
    let status = server.admin().get_status(request).await.expect("a status").into_inner();
    assert_eq!((status.in_flight, status.log_bytes), (7, 4096));
    let request = v1::ListUnresolvedRequest { namespace: "bank".into(), min_age_ms: 0, limit: 1 };
    let found = server.admin().list_unresolved(request).await.expect("a list").into_inner();
    let [txn] = found.transactions.as_slice() else { panic!("one") };
    assert_eq!((txn.state.as_str(), txn.participants.as_slice()), ("prepared", [1, 2].as_slice()));
    assert!(txn.age_ms > 0);
    let home = txn.locator.as_ref().expect("always there").home_shard;
    assert_eq!(home, Some(2));
    let request =
        v1::ListUnresolvedRequest { namespace: "bank".into(), min_age_ms: u64::MAX, limit: 0 };
    let found = server.admin().list_unresolved(request).await.expect("a list").into_inner();
    assert!(found.transactions.is_empty());
    let request = v1::GetStatusRequest { namespace: "nowhere".into() };
    let status = server.admin().get_status(request).await.expect_err("not found");
    expect(&status, Code::NotFound, "NAMESPACE_NOT_FOUND");
}

#[tokio::test]
async fn parked_rows_are_listed_tried_again_and_discarded() {
    let server = Server::start(FakeBackend::new(commits)).await;
    let mut admin = server.admin();
    let bank = || "bank".to_owned();
    let list = v1::ListParkedRequest { namespace: bank(), limit: 0 };
    let list = admin.list_parked(list).await.expect("a list").into_inner();
    let [row] = list.rows.as_slice() else { panic!("one") };
    let key = row.row.clone().expect("always there");
    assert_eq!((key.table.as_str(), key.key.len(), row.shard, list.total), ("accounts", 1, 4, 2));
    assert_eq!((row.commits, row.tries, row.deleted), (2, 3, false));
    assert_eq!((row.first_timestamp_us, row.last_timestamp_us), (800, 808));
    assert_eq!(row.reason, "the column balance was dropped");
    assert_eq!(row.columns[0].name, "balance");
    let elsewhere: Vec<_> =
        list.elsewhere.iter().map(|other| (other.shard, other.leader.as_str())).collect();
    assert_eq!(elsewhere, [(5, "there"), (6, "")]);

    let rows = || v1::ParkedChoice { rows: vec![key.clone()], ..Default::default() };
    let table = || v1::ParkedChoice { table: "accounts".into(), ..Default::default() };
    let all = || v1::ParkedChoice { all: true, ..Default::default() };
    for (choice, count) in [(rows(), 1), (table(), 100), (all(), 1_000)] {
        let request = v1::RetryParkedRequest { namespace: bank(), choice: Some(choice) };
        let done = admin.retry_parked(request).await.expect("tried").into_inner();
        assert_eq!((done.rows, done.elsewhere.len()), (count, 1));
    }
    for (choice, count) in [(rows(), 1), (table(), 100)] {
        let request = v1::DiscardParkedRequest { namespace: bank(), choice: Some(choice) };
        let done = admin.discard_parked(request).await.expect("discarded").into_inner();
        assert_eq!((done.rows, done.elsewhere.len()), (count, 1));
    }
    let unknown = v1::ParkedChoice { table: "nowhere".into(), ..Default::default() };
    let both = v1::ParkedChoice { all: true, ..table() };
    for choice in [None, Some(all()), Some(unknown), Some(both)] {
        let request = v1::DiscardParkedRequest { namespace: bank(), choice };
        let status = admin.discard_parked(request).await.expect_err("a wrong choice");
        expect(&status, Code::InvalidArgument, "INVALID_REQUEST");
    }
}

#[tokio::test]
async fn health_says_not_serving_and_calls_are_refused_once_draining_begins() {
    let server = Server::start(FakeBackend::new(commits)).await;
    let mut health = HealthClient::new(server.channel.clone());
    let mut check = async |service: &str| {
        let request = HealthCheckRequest { service: service.to_owned() };
        health.check(request).await.expect("an answer").into_inner().status()
    };
    for service in ["", "handfast.v1.Handfast", "handfast.v1.HandfastAdmin"] {
        assert_eq!(check(service).await, ServingStatus::Serving, "{service}");
    }
    server.drain.begin().await;
    for service in ["", "handfast.v1.Handfast", "handfast.v1.HandfastAdmin"] {
        assert_eq!(check(service).await, ServingStatus::NotServing, "{service}");
    }
    let request = v1::SubmitRequest { transaction: Some(deposit(1)), ..Default::default() };
    let status = server.data().submit(request).await.expect_err("it drains");
    let details = expect(&status, Code::Unavailable, "SHUTTING_DOWN");
    assert!(details.retry_info().is_some());
    assert_eq!(server.backend.called(), 0);
}

#[tokio::test]
async fn reflection_lists_every_service() {
    let server = Server::start(FakeBackend::new(commits)).await;
    let mut reflection = ServerReflectionClient::new(server.channel.clone());
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let answers = reflection.server_reflection_info(tokio_stream::once(request)).await;
    let answer = answers.expect("a stream").into_inner().message().await.expect("an answer");
    let Some(MessageResponse::ListServicesResponse(list)) =
        answer.expect("an answer").message_response
    else {
        panic!("another answer");
    };
    let names: Vec<String> = list.service.into_iter().map(|service| service.name).collect();
    for service in ["handfast.v1.Handfast", "handfast.v1.HandfastAdmin", "grpc.health.v1.Health"] {
        assert!(names.iter().any(|name| name == service), "{service} in {names:?}");
    }
}
