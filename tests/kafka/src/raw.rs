//! The client library itself: what operators, accidents and readers of topics do.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Context;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message as _};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

const PATIENCE: Duration = Duration::from_secs(30);

fn config(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers);
    config
}

fn admin(brokers: &str) -> AdminClient<DefaultClientContext> {
    config(brokers).create().expect("a client")
}

fn consumer(brokers: &str) -> BaseConsumer {
    config(brokers).create().expect("a client")
}

/// Creates a topic with one copy, and waits until it has leaders.
pub fn create_topic(brokers: &str, name: &str, partitions: i32, settings: &[(&str, &str)]) {
    create_copied_topic(brokers, name, partitions, 1, settings);
}

/// The same with so many copies.
pub fn create_copied_topic(
    brokers: &str,
    name: &str,
    partitions: i32,
    copies: i32,
    settings: &[(&str, &str)],
) {
    let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(copies));
    for (name, value) in settings {
        topic = topic.set(name, value);
    }
    let admin = admin(brokers);
    let creating = admin.create_topics([&topic], &AdminOptions::new());
    let results = pollster::block_on(creating).expect("an answer");
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    let end = Instant::now() + PATIENCE;
    while leader(brokers, name, 0).is_none() {
        assert!(Instant::now() < end, "{name} has no leader");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Deletes a topic, and waits until no broker knows it.
pub fn delete_topic(brokers: &str, name: &str) {
    let admin = admin(brokers);
    let deleting = admin.delete_topics(&[name], &AdminOptions::new());
    let results = pollster::block_on(deleting).expect("an answer");
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    let end = Instant::now() + PATIENCE;
    while leader(brokers, name, 0).is_some() {
        assert!(Instant::now() < end, "{name} is still there");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The broker that leads a partition, by its node id.
pub fn leader(brokers: &str, topic: &str, partition: i32) -> Option<i32> {
    let metadata = consumer(brokers).fetch_metadata(Some(topic), PATIENCE).ok()?;
    let topic = metadata.topics().iter().find(|it| it.name() == topic)?;
    let partition = topic.partitions().iter().find(|it| it.id() == partition)?;
    (partition.leader() >= 0).then_some(partition.leader())
}

/// Where a partition begins and ends.
pub fn limits(brokers: &str, topic: &str, partition: i32) -> (i64, i64) {
    consumer(brokers).fetch_watermarks(topic, partition, PATIENCE).expect("an answer")
}

/// A record that a reader finds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Its key as text, if it has one.
    pub key: Option<String>,
    /// Its headers as text.
    pub headers: BTreeMap<String, String>,
    /// Its payload as text.
    pub payload: String,
}

/// Everything that a topic has, partition by partition, in order.
///
/// # Errors
/// If the brokers do not answer in time.
pub fn read_all(brokers: &str, topic: &str) -> anyhow::Result<Vec<Record>> {
    let metadata = consumer(brokers).fetch_metadata(Some(topic), PATIENCE)?;
    let partitions = metadata.topics().iter().find(|it| it.name() == topic);
    let partitions = partitions.map_or(0, |topic| topic.partitions().len() as i32);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut records = Vec::new();
    for partition in 0..partitions {
        let consumer: BaseConsumer = config(brokers)
            .set("group.id", "a-reader")
            .set("auto.offset.reset", "error")
            .set("enable.auto.commit", "false") // nobody keeps where it is
            .create()?;
        let (first, end) = consumer.fetch_watermarks(topic, partition, PATIENCE)?;
        let mut from = TopicPartitionList::new();
        from.add_partition_offset(topic, partition, Offset::Offset(first))?;
        consumer.assign(&from)?;
        let mut next = first;
        while next < end {
            let place = || format!("{topic}/{partition}, which ends at {end}, at {next}");
            let message =
                consumer.poll(PATIENCE).with_context(|| format!("nothing of {}", place()))?;
            let message = message.with_context(place)?;
            next = message.offset() + 1;
            let headers = message.headers().into_iter().flat_map(Headers::iter);
            let headers = headers.map(|it| (it.key.to_owned(), text(it.value.unwrap_or_default())));
            records.push(Record {
                key: message.key().map(text),
                headers: headers.collect(),
                payload: message.payload().map(text).unwrap_or_default(),
            });
        }
    }
    Ok(records)
}

/// Writes one message, as somebody else would.
pub fn produce(brokers: &str, topic: &str, partition: i32, payload: &[u8]) {
    let producer: BaseProducer = config(brokers).create().expect("a client");
    let message: BaseRecord<'_, (), [u8]> = BaseRecord::to(topic).partition(partition);
    assert!(producer.send(message.payload(payload)).is_ok(), "the client takes it");
    producer.flush(PATIENCE).expect("the broker takes it");
}

/// One who sends messages, each at once and by itself, without any of the log's rules.
pub struct Sender(BaseProducer);

impl Sender {
    /// Connects when it sends first.
    ///
    /// # Panics
    /// If there are no threads.
    pub fn new(brokers: &str) -> Self {
        Self(config(brokers).set("linger.ms", "0").create().expect("a client"))
    }

    /// Sends a message, and waits until it is in the log.
    ///
    /// # Panics
    /// If the brokers do not take it.
    pub fn send(&self, topic: &str, partition: i32, payload: &[u8]) {
        let message: BaseRecord<'_, (), [u8]> = BaseRecord::to(topic).partition(partition);
        assert!(self.0.send(message.payload(payload)).is_ok(), "the client takes it");
        self.0.flush(PATIENCE).expect("the broker takes it");
    }
}
