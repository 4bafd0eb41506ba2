//! A topic as a target: every clause on a real broker, and what only brokers do.

use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use delivery::target::conformance::{self, Arrival, Bench, Mood};
use delivery::target::{KafkaOptions, KafkaTarget, Later, Target};
use delivery::{Answer, ErrorClass, Failure, Name, Outgoing};
use handfast_kafka_tests::{brokers, raw};
use handfast_stack::{Network, Server, Stack, StackSpec};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{BorrowedMessage, Headers, Message as _};
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::Mutex as AsyncMutex;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::block_in_place;
use wal_core::message::Message;
use wal_core::{Millis, ShardId, Timestamp, TxnId};

const AWAY: ErrorClass = ErrorClass::Overloaded { retry_after_us: None };
/// Nothing takes this long, on any machine.
const PATIENCE: Duration = Duration::from_secs(120);
const PASSWORD: &str = "correct-horse-battery";
/// What the target adds.
const OURS: [&str; 5] = [
    "handfast-id",
    "handfast-namespace",
    "handfast-shard",
    "handfast-commit-timestamp-us",
    "content-type",
];
static NEXT: AtomicU16 = AtomicU16::new(0);

fn outgoing(message: Message) -> Outgoing {
    let index = NEXT.fetch_add(1, Ordering::Relaxed);
    Outgoing {
        namespace: "bank".into(),
        shard: ShardId(3),
        name: Name { id: TxnId::from_parts(Millis(1_700_000_000_000), 1), index },
        timestamp: Timestamp(1_700_000_000_123_456),
        message: Arc::new(message),
    }
}

fn target(options: KafkaOptions) -> KafkaTarget {
    KafkaTarget::new(options).expect("a target")
}

/// With a test's patience.
fn to(brokers: &str, topic: &str) -> KafkaOptions {
    KafkaOptions { timeout: Duration::from_secs(4), ..KafkaOptions::new(brokers, topic) }
}

async fn send(target: &KafkaTarget, message: Message) -> Answer {
    let sending = target.send(outgoing(message));
    tokio::time::timeout(PATIENCE, sending).await.expect("an answer")
}

async fn failure(target: &KafkaTarget, message: Message) -> Failure {
    match send(target, message).await {
        Answer::Failed(failure) => {
            println!("{:?}: {}", failure.class, failure.text);
            failure
        }
        Answer::Delivered => panic!("it was delivered"),
    }
}

/// Sends until it is delivered, as whoever runs the target would.
async fn deliver(target: &KafkaTarget) {
    let begun = std::time::Instant::now();
    let trying = async {
        while let Answer::Failed(failure) = send(target, Message::default()).await {
            assert_ne!(failure.class, ErrorClass::Permanent, "{failure:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, trying).await.expect("a delivery");
    println!("delivered after {:?}", begun.elapsed());
}

fn arrival(record: &BorrowedMessage<'_>) -> Arrival {
    let mut own = Vec::new();
    let mut ours: [Option<String>; 5] = [const { None }; 5];
    for header in record.headers().into_iter().flat_map(Headers::iter) {
        let value = Bytes::copy_from_slice(header.value.expect("no header is null"));
        match OURS.iter().position(|name| *name == header.key) {
            None => own.push((header.key.to_owned(), value)),
            Some(place) => {
                let text = String::from_utf8(value.into()).expect("text");
                assert!(ours[place].replace(text).is_none(), "{} comes twice", header.key);
            }
        }
    }
    let [name, namespace, shard, timestamp_us, content_type] = ours;
    let timestamp_us = timestamp_us.expect("when it committed");
    let stamped = record.timestamp().to_millis().map(|millis| millis.to_string());
    assert_eq!(stamped.as_deref(), Some(&timestamp_us[..timestamp_us.len() - 3]));
    Arrival {
        name: name.expect("a name"),
        namespace: namespace.expect("a namespace"),
        shard: shard.expect("a shard"),
        timestamp_us,
        key: record.key().map(Bytes::copy_from_slice),
        content_type: content_type.unwrap_or_default(),
        headers: own,
        payload: Bytes::copy_from_slice(record.payload().expect("no value is null")),
    }
}

/// Reads a topic from its beginning, on a thread of its own, with the partition of each record.
fn read(brokers: &str, topic: &str, partitions: i32) -> UnboundedReceiver<(i32, Arrival)> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "reader")
        .set("enable.auto.commit", "false")
        .set("reconnect.backoff.max.ms", "500")
        .create()
        .expect("a client");
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(topic, partition, Offset::Beginning).expect("a partition");
    }
    consumer.assign(&list).expect("a topic");
    let (to_arrivals, arrivals) = unbounded_channel();
    std::thread::spawn(move || {
        while !to_arrivals.is_closed() {
            // An error is a broker that is away for now.
            if let Some(Ok(record)) = consumer.poll(Duration::from_millis(100)) {
                let _ = to_arrivals.send((record.partition(), arrival(&record)));
            }
        }
    });
    arrivals
}

