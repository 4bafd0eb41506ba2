//! The core thread of a node: steps the engines with whatever arrived, and carries out what they say.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::ensure;
use coordinator::api::{Call, CallAnswer};
use coordinator::engine::{CommitConfig, CommitEngine};
use coordinator::interface::{CommitCommand, CommitEvent};
use coordinator::runtime::{SystemClock, engine_schema};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use participant::engine::{EngineSchema, HaltReason, IoId, ShardCommand, ShardEvent};
use participant::message::{Origin, ShardReply, ShardRequest};
use serde_json::{Map, Value, json};
use wal_core::log::{Appended, IntentLog};
use wal_core::namespace::Namespace;
use wal_core::{Clock, ColumnId, Epoch, Nonce, Now, ShardId, TxnId};

use super::NodeOptions;
use super::ask::{self, Ask};
use super::job::{Context, Job, Step};
use super::peers::{BEAT, BEAT_US, Peers};
use super::seat::{Seat, SeatId, Sent};
use super::storage::{Replayed, Storage, Stored};
use crate::kv::remote::{RemoteKv, Send};
use crate::kv::{Answer, Kv, Request, call};
use crate::log::{LinKvLog, Options};
use crate::protocol::{Code, Message, body, error};
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
const ITEMS: &str = "handfast";

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

/// Who this node is.
pub(super) struct Init {
    pub(super) node: String,
    nodes: Vec<String>,
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

/// Waits for `init` and answers it; whatever else comes first is refused. `None` if stdin ends.
pub(super) fn await_init(arrivals: &Receiver<Input>, send: &Send) -> Option<Init> {
    while let Ok(Input::Message(message)) = arrivals.recv() {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let node = message.body.get("node_id").and_then(text);
        let nodes = message.body.get("node_ids").and_then(Value::as_array);
        let nodes: Option<Vec<String>> = nodes.and_then(|nodes| nodes.iter().map(text).collect());
        let (src, id) = (message.dest.clone(), message.msg_id());
        let reply = |src: String, mut body: Map<String, Value>| {
            body.extend(id.map(|id| ("in_reply_to".to_owned(), id.into())));
            send(Message { src, dest: message.src.clone(), body });
        };
        match (message.kind(), node, nodes) {
            ("init", Some(node), Some(nodes)) if nodes.contains(&node) && nodes.len() <= 255 => {
                reply(node.clone(), body(json!({ "type": "init_ok" })));
                return Some(Init { node, nodes });
            }
            ("init", ..) => {
                let text = "init needs node_id and node_ids, which has it among at most 255";
                reply(src, error(Code::MalformedRequest, text));
            }
            (BEAT | ITEMS, ..) => {}
            _ if id.is_some() => {
                let text = "the node was not initialised yet";
                reply(src, error(Code::TemporarilyUnavailable, text));
            }
            _ => {}
        }
    }
    None
}

/// Holds all nodes of a cluster to the same number of shards.
fn agree_on_shards(kv: &dyn Kv, shards: u16) -> anyhow::Result<()> {
    let key = "log/shards".to_owned();
    loop {
        let (from, to) = (None, shards.to_string());
        call(kv, Request::Cas { key: key.clone(), from, to, create: true });
        if let Answer::Value(found) = call(kv, Request::Read { key: key.clone() }) {
            ensure!(
                found == shards.to_string(),
                "the cluster has {found} shards, this node was started with {shards}: give every node the same --shards"
            );
            return Ok(());
        }
    }
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

    fn on_client(&mut self, now: Now, message: Message) {
        let Some(msg_id) = message.msg_id() else {
            return eprintln!("a request without msg_id cannot be answered: {}", message.to_line());
        };
        let ask = match Ask::parse(&message.body) {
            Ok(ask) => ask,
            Err(body) => return self.answer_client(&message.src, msg_id, body),
        };
        if self.jobs.len() >= MAX_JOBS {
            let body = error(Code::TemporarilyUnavailable, "too many requests are under way");
            return self.answer_client(&message.src, msg_id, body);
        }
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let within = ask.within_us(
            micros(self.options.answer_txn_within),
            micros(self.options.answer_key_within),
        );
        let mut job = Job::new(message.src, msg_id, ask, now.mono_us, within);
        let step = job.begin(&self.context(now));
        self.follow(now, job, step);
    }

    fn context(&self, now: Now) -> Context<'_> {
        Context {
            now_us: now.mono_us,
            namespace: &self.namespace,
            column: self.column,
            fresh: TxnId::from_parts(now.millis(), rand::random()),
            timestamps: self.options.commit_timestamps,
        }
    }

    /// Does what a job asks for; keeps it under the number of its newest call.
    fn follow(&mut self, now: Now, mut job: Job, mut step: Step) {
        loop {
            match step {
                Step::Answer(body) => return self.answer_client(&job.client, job.msg_id, body),
                Step::Wait => {
                    let number = self.number();
                    self.jobs.insert(number, job);
                    return;
                }
                Step::Call(what) => {
                    let call = self.number();
                    match self.call(now, call, what) {
                        None => {
                            self.jobs.insert(call, job);
                            return;
                        }
                        Some(answer) => step = job.on_answer(answer, &self.context(now)),
                    }
                }
            }
        }
    }

