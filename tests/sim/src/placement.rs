//! Which node tries to lead which shard. Only liveness depends on it, so it may err as it likes.

use wal_core::{Epoch, ShardId};

use crate::deliver::Deliverer;
use crate::failure::Failure;
use crate::message::Event;
use crate::plan::Flavour;
use crate::process::{Phase, Process};
use crate::world::{World, trace};

/// How long a leader that was told to drain may still lead before it is ended.
const DRAIN_WITHIN_US: u64 = 3_000_000;

impl World {
    pub(crate) fn is_alive(&self, slot: usize, number: u64) -> bool {
        self.space.nodes[slot].process.as_ref().is_some_and(|process| process.number == number)
    }

    /// A process starts, and knows nothing.
    pub(crate) fn on_start(&mut self, slot: usize) -> Result<(), Failure> {
        if !self.machines[slot].member {
            return Ok(());
        }
        self.in_each(|world| world.start_space(slot))
    }

    fn start_space(&mut self, slot: usize) -> Result<(), Failure> {
        if self.space.nodes[slot].process.is_some() {
            return Ok(());
        }
        let unsynced = std::mem::take(&mut self.space.nodes[slot].unsynced);
        self.salvage_disk(unsynced)?;
        let number = self.number();
        let seed = self.rng.next();
        let shards = self.space.plan.shards as usize;
        let config = self.space.plan.commit_config(number, seed);
        let planted = self.space.plan.rule();
        let process = Process {
            knows_newer: false,
            number,
            commit: crate::engines::commit(config, planted),
            seats: (0..shards).map(|_| None).collect(),
            routes: vec![None; shards],
            heard_us: vec![self.now_us; shards],
            placed: self.space.placed.clone(),
            retry_at: vec![self.now_us; shards],
            disk: std::collections::VecDeque::new(),
            disk_syncing: false,
            disk_dead: false,
            deliverer: Deliverer::default(),
        };
        trace!(self, "n{slot} starts as process {number}");
        self.space.nodes[slot].process = Some(process);
        for event in
            [Event::Tick { slot, process: number }, Event::Placement { slot, process: number }]
        {
            let delay = self.rng.below(10_000);
            self.schedule(delay, event);
        }
        Ok(())
    }

    /// A process ends at once; another one starts after a while.
    pub(crate) fn crash(&mut self, slot: usize, power: bool) -> Result<(), Failure> {
        self.in_each(|world| {
            let Some(process) = world.space.nodes[slot].process.take() else { return Ok(()) };
            let how = if power { ": power is lost" } else { "" };
            trace!(world, "n{slot} crashes{how}");
            world.space.nodes[slot].unsynced = process.disk.into();
            if power {
                world.space.store.lose_power(&mut world.rng);
            }
            Ok(())
        })?;
        self.machines[slot].paused_until = 0;
        self.machines[slot].crash_in = None;
        let delay = self.rng.scale(10_000, 1_500_000);
        self.schedule(delay, Event::Start { slot });
        Ok(())
    }

    /// A node learns who should lead a shard.
    pub(crate) fn on_placed(
        &mut self,
        slot: usize,
        shard: ShardId,
        leader: usize,
    ) -> Result<(), Failure> {
        let Some(process) = &mut self.space.nodes[slot].process else { return Ok(()) };
        process.placed[shard.0 as usize] = leader;
        let Some(seat) = self.seat_id(slot, shard) else { return Ok(()) };
        if leader == slot {
            return Ok(());
        }
        match self.seat(seat).map(|seat| seat.phase) {
            Some(Phase::Leading(_)) => self.drain(seat),
            Some(Phase::Reading | Phase::Standing) | None => {
                self.vacate(seat);
                Ok(())
            }
        }
    }

    /// A node looks whether it should stand for something.
    pub(crate) fn on_placement(&mut self, slot: usize, number: u64) -> Result<(), Failure> {
        if !self.is_alive(slot, number) {
            return Ok(());
        }
        let delay = 20_000 + self.rng.below(40_000);
        self.schedule(delay, Event::Placement { slot, process: number });
        if self.rng.coin() {
            self.schedule(0, Event::Heartbeat { slot, process: number });
        }
        if self.healed_at.is_some()
            && let Some(process) = &mut self.space.nodes[slot].process
        {
            process.placed.clone_from(&self.space.placed); // whatever news is still on its way
        }
        for shard in self.shards() {
            let index = shard.0 as usize;
            if let Some(seat) = self.seat_id(slot, shard)
                && let Some(since) = self.seat(seat).and_then(|seat| seat.draining_since)
                && self.now_us > since + DRAIN_WITHIN_US
            {
                self.count("drain took too long");
                self.vacate(seat);
            }
            self.vacate_if_deposed(slot, shard);
            let Some(process) = &self.space.nodes[slot].process else { return Ok(()) };
            if process.seats[index].is_some()
                || process.retry_at[index] > self.now_us
                || process.disk_dead
            {
                continue;
            }
            let placed = process.placed[index];
            let silent_us = self.now_us - process.heard_us[index];
            // The next in order stands first.
            let rank = (slot + self.space.plan.slots - placed) % self.space.plan.slots;
            let patience_us = if self.healed_at.is_some() { 1_000_000 } else { 0 };
            let silence_us = self.space.plan.silence_us() + patience_us;
            let due = rank == 0 || silent_us > silence_us * rank as u64;
            if due && (rank == 0 || self.space.plan.flavour == Flavour::Cluster) {
                self.stand(slot, shard);
            }
        }
        Ok(())
    }

    /// A leader that has heard of a later epoch, before it led or since, has been deposed. A server's placement
    /// does the same. (It is also told of epochs that only others have heard of; here nobody is.)
    fn vacate_if_deposed(&mut self, slot: usize, shard: ShardId) {
        let known = self.route(slot, shard).map_or(Epoch(0), |(epoch, _)| epoch);
        let Some(seat) = self.seat_id(slot, shard) else { return };
        let older = matches!(self.seat(seat).map(|seat| seat.phase), Some(Phase::Leading(mine)) if mine < known);
        if older && self.healed_at.is_some() {
            self.count("deposed by hearsay");
            self.vacate(seat);
        }
    }
}
