//! Reading the topic: from given offsets on, in order, nothing skipped.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{Offset, TopicPartitionList};

use super::client::{Complaints, Listener, failed, of_follower, of_reader};
use super::options::KafkaOptions;
use crate::id::{Position, ShardId};
use crate::log::LogError;

/// How long one poll waits, so that the caller's patience is looked at now and then.
const POLL: Duration = Duration::from_millis(100);

/// One message of the topic.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) shard: ShardId,
    pub(super) position: Position,
    /// Records have no key.
    pub(super) key: Option<Bytes>,
    pub(super) bytes: Bytes,
}

/// A client that is closed on a thread of its own: the library takes a tenth of a second for it.
struct Consumer(Option<BaseConsumer<Listener>>);

impl Deref for Consumer {
    type Target = BaseConsumer<Listener>;

    fn deref(&self) -> &Self::Target {
        self.0.as_ref().expect("it is taken when it is dropped")
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        let consumer = self.0.take();
        let closing = thread::Builder::new().name("log-reader-end".into());
        if let Err(error) = closing.spawn(move || drop(consumer)) {
            tracing::warn!(%error, "a reader was closed by who used it");
        }
    }
}

/// A consumer of some shards, each from an offset of its own.
pub(super) struct Reader {
    consumer: Consumer,
    complaints: Complaints,
    brokers: String,
    topic: String,
    /// The next offset of each shard.
    next: BTreeMap<ShardId, u64>,
    /// What the client last complained of.
    trouble: Option<KafkaError>,
    patience: Duration,
}

impl Reader {
    /// Begins to read what is there. The offsets must not be below what is left of the topic.
    pub(super) fn open(
        options: &KafkaOptions,
        from: &BTreeMap<ShardId, u64>,
    ) -> Result<Self, LogError> {
        Self::with(&of_reader(options)?, options, from)
    }

    /// Begins to read what is there, and whatever comes. The same holds.
    pub(super) fn follow(
        options: &KafkaOptions,
        from: &BTreeMap<ShardId, u64>,
    ) -> Result<Self, LogError> {
        Self::with(&of_follower(options)?, options, from)
    }

    fn with(
        config: &ClientConfig,
        options: &KafkaOptions,
        from: &BTreeMap<ShardId, u64>,
    ) -> Result<Self, LogError> {
        let listener = Listener::default();
        let complaints = listener.complaints.clone();
        let consumer: BaseConsumer<Listener> = config
            .create_with_context(listener)
            .map_err(|error| failed("start a reader of the topic", &error))?;
        let topic = options.kafka.topic.clone();
        let mut list = TopicPartitionList::with_capacity(from.len());
        for (shard, offset) in from {
            list.add_partition_offset(&topic, i32::from(shard.0), offset_of(*offset))
                .map_err(|error| failed("choose where to read", &error))?;
        }
        consumer.assign(&list).map_err(|error| failed("choose where to read", &error))?;
        Ok(Self {
            consumer: Consumer(Some(consumer)),
            complaints,
            brokers: options.kafka.brokers.clone(),
            topic,
            next: from.clone(),
            trouble: None,
            patience: options.read_timeout,
        })
    }

    /// The next message of any shard, waited for as long as the options allow: whoever calls knows that
    /// it is there.
    ///
    /// # Errors
    /// [`LogError::Trimmed`], [`LogError::Damaged`] (offsets are missing), [`LogError::Lost`],
    /// [`LogError::Unreachable`].
    pub(super) fn read(&mut self) -> Result<Read, LogError> {
        let end = Instant::now() + self.patience;
        self.trouble = None;
        while Instant::now() < end {
            if let Some(read) = self.poll(POLL)? {
                return Ok(read);
            }
        }
        Err(match self.trouble.take() {
            Some(error) if is_gone(&error) => LogError::Lost {
                log: self.topic.clone(),
                what: format!("the topic is gone ({error})"),
            },
            error => LogError::Unreachable {
                brokers: self.brokers.clone(),
                why: format!(
                    "nothing was read for {:?}: {}",
                    self.patience,
                    self.complaints.or(&error.unwrap_or(KafkaError::NoMessageReceived))
                ),
            },
        })
    }

    /// The next message of any shard, if one comes within `wait`, as far as waits can be kept.
    ///
    /// # Errors
    /// [`LogError::Trimmed`], [`LogError::Damaged`] (offsets are missing), [`LogError::Lost`]. Other troubles
    /// are kept: the client tries again by itself.
    pub(super) fn poll(&mut self, wait: Duration) -> Result<Option<Read>, LogError> {
        match self.consumer.poll(wait) {
            None => Ok(None),
            Some(Ok(message)) => take(&mut self.next, &message),
            Some(Err(error)) if is_out_of_range(&error) => Err(self.out_of_range()),
            Some(Err(error)) => {
                self.trouble = Some(error);
                Ok(None)
            }
        }
    }

    /// The offset of the next message of a shard that is read.
    pub(super) fn next(&self, shard: ShardId) -> u64 {
        self.next.get(&shard).copied().unwrap_or_default()
    }

    /// Which shard's offset is not there any more, or not yet again.
    fn out_of_range(&self) -> LogError {
        for (shard, next) in &self.next {
            let asked = Position(*next);
            let limits =
                self.consumer.fetch_watermarks(&self.topic, i32::from(shard.0), self.patience);
            match limits {
                Ok((low, high)) => {
                    let (low, high) = (offset_from(low), offset_from(high));
                    if *next < low {
                        return LogError::Trimmed { shard: *shard, asked, first: Position(low) };
                    }
                    if *next > high {
                        let what =
                            format!("shard {shard} was read to {asked}, and now ends at {high}");
                        return LogError::Lost { log: self.topic.clone(), what };
                    }
                }
                Err(error) => return failed("ask where the topic begins and ends", &error),
            }
        }
        let what = format!("the broker says that a position of {:?} is not there", self.next);
        LogError::Damaged { what }
    }
}

/// Checks that nothing is skipped. `None` for what was not asked for.
fn take(
    next: &mut BTreeMap<ShardId, u64>,
    message: &BorrowedMessage<'_>,
) -> Result<Option<Read>, LogError> {
    let shard = ShardId(u16::try_from(message.partition()).unwrap_or(u16::MAX));
    let offset = offset_from(message.offset());
    let Some(expected) = next.get_mut(&shard).filter(|expected| offset >= **expected) else {
        return Ok(None);
    };
    if offset > *expected {
        let what =
            format!("records {expected} to {offset} of shard {shard} are missing in the topic");
        return Err(LogError::Damaged { what });
    }
    *expected = offset + 1;
    Ok(Some(Read {
        shard,
        position: Position(offset),
        key: message.key().map(Bytes::copy_from_slice),
        bytes: Bytes::copy_from_slice(message.payload().unwrap_or_default()),
    }))
}

fn is_out_of_range(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(RDKafkaErrorCode::OffsetOutOfRange | RDKafkaErrorCode::AutoOffsetReset)
    )
}

/// Whether the brokers know the topic no more.
pub(super) fn is_gone(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::UnknownPartition
        )
    )
}

/// An offset as the client library has it.
pub(super) fn offset_of(offset: u64) -> Offset {
    Offset::Offset(i64::try_from(offset).unwrap_or(i64::MAX))
}

/// An offset that the broker named; none is below 0.
pub(super) fn offset_from(offset: i64) -> u64 {
    u64::try_from(offset).unwrap_or_default()
}
