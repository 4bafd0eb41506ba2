//! What one seed decides before the world begins: its size, its limits, its faults.

use coordinator::engine::CommitConfig;
use participant::engine::{Leadership, Rule, ShardLimits};
use wal_core::limits::MAX_CLOCK_DRIFT_US;

use crate::bug::{AdapterBug, Bug, Place};
use crate::deliver::DeliveryPlan;
use crate::fault::{Fault, Faults};
use crate::focus::Focus;
use crate::later::LaterPlan;
use crate::region::RegionPlan;
use crate::rng::Rng;
use crate::workload::NEWER;

/// Which of the two kinds of deployment a world models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavour {
    /// One process owns the log; all shards share one physical log.
    Embedded,
    /// Several processes, a log like Kafka's, a table store like Cassandra.
    Cluster,
}

/// What is asked of the simulator.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Decides everything.
    pub seed: u64,
    /// Transactions that clients submit, in all namespaces together.
    pub txns: u32,
    /// Keep a timeline.
    pub trace: bool,
    /// Kinds of faults to leave out.
    pub without: Vec<Fault>,
    /// What to look at closely, instead of what the seed says.
    pub focus: Option<Focus>,
    /// Faults end after so many microseconds, if the seed does not end them before.
    pub faults_until_us: Option<u64>,
    /// At most so many namespaces.
    pub max_namespaces: Option<u16>,
    /// What is broken on purpose.
    pub planted: Option<&'static Bug>,
}

impl Options {
    /// A world of this seed, of so many transactions.
    pub fn new(seed: u64, txns: u32) -> Self {
        Self { seed, txns, ..Self::default() }
    }

    /// Worlds with this bug, as far as it names a focus in those.
    pub fn plant(self, bug: &'static Bug) -> Self {
        Self { planted: Some(bug), focus: bug.focus, ..self }
    }
}

/// Everything drawn in advance for one namespace; what is of machines and network is the same for all
/// of a world.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) flavour: Flavour,
    pub(crate) focus: Option<Focus>,
    pub(crate) txns: u32,
    /// Machines that there may be, and how many there are at the beginning.
    pub(crate) slots: usize,
    pub(crate) members: usize,
    pub(crate) shards: u16,
    pub(crate) clients: usize,
    pub(crate) partitions: u64,
    /// Rows with clustering per partition of the second table.
    pub(crate) depth: u64,
    pub(crate) owned: [bool; 2],
    pub(crate) limits: ShardLimits,
    /// How long what a checkpoint covers stays in the log.
    pub(crate) trim_delay_us: u64,
    lease_us: u64,
    drift_ppm: u64,
    pub(crate) max_in_flight: usize,
    pub(crate) take_delay_us: u64,
    pub(crate) append_timeout_us: u64,
    pub(crate) network_us: u64,
    pub(crate) store_us: u64,
    /// How long a slow read of the tables may be on its way.
    pub(crate) slow_read_us: u64,
    pub(crate) log_us: u64,
    pub(crate) silence_us: u64,
    pub(crate) chaos_us: u64,
    pub(crate) think_us: u64,
    pub(crate) patience_us: u64,
    /// Weights of the kinds of transactions, in the order of `workload::Kind::ALL`, and of reads.
    pub(crate) weights: [u32; 10],
    pub(crate) resend_after_us: u64,
    pub(crate) max_calls: usize,
    /// Where all reads go and no write: a deposed leader there may not notice for long.
    pub(crate) reader_slot: Option<usize>,
    pub(crate) read_ppm: u32,
    /// Tries of a read before it holds.
    pub(crate) free_read_tries: u32,
    pub(crate) faults: Faults,
    /// What is delivered, if anything is.
    pub(crate) deliveries: Option<DeliveryPlan>,
    pub(crate) planted: Option<&'static Bug>,
    /// Which region it is, if it is one.
    pub(crate) region: Option<RegionPlan>,
}

