//! Plain appends to a topic of its own, for benchmarks: what the log is held against.
//!
//! What a competent user of Kafka would write: one idempotent producer, `acks=all`, a topic with the settings of a
//! log. None of the log's own care: nobody checks where a record stands.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::admin::AdminOptions;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};

use super::client::{Complaints, failed, millis, of_producer};
use super::options::KafkaOptions;
use super::reader::offset_from;
use super::topic::Topic;
use crate::id::ShardId;
use crate::log::LogError;

/// Told once, when all records of a call are acknowledged or one of them is not.
pub type PlainDone = Box<dyn FnOnce(Result<(), String>) + Send>;

/// A call whose records are not all acknowledged yet.
struct Pending {
    left: AtomicUsize,
    done: Mutex<Option<PlainDone>>,
}

impl Pending {
    fn settle(&self, result: Result<(), String>) {
        let is_last = self.left.fetch_sub(1, Ordering::AcqRel) == 1;
        if is_last || result.is_err() {
            let done = self.done.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(done) = done {
                done(result);
            }
        }
    }
}

#[derive(Clone, Default)]
struct Reports {
    complaints: Complaints,
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, message: &str) {
        self.complaints.hear(level, fac, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "Kafka producer");
        self.complaints.push(reason);
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = Arc<Pending>;

    fn delivery(&self, result: &DeliveryResult<'_>, pending: Arc<Pending>) {
        let acknowledged = result.as_ref().map(|_| ());
        pending.settle(acknowledged.map_err(|(error, _)| self.complaints.with(error)));
    }
}

/// A topic and one producer for it.
pub struct PlainTopic {
    topic: Topic,
    producer: ThreadedProducer<Reports>,
}

impl PlainTopic {
    /// Makes the topic, with the settings that a log's topic has, unless it is there, and a producer, which lingers
    /// so long for more records to go with one: 0 for the shortest latency, the clients' usual 5 ms for the highest
    /// rate. Blocks.
    ///
    /// # Errors
    /// As those of [`super::KafkaLog::open`].
    pub fn create(options: KafkaOptions, linger: Duration) -> Result<Self, LogError> {
        let topic = Topic::new(options)?;
        topic.ensure(true)?;
        let producer = of_producer(&topic.options)?
            .set("linger.ms", millis(linger))
            .create_with_context(Reports::default())
            .map_err(|error| failed("start a producer", &error))?;
        Ok(Self { topic, producer })
    }

    /// Sends one record with this value to each of the topic partitions, all at once; `done` hears when the
    /// last of them is acknowledged by all in-sync replicas, or the first is not.
    ///
    /// # Panics
    /// If no topic partition is named.
    pub fn append(&self, to: &[ShardId], value: &[u8], done: PlainDone) {
        assert!(!to.is_empty(), "an append goes somewhere");
        let pending =
            Arc::new(Pending { left: AtomicUsize::new(to.len()), done: Mutex::new(Some(done)) });
        for shard in to {
            let record: BaseRecord<'_, (), [u8], Arc<Pending>> =
                BaseRecord::with_opaque_to(self.name(), Arc::clone(&pending))
                    .partition(i32::from(shard.0))
                    .payload(value);
            if let Err((error, _)) = self.producer.send(record) {
                pending.settle(Err(format!("the client did not take a record: {error}")));
            }
        }
    }

    /// How many records it has, if none was ever trimmed. Blocks.
    ///
    /// # Errors
    /// If the brokers do not answer.
    pub fn count(&self) -> Result<u64, LogError> {
        let client = self.producer.client();
        let mut count = 0;
        for partition in 0..i32::from(self.topic.options.shards) {
            let (_, end) = client
                .fetch_watermarks(self.name(), partition, self.topic.options.read_timeout)
                .map_err(|error| failed("count records", &error))?;
            count += offset_from(end);
        }
        Ok(count)
    }

    /// Deletes the topic. Blocks.
    ///
    /// # Errors
    /// If the brokers refuse or do not answer: then it is still there.
    pub fn delete(self) -> Result<(), LogError> {
        let action = format!("delete the topic {}", self.name());
        self.producer.purge(rdkafka::producer::PurgeConfig::default().queue().inflight());
        let results = self.topic.ask(&action, |timeout| {
            let options = AdminOptions::new().request_timeout(Some(timeout));
            pollster::block_on(self.topic.admin.delete_topics(&[self.name()], &options))
        })?;
        match results.into_iter().next() {
            Some(Ok(_)) => Ok(()),
            Some(Err((_, code))) => Err(failed(&action, &KafkaError::AdminOp(code))),
            None => Err(failed(&action, &KafkaError::Canceled)),
        }
    }

    /// The topic's name.
    pub fn name(&self) -> &str {
        &self.topic.options.kafka.topic
    }
}
