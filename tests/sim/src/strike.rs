//! Faults that strike by themselves, and the end of them all.

use participant::engine::ShardEvent;
use wal_core::ShardId;

use crate::failure::Failure;
use crate::fault::Fault;
use crate::message::{Cut, Event};
use crate::plan::Flavour;
use crate::world::{World, trace};

impl World {
    pub(crate) fn schedule_strike(&mut self, fault: Fault) {
        let mean = u64::from(self.space.plan.faults.rate(fault)) * 1_000;
        let delay = self.rng.waiting(mean);
        self.schedule(delay, Event::Strike { fault });
    }

    pub(crate) fn on_strike(&mut self, fault: Fault) -> Result<(), Failure> {
        if self.healed_at.is_some() {
            return Ok(());
        }
        self.schedule_strike(fault);
        let ns = self.rng.below(u64::from(self.namespaces())) as u16;
        self.enter(ns);
        let slot = self.rng.index(self.space.plan.slots);
        let embedded = self.space.plan.flavour == Flavour::Embedded;
        let struck = match fault {
            Fault::Crash => self.strike_crash(slot, false),
            Fault::PowerLoss => embedded && self.strike_crash(slot, true),
            Fault::CrashMidStep => self.strike_mid_step(slot),
            Fault::DiskFailed => return self.strike_disk(fault, slot),
            Fault::Pause => self.strike_pause(slot, 20_000, 400_000),
            Fault::LongPause => self.strike_pause(slot, 500_000, 4_000_000),
            Fault::Rebalance => !embedded && self.strike_rebalance(true),
            Fault::SilentRebalance => !embedded && self.strike_rebalance(false),
            Fault::Drain => return self.strike_drain(fault, slot),
            Fault::CutOneWay | Fault::CutBothWays => !embedded && self.strike_cut(fault, slot),
            Fault::CutFromLog => !embedded && self.cut(Cut::Log { slot }),
            Fault::CutFromStore => self.cut(Cut::Store { slot }),
            Fault::LogUnavailable => !embedded && self.strike_log(),
            Fault::LogLeaderChange => !embedded && self.strike_log_leader(),
            Fault::NodeAdded => !embedded && self.strike_added(slot),
            Fault::NodeRemoved => !embedded && self.strike_removed(slot),
            Fault::ClockSkew => {
                let by = self.rng.below(800_000) as i64 - 400_000;
                let before_us = self.clock(slot).wall_us;
                self.machines[slot].clock.skew(self.now_us, by);
                self.note_clock(slot, before_us);
                true
            }
            Fault::ClockJump => {
                let by = self.rng.below(4_000_000) as i64 - 2_000_000;
                let before_us = self.clock(slot).wall_us;
                self.machines[slot].clock.jump(self.now_us, by);
                self.note_clock(slot, before_us);
                true
            }
            Fault::ClockRate => {
                // Two clocks may differ by the allowed drift: each by half of it from the truth.
                let bound = self.space.plan.drift_ppm() / 2;
                let mono = self.rng.below(2 * bound as u64 + 1) as i64 - bound;
                let wall = self.rng.below(20_000) as i64 - 10_000;
                self.machines[slot].clock.rate(self.now_us, wall, mono);
                true
            }
            Fault::TornTail
            | Fault::MessageDelayed
            | Fault::MessageLost
            | Fault::MessageRepeated
            | Fault::StaleRoute
            | Fault::AppendDelayed
            | Fault::AppendReordered
            | Fault::AppendAckLost
            | Fault::AppendLost
            | Fault::AppendLate
            | Fault::AppendRejected
            | Fault::AppendRepeated
            | Fault::ReadFailed
            | Fault::ReadSlow
            | Fault::FlushFailed
            | Fault::FlushLate
            | Fault::FlushHalfSeen
            | Fault::FlushSlow
            | Fault::HintLost
            | Fault::HintLate
            | Fault::ClientReturns
            | Fault::ClientRetries
            | Fault::ClientDoubles
            | Fault::ClientFences
            | Fault::IdReused
            | Fault::RowsRefused
            | Fault::TargetFails
            | Fault::TargetAnswerLost
            | Fault::TargetHangs
            | Fault::TargetOverloaded
            | Fault::TargetRefuses
            | Fault::LettersFailed
            | Fault::LettersSlow
            | Fault::LettersRedriven
            | Fault::DeliveriesMoved => false,
        };
        if struck {
            trace!(self, "FAULT {} at n{slot}", fault.name());
            self.faults.count(fault);
        }
        Ok(())
    }

