//! The HTTP target against real servers: every clause, every status, and everything that is no answer.

mod raw;
mod receiver;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::http::Version;
use delivery::target::conformance::{self, Bench, Mood};
use delivery::target::{HttpOptions, HttpTarget, Target, TargetError};
use delivery::{Answer, ErrorClass, Failure, Name, Outgoing};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wal_core::message::Message;
use wal_core::{Millis, ShardId, Timestamp, TxnId};

use receiver::{HttpBench, Receiver, Saying};

const AWAY: ErrorClass = ErrorClass::Overloaded { retry_after_us: None };
/// Nothing takes this long, on any machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn outgoing(message: Message) -> Outgoing {
    Outgoing {
        namespace: "bank".into(),
        shard: ShardId(3),
        name: Name { id: TxnId::from_parts(Millis(1_700_000_000_000), 1), index: 0 },
        timestamp: Timestamp(1_700_000_000_123_456),
        message: Arc::new(message),
    }
}

fn target(options: HttpOptions) -> HttpTarget {
    HttpTarget::new(options).expect("a target")
}

fn to(address: SocketAddr) -> HttpTarget {
    target(HttpOptions::new(format!("http://{address}/orders")))
}

async fn send(target: &HttpTarget) -> Answer {
    let message = Message { payload: "{}".into(), ..Message::default() };
    let sending = target.send(outgoing(message));
    tokio::time::timeout(PATIENCE, sending).await.expect("an answer")
}

async fn failure(target: &HttpTarget) -> Failure {
    match send(target).await {
        Answer::Failed(failure) => {
            println!("{:?}: {}", failure.class, failure.text);
            failure
        }
        Answer::Delivered => panic!("it was delivered"),
    }
}

fn saying(status: u16) -> Saying {
    Saying { status, ..Saying::default() }
}

const SECRETS: [&str; 4] =
    ["correct-horse-battery", "k-123456789", "hook-T00000000-B00000000", "query-tok-4711"];

/// Options with a secret wherever one can be.
fn with_secrets(url: &str) -> HttpOptions {
    let [bearer, key, path, query] = SECRETS;
    let headers = [("Authorization", format!("Bearer {bearer}")), ("x-api-key", key.to_owned())];
    HttpOptions {
        headers: headers.map(|(name, value)| (name.to_owned(), value)).into(),
        timeout: Duration::from_secs(2),
        ..HttpOptions::new(format!("{url}/{path}?token={query}"))
    }
}

