//! One simulated world: the queue of what happens next, and everybody to whom it happens.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use coordinator::interface::{CommitCommand, CommitEvent};
use participant::engine::{EngineSchema, ShardCommand, ShardEvent};
use rustc_hash::FxHashMap;
use wal_core::{Nonce, Now, ShardId};

use crate::client::{Client, Pending as PendingCall};
use crate::clock::{EPOCH_US, NodeClock};
use crate::failure::{Check, Failure};
use crate::fault::{Fault, FaultCounts};
use crate::history::History;
use crate::log::Broker;
use crate::message::{Cut, Event};
use crate::plan::{Options, Plan};
use crate::process::Node;
use crate::rng::Rng;
use crate::store::Store;
use crate::truth::Truth;
use crate::workload::{Workload, schema};

/// Prints a line of the timeline, if anybody wants it.
macro_rules! trace {
    ($world:expr, $($line:tt)*) => {
        if $world.tracing {
            println!("{:>12.6} {}", $world.now_us as f64 / 1e6, format_args!($($line)*));
        }
    };
}
pub(crate) use trace;

/// How often each thing happened that should happen in some world.
pub(crate) type Counts = BTreeMap<&'static str, u64>;

/// How a world ended.
pub(crate) struct Ended {
    pub(crate) failure: Option<Failure>,
    pub(crate) trace_hash: u64,
    pub(crate) events: u64,
    pub(crate) simulated_us: u64,
    pub(crate) committed: u64,
    pub(crate) aborted: u64,
    pub(crate) reads: u64,
    pub(crate) faults: FaultCounts,
    pub(crate) counts: Counts,
}

/// After everything healed, all must be at rest within this time.
pub(crate) const REST_WITHIN_US: u64 = 90_000_000;
/// More than this happens in no world that makes progress.
const MAX_EVENTS: u64 = 20_000_000;

pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) rng: Rng,
    pub(crate) now_us: u64,
    order: u64,
    queue: BinaryHeap<Reverse<(u64, u64, u32)>>,
    slab: Vec<Option<Event>>,
    free: Vec<u32>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) cuts: Vec<Cut>,
    pub(crate) broker: Broker,
    pub(crate) store: Store,
    pub(crate) truth: Truth,
    pub(crate) history: History,
    pub(crate) workload: Workload,
    pub(crate) schema: Arc<EngineSchema>,
    pub(crate) log_identity: Nonce,
    pub(crate) clients: Vec<Client>,
    pub(crate) calls: FxHashMap<u64, PendingCall>,
    /// Who should lead each shard.
    pub(crate) placed: Vec<usize>,
    pub(crate) faults: FaultCounts,
    pub(crate) counts: Counts,
    pub(crate) healed_at: Option<u64>,
    pub(crate) submitted: u32,
    pub(crate) probing: Probe,
    next_number: u64,
    trace_hash: u64,
    pub(crate) tracing: bool,
    pub(crate) shard_commands: Vec<ShardCommand>,
    pub(crate) commit_commands: Vec<CommitCommand>,
}

/// How far the end of a world is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    /// Clients still work.
    NotYet,
    /// Every row is written once more and read.
    Running,
    /// Everything must come to rest.
    Resting,
    /// All is at rest.
    Rested,
}

impl World {
    pub(crate) fn new(options: &Options) -> Self {
        let mut rng = Rng::new(options.seed);
        let plan = Plan::draw(&mut rng, options);
        let workload = Workload::new(&plan, &mut rng);
        let nodes = (0..plan.slots)
            .map(|_| Node {
                clock: NodeClock::new(0, rng.range(1_000..1 << 40)),
                paused_until: 0,
                process: None,
                unsynced: Vec::new(),
            })
            .collect();
        let mut world = Self {
            log_identity: Nonce(rng.next_u128()),
            schema: schema(&plan),
            broker: Broker::new(plan.shards),
            truth: Truth::new(plan.shards),
            placed: (0..plan.shards as usize).map(|shard| shard % plan.slots).collect(),
            clients: (0..plan.clients).map(|_| Client::default()).collect(),
            nodes,
            workload,
            plan,
            rng,
            now_us: 0,
            order: 0,
            queue: BinaryHeap::new(),
            slab: Vec::new(),
            free: Vec::new(),
            cuts: Vec::new(),
            store: Store::default(),
            history: History::default(),
            calls: FxHashMap::default(),
            faults: FaultCounts::default(),
            counts: Counts::new(),
            healed_at: None,
            submitted: 0,
            probing: Probe::NotYet,
            next_number: 0,
            trace_hash: options.seed,
            tracing: options.trace,
            shard_commands: Vec::new(),
            commit_commands: Vec::new(),
        };
        trace!(world, "seed {}: {:?}", options.seed, world.plan);
        world.begin();
        world
    }

