//! What one seed decides before the world begins: its size, its limits, its faults.

use coordinator::engine::CommitConfig;
use participant::engine::{Leadership, Rule, ShardLimits};
use wal_core::limits::MAX_CLOCK_DRIFT_US;

use crate::fault::{Fault, Faults};
use crate::rng::Rng;

/// Which of the two kinds of deployment a world models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavour {
    /// One process owns the log; all shards share one physical log.
    Embedded,
    /// Several processes, a log like Kafka's, a table store like Cassandra.
    Cluster,
}

/// A bug put in on purpose, to prove that it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Planted {
    /// An engine does not keep a rule.
    Rule(Rule),
    /// The simulated adapter of the log makes a mistake.
    Adapter(AdapterBug),
}

/// A mistake of an adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AdapterBug {
    /// A batch is said to be durable wherever it landed.
    NoContiguityCheck,
    /// After a gap, whatever follows the last offset is taken for whole.
    ContiguityWithoutSequence,
    /// An acknowledged batch is lost with the log's unflushed tail.
    LosesTail,
    /// A timeout is taken for success.
    UnknownIsDurable,
    /// A flush that failed is taken for done.
    FlushFailureIgnored,
}

impl AdapterBug {
    /// Every mistake.
    pub const ALL: [Self; 5] = [
        Self::NoContiguityCheck,
        Self::ContiguityWithoutSequence,
        Self::LosesTail,
        Self::UnknownIsDurable,
        Self::FlushFailureIgnored,
    ];
}

impl Planted {
    /// Every bug.
    pub fn all() -> impl Iterator<Item = Self> {
        let adapter = AdapterBug::ALL.into_iter().map(Self::Adapter);
        Rule::ALL.into_iter().map(Self::Rule).chain(adapter)
    }

    /// The name by which the command line knows it.
    pub fn name(self) -> String {
        match self {
            Self::Rule(rule) => format!("{rule:?}"),
            Self::Adapter(bug) => format!("{bug:?}"),
        }
    }

    pub(crate) const fn rule(self) -> Option<Rule> {
        match self {
            Self::Rule(rule) => Some(rule),
            Self::Adapter(_) => None,
        }
    }
}

/// What is asked of the simulator.
#[derive(Clone, Debug)]
pub struct Options {
    /// Decides everything.
    pub seed: u64,
    /// Transactions that clients submit.
    pub txns: u32,
    /// Print every event.
    pub trace: bool,
    /// Kinds of faults to leave out.
    pub without: Vec<Fault>,
    /// What is broken on purpose.
    pub planted: Option<Planted>,
}

/// Everything drawn in advance.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) flavour: Flavour,
    pub(crate) txns: u32,
    pub(crate) slots: usize,
    pub(crate) shards: u16,
    pub(crate) clients: usize,
    pub(crate) partitions: u64,
    /// Rows with clustering per partition of the second table.
    pub(crate) depth: u64,
    pub(crate) owned: [bool; 2],
    pub(crate) limits: ShardLimits,
    pub(crate) leadership: Leadership,
    pub(crate) drift_ppm: i64,
    pub(crate) max_in_flight: usize,
    pub(crate) take_delay_us: u64,
    pub(crate) append_timeout_us: u64,
    pub(crate) network_us: u64,
    pub(crate) store_us: u64,
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
    pub(crate) planted: Option<Planted>,
}

impl Plan {
    pub(crate) fn draw(rng: &mut Rng, options: &Options) -> Self {
        let flavour = if rng.chance(300_000) { Flavour::Embedded } else { Flavour::Cluster };
        let mut faults = Faults::draw(rng);
        for fault in &options.without {
            faults.remove(*fault);
        }
        let slots = match flavour {
            Flavour::Embedded => 1,
            Flavour::Cluster => rng.range(2..5) as usize,
        };
        let lease_us = rng.scale(50_000, 2_000_000);
        let drift_ppm = rng.range(0..2_000);
        let leadership = match flavour {
            Flavour::Embedded => Leadership::Exclusive,
            Flavour::Cluster => Leadership::Lease { lease_us, drift_ppm },
        };
        Self {
            flavour,
            txns: options.txns,
            slots,
            shards: rng.range(1..7) as u16,
            clients: rng.range(2..13) as usize,
            partitions: rng.scale(2, 17),
            depth: rng.range(1..4),
            owned: [rng.chance(800_000), rng.chance(700_000)],
            limits: limits(rng, flavour),
            leadership,
            drift_ppm: drift_ppm as i64,
            max_in_flight: rng.range(1..6) as usize,
            take_delay_us: rng.scale(50, 3_000),
            append_timeout_us: rng.range(200_000..1_500_000),
            network_us: rng.scale(100, 5_000),
            store_us: rng.scale(100, 8_000),
            log_us: rng.scale(100, 8_000),
            // A successor that waits out a lease says nothing yet: who has no patience for it deposes it.
            silence_us: lease_us + lease_us / 4 + rng.range(200_000..1_200_000),
            chaos_us: rng.scale(500_000, 8_000_000),
            think_us: rng.scale(500, 60_000),
            patience_us: rng.scale(50_000, 2_500_000),
            weights: std::array::from_fn(|_| *rng.pick(&[0, 1, 2, 5])),
            resend_after_us: rng.scale(30_000, 500_000),
            max_calls: *rng.pick(&[4, 1_000, 1_000, 1_000]),
            reader_slot: rng.coin().then(|| rng.index(slots)),
            read_ppm: *rng.pick(&[100_000, 250_000, 600_000]),
            free_read_tries: *rng.pick(&[0, 0, 1, 3]),
            faults,
            planted: options.planted,
        }
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
        self.planted == Some(Planted::Adapter(bug))
    }
}

fn limits(rng: &mut Rng, flavour: Flavour) -> ShardLimits {
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
        checkpoint_every_bytes: rng.scale(500, 200_000),
        trim_delay_us: match flavour {
            Flavour::Embedded => 0,
            Flavour::Cluster => rng.range(0..500_000),
        },
    }
}
