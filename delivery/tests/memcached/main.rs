//! The memcached target on real servers: every clause, what items are, and everything that is no answer.
//!
//! It needs memcached. Without it the tests say that they were not run, and fail if `HANDFAST_REQUIRE_MEMCACHED` is
//! set, as `./check` does.

mod between;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use delivery::target::{MemcachedOptions, MemcachedTarget, Target, conformance};
use delivery::{Answer, ErrorClass, Failure, Name, Outgoing};
use handfast_stack::Memcached;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use wal_core::message::Message;
use wal_core::{Millis, ShardId, Timestamp, TxnId};

use between::{Between, MemcachedBench};

const AWAY: ErrorClass = ErrorClass::Overloaded { retry_after_us: None };
/// Nothing takes this long, on any machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server; `None` where none is installed, and need not be.
fn server(args: &[&str]) -> Option<Memcached> {
    if !Memcached::is_installed() {
        let required = std::env::var_os("HANDFAST_REQUIRE_MEMCACHED").is_some();
        assert!(!required, "memcached is missing: apt-get install memcached");
        eprintln!("NOT RUN: it needs memcached: apt-get install memcached");
        return None;
    }
    Some(Memcached::start(args).unwrap_or_else(|error| panic!("{error:#}")))
}

fn options(address: SocketAddr) -> MemcachedOptions {
    let timeout = Duration::from_secs(4);
    MemcachedOptions { timeout, ..MemcachedOptions::new(vec![address.to_string()]) }
}

fn target(options: MemcachedOptions) -> MemcachedTarget {
    MemcachedTarget::new(options).expect("a target")
}

fn message(key: &str, payload: &str, headers: &[(&str, &str)]) -> Message {
    let headers = headers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), Bytes::copy_from_slice(value.as_bytes())));
    Message {
        key: Some(Bytes::copy_from_slice(key.as_bytes())),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        headers: headers.collect(),
        ..Message::default()
    }
}

async fn send(target: &MemcachedTarget, message: Message) -> Answer {
    let outgoing = Outgoing {
        namespace: "bank".into(),
        shard: ShardId(3),
        name: Name { id: TxnId::from_parts(Millis(1_700_000_000_000), 1), index: 0 },
        timestamp: Timestamp(1_700_000_000_123_456),
        message: Arc::new(message),
    };
    tokio::time::timeout(PATIENCE, target.send(outgoing)).await.expect("an answer")
}

async fn deliver(target: &MemcachedTarget, message: Message) {
    assert_eq!(send(target, message).await, Answer::Delivered);
}

async fn failure(target: &MemcachedTarget, message: Message) -> Failure {
    match send(target, message).await {
        Answer::Failed(failure) => {
            println!("{:?}: {}", failure.class, failure.text);
            failure
        }
        Answer::Delivered => panic!("it was delivered"),
    }
}

/// What a server says to a line.
async fn ask(server: SocketAddr, line: &str) -> String {
    let mut stream = BufReader::new(TcpStream::connect(server).await.expect("it runs"));
    stream.write_all(format!("{line}\r\n").as_bytes()).await.expect("it reads");
    let mut said = String::new();
    stream.read_line(&mut said).await.expect("it answers");
    said.trim_end().to_owned()
}

/// What a server has under a key.
pub(crate) async fn stored(server: SocketAddr, key: &[u8]) -> Option<Vec<u8>> {
    let mut stream = BufReader::new(TcpStream::connect(server).await.expect("it runs"));
    let asked = [b"get ", key, b"\r\n"].concat();
    stream.write_all(&asked).await.expect("it reads");
    let mut line = String::new();
    stream.read_line(&mut line).await.expect("it answers");
    if line == "END\r\n" {
        return None;
    }
    let bytes = line.split_whitespace().nth(3).and_then(|bytes| bytes.parse().ok());
    let mut value = vec![0; bytes.unwrap_or_else(|| panic!("{line:?}"))];
    stream.read_exact(&mut value).await.expect("the value");
    Some(value)
}

