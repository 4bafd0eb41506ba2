//! The core thread of a node: steps the engines with whatever arrived, and carries out what they say.

mod clients;
mod shards;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use coordinator::engine::{CommitConfig, CommitEngine};
use coordinator::interface::{CommitCommand, CommitEvent};
use coordinator::runtime::{SystemClock, engine_schema};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use participant::engine::{EngineSchema, IoId, ShardEvent};
use participant::message::{Origin, ShardReply, ShardRequest};
use participant::store::StoreError;
use serde_json::{Map, Value, json};
use wal_core::log::{Appended, IntentLog};
use wal_core::namespace::Namespace;
use wal_core::{Clock, ColumnId, Epoch, Now, ShardId};

use super::NodeOptions;
use super::ask;
use super::init::{Init, agree_on_shards};
use super::job::Job;
use super::peers::{BEAT, BEAT_US, Peers};
use super::seat::{Seat, SeatId, Sent};
use super::storage::{Replayed, Storage, Stored};
use crate::kv::Kv;
use crate::kv::remote::{RemoteKv, Send};
use crate::log::{LinKvLog, Options};
use crate::protocol::{Message, body};
use crate::tables::LinKvStore;
use crate::wire::{self, Item};

/// Inputs taken before the engines' output is seen to.
const MAX_INPUTS: usize = 256;
/// Time between two ticks, microseconds.
const TICK_US: u64 = 10_000;
/// Clients' requests under way; beyond it they are refused.
const MAX_JOBS: usize = 4_096;
/// After how long an unanswered request between nodes is sent again, microseconds.
const RESEND_US: u64 = 100_000;
/// The type of the messages between engines.
pub(super) const ITEMS: &str = "handfast";

/// What arrives at the core thread.
pub(super) enum Input {
    /// A message of the network.
    Message(Message),
    /// A batch was answered.
    Appended(SeatId, Sent, Appended),
    /// The tables have answered.
    Stored(SeatId, IoId, Stored),
    /// A shard's log was read.
    Replayed(SeatId, Replayed),
    /// Stdin has ended.
    End,
}

/// What joins the core thread to the others.
pub(super) struct Wiring {
    pub(super) kv: Arc<RemoteKv>,
    pub(super) send: Send,
    pub(super) ids: Arc<AtomicU64>,
    pub(super) input: Sender<Input>,
    pub(super) arrivals: Receiver<Input>,
}

/// A message between engines of this node.
enum Local {
    Request { shard: ShardId, origin: Origin, request: ShardRequest },
    Commit(CommitEvent),
}

pub(super) struct Core {
    options: NodeOptions,
    wiring: Wiring,
    name: String,
    /// This process, unlike every earlier one of the same node; the lowest byte is the node's number.
    process: u64,
    clock: SystemClock,
    namespace: Namespace,
    column: ColumnId,
    schema: Arc<EngineSchema>,
    log: Arc<LinKvLog>,
    storage: Storage,
    commit: CommitEngine,
    seats: BTreeMap<ShardId, Seat>,
    /// Shards whose log contradicts itself: nobody may lead them until a person has looked.
    corrupt: BTreeSet<ShardId>,
    peers: Peers,
    jobs: BTreeMap<u64, Job>,
    local: VecDeque<Local>,
    outgoing: BTreeMap<usize, Vec<String>>,
    last_number: u64,
    next_tick_us: u64,
    next_beat_us: u64,
}

impl Core {
    /// Opens log and tables. Waits for the service as long as it takes.
    pub(super) fn open(options: NodeOptions, init: Init, wiring: Wiring) -> anyhow::Result<Self> {
        let kv: Arc<dyn Kv> = wiring.kv.clone();
        agree_on_shards(&*kv, options.shards)?;
        let me = init.nodes.iter().position(|node| *node == init.node).expect("checked at init");
        let process = rand::random::<u64>() << 8 | me as u64;
        let times = Options { append_patience: options.lease, ..Options::default() };
        let log = loop {
            match LinKvLog::open(Arc::clone(&kv), process, times) {
                Ok(log) => break Arc::new(log),
                Err(error) => eprintln!("opening the log: {error}; trying again"),
            }
        };
        let store = Arc::new(LinKvStore::new(kv, Duration::from_secs(2)));
        let storage = Storage::start(Arc::clone(&log), &store, wiring.input.clone())?;
        let namespace = ask::namespace(options.shards);
        let column = namespace.tables()[0].find_column("value").expect("the table has it").id;
        let clock = SystemClock::new();
        let config = CommitConfig {
            resend_after_us: RESEND_US,
            give_up_after_us: 10_000_000,
            ..CommitConfig::new(process, rand::random(), options.shards)
        };
        let silence_us = u64::try_from(options.silence.as_micros()).unwrap_or(u64::MAX);
        let now_us = clock.now().mono_us;
        Ok(Self {
            peers: Peers::new(me, init.nodes, options.shards, silence_us, now_us),
            schema: Arc::new(engine_schema(&namespace)),
            commit: CommitEngine::new(config),
            options,
            wiring,
            name: init.node,
            process,
            clock,
            namespace,
            column,
            log,
            storage,
            seats: BTreeMap::new(),
            corrupt: BTreeSet::new(),
            jobs: BTreeMap::new(),
            local: VecDeque::new(),
            outgoing: BTreeMap::new(),
            last_number: 0,
            next_tick_us: 0,
            next_beat_us: 0,
        })
    }

