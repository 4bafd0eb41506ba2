//! The idempotent producer of one epoch of one shard, destroyed with it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::{Message, Timestamp};
use rdkafka::producer::{
    BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext, PurgeConfig,
};

use super::client::{Complaints, failed, of_producer};
use super::core::Input;
use super::mailbox::Teller;
use super::options::KafkaOptions;
use super::reader::offset_from;
use super::term::Run;
use crate::id::{Sequence, ShardId};
use crate::log::{LogError, ShardBatch};

/// How long a look for reports waits. The client library spends the last millisecond of each without a pause, so
/// many short ones, one of each shard, would add up; it is also how long a producer outlives its epoch at most.
const LOOK: Duration = Duration::from_secs(1);

/// Tells the reports of one producer from those of its predecessors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) shard: ShardId,
    pub(super) generation: u64,
}

/// What a producer learned.
#[derive(Debug)]
pub(super) enum Report {
    /// The broker took these; its clock when it took the last of them, if it said so.
    Taken(Run, Option<i64>),
    /// The fate of a record, and so of all behind it, is unknown.
    InDoubt(String),
}

/// Collects adjacent reports into runs and passes them on.
struct Reports {
    /// Whose records they are; a producer that waits for an epoch has none.
    source: Arc<OnceLock<Source>>,
    to: Teller,
    run: Mutex<Option<(Run, Option<i64>)>>,
    complaints: Complaints,
}

/// What a record carries to its report: its sequence, and whether it is the last of its batch.
const fn opaque(seq: Sequence, is_last: bool) -> usize {
    ((seq.0 as usize) << 1) | is_last as usize
}

impl Reports {
    fn send(&self, report: Report) {
        if let Some(source) = self.source.get() {
            self.to.tell(Input::Reported(*source, report));
        }
    }

    fn flush(&self, run: &mut Option<(Run, Option<i64>)>) {
        if let Some((run, broker_ms)) = run.take() {
            self.send(Report::Taken(run, broker_ms));
        }
    }
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, message: &str) {
        self.complaints.hear(level, fac, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "Kafka producer");
        let code = error.rdkafka_error_code();
        if code == Some(rdkafka::error::RDKafkaErrorCode::Fatal) {
            self.send(Report::InDoubt(format!("the producer failed for good: {reason}")));
        } else {
            self.complaints.push(reason);
        }
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: usize) {
        let (seq, is_last) = (Sequence((opaque >> 1) as u64), opaque & 1 == 1);
        let mut pending = self.run.lock().unwrap_or_else(PoisonError::into_inner);
        let message = match result {
            // Without an offset nobody can say where it stands, nor whether it is there once.
            Ok(message) if message.offset() < 0 => {
                self.flush(&mut pending);
                return self.send(Report::InDoubt(format!("record {seq} was given no offset")));
            }
            Ok(message) => message,
            Err((error, _)) => {
                self.flush(&mut pending);
                let why =
                    format!("record {seq} was not acknowledged: {}", self.complaints.with(error));
                return self.send(Report::InDoubt(why));
            }
        };
        let offset = offset_from(message.offset());
        let broker_ms = match message.timestamp() {
            Timestamp::LogAppendTime(millis) => Some(millis),
            Timestamp::CreateTime(_) | Timestamp::NotAvailable => None,
        };
        match &mut *pending {
            Some((run, at))
                if seq.0 == run.first.0 + run.count && offset == run.offset + run.count =>
            {
                run.count += 1;
                *at = broker_ms;
            }
            _ => {
                self.flush(&mut pending);
                *pending = Some((Run { first: seq, count: 1, offset }, broker_ms));
            }
        }
        if is_last {
            self.flush(&mut pending);
        }
    }
}

/// Sends the records of one epoch of one shard.
///
/// The client library takes half a second to get a new producer its number from a broker. So producers are
/// made before an epoch needs them; each serves one epoch and no other.
pub(super) struct EpochProducer {
    producer: Arc<BaseProducer<Reports>>,
    /// Its reports are not wanted any more.
    is_over: Arc<AtomicBool>,
    source: Arc<OnceLock<Source>>,
    topic: String,
}

impl EpochProducer {
    /// A producer that no epoch uses yet.
    pub(super) fn new(options: &KafkaOptions, to: Teller) -> Result<Self, LogError> {
        let source = Arc::default();
        let reports = Reports {
            source: Arc::clone(&source),
            to,
            run: Mutex::default(),
            complaints: Complaints::default(),
        };
        let producer: BaseProducer<Reports> = of_producer(options)?
            .create_with_context(reports)
            .map_err(|error| failed("start a producer", &error))?;
        let (producer, is_over) = (Arc::new(producer), Arc::new(AtomicBool::new(false)));
        let (polled, ends) = (Arc::clone(&producer), Arc::clone(&is_over));
        let polling = thread::Builder::new().name("log-reports".into()).spawn(move || {
            while !ends.load(Ordering::Relaxed) {
                polled.poll(LOOK);
            }
        });
        polling.map_err(|source| LogError::Io { action: "start a thread".into(), source })?;
        Ok(Self { producer, is_over, source, topic: options.kafka.topic.clone() })
    }

    /// Whether it failed while it waited.
    pub(super) fn has_failed(&self) -> bool {
        self.producer.client().fatal_error().is_some()
    }

    /// Gives it to an epoch, once.
    pub(super) fn serve(&self, source: Source) {
        self.source.set(source).expect("a producer serves one epoch");
    }

    /// Hands the records of a batch to the client library. After an error some of them may be sent.
    pub(super) fn send(&self, batch: &ShardBatch) -> Result<(), String> {
        let count = batch.ends.len() as u64;
        for (number, record) in (0..).zip(batch.records()) {
            let seq = Sequence(batch.first.0 + number);
            let message: BaseRecord<'_, (), [u8], usize> =
                BaseRecord::with_opaque_to(&self.topic, opaque(seq, number + 1 == count))
                    .partition(i32::from(batch.shard.0))
                    .payload(&record);
            if let Err((error, _)) = self.producer.send(message) {
                return Err(format!("record {seq} was not taken by the client: {error}"));
            }
        }
        Ok(())
    }

    /// Has what was handed over sent now: it is a group.
    pub(super) fn send_now(&self) {
        // Wakes the library's threads, and waits for nothing. Should they miss it, they send after a millisecond.
        let _ = self.producer.flush(Duration::ZERO);
    }

    /// Forgets what waits, on a thread of its own: that takes a moment.
    pub(super) fn destroy(self) {
        let producer = Arc::clone(&self.producer);
        let purge = move || producer.purge(PurgeConfig::default().queue().inflight());
        if let Err(error) = thread::Builder::new().name("log-producer-end".into()).spawn(purge) {
            tracing::warn!(%error, "what a producer still has waits until its connections are closed");
        }
    }
}

impl Drop for EpochProducer {
    /// Whoever looks for its reports is the last to have it, and closes its connections.
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}
