//! Appends: one compare-and-set in flight for each shard, everything that gathered meanwhile in the next.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use wal_core::log::{AppendDone, Appended, ShardBatch};
use wal_core::{Epoch, ShardId};

use super::segment::{MAX_RECORDS, Segment, TRIMMED};
use super::{FIRST, PAUSE, position, segment_key};
use crate::kv::{Answer, Kv, Request};

/// Bytes of one segment, unless a single batch is larger.
const SEGMENT_BYTES: usize = 1 << 20;

/// One append call: its answer goes out when all its batches have theirs.
struct Call {
    state: Mutex<(Vec<Option<Appended>>, Option<AppendDone>)>,
}

struct Queued {
    batch: ShardBatch,
    call: Arc<Call>,
    index: usize,
}

/// A segment on its way.
struct Flight {
    number: u64,
    text: String,
    until: Instant,
    batches: Vec<Queued>,
}

#[derive(Default)]
struct Shard {
    /// The first number that is not taken, as far as is known; `None` before the log was read.
    end: Option<u64>,
    /// Whether `end` was only probed: a taken number then means "look further", not "deposed".
    probing: bool,
    /// Batches of this epoch and earlier ones are rejected.
    barred: Epoch,
    /// The epoch of our own newest segment.
    landed: Epoch,
    /// The newest epoch that was read in the log.
    newest: Epoch,
    queue: VecDeque<Queued>,
    flying: bool,
}

/// The appending side of a log.
pub(super) struct Appender {
    kv: Arc<dyn Kv>,
    owner: u64,
    patience: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    shards: BTreeMap<ShardId, Shard>,
    written: u64,
}

impl Call {
    fn settle(&self, index: usize, result: Appended) {
        let done = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.0[index] = Some(result);
            if state.0.iter().any(Option::is_none) { None } else { state.1.take() }
        };
        if let Some(done) = done {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let results = std::mem::take(&mut state.0);
            drop(state);
            done(results.into_iter().flatten().collect());
        }
    }
}

