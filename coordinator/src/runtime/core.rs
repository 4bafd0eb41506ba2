//! The core thread: steps the engines with whatever arrived.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use indexmap::IndexMap;
use participant::engine::{EngineSchema, Leadership, ShardCommand, ShardEngine, ShardEvent};
use participant::message::{Origin, ShardReply, ShardRequest};
use rustc_hash::FxBuildHasher;
use wal_core::{Epoch, Now, ShardId};

use super::candidates::Among;
use super::handle::{Answers, Input, NamespaceSnapshot, Reply, Shared, Stopped};
use super::metrics::Metrics;
use super::parked::Parking;
use super::peers::{Cluster, PeerReply};
use super::seat::{Phase, Seat, SeatId};
use super::storage::Storage;
use super::{Parts, engine_schema};
use crate::api::{Call, CallAnswer};
use crate::engine::{CommitConfig, CommitEngine};
use crate::interface::{CommitCommand, CommitEvent};
use crate::placement::PlacementEvent;

/// Inputs taken before the engines' output is seen to.
const MAX_INPUTS: usize = 1_024;
/// Time between two ticks.
const TICK_US: u64 = 10_000;
/// Where all shards share one physical log, one that wrote little is made to checkpoint after so much of the
/// whole log, so that it neither holds up trimming nor makes a restart long.
const STALE_AFTER_BYTES: u64 = 128 << 20;
/// Shards' own messages come from here.
const SHARD_TOKEN: u64 = 0;

/// A message between engines of this process.
pub(super) enum Local {
    Request { shard: ShardId, origin: Origin, request: ShardRequest },
    Commit(CommitEvent),
}

/// Answers of one round for one taker.
type Delivery = (Arc<dyn Answers>, Vec<(u64, Option<CallAnswer>)>);

pub(super) struct Core {
    pub(super) parts: Parts,
    pub(super) shared: Arc<Shared>,
    arrivals: Receiver<Input>,
    storage: Storage,
    pub(super) commit: CommitEngine,
    pub(super) shards: BTreeMap<ShardId, Seat>,
    /// What the engines know of the tables.
    pub(super) schema: Arc<EngineSchema>,
    /// The other servers, if there are any.
    pub(super) among: Option<Among>,
    pub(super) local: VecDeque<Local>,
    shard_out: Vec<ShardCommand>,
    commit_out: Vec<CommitCommand>,
    pub(super) replies: IndexMap<u64, Reply, FxBuildHasher>,
    /// Answers of this round, by who takes them.
    answers: Vec<Delivery>,
    /// Appends of all shards together that are not durable yet.
    pub(super) appends: usize,
    /// The shard whose records the next append takes first.
    pub(super) append_from: ShardId,
    pub(super) appended_bytes: u64,
    next_tick_us: u64,
    max_remembered: usize,
    drain: Option<Sender<()>>,
    pub(super) metrics: Metrics,
    pub(super) parking: Parking,
    stop: bool,
}

