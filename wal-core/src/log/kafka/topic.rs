//! The topic: created with settings that lose nothing, refused with any other.

use std::io;
use std::time::{Duration, Instant};

use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::client::{
    Complaints, Listener, MAX_MESSAGE_BYTES, common, failed, is_unreachable, of_reader,
};
use super::options::KafkaOptions;
use super::reader::is_gone;
use crate::log::LogError;

/// How often something is asked again that a broker does not know yet.
const PAUSE: Duration = Duration::from_millis(50);
/// The least copies of each record, and of those in sync, outside development.
const MIN_REPLICATION: usize = 3;
const MIN_IN_SYNC: u64 = 2;

/// What every topic must say, and what is said at its creation.
const REQUIRED: [(&str, &str, &str); 5] = [
    ("cleanup.policy", "delete", "compaction drops records"),
    ("retention.ms", "-1", "Kafka drops records by their age; Handfast trims what nobody needs"),
    ("retention.bytes", "-1", "Kafka drops records by size; Handfast trims what nobody needs"),
    (
        "unclean.leader.election.enable",
        "false",
        "a broker that missed acknowledged records may become leader",
    ),
    ("message.timestamp.type", "LogAppendTime", "clocks are compared with the broker's"),
];

/// Clients for questions about the topic.
pub(super) struct Topic {
    pub(super) options: KafkaOptions,
    /// A client that creates nothing by asking, unlike a producer.
    pub(super) client: BaseConsumer<Listener>,
    pub(super) admin: AdminClient<Listener>,
    complaints: Complaints,
}

/// What the brokers say of the topic.
struct Layout {
    partitions: usize,
    /// The fewest copies of any partition.
    replication: usize,
    /// Partitions without a leader.
    leaderless: usize,
}

impl Topic {
    pub(super) fn new(options: KafkaOptions) -> Result<Self, LogError> {
        let listener = Listener::default();
        let complaints = listener.complaints.clone();
        let start = |error: KafkaError| failed("start a Kafka client", &error);
        let mut quiet = of_reader(&options)?;
        quiet.remove("group.id");
        let client = quiet.create_with_context(listener.clone()).map_err(start)?;
        let admin = common(&options)?.create_with_context(listener).map_err(start)?;
        Ok(Self { options, client, admin, complaints })
    }

    fn name(&self) -> &str {
        &self.options.kafka.topic
    }

