//! The client library: its settings, and what it says went wrong.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::options::KafkaOptions;
use crate::limits::MAX_RECORD_BYTES;
use crate::log::LogError;
use crate::namespace::reserved_setting;

/// Bytes of one request's batch: a record, and what Kafka puts around it.
pub(super) const MAX_MESSAGE_BYTES: usize = MAX_RECORD_BYTES + (64 << 10);
/// Records that the client library may hold; the log's own bound in bytes is reached first.
const MAX_QUEUED_RECORDS: usize = 10_000_000;

/// How long one request may take before it is sent again.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// What one client said went wrong, newest last: an error that comes late says more with it.
#[derive(Clone, Debug, Default)]
pub(super) struct Complaints(Arc<Mutex<VecDeque<String>>>);

impl Complaints {
    const KEPT: usize = 6;

    pub(super) fn push(&self, complaint: &str) {
        let complaint = &without_repetition(complaint);
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.iter().any(|known| known == complaint) {
            return;
        }
        if kept.len() == Self::KEPT {
            kept.pop_front();
        }
        kept.push_back(complaint.to_owned());
    }

    /// A line of the library's own log: a connection that failed is kept, for a consumer does not say why
    /// otherwise.
    pub(super) fn hear(&self, level: RDKafkaLogLevel, fac: &str, message: &str) {
        if fac == "FAIL" {
            // `[thrd:…]: broker: what happened`
            self.push(message.split_once("]: ").map_or(message, |(_, rest)| rest));
        }
        // Most of what the library calls an error is one connection; what matters comes back as an answer.
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::warn!(fac, message, "Kafka client");
            }
            _ => tracing::debug!(fac, message, "Kafka client"),
        }
    }

    /// The newest of those that say that a broker does not let this client in.
    pub(super) fn of_login(&self) -> Option<String> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().rev().find(|complaint| is_of_login(complaint)).cloned()
    }

    /// Brokers let it in.
    pub(super) fn forget_logins(&self) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|complaint| !is_of_login(complaint));
    }

    /// The error, and all of them.
    pub(super) fn with(&self, error: &KafkaError) -> String {
        let all = self.or(error);
        let error = error.to_string();
        if all == error { all } else { format!("{error} ({all})") }
    }

    /// All of them, or the error itself.
    pub(super) fn or(&self, error: &KafkaError) -> String {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.is_empty() {
            return error.to_string();
        }
        kept.iter().map(String::as_str).collect::<Vec<_>>().join("; ")
    }
}

fn is_of_login(complaint: &str) -> bool {
    let words = ["uthentication", "mechanism"];
    complaint.contains("SASL") && words.iter().any(|word| complaint.contains(word))
}

/// Hears what a client complains of.
#[derive(Clone, Debug, Default)]
pub(super) struct Listener {
    pub(super) complaints: Complaints,
}

impl ClientContext for Listener {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, message: &str) {
        self.complaints.hear(level, fac, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "Kafka client");
        self.complaints.push(reason);
    }
}

impl ConsumerContext for Listener {}

/// `… (after 3ms in state CONNECT, 1 identical error(s) suppressed)`: the same complaint each time.
fn without_repetition(reason: &str) -> String {
    reason.split(" (after ").next().unwrap_or(reason).to_owned()
}

/// Settings for every client of this log, the user's first.
pub(super) fn common(options: &KafkaOptions) -> Result<ClientConfig, LogError> {
    let mut config = ClientConfig::new();
    for (name, value) in &options.kafka.client {
        if let Some(why) = reserved_setting(name) {
            let action = format!("use the client setting {name}: {why}; leave it out");
            return Err(LogError::Io { action, source: io::ErrorKind::InvalidInput.into() });
        }
        match value.strip_prefix("env:") {
            None => config.set(name, value),
            Some(variable) => {
                let value = std::env::var(variable).map_err(|error| LogError::Io {
                    action: format!("read {name} from the environment variable {variable}"),
                    source: io::Error::other(error),
                })?;
                config.set(name, value)
            }
        };
    }
    config.set("bootstrap.servers", &options.kafka.brokers);
    if !options.kafka.client.contains_key("client.id") {
        config.set("client.id", "handfast");
    }
    // A broker that was away is tried again soon: a leader's clients wait for it.
    set_default(&mut config, options, "reconnect.backoff.max.ms", "1000");
    set_default(&mut config, options, "socket.timeout.ms", "10000");
    set_default(&mut config, options, "topic.metadata.refresh.fast.interval.ms", "100");
    set_default(&mut config, options, "socket.nagle.disable", "true");
    Ok(config)
}