impl Plan {
    /// Draws a world's namespaces.
    pub(crate) fn draw(rng: &mut Rng, options: &Options) -> Vec<Self> {
        let mut first = Self::draw_one(rng, options);
        let drawn = rng.coin().then(|| *rng.pick(Focus::DRAWN));
        first.focus =
            if options.planted.is_some() { options.focus } else { options.focus.or(drawn) };
        // What came later is drawn apart, so that worlds without it stay what they were.
        let mut apart = Rng::new(rng.clone().next());
        if options.focus.is_none() && options.planted.is_none() && apart.chance(60_000) {
            first.focus = Some(*apart.pick(&[Focus::Deliveries, Focus::Delays]));
        }
        if let Some(focus) = first.focus {
            focus.shape(&mut first, rng);
        }
        first.draw_deliveries(&mut apart);
        for fault in &options.without {
            first.faults.remove(*fault);
        }
        if let Some(until_us) = options.faults_until_us {
            first.chaos_us = first.chaos_us.min(until_us);
        }
        let namespaces = *rng.pick(&[1, 1, 1, 2, 2, 3]);
        let namespaces = namespaces.max(first.focus.map_or(1, Focus::namespaces));
        let namespaces = namespaces.min(options.max_namespaces.unwrap_or(u16::MAX)).max(1);
        first.txns = options.txns.div_ceil(u32::from(namespaces));
        let others = (1..namespaces).map(|_| first.vary(rng)).collect::<Vec<_>>();
        let mut plans: Vec<Self> = std::iter::once(first).chain(others).collect();
        crate::region::draw(rng, &mut plans);
        plans
    }

    /// In one of eight worlds messages are delivered, whatever it looks at.
    fn draw_deliveries(&mut self, rng: &mut Rng) {
        let alone = self.focus != Some(Focus::Regions);
        if self.deliveries.is_none() && alone && rng.chance(125_000) {
            self.deliveries = Some(DeliveryPlan::draw(rng));
        }
        if self.deliveries.is_none() {
            self.faults.remove_deliveries();
        }
    }

    fn draw_one(rng: &mut Rng, options: &Options) -> Self {
        let flavour = if rng.chance(300_000) { Flavour::Embedded } else { Flavour::Cluster };
        let faults = Faults::draw(rng);
        let slots = match flavour {
            Flavour::Embedded => 1,
            Flavour::Cluster => rng.range(2..6) as usize,
        };
        // Some machines may only join later.
        let members = if rng.coin() { slots } else { slots.min(2) };
        let lease_us = rng.scale(50_000, 2_000_000);
        Self {
            flavour,
            focus: None,
            txns: options.txns,
            slots,
            members,
            shards: rng.range(1..7) as u16,
            clients: rng.range(2..13) as usize,
            partitions: rng.scale(2, 17),
            depth: rng.range(1..4),
            owned: [rng.chance(800_000), rng.chance(700_000)],
            limits: limits(rng),
            trim_delay_us: match flavour {
                Flavour::Embedded => 0,
                Flavour::Cluster => rng.range(0..500_000),
            },
            lease_us,
            drift_ppm: rng.range(0..2_000),
            max_in_flight: rng.range(1..6) as usize,
            take_delay_us: rng.scale(50, 3_000),
            append_timeout_us: rng.range(200_000..1_500_000),
            network_us: rng.scale(100, 5_000),
            store_us: rng.scale(100, 8_000),
            slow_read_us: 400_000,
            log_us: rng.scale(100, 8_000),
            // A successor that waits out a lease says nothing yet: who has no patience for it deposes it.
            silence_us: lease_us / 4 + rng.range(200_000..1_200_000),
            chaos_us: rng.scale(500_000, 8_000_000),
            think_us: rng.scale(500, 60_000),
            patience_us: rng.scale(50_000, 2_500_000),
            weights: std::array::from_fn(|_| *rng.pick(&[0, 1, 2, 5])),
            resend_after_us: rng.scale(30_000, 500_000),
            max_calls: *rng.pick(&[4, 1_000, 1_000, 1_000]),
            reader_slot: rng.coin().then(|| rng.index(members)),
            read_ppm: *rng.pick(&[100_000, 250_000, 600_000]),
            free_read_tries: *rng.pick(&[0, 0, 1, 3]),
            faults,
            deliveries: None,
            planted: options.planted,
            region: None,
        }
    }

    /// Another namespace on the same machines.
    fn vary(&self, rng: &mut Rng) -> Self {
        let mut other = Self {
            shards: rng.range(1..7) as u16,
            clients: rng.range(1..5) as usize,
            partitions: rng.scale(2, 17),
            depth: rng.range(1..4),
            limits: limits(rng),
            weights: std::array::from_fn(|_| *rng.pick(&[0, 1, 2, 5])),
            ..self.clone()
        };
        if let Some(focus) = self.focus {
            focus.shape(&mut other, rng);
            // Machines and network are the same for all.
            other.slots = self.slots;
            other.members = self.members;
            other.lease_us = self.lease_us;
            other.faults = self.faults.clone();
        }
        other
    }