    /// Serves until stdin ends.
    pub(super) fn run(mut self) -> anyhow::Result<()> {
        loop {
            let patience = self.next_tick_us.saturating_sub(self.clock.now().mono_us);
            match self.wiring.arrivals.recv_timeout(Duration::from_micros(patience)) {
                Ok(Input::End) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Ok(input) => self.take(input),
                Err(RecvTimeoutError::Timeout) => {}
            }
            for _ in 1..MAX_INPUTS {
                match self.wiring.arrivals.try_recv() {
                    Ok(Input::End) => return Ok(()),
                    Ok(input) => self.take(input),
                    Err(_) => break,
                }
            }
            if self.clock.now().mono_us >= self.next_tick_us {
                self.tick();
            }
            self.append();
            self.deliver();
        }
    }

    /// Takes one input in. Time is read after it has arrived, so that a lease that ran out while this
    /// process was stopped is not used for what came later.
    fn take(&mut self, input: Input) {
        let now = self.clock.now();
        match input {
            Input::Message(message) => self.on_message(now, message),
            Input::Appended(seat, sent, result) => {
                let mut out = Vec::new();
                let Some(it) = self.seat(seat) else { return };
                let read_back = it.on_appended(now, sent, result, &mut out);
                if read_back.is_some() {
                    self.storage.replay(seat, read_back);
                }
                self.obey(now, seat, out);
            }
            Input::Stored(seat, io, stored) => {
                let event = match stored {
                    Stored::Rows(Ok(rows)) => ShardEvent::RowsRead { io, rows },
                    Stored::Rows(Err(_)) => ShardEvent::ReadFailed { io },
                    Stored::Flushed(Ok(())) => ShardEvent::Flushed { io },
                    Stored::Flushed(Err(StoreError::Refused(refused))) => {
                        let rows = refused.into_iter().map(|it| (it.index, it.why)).collect();
                        ShardEvent::FlushRefused { io, rows }
                    }
                    Stored::Flushed(Err(_)) => ShardEvent::FlushFailed { io },
                };
                self.step_shard(now, seat, event);
            }
            Input::Replayed(seat, replayed) => self.on_replayed(now, seat, replayed),
            Input::End => {}
        }
        self.settle(now);
    }

    fn on_message(&mut self, now: Now, message: Message) {
        match message.kind() {
            BEAT => {
                let Some(from) = self.peers.number_of(&message.src) else { return };
                for (shard, epoch) in self.peers.on_beat(now.mono_us, from, &message.body) {
                    self.on_news(now, shard, epoch);
                }
            }
            ITEMS => {
                let items = message.body.get("items").and_then(Value::as_array);
                for text in items.into_iter().flatten().filter_map(Value::as_str) {
                    match wire::decode(text) {
                        Ok(item) => self.on_item(item),
                        Err(why) => eprintln!("a message of {} is damaged: {why}", message.src),
                    }
                }
            }
            _ => self.on_client(now, message),
        }
    }

    /// A later epoch of a shard was heard of.
    fn on_news(&mut self, now: Now, shard: ShardId, epoch: Epoch) {
        if self.seats.get(&shard).and_then(Seat::leads).is_some_and(|mine| mine < epoch) {
            eprintln!("shard {shard}: another node leads epoch {epoch}");
            self.vacate(now, shard);
        }
        self.local.push_back(Local::Commit(CommitEvent::Route { shard, epoch }));
    }

    fn on_item(&mut self, item: Item) {
        match item {
            Item::Request { origin, shard, request } => {
                self.local.push_back(Local::Request { shard, origin, request });
            }
            // A reply to an earlier process of this node means nothing here.
            Item::Reply { origin, shard, reply } if origin.node == self.process => {
                let event = CommitEvent::Reply { shard, token: origin.token, reply };
                self.local.push_back(Local::Commit(event));
            }
            Item::Reply { .. } => {}
        }
    }

    fn obey_commit(&mut self, now: Now, command: CommitCommand) {
        match command {
            CommitCommand::Send { shard, token, request } => {
                let origin = Origin { node: self.process, token };
                self.request(shard, origin, request);
            }
            CommitCommand::Answer { call, answer } => {
                if let Some(mut job) = self.jobs.remove(&call) {
                    let step = job.on_answer(answer, &self.context(now));
                    self.follow(now, job, step);
                }
            }
        }
    }

