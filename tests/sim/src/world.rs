//! One simulated world: the queue of what happens next, and everybody to whom it happens.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use coordinator::interface::{CommitCommand, CommitEvent};
use participant::engine::{ShardCommand, ShardEvent};
use wal_core::{Nonce, Now, ShardId};

use crate::bug::AdapterBug;
use crate::clock::{EPOCH_US, NodeClock};
use crate::failure::{Check, Failure};
use crate::fault::{Fault, FaultCounts};
use crate::message::{Cut, Event};
use crate::plan::{Options, Plan};
use crate::process::Machine;
use crate::region::{self, Regions};
use crate::rng::Rng;
pub(crate) use crate::space::Probe;
use crate::space::Space;
use crate::timeline::Timeline;

/// Adds a line to the timeline, if anybody wants it.
macro_rules! trace {
    ($world:expr, $($line:tt)*) => {
        if $world.timeline.is_kept() {
            let line = format!($($line)*);
            $world.timeline.add($world.now_us, $world.ns, line);
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
    pub(crate) timeline: Vec<String>,
}

/// After everything healed, all must be at rest within this time.
pub(crate) const REST_WITHIN_US: u64 = 90_000_000;
/// More than this happens in no world that makes progress.
const MAX_EVENTS: u64 = 20_000_000;

pub(crate) struct World {
    /// The namespace in which something happens now.
    pub(crate) space: Box<Space>,
    /// Its number.
    pub(crate) ns: u16,
    /// The others, each in its place.
    others: Vec<Option<Box<Space>>>,
    pub(crate) machines: Vec<Machine>,
    pub(crate) regions: Regions,
    pub(crate) rng: Rng,
    pub(crate) now_us: u64,
    order: u64,
    queue: BinaryHeap<Reverse<(u64, u64, u32)>>,
    slab: Vec<Option<(u16, Event)>>,
    free: Vec<u32>,
    pub(crate) cuts: Vec<Cut>,
    pub(crate) faults: FaultCounts,
    pub(crate) counts: Counts,
    pub(crate) healed_at: Option<u64>,
    next_number: u64,
    trace_hash: u64,
    pub(crate) timeline: Timeline,
    pub(crate) shard_commands: Vec<ShardCommand>,
    pub(crate) commit_commands: Vec<CommitCommand>,
}

impl World {
    pub(crate) fn new(options: &Options) -> Self {
        let mut rng = Rng::new(options.seed);
        let plans = Plan::draw(&mut rng, options);
        let machine = |slot| Machine {
            clock: NodeClock::new(0, rng.range(1_000..1 << 40)),
            paused_until: 0,
            member: slot < plans[0].members,
            crash_in: None,
            jumped: None,
        };
        let machines = (0..plans[0].slots).map(machine).collect();
        let spaces = plans.into_iter().map(|plan| Some(Box::new(Space::new(plan, &mut rng))));
        let mut others: Vec<_> = spaces.collect();
        let mut world = Self {
            space: others[0].take().expect("a world has a namespace"),
            ns: 0,
            others,
            machines,
            regions: Regions::default(),
            rng,
            now_us: 0,
            order: 0,
            queue: BinaryHeap::new(),
            slab: Vec::new(),
            free: Vec::new(),
            cuts: Vec::new(),
            faults: FaultCounts::default(),
            counts: Counts::new(),
            healed_at: None,
            next_number: 0,
            trace_hash: options.seed,
            timeline: Timeline::new(options.trace),
            shard_commands: Vec::new(),
            commit_commands: Vec::new(),
        };
        world.begin();
        world
    }

    /// How many namespaces there are.
    pub(crate) fn namespaces(&self) -> u16 {
        self.others.len() as u16
    }

    /// From here on, things happen in this namespace.
    pub(crate) fn enter(&mut self, ns: u16) {
        if ns != self.ns {
            let next = self.others[ns as usize].take().expect("only one namespace is out");
            let last = std::mem::replace(&mut self.space, next);
            self.others[self.ns as usize] = Some(last);
            self.ns = ns;
        }
    }

    /// Does something in every namespace, and comes back.
    pub(crate) fn in_each(
        &mut self,
        mut what: impl FnMut(&mut Self) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let back = self.ns;
        for ns in 0..self.namespaces() {
            self.enter(ns);
            what(self)?;
        }
        self.enter(back);
        Ok(())
    }

    fn begin(&mut self) {
        for slot in 0..self.space.plan.members {
            let delay = self.rng.below(20_000);
            self.schedule(delay, Event::Start { slot });
        }
        for ns in 0..self.namespaces() {
            self.enter(ns);
            trace!(self, "namespace {ns}: {:?}", self.space.plan);
            for client in 0..self.space.plan.clients {
                let delay = self.rng.below(100_000);
                self.schedule(delay, Event::Client { client, turn: 0 });
            }
        }
        self.enter(0);
        let on = self.space.plan.faults.iter().filter(|fault| fault.is_timed());
        for fault in on.collect::<Vec<Fault>>() {
            self.schedule_strike(fault);
        }
        self.schedule(self.space.plan.chaos_us, Event::Heal);
        self.begin_regions();
    }

    /// Runs the world to its end.
    pub(crate) fn run(mut self) -> Ended {
        let mut events = 0;
        let mut failure = None;
        while !self.is_over() {
            let Some(Reverse((at, order, index))) = self.queue.pop() else {
                failure = Some(Failure::new(Check::Simulator, "nothing is left to happen"));
                break;
            };
            let (ns, event) =
                self.slab[index as usize].take().expect("every queued index holds an event");
            self.free.push(index);
            self.now_us = at;
            if let Some(slot) = event.node() {
                let until = self.machines[slot].paused_until;
                if until > at {
                    self.enqueue(until, order, ns, event);
                    continue;
                }
            }
            events += 1;
            self.enter(ns);
            self.mix(at ^ event.kind() << 56 ^ u64::from(ns) << 50);
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
            failure = self.in_each(|world| crate::oracle::check(&world.space)).err();
        }
        if failure.is_none() {
            failure = region::check(&mut self).err();
        }
        self.ended(events, failure)
    }

    fn is_over(&self) -> bool {
        let others = self.others.iter().flatten().all(|space| space.probing == Probe::Rested);
        self.space.probing == Probe::Rested && others
    }

    fn ended(mut self, events: u64, failure: Option<Failure>) -> Ended {
        let mut counts = std::mem::take(&mut self.counts);
        let back = self.ns;
        let (mut committed, mut aborted, mut reads) = (0, 0, 0);
        for ns in 0..self.namespaces() {
            self.enter(ns);
            let space = &self.space;
            for (name, count) in &space.truth.counts {
                *counts.entry(name).or_default() += count;
            }
            for txn in &space.history.txns {
                let Some(truth) = space.truth.txn(txn.txn.id) else { continue };
                committed += u64::from(truth.committed.is_some());
                aborted += u64::from(!truth.closed.is_empty());
            }
            reads += space.history.reads.len() as u64;
        }
        self.enter(back);
        Ended {
            failure,
            trace_hash: self.trace_hash,
            events,
            simulated_us: self.now_us,
            committed,
            aborted,
            reads,
            faults: self.faults,
            counts,
            timeline: self.timeline.into_lines(),
        }
    }

    /// Makes something happen so many microseconds from now.
    pub(crate) fn schedule(&mut self, delay_us: u64, event: Event) {
        self.order += 1;
        self.enqueue(self.now_us + delay_us, self.order, self.ns, event);
    }

    fn enqueue(&mut self, at: u64, order: u64, ns: u16, event: Event) {
        let index = match self.free.pop() {
            Some(index) => {
                self.slab[index as usize] = Some((ns, event));
                index
            }
            None => {
                self.slab.push(Some((ns, event)));
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
        let on = self.healed_at.is_none() && self.space.plan.faults.has(fault);
        let fires = on && self.rng.chance(self.space.plan.faults.rate(fault));
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
        self.machines[slot].clock.now(self.now_us)
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
        self.space.shards()
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
            Event::Region(happens) => self.on_region(*happens),
            Event::Answer { client: region::SERVER, call, answer } => {
                self.on_served(call, &answer);
                Ok(())
            }
            Event::Answer { client, call, answer } => self.on_answer(client, call, *answer),
            Event::Client { client, turn } => self.on_client_turn(client, turn),
            Event::Poll { seat } => self.on_poll(seat),
            Event::Take { seat } => self.on_take(seat),
            Event::Land { seat, append, batch, silent } => {
                self.on_land(seat, append, &batch, silent)
            }
            Event::Stable { shard } => self.on_stable(shard),
            Event::Hint { shard, checkpoint } => {
                self.on_late_hint(shard, checkpoint);
                Ok(())
            }
            Event::Trim { shard, trim } => {
                if self.lets_go(shard, trim) {
                    let trim = self.held_by_deliveries(shard, trim);
                    self.space.broker.shard(shard).trim(trim);
                }
                Ok(())
            }
            Event::Reroute { slot, message } => {
                self.reroute(slot, *message);
                Ok(())
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
            Event::RowsRead { .. } | Event::Flushed { .. } if self.is_cancelled() => Ok(()),
            Event::FlushRefused { seat, io, rows } => {
                let rows = rows.into_iter().map(|row| (row, "refused".to_owned())).collect();
                self.step_shard(seat, ShardEvent::FlushRefused { io, rows })
            }
            Event::TakenAgain { what, retry } => self.on_taken_again(&what, retry),
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
                self.space.store.sync(mark);
                self.step_shard(seat, ShardEvent::Synced { io })
            }
            Event::Placed { slot, shard, leader } => self.on_placed(slot, shard, leader),
            Event::Strike { fault } => self.on_strike(fault),
            Event::Start { slot } => self.on_start(slot),
            Event::End { slot, process } => {
                if self.is_alive(slot, process) {
                    self.crash(slot, false)
                } else {
                    Ok(())
                }
            }
            Event::Mend { cut } => {
                if let Some(index) = self.cuts.iter().position(|other| *other == cut) {
                    trace!(self, "mended: {cut:?}");
                    self.cuts.swap_remove(index);
                }
                Ok(())
            }
            Event::Heard { slot, process, what } => self.on_heard(slot, process, *what),
            Event::Outside { what } => self.on_outside(*what),
            Event::Heal => self.on_heal(),
            Event::Watch => self.on_watch(),
        }
    }

    /// Planted: the task that would have told the engine what the table store said is gone.
    fn is_cancelled(&mut self) -> bool {
        self.space.plan.has_bug(AdapterBug::CancelledTask)
            && self.healed_at.is_none()
            && self.rng.chance(5_000)
    }

    /// A server that hears of the newer version gives it to its engines.
    fn see_newer(&mut self, slot: usize) {
        if !self.space.plan.has_seen_newer(slot, self.now_us) {
            return;
        }
        let newer = Arc::clone(&self.space.schemas[1]);
        let Some(process) = &mut self.space.nodes[slot].process else { return };
        if !std::mem::replace(&mut process.knows_newer, true) {
            for seat in process.seats.iter_mut().flatten() {
                seat.engine.set_schema(Arc::clone(&newer));
            }
        }
    }

    fn on_tick(&mut self, slot: usize, process: u64) -> Result<(), Failure> {
        if !self.is_alive(slot, process) {
            return Ok(());
        }
        let delay = 9_000 + self.rng.below(2_000);
        self.schedule(delay, Event::Tick { slot, process });
        self.see_newer(slot);
        self.step_commit(slot, CommitEvent::Tick)?;
        for shard in self.shards() {
            if let Some(seat) = self.seat_id(slot, shard) {
                self.step_shard(seat, ShardEvent::Tick)?;
            }
        }
        self.deliver(slot)
    }
}