async fn bench(options: impl FnOnce(&Receiver) -> HttpOptions) -> HttpBench<HttpTarget> {
    let receiver = Receiver::start().await;
    let target = target(options(&receiver));
    HttpBench { target, receiver, secrets: SECRETS.map(str::to_owned).into() }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_clause_holds_over_http_1() {
    let bench = bench(|receiver| with_secrets(&receiver.url(""))).await;
    conformance::run(&bench).await;
    let requests = bench.receiver.requests();
    assert!(requests.iter().all(|(version, _)| *version == Version::HTTP_11));
    for (_, headers) in &requests {
        assert_eq!(headers["authorization"], "Bearer correct-horse-battery");
        assert_eq!(headers["x-api-key"], "k-123456789");
        assert_eq!(headers.get_all("idempotency-key").iter().count(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_clause_holds_over_http_2_that_tls_has_agreed_on() {
    let bench = bench(|receiver| {
        let address = raw::tls_before(receiver.address, &["h2", "http/1.1"]);
        let authorities_pem = Some(raw::AUTHORITY.to_owned());
        HttpOptions { authorities_pem, ..with_secrets(&format!("https://{address}")) }
    })
    .await;
    conformance::run(&bench).await;
    let requests = bench.receiver.requests();
    assert!(requests.iter().all(|(version, _)| *version == Version::HTTP_2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_http_2_is_spoken_to_over_tls_as_well() {
    let receiver = Receiver::start().await;
    let address = raw::tls_before(receiver.address, &["http/1.1"]);
    let url = format!("https://localhost:{}/", address.port());
    let authorities_pem = Some(raw::AUTHORITY.to_owned());
    let target = target(HttpOptions { authorities_pem, ..HttpOptions::new(url) });
    assert_eq!(send(&target).await, Answer::Delivered);
    assert_eq!(receiver.requests()[0].0, Version::HTTP_11);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_request_says_where_the_message_is_from() {
    let receiver = Receiver::start().await;
    let target = to(receiver.address);
    let mut outgoing = outgoing(Message { key: Some("a b/ä".into()), ..Message::default() });
    outgoing.name.index = 2;
    assert_eq!(target.send(outgoing.clone()).await, Answer::Delivered);
    let (_, headers) = receiver.requests().remove(0);
    assert_eq!(headers["idempotency-key"], outgoing.name.to_string());
    assert!(outgoing.name.to_string().ends_with("/2"));
    assert_eq!(headers["handfast-namespace"], "bank");
    assert_eq!(headers["handfast-shard"], "3");
    assert_eq!(headers["handfast-commit-timestamp-us"], "1700000000123456");
    assert_eq!(headers["handfast-key"], "a%20b%2F%C3%A4");
    assert_eq!(headers["content-type"], "application/octet-stream");
    assert_eq!(headers["content-length"], "0");
    assert!(headers["user-agent"].to_str().expect("text").starts_with("handfast/"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_status_means_what_the_table_says() {
    let receiver = Receiver::start().await;
    let target = to(receiver.address);
    for status in 200..=599 {
        receiver.say(Saying { body: "because".into(), ..saying(status) });
        let expected = match status {
            200..=299 => None,
            401 | 402 | 403 | 404 | 405 | 407 | 410 | 429 | 503 => Some(AWAY),
            408 | 409 | 421 | 425 | 500..=599 => Some(ErrorClass::Transient),
            _ => Some(ErrorClass::Permanent),
        };
        let found = match send(&target).await {
            Answer::Delivered => None,
            Answer::Failed(failure) => {
                assert!(failure.text.contains(&status.to_string()), "{}", failure.text);
                let has_body = failure.text.ends_with(": because");
                assert!(has_body || status == 304, "{}", failure.text);
                Some(failure.class)
            }
        };
        assert_eq!(found, expected, "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_busy_is_left_alone_for_as_long_as_it_asks() {
    let receiver = Receiver::start().await;
    let target = to(receiver.address);
    let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT".to_owned());
    for status in [429, 503] {
        for (value, retry_after_us) in [
            ("7", Some(7_000_000)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60_000_000)),
            ("Sun, 06 Nov 1994 08:40:37 GMT", Some(0)),
            ("99999999999999999999", Some(u64::MAX)),
            ("-1", None),
            ("soon", None),
        ] {
            let headers = vec![("retry-after", value.to_owned()), date.clone()];
            receiver.say(Saying { headers, ..saying(status) });
            let class = failure(&target).await.class;
            assert_eq!(class, ErrorClass::Overloaded { retry_after_us }, "{status} {value:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_are_not_followed() {
    let (receiver, elsewhere) = (Receiver::start().await, Receiver::start().await);
    let target = to(receiver.address);
    for status in [301, 302, 303, 307, 308] {
        let headers = vec![("location", elsewhere.url("/login"))];
        receiver.say(Saying { headers, ..saying(status) });
        assert_eq!(failure(&target).await.class, ErrorClass::Permanent, "{status}");
    }
    assert_eq!(receiver.requests().len(), 5);
    assert!(elsewhere.requests().is_empty(), "a POST must not wander");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_away_is_overloaded() {
    let plain = Receiver::start().await;
    let tls = raw::tls_before(plain.address, &["http/1.1"]);
    for (url, said) in [
        (format!("http://{}/", raw::nobody().await), "refused"),
        ("http://no-such-host.invalid/".to_owned(), "cannot be reached"),
        // It speaks no TLS.
        (format!("https://{}/", plain.address), "cannot be reached"),
        // Nobody whom the system trusts has signed this certificate.
        (format!("https://{tls}/"), "certificate"),
    ] {
        // With some authority at least, whatever the system has.
        let authorities_pem =
            (!url.ends_with(&format!("{tls}/"))).then(|| raw::AUTHORITY.to_owned());
        let options = HttpOptions { authorities_pem, ..HttpOptions::new(&url) };
        let target = match HttpTarget::new(options) {
            Ok(target) => target,
            Err(TargetError::Client { why }) if why.contains("No CA certificates") => continue,
            Err(error) => panic!("{url}: {error}"),
        };
        let Failure { class, text } = failure(&target).await;
        assert_eq!(class, AWAY, "{url}: {text}");
        assert!(text.contains(said), "{url}: {text}");
    }
    assert!(plain.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_comes_to_nothing_is_as_good_as_none() {
    // It takes the connection, and says nothing that belongs to TLS.
    let address = raw::serve(|mut stream| async move {
        while stream.read(&mut [0; 512]).await.is_ok_and(|count| count > 0) {}
    });
    let target = target(HttpOptions {
        authorities_pem: Some(raw::AUTHORITY.to_owned()),
        timeout: Duration::from_millis(600),
        ..HttpOptions::new(format!("https://{}/", address.await))
    });
    let Failure { class, text } = failure(&target).await;
    assert_eq!(class, AWAY, "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_for_another_name_is_refused() {
    let plain = Receiver::start().await;
    let tls = raw::tls_before(plain.address, &["http/1.1"]);
    let url = format!("https://[::ffff:127.0.0.1]:{}/", tls.port());
    let authorities_pem = Some(raw::AUTHORITY.to_owned());
    let target = target(HttpOptions { authorities_pem, ..HttpOptions::new(url) });
    let Failure { class, text } = failure(&target).await;
    assert_eq!(class, AWAY, "{text}");
    assert!(text.contains("certificate"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_answer_is_transient() {
    type Say = &'static [u8];
    let broken: [(&str, Say); 7] = [
        ("nothing, and closes", b""),
        ("half a head", b"HTTP/1.1 200 OK\r\ncontent-le"),
        ("a head without an end", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n"),
        ("garbage", b"\x16\x03\x01\x00\xff\x00\x01 nothing of this is HTTP\r\n\r\n"),
        ("another protocol", b"220 mail.example ESMTP\r\n"),
        ("a status that is none", b"HTTP/1.1 9999 What\r\n\r\n"),
        ("an impossible length", b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n"),
    ];
    for (what, answer) in broken {
        let address = raw::serve(move |mut stream| async move {
            if raw::read_request(&mut stream).await {
                let _ = stream.write_all(answer).await; // the client may have seen enough
            }
        });
        let target = to(address.await);
        // Two are broken in the same way: no try leaves anything behind.
        for _ in 0..2 {
            let Failure { class, text } = failure(&target).await;
            assert_eq!(class, ErrorClass::Transient, "{what}: {text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_never_answers_is_given_up_and_sees_it() {
    let (closed, mut sees) = tokio::sync::mpsc::unbounded_channel();
    let address = raw::serve(move |mut stream| {
        let closed = closed.clone();
        async move {
            assert!(raw::read_request(&mut stream).await, "a whole request");
            let ends = stream.read(&mut [0]).await;
            let _ = closed.send(ends.unwrap_or(0)); // the test may be over
        }
    });
    let url = format!("http://{}/", address.await);
    let timeout = Duration::from_millis(300);
    let target = target(HttpOptions { timeout, ..HttpOptions::new(url) });
    let Failure { class, text } = failure(&target).await;
    assert_eq!(class, ErrorClass::Transient);
    assert!(text.contains("has not answered within 300ms"), "{text}");
    let seen = tokio::time::timeout(PATIENCE, sees.recv()).await.expect("it is told");
    assert_eq!(seen, Some(0), "the connection was closed");
}

/// Says a head, and then letters until nobody listens; tells how that ended.
async fn endless(head: &'static str) -> (SocketAddr, tokio::sync::mpsc::UnboundedReceiver<u64>) {
    let (sent, sees) = tokio::sync::mpsc::unbounded_channel();
    let address = raw::serve(move |mut stream| {
        let sent = sent.clone();
        async move {
            if !raw::read_request(&mut stream).await {
                return;
            }
            let mut count = 0;
            let mut next = head.as_bytes().to_vec();
            while stream.write_all(&next).await.is_ok() {
                count += next.len() as u64;
                next = vec![b'x'; 8 << 10];
            }
            let _ = sent.send(count); // the test may be over
        }
    });
    (address.await, sees)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_body_is_not_read_to_its_end() {
    for (head, expected) in [
        ("HTTP/1.1 200 OK\r\n\r\n", None),
        ("HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n", None),
        ("HTTP/1.1 400 Bad Request\r\n\r\n", Some(ErrorClass::Permanent)),
        ("HTTP/1.1 500 Oh\r\n\r\n", Some(ErrorClass::Transient)),
    ] {
        let (address, mut sees) = endless(head).await;
        match send(&to(address)).await {
            Answer::Delivered => assert_eq!(expected, None, "{head}"),
            Answer::Failed(Failure { class, text }) => {
                assert_eq!(Some(class), expected, "{head}");
                assert!(text.len() < 400 && text.contains("xxx"), "{text}");
            }
        }
        let count = tokio::time::timeout(PATIENCE, sees.recv()).await.expect("it was closed");
        println!("{head:?}: {count:?} bytes were taken until the connection was closed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_off_changes_no_answer() {
    for (answer, expected) in [
        ("HTTP/1.1 201 Created\r\ncontent-length: 50\r\n\r\nhalf", None),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", None),
        ("HTTP/1.1 400 No\r\ncontent-length: 50\r\n\r\nhalf", Some(ErrorClass::Permanent)),
        ("HTTP/1.1 502 No\r\ncontent-length: 50\r\n\r\nhalf", Some(ErrorClass::Transient)),
    ] {
        let address = raw::serve(move |mut stream| async move {
            raw::read_request(&mut stream).await;
            let _ = stream.write_all(answer.as_bytes()).await; // the client may have seen enough
        });
        match send(&to(address.await)).await {
            Answer::Delivered => assert_eq!(expected, None, "{answer}"),
            Answer::Failed(Failure { class, text }) => {
                assert_eq!(Some(class), expected, "{answer}");
                assert!(text.ends_with(": half"), "{text}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_closes_each_connection_takes_each_message() {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let address = raw::serve(move |mut stream| {
        let count = Arc::clone(&counted);
        async move {
            if raw::read_request(&mut stream).await {
                count.fetch_add(1, Ordering::Relaxed);
                // It does not say that it will close.
                let answer = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
                answer.await.expect("the client waits");
            }
        }
    });
    let target = to(address.await);
    let mut delivered = 0;
    for _ in 0..50 {
        match send(&target).await {
            Answer::Delivered => delivered += 1,
            // The request met the end of the connection on its way: nothing says what became of it.
            Answer::Failed(failure) => assert_eq!(failure.class, ErrorClass::Transient),
        }
    }
    assert_eq!(count.load(Ordering::Relaxed), delivered, "one request for each that was taken");
    assert!(delivered > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_requests_than_allowed_are_under_way() {
    let bench = bench(|receiver| HttpOptions {
        max_requests: 1,
        timeout: Duration::from_secs(2),
        ..HttpOptions::new(receiver.url("/"))
    })
    .await;
    bench.turn(Mood::Hangs).await;
    let message = || outgoing(Message::default());
    let (first, second) = tokio::join!(bench.target.send(message()), bench.target.send(message()));
    let Answer::Failed(first) = first else { panic!("it hangs") };
    let Answer::Failed(second) = second else { panic!("it hangs") };
    assert_eq!((first.class, second.class), (ErrorClass::Transient, AWAY));
    assert!(second.text.starts_with("1 requests are under way"), "{}", second.text);
    assert_eq!(bench.receiver.requests().len(), 1);
    bench.turn(Mood::Takes).await;
    assert_eq!(send(&bench.target).await, Answer::Delivered, "its place is free again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_repeats_everything_gives_no_secret_away() {
    let receiver = Receiver::start().await;
    let options = with_secrets(&receiver.url(""));
    let shown = format!("{options:?}");
    let target = target(options);
    let [_, _, path, query] = SECRETS;
    let body = format!("no route for {path} with {query}");
    receiver.say(Saying { repeats: true, ..saying(500) });
    let first = failure(&target).await.text;
    receiver.say(Saying { body, ..saying(500) });
    let second = failure(&target).await.text;
    assert!(second.ends_with(": no route for *** with ***"), "{second}");
    for secret in SECRETS {
        for text in [&*shown, &format!("{target:?}"), &first, &second] {
            assert!(!text.contains(secret), "{text}");
        }
    }
    // A user and a password in the URL go as an authorization, and nowhere else.
    let url = format!("http://shop:hunter2hunter2@{}/", receiver.address);
    let target = self::target(HttpOptions::new(url));
    receiver.say(Saying { repeats: true, ..saying(500) });
    let text = failure(&target).await.text;
    let told = receiver.requests().pop().expect("a request").1;
    let sent = told["authorization"].to_str().expect("text");
    assert_eq!(sent, "Basic c2hvcDpodW50ZXIyaHVudGVyMg==");
    assert!(!text.contains("hunter2") && !text.contains("c2hvc"), "{text}");
    assert!(text.starts_with(&format!("http://{} answered 500", receiver.address)), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_cannot_be_sent_are_named_and_nothing_is_sent() {
    let receiver = Receiver::start().await;
    let headers = [("x-api-key".to_owned(), "k-123456789".to_owned())].into();
    let target = target(HttpOptions { headers, ..HttpOptions::new(receiver.url("/")) });
    let refused = [
        "X-Api-Key",
        "Content-Type",
        "content-length",
        "Host",
        "connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "idempotency-key",
        "handfast-key",
        "Handfast-Whatever",
        "sp ace",
        "",
    ];
    for name in refused {
        let headers = vec![(name.to_owned(), "7".into())];
        let answer = target.send(outgoing(Message { headers, ..Message::default() })).await;
        let Answer::Failed(Failure { class, text }) = answer else { panic!("{name:?} was sent") };
        assert_eq!(class, ErrorClass::Permanent, "{name:?}");
        assert!(text.contains(&format!("the header {name:?} cannot be sent")), "{text}");
    }
    assert!(receiver.requests().is_empty());
    // An authorization of the message's own is its own affair, if the target has none.
    let headers = vec![("Authorization".to_owned(), "Bearer mine".into())];
    let answer = target.send(outgoing(Message { headers, ..Message::default() })).await;
    assert_eq!(answer, Answer::Delivered);
    assert_eq!(receiver.requests()[0].1["authorization"], "Bearer mine");
}

#[test]
fn options_that_cannot_be_are_refused_with_what_to_do() {
    let url = |url: &str| HttpOptions::new(url);
    let header = |name: &str, value: &str| HttpOptions {
        headers: [(name.to_owned(), value.to_owned())].into(),
        ..HttpOptions::new("http://a/")
    };
    let fine = || HttpOptions::new("http://a/");
    let twice = BTreeMap::from([("X-A".into(), "1".into()), ("x-a".into(), "2".into())]);
    for (options, said) in [
        (url(""), "write https://host/path"),
        (url("/orders"), "write https://host/path"),
        (url("ftp://a/"), "does not begin with http"),
        (url("https://"), "write https://host/path"),
        (url("http://a:99999/"), "write https://host/path"),
        (url("http://a/#b"), "'#'"),
        (header("a b", "c"), "the header \"a b\" cannot go with every request: its name"),
        (header("Content-Type", "c"), "leave it out"),
        (header("handfast-x", "c"), "leave it out"),
        (header("x-a", "b\n"), "bytes that HTTP does not allow"),
        (header("x-a", " b"), "blank"),
        (header("x-a", "env:HANDFAST_NO_SUCH"), "HANDFAST_NO_SUCH, which is not set"),
        (HttpOptions { headers: twice, ..fine() }, "say it once"),
        (HttpOptions { timeout: Duration::ZERO, ..fine() }, "give it 10 s"),
        (HttpOptions { max_requests: 0, ..fine() }, "write 1 or more"),
        (HttpOptions { authorities_pem: Some("none".into()), ..fine() }, "PEM is needed"),
        (HttpOptions { url: "http://u:p@a/".into(), ..header("Authorization", "b") }, "twice"),
    ] {
        let refused = HttpTarget::new(options).expect_err(said).to_string();
        assert!(refused.contains(said), "{refused}\n{said}");
    }
    let path = std::env::var("PATH").expect("there is one");
    assert!(!path.is_empty());
    HttpTarget::new(header("x-a", "env:PATH")).expect("a value from the environment");
}