impl Appender {
    pub(super) fn new(kv: Arc<dyn Kv>, owner: u64, patience: Duration) -> Arc<Self> {
        Arc::new(Self { kv, owner, patience, state: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The log was read to its end, and these were the newest records.
    pub(super) fn found_end(&self, shard: ShardId, end: u64, newest: Epoch) {
        let mut state = self.lock();
        let shard = state.shards.entry(shard).or_default();
        shard.newest = shard.newest.max(newest);
        if shard.flying || shard.end.is_some_and(|known| known > end) {
            return; // the segment on its way will find out
        }
        // What stands behind our own last segment is another's: our epoch is over.
        if shard.end.is_some_and(|known| known < end) {
            shard.barred = shard.barred.max(shard.landed);
        }
        shard.end = Some(end);
        shard.probing = false;
    }

    pub(super) fn append(self: &Arc<Self>, batches: Vec<ShardBatch>, done: AppendDone) {
        if batches.is_empty() {
            return done(Vec::new());
        }
        let results = vec![None; batches.len()];
        let call = Arc::new(Call { state: Mutex::new((results, Some(done))) });
        let shards: Vec<ShardId> = batches.iter().map(|batch| batch.shard).collect();
        {
            let mut state = self.lock();
            for (index, batch) in batches.into_iter().enumerate() {
                let queue = &mut state.shards.entry(batch.shard).or_default().queue;
                queue.push_back(Queued { batch, call: Arc::clone(&call), index });
            }
        }
        for shard in shards {
            self.pump(shard);
        }
    }

    /// Sends the next segment of a shard, if none is on its way.
    fn pump(self: &Arc<Self>, shard: ShardId) {
        loop {
            let mut refused = Vec::new();
            let flight = {
                let mut state = self.lock();
                state.written += 1;
                let (number, owner) = (state.written, self.owner);
                let entry = state.shards.entry(shard).or_default();
                if entry.flying {
                    return;
                }
                let over = |queued: &Queued| {
                    queued.batch.epoch <= entry.barred || queued.batch.epoch < entry.newest
                };
                while entry.queue.front().is_some_and(over) {
                    refused.extend(entry.queue.pop_front());
                }
                // While those that are refused hear of it, nobody of this shard overtakes them.
                entry.flying = !refused.is_empty() || !entry.queue.is_empty();
                if refused.is_empty() { entry.fill(owner, number, self.patience) } else { None }
            };
            if let Some(flight) = flight {
                return self.send(shard, flight);
            }
            if refused.is_empty() {
                return;
            }
            for Queued { call, index, .. } in refused {
                let why =
                    "the epoch is over: an append was refused or in doubt, or a later epoch began";
                call.settle(index, Appended::Rejected { why: why.into() });
            }
            self.lock().shards.entry(shard).or_default().flying = false;
        }
    }

    fn send(self: &Arc<Self>, shard: ShardId, flight: Flight) {
        let (key, to) = (segment_key(shard, flight.number), flight.text.clone());
        let request = Request::Cas { key, from: None, to, create: true };
        let appender = Arc::clone(self);
        let done = move |answer| appender.on_answer(shard, flight, answer);
        self.kv.call(request, Box::new(done));
    }

    fn on_answer(self: &Arc<Self>, shard: ShardId, flight: Flight, answer: Answer) {
        match answer {
            Answer::Done => self.landed(shard, flight),
            // Taken, by whom? Perhaps by an earlier try of ours.
            Answer::Mismatch => self.look(shard, flight),
            Answer::Unknown(why) if Instant::now() >= flight.until => {
                self.failed(shard, flight, Appended::Unknown { why });
            }
            Answer::Unknown(_) => self.later(move |appender| appender.send(shard, flight)),
            // An earlier try may have been done: a refusal of this one does not say that it was not.
            Answer::Refused(why) => self.failed(shard, flight, Appended::Unknown { why }),
            Answer::Missing | Answer::Value(_) => {
                let why = "lin-kv does not know create_if_not_exists".into();
                self.failed(shard, flight, Appended::Unknown { why });
            }
        }
    }

    fn look(self: &Arc<Self>, shard: ShardId, flight: Flight) {
        let key = segment_key(shard, flight.number);
        let appender = Arc::clone(self);
        let done = move |answer| match answer {
            Answer::Value(found) if found == flight.text => appender.landed(shard, flight),
            Answer::Value(found) if found == TRIMMED => {
                let why = "the place was trimmed: whose it was is not known".into();
                appender.failed(shard, flight, Appended::Unknown { why });
            }
            Answer::Value(_) => appender.taken(shard, flight),
            Answer::Unknown(why) if Instant::now() >= flight.until => {
                appender.failed(shard, flight, Appended::Unknown { why });
            }
            Answer::Unknown(_) => appender.later(move |appender| appender.look(shard, flight)),
            Answer::Missing | Answer::Done | Answer::Mismatch | Answer::Refused(_) => {
                let why = "a segment that was there cannot be read".into();
                appender.failed(shard, flight, Appended::Unknown { why });
            }
        };
        self.kv.call(Request::Read { key }, Box::new(done));
    }

    /// Runs something after a short pause, not on the thread that brings answers.
    fn later(self: &Arc<Self>, then: impl FnOnce(&Arc<Self>) + Send + 'static) {
        let appender = Arc::clone(self);
        std::thread::spawn(move || {
            std::thread::sleep(PAUSE);
            then(&appender);
        });
    }

    /// Another owner's segment stands there.
    fn taken(self: &Arc<Self>, shard: ShardId, mut flight: Flight) {
        let probing = self.lock().shards.get(&shard).is_some_and(|shard| shard.probing);
        if probing {
            flight.number += 1;
            return self.send(shard, flight);
        }
        let why = "another process has appended: it leads the shard now".into();
        self.failed(shard, flight, Appended::Rejected { why });
    }

    fn landed(self: &Arc<Self>, shard: ShardId, flight: Flight) {
        {
            let mut state = self.lock();
            let entry = state.shards.entry(shard).or_default();
            entry.end = Some(flight.number + 1);
            entry.probing = false;
            let epochs = flight.batches.iter().map(|queued| queued.batch.epoch);
            entry.landed = epochs.max().unwrap_or_default().max(entry.landed);
        }
        let mut place = 0;
        for Queued { batch, call, index } in flight.batches {
            let first = position(flight.number, place);
            place += batch.ends.len() as u64;
            call.settle(index, Appended::Durable { first });
        }
        self.go_on(shard);
    }

    fn failed(self: &Arc<Self>, shard: ShardId, flight: Flight, result: Appended) {
        {
            let mut state = self.lock();
            let entry = state.shards.entry(shard).or_default();
            let epochs = flight.batches.iter().map(|queued| queued.batch.epoch);
            entry.barred = epochs.max().unwrap_or_default().max(entry.barred);
            // Where the log ends is not known any more; the next owner reads it, or probes.
            entry.end = None;
        }
        for Queued { call, index, .. } in flight.batches {
            call.settle(index, result.clone());
        }
        self.go_on(shard);
    }

    fn go_on(self: &Arc<Self>, shard: ShardId) {
        self.lock().shards.entry(shard).or_default().flying = false;
        self.pump(shard);
    }
}

impl Shard {
    /// Takes what waits, of one epoch, into a segment.
    fn fill(&mut self, owner: u64, number: u64, patience: Duration) -> Option<Flight> {
        let epoch = self.queue.front()?.batch.epoch;
        let (mut bytes, mut records) = (0, 0);
        let mut batches: Vec<Queued> = Vec::new();
        while let Some(next) = self.queue.front() {
            let count = next.batch.ends.len() as u64;
            let fits =
                bytes + next.batch.bytes.len() <= SEGMENT_BYTES && records + count < MAX_RECORDS;
            if next.batch.epoch != epoch || (!batches.is_empty() && !fits) {
                break;
            }
            bytes += next.batch.bytes.len();
            records += count;
            batches.extend(self.queue.pop_front());
        }
        let records: Vec<Bytes> =
            batches.iter().flat_map(|queued| queued.batch.records()).collect();
        let text = Segment { owner, number, epoch, records }.to_text();
        self.probing |= self.end.is_none();
        let number = self.end.unwrap_or(FIRST);
        Some(Flight { number, text, until: Instant::now() + patience, batches })
    }
}

const _: () = assert!(SEGMENT_BYTES < u32::MAX as usize);
