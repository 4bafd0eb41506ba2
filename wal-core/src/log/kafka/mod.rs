//! The log in Kafka: one topic for a namespace, one topic partition for each shard, one record in one message.
//!
//! Kafka has no compare-and-append, so leadership is in the records themselves (see
//! [`crate::record::Acceptor`]), and what this log adds is care:
//!
//! * **One idempotent producer for each epoch of each shard**, gapless, destroyed with the epoch. No two
//!   shards share one: a producer that fails for good ends one epoch, and no shard waits behind another
//!   on a connection (a broker works off one request of a connection at a time, the wait for its replicas
//!   included).
//! * **Group commit.** At most [`MAX_GROUPS_IN_FLIGHT`] groups of a shard are on their way; what comes
//!   meanwhile goes out together, in one request: the client library lingers for a tenth of a millisecond,
//!   and is told when a group is whole. What it has to keep makes its thread poll without a pause.
//! * **Durable means counted.** The broker's word that it took a record is believed only if the record is
//!   the next one of its epoch and stands directly behind its predecessor. Otherwise answers stop and the
//!   log is read to there by the rule that all readers use: what counts is durable, and the epoch goes on
//!   from a new base if it is whole; else it is over, and what was not counted is unknown. See `term.rs`.
//!   The `Epoch` record itself is reported durable when it is in the log; whether it won, its owner
//!   reads.
//! * **A doubt ends the epoch:** a time-out, a report without an offset, a failed producer.
//! * **Offsets never go back.** If they do, the topic is another one: deleted and made anew, or cut by an
//!   election that should not have been. The log then stops for good with [`LogError::Lost`].
//! * **Clocks.** The topic stamps records with the broker's time. If the epoch's own record was not stamped
//!   between its sending and its report, 500 ms allowed, this server may not lead, and its other shards
//!   do not stand for 10 s.
//!
//! A [`Position`] is Kafka's offset. Replay reads to the high watermark of when it began, and never less
//! than what this handle saw acknowledged. [`KafkaLog::size_bytes`] is an estimate: Kafka tells its
//! clients no sizes.
//!
//! Clause 12 does not hold: any number of processes may open one log, and epochs decide among them. Two
//! appends that name the same shard complete in order, so one append for several shards waits for the
//! slowest: submit each shard's batches in an append of its own.

mod baseline;
mod calls;
mod client;
mod core;
mod hints;
mod identity;
mod mailbox;
mod options;
mod producer;
mod read_back;
mod reader;
mod tail;
mod term;
mod topic;

pub use baseline::{PlainDone, PlainTopic};
pub use hints::{FileHints, HintStore, MemoryHints};
pub use options::{
    DEFAULT_APPEND_TIMEOUT, DEFAULT_QUEUE_BYTES, DEFAULT_READ_TIMEOUT, Identity, KafkaOptions,
    MAX_DRIFT_MS, MAX_GROUP_BYTES, MAX_GROUPS_IN_FLIGHT,
};

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::admin::AdminOptions;
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;

use self::client::failed;
use self::core::Input;
use self::mailbox::Mailbox;
use self::reader::{Read, Reader, offset_from, offset_of};
use self::tail::KafkaTail;
use self::topic::Topic;
use super::{AppendDone, IntentLog, LogError, ShardBatch, Tail, Visit};
use crate::id::{Nonce, Position, ShardId};

/// Figures for metrics, since the log was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KafkaStats {
    /// Records handed to producers.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Groups in which they went.
    pub groups: u64,
    /// How often the log was read back because a record stood elsewhere than expected.
    pub read_backs: u64,
    /// Epochs whose producer was destroyed.
    pub terms_ended: u64,
    /// Bytes of appends that wait or are on their way.
    pub queued_bytes: u64,
}

#[derive(Default)]
struct Counters {
    records: AtomicU64,
    bytes: AtomicU64,
    groups: AtomicU64,
    read_backs: AtomicU64,
    terms_ended: AtomicU64,
}

impl Counters {
    fn sent(&self, batch: &ShardBatch) {
        self.records.fetch_add(batch.ends.len() as u64, Ordering::Relaxed);
        self.bytes.fetch_add(batch.bytes.len() as u64, Ordering::Relaxed);
    }
}

/// What the core and everybody who reads have in common.
struct Shared {
    options: KafkaOptions,
    topic: Topic,
    identity: Nonce,
    /// For each shard what is left of it as far as this handle knows; the end is never beyond the true one.
    known: Mutex<BTreeMap<ShardId, Range<u64>>>,
    /// Why the log is not the one that was opened.
    lost: OnceLock<String>,
    queued: AtomicU64,
    counters: Counters,
    /// Records read and their bytes.
    read: (AtomicU64, AtomicU64),
}

impl Shared {
    fn known(&self) -> MutexGuard<'_, BTreeMap<ShardId, Range<u64>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything before `end` was acknowledged or read.
    fn learn_end(&self, shard: ShardId, end: u64) {
        let mut known = self.known();
        let range = known.entry(shard).or_default();
        range.end = end.max(range.end);
    }

