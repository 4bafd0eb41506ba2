//! The intent log over `lin-kv`: the same clauses as every log (see [`wal_core::log`]), kept as keys.
//!
//! | key | value |
//! |---|---|
//! | `log/identity` | the log's nonce, in hexadecimal digits |
//! | `log/<shard>/<n>` | segment `n`: records of one or more appends of one owner and epoch (see [`segment`]) |
//! | `log/<shard>/start` | the position before which everything may be gone |
//! | `log/<shard>/hint` | where the newest checkpoint starts |
//!
//! **Segments form a chain.** An owner appends segment `n` by a compare-and-set that succeeds only if the
//! key is missing, and only after it has seen that `n - 1` exists. So there are no gaps, two owners cannot
//! both append after the same segment, and an owner that was deposed cannot append at all until it has read
//! what its successor wrote: the log fences by itself what Kafka's needs the records' epochs for.
//!
//! **A lost answer is asked for again.** A segment names its writer and is unlike every other, so the same
//! compare-and-set can be repeated: if the key is taken, it is read, and what stands there is either ours
//! (durable) or not (rejected, for ever, since keys are never unset). Only when nobody answers for the whole
//! [`Options::append_patience`] is the append unknown. That ends the epoch: a late compare-and-set may still
//! land, and the next owner either finds its segment or takes its place.
//!
//! Segments are numbered from 1. A position is the segment's number and, in the lower 20 bits, the record's
//! place in it. `lin-kv` cannot delete: trimming raises `start` and overwrites the segments before it with a short mark.

mod appender;
mod segment;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use wal_core::log::{AppendDone, IntentLog, LogError, ShardBatch, Visit};
use wal_core::{Epoch, Nonce, Position, ShardId};

use crate::kv::{Answer, Kv, Request, call, call_all};
use appender::Appender;
use segment::{MAX_RECORDS, Segment, TRIMMED};

/// The number of the first segment: position 0 is no record's.
const FIRST: u64 = 1;
/// Segments asked for at once: at first, and at most.
const WINDOW: (u64, u64) = (4, 64);
/// Pause before a request that nobody answered is sent again.
const PAUSE: Duration = Duration::from_millis(5);

/// Times of a log.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// For how long an append is tried before it is unknown.
    pub append_patience: Duration,
    /// For how long anything else is tried before it fails.
    pub read_patience: Duration,
}

impl Default for Options {
    fn default() -> Self {
        let (append_patience, read_patience) = (Duration::from_secs(1), Duration::from_secs(5));
        Self { append_patience, read_patience }
    }
}

/// A log kept in a `lin-kv` service.
pub struct LinKvLog {
    kv: Arc<dyn Kv>,
    identity: Nonce,
    options: Options,
    appender: Arc<Appender>,
}

pub(crate) fn segment_key(shard: ShardId, number: u64) -> String {
    format!("log/{shard}/{number}")
}

fn start_key(shard: ShardId) -> String {
    format!("log/{shard}/start")
}

fn hint_key(shard: ShardId) -> String {
    format!("log/{shard}/hint")
}

const fn position(number: u64, place: u64) -> Position {
    Position(number * MAX_RECORDS + place)
}

fn failed(action: &str, why: impl Into<String>) -> LogError {
    let source = io::Error::new(io::ErrorKind::TimedOut, why.into());
    LogError::Io { action: action.to_owned(), source }
}

fn damaged(what: String) -> LogError {
    LogError::Damaged { what }
}

impl LinKvLog {
    /// Opens the log that the service keeps, or makes one. `owner` tells this process from every other,
    /// also from earlier ones of the same node.
    ///
    /// # Errors
    /// If the service does not answer, or holds something else under the log's keys.
    pub fn open(kv: Arc<dyn Kv>, owner: u64, options: Options) -> Result<Self, LogError> {
        let key = "log/identity".to_owned();
        let drawn = format!("{:032x}", rand::random::<u128>() | 1);
        let create = Request::Cas { key: key.clone(), from: None, to: drawn, create: true };
        let read = Request::Read { key };
        let found = persist("read the log's identity", options.read_patience, || {
            match call(&*kv, create.clone()) {
                Answer::Done | Answer::Mismatch => {}
                other => return Err(other),
            }
            match call(&*kv, read.clone()) {
                Answer::Value(text) => Ok(text),
                other => Err(other),
            }
        })?;
        let identity = u128::from_str_radix(&found, 16)
            .map_err(|_| damaged(format!("log/identity is {found:?}, which is no number")))?;
        let appender = Appender::new(Arc::clone(&kv), owner, options.append_patience);
        Ok(Self { kv, identity: Nonce(identity), options, appender })
    }

    /// One request, tried again until it is answered.
    fn ask(&self, action: &str, request: &Request) -> Result<Option<String>, LogError> {
        persist(action, self.options.read_patience, || match call(&*self.kv, request.clone()) {
            Answer::Value(text) => Ok(Some(text)),
            Answer::Done | Answer::Missing => Ok(None),
            other => Err(other),
        })
    }

    fn number_at(&self, action: &str, key: String) -> Result<Option<u64>, LogError> {
        let found = self.ask(action, &Request::Read { key: key.clone() })?;
        let parse = |text: String| {
            text.parse().map_err(|_| damaged(format!("{key} is {text:?}, which is no number")))
        };
        found.map(parse).transpose()
    }

    fn start(&self, shard: ShardId) -> Result<Position, LogError> {
        let start = self.number_at("read where the log starts", start_key(shard))?;
        Ok(start.map_or(position(FIRST, 0), Position))
    }