    /// Sets how long a lease runs.
    pub(crate) fn lease(&mut self, lease_us: u64) {
        self.lease_us = lease_us;
    }

    pub(crate) fn leadership(&self) -> Leadership {
        match self.flavour {
            Flavour::Embedded => Leadership::Exclusive,
            Flavour::Cluster => {
                Leadership::Lease { lease_us: self.lease_us, drift_ppm: self.drift_ppm }
            }
        }
    }

    /// When the namespace is changed, in one of four clusters. (Drawn from what is drawn already, so that the
    /// seeds of old mean what they meant.)
    const fn newer_at_us(&self) -> Option<u64> {
        let drawn = self.think_us + self.network_us + self.log_us;
        if matches!(self.flavour, Flavour::Cluster) && drawn.is_multiple_of(4) {
            Some(self.chaos_us / 3)
        } else {
            None
        }
    }

    /// The version of the namespace under which clients' transactions are validated.
    pub(crate) fn version(&self, now_us: u64) -> u32 {
        if self.newer_at_us().is_some_and(|at| now_us >= at) { NEWER } else { 1 }
    }

    /// Whether a machine has seen it: within a second, each in its own time.
    pub(crate) fn has_seen_newer(&self, slot: usize, now_us: u64) -> bool {
        let late_us = (slot as u64 * 397_000 + self.network_us * 7) % 1_000_000;
        self.newer_at_us().is_some_and(|at| now_us >= at + late_us)
    }

    /// How much two clocks' rates may differ, parts per million.
    pub(crate) const fn drift_ppm(&self) -> i64 {
        self.drift_ppm as i64
    }

    /// How long a shard's leader may be silent before the next in order stands.
    pub(crate) const fn silence_us(&self) -> u64 {
        self.lease_us + self.silence_us
    }

    /// The configuration of a process' commit engine.
    pub(crate) fn commit_config(&self, node: u64, seed: u64) -> CommitConfig {
        CommitConfig {
            resend_after_us: self.resend_after_us,
            max_in_flight: self.max_calls,
            give_up_after_us: 5_000_000,
            free_read_tries: self.free_read_tries,
            ..CommitConfig::new(node, seed, self.shards)
        }
    }

    pub(crate) fn has_bug(&self, bug: AdapterBug) -> bool {
        self.planted.is_some_and(|planted| planted.place == Place::Adapter(bug))
    }

    /// The rule that the engines do not keep.
    pub(crate) fn rule(&self) -> Option<Rule> {
        match self.planted?.place {
            Place::Engine(rule) => Some(rule),
            Place::Delivery(_) | Place::Adapter(_) => None,
        }
    }

    /// What is due later, if anything is.
    pub(crate) fn later(&self) -> Option<LaterPlan> {
        self.deliveries.as_ref()?.later
    }

    /// The rule that the delivery engines do not keep.
    pub(crate) fn delivery_rule(&self) -> Option<delivery::Rule> {
        match self.planted?.place {
            Place::Delivery(rule) => Some(rule),
            Place::Engine(_) | Place::Adapter(_) => None,
        }
    }
}

fn limits(rng: &mut Rng) -> ShardLimits {
    let small = rng.chance(200_000);
    ShardLimits {
        max_waiting: if small { 3 } else { 1_000 },
        max_prepared: if small { 4 } else { 1_000 },
        max_overlay_bytes: if small { 4_000 } else { 1 << 20 },
        max_cache_bytes: *rng.pick(&[0, 300, 2_000, 1 << 20]),
        max_remembered: *rng.pick(&[40, 200, 10_000]),
        id_window_ms: *rng.pick(&[500, 2_000, 600_000]),
        recover_after_us: rng.scale(100_000, 2_000_000),
        max_drift_us: MAX_CLOCK_DRIFT_US,
        max_flush_rows: *rng.pick(&[1, 3, 100]),
        flush_every_us: if small { 4_000 } else { 25_000 },
        checkpoint_every_bytes: rng.scale(500, 200_000),
    }
}