async fn next(arrivals: &mut UnboundedReceiver<(i32, Arrival)>) -> (i32, Arrival) {
    let next = tokio::time::timeout(PATIENCE, arrivals.recv()).await;
    next.expect("something arrives").expect("the reader reads")
}

/// One broker of its own, which is killed and paused.
struct KafkaBench {
    target: KafkaTarget,
    stack: Stack,
    arrivals: AsyncMutex<UnboundedReceiver<(i32, Arrival)>>,
    is_killed: AtomicBool,
    _alone: MutexGuard<'static, ()>,
}

const BROKER: Server = Server::Kafka(0);

impl Bench for KafkaBench {
    fn target(&self) -> &dyn Target {
        &self.target
    }

    fn arrived(&self) -> Later<'_, Vec<Arrival>> {
        Box::pin(async {
            let mut arrivals = self.arrivals.lock().await;
            let mut all = vec![arrivals.recv().await.expect("the reader reads").1];
            while let Ok((_, more)) = arrivals.try_recv() {
                all.push(more);
            }
            all
        })
    }

    fn turn(&self, mood: Mood) -> Later<'_, ()> {
        Box::pin(async move {
            block_in_place(|| match mood {
                Mood::Takes if self.is_killed.swap(false, Ordering::Relaxed) => {
                    let took = self.stack.restart(BROKER).expect("it starts again");
                    println!("the broker was back after {took:?}");
                }
                Mood::Takes => self.stack.resume(BROKER).expect("it runs"),
                Mood::Hangs => self.stack.pause(BROKER).expect("it runs"),
                Mood::Away => {
                    self.stack.kill9(BROKER).expect("it runs");
                    self.is_killed.store(true, Ordering::Relaxed);
                }
            });
        })
    }

    fn hangs(&self) -> Later<'_, ()> {
        Box::pin(std::future::ready(())) // a paused broker tells nothing
    }

    fn ended(&self) -> Option<Later<'_, ()>> {
        None
    }

    fn unacceptable(&self) -> Message {
        Message { payload: vec![7; 3 << 20].into(), ..Message::default() }
    }

    fn secrets(&self) -> Vec<String> {
        vec![PASSWORD.to_owned()]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_keeps_every_clause() {
    let (stack, alone) = block_in_place(|| brokers::alone(1));
    let (brokers, topic) = (stack.kafka_bootstrap(), brokers::topic("target"));
    let settings = [("max.message.bytes", "2097152"), ("message.timestamp.type", "CreateTime")];
    raw::create_topic(&brokers, &topic, 4, &settings);
    let mut options = to(&brokers, &topic);
    // This broker asks nobody for it.
    options.client.insert("sasl.password".into(), PASSWORD.into());
    let bench = KafkaBench {
        target: target(options),
        arrivals: AsyncMutex::new(read(&brokers, &topic, 4)),
        stack,
        is_killed: AtomicBool::new(false),
        _alone: alone,
    };
    conformance::run(&bench).await;
    drop(bench.target);
    block_in_place(|| drop(bench.stack));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_goes_where_java_would_send_it() {
    const PARTITIONS: i32 = 7;
    // From the tests of Kafka's own client: murmur2 of some texts.
    let hashes: [(&str, i32); 5] = [
        ("21", -973_932_308),
        ("foobar", -790_332_482),
        ("a-little-bit-long-string", -985_981_536),
        ("a-little-bit-longer-string", -1_486_304_829),
        ("abc", 479_470_107),
    ];
    let stack = block_in_place(brokers::shared);
    let (brokers, topic) = (stack.kafka_bootstrap(), brokers::topic("placed"));
    raw::create_topic(&brokers, &topic, PARTITIONS, &[]);
    let target = target(to(&brokers, &topic));
    let mut arrivals = read(&brokers, &topic, PARTITIONS);
    for (key, hash) in hashes {
        let key = Some(Bytes::from_static(key.as_bytes()));
        let answer = send(&target, Message { key: key.clone(), ..Message::default() }).await;
        assert_eq!(answer, Answer::Delivered);
        let (partition, arrival) = next(&mut arrivals).await;
        assert_eq!((partition, arrival.key), ((hash & i32::MAX) % PARTITIONS, key));
    }
    // The empty key is a key: all of it go to one place.
    let mut places = Vec::new();
    for _ in 0..20 {
        let key = Some(Bytes::new());
        assert_eq!(send(&target, Message { key, ..Message::default() }).await, Answer::Delivered);
        places.push(next(&mut arrivals).await.0);
    }
    places.dedup();
    assert_eq!(places.len(), 1, "{places:?}");
}

/// Sends all at once; the answers in the same order.
async fn send_all(target: &Arc<KafkaTarget>, messages: Vec<Message>) -> Vec<Answer> {
    let sending = messages.into_iter().map(|message| {
        let target = Arc::clone(target);
        tokio::spawn(async move { send(&target, message).await })
    });
    let sending: Vec<_> = sending.collect();
    let mut answers = Vec::new();
    for sent in sending {
        answers.push(sent.await.expect("no panic"));
    }
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_record_is_refused_for_befalls_no_other_of_its_batch() {
    let stack = block_in_place(brokers::shared);
    let brokers = stack.kafka_bootstrap();
    // A batch of a few of these is larger than the topic takes.
    let small = brokers::topic("small");
    raw::create_topic(&brokers, &small, 1, &[("max.message.bytes", "3000")]);
    // A producer stops for a moment after each refusal, and a machine may be slow.
    let timeout = Duration::from_secs(60);
    let target = Arc::new(target(KafkaOptions { timeout, ..to(&brokers, &small) }));
    let mut state = 1_u64;
    let mut noise = |count: usize| -> Bytes {
        let bytes = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        });
        bytes.take(count).collect()
    };
    let sizes: Vec<usize> = (0..100).map(|n| if n % 10 == 5 { 5_000 } else { 500 }).collect();
    let messages =
        sizes.iter().map(|size| Message { payload: noise(*size), ..Message::default() }).collect();
    for (size, answer) in sizes.iter().zip(send_all(&target, messages).await) {
        match answer {
            Answer::Delivered => assert_eq!(*size, 500),
            Answer::Failed(Failure { class, text }) => {
                assert_eq!((*size, class), (5_000, ErrorClass::Permanent), "{text}");
                assert!(text.contains("Message size too large"), "{text}");
            }
        }
    }
    // A compacted topic takes no record without a key.
    let compacted = brokers::topic("compacted");
    raw::create_topic(&brokers, &compacted, 1, &[("cleanup.policy", "compact")]);
    let target = Arc::new(self::target(KafkaOptions { timeout, ..to(&brokers, &compacted) }));
    let keys: Vec<Option<Bytes>> =
        (0..100).map(|n| (n % 10 != 5).then(|| n.to_string().into())).collect();
    let messages =
        keys.iter().map(|key| Message { key: key.clone(), ..Message::default() }).collect();
    for (key, answer) in keys.iter().zip(send_all(&target, messages).await) {
        match answer {
            Answer::Delivered => assert!(key.is_some()),
            Answer::Failed(Failure { class, text }) => {
                assert_eq!((key, class), (&None, ErrorClass::Permanent), "{text}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_cannot_take_anything_is_overloaded_until_it_can() {
    let stack = block_in_place(brokers::shared);
    let brokers = stack.kafka_bootstrap();
    // No such topic; then there is one.
    let missing = brokers::topic("missing");
    let target = target(to(&brokers, &missing));
    let Failure { class, text } = failure(&target, Message::default()).await;
    assert_eq!(class, AWAY, "{text}");
    assert!(text.contains(&missing) && text.contains("nknown topic"), "{text}");
    raw::create_topic(&brokers, &missing, 1, &[]);
    deliver(&target).await;
    // Nobody is there.
    for nobody in ["127.0.0.1:1", "no-such-host.invalid:9092"] {
        let Failure { class, text } =
            failure(&self::target(to(nobody, "anything")), Message::default()).await;
        assert_eq!(class, AWAY, "{text}");
        assert!(text.contains("refused") || text.contains("resolve"), "{text}");
    }
}

/// One broker that creates topics for whoever asks, and one of its listeners wants a login.
fn start_with_logins() -> (Stack, String) {
    let network = Network::drawn();
    let host = network.host(1);
    let plain = "org.apache.kafka.common.security.plain.PlainLoginModule required";
    let listeners = format!("PLAINTEXT://{host}:9092,LOGIN://{host}:9094");
    let properties = [
        ("listeners", format!("{listeners},CONTROLLER://{host}:9093")),
        ("advertised.listeners", listeners),
        (
            "listener.security.protocol.map",
            "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,LOGIN:SASL_PLAINTEXT".to_owned(),
        ),
        ("listener.name.login.sasl.enabled.mechanisms", "PLAIN".to_owned()),
        (
            "listener.name.login.plain.sasl.jaas.config",
            format!("{plain} user_keeper=\"{PASSWORD}\" user_guest=\"{PASSWORD}\";"),
        ),
        (
            "authorizer.class.name",
            "org.apache.kafka.metadata.authorizer.StandardAuthorizer".to_owned(),
        ),
        ("super.users", "User:ANONYMOUS;User:keeper".to_owned()),
        ("auto.create.topics.enable", "true".to_owned()),
    ];
    let properties = properties.into_iter().map(|(name, value)| (name.to_owned(), value));
    let spec = StackSpec {
        kafka: 1,
        kafka_properties: properties.collect(),
        network: Some(network),
        ..StackSpec::default()
    };
    (Stack::start(&spec).expect("a broker that starts"), format!("{host}:9094"))
}

fn of_user(options: &KafkaOptions, user: &str, password: &str) -> KafkaOptions {
    let settings = [
        ("security.protocol", "sasl_plaintext"),
        ("sasl.mechanism", "PLAIN"),
        ("sasl.username", user),
        ("sasl.password", password),
    ];
    let client = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    KafkaOptions { client, ..options.clone() }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_write_is_told_so_and_nothing_is_created() {
    let (stack, with_login) = block_in_place(start_with_logins);
    let (open, topic) = (stack.kafka_bootstrap(), brokers::topic("access"));
    raw::create_topic(&open, &topic, 1, &[]);
    let options = to(&with_login, &topic);
    let wrong = of_user(&options, "keeper", "wrong-horse-battery");
    assert!(!format!("{wrong:?}").contains("horse"));
    let Failure { class, text } = failure(&target(wrong), Message::default()).await;
    assert_eq!(class, AWAY, "{text}");
    assert!(text.contains("uthentication") && !text.contains("horse"), "{text}");
    let guest = target(of_user(&options, "guest", PASSWORD));
    let Failure { class, text } = failure(&guest, Message::default()).await;
    assert_eq!(class, AWAY, "{text}");
    assert!(text.to_lowercase().contains("authorization failed"), "{text}");
    deliver(&target(of_user(&options, "keeper", PASSWORD))).await;
    // The broker would create it.
    let missing = brokers::topic("missing");
    let target = target(to(&open, &missing));
    let Failure { class, text } = failure(&target, Message::default()).await;
    assert_eq!(class, AWAY, "{text}");
    assert_eq!(raw::leader(&open, &missing, 0), None, "it was created");
    block_in_place(|| drop(stack));
}

#[test]
fn options_that_cannot_be_are_refused_with_what_to_do() {
    let with = |name: &str, value: &str| KafkaOptions {
        client: [(name.to_owned(), value.to_owned())].into(),
        ..to("127.0.0.1:1", "a")
    };
    let timeout = |timeout| KafkaOptions { timeout, ..to("127.0.0.1:1", "a") };
    for (options, said) in [
        (to("", "a"), "write host:port"),
        (to("127.0.0.1:1", ""), "write that of a topic"),
        (timeout(Duration::ZERO), "give it 10 s"),
        (timeout(Duration::MAX), "give it 10 s"),
        (with("acks", "1"), "leave it out"),
        (with("enable.idempotence", "false"), "leave it out"),
        (with("partitioner", "random"), "leave it out"),
        (with("securty.protocol", "ssl"), "securty.protocol"),
        (with("sasl.password", "env:HANDFAST_NO_SUCH"), "HANDFAST_NO_SUCH, which is not set"),
        (with("security.protocol", PASSWORD), "security.protocol"),
    ] {
        let refused = KafkaTarget::new(options).expect_err(said).to_string();
        assert!(refused.contains(said), "{refused}\n{said}");
    }
    let path = std::env::var("PATH").expect("there is one");
    let refused = KafkaTarget::new(with("security.protocol", "env:PATH")).expect_err("no protocol");
    assert!(!refused.to_string().contains(&path), "{refused}");
}
