//! Reads that wait for what another region has committed.

use std::sync::Arc;
use std::time::Duration;

use handfast_proto::v1;
use tokio::time::Instant;
use tonic::Code;
use wal_core::namespace::Namespace;
use wal_core::{Cell, ColumnId, Row, Timestamp};

use super::fake::{FakeBackend, Server, expect, row};
use crate::api::{Call, CallAnswer, ReadAnswer};

/// Up to when everything of the other region is here.
const ARRIVED_US: i64 = 1_700;

/// A server in `us` that has what is in `eu` up to [`ARRIVED_US`]; every row reads as that.
async fn server() -> Server {
    let region =
        |name: &str| format!("[[region.all]]\nname = \"{name}\"\nservers = [\"http://{name}\"]\n");
    let table = "CREATE TABLE arrived (region text PRIMARY KEY, watermark bigint, term bigint, \
                 transactions bigint)";
    let file = format!(
        "name = \"bank\"\nshards = 2\n[region]\nhere = \"us\"\nhome = \"eu\"\ntable = \"arrived\"\n{}{}\
         [[table]]\ncql = \"CREATE TABLE accounts (id text PRIMARY KEY, balance bigint)\"\n\
         [[table]]\ncql = \"{table}\"\n",
        region("eu"),
        region("us"),
    );
    let namespace = Namespace::from_toml(&file).unwrap_or_else(|error| panic!("{error}"));
    let value = Some(ARRIVED_US.to_be_bytes().to_vec().into());
    let cell = Cell { column: ColumnId(1), timestamp: Timestamp(9), value };
    let arrived = Row { cells: vec![cell], ..Row::default() };
    let script = move |call: &Call| {
        let Call::Read { keys } = call else { return None };
        Some(CallAnswer::Read(ReadAnswer::Rows(vec![arrived.clone(); keys.len()])))
    };
    let backend = FakeBackend { namespace: Arc::new(namespace), ..FakeBackend::new(script) };
    Server::start(backend).await
}

fn read(watermark_us: i64, wait_ms: u32) -> v1::ReadRequest {
    v1::ReadRequest {
        namespace: "bank".into(),
        rows: vec![row("accounts", ["alice".into()]).expect("a row")],
        wait_ms,
        arrived: true,
        not_before: vec![v1::ArrivedFrom { region: "eu".into(), watermark_us }],
    }
}

#[tokio::test]
async fn what_has_not_arrived_in_time_is_told_with_what_has() {
    let server = server().await;
    let found = server.data().read(read(ARRIVED_US, 50)).await.expect("it is here").into_inner();
    assert_eq!(found.arrived[0].watermark_us, ARRIVED_US);
    let status = server.data().read(read(ARRIVED_US + 1, 50)).await.expect_err("it is not here");
    let details = expect(&status, Code::Unavailable, "READ_TIMED_OUT");
    assert!(details.retry_info().is_some());
    let metadata = &details.error_info().expect("it is there").metadata;
    assert_eq!((&*metadata["region"], &*metadata["watermark_us"]), ("eu", "1700"));
    assert_eq!(
        status.message(),
        "within 50 ms region \"eu\" has arrived up to 1700 only, microseconds since 1970, and up to 1701 was \
         asked for; wait for longer, or look at `handfast region list`"
    );
}

#[tokio::test]
async fn a_wait_for_another_region_ends_when_the_server_stops() {
    let server = server().await;
    let begun = Instant::now();
    let mut data = server.data();
    let waiting = tokio::spawn(async move { data.read(read(i64::MAX, 60_000)).await });
    while server.backend.called() < 3 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    server.drain.begin().await;
    server.drain.finished().await;
    let status = waiting.await.expect("no panic").expect_err("it stops");
    assert!(expect(&status, Code::Unavailable, "SHUTTING_DOWN").retry_info().is_some());
    assert!(begun.elapsed() < Duration::from_secs(30), "it waited {:?}", begun.elapsed());
}