    fn begin(&mut self) {
        for slot in 0..self.plan.slots {
            let delay = self.rng.below(20_000);
            self.schedule(delay, Event::Start { slot });
        }
        for client in 0..self.plan.clients {
            let delay = self.rng.below(100_000);
            self.schedule(delay, Event::Client { client, turn: 0 });
        }
        let on: Vec<Fault> = self.plan.faults.iter().filter(|fault| fault.is_timed()).collect();
        for fault in on {
            self.schedule_strike(fault);
        }
        self.schedule(self.plan.chaos_us, Event::Heal);
    }

    /// Runs the world to its end.
    pub(crate) fn run(mut self) -> Ended {
        let mut events = 0;
        let mut failure = None;
        while self.probing != Probe::Rested {
            let Some(Reverse((at, order, index))) = self.queue.pop() else {
                failure = Some(Failure::new(Check::Simulator, "nothing is left to happen"));
                break;
            };
            let event =
                self.slab[index as usize].take().expect("every queued index holds an event");
            self.free.push(index);
            self.now_us = at;
            if let Some(slot) = event.node() {
                let until = self.nodes[slot].paused_until;
                if until > at {
                    self.enqueue(until, order, event);
                    continue;
                }
            }
            events += 1;
            self.mix(at ^ event.kind() << 56);
            let result = self.happen(event);
            if events == MAX_EVENTS {
                failure = Some(Failure::new(Check::Stuck, "too many events"));
            }
            failure = failure.or(result.err());
            if failure.is_some() {
                break;
            }
        }
        if failure.is_none() {
            failure = crate::oracle::check(&self).err();
        }
        self.ended(events, failure)
    }

    fn ended(self, events: u64, failure: Option<Failure>) -> Ended {
        let mut counts = self.counts;
        for (name, count) in &self.truth.counts {
            *counts.entry(name).or_default() += count;
        }
        let outcome = |wanted: bool| {
            let known = |txn: &crate::history::TxnHistory| {
                self.truth.txn(txn.txn.id).is_some_and(|truth| {
                    if wanted { truth.committed.is_some() } else { !truth.closed.is_empty() }
                })
            };
            self.history.txns.iter().filter(|txn| known(txn)).count() as u64
        };
        Ended {
            failure,
            trace_hash: self.trace_hash,
            events,
            simulated_us: self.now_us,
            committed: outcome(true),
            aborted: outcome(false),
            reads: self.history.reads.len() as u64,
            faults: self.faults,
            counts,
        }
    }

    /// Makes something happen so many microseconds from now.
    pub(crate) fn schedule(&mut self, delay_us: u64, event: Event) {
        self.order += 1;
        self.enqueue(self.now_us + delay_us, self.order, event);
    }

    fn enqueue(&mut self, at: u64, order: u64, event: Event) {
        let index = match self.free.pop() {
            Some(index) => {
                self.slab[index as usize] = Some(event);
                index
            }
            None => {
                self.slab.push(Some(event));
                (self.slab.len() - 1) as u32
            }
        };
        self.queue.push(Reverse((at, order, index)));
    }

