//! What a log in Kafka is opened with.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::hints::HintStore;
use crate::id::Nonce;
use crate::limits::MAX_CLOCK_DRIFT_US;
use crate::namespace::KafkaSettings;

/// How long an append may be on its way before its fate is unknown. Longer than an election of the
/// controller takes to notice a dead broker (9 s by default).
pub const DEFAULT_APPEND_TIMEOUT: Duration = Duration::from_secs(30);
/// How long reading may wait for a broker.
pub const DEFAULT_READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of appends that may wait or be on their way.
pub const DEFAULT_QUEUE_BYTES: u64 = 64 << 20;
/// Bytes that one shard hands over at once, unless a single batch is larger.
pub const MAX_GROUP_BYTES: usize = 1 << 20;
/// Groups of one shard that may be on their way; the next one fills meanwhile. The client library has at most five
/// *records* of an idempotent producer on their way before it holds back what else it was given, and while it holds
/// back something its thread spins (`rd_kafka_toppar_producer_serve`), so a second group costs a core and gains nothing.
pub const MAX_GROUPS_IN_FLIGHT: usize = 1;
/// How far the broker's clock may be from this server's for it to lead.
pub const MAX_DRIFT_MS: i64 = MAX_CLOCK_DRIFT_US / 1000;

/// What is known of a log's nonce by whoever opens it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Nothing: it is read from the topic, or drawn if the topic is new. Nobody then notices that a topic
    /// was deleted and made anew while no server ran.
    Unknown,
    /// This one was drawn and written down, and perhaps the topic made: made now if it is not there. A topic
    /// with another nonce belongs to somebody else.
    Begun(Nonce),
    /// A log with this one was opened before. A topic without it was made anew: its records are lost.
    Known(Nonce),
}

/// Options of a [`super::KafkaLog`].
#[derive(Clone)]
pub struct KafkaOptions {
    /// Brokers, topic, client settings.
    pub kafka: KafkaSettings,
    /// How many shards, and so topic partitions.
    pub shards: u16,
    /// What is known of the log's nonce.
    pub identity: Identity,
    /// Where hints are kept.
    pub hints: Arc<dyn HintStore>,
    /// How long an append may be on its way before its fate is unknown.
    pub append_timeout: Duration,
    /// How long opening and reading may wait for a broker.
    pub read_timeout: Duration,
    /// Bytes of appends that may wait or be on their way; beyond them appends are rejected.
    pub queue_bytes: u64,
    /// This server's wall clock, milliseconds since the Unix epoch; a test's may be wrong.
    pub wall_ms: Arc<dyn Fn() -> i64 + Send + Sync>,
}

impl KafkaOptions {
    /// Options with the defaults for everything that has one.
    pub fn new(
        kafka: KafkaSettings,
        shards: u16,
        identity: Identity,
        hints: Arc<dyn HintStore>,
    ) -> Self {
        Self {
            kafka,
            shards,
            identity,
            hints,
            append_timeout: DEFAULT_APPEND_TIMEOUT,
            read_timeout: DEFAULT_READ_TIMEOUT,
            queue_bytes: DEFAULT_QUEUE_BYTES,
            wall_ms: Arc::new(|| {
                let since = SystemTime::now().duration_since(UNIX_EPOCH);
                since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
            }),
        }
    }
}

impl fmt::Debug for KafkaOptions {
    // Client settings may hold passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaOptions")
            .field("brokers", &self.kafka.brokers)
            .field("topic", &self.kafka.topic)
            .field("shards", &self.shards)
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}
