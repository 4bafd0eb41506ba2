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
        let mean = u64::from(self.plan.faults.rate(fault)) * 1_000;
        let delay = self.rng.waiting(mean);
        self.schedule(delay, Event::Strike { fault });
    }

    pub(crate) fn on_strike(&mut self, fault: Fault) -> Result<(), Failure> {
        if self.healed_at.is_some() {
            return Ok(());
        }
        self.schedule_strike(fault);
        let slot = self.rng.index(self.plan.slots);
        let embedded = self.plan.flavour == Flavour::Embedded;
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
            Fault::ClockSkew => {
                let by = self.rng.below(800_000) as i64 - 400_000;
                self.nodes[slot].clock.skew(self.now_us, by);
                true
            }
            Fault::ClockJump => {
                let by = self.rng.below(4_000_000) as i64 - 2_000_000;
                self.nodes[slot].clock.jump(self.now_us, by);
                true
            }
            Fault::ClockRate => {
                // Two clocks may differ by the allowed drift: each by half of it from the truth.
                let bound = self.plan.drift_ppm / 2;
                let mono = self.rng.below(2 * bound as u64 + 1) as i64 - bound;
                let wall = self.rng.below(20_000) as i64 - 10_000;
                self.nodes[slot].clock.rate(self.now_us, wall, mono);
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
            | Fault::ClientRetries
            | Fault::ClientDoubles
            | Fault::ClientFences
            | Fault::IdReused => false,
        };
        if struck {
            trace!(self, "FAULT {} at n{slot}", fault.name());
            self.faults.count(fault);
        }
        Ok(())
    }

    fn strike_crash(&mut self, slot: usize, power: bool) -> bool {
        let runs = self.nodes[slot].process.is_some();
        if runs {
            self.crash(slot, power);
        }
        runs
    }

    fn strike_mid_step(&mut self, slot: usize) -> bool {
        let commands = 1 + self.rng.below(30);
        let Some(process) = &mut self.nodes[slot].process else { return false };
        if process.crash_in.is_some() {
            return false;
        }
        process.crash_in = Some(commands);
        true
    }

    fn strike_disk(&mut self, fault: Fault, slot: usize) -> Result<(), Failure> {
        let Some(process) = &self.nodes[slot].process else { return Ok(()) };
        if self.plan.flavour == Flavour::Cluster || process.disk_dead {
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
        if self.nodes[slot].paused_until > self.now_us {
            return false;
        }
        self.nodes[slot].paused_until = self.now_us + self.rng.range(low..high);
        true
    }

    fn strike_rebalance(&mut self, told: bool) -> bool {
        let shard = ShardId(self.rng.below(u64::from(self.plan.shards)) as u16);
        let leader = self.rng.index(self.plan.slots);
        let before = std::mem::replace(&mut self.placed[shard.0 as usize], leader);
        if before == leader {
            return false;
        }
        for slot in (0..self.plan.slots).filter(|slot| told || *slot != before) {
            let delay = self.rng.scale(100, 500_000);
            self.schedule(delay, Event::Placed { slot, shard, leader });
        }
        true
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
        let to = (from + 1 + self.rng.index(self.plan.slots - 1)) % self.plan.slots;
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
        let shard = ShardId(self.rng.below(u64::from(self.plan.shards)) as u16);
        let until = self.now_us + self.rng.scale(20_000, 2_000_000);
        self.broker.shard(shard).unavailable_until = until;
        true
    }

    /// All faults end: from here on everything must come to rest.
    pub(crate) fn on_heal(&mut self) -> Result<(), Failure> {
        trace!(self, "HEAL");
        self.healed_at = Some(self.now_us);
        self.cuts.clear();
        self.store.repair();
        for slot in 0..self.plan.slots {
            let skew = self.rng.below(20_000) as i64 - 10_000;
            let node = &mut self.nodes[slot];
            node.clock.skew(self.now_us, skew);
            node.clock.rate(self.now_us, 0, 0);
            if let Some(process) = &mut node.process {
                process.crash_in = None;
            }
        }
        for shard in self.shards() {
            self.broker.shard(shard).unavailable_until = 0;
            let leader = shard.0 as usize % self.plan.slots;
            self.placed[shard.0 as usize] = leader;
            for slot in 0..self.plan.slots {
                let delay = self.rng.below(100_000);
                self.schedule(delay, Event::Placed { slot, shard, leader });
            }
        }
        self.schedule(50_000, Event::Watch);
        Ok(())
    }
}
