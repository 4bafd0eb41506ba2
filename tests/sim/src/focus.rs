//! Worlds that look closely at one thing. Half of all worlds have a focus: it turns a few kinds of
//! faults on and makes the windows wide in which a certain kind of bug would show.

use crate::deliver::DeliveryPlan;
use crate::fault::Fault;
use crate::later::LaterPlan;
use crate::plan::{Flavour, Plan};
use crate::rng::Rng;

/// What a world looks at closely.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Focus {
    /// Leaders that were deposed and do not know it: reads meet them, writes do not.
    Deposed,
    /// Several stand for one shard at the same time.
    Elections,
    /// Promises are denied while leaders change and requests arrive again, late.
    Noes,
    /// Many attempts of one transaction, with their messages late.
    Attempts,
    /// Little is remembered; checkpoints and restarts are many; clients come back late.
    Forgetting,
    /// Clocks go back while processes restart.
    ClockBack,
    /// The log's own leaders change, and lose what was not stable.
    LogLeaders,
    /// Hints to checkpoints are written late, logs trimmed at once.
    Hints,
    /// Tables answer slowly, while their readers are paused and deposed.
    SlowReads,
    /// Two namespaces are regions of one another, and requests between them are lost, late and repeated.
    Regions,
    /// Messages are delivered to targets that fail, by processes that are taken over.
    Deliveries,
    /// Much is due later; processes restart, and their clocks jump.
    Delays,
}

impl Focus {
    /// Every focus.
    pub const ALL: [Self; 12] = [
        Self::Deposed,
        Self::Elections,
        Self::Noes,
        Self::Attempts,
        Self::Forgetting,
        Self::ClockBack,
        Self::LogLeaders,
        Self::Hints,
        Self::SlowReads,
        Self::Regions,
        Self::Deliveries,
        Self::Delays,
    ];
    /// Those of which half of all worlds draw one. (What came later is drawn apart, so that the others stay what
    /// they were.)
    pub(crate) const DRAWN: &[Self] = Self::ALL.split_at(9).0;

    /// The name by which the command line knows it.
    pub fn name(self) -> String {
        format!("{self:?}")
    }

    /// How many namespaces it needs.
    pub(crate) fn namespaces(self) -> u16 {
        if self == Self::Regions { 2 } else { 1 }
    }

