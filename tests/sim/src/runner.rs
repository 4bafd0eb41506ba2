//! Runs worlds: one, or many on all cores; and makes a failing one smaller.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::failure::{Check, Failure};
use crate::fault::FaultCounts;
use crate::names;
use crate::plan::Options;
use crate::truth::RECORDS;
use crate::world::World;

thread_local! {
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
    static RUNS: RefCell<bool> = const { RefCell::new(false) };
}

/// How one world ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// What is wrong, if anything is.
    pub failure: Option<Failure>,
    /// A hash over everything that happened; 0 after a panic.
    pub trace_hash: u64,
    /// Events.
    pub events: u64,
    /// Simulated time, microseconds.
    pub simulated_us: u64,
    /// Transactions committed.
    pub committed: u64,
    /// Transactions aborted.
    pub aborted: u64,
    /// Reads answered.
    pub reads: u64,
    /// How often each fault struck.
    pub faults: FaultCounts,
    /// How often each thing happened in logs, engines and answers.
    pub counts: BTreeMap<&'static str, u64>,
    /// What happened, line by line, if that was asked for.
    pub timeline: Vec<String>,
}

/// Many worlds together.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Worlds run.
    pub seeds: u64,
    /// Failures, by seed.
    pub failures: Vec<(u64, Failure)>,
    /// Events.
    pub events: u64,
    /// Simulated time, microseconds.
    pub simulated_us: u64,
    /// Transactions committed.
    pub committed: u64,
    /// Transactions aborted.
    pub aborted: u64,
    /// Reads answered.
    pub reads: u64,
    /// How often each fault struck.
    pub faults: FaultCounts,
    /// How often each thing happened.
    pub counts: BTreeMap<&'static str, u64>,
}

impl Summary {
    fn add(&mut self, outcome: Outcome) {
        self.seeds += 1;
        self.events += outcome.events;
        self.simulated_us += outcome.simulated_us;
        self.committed += outcome.committed;
        self.aborted += outcome.aborted;
        self.reads += outcome.reads;
        self.faults.add(&outcome.faults);
        for (name, count) in outcome.counts {
            *self.counts.entry(name).or_default() += count;
        }
        if let Some(failure) = outcome.failure {
            self.failures.push((outcome.seed, failure));
        }
    }

    fn merge(&mut self, other: Self) {
        self.seeds += other.seeds;
        self.events += other.events;
        self.simulated_us += other.simulated_us;
        self.committed += other.committed;
        self.aborted += other.aborted;
        self.reads += other.reads;
        self.faults.add(&other.faults);
        for (name, count) in other.counts {
            *self.counts.entry(name).or_default() += count;
        }
        self.failures.extend(other.failures);
        self.failures.sort_by_key(|(seed, _)| *seed);
    }

    /// Events that should have happened in some world and did in none. The rare are asked for in many worlds
    /// only.
    pub fn never(&self) -> Vec<&'static str> {
        const MANY: u64 = 5_000;
        expected_events()
            .filter(|name| self.seeds >= MANY || !names::RARE.contains(name))
            .filter(|name| !self.counts.contains_key(name))
            .collect()
    }
}

/// What must happen in some of many worlds: everything that has a name, but for what cannot happen here.
pub fn expected_events() -> impl Iterator<Item = &'static str> {
    RECORDS
        .into_iter()
        .chain(names::ALL.iter().copied())
        .chain(crate::region::HAPPENED)
        .chain(crate::deliver::NAMES.iter().copied())
        .filter(|name| !names::NEVER.contains(name))
}

/// Runs one world. A panic of an engine is a failure of the seed.
pub fn run_seed(options: &Options) -> Outcome {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let others = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if RUNS.with(|runs| *runs.borrow()) {
                PANIC.with(|panic| *panic.borrow_mut() = Some(info.to_string()));
            } else {
                others(info);
            }
        }));
    });
    RUNS.with(|runs| *runs.borrow_mut() = true);
    let result = catch_unwind(AssertUnwindSafe(|| World::new(options).run()));
    RUNS.with(|runs| *runs.borrow_mut() = false);
    match result {
        Ok(ended) => Outcome {
            seed: options.seed,
            failure: ended.failure,
            trace_hash: ended.trace_hash,
            events: ended.events,
            simulated_us: ended.simulated_us,
            committed: ended.committed,
            aborted: ended.aborted,
            reads: ended.reads,
            faults: ended.faults,
            counts: ended.counts,
            timeline: ended.timeline,
        },
        Err(_) => {
            let what = PANIC.with(|panic| panic.borrow_mut().take()).unwrap_or_default();
            Outcome {
                seed: options.seed,
                failure: Some(Failure { check: Check::Panic, story: what }),
                trace_hash: 0,
                events: 0,
                simulated_us: 0,
                committed: 0,
                aborted: 0,
                reads: 0,
                faults: FaultCounts::default(),
                counts: BTreeMap::new(),
                timeline: Vec::new(),
            }
        }
    }
}

/// Runs the worlds of many seeds, on so many threads. `progress` hears of every world's end; it may end
/// the whole by returning `false`.
pub fn run_seeds(
    base: &Options,
    seeds: std::ops::Range<u64>,
    threads: usize,
    progress: &(dyn Fn(&Outcome) -> bool + Sync),
) -> Summary {
    let next = AtomicU64::new(seeds.start);
    let work = || {
        let mut summary = Summary::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return summary;
            }
            let outcome = run_seed(&Options { seed, ..base.clone() });
            if !progress(&outcome) {
                next.store(seeds.end, Ordering::Relaxed);
            }
            summary.add(outcome);
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        let mut total = Summary::default();
        for worker in workers {
            total.merge(worker.join().expect("a worker catches the panics of its worlds"));
        }
        total
    })
}
