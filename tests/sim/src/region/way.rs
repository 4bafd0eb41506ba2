//! Sending in one direction: who does it, what he reads, what he asks of the other region and hears of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use delivery::region::PiecesTo;
use wal_core::{Position, ShardId, Timestamp};

use super::namespace::ARRIVED;
use super::sender::{How, Marks, Sender};
use super::{Asked, Asker, Happens, Heard, RegionPlan};
use crate::bug::AdapterBug;
use crate::failure::{Check, Failure, ensure};
use crate::fault::Fault;
use crate::message::{Cut, Event};
use crate::plan::Plan;
use crate::space::Probe;
use crate::workload::NEWER;
use crate::world::{World, trace};

/// Records that are read of a shard at a time.
const READ: u64 = 64;
/// In how many turns of a sender one stores how far it is.
const MARKS_PPM: u32 = 40_000;
/// How often one request may come again.
const MOST_COPIES: u32 = 3;

/// One direction.
pub(super) struct Way {
    /// The namespace that is sent from, and the one that is sent to.
    pub(super) from: u16,
    pub(super) to: u16,
    /// What is stored of how far it is. The newest sender alone may store it.
    marks: Marks,
    /// The number of the newest sender.
    newest: u64,
    /// By their numbers: those before the newest do not know that they are none any more.
    pub(super) senders: BTreeMap<u64, Sender>,
}

fn region_of(plan: &Plan) -> &RegionPlan {
    plan.region.as_ref().expect("both ends of a way are regions")
}

impl World {
    /// Begins to send, where the world has regions.
    pub(crate) fn begin_regions(&mut self) {
        let back = self.ns;
        let both_ways = if self.space.plan.region.is_some() { &[(0, 1), (1, 0)][..] } else { &[] };
        for (from, to) in both_ways.iter().copied() {
            self.enter(from);
            let plan = &self.space.plan;
            let region = region_of(plan);
            let both = [1, NEWER].map(|version| region.namespace(plan, version));
            let marks = vec![Default::default(); usize::from(plan.shards)];
            self.regions.namespaces.insert(from, both);
            let (way, senders) = (self.regions.ways.len(), BTreeMap::new());
            self.regions.ways.push(Way { from, to, marks, newest: 0, senders });
            let delay = self.rng.below(200_000);
            self.schedule(delay, Event::Region(Box::new(Happens::Look { way })));
        }
        self.enter(back);
    }

    pub(crate) fn on_region(&mut self, happens: Happens) -> Result<(), Failure> {
        match happens {
            Happens::Look { way } => {
                self.on_look(way);
                Ok(())
            }
            Happens::Turn { way, sender, .. } => self.on_turn(way, sender),
            Happens::Ask { asker, asked, slot } => {
                self.on_asked(asker, asked, slot);
                Ok(())
            }
            Happens::Hear { asker, heard, .. } => self.on_sender_hears(asker, heard),
        }
    }

    /// Somebody should send: a process that lives. Others may think that it does not.
    fn on_look(&mut self, way: usize) {
        let delay = 30_000 + self.rng.below(100_000);
        self.schedule(delay, Event::Region(Box::new(Happens::Look { way })));
        let nodes = &self.space.nodes;
        let lives = |slot: usize| nodes[slot].process.as_ref().map(|process| process.number);
        let senders = &mut self.regions.ways[way].senders;
        senders.retain(|_, sender| lives(sender.slot) == Some(sender.process));
        let newest = self.regions.ways[way].newest;
        let is_there = self.regions.ways[way].senders.contains_key(&newest);
        let takes_over_ppm = region_of(&self.space.plan).takes_over_ppm;
        if is_there && (self.healed_at.is_some() || !self.rng.chance(takes_over_ppm)) {
            return;
        }
        let slots: Vec<usize> = (0..nodes.len()).filter(|slot| lives(*slot).is_some()).collect();
        if slots.is_empty() {
            return;
        }
        let slot = *self.rng.pick(&slots);
        let process = self.space.nodes[slot].process.as_ref().map_or(0, |process| process.number);
        if is_there {
            self.count("region: sender taken over");
        }
        let way_of = &mut self.regions.ways[way];
        way_of.newest += 1;
        let sender = way_of.newest;
        way_of.senders.insert(sender, Sender::new(slot, process, way_of.marks.clone()));
        trace!(self, "n{slot} sends to the other region: sender {sender} of way {way}");
        self.schedule(0, Event::Region(Box::new(Happens::Turn { way, sender, slot })));
    }

    /// A sender looks at everything that it does.
    fn on_turn(&mut self, way: usize, number: u64) -> Result<(), Failure> {
        let Some(sender) = self.regions.ways[way].senders.get_mut(&number) else { return Ok(()) };
        let (slot, process) = (sender.slot, sender.process);
        let late = sender.under_way.as_ref().is_some_and(|it| it.until_us <= self.now_us);
        if late {
            sender.fail(self.now_us, None);
            self.count("region: not answered in time");
        }
        if !self.is_alive(slot, process) {
            self.regions.ways[way].senders.remove(&number);
            return Ok(());
        }
        let delay = 5_000 + self.rng.below(15_000);
        let turn = Happens::Turn { way, sender: number, slot };
        self.schedule(delay, Event::Region(Box::new(turn)));
        self.read_on(way, number)?;
        if self.rng.chance(MARKS_PPM) && !self.store_way(way, number) {
            self.count("region: sender deposed");
            self.regions.ways[way].senders.remove(&number);
            return Ok(());
        }
        self.pulse_silent(way, number);
        self.send_next(way, number);
        Ok(())
    }