/// In how many seconds an item is gone; -1: it stays.
async fn ttl(server: SocketAddr, key: &str) -> i64 {
    let said = ask(server, &format!("mg {key} t")).await;
    let ttl = said.strip_prefix("HD t").and_then(|ttl| ttl.parse().ok());
    ttl.unwrap_or_else(|| panic!("{said:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_clause_holds_for_keys_and_payloads() {
    let Some(server) = server(&["-I", "4m"]) else { return };
    let between = Between::start(server.address()).await;
    let target = target(options(between.address));
    conformance::run(&MemcachedBench { target, between }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_set_items_and_delete_them() {
    let Some(server) = server(&[]) else { return };
    let address = server.address();
    let target = target(MemcachedOptions { prefix: "cid:".into(), ..options(address) });
    for (key, value) in [("a", "one"), ("schlüssel", ""), ("a", "two"), ("b", "\r\nSTORED\r\n")] {
        deliver(&target, message(key, value, &[])).await;
        let expected = Some(value.as_bytes().to_vec());
        assert_eq!(stored(address, format!("cid:{key}").as_bytes()).await, expected);
    }
    assert_eq!(stored(address, b"a").await, None, "without its prefix");
    for _ in 0..2 {
        deliver(&target, message("a", "", &[("op", "delete")])).await;
        assert_eq!(stored(address, b"cid:a").await, None);
    }
    let keyless = Message { key: None, ..message("a", "", &[]) };
    for (message, what) in [
        (keyless, "no key"),
        (message("a b", "", &[]), "byte 6:"),
        (message(&"a".repeat(247), "", &[]), "251 bytes"),
        (message("a", "", &[("op", "incr")]), "\"op\" is \"incr\""),
        (message("a", "", &[("ttl", "-1")]), "\"ttl\" is \"-1\""),
    ] {
        let failure = failure(&target, message).await;
        assert_eq!(failure.class, ErrorClass::Permanent);
        assert!(failure.text.contains(what), "{}", failure.text);
    }
    deliver(&target, message(&"a".repeat(246), "", &[])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn items_live_as_long_as_they_should() {
    let Some(server) = server(&[]) else { return };
    let address = server.address();
    const MONTH: u64 = 30 * 24 * 60 * 60;
    let for_ever = target(options(address));
    deliver(&for_ever, message("a", "", &[])).await;
    assert_eq!(ttl(address, "a").await, -1);
    let for_a_minute = target(MemcachedOptions { ttl_s: 60, ..options(address) });
    for (seconds, header) in [(60, None), (5_000, Some("5000")), (MONTH, Some("2592000"))] {
        let headers: Vec<_> = header.map(|seconds| ("ttl", seconds)).into_iter().collect();
        deliver(&for_a_minute, message("a", "", &headers)).await;
        let (found, seconds) = (ttl(address, "a").await, i64::try_from(seconds).expect("small"));
        assert!((seconds - 40..=seconds).contains(&found), "{found} of {seconds}");
    }
    deliver(&for_a_minute, message("a", "", &[("ttl", "0")])).await;
    assert_eq!(ttl(address, "a").await, -1);
    // What is longer than a month would be a point in time long ago.
    let year = 365 * 24 * 60 * 60;
    deliver(&for_a_minute, message("a", "", &[("ttl", &year.to_string())])).await;
    let found = ttl(address, "a").await;
    assert!((year - 40..=year + 1).contains(&found), "{found}");
    deliver(&for_a_minute, message("a", "", &[("ttl", "1")])).await;
    let end = SystemTime::now() + PATIENCE;
    while stored(address, b"a").await.is_some() {
        assert!(SystemTime::now() < end, "it lives on; {:?}", UNIX_EPOCH.elapsed());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_key_has_one_of_several_servers() {
    let Some(first) = server(&[]) else { return };
    let servers = [Some(first), server(&[]), server(&[])].map(|it| it.expect("it is installed"));
    // Under names that do not depend on which ports were free: then it is known who has what.
    let named = servers.iter().zip([41_211, 41_212, 41_213]);
    let named = named.map(|(server, port)| format!("{} 127.0.0.1:{port}", server.address()));
    let options = MemcachedOptions { servers: named.collect(), ..options(servers[0].address()) };
    let target = target(options);
    let mut found = String::new();
    for number in 0..24 {
        let key = format!("order-{number}");
        deliver(&target, message(&key, "x", &[])).await;
        for (index, server) in servers.iter().enumerate() {
            if stored(server.address(), key.as_bytes()).await.is_some() {
                found += &index.to_string();
            }
        }
    }
    // As libmemcached, asked for ketama, spreads them.
    assert_eq!(found, "210122012222021201221022");
    // One of them away: its keys wait, the others' do not.
    servers[0].kill().expect("killed");
    let failed = failure(&target, message("order-2", "x", &[])).await;
    assert_eq!(failed.class, AWAY);
    assert!(failed.text.contains(&servers[0].address().to_string()), "{}", failed.text);
    deliver(&target, message("order-0", "x", &[])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_used_again_and_not_more_than_allowed() {
    let Some(server) = server(&[]) else { return };
    let address = server.address();
    let target = Arc::new(target(MemcachedOptions { max_requests: 8, ..options(address) }));
    let mut tasks = Vec::new();
    for number in 0..400 {
        let target = Arc::clone(&target);
        tasks.push(tokio::spawn(async move {
            deliver(&target, message(&format!("key {number}").replace(' ', "-"), "x", &[])).await;
        }));
    }
    for task in tasks {
        task.await.expect("no panic");
    }
    let mut stream = BufReader::new(TcpStream::connect(address).await.expect("it runs"));
    stream.write_all(b"stats\r\n").await.expect("it reads");
    let mut total = 0;
    let mut line = String::new();
    while line != "END\r\n" {
        line.clear();
        stream.read_line(&mut line).await.expect("it answers");
        if let Some(count) = line.strip_prefix("STAT total_connections ") {
            total = count.trim().parse().expect("a number");
        }
    }
    // The test's own, and that which saw that it was ready; memcached counts its listening socket, too.
    assert!((2..=8 + 4).contains(&total), "{total} connections");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_away_is_found_again() {
    let Some(server) = server(&[]) else { return };
    let target = target(options(server.address()));
    for _ in 0..3 {
        deliver(&target, message("a", "one", &[])).await;
        server.kill().expect("killed");
        let failed = failure(&target, message("a", "two", &[])).await;
        assert_eq!(failed.class, AWAY, "the connection of before is no longer used");
        assert!(failed.text.contains("cannot connect to 127.0.0.1:"), "{}", failed.text);
        server.restart().expect("it starts again");
        deliver(&target, message("a", "two", &[])).await;
        assert_eq!(stored(server.address(), b"a").await, Some(b"two".to_vec()));
        // Restarted while nothing was sent.
        server.kill().expect("killed");
        server.restart().expect("it starts again");
        deliver(&target, message("a", "three", &[])).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stands_still_is_no_answer() {
    let Some(server) = server(&[]) else { return };
    let timeout = Duration::from_secs(3);
    let target = target(MemcachedOptions { timeout, max_requests: 1, ..options(server.address()) });
    deliver(&target, message("a", "one", &[])).await;
    server.pause().expect("paused");
    let (first, second) = tokio::join!(
        failure(&target, message("a", "two", &[])),
        failure(&target, message("b", "two", &[])),
    );
    assert_eq!(first.class, ErrorClass::Transient);
    assert!(first.text.contains("did not answer within 3s"), "{}", first.text);
    assert_eq!(second.class, AWAY, "there was no room for it");
    assert!(second.text.contains("1 requests are on their way"), "{}", second.text);
    server.resume().expect("it goes on");
    deliver(&target, message("a", "three", &[])).await;
    // What it had received before it stood still it may carry out behind this.
    let left = stored(server.address(), b"a").await.expect("an item");
    assert!(left == b"three" || left == b"two", "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_refused_for_good_and_leaves_nothing() {
    let Some(server) = server(&[]) else { return };
    let target = target(options(server.address()));
    for size in [1 << 20, 3 << 20, 64 << 20] {
        deliver(&target, message("a", "small", &[])).await;
        let failed = failure(&target, message("a", &"x".repeat(size), &[])).await;
        assert_eq!(failed.class, ErrorClass::Permanent);
        assert!(failed.text.contains("object too large"), "{}", failed.text);
        assert_eq!(stored(server.address(), b"a").await, None, "rather none than an old one");
    }
    deliver(&target, message("a", "small", &[])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_full_takes_nothing_for_now() {
    // One that throws nothing out.
    let Some(server) = server(&["-m", "4", "-M"]) else { return };
    let target = target(options(server.address()));
    let mut failed = None;
    for number in 0..100 {
        let large = message(&format!("key-{number}"), &"x".repeat(200_000), &[]);
        if let Answer::Failed(failure) = send(&target, large).await {
            failed = Some(failure);
            break;
        }
    }
    let failed = failed.expect("it is full");
    assert_eq!(failed.class, AWAY);
    assert!(failed.text.contains("out of memory"), "{}", failed.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_lets_nobody_in_takes_nothing_for_now() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let logins = folder.path().join("logins");
    std::fs::write(&logins, "ada:secret\n").expect("written");
    let logins = logins.display().to_string();
    let Some(closed) = server(&["-Y", &logins]) else { return };
    let failed = failure(&target(options(closed.address())), message("a", "", &[])).await;
    assert_eq!(failed.class, AWAY);
    assert!(failed.text.contains("authentication"), "{}", failed.text);
    let delete = message("a", "", &[("op", "delete")]);
    assert_eq!(failure(&target(options(closed.address())), delete).await.class, AWAY);

    let crowded = server(&["-c", "64", "-o", "maxconns_fast"]).expect("it is installed");
    let mut held = Vec::new();
    let failed = loop {
        // Each time one more that stays.
        let target = target(options(crowded.address()));
        let answer = send(&target, message("a", "", &[])).await;
        held.push(target);
        if let Answer::Failed(failure) = answer {
            break failure;
        }
        assert!(held.len() < 200, "it lets everybody in");
    };
    assert_eq!(failed.class, AWAY);
    assert!(failed.text.contains("Too many open connections"), "{}", failed.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_answer_is_told_and_not_believed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let target = target(options(listener.local_addr().expect("it is bound")));
    let long = "x".repeat(10_000);
    for (said, what) in [
        ("", "it closed the connection"),
        ("STO", "behind: STO"),
        ("STORED\n", "behind: STORED"),
        ("HTTP/1.1 400 Bad Request\r\n\r\n", "said \"HTTP/1.1 400 Bad Request\""),
        ("NOT_STORED\r\n", "said \"NOT_STORED\""),
        (&long, "no answer: xxx"),
    ] {
        let answering = async {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut command = [0; 100];
            let _ = stream.read(&mut command).await.expect("a command");
            stream.write_all(said.as_bytes()).await.expect("it reads");
        };
        let (failed, ()) = tokio::join!(failure(&target, message("a", "x", &[])), answering);
        assert_eq!(failed.class, ErrorClass::Transient);
        assert!(failed.text.contains(what), "{}", failed.text);
    }
    // More than was asked: the connection is not used again.
    for _ in 0..2 {
        let answering = async {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut command = [0; 100];
            let _ = stream.read(&mut command).await.expect("a command");
            stream.write_all(b"STORED\r\nSTORED\r\n").await.expect("it reads");
            stream
        };
        let (answer, _stream) = tokio::join!(send(&target, message("a", "x", &[])), answering);
        assert_eq!(answer, Answer::Delivered);
    }
}