    /// Makes a call; its answer, if it comes at once.
    fn call(&mut self, now: Now, call: u64, what: Call) -> Option<CallAnswer> {
        let mut out = Vec::new();
        self.commit.step(now, CommitEvent::Call { call, what }, &mut out);
        let mut at_once = None;
        for command in out {
            match command {
                CommitCommand::Answer { call: answered, answer } if answered == call => {
                    at_once = Some(answer);
                }
                other => self.obey_commit(now, other),
            }
        }
        at_once
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

    fn answer_client(&self, client: &str, msg_id: u64, mut body: Map<String, Value>) {
        body.insert("in_reply_to".into(), msg_id.into());
        let id = self.wiring.ids.fetch_add(1, Ordering::Relaxed);
        body.insert("msg_id".into(), id.into());
        self.send(client.to_owned(), body);
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

    fn obey(&mut self, now: Now, id: SeatId, commands: Vec<ShardCommand>) {
        let shard = id.shard;
        for command in commands {
            match command {
                ShardCommand::Reply { origin, reply } => self.reply(shard, origin, reply),
                ShardCommand::Tell { shard, request } => {
                    self.request(shard, Origin::default(), request);
                }
                ShardCommand::ReadRows { io, keys } => self.storage.read(id, io, keys),
                ShardCommand::Flush { io, mutations } => self.storage.flush(id, io, mutations),
                // What the service has answered, it keeps.
                ShardCommand::SyncStore { io } => {
                    self.step_shard(now, id, ShardEvent::Synced { io });
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
                    eprintln!("shard {shard}: leading epoch {epoch}");
                    if let Some(seat) = self.seat(id) {
                        seat.set_leading(epoch);
                    }
                    self.peers.leads(now.mono_us, shard, epoch);
                    self.local.push_back(Local::Commit(CommitEvent::Route { shard, epoch }));
                    self.next_beat_us = 0; // tell the others at once
                }
                ShardCommand::Halt { why } => self.on_halt(now, shard, why),
            }
        }
    }

    fn on_halt(&mut self, now: Now, shard: ShardId, why: HaltReason) {
        match why {
            HaltReason::Deposed => eprintln!("shard {shard}: another node was faster"),
            HaltReason::AppendInDoubt(why) => eprintln!("shard {shard}: the epoch is over: {why}"),
            HaltReason::Resigned => eprintln!("shard {shard}: resigned"),
            HaltReason::Corrupt(why) => {
                eprintln!("shard {shard}: FATAL: its log contradicts itself: {why}");
                self.corrupt.insert(shard);
            }
        }
        self.vacate(now, shard);
    }

    fn vacate(&mut self, now: Now, shard: ShardId) {
        self.seats.remove(&shard);
        self.peers.failed(now.mono_us, shard, rand::random());
    }

    fn on_replayed(&mut self, now: Now, id: SeatId, replayed: Replayed) {
        let owner = self.owner(now);
        let address = self.name.clone();
        let Some(seat) = self.seat(id) else { return };
        match replayed {
            Ok(read) => {
                let mut out = Vec::new();
                seat.on_replayed(now, read, (owner, address), &mut out);
                self.obey(now, id, out);
            }
            Err(error) => {
                eprintln!("shard {}: its log cannot be read: {error}", id.shard);
                self.vacate(now, id.shard);
            }
        }
    }

    /// Unlike that of any other candidacy.
    fn owner(&mut self, now: Now) -> Nonce {
        let millis = u128::from(now.millis().0 & 0xffff_ffff_ffff);
        Nonce(
            millis << 80
                | u128::from(rand::random::<u64>()) << 16
                | u128::from(self.number() & 0xffff),
        )
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

    fn stand(&mut self, shard: ShardId) {
        let id = SeatId { shard, number: self.number() };
        let seat = Seat::new(id, self.log.identity(), Arc::clone(&self.schema), &self.options);
        self.seats.insert(shard, seat);
        self.storage.replay(id, None);
    }

    fn beat(&mut self, now: Now) {
        let leads: Vec<(ShardId, Epoch)> =
            self.seats.iter().filter_map(|(shard, seat)| Some((*shard, seat.leads()?))).collect();
        for (shard, epoch) in &leads {
            self.peers.leads(now.mono_us, *shard, *epoch);
        }
        let beat = self.peers.beat(now.mono_us, &leads);
        for node in self.peers.others() {
            self.send(self.peers.name(node).to_owned(), beat.clone());
        }
    }

    fn tick_jobs(&mut self, now: Now) {
        let calls: Vec<u64> = self.jobs.keys().copied().collect();
        for call in calls {
            let Some(mut job) = self.jobs.remove(&call) else { continue };
            match job.on_tick(&self.context(now)) {
                Step::Wait => {
                    self.jobs.insert(call, job);
                }
                step @ (Step::Call(_) | Step::Answer(_)) => {
                    self.local.push_back(Local::Commit(CommitEvent::Forget { call }));
                    self.follow(now, job, step);
                }
            }
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
            if let Some(name) = (node < 256).then(|| self.peers.name(node).to_owned()) {
                self.send(name, body(json!({ "type": ITEMS, "items": items })));
            }
        }
    }
}