impl Core {
    pub(super) fn new(
        parts: Parts,
        cluster: Option<Cluster>,
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
            storage,
            commit: CommitEngine::new(config),
            shards: BTreeMap::new(),
            schema: Arc::new(engine_schema(&parts.namespace)),
            among: cluster.map(Among::new),
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
            parking: Parking::default(),
            stop: false,
            parts,
        };
        let now = core.parts.clock.now();
        for (shard, (engine, commands)) in engines {
            core.shards.insert(shard, Seat::new(0, engine, Phase::Leading));
            core.shard_out = commands;
            core.carry_out_shard(now, shard);
        }
        core.settle(now);
        core
    }

    pub(super) fn run(mut self) {
        while !self.stop {
            let now = self.parts.clock.now();
            let patience = Duration::from_micros(self.next_tick_us.saturating_sub(now.mono_us));
            let first = match self.arrivals.recv_timeout(patience) {
                Ok(input) => Some(input),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            // Time is read behind every arrival: were the process stopped in between, an earlier reading
            // would vouch with a lease that is over for what came after it.
            if let Some(input) = first {
                let now = self.parts.clock.now();
                self.take(now, input);
                for _ in 1..MAX_INPUTS {
                    let Ok(input) = self.arrivals.try_recv() else { break };
                    let now = self.parts.clock.now();
                    self.take(now, input);
                }
            }
            let now = self.parts.clock.now();
            if now.mono_us >= self.next_tick_us {
                self.tick(now);
            }
            self.settle(now);
            self.append(now);
            self.deliver();
            if let Some(among) = &mut self.among {
                among.send();
            }
        }
        let _ = self.shared.stopped.set(Stopped::Drained); // unless it failed before
        self.leave_unanswered();
        self.deliver();
    }

    fn take(&mut self, now: Now, input: Input) {
        match input {
            Input::Calls { first, calls, to } => self.take_calls(now, first, calls, &to),
            Input::Forget(call) => {
                self.replies.swap_remove(&call);
                self.step_commit(now, CommitEvent::Forget { call });
            }
            Input::Appended { sent, results } => self.take_appended(now, &sent, results),
            Input::RowsRead { seat, io, rows } => {
                let event = match rows {
                    Some(rows) => ShardEvent::RowsRead { io, rows },
                    None => ShardEvent::ReadFailed { io },
                };
                self.step_seat(now, seat, event);
            }
            Input::Flushed { seat, io, ok } => {
                let event =
                    if ok { ShardEvent::Flushed { io } } else { ShardEvent::FlushFailed { io } };
                self.step_seat(now, seat, event);
            }
            Input::Refused { seat, io, rows } => {
                self.step_seat(now, seat, ShardEvent::FlushRefused { io, rows });
            }
            Input::ListParked { limit, to } => {
                let _ = to.send(self.list_parked(limit)); // who asked may have left
            }
            Input::RetryParked { which, to } => {
                let _ = to.send(self.retry_parked(now, &which)); // who asked may have left
            }
            Input::DiscardParked { which, to } => self.discard_parked(now, &which, to),
            Input::Synced { seat, io, ok: true } => {
                self.step_seat(now, seat, ShardEvent::Synced { io });
            }
            Input::Synced { seat, io, ok: false } => self.storage.sync(seat, io),
            Input::Logged { seat, chunk } => self.take_logged(now, seat, chunk),
            Input::ReadTo { seat, end } => self.take_read_to(now, seat, end),
            Input::Peer(message) => self.take_from_peer(now, message),
            Input::Schema(schema) => {
                for seat in self.shards.values_mut() {
                    seat.engine.set_schema(schema.clone());
                }
                self.schema = schema;
            }
            Input::Probed { shard, reached } => {
                self.place(now, PlacementEvent::Probed { shard, reached });
                self.beat_soon();
            }
            Input::Participates(participates) => {
                self.place(now, PlacementEvent::Participates(participates));
                self.beat_soon();
            }
            Input::Look { limit, to } => {
                let _ = to.send(self.look(limit)); // who asked may have left
            }
            Input::Drain { done } => {
                self.drain = Some(done);
                self.place(now, PlacementEvent::Leave);
            }
            Input::Stop => self.stop = true,
        }
    }

    fn take_calls(&mut self, now: Now, first: u64, calls: Vec<(Call, u64)>, to: &Arc<dyn Answers>) {
        self.shared.queued.fetch_sub(calls.len(), Ordering::Relaxed);
        for (call, (what, tag)) in (first..).zip(calls) {
            let reply = Reply { to: to.clone(), tag };
            if self.has_stopped() {
                self.post(reply, None); // it was handed over before that was known
                continue;
            }
            self.replies.insert(call, reply);
            self.step_commit(now, CommitEvent::Call { call, what });
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

    pub(super) fn step_shard(&mut self, now: Now, shard: ShardId, event: ShardEvent) {
        let Some(seat) = self.shards.get_mut(&shard) else {
            if let ShardEvent::Request { origin, .. } = event {
                self.refuse(shard, origin);
            }
            return;
        };
        seat.engine.step(now, event, &mut self.shard_out);
        seat.dirty = true;
        self.carry_out_shard(now, shard);
    }

    fn step_commit(&mut self, now: Now, event: CommitEvent) {
        self.commit.step(now, event, &mut self.commit_out);
        let mut commands = std::mem::take(&mut self.commit_out);
        for command in commands.drain(..) {
            match command {
                CommitCommand::Send { shard, token, request } => {
                    self.send_request(shard, token, request);
                }
                CommitCommand::Answer { call, answer } => self.answer(call, answer),
            }
        }
        self.commit_out = commands;
    }

    fn carry_out_shard(&mut self, now: Now, shard: ShardId) {
        let uid = self.shards.get(&shard).map_or(0, |seat| seat.uid);
        let seat = SeatId { shard, uid };
        let mut commands = std::mem::take(&mut self.shard_out);
        for command in commands.drain(..) {
            match command {
                ShardCommand::Reply { origin, reply } => self.reply(shard, origin, reply),
                ShardCommand::Tell { shard: to, request } => {
                    self.send_request(to, SHARD_TOKEN, request);
                }
                ShardCommand::ReadRows { io, keys } => self.storage.read(seat, io, keys),
                ShardCommand::Flush { io, mutations } => self.storage.flush(seat, io, mutations),
                ShardCommand::Parked { table, rows, why } => {
                    self.tell_parked(now, table, rows, &why);
                }
                ShardCommand::Discarded { token, rows } => self.discarded(shard, token, rows),
                ShardCommand::SyncStore { io } => {
                    if let Some(seat) = self.shards.get_mut(&shard) {
                        seat.checkpoint_at = self.appended_bytes;
                    }
                    self.storage.sync(seat, io);
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
                ShardCommand::Leading { epoch } => self.leads(now, shard, epoch),
                ShardCommand::Halt { why } => self.halted(now, shard, why),
            }
        }
        self.shard_out = commands;
    }

    pub(super) fn reply(&mut self, shard: ShardId, origin: Origin, reply: ShardReply) {
        let Origin { node, token } = origin;
        match (node, token) {
            (_, SHARD_TOKEN) => {}
            (0, _) => {
                let event = CommitEvent::Reply { shard, token, reply };
                self.local.push_back(Local::Commit(event));
            }
            (connection, _) => self.reply_to_peer(connection, PeerReply { shard, token, reply }),
        }
    }

    fn answer(&mut self, call: u64, answer: CallAnswer) {
        let Some(reply) = self.replies.swap_remove(&call) else { return };
        self.metrics.count(&answer);
        self.post(reply, Some(answer));
    }

    /// Nothing more is brought to an end here: whoever waits is not left to wait.
    pub(super) fn leave_unanswered(&mut self) {
        for (_, reply) in std::mem::take(&mut self.replies) {
            self.post(reply, None);
        }
    }

    fn post(&mut self, Reply { to, tag }: Reply, answer: Option<CallAnswer>) {
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

    fn tick(&mut self, now: Now) {
        self.next_tick_us = now.mono_us + TICK_US;
        self.share_memory();
        self.give_up_discards(now);
        let shards: Vec<_> = self.shards.keys().copied().collect();
        for shard in shards {
            if self.parts.leadership == Leadership::Exclusive
                && let Some(seat) = self.shards.get_mut(&shard)
                && self.appended_bytes > seat.checkpoint_at + STALE_AFTER_BYTES
            {
                seat.checkpoint_at = self.appended_bytes;
                seat.engine.request_checkpoint();
            }
            self.step_shard(now, shard, ShardEvent::Tick);
        }
        self.step_commit(now, CommitEvent::Tick);
        self.place(now, PlacementEvent::Tick);
        self.beat(now);
        if self.drain.is_some() && self.is_drained() {
            let done = self.drain.take().expect("tested above");
            let _ = done.send(()); // who asked may have lost patience
        }
        if self.metrics.is_due(now) {
            let snapshot = self.look(0);
            self.metrics.report(now, &snapshot);
        }
    }

    fn elsewhere(&self) -> Vec<(ShardId, Epoch, Arc<str>)> {
        let Some(among) = &self.among else { return Vec::new() };
        let of = |shard| {
            let (epoch, address) = among.placement().route(shard)?;
            Some((shard, epoch, address.clone()))
        };
        let shards = (0..self.parts.namespace.shards()).map(ShardId);
        shards.filter(|shard| !self.shards.contains_key(shard)).filter_map(of).collect()
    }

    /// Shares the memory for outcomes among the shards by what they use: load is rarely even.
    fn share_memory(&mut self) {
        let used: usize = self.shards.values().map(|seat| seat.engine.remembered()).sum();
        let shards = self.shards.len().max(1);
        let free = self.max_remembered.saturating_sub(used);
        for seat in self.shards.values_mut() {
            let own = seat.engine.remembered();
            let share = if free > 0 {
                own + (free / shards).max(1)
            } else {
                // Everybody gives up in proportion.
                own * self.max_remembered / used.max(1)
            };
            seat.engine.set_max_remembered(share.max(1_024));
        }
    }

    fn look(&self, limit: usize) -> NamespaceSnapshot {
        let mut unresolved: Vec<_> =
            self.shards.values().flat_map(|seat| seat.engine.unresolved(limit)).collect();
        unresolved.sort_by_key(|txn| txn.id);
        unresolved.truncate(limit);
        NamespaceSnapshot {
            shards: self.shards.values().map(|seat| seat.engine.status()).collect(),
            unresolved,
            in_flight: self.commit.in_flight(),
            log_bytes: self.shared.log.size_bytes(),
            elsewhere: self.elsewhere(),
        }
    }
}

fn step_span(shard: ShardId, request: &ShardRequest) -> tracing::Span {
    let (step, txn) = (request.step(), request.txn().map(tracing::field::display));
    tracing::trace_span!("protocol", step, %shard, txn)
}