    fn read_on(&mut self, way: usize, number: u64) -> Result<(), Failure> {
        let now_us = self.now_us;
        let planted = self.space.plan.has_bug(AdapterBug::SendsWhatItReceived);
        let to = 1 - region_of(&self.space.plan).number;
        let how = How { picks: PiecesTo { region: to, arrived: ARRIVED }, sends_received: planted };
        let buffer_bytes = region_of(&self.space.plan).buffer_bytes;
        let newest = self.regions.ways[way].newest;
        let Some(sender) = self.regions.ways[way].senders.get_mut(&number) else { return Ok(()) };
        let Some(gathering) = &mut sender.gathering else { return Ok(()) };
        if self.cuts.contains(&Cut::Log { slot: sender.slot }) {
            return Ok(());
        }
        for shard in self.space.shards() {
            if !gathering.gather.has_room(shard, buffer_bytes) {
                continue;
            }
            let log = self.space.broker.log(shard);
            let next = gathering.next[usize::from(shard.0)];
            let Ok(from) = log.start(Position(next)) else {
                if number != newest {
                    // Who has taken over keeps what he needs himself.
                    self.regions.ways[way].senders.remove(&number);
                    self.count("region: sender deposed");
                    return Ok(());
                }
                let story =
                    format!("position {next} of shard {shard} was trimmed before it was sent");
                return Err(Failure::new(Check::Regions, story));
            };
            let most = 1 + self.rng.below(READ) as usize;
            let records = log.read(from, most, false);
            if !records.is_empty() {
                gathering.read(now_us, shard, from, records, &how)?;
            }
        }
        Ok(())
    }

    /// Stores how far a sender is; false if another has taken over.
    fn store_way(&mut self, way: usize, number: u64) -> bool {
        let way = &mut self.regions.ways[way];
        if way.newest != number {
            return false;
        }
        let Some(gathering) = way.senders.get(&number).and_then(|it| it.gathering.as_ref()) else {
            return true;
        };
        let watermark = gathering.gather.watermark();
        for (shard, mark) in (0..).zip(&mut way.marks) {
            if let Some(place) = gathering.gather.resume(ShardId(shard)) {
                *mark = (watermark, place.clone());
            }
        }
        true
    }

    /// Whether a shard's log may go before a position: not before what is still to be read of it.
    pub(crate) fn lets_go(&self, shard: ShardId, before: Position) -> bool {
        let mut ways = self.regions.ways.iter().filter(|way| way.from == self.ns);
        ways.all(|way| before <= way.marks[usize::from(shard.0)].1.from)
    }

    /// Gives a pulse to shards that hold up the others.
    fn pulse_silent(&mut self, way: usize, number: u64) {
        let region = region_of(&self.space.plan);
        let (before_us, timeout_us) =
            (self.now_us.saturating_sub(region.pulse_after_us), region.timeout_us);
        let Some(sender) = self.regions.ways[way].senders.get_mut(&number) else { return };
        let Some(gathering) = &sender.gathering else { return };
        if sender.no_pulse_before_us > self.now_us {
            return;
        }
        let silent = gathering.gather.silent(before_us);
        if !silent.is_empty() {
            sender.no_pulse_before_us = self.now_us + timeout_us;
            let slot = sender.slot;
            self.give_pulse(Asker { way, sender: number, tried: 0 }, slot, &silent);
        }
    }

    /// Asks the other region where it is, or gives it the next batch, unless something is under way.
    fn send_next(&mut self, way: usize, number: u64) {
        let region = region_of(&self.space.plan);
        let (batch_bytes, until_us) = (region.batch_bytes, self.now_us + region.timeout_us);
        let Some(sender) = self.regions.ways[way].senders.get_mut(&number) else { return };
        if sender.under_way.is_some() || sender.not_before_us > self.now_us {
            return;
        }
        let (asked, more) = match &sender.gathering {
            None => (Asked::Arrived, 0),
            Some(gathering) => match gathering.gather.next(batch_bytes) {
                Some(batch) => {
                    let more = batch.transactions;
                    (Asked::Apply(Arc::new(batch), sender.transactions), more)
                }
                None => return,
            },
        };
        let (tried, slot) = (sender.ask(until_us, more), sender.slot);
        self.ask_region(Asker { way, sender: number, tried }, slot, asked);
    }