    /// Waits for an answer of the brokers, asking again where none could be reached.
    pub(super) fn ask<T>(
        &self,
        action: &str,
        mut question: impl FnMut(Duration) -> Result<T, KafkaError>,
    ) -> Result<T, LogError> {
        const ONE_TRY: Duration = Duration::from_secs(5);
        let end = Instant::now() + self.options.read_timeout;
        loop {
            let left = end.saturating_duration_since(Instant::now()).max(PAUSE);
            let error = match question(left.min(ONE_TRY)) {
                Ok(answer) => {
                    self.complaints.forget_logins();
                    return Ok(answer);
                }
                Err(error) => error,
            };
            self.listen();
            if is_refused(&error) {
                return Err(failed(action, &error));
            }
            if let Some(why) = self.complaints.of_login() {
                let brokers = self.options.kafka.brokers.clone();
                return Err(LogError::Login { brokers, why });
            }
            if Instant::now() + PAUSE >= end {
                return Err(if is_unreachable(&error) {
                    self.unreachable(&error)
                } else if is_gone(&error) {
                    let what = format!("the topic is gone ({error})");
                    LogError::Lost { log: self.name().to_owned(), what }
                } else {
                    failed(action, &error)
                });
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Takes in what the client has to say of its connections.
    fn listen(&self) {
        while let Some(Err(error)) = self.client.poll(Duration::ZERO) {
            tracing::debug!(%error, "Kafka client");
        }
    }

    fn unreachable(&self, error: &KafkaError) -> LogError {
        LogError::Unreachable {
            brokers: self.options.kafka.brokers.clone(),
            why: format!(
                "nobody answered for {:?}: {}",
                self.options.read_timeout,
                self.complaints.or(error)
            ),
        }
    }

    /// Whether the topic is there; creates it if it may be.
    pub(super) fn ensure(&self, may_create: bool) -> Result<(), LogError> {
        if may_create {
            if self.layout()?.is_none() {
                self.create()?;
            }
        } else {
            self.wait_for_existing()?;
        }
        let end = Instant::now() + self.options.read_timeout;
        loop {
            match self.layout()? {
                Some(layout) if layout.leaderless == 0 => return self.check(&layout),
                Some(layout) if Instant::now() > end => {
                    let why = format!(
                        "{} of {} partitions of {} have no leader; start the brokers that keep them",
                        layout.leaderless,
                        layout.partitions,
                        self.name()
                    );
                    let brokers = self.options.kafka.brokers.clone();
                    return Err(LogError::Unreachable { brokers, why });
                }
                None if Instant::now() > end => {
                    let what = "it was created, and then was not there".into();
                    return Err(LogError::Lost { log: self.name().to_owned(), what });
                }
                Some(_) | None => std::thread::sleep(PAUSE),
            }
        }
    }

    /// A broker that has just started may not know of it yet.
    fn wait_for_existing(&self) -> Result<(), LogError> {
        const PATIENCE: Duration = Duration::from_secs(5);
        let end = Instant::now() + PATIENCE.min(self.options.read_timeout);
        while self.layout()?.is_none() {
            if Instant::now() > end {
                let what = "there is no such topic any more".into();
                return Err(LogError::Lost { log: self.name().to_owned(), what });
            }
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }

    fn layout(&self) -> Result<Option<Layout>, LogError> {
        self.ask("ask about the topic", |timeout| {
            let metadata = self.client.client().fetch_metadata(Some(self.name()), timeout)?;
            let Some(topic) = metadata.topics().iter().find(|topic| topic.name() == self.name())
            else {
                return Ok(None);
            };
            if let Some(error) = topic.error() {
                return match RDKafkaErrorCode::from(error) {
                    RDKafkaErrorCode::UnknownTopicOrPartition => Ok(None),
                    code => Err(KafkaError::MetadataFetch(code)),
                };
            }
            let partitions = topic.partitions();
            Ok(Some(Layout {
                partitions: partitions.len(),
                replication: partitions.iter().map(|it| it.replicas().len()).min().unwrap_or(0),
                leaderless: partitions.iter().filter(|it| it.leader() < 0).count(),
            }))
        })
    }

    fn create(&self) -> Result<(), LogError> {
        let settings = &self.options.kafka;
        let in_sync = if settings.replication < 3 { "1" } else { "2" };
        let bytes = MAX_MESSAGE_BYTES.to_string();
        let replication = TopicReplication::Fixed(i32::from(settings.replication));
        let partitions = i32::from(self.options.shards);
        let mut topic = NewTopic::new(self.name(), partitions, replication)
            .set("min.insync.replicas", in_sync)
            .set("max.message.bytes", &bytes);
        for (name, value, _) in REQUIRED {
            topic = topic.set(name, value);
        }
        let action = format!(
            "create the topic {} with {partitions} partitions of {} copies each",
            self.name(),
            settings.replication
        );
        let results = self.ask(&action, |timeout| {
            let options = AdminOptions::new().request_timeout(Some(timeout));
            pollster::block_on(self.admin.create_topics([&topic], &options))
        })?;
        match results.into_iter().next() {
            Some(Ok(_)) | Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(()),
            Some(Err((_, RDKafkaErrorCode::InvalidReplicationFactor))) => Err(LogError::Unsafe {
                log: self.name().to_owned(),
                problems: format!(
                    "fewer than {} brokers run; start them, or for development alone set \
                         log.development = true and log.replication = 1",
                    settings.replication
                ),
            }),
            Some(Err((_, code))) => Err(failed(&action, &KafkaError::AdminOp(code))),
            None => Err(failed(&action, &KafkaError::Canceled)),
        }
    }

    /// Whether the topic keeps everything that it acknowledges, and is as large as it must be.
    fn check(&self, layout: &Layout) -> Result<(), LogError> {
        let mut problems = Vec::new();
        let shards = usize::from(self.options.shards);
        if layout.partitions != shards {
            problems.push(format!(
                "it has {} partitions, the namespace {shards} shards; name a topic of its own",
                layout.partitions
            ));
        }
        let development = self.options.kafka.development;
        if layout.replication < MIN_REPLICATION && !development {
            problems.push(format!(
                "a partition has {} copies, {MIN_REPLICATION} are needed: reassign it to more brokers \
                 (kafka-reassign-partitions.sh), or for development alone set log.development = true",
                layout.replication
            ));
        }
        let config = self.config()?;
        let value = |name: &str| config.get(name).and_then(|entry| entry.value.clone());
        for (name, required, reason) in REQUIRED {
            let found = value(name).unwrap_or_default();
            if found != required {
                problems.push(fix(name, &found, required, reason));
            }
        }
        let least = if development { 1 } else { MIN_IN_SYNC };
        for (name, least, reason) in [
            (
                "min.insync.replicas",
                least,
                "a record must be on two brokers when it is acknowledged",
            ),
            ("max.message.bytes", MAX_MESSAGE_BYTES as u64, "the largest record must fit"),
        ] {
            let found = value(name).unwrap_or_default();
            if found.parse::<u64>().map_or(true, |found| found < least) {
                problems.push(fix(name, &found, &least.to_string(), reason));
            }
        }
        if problems.is_empty() {
            return Ok(());
        }
        let log = self.name().to_owned();
        Err(LogError::Unsafe { log, problems: problems.join("; ") })
    }

    /// What the brokers say of its settings. One that may not be asked, or does not know of the topic yet, says
    /// nothing at all.
    fn config(&self) -> Result<ConfigResource, LogError> {
        let action = format!("read the settings of the topic {}", self.name());
        let end = Instant::now() + self.options.read_timeout;
        loop {
            let mut results = self.ask(&action, |timeout| {
                let options = AdminOptions::new().request_timeout(Some(timeout));
                let topic = ResourceSpecifier::Topic(self.name());
                pollster::block_on(self.admin.describe_configs([&topic], &options))
            })?;
            match results.pop() {
                Some(Ok(config)) if !config.entries.is_empty() => return Ok(config),
                Some(Err(code)) => return Err(failed(&action, &KafkaError::AdminOp(code))),
                Some(Ok(_)) | None if Instant::now() > end => {
                    let why = "the brokers say nothing of them: grant this user DescribeConfigs on the topic";
                    return Err(LogError::Io { action, source: io::Error::other(why) });
                }
                Some(Ok(_)) | None => std::thread::sleep(PAUSE),
            }
        }
    }
}

fn fix(name: &str, found: &str, required: &str, reason: &str) -> String {
    format!(
        "{name} is {found:?}: {reason}; set it (kafka-configs.sh --alter --add-config {name}={required})"
    )
}

/// Whether asking again is of no use.
fn is_refused(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::ClusterAuthorizationFailed
                | RDKafkaErrorCode::GroupAuthorizationFailed
                | RDKafkaErrorCode::InvalidTopic
                | RDKafkaErrorCode::PolicyViolation
        )
    )
}