fn set_default(config: &mut ClientConfig, options: &KafkaOptions, name: &str, value: &str) {
    if !options.kafka.client.contains_key(name) {
        config.set(name, value);
    }
}

/// How long a producer's thread waits for the rest of a group, once it has woken for its first record, milliseconds.
/// Were it 0, it would send what is there by then, and hold back the rest until that is acknowledged, polling without
/// a pause. Whoever hands over a group [says when it is whole](super::producer::EpochProducer::send_now).
const LINGER_MS: &str = "0.1";

/// What follows the topic is given so much at once, or what has come in 10 ms: a broker that answers with every
/// group as it comes has more to do with that than with the group, bytes.
const FOLLOWED_BYTES: usize = 64 << 10;

/// Settings of the producer of one epoch.
pub(super) fn of_producer(options: &KafkaOptions) -> Result<ClientConfig, LogError> {
    let mut config = common(options)?;
    config
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("enable.gapless.guarantee", "true")
        .set("max.in.flight.requests.per.connection", "5")
        .set("linger.ms", LINGER_MS)
        // A broker that hangs is asked again, or its successor; idempotence makes that harmless.
        .set("request.timeout.ms", millis(REQUEST_TIMEOUT.min(options.append_timeout)))
        .set("message.timeout.ms", millis(options.append_timeout))
        .set("message.max.bytes", MAX_MESSAGE_BYTES.to_string())
        .set("batch.size", MAX_MESSAGE_BYTES.to_string())
        .set("queue.buffering.max.messages", MAX_QUEUED_RECORDS.to_string())
        .set("queue.buffering.max.kbytes", "2097151");
    Ok(config)
}

/// Settings of a consumer, which reads what it is told to and nothing else.
pub(super) fn of_reader(options: &KafkaOptions) -> Result<ClientConfig, LogError> {
    let mut config = common(options)?;
    config
        // Never joined: the library wants a name where records are read.
        .set("group.id", "handfast-reader")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .set("allow.auto.create.topics", "false")
        .set("check.crcs", "true")
        .set("fetch.wait.max.ms", "10")
        .set("fetch.error.backoff.ms", "50")
        .set("queued.max.messages.kbytes", "32768");
    Ok(config)
}

/// Settings of a consumer that follows the topic for as long as it is used.
pub(super) fn of_follower(options: &KafkaOptions) -> Result<ClientConfig, LogError> {
    let mut config = of_reader(options)?;
    config.set("fetch.min.bytes", FOLLOWED_BYTES.to_string());
    Ok(config)
}

pub(super) fn millis(duration: Duration) -> String {
    duration.as_millis().to_string()
}

/// An error of a request, with what to do about it.
pub(super) fn failed(action: &str, error: &KafkaError) -> LogError {
    let advice = match error.rdkafka_error_code() {
        Some(
            RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed
            | RDKafkaErrorCode::GroupAuthorizationFailed,
        ) => {
            "; grant this user Describe, DescribeConfigs, Create, Read, Write and Delete on the topic, \
             and IdempotentWrite on the cluster"
        }
        _ => "",
    };
    LogError::Io { action: action.to_owned(), source: io::Error::other(format!("{error}{advice}")) }
}

/// Whether no broker could be reached, rather than one having said no.
pub(super) fn is_unreachable(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::OperationTimedOut
                | RDKafkaErrorCode::Resolve
                | RDKafkaErrorCode::Authentication
                | RDKafkaErrorCode::SSL
        )
    )
}