    /// Makes a world of this kind out of any.
    pub(crate) fn shape(self, plan: &mut Plan, rng: &mut Rng) {
        match self {
            Self::Deposed => {
                deposed(plan, rng);
                plan.limits.max_cache_bytes = 1 << 20;
            }
            Self::SlowReads => {
                deposed(plan, rng);
                // Accounts stay in memory, notes of the same partition are read each time.
                plan.lease(rng.range(50_000..150_000));
                plan.limits.max_cache_bytes = 1 << 20;
                plan.owned = [true, false];
                plan.shards = 1 + rng.below(2) as u16;
                plan.depth = 1;
                plan.patience_us = rng.range(2_000_000..4_000_000);
                plan.slow_read_us = 2_000_000;
                plan.clients = 8;
                plan.read_ppm = 800_000;
                plan.weights = [5, 1, 1, 0, 0, 0, 0, 0, 0, 1];
                plan.faults.set(Fault::ReadSlow, 500_000);
                plan.faults.remove(Fault::LongPause);
                plan.spread();
            }
            Self::Elections => {
                plan.cluster(rng);
                plan.lease(rng.range(50_000..200_000));
                plan.silence_us = rng.range(1_000..60_000);
                plan.faults.set(Fault::Crash, 300);
                plan.faults.set(Fault::SilentRebalance, 150);
                plan.faults.set(Fault::AppendDelayed, 100_000);
                plan.reads_apart(rng);
            }
            Self::Noes => {
                plan.cluster(rng);
                plan.lease(rng.range(50_000..100_000));
                plan.silence_us = rng.range(100_000..300_000);
                plan.limits.max_prepared = 1 + rng.index(3);
                plan.limits.max_waiting = 1 + rng.index(3);
                plan.limits.recover_after_us = 100_000;
                plan.faults.set(Fault::Crash, 300);
                plan.faults.set(Fault::Drain, 100);
                plan.faults.set(Fault::Rebalance, 150);
                plan.faults.set(Fault::MessageRepeated, 700_000);
                plan.faults.set(Fault::MessageDelayed, 100_000);
                for calm in [Fault::CutFromLog, Fault::LogUnavailable, Fault::LongPause] {
                    plan.faults.remove(calm);
                }
                plan.resend_after_us = rng.range(200_000..500_000);
                plan.wide_transactions(rng);
                plan.spread();
            }
            Self::Attempts => {
                plan.limits.recover_after_us = 100_000;
                plan.partitions = rng.range(2..5);
                plan.resend_after_us = rng.range(100_000..500_000);
                plan.faults.set(Fault::MessageDelayed, 200_000);
                plan.faults.set(Fault::MessageRepeated, 200_000);
                plan.faults.set(Fault::MessageLost, 50_000);
                plan.faults.set(Fault::ClientDoubles, 300_000);
                plan.faults.set(Fault::ClockJump, 300);
                plan.wide_transactions(rng);
                plan.spread();
            }
            Self::Forgetting => {
                plan.lease(rng.range(50_000..200_000));
                plan.limits.max_remembered = 5 + rng.index(12);
                plan.limits.id_window_ms = *rng.pick(&[300, 600_000, 600_000, 600_000]);
                plan.limits.checkpoint_every_bytes = rng.range(500..4_000);
                plan.limits.recover_after_us = 2_000_000;
                plan.faults.set(Fault::Crash, 300);
                plan.faults.set(Fault::ClientReturns, 300_000);
                plan.faults.set(Fault::ClientRetries, 500_000);
                plan.faults.set(Fault::MessageLost, 50_000);
                plan.faults.set(Fault::MessageDelayed, 50_000);
                plan.shards = 1 + rng.below(2) as u16;
                plan.read_ppm = 100_000;
                plan.spread();
            }
            Self::ClockBack => {
                plan.faults.set(Fault::ClockJump, 200);
                plan.faults.set(Fault::ClockSkew, 300);
                plan.faults.set(Fault::Crash, 200);
                plan.partitions = rng.range(2..5);
            }
            Self::LogLeaders => {
                plan.cluster(rng);
                plan.lease(rng.range(50_000..200_000));
                plan.silence_us = rng.range(50_000..300_000);
                plan.faults.set(Fault::LogLeaderChange, 100);
                plan.faults.set(Fault::Crash, 300);
                plan.faults.set(Fault::SilentRebalance, 200);
            }
            Self::Deliveries => {
                plan.deliveries = Some(DeliveryPlan::draw(rng));
                plan.limits.checkpoint_every_bytes = rng.range(500..4_000);
                plan.trim_delay_us = 0;
                plan.partitions = rng.range(2..5);
                plan.faults.set(Fault::TargetFails, rng.range(50_000..500_000) as u32);
                plan.faults.set(Fault::TargetHangs, 100_000);
                plan.faults.set(Fault::TargetRefuses, 50_000);
                plan.faults.set(Fault::LettersFailed, 100_000);
                plan.faults.set(Fault::DeliveriesMoved, 10_000);
                plan.faults.set(Fault::Crash, 500);
                plan.faults.set(Fault::LongPause, 1_000);
                plan.spread();
            }
            Self::Delays => {
                let mut deliveries = DeliveryPlan::draw(rng);
                deliveries.later = Some(LaterPlan::draw(rng));
                plan.deliveries = Some(deliveries);
                plan.limits.checkpoint_every_bytes = rng.range(500..4_000);
                plan.trim_delay_us = 0;
                plan.faults.set(Fault::Crash, 500);
                plan.faults.set(Fault::ClockJump, 500);
                plan.faults.set(Fault::DeliveriesMoved, 10_000);
                plan.faults.set(Fault::LettersFailed, 50_000);
                plan.spread();
            }
            Self::Hints => {
                plan.limits.checkpoint_every_bytes = rng.range(500..4_000);
                plan.trim_delay_us = 0;
                plan.faults.set(Fault::HintLate, 200_000);
                plan.faults.set(Fault::Crash, 200);
            }
            Self::Regions => {
                plan.partitions = rng.range(2..8);
                plan.weights = [5, 2, 2, 1, 1, 4, 1, 0, 0, 3];
                plan.read_ppm = 200_000;
                plan.faults.set(Fault::MessageDelayed, 50_000);
                plan.faults.set(Fault::MessageLost, 20_000);
                plan.faults.set(Fault::MessageRepeated, 200_000);
                plan.faults.set(Fault::Crash, 500);
                plan.spread();
            }
        }
    }
}

/// Leaders are deposed behind their backs; a node that reads does not hear of it.
fn deposed(plan: &mut Plan, rng: &mut Rng) {
    plan.cluster(rng);
    plan.lease(rng.range(100_000..1_000_000));
    plan.reads_apart(rng);
    plan.silence_us = rng.range(50_000..400_000);
    plan.limits.checkpoint_every_bytes = 1 << 30;
    plan.limits.id_window_ms = 600_000;
    plan.limits.max_remembered = 10_000;
    plan.partitions = rng.range(2..6);
    plan.faults.set(Fault::LongPause, 1_000);
    plan.faults.set(Fault::SilentRebalance, 150);
    plan.faults.set(Fault::StaleRoute, 990_000);
    for calm in [Fault::Crash, Fault::CrashMidStep, Fault::CutFromLog, Fault::LogUnavailable] {
        plan.faults.remove(calm);
    }
}

impl Plan {
    /// Several processes, a broker's log.
    fn cluster(&mut self, rng: &mut Rng) {
        if self.flavour == Flavour::Embedded {
            self.flavour = Flavour::Cluster;
            self.slots = rng.range(2..5) as usize;
            self.members = self.slots;
        }
    }

    /// Clients take their time: they are at work as long as faults strike.
    fn spread(&mut self) {
        self.chaos_us = self.chaos_us.max(3_000_000);
        self.think_us = self.chaos_us * self.clients as u64 / u64::from(self.txns.max(1));
    }

    /// Reads go to one node, writes to the others.
    fn reads_apart(&mut self, rng: &mut Rng) {
        self.reader_slot = Some(rng.index(self.members));
        self.read_ppm = 600_000;
    }

    /// Mostly transactions that reach over several shards, some of them with conditions.
    fn wide_transactions(&mut self, rng: &mut Rng) {
        self.shards = self.shards.max(2 + rng.below(3) as u16);
        self.weights = [2, 5, 2, 1, 1, 1, 2, 0, 0, 3];
        self.read_ppm = 100_000;
    }
}