    /// A request on its way to some server of the other region; the network does with it as with any other.
    fn ask_region(&mut self, asker: Asker, from: usize, asked: Asked) {
        let rank = self.rng.index(self.space.plan.slots);
        let slot = self.member(rank);
        if self.is_cut(from, slot) || self.fires(Fault::MessageLost) {
            return;
        }
        let mut delay = self.space.plan.network_us / 2 + self.rng.below(self.space.plan.network_us);
        if self.fires(Fault::MessageDelayed) {
            delay += self.rng.scale(1_000, 3_000_000);
        }
        let to = self.regions.ways[asker.way].to;
        let mut copies = 0;
        while copies < MOST_COPIES && self.fires(Fault::MessageRepeated) {
            copies += 1;
            let again = delay + self.rng.scale(100, 2_000_000);
            let asked = asked.clone();
            self.schedule_in(to, again, Happens::Ask { asker, asked, slot });
        }
        self.schedule_in(to, delay, Happens::Ask { asker, asked, slot });
    }

    /// An answer on its way to a sender.
    pub(super) fn tell_sender(&mut self, asker: Asker, from: usize, heard: Heard) {
        let way = &self.regions.ways[asker.way];
        let Some(sender) = way.senders.get(&asker.sender) else { return };
        let (ns, slot) = (way.from, sender.slot);
        if self.is_cut(from, slot) || self.fires(Fault::MessageLost) {
            return;
        }
        let mut delay = self.space.plan.network_us / 2 + self.rng.below(self.space.plan.network_us);
        if self.fires(Fault::MessageDelayed) {
            delay += self.rng.scale(1_000, 3_000_000);
        }
        self.schedule_in(ns, delay, Happens::Hear { asker, heard, slot });
    }

    fn is_cut(&self, from: usize, to: usize) -> bool {
        self.cuts.contains(&Cut::Nodes { from, to })
    }

    /// Makes something happen in another namespace.
    fn schedule_in(&mut self, ns: u16, delay_us: u64, happens: Happens) {
        let back = self.ns;
        self.enter(ns);
        self.schedule(delay_us, Event::Region(Box::new(happens)));
        self.enter(back);
    }

    fn on_sender_hears(&mut self, asker: Asker, heard: Heard) -> Result<(), Failure> {
        let Asker { way, sender: number, tried } = asker;
        let rule = self.space.plan.delivery_rule();
        let now_us = self.now_us;
        let Some(sender) = self.regions.ways[way].senders.get_mut(&number) else { return Ok(()) };
        if sender.under_way.as_ref().is_none_or(|it| it.tried != tried) {
            self.count("region: answer came late");
            return Ok(());
        }
        match (heard, &sender.gathering) {
            (Heard::Failed(retry_after_us), _) => sender.fail(now_us, retry_after_us),
            (Heard::Arrived(watermark, transactions), None) => {
                sender.transactions = transactions;
                sender.begin(watermark, rule);
            }
            (Heard::Applied(until), _) => sender.applied(until, None),
            (Heard::Arrived(watermark, transactions), Some(gathering)) => {
                let known = gathering.gather.watermark();
                ensure!(
                    watermark > known,
                    Regions,
                    "sender {number} of way {way} knows that everything up to {known} is there, and is told that \
                     it is not: {watermark}"
                );
                sender.applied(watermark, Some(transactions));
            }
        }
        Ok(())
    }

    /// Whether nothing more can come from or to this namespace: clients have ended in both regions, both are at
    /// rest, what each has committed is in the other, and nobody who sends has anything to do.
    pub(crate) fn regions_are_at_rest(&mut self) -> bool {
        if self.space.plan.region.is_none() {
            return true;
        }
        let back = self.ns;
        let mut rests = true;
        for ns in [0, 1] {
            self.enter(ns);
            rests &= matches!(self.space.probing, Probe::Resting | Probe::Rested);
            rests = rests && self.is_at_rest();
        }
        for way in 0..self.regions.ways.len() {
            let mut senders = self.regions.ways[way].senders.values();
            rests &= senders.all(|sender| sender.is_done(self.now_us));
            rests = rests && self.is_caught_up(way);
        }
        self.enter(back);
        rests
    }

    /// Whether everything that the source has committed is in the other region, for all that the logs say.
    fn is_caught_up(&mut self, way: usize) -> bool {
        let Way { from, to, .. } = self.regions.ways[way];
        self.enter(from);
        let last = super::check::last_to_go(&self.space);
        self.enter(to);
        super::check::watermark(&self.space) >= last
    }

    /// How sending stands, for the story of a world that does not come to rest.
    pub(crate) fn story_of_regions(&self) -> String {
        let mut story = String::new();
        for (number, way) in self.regions.ways.iter().enumerate() {
            for (sender, it) in &way.senders {
                let gather = it.gathering.as_ref().map(|gathering| &gathering.gather);
                let waiting = gather.map_or((0, 0), |gather| gather.waiting());
                let marks = gather.map_or((Timestamp(0), Timestamp(0)), |gather| {
                    (gather.watermark(), gather.closed())
                });
                let (slot, done) = (it.slot, it.is_done(self.now_us));
                story += &format!(
                    "\n  way {number}, sender {sender} on n{slot}: (waiting, bytes) {waiting:?}, (watermark, \
                     closed) {marks:?}, done {done}"
                );
            }
        }
        story
    }
}