    /// Values of the segments from `number` on, `None` where there is none.
    fn segments(
        &self,
        shard: ShardId,
        number: u64,
        count: u64,
    ) -> Result<Vec<Option<String>>, LogError> {
        let mut found: Vec<Option<Option<String>>> = vec![None; count as usize];
        persist("read the log", self.options.read_patience, || {
            let missing: Vec<usize> = (0..found.len()).filter(|at| found[*at].is_none()).collect();
            let read = |at: &usize| Request::Read { key: segment_key(shard, number + *at as u64) };
            let answers = call_all(&*self.kv, missing.iter().map(read).collect());
            let mut result = Ok(());
            for (at, answer) in missing.into_iter().zip(answers) {
                match answer {
                    Answer::Value(text) => found[at] = Some(Some(text)),
                    Answer::Missing => found[at] = Some(None),
                    other => result = Err(other),
                }
            }
            result
        })?;
        Ok(found.into_iter().flatten().collect())
    }

    fn replay_shard(
        &self,
        shard: ShardId,
        from: Position,
        visit: Visit<'_>,
    ) -> Result<Position, LogError> {
        let start = self.start(shard)?;
        let asked = if from == Position(0) { start } else { from };
        if asked < start {
            return Err(LogError::Trimmed { shard, asked, first: start });
        }
        let (mut number, mut window) = (asked.0 / MAX_RECORDS, WINDOW.0);
        let mut newest = Epoch(0);
        loop {
            for value in self.segments(shard, number, window)? {
                let Some(value) = value else {
                    self.appender.found_end(shard, number, newest);
                    return Ok(position(number, 0).max(asked));
                };
                if value == TRIMMED {
                    let first = self.start(shard)?;
                    return Err(LogError::Trimmed { shard, asked: position(number, 0), first });
                }
                let segment = Segment::from_text(&value)
                    .map_err(|what| damaged(format!("{}: {what}", segment_key(shard, number))))?;
                newest = newest.max(segment.epoch);
                for (place, record) in (0..).zip(segment.records) {
                    let at = position(number, place);
                    if at >= asked {
                        visit(shard, at, record)?;
                    }
                }
                number += 1;
            }
            window = (window * 2).min(WINDOW.1);
        }
    }
}

/// Tries until it succeeds, is refused, or `patience` ends.
fn persist<T>(
    action: &str,
    patience: Duration,
    mut attempt: impl FnMut() -> Result<T, Answer>,
) -> Result<T, LogError> {
    let end = Instant::now() + patience;
    loop {
        match attempt() {
            Ok(done) => return Ok(done),
            Err(Answer::Refused(why)) => return Err(failed(action, why)),
            Err(other) if Instant::now() >= end => {
                return Err(failed(action, format!("lin-kv did not answer in time: {other:?}")));
            }
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

impl IntentLog for LinKvLog {
    fn identity(&self) -> Nonce {
        self.identity
    }

    fn append(&self, batches: Vec<ShardBatch>, done: AppendDone) {
        self.appender.append(batches, done);
    }

    fn replay(
        &self,
        from: &BTreeMap<ShardId, Position>,
        visit: Visit<'_>,
    ) -> Result<BTreeMap<ShardId, Position>, LogError> {
        let mut next = BTreeMap::new();
        for (shard, from) in from {
            next.insert(*shard, self.replay_shard(*shard, *from, visit)?);
        }
        Ok(next)
    }

    fn trim(&self, shard: ShardId, before: Position) -> Result<(), LogError> {
        let old = loop {
            let old = self.start(shard)?;
            if before <= old {
                return Ok(());
            }
            // Only ever upwards, whoever else trims.
            let from = (old > position(FIRST, 0)).then(|| old.to_string());
            let (key, to) = (start_key(shard), before.to_string());
            let raise = Request::Cas { key, create: from.is_none(), from, to };
            let raised = persist("trim the log", self.options.read_patience, || {
                match call(&*self.kv, raise.clone()) {
                    Answer::Done => Ok(true),
                    Answer::Mismatch => Ok(false), // somebody else, or an earlier try of ours
                    other => Err(other),
                }
            })?;
            if raised {
                break old;
            }
        };
        // What a crash leaves unmarked costs room, nothing else.
        let whole = (old.0 / MAX_RECORDS)..(before.0 / MAX_RECORDS);
        let mark =
            |number| Request::Write { key: segment_key(shard, number), value: TRIMMED.into() };
        call_all(&*self.kv, whole.map(mark).collect());
        Ok(())
    }

    fn store_hint(&self, shard: ShardId, checkpoint: Position) -> Result<(), LogError> {
        let (key, value) = (hint_key(shard), checkpoint.to_string());
        self.ask("store a hint", &Request::Write { key, value }).map(|_| ())
    }

    fn hint(&self, shard: ShardId) -> Result<Option<Position>, LogError> {
        let hint = self.number_at("read a hint", hint_key(shard))?.map(Position);
        // A deposed leader's late hint may point at what its successor has trimmed.
        let start = self.start(shard)?;
        Ok(hint.filter(|hint| *hint >= start))
    }

    fn size_bytes(&self) -> u64 {
        0 // the service does not tell
    }
}

/// Records as they are visited.
pub type Visited = Vec<(Position, Bytes)>;

/// All records of one shard from a position on, and where the next visit starts.
///
/// # Errors
/// As [`IntentLog::replay`].
pub fn read_shard(
    log: &dyn IntentLog,
    shard: ShardId,
    from: Position,
) -> Result<(Visited, Position), LogError> {
    let mut records = Vec::new();
    let next = log.replay(&[(shard, from)].into(), &mut |_, position, record| {
        records.push((position, record));
        Ok(())
    })?;
    Ok((records, next.get(&shard).copied().unwrap_or(from)))
}