    fn strike_crash(&mut self, slot: usize, power: bool) -> bool {
        let runs = self.space.nodes[slot].process.is_some();
        runs && self.crash(slot, power).is_ok()
    }

    fn strike_mid_step(&mut self, slot: usize) -> bool {
        let commands = 1 + self.rng.below(30);
        let runs = self.space.nodes[slot].process.is_some();
        let machine = &mut self.machines[slot];
        if !runs || machine.crash_in.is_some() {
            return false;
        }
        machine.crash_in = Some(commands);
        true
    }

    fn strike_disk(&mut self, fault: Fault, slot: usize) -> Result<(), Failure> {
        let Some(process) = &self.space.nodes[slot].process else { return Ok(()) };
        if self.space.plan.flavour == Flavour::Cluster || process.disk_dead {
            return Ok(());
        }
        let number = process.number;
        self.faults.count(fault);
        trace!(self, "FAULT {} at n{slot}", fault.name());
        let delay = self.rng.below(300_000);
        self.schedule(delay, Event::End { slot, process: number });
        self.fail_disk(slot)
    }

    fn strike_pause(&mut self, slot: usize, low: u64, high: u64) -> bool {
        if self.machines[slot].paused_until > self.now_us {
            return false;
        }
        self.machines[slot].paused_until = self.now_us + self.rng.range(low..high);
        true
    }

    fn strike_rebalance(&mut self, told: bool) -> bool {
        let shard = ShardId(self.rng.below(u64::from(self.space.plan.shards)) as u16);
        let rank = self.rng.index(self.space.plan.slots);
        let leader = self.member(rank);
        let before = std::mem::replace(&mut self.space.placed[shard.0 as usize], leader);
        if before == leader {
            return false;
        }
        for slot in (0..self.space.plan.slots).filter(|slot| told || *slot != before) {
            let delay = self.rng.scale(100, 500_000);
            self.schedule(delay, Event::Placed { slot, shard, leader });
        }
        true
    }

    /// What landed and is not stable yet is gone with the log's old leader.
    fn strike_log_leader(&mut self) -> bool {
        let shard = ShardId(self.rng.below(u64::from(self.space.plan.shards)) as u16);
        let log = self.space.broker.shard(shard);
        let lost = std::mem::take(&mut log.unstable);
        for landed in &lost {
            trace!(self, "log s{shard}: #{} was not stable, and is gone", landed.append);
        }
        !lost.is_empty()
    }

    /// A machine joins, and a few shards are placed on it.
    fn strike_added(&mut self, slot: usize) -> bool {
        if std::mem::replace(&mut self.machines[slot].member, true) {
            return false;
        }
        self.schedule(0, Event::Start { slot });
        let placed = self.in_each(|world| {
            let shards: Vec<ShardId> = world.shards().filter(|_| world.rng.coin()).collect();
            shards.into_iter().for_each(|shard| world.place(shard, slot));
            Ok(())
        });
        placed.is_ok()
    }

