//! `[log]` with `kind = "kafka"`: where the brokers are, and what of their client may be set.

use std::collections::BTreeMap;
use std::fmt;

/// Where a namespace's log is in Kafka.
#[derive(Clone, PartialEq, Eq)]
pub struct KafkaSettings {
    /// Brokers to start from, `host:port`, with commas between.
    pub brokers: String,
    /// The topic: one for each namespace, one topic partition for each shard.
    pub topic: String,
    /// On how many brokers each record is kept.
    pub replication: u16,
    /// Whether fewer than three copies, and one in-sync replica, will do. For development only: such a
    /// log is lost with a disk.
    pub development: bool,
    /// Settings of the client library by its own names: TLS, SASL, compression. A value `env:NAME` is read from
    /// the server's environment, so that a password need not stand here.
    pub client: BTreeMap<String, String>,
}

impl fmt::Debug for KafkaSettings {
    // The client's settings may hold passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSettings")
            .field("brokers", &self.brokers)
            .field("topic", &self.topic)
            .field("replication", &self.replication)
            .field("development", &self.development)
            .field("client", &self.client.keys())
            .finish()
    }
}

/// Copies of each record, if nothing else is said; the least outside development.
pub const DEFAULT_REPLICATION: u16 = 3;
/// Copies of each record at most.
pub const MAX_REPLICATION: u16 = 15;
/// Characters of a topic's name, as Kafka has it.
const MAX_TOPIC: usize = 249;

/// Client settings that are Handfast's own, each with the reason. Names end where a `*` stands.
const RESERVED: [(&str, &str); 36] = [
    ("acks", "every record is acknowledged by all in-sync replicas"),
    ("request.required.acks", "every record is acknowledged by all in-sync replicas"),
    ("enable.idempotence", "without it retries may repeat and reorder records"),
    ("enable.gapless.guarantee", "without it a lost record may be followed by others"),
    ("max.in.flight*", "it is part of how retries keep their order"),
    ("retries", "it is part of how retries keep their order"),
    ("message.send.max.retries", "it is part of how retries keep their order"),
    ("transactional.id", "the log uses no Kafka transactions"),
    ("transaction.timeout.ms", "the log uses no Kafka transactions"),
    ("isolation.level", "the log uses no Kafka transactions"),
    ("auto.offset.reset", "a position that is gone is an error, and never skipped"),
    ("topic.auto.offset.reset", "a position that is gone is an error, and never skipped"),
    ("enable.auto.*", "positions are kept by Handfast"),
    ("auto.commit*", "positions are kept by Handfast"),
    ("enable.partition.eof", "positions are kept by Handfast"),
    ("offset.store*", "positions are kept by Handfast"),
    ("group.*", "the log is read without a consumer group"),
    ("partition.assignment.strategy", "the log is read without a consumer group"),
    ("partitioner*", "a shard is a topic partition"),
    ("sticky.partitioning*", "a shard is a topic partition"),
    ("check.crcs", "what is read is always checked"),
    ("allow.auto.create.topics", "a topic that is gone is an error, and never made anew unnoticed"),
    ("message.timeout.ms", "Handfast decides when an append is in doubt"),
    ("delivery.timeout.ms", "Handfast decides when an append is in doubt"),
    ("request.timeout.ms", "Handfast decides when an append is in doubt"),
    ("linger.ms", "Handfast gathers records into batches itself"),
    ("queue.buffering.*", "Handfast gathers records into batches itself"),
    ("batch.*", "Handfast gathers records into batches itself"),
    ("message.max.bytes", "it follows from the bounds of a record"),
    ("message.copy.max.bytes", "it follows from the bounds of a record"),
    ("receive.message.max.bytes", "it follows from the bounds of a record"),
    ("fetch.*", "it follows from the bounds of a record"),
    ("max.partition.fetch.bytes", "it follows from the bounds of a record"),
    ("bootstrap.servers", "say it as log.brokers"),
    ("metadata.broker.list", "say it as log.brokers"),
    ("plugin.library.paths", "no code is loaded into the server"),
];

/// Why a client setting may not be set, if so.
pub fn reserved_setting(name: &str) -> Option<&'static str> {
    let is = |pattern: &str| match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    };
    RESERVED.iter().find(|(pattern, _)| is(pattern)).map(|(_, why)| *why)
}

/// Why a list of brokers cannot be one, if so.
pub(super) fn wrong_brokers(brokers: &str) -> Option<String> {
    for broker in brokers.split(',') {
        let host_and_port = broker.rsplit_once(':');
        let port = host_and_port.and_then(|(_, port)| port.parse::<u16>().ok());
        let host = host_and_port.map_or("", |(host, _)| host);
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "-._:[]".contains(letter);
        if port.is_none_or(|port| port == 0) || host.is_empty() || !host.chars().all(plain) {
            return Some(format!(
                "{broker:?} is not a broker: write host:port, with commas between"
            ));
        }
    }
    None
}

/// Why a name cannot be a topic's, if so.
pub(super) fn wrong_topic(topic: &str) -> Option<String> {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    let right = (1..=MAX_TOPIC).contains(&topic.len())
        && topic.chars().all(plain)
        && topic != "."
        && topic != "..";
    (!right).then(|| {
        format!(
            "{topic:?} is not the name of a topic: 1 to {MAX_TOPIC} letters, digits, '.', '_' and '-'"
        )
    })
}
