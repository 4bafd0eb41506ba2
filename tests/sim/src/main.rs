//! `handfast-sim`: runs simulated worlds from the command line.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use handfast_sim::{Fault, Options, Outcome, Planted, Summary, run_seed, run_seeds, shrink};

/// Runs the engines of Handfast in simulated worlds, each decided by one seed.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// How many seeds to run.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    start: u64,
    /// Transactions in each world.
    #[arg(long, default_value_t = 100)]
    txns: u32,
    /// Run this seed alone.
    #[arg(long)]
    seed: Option<u64>,
    /// Print everything that happens (with --seed).
    #[arg(long)]
    trace: bool,
    /// Leave out these kinds of faults.
    #[arg(long, value_delimiter = ',')]
    without: Vec<String>,
    /// Take out a rule, or put in a bug: `all`, or its name.
    #[arg(long)]
    plant: Option<String>,
    /// Threads; by default one for each core.
    #[arg(long)]
    threads: Option<usize>,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
    /// Make failing worlds smaller before they are reported.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    shrink: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("handfast-sim: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let without = arguments.without.iter().map(|name| fault(name)).collect::<Result<_, _>>()?;
    let mut base =
        Options { seed: 0, txns: arguments.txns, trace: arguments.trace, without, planted: None };
    if let Some(name) = &arguments.plant
        && name != "all"
    {
        base.planted = Some(planted(name)?);
    }
    let threads = arguments
        .threads
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    if arguments.plant.as_deref() == Some("all") {
        return Ok(plant_all(arguments, &base, threads));
    }
    if let Some(seed) = arguments.seed {
        return Ok(run_one(arguments, &Options { seed, ..base }));
    }
    Ok(run_many(arguments, &Options { trace: false, ..base }, threads))
}

fn fault(name: &str) -> anyhow::Result<Fault> {
    let known = || Fault::ALL.iter().map(|fault| fault.name()).collect::<Vec<_>>().join(", ");
    let found = Fault::ALL.iter().copied().find(|fault| fault.name() == name);
    found.ok_or_else(|| anyhow::anyhow!("there is no fault {name:?}; there are {}", known()))
}

fn planted(name: &str) -> anyhow::Result<Planted> {
    let known = || Planted::all().map(Planted::name).collect::<Vec<_>>().join(", ");
    let found = Planted::all().find(|planted| planted.name() == name);
    found.ok_or_else(|| anyhow::anyhow!("there is no bug {name:?} to plant; there are {}", known()))
}

fn run_one(arguments: &Arguments, options: &Options) -> bool {
    let outcome = run_seed(options);
    if arguments.json {
        println!("{}", json_of(&outcome));
    } else {
        println!(
            "seed {}: {} committed, {} aborted, {} reads, {} events, {:.1} s simulated, trace hash {:016x}",
            outcome.seed,
            outcome.committed,
            outcome.aborted,
            outcome.reads,
            outcome.events,
            outcome.simulated_us as f64 / 1e6,
            outcome.trace_hash,
        );
        if let Some(failure) = &outcome.failure {
            println!("FAILED {failure}");
        }
    }
    outcome.failure.is_none()
}

fn json_of(outcome: &Outcome) -> serde_json::Value {
    serde_json::json!({
        "seed": outcome.seed,
        "failure": outcome.failure.as_ref().map(ToString::to_string),
        "trace_hash": format!("{:016x}", outcome.trace_hash),
        "events": outcome.events,
        "simulated_us": outcome.simulated_us,
        "committed": outcome.committed,
        "aborted": outcome.aborted,
        "reads": outcome.reads,
    })
}

/// The command that runs this world again.
fn command(options: &Options) -> String {
    let mut line = format!(
        "cargo run --release -p handfast-sim -- --seed {} --txns {}",
        options.seed, options.txns
    );
    if !options.without.is_empty() {
        let names: Vec<_> = options.without.iter().map(|fault| fault.name()).collect();
        line += &format!(" --without {}", names.join(","));
    }
    if let Some(planted) = options.planted {
        line += &format!(" --plant {}", planted.name());
    }
    line + " --trace"
}

fn run_many(arguments: &Arguments, base: &Options, threads: usize) -> bool {
    let begun = Instant::now();
    let done = AtomicU64::new(0);
    let failed = AtomicU64::new(0);
    let told = std::sync::Mutex::new(Instant::now());
    let progress = |outcome: &Outcome| {
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        if outcome.failure.is_some() {
            failed.fetch_add(1, Ordering::Relaxed);
        }
        if let Ok(mut told) = told.lock()
            && told.elapsed() > Duration::from_secs(5)
        {
            *told = Instant::now();
            let speed = done as f64 / begun.elapsed().as_secs_f64();
            let failed = failed.load(Ordering::Relaxed);
            eprintln!("{done} of {} seeds, {speed:.0} a second, {failed} failed", arguments.seeds);
        }
        true
    };
    let seeds = arguments.start..arguments.start + arguments.seeds;
    let summary = run_seeds(base, seeds, threads, &progress);
    if arguments.json {
        print_json(&summary, begun.elapsed());
    } else {
        print_summary(&summary, begun.elapsed());
    }
    for (seed, failure) in summary.failures.iter().skip(5) {
        let line: String = failure.to_string().chars().take(200).collect();
        println!("seed {seed} FAILED {}", line.replace('\n', " "));
    }
    for (seed, failure) in summary.failures.iter().take(5) {
        let options = Options { seed: *seed, ..base.clone() };
        let smaller = if arguments.shrink { shrink(&options, failure.check) } else { options };
        println!("\nseed {seed} FAILED {failure}\n  again: {}", command(&smaller));
    }
    // Few worlds need not show every kind of event.
    let covered =
        summary.seeds < 1_000 || (summary.faults.never().is_empty() && summary.never().is_empty());
    if !covered {
        println!("\nnever happened: {:?} {:?}", summary.faults.never(), summary.never());
    }
    summary.failures.is_empty() && covered
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

fn print_json(summary: &Summary, took: Duration) {
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
        "failures": failures,
    });
    println!("{value}");
}

/// Plants every bug in turn and says after how many seeds it is caught.
fn plant_all(arguments: &Arguments, base: &Options, threads: usize) -> bool {
    let mut all_caught = true;
    println!("{:<30} {:>8}  caught by", "planted", "seeds");
    for planted in Planted::all() {
        let options = Options { planted: Some(planted), trace: false, ..base.clone() };
        let seeds = arguments.start..arguments.start + arguments.seeds;
        let summary = run_seeds(&options, seeds, threads, &|outcome| outcome.failure.is_none());
        match summary.failures.first() {
            Some((_, failure)) => {
                println!("{:<30} {:>8}  {:?}", planted.name(), summary.seeds, failure.check);
            }
            None => {
                all_caught = false;
                println!("{:<30} {:>8}  NOT CAUGHT", planted.name(), summary.seeds);
            }
        }
    }
    all_caught
}