    /// A machine leaves: its shards are placed elsewhere, and a while later it is gone for good.
    fn strike_removed(&mut self, slot: usize) -> bool {
        let members = self.machines.iter().filter(|machine| machine.member).count();
        if members < 2 || !std::mem::replace(&mut self.machines[slot].member, false) {
            return false;
        }
        if let Some(process) = &self.space.nodes[slot].process {
            let number = process.number;
            let delay = self.rng.scale(10_000, 3_000_000);
            self.schedule(delay, Event::End { slot, process: number });
        }
        let placed = self.in_each(|world| {
            let placed = world.space.placed.clone();
            for shard in world.shards().filter(|shard| placed[shard.0 as usize] == slot) {
                let rank = world.rng.index(members);
                let leader = world.member(rank);
                world.place(shard, leader);
            }
            Ok(())
        });
        placed.is_ok()
    }

    /// Tells every node who should lead a shard.
    fn place(&mut self, shard: ShardId, leader: usize) {
        self.space.placed[shard.0 as usize] = leader;
        for slot in 0..self.space.plan.slots {
            let delay = self.rng.scale(100, 500_000);
            self.schedule(delay, Event::Placed { slot, shard, leader });
        }
    }

    fn strike_drain(&mut self, fault: Fault, slot: usize) -> Result<(), Failure> {
        let seats = self.leading_seats(slot);
        if seats.is_empty() {
            return Ok(());
        }
        let seat = *self.rng.pick(&seats);
        self.faults.count(fault);
        self.drain(seat)
    }

    /// Asks a leader to resign.
    pub(crate) fn drain(&mut self, id: crate::message::SeatId) -> Result<(), Failure> {
        let now_us = self.now_us;
        let Some(seat) = self.seat(id) else { return Ok(()) };
        if seat.draining_since.is_some() {
            return Ok(());
        }
        seat.draining_since = Some(now_us);
        self.step_shard(id, ShardEvent::Drain)
    }

    fn strike_cut(&mut self, fault: Fault, from: usize) -> bool {
        let to = (from + 1 + self.rng.index(self.space.plan.slots - 1)) % self.space.plan.slots;
        let struck = self.cut(Cut::Nodes { from, to });
        if fault == Fault::CutBothWays {
            self.cut(Cut::Nodes { from: to, to: from });
        }
        struck
    }

    fn cut(&mut self, cut: Cut) -> bool {
        if self.cuts.contains(&cut) {
            return false;
        }
        trace!(self, "cut: {cut:?}");
        self.cuts.push(cut);
        let delay = self.rng.scale(20_000, 3_000_000);
        self.schedule(delay, Event::Mend { cut });
        true
    }

    fn strike_log(&mut self) -> bool {
        let shard = ShardId(self.rng.below(u64::from(self.space.plan.shards)) as u16);
        let until = self.now_us + self.rng.scale(20_000, 2_000_000);
        self.space.broker.shard(shard).unavailable_until = until;
        true
    }

    /// All faults end: from here on everything must come to rest.
    pub(crate) fn on_heal(&mut self) -> Result<(), Failure> {
        trace!(self, "HEAL");
        self.healed_at = Some(self.now_us);
        self.cuts.clear();
        for slot in 0..self.space.plan.slots {
            let skew = self.rng.below(20_000) as i64 - 10_000;
            let machine = &mut self.machines[slot];
            machine.clock.skew(self.now_us, skew);
            machine.clock.rate(self.now_us, 0, 0);
            machine.crash_in = None;
            machine.jumped = None;
        }
        self.in_each(|world| {
            world.space.store.repair();
            world.space.store.take_all_again();
            for shard in world.shards() {
                world.space.broker.shard(shard).unavailable_until = 0;
                let leader = world.member(shard.0 as usize);
                world.space.placed[shard.0 as usize] = leader;
                for slot in 0..world.space.plan.slots {
                    let delay = world.rng.below(100_000);
                    world.schedule(delay, Event::Placed { slot, shard, leader });
                }
            }
            world.schedule(50_000, Event::Watch);
            Ok(())
        })
    }

    /// The member of this rank, counted round and round.
    pub(crate) fn member(&self, rank: usize) -> usize {
        let members: Vec<usize> =
            (0..self.machines.len()).filter(|slot| self.machines[*slot].member).collect();
        members[rank % members.len()]
    }
}