    /// How far a shard is known to reach.
    fn known_end(&self, shard: ShardId) -> u64 {
        self.known().get(&shard).map_or(0, |known| known.end)
    }

    fn ask_limits(topic: &Topic, shard: ShardId) -> Result<(u64, u64), LogError> {
        let name = &topic.options.kafka.topic;
        let (low, high) = topic.ask("ask where the topic begins and ends", |timeout| {
            topic.client.client().fetch_watermarks(name, i32::from(shard.0), timeout)
        })?;
        Ok((offset_from(low), offset_from(high)))
    }

    /// Where a shard begins and ends, the end not before what this handle knows: a broker that has just become
    /// leader may need a moment to learn how far its predecessor had come.
    fn limits(&self, shard: ShardId) -> Result<Range<u64>, LogError> {
        const PAUSE: Duration = Duration::from_millis(20);
        let end = Instant::now() + self.options.read_timeout;
        let mut asked_who = false;
        loop {
            let (low, high) = Self::ask_limits(&self.topic, shard)?;
            let least = self.known_end(shard);
            if high >= least {
                let mut known = self.known();
                let range = known.entry(shard).or_default();
                *range = low.max(range.start)..high.max(range.end);
                return Ok(low..high);
            }
            let another =
                if asked_who { None } else { identity::is_another(&self.topic, self.identity)? };
            asked_who = true;
            let what = match another {
                Some(what) => what,
                None if Instant::now() > end => format!(
                    "shard {shard} was known to reach {least}, and ends at {high}: acknowledged records \
                     are gone"
                ),
                None => {
                    thread::sleep(PAUSE);
                    continue;
                }
            };
            return Err(self.lose(what));
        }
    }

    /// Where a reader that asks for a position begins, and where the shard ends. Position 0 is the first
    /// record that is left.
    fn range(&self, shard: ShardId, asked: Position) -> Result<Range<u64>, LogError> {
        self.learn_end(shard, asked.0);
        let Range { start, end } = self.limits(shard)?;
        if asked > Position(0) && asked.0 < start {
            return Err(LogError::Trimmed { shard, asked, first: Position(start) });
        }
        Ok(start.max(asked.0)..end)
    }

    fn has_read(&self, read: &Read) {
        self.read.0.fetch_add(1, Ordering::Relaxed);
        self.read.1.fetch_add(read.bytes.len() as u64, Ordering::Relaxed);
    }

    fn lose(&self, what: String) -> LogError {
        let _ = self.lost.set(what.clone()); // the first finding is the one to tell
        let log = self.options.kafka.topic.clone();
        LogError::Lost { log, what: self.lost.get().cloned().unwrap_or(what) }
    }

    fn error_if_lost(&self) -> Result<(), LogError> {
        let log = self.options.kafka.topic.clone();
        self.lost.get().map_or(Ok(()), |what| Err(LogError::Lost { log, what: what.clone() }))
    }

    /// Bytes of a record on average, of those that passed through this handle.
    fn mean_bytes(&self) -> u64 {
        let (read, read_bytes) = &self.read;
        let records = self.counters.records.load(Ordering::Relaxed) + read.load(Ordering::Relaxed);
        let bytes =
            self.counters.bytes.load(Ordering::Relaxed) + read_bytes.load(Ordering::Relaxed);
        bytes / records.max(1)
    }
}

/// A handle on the log of a namespace in Kafka. Dropping it answers what is on its way, or gives up after 5 s.
pub struct KafkaLog {
    shared: Arc<Shared>,
    mailbox: Arc<Mailbox>,
    looking: Option<JoinHandle<()>>,
}

impl KafkaLog {
    /// Opens the log; creates the topic if it is not there and may be. Blocks.
    ///
    /// # Errors
    /// [`LogError::Unreachable`] names the brokers and what was tried; [`LogError::Unsafe`] says which
    /// settings of the topic could lose records; [`LogError::Lost`] that the topic is not the one that
    /// was written to; [`LogError::Io`] the rest, such as missing permissions or a client setting that
    /// may not be set.
    pub fn open(options: KafkaOptions) -> Result<Self, LogError> {
        let topic = Topic::new(options.clone())?;
        topic.ensure(!matches!(options.identity, Identity::Known(_)))?;
        let identity = identity::establish(&topic)?;
        let shared = Arc::new(Shared {
            options,
            topic,
            identity,
            known: Mutex::default(),
            lost: OnceLock::new(),
            queued: AtomicU64::new(0),
            counters: Counters::default(),
            read: (AtomicU64::new(0), AtomicU64::new(0)),
        });
        // A hint beyond the end is not there for a reader to trip over later.
        for shard in (0..shared.options.shards).map(ShardId) {
            if let Some(hint) = shared.options.hints.load(shard)? {
                shared.learn_end(shard, hint.0);
                shared.limits(shard)?;
            }
        }
        let (mailbox, looking) = Mailbox::open(Arc::clone(&shared))?;
        Ok(Self { shared, mailbox, looking: Some(looking) })
    }

