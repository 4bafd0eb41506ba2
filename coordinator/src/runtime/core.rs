//! The core thread: steps the engines with whatever arrived.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use indexmap::IndexMap;
use participant::engine::{HaltReason, ShardCommand, ShardEngine, ShardEvent};
use participant::message::{Origin, ShardReply, ShardRequest};
use rustc_hash::FxBuildHasher;
use wal_core::log::{Appended, ShardBatch};
use wal_core::{Clock, Epoch, Now, Sequence, ShardId};

use super::Parts;
use super::handle::{Answers, Input, NamespaceSnapshot, Reply, Shared, Stopped};
use super::metrics::Metrics;
use super::storage::Storage;
use crate::api::{Call, CallAnswer};
use crate::engine::{CommitConfig, CommitEngine};
use crate::interface::{CommitCommand, CommitEvent};

/// Inputs taken before the engines' output is seen to.
const MAX_INPUTS: usize = 1_024;
/// Time between two ticks.
const TICK_US: u64 = 10_000;
/// Appends handed to the log and not yet durable: while one syncs, the next fills.
const MAX_APPENDS: usize = 2;
/// Bytes of one append, unless a single shard's batch is larger: what is more waits for the next.
const APPEND_BYTES: usize = 8 << 20;
/// A shard that wrote little is made to checkpoint after so much of the whole log, so that it neither
/// holds up trimming nor makes a restart long.
const STALE_AFTER_BYTES: u64 = 128 << 20;
/// Shards' own messages come from here.
const SHARD_TOKEN: u64 = 0;

/// A message between engines of this process.
enum Local {
    Request { shard: ShardId, origin: Origin, request: ShardRequest },
    Commit(CommitEvent),
}

/// Answers of one round for one taker.
type Delivery = (Arc<dyn Answers>, Vec<(u64, CallAnswer)>);

struct Led {
    engine: ShardEngine,
    dirty: bool,
    /// Bytes of the whole log when its newest checkpoint began.
    checkpoint_at: u64,
}

pub(super) struct Core {
    shared: Arc<Shared>,
    arrivals: Receiver<Input>,
    clock: Arc<dyn Clock>,
    storage: Storage,
    commit: CommitEngine,
    shards: BTreeMap<ShardId, Led>,
    local: VecDeque<Local>,
    shard_out: Vec<ShardCommand>,
    commit_out: Vec<CommitCommand>,
    replies: IndexMap<u64, Reply, FxBuildHasher>,
    /// Answers of this round, by who takes them.
    answers: Vec<Delivery>,
    appends: usize,
    /// The shard whose records the next append takes first.
    append_from: ShardId,
    appended_bytes: u64,
    next_tick_us: u64,
    max_remembered: usize,
    drain: Option<Sender<()>>,
    metrics: Metrics,
    stop: bool,
}

impl Core {
    pub(super) fn new(
        parts: &Parts,
        engines: BTreeMap<ShardId, (ShardEngine, Vec<ShardCommand>)>,
        storage: Storage,
        shared: Arc<Shared>,
        arrivals: Receiver<Input>,
    ) -> Self {
        let config = CommitConfig {
            max_in_flight: usize::try_from(parts.namespace.limits().in_flight)
                .unwrap_or(usize::MAX),
            ..CommitConfig::new(parts.seed, parts.seed, parts.namespace.shards())
        };
        let mut core = Self {
            shared,
            arrivals,
            clock: parts.clock.clone(),
            storage,
            commit: CommitEngine::new(config),
            shards: BTreeMap::new(),
            local: VecDeque::new(),
            shard_out: Vec::new(),
            commit_out: Vec::new(),
            replies: IndexMap::default(),
            answers: Vec::new(),
            appends: 0,
            append_from: ShardId(0),
            appended_bytes: 0,
            next_tick_us: 0,
            max_remembered: usize::try_from(parts.namespace.limits().remembered_ids)
                .unwrap_or(usize::MAX),
            drain: None,
            metrics: Metrics::new(parts.namespace.name()),
            stop: false,
        };
        let now = core.clock.now();
        for (shard, (engine, commands)) in engines {
            core.shards.insert(shard, Led { engine, dirty: true, checkpoint_at: 0 });
            core.shard_out = commands;
            core.carry_out_shard(shard);
        }
        core.settle(now);
        core
    }

