//! Many worlds.

use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use handfast_sim::{Options, Outcome, Summary, command, run_seed, run_seeds, shrink};

use super::RunArguments;

/// Of how many worlds one is run again.
const ONE_IN: u64 = 100;
/// Failing worlds that are told in full.
const TOLD: usize = 3;
/// Worlds from which on every kind of fault and event must have happened.
const ENOUGH: u64 = 1_000;

pub(super) fn run(arguments: &RunArguments, base: &Options) -> anyhow::Result<bool> {
    let begun = Instant::now();
    let progress = Progress::new(arguments.seeds);
    let seeds = arguments.start..arguments.start + arguments.seeds;
    let threads = super::threads(arguments.threads);
    let summary = run_seeds(base, seeds, threads, &|outcome| progress.on(outcome));
    let differing =
        if arguments.verify_determinism { differing(base, &progress.again()) } else { Ok(vec![]) }?;
    let took = begun.elapsed();
    let never: Vec<String> = summary.faults.never().iter().map(|f| f.name().to_owned()).collect();
    let never = never.into_iter().chain(summary.never().into_iter().map(str::to_owned));
    // Few worlds need not show every kind of event; nor do worlds with something left out or planted.
    let all = base.without.is_empty() && base.focus.is_none() && base.planted.is_none();
    let never: Vec<String> = never.filter(|_| all && summary.seeds >= ENOUGH).collect();
    if arguments.json {
        print_json(&summary, &never, &differing, took);
    } else {
        print_summary(&summary, took);
        report_failures(arguments, base, &summary);
        if !never.is_empty() {
            println!("\nFAILED: never happened in {} worlds: {never:?}", summary.seeds);
        }
        if arguments.verify_determinism {
            let again = progress.again().len();
            println!("\n{again} worlds run again here and in another process");
        }
        for seed in &differing {
            println!("FAILED: seed {seed} is not the same world every time");
        }
    }
    Ok(summary.failures.is_empty() && never.is_empty() && differing.is_empty())
}

/// What is told while worlds run, and the hashes of those that are run again.
struct Progress {
    seeds: u64,
    begun: Instant,
    done: AtomicU64,
    failed: AtomicU64,
    told: Mutex<Instant>,
    hashes: Mutex<Vec<(u64, u64)>>,
}

impl Progress {
    fn new(seeds: u64) -> Self {
        let now = Instant::now();
        Self {
            seeds,
            begun: now,
            done: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            told: Mutex::new(now),
            hashes: Mutex::new(Vec::new()),
        }
    }

    fn on(&self, outcome: &Outcome) -> bool {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        if outcome.failure.is_some() {
            self.failed.fetch_add(1, Ordering::Relaxed);
        } else if outcome.seed.is_multiple_of(ONE_IN)
            && let Ok(mut hashes) = self.hashes.lock()
        {
            hashes.push((outcome.seed, outcome.trace_hash));
        }
        if let Ok(mut told) = self.told.lock()
            && told.elapsed() > Duration::from_secs(5)
        {
            *told = Instant::now();
            let speed = done as f64 / self.begun.elapsed().as_secs_f64();
            let failed = self.failed.load(Ordering::Relaxed);
            eprintln!("{done} of {} seeds, {speed:.0} a second, {failed} failed", self.seeds);
        }
        true
    }

    fn again(&self) -> Vec<(u64, u64)> {
        self.hashes.lock().map(|hashes| hashes.clone()).unwrap_or_default()
    }
}

/// The seeds whose world is another one when it is run again, here or in another process.
fn differing(base: &Options, hashes: &[(u64, u64)]) -> anyhow::Result<Vec<u64>> {
    if hashes.is_empty() {
        return Ok(Vec::new());
    }
    let seeds: Vec<String> = hashes.iter().map(|(seed, _)| seed.to_string()).collect();
    let mut child = Command::new(std::env::current_exe().context("where is this program?")?);
    child.arg("hashes").args(["--seeds", &seeds.join(","), "--txns", &base.txns.to_string()]);
    if !base.without.is_empty() {
        let names: Vec<_> = base.without.iter().map(|fault| fault.name()).collect();
        child.args(["--without", &names.join(",")]);
    }
    if let Some(focus) = base.focus {
        child.args(["--focus", &focus.name()]);
    }
    if let Some(until_us) = base.faults_until_us {
        child.args(["--faults-until-us", &until_us.to_string()]);
    }
    if let Some(most) = base.max_namespaces {
        child.args(["--max-namespaces", &most.to_string()]);
    }
    if let Some(bug) = base.planted {
        child.args(["--plant", &bug.name()]);
    }
    let output = child.output().context("cannot start this program again")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut elsewhere = text.lines();
    let mut differing = Vec::new();
    for (seed, hash) in hashes {
        let here = run_seed(&Options { seed: *seed, ..base.clone() }).trace_hash;
        let there = elsewhere.next().map(str::to_owned);
        if here != *hash || there != Some(format!("{hash:016x}")) {
            differing.push(*seed);
        }
    }
    Ok(differing)
}

fn report_failures(arguments: &RunArguments, base: &Options, summary: &Summary) {
    for (index, (seed, failure)) in summary.failures.iter().enumerate() {
        let options = Options { seed: *seed, ..base.clone() };
        if index >= TOLD {
            let line: String = failure.to_string().chars().take(200).collect();
            println!("seed {seed} FAILED {}", line.replace('\n', " "));
            continue;
        }
        println!("\nseed {seed} FAILED {failure}\n  again: {}", command(&options));
        if arguments.shrink {
            let shrunk = shrink(&options, failure.check);
            println!("  made smaller in {} runs: {}", shrunk.runs, command(&shrunk.options));
            if let Some(failure) = &shrunk.outcome.failure {
                println!(
                    "  which fails with {failure}\n  and goes like this, as far as it matters:"
                );
            }
            for line in shrunk.story() {
                println!("    {line}");
            }
        }
    }
}

fn print_summary(summary: &Summary, took: Duration) {
    println!(
        "{} seeds in {:.1} s: {} committed, {} aborted, {} reads, {} events, {:.0} s simulated, {} failed",
        summary.seeds,
        took.as_secs_f64(),
        summary.committed,
        summary.aborted,
        summary.reads,
        summary.events,
        summary.simulated_us as f64 / 1e6,
        summary.failures.len()
    );
    println!("faults:");
    for (fault, count) in summary.faults.iter() {
        println!("  {:<20} {count:>9}", fault.name());
    }
    println!("happened:");
    for (name, count) in &summary.counts {
        println!("  {name:<28} {count:>9}");
    }
}

fn print_json(summary: &Summary, never: &[String], differing: &[u64], took: Duration) {
    let faults: serde_json::Map<_, _> =
        summary.faults.iter().map(|(fault, count)| (fault.name().into(), count.into())).collect();
    let counts: serde_json::Map<_, _> =
        summary.counts.iter().map(|(name, count)| ((*name).into(), (*count).into())).collect();
    let failures: Vec<_> = summary
        .failures
        .iter()
        .map(|(seed, failure)| serde_json::json!({ "seed": seed, "failure": failure.to_string() }))
        .collect();
    let value = serde_json::json!({
        "seeds": summary.seeds,
        "seconds": took.as_secs_f64(),
        "committed": summary.committed,
        "aborted": summary.aborted,
        "reads": summary.reads,
        "events": summary.events,
        "faults": faults,
        "happened": counts,
        "never_happened": never,
        "not_the_same_twice": differing,
        "failures": failures,
    });
    println!("{value}");
}