    /// A number that was never used before in this world.
    pub(crate) fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    /// Adds to the hash over everything that happened.
    pub(crate) fn mix(&mut self, value: u64) {
        self.trace_hash =
            (self.trace_hash.rotate_left(5) ^ value).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    /// Whether a fault strikes on this occasion.
    pub(crate) fn fires(&mut self, fault: Fault) -> bool {
        let on = self.healed_at.is_none() && self.plan.faults.has(fault);
        let fires = on && self.rng.chance(self.plan.faults.rate(fault));
        if fires {
            self.faults.count(fault);
        }
        fires
    }

    pub(crate) fn count(&mut self, name: &'static str) {
        *self.counts.entry(name).or_default() += 1;
    }

    /// What a node's clocks show.
    pub(crate) fn clock(&self, slot: usize) -> Now {
        self.nodes[slot].clock.now(self.now_us)
    }

    /// A nonce as a process makes it: its clock, then bits of its own.
    pub(crate) fn nonce(&mut self, slot: usize) -> Nonce {
        let time = u128::from(self.clock(slot).millis().0) << 80;
        Nonce(time | self.rng.next_u128() >> 48)
    }

    /// The true time as a wall clock would show it, milliseconds.
    pub(crate) fn true_millis(&self) -> u64 {
        (EPOCH_US as u64 + self.now_us) / 1_000
    }

    pub(crate) fn shards(&self) -> impl Iterator<Item = ShardId> + use<> {
        (0..self.plan.shards).map(ShardId)
    }

    fn happen(&mut self, event: Event) -> Result<(), Failure> {
        match event {
            Event::Tick { slot, process } => self.on_tick(slot, process),
            Event::Placement { slot, process } => self.on_placement(slot, process),
            Event::Heartbeat { slot, process } => self.on_heartbeat_due(slot, process),
            Event::Deliver { slot, message } => self.on_message(slot, *message),
            Event::ToCommit { slot, process, event } => {
                if self.is_alive(slot, process) {
                    self.step_commit(slot, *event)
                } else {
                    Ok(())
                }
            }
            Event::Answer { client, call, answer } => self.on_answer(client, call, *answer),
            Event::Client { client, turn } => self.on_client_turn(client, turn),
            Event::Poll { seat } => self.on_poll(seat),
            Event::Take { seat } => self.on_take(seat),
            Event::Land { seat, append, batch, silent } => {
                self.on_land(seat, append, &batch, silent)
            }
            Event::Acknowledged { seat, append, offset } => {
                self.on_acknowledged(seat, append, offset)
            }
            Event::ReadBack { seat, append, offset } => self.on_read_back(seat, append, offset),
            Event::Refused { seat, append } => self.on_refused(seat, append),
            Event::AppendTimeout { seat, append } => self.on_append_timeout(seat, append),
            Event::DiskSynced { slot, process, covers } => {
                self.on_disk_synced(slot, process, covers)
            }
            Event::ReadRows { seat, io, keys } => self.on_read_rows(seat, io, &keys),
            Event::RowsRead { seat, io, rows } => {
                let event = match rows {
                    Some(rows) => ShardEvent::RowsRead { io, rows },
                    None => ShardEvent::ReadFailed { io },
                };
                self.step_shard(seat, event)
            }
            Event::Apply { mutations, from, to } => {
                self.on_apply(&mutations[from..to]);
                Ok(())
            }
            Event::Flushed { seat, io, fine } => {
                let event =
                    if fine { ShardEvent::Flushed { io } } else { ShardEvent::FlushFailed { io } };
                self.step_shard(seat, event)
            }
            Event::Synced { seat, io, mark } => {
                self.store.sync(mark);
                self.step_shard(seat, ShardEvent::Synced { io })
            }
            Event::Placed { slot, shard, leader } => self.on_placed(slot, shard, leader),
            Event::Strike { fault } => self.on_strike(fault),
            Event::Start { slot } => self.on_start(slot),
            Event::End { slot, process } => {
                if self.is_alive(slot, process) {
                    self.crash(slot, false);
                }
                Ok(())
            }
            Event::Mend { cut } => {
                if let Some(index) = self.cuts.iter().position(|other| *other == cut) {
                    trace!(self, "mended: {cut:?}");
                    self.cuts.swap_remove(index);
                }
                Ok(())
            }
            Event::Heal => self.on_heal(),
            Event::Watch => self.on_watch(),
        }
    }

    fn on_tick(&mut self, slot: usize, process: u64) -> Result<(), Failure> {
        if !self.is_alive(slot, process) {
            return Ok(());
        }
        let delay = 9_000 + self.rng.below(2_000);
        self.schedule(delay, Event::Tick { slot, process });
        self.step_commit(slot, CommitEvent::Tick)?;
        for shard in self.shards() {
            if let Some(seat) = self.seat_id(slot, shard) {
                self.step_shard(seat, ShardEvent::Tick)?;
            }
        }
        Ok(())
    }
}