    pub(super) fn run(mut self) {
        while !self.stop {
            let now = self.clock.now();
            let patience = Duration::from_micros(self.next_tick_us.saturating_sub(now.mono_us));
            let first = match self.arrivals.recv_timeout(patience) {
                Ok(input) => Some(input),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let now = self.clock.now();
            if let Some(input) = first {
                self.take(now, input);
                for _ in 1..MAX_INPUTS {
                    let Ok(input) = self.arrivals.try_recv() else { break };
                    self.take(now, input);
                }
            }
            if now.mono_us >= self.next_tick_us {
                self.tick(now);
            }
            self.settle(now);
            self.append(now);
            self.deliver();
        }
        let _ = self.shared.stopped.set(Stopped::Drained); // unless it failed before
    }

    fn take(&mut self, now: Now, input: Input) {
        match input {
            Input::Calls { first, calls, to } => self.take_calls(now, first, calls, &to),
            Input::Forget(call) => {
                self.replies.swap_remove(&call);
                self.step_commit(now, CommitEvent::Forget { call });
            }
            Input::Appended { sent, results } => self.take_appended(now, &sent, results),
            Input::RowsRead { shard, io, rows } => {
                let event = match rows {
                    Ok(rows) => ShardEvent::RowsRead { io, rows },
                    Err(_) => ShardEvent::ReadFailed { io },
                };
                self.step_shard(now, shard, event);
            }
            Input::Flushed { shard, io, result } => {
                let event = match result {
                    Ok(()) => ShardEvent::Flushed { io },
                    Err(_) => ShardEvent::FlushFailed { io },
                };
                self.step_shard(now, shard, event);
            }
            Input::Synced { shard, io, ok: true } => {
                self.step_shard(now, shard, ShardEvent::Synced { io });
            }
            Input::Synced { shard, io, ok: false } => self.storage.sync(shard, io),
            Input::Schema(schema) => {
                for led in self.shards.values_mut() {
                    led.engine.set_schema(schema.clone());
                }
            }
            Input::Look { limit, to } => {
                let _ = to.send(self.look(limit)); // who asked may have left
            }
            Input::Drain { done } => self.drain = Some(done),
            Input::Stop => self.stop = true,
        }
    }

    fn take_calls(&mut self, now: Now, first: u64, calls: Vec<(Call, u64)>, to: &Arc<dyn Answers>) {
        self.shared.queued.fetch_sub(calls.len(), Ordering::Relaxed);
        for (call, (what, tag)) in (first..).zip(calls) {
            self.replies.insert(call, Reply { to: to.clone(), tag });
            self.step_commit(now, CommitEvent::Call { call, what });
        }
    }

    fn take_appended(
        &mut self,
        now: Now,
        sent: &[(ShardId, Epoch, Sequence, Sequence)],
        results: Vec<Appended>,
    ) {
        self.appends -= 1;
        for ((shard, epoch, first, last), result) in sent.iter().zip(results) {
            let event = match result {
                Appended::Durable { first: position } => {
                    ShardEvent::Appended { epoch: *epoch, first: *first, last: *last, position }
                }
                Appended::Unknown { why } | Appended::Rejected { why } => {
                    ShardEvent::AppendFailed { why }
                }
            };
            self.step_shard(now, *shard, event);
        }
    }

    /// Steps the engines until they have nothing more to say to each other.
    fn settle(&mut self, now: Now) {
        while let Some(message) = self.local.pop_front() {
            match message {
                Local::Request { shard, origin, request } => {
                    // One span for each step of the protocol; costs a comparison while nobody listens.
                    let _step = tracing::enabled!(tracing::Level::TRACE)
                        .then(|| step_span(shard, &request).entered());
                    self.step_shard(now, shard, ShardEvent::Request { origin, request });
                }
                Local::Commit(event) => self.step_commit(now, event),
            }
        }
    }

    fn step_shard(&mut self, now: Now, shard: ShardId, event: ShardEvent) {
        let Some(led) = self.shards.get_mut(&shard) else { return };
        led.engine.step(now, event, &mut self.shard_out);
        led.dirty = true;
        self.carry_out_shard(shard);
    }

    fn step_commit(&mut self, now: Now, event: CommitEvent) {
        self.commit.step(now, event, &mut self.commit_out);
        let mut commands = std::mem::take(&mut self.commit_out);
        for command in commands.drain(..) {
            match command {
                CommitCommand::Send { shard, token, request } => {
                    let origin = Origin { node: 0, token };
                    self.local.push_back(Local::Request { shard, origin, request });
                }
                CommitCommand::Answer { call, answer } => self.answer(call, answer),
            }
        }
        self.commit_out = commands;
    }

    fn carry_out_shard(&mut self, shard: ShardId) {
        let mut commands = std::mem::take(&mut self.shard_out);
        for command in commands.drain(..) {
            match command {
                ShardCommand::Reply { origin, reply } => self.reply(shard, origin, reply),
                ShardCommand::Tell { shard: to, request } => {
                    let origin = Origin { node: 0, token: SHARD_TOKEN };
                    self.local.push_back(Local::Request { shard: to, origin, request });
                }
                ShardCommand::ReadRows { io, keys } => self.storage.read(shard, io, keys),
                ShardCommand::Flush { io, mutations } => self.storage.flush(shard, io, mutations),
                ShardCommand::SyncStore { io } => {
                    if let Some(led) = self.shards.get_mut(&shard) {
                        led.checkpoint_at = self.appended_bytes;
                    }
                    self.storage.sync(shard, io);
                }
                ShardCommand::Checkpointed { checkpoint, trim } => {
                    self.storage.checkpointed(shard, checkpoint, trim);
                }
                ShardCommand::Drive { txn, start, attempt } => {
                    self.local.push_back(Local::Commit(CommitEvent::Drive { txn, start, attempt }));
                }
                ShardCommand::Recover { id, attempt, participants } => {
                    let event = CommitEvent::Recover { id, attempt, participants };
                    self.local.push_back(Local::Commit(event));
                }
                ShardCommand::Leading { epoch } => {
                    self.local.push_back(Local::Commit(CommitEvent::Route { shard, epoch }));
                }
                ShardCommand::Halt { why } => self.halted(shard, why),
            }
        }
        self.shard_out = commands;
    }

    fn reply(&mut self, shard: ShardId, origin: Origin, reply: ShardReply) {
        if origin.token != SHARD_TOKEN {
            let event = CommitEvent::Reply { shard, token: origin.token, reply };
            self.local.push_back(Local::Commit(event));
        }
    }

    /// A shard is in doubt: with a log of one owner, all are. The process starts anew to find the truth.
    fn halted(&mut self, shard: ShardId, why: HaltReason) {
        let text = match why {
            HaltReason::Resigned => return,
            HaltReason::Deposed => format!("shard {shard} was taken over by another process"),
            HaltReason::AppendInDoubt(why) => format!(
                "the log failed ({why}); everything acknowledged is safe: mend the disk and start \
                 the server again"
            ),
            HaltReason::Corrupt(why) => format!("shard {shard} contradicts itself: {why}"),
        };
        tracing::error!(%shard, "{text}");
        let _ = self.shared.stopped.set(Stopped::Failed(text)); // the first reason is the one to tell
    }

    fn answer(&mut self, call: u64, answer: CallAnswer) {
        let Some(Reply { to, tag }) = self.replies.swap_remove(&call) else { return };
        self.metrics.count(&answer);
        match self.answers.iter_mut().find(|(known, _)| Arc::ptr_eq(known, &to)) {
            Some((_, answers)) => answers.push((tag, answer)),
            None => self.answers.push((to, vec![(tag, answer)])),
        }
    }

    fn deliver(&mut self) {
        for (to, mut answers) in self.answers.drain(..) {
            to.deliver(&mut answers);
        }
    }

    /// Hands what the engines wrote to the log, as one append.
    fn append(&mut self, now: Now) {
        if self.appends >= MAX_APPENDS {
            return;
        }
        let mut batches: Vec<ShardBatch> = Vec::new();
        let mut room = APPEND_BYTES;
        // Each append goes on with the shard behind the last one's, so that none waits for ever.
        let begin = self.append_from;
        let (first, rest): (Vec<_>, Vec<_>) =
            self.shards.iter_mut().filter(|(_, led)| led.dirty).partition(|(s, _)| **s >= begin);
        for (shard, led) in first.into_iter().chain(rest) {
            if room == 0 {
                break; // it stays dirty until this append is done
            }
            led.dirty = false;
            self.append_from = ShardId(shard.0 + 1);
            if let Some(batch) = led.engine.take_batch(now) {
                room = room.saturating_sub(batch.bytes.len());
                batches.push(batch);
            }
        }
        if batches.is_empty() {
            return;
        }
        let sent: Vec<_> = batches
            .iter()
            .map(|batch| {
                let last = Sequence(batch.first.0 + batch.ends.len() as u64 - 1);
                (batch.shard, batch.epoch, batch.first, last)
            })
            .collect();
        let records: usize = batches.iter().map(|batch| batch.ends.len()).sum();
        let bytes: usize = batches.iter().map(|batch| batch.bytes.len()).sum();
        self.metrics.appended(records, bytes);
        self.appended_bytes += bytes as u64;
        self.appends += 1;
        let core = self.shared.input.clone();
        let done = move |results| {
            let _ = core.send(Input::Appended { sent, results }); // the core may be gone
        };
        self.shared.log.append(batches, Box::new(done));
    }

    fn tick(&mut self, now: Now) {
        self.next_tick_us = now.mono_us + TICK_US;
        self.share_memory();
        let shards: Vec<_> = self.shards.keys().copied().collect();
        for shard in shards {
            if let Some(led) = self.shards.get_mut(&shard)
                && self.appended_bytes > led.checkpoint_at + STALE_AFTER_BYTES
            {
                led.checkpoint_at = self.appended_bytes;
                led.engine.request_checkpoint();
            }
            self.step_shard(now, shard, ShardEvent::Tick);
        }
        self.step_commit(now, CommitEvent::Tick);
        if self.drain.is_some() && self.replies.is_empty() && self.commit.in_flight() == 0 {
            let done = self.drain.take().expect("tested above");
            let _ = done.send(()); // who asked may have lost patience
        }
        if self.metrics.is_due(now) {
            let snapshot = self.look(0);
            self.metrics.report(now, &snapshot);
        }
    }

    /// Shares the memory for outcomes among the shards by what they use: load is rarely even.
    fn share_memory(&mut self) {
        let used: usize = self.shards.values().map(|led| led.engine.remembered()).sum();
        let shards = self.shards.len().max(1);
        let free = self.max_remembered.saturating_sub(used);
        for led in self.shards.values_mut() {
            let own = led.engine.remembered();
            let share = if free > 0 {
                own + (free / shards).max(1)
            } else {
                // Everybody gives up in proportion.
                own * self.max_remembered / used.max(1)
            };
            led.engine.set_max_remembered(share.max(1_024));
        }
    }

    fn look(&self, limit: usize) -> NamespaceSnapshot {
        let mut unresolved: Vec<_> =
            self.shards.values().flat_map(|led| led.engine.unresolved(limit)).collect();
        unresolved.sort_by_key(|txn| txn.id);
        unresolved.truncate(limit);
        NamespaceSnapshot {
            shards: self.shards.values().map(|led| led.engine.status()).collect(),
            unresolved,
            in_flight: self.commit.in_flight(),
            log_bytes: self.shared.log.size_bytes(),
        }
    }
}

fn step_span(shard: ShardId, request: &ShardRequest) -> tracing::Span {
    let (step, txn) = (request.step(), request.txn().map(tracing::field::display));
    tracing::trace_span!("protocol", step, %shard, txn)
}