    /// Figures for metrics.
    pub fn stats(&self) -> KafkaStats {
        let Counters { records, bytes, groups, read_backs, terms_ended } = &self.shared.counters;
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        KafkaStats {
            records: value(records),
            bytes: value(bytes),
            groups: value(groups),
            read_backs: value(read_backs),
            terms_ended: value(terms_ended),
            queued_bytes: value(&self.shared.queued),
        }
    }

    /// Why the log stopped for good, if it did: it is not the one that was opened.
    pub fn lost(&self) -> Option<&str> {
        self.shared.lost.get().map(String::as_str)
    }
}

impl Drop for KafkaLog {
    fn drop(&mut self) {
        self.mailbox.tell(Input::Close);
        let Some(looking) = self.looking.take() else { return };
        looking.thread().unpark();
        // The last owner may be a callback: what it returns to is what would be waited for.
        if !self.mailbox.is_at_work_here() {
            // A panic in it was reported by its own thread; there is nothing left to undo.
            let _ = looking.join();
        }
    }
}

impl IntentLog for KafkaLog {
    fn identity(&self) -> Nonce {
        self.shared.identity
    }

    fn append(&self, batches: Vec<ShardBatch>, done: AppendDone) {
        let bytes: u64 = batches.iter().map(|batch| batch.bytes.len() as u64).sum();
        let waiting = self.shared.queued.fetch_add(bytes, Ordering::Relaxed);
        let bound = self.shared.options.queue_bytes;
        let refused = (waiting + bytes > bound)
            .then(|| format!("{waiting} bytes wait for Kafka, {bound} may; send less"));
        let shared = Arc::clone(&self.shared);
        let done: AppendDone = Box::new(move |results| {
            shared.queued.fetch_sub(bytes, Ordering::Relaxed);
            done(results);
        });
        self.mailbox.tell(Input::Append { batches, refused, done });
    }

    fn replay(
        &self,
        from: &BTreeMap<ShardId, Position>,
        visit: Visit<'_>,
    ) -> Result<BTreeMap<ShardId, Position>, LogError> {
        let shared = &*self.shared;
        shared.error_if_lost()?;
        let (mut starts, mut ends) = (BTreeMap::new(), BTreeMap::new());
        for (&shard, &asked) in from {
            if shard.0 >= shared.options.shards {
                ends.insert(shard, 0); // no such shard: it is empty
                continue;
            }
            let Range { start, end } = shared.range(shard, asked)?;
            ends.insert(shard, end);
            if start < end {
                starts.insert(shard, start);
            }
        }
        let mut left = starts.len();
        if left > 0 {
            let mut reader = Reader::open(&shared.options, &starts)?;
            while left > 0 {
                let read = reader.read()?;
                let end = ends[&read.shard];
                if read.position.0 >= end {
                    continue; // newer than the call
                }
                if read.position.0 + 1 == end {
                    left -= 1;
                }
                if read.key.is_none() {
                    shared.has_read(&read);
                    visit(read.shard, read.position, read.bytes)?;
                }
            }
        }
        Ok(ends.into_iter().map(|(shard, end)| (shard, Position(end))).collect())
    }

    fn tail(&self, from: BTreeMap<ShardId, Position>) -> Result<Box<dyn Tail + '_>, LogError> {
        Ok(Box::new(KafkaTail::open(&self.shared, from)?))
    }

    fn trim(&self, shard: ShardId, before: Position) -> Result<(), LogError> {
        const ACTION: &str = "delete the records that nobody needs";
        let shared = &*self.shared;
        shared.error_if_lost()?;
        let Range { start, end } = shared.limits(shard)?;
        let before = before.0.min(end);
        if before <= start {
            return Ok(());
        }
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(
            &shared.options.kafka.topic,
            i32::from(shard.0),
            offset_of(before),
        )
        .map_err(|error| failed(ACTION, &error))?;
        let result = shared.topic.ask(ACTION, |timeout| {
            let options = AdminOptions::new().request_timeout(Some(timeout));
            let result = pollster::block_on(shared.topic.admin.delete_records(&list, &options))?;
            result.elements().iter().try_for_each(|element| element.error())?;
            Ok::<_, KafkaError>(())
        });
        if result.is_ok() {
            let mut known = shared.known();
            let range = known.entry(shard).or_default();
            range.start = before.max(range.start);
        }
        result
    }

    fn store_hint(&self, shard: ShardId, checkpoint: Position) -> Result<(), LogError> {
        self.shared.options.hints.store(shard, checkpoint)
    }

    fn hint(&self, shard: ShardId) -> Result<Option<Position>, LogError> {
        let Some(hint) = self.shared.options.hints.load(shard)? else { return Ok(None) };
        // One below what is left would fail the replay that it should shorten.
        let left = self.shared.limits(shard)?;
        Ok((hint.0 >= left.start).then_some(hint))
    }

    fn size_bytes(&self) -> u64 {
        let records: u64 =
            self.shared.known().values().map(|it| it.end - it.start.min(it.end)).sum();
        records * self.shared.mean_bytes()
    }
}
