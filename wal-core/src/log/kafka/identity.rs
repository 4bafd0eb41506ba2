//! Whose log it is. The first message of shard 0 has the key `handfast-log` and the log's nonce as value; it is
//! written when the topic is new, and no reader of records sees it. Of several, the first counts.

use std::collections::BTreeMap;
use std::time::Instant;

use crossbeam_channel::Sender;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, ProducerContext};
use uuid::Uuid;

use super::Shared;
use super::client::{Complaints, failed, of_producer};
use super::options::Identity;
use super::reader::Reader;
use super::topic::Topic;
use crate::id::{Nonce, ShardId};
use crate::log::LogError;
use crate::record::{Body, decode};

const KEY: &[u8] = b"handfast-log";
const HOME: ShardId = ShardId(0);

/// Finds out the log's nonce, and writes it if the topic is new.
pub(super) fn establish(topic: &Topic) -> Result<Nonce, LogError> {
    let log = topic.options.kafka.topic.clone();
    let (low, high) = Shared::ask_limits(topic, HOME)?;
    let found = if low == 0 { first(topic, high)? } else { None };
    let lost = |what: String| Err(LogError::Lost { log: log.clone(), what });
    match (topic.options.identity, found) {
        (Identity::Known(expected) | Identity::Begun(expected), Some(First::Nonce(found)))
            if found == expected =>
        {
            Ok(expected)
        }
        (Identity::Unknown, Some(First::Nonce(found))) => Ok(found),
        (Identity::Known(expected), Some(First::Nonce(found))) => lost(format!(
            "its identity is {found:?}, and was {expected:?}: it was deleted and made anew"
        )),
        (Identity::Begun(_), Some(First::Nonce(found))) => Err(LogError::Unsafe {
            log: log.clone(),
            problems: format!(
                "it is the log of another deployment or namespace, with the identity {found:?}; name \
                 another topic"
            ),
        }),
        (_, Some(First::Other)) => Err(LogError::Unsafe {
            log: log.clone(),
            problems: "it holds messages that are not Handfast's; name a topic of its own".into(),
        }),
        // Trimmed: the Epoch records tell, and each leader checks them.
        (Identity::Known(expected) | Identity::Begun(expected), None) if low > 0 => Ok(expected),
        (Identity::Unknown, None) if low > 0 => search(topic),
        (Identity::Known(expected), None) => {
            lost(format!("it is empty, and was {expected:?}: it was deleted and made anew"))
        }
        (Identity::Begun(nonce), None) => {
            write(topic, nonce)?;
            establish(topic)
        }
        (Identity::Unknown, None) => {
            write(topic, Nonce(Uuid::now_v7().as_u128()))?;
            establish(topic)
        }
    }
}

/// Whether a log that was opened is another one by now.
pub(super) fn is_another(topic: &Topic, identity: Nonce) -> Result<Option<String>, LogError> {
    let (low, high) = Shared::ask_limits(topic, HOME)?;
    if low > 0 {
        return Ok(None);
    }
    Ok(match first(topic, high)? {
        Some(First::Nonce(found)) if found == identity => None,
        Some(First::Nonce(found)) => Some(format!(
            "its identity is {found:?}, and was {identity:?}: it was deleted and made anew"
        )),
        Some(First::Other) | None => {
            Some(format!("the identity {identity:?} is gone: it was deleted and made anew"))
        }
    })
}

/// The first message of the home shard.
enum First {
    Nonce(Nonce),
    Other,
}

fn first(topic: &Topic, high: u64) -> Result<Option<First>, LogError> {
    if high == 0 {
        return Ok(None);
    }
    let read = Reader::open(&topic.options, &BTreeMap::from([(HOME, 0)]))?.read()?;
    if read.key.as_deref() != Some(KEY) {
        return Ok(Some(First::Other));
    }
    let text = std::str::from_utf8(&read.bytes).ok();
    let nonce = text.and_then(|text| u128::from_str_radix(text, 16).ok());
    Ok(Some(nonce.map_or(First::Other, |nonce| First::Nonce(Nonce(nonce)))))
}

/// The identity that the first `Epoch` record names.
fn search(topic: &Topic) -> Result<Nonce, LogError> {
    for shard in (0..topic.options.shards).map(ShardId) {
        let (low, high) = Shared::ask_limits(topic, shard)?;
        if low == high {
            continue;
        }
        let mut reader = Reader::open(&topic.options, &BTreeMap::from([(shard, low)]))?;
        while reader.next(shard) < high {
            let read = reader.read()?;
            if let Ok((record, _)) = decode(read.bytes)
                && let Body::Epoch { log, .. } = record.body
            {
                return Ok(log);
            }
        }
    }
    Err(LogError::Damaged {
        what: format!(
            "the topic {} was trimmed and names no identity; give the one that was written down",
            topic.options.kafka.topic
        ),
    })
}

/// Hears whether one message was taken.
struct Once {
    to: Sender<Result<(), KafkaError>>,
    complaints: Complaints,
}

impl ClientContext for Once {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, message: &str) {
        self.complaints.hear(level, fac, message);
    }

    fn error(&self, _: KafkaError, reason: &str) {
        self.complaints.push(reason);
    }
}

impl ProducerContext for Once {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let result = result.as_ref().map(|_| ()).map_err(|(error, _)| error.clone());
        let _ = self.to.send(result); // who waits may have lost patience
    }
}

fn write(topic: &Topic, nonce: Nonce) -> Result<(), LogError> {
    const ACTION: &str = "write the log's identity";
    let (to, taken) = crossbeam_channel::bounded(1);
    let complaints = Complaints::default();
    let producer: BaseProducer<Once> = of_producer(&topic.options)?
        .create_with_context(Once { to, complaints: complaints.clone() })
        .map_err(|error| failed(ACTION, &error))?;
    let value = format!("{:032x}", nonce.0);
    let message = BaseRecord::to(&topic.options.kafka.topic)
        .partition(i32::from(HOME.0))
        .key(KEY)
        .payload(&value);
    producer.send(message).map_err(|(error, _)| failed(ACTION, &error))?;
    let end = Instant::now() + topic.options.append_timeout + topic.options.read_timeout;
    while Instant::now() < end {
        producer.poll(std::time::Duration::from_millis(10));
        match taken.try_recv() {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => return Err(failed(ACTION, &error)),
            Err(_) => {}
        }
    }
    Err(LogError::Unreachable {
        brokers: topic.options.kafka.brokers.clone(),
        why: complaints.or(&KafkaError::NoMessageReceived),
    })
}