    fn send(&self, dest: String, body: Map<String, Value>) {
        (self.wiring.send)(Message { src: self.name.clone(), dest, body });
    }

    fn number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// Sends a request to the leader of a shard, as far as it is known.
    fn request(&mut self, shard: ShardId, origin: Origin, request: ShardRequest) {
        match self.peers.leader(shard) {
            Some((_, node)) if node == self.peers.me() => {
                self.local.push_back(Local::Request { shard, origin, request });
            }
            Some((_, node)) => {
                let item = wire::encode(&Item::Request { origin, shard, request });
                self.outgoing.entry(node).or_default().push(item);
            }
            None => self.reply(shard, origin, ShardReply::NotLeading { epoch: Epoch(0) }),
        }
    }

    fn reply(&mut self, shard: ShardId, origin: Origin, reply: ShardReply) {
        let node = (origin.node & 0xff) as usize;
        if origin.node == self.process {
            self.on_item(Item::Reply { origin, shard, reply });
        } else if origin != Origin::default() && node != self.peers.me() {
            let item = wire::encode(&Item::Reply { origin, shard, reply });
            self.outgoing.entry(node).or_default().push(item);
        }
    }

    /// Steps the engines until they have nothing more to say to each other.
    fn settle(&mut self, now: Now) {
        while let Some(message) = self.local.pop_front() {
            match message {
                Local::Request { shard, origin, request } => match self.seats.get(&shard) {
                    Some(seat) => {
                        let id = seat.id;
                        self.step_shard(now, id, ShardEvent::Request { origin, request });
                    }
                    None => {
                        let epoch = self.peers.leader(shard).map_or(Epoch(0), |(epoch, _)| epoch);
                        self.reply(shard, origin, ShardReply::NotLeading { epoch });
                    }
                },
                Local::Commit(event) => {
                    let mut out = Vec::new();
                    self.commit.step(now, event, &mut out);
                    for command in out {
                        self.obey_commit(now, command);
                    }
                }
            }
        }
    }

    fn seat(&mut self, id: SeatId) -> Option<&mut Seat> {
        self.seats.get_mut(&id.shard).filter(|seat| seat.id == id)
    }

    fn step_shard(&mut self, now: Now, id: SeatId, event: ShardEvent) {
        let mut out = Vec::new();
        let Some(seat) = self.seat(id) else { return };
        seat.step(now, event, &mut out);
        self.obey(now, id, out);
    }

    fn tick(&mut self) {
        let now = self.clock.now();
        self.next_tick_us = now.mono_us + TICK_US;
        let ids: Vec<SeatId> = self.seats.values().map(|seat| seat.id).collect();
        for id in ids {
            self.step_shard(now, id, ShardEvent::Tick);
        }
        self.local.push_back(Local::Commit(CommitEvent::Tick));
        self.settle(now);
        self.tick_jobs(now);
        self.settle(now);
        if now.mono_us >= self.next_beat_us {
            self.next_beat_us = now.mono_us + BEAT_US;
            self.beat(now);
        }
        for shard in (0..self.options.shards).map(ShardId) {
            let is_free = !self.seats.contains_key(&shard) && !self.corrupt.contains(&shard);
            if is_free && self.peers.should_stand(now.mono_us, shard) {
                self.stand(shard);
            }
        }
    }

    fn beat(&mut self, now: Now) {
        let leads: Vec<(ShardId, Epoch)> =
            self.seats.iter().filter_map(|(shard, seat)| Some((*shard, seat.leads()?))).collect();
        for (shard, epoch) in &leads {
            self.peers.leads(now.mono_us, *shard, *epoch);
        }
        let beat = self.peers.beat(now.mono_us, &leads);
        for name in self.peers.others().filter_map(|node| self.peers.name(node)) {
            self.send(name.to_owned(), beat.clone());
        }
    }

    /// Hands to the log what the engines wrote.
    fn append(&mut self) {
        let now = self.clock.now();
        for seat in self.seats.values_mut() {
            let Some((batch, sent)) = seat.take_batch(now) else { continue };
            let (core, id) = (self.wiring.input.clone(), seat.id);
            let done = move |results: Vec<Appended>| {
                for result in results {
                    let _ = core.send(Input::Appended(id, sent, result)); // the core may be gone
                }
            };
            self.log.append(vec![batch], Box::new(done));
        }
    }

    /// Sends what gathered for each node, as one message.
    fn deliver(&mut self) {
        for (node, items) in std::mem::take(&mut self.outgoing) {
            // An origin may name a node that there is not, if its message was damaged.
            if let Some(name) = self.peers.name(node) {
                self.send(name.to_owned(), body(json!({ "type": ITEMS, "items": items })));
            }
        }
    }
}
