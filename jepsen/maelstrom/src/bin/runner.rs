//! Our runner of Maelstrom's protocol: one command, one verdict.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use handfast_maelstrom::runner::{Fault, RunnerOptions, Workload, run};

/// Runs a Maelstrom workload against nodes that it starts itself, over a network with faults, and checks the
/// history.
///
/// Exits 0 only if the history is valid, 1 if it is not or cannot be decided, 2 on a wrong command line.
#[derive(Debug, Parser)]
#[command(
    name = "handfast-maelstrom",
    after_help = "\
Examples:
  handfast-maelstrom -w txn-list-append --faults cut,kill --time-limit 20
  handfast-maelstrom -w txn-rw-register --node-count 5 --latency 5 --faults cut,one-way,pause,loss
  handfast-maelstrom -w lin-kv --rate 500 --seed 7
  handfast-maelstrom -w lin-kv --bin ./another-node      # any program that speaks the protocol

Workloads: txn-list-append, txn-rw-register, lin-kv
Faults:    cut, one-way, storage, loss, slow, kill, pause (or all)"
)]
struct Arguments {
    /// What clients do
    #[arg(short, long)]
    workload: Workload,
    /// What happens to the nodes meanwhile, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "FAULTS", value_parser = faults)]
    faults: Vec<Vec<Fault>>,
    /// Nodes
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=25))]
    node_count: u16,
    /// For how long clients work, in seconds
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    time_limit: u64,
    /// Requests a second, of all clients together
    #[arg(long, default_value_t = 100.0)]
    rate: f64,
    /// Clients at once [default: 4 for each node]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    concurrency: Option<u16>,
    /// The mean time that a message takes, milliseconds
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=1_000))]
    latency: u64,
    /// The share of messages between nodes, and to lin-kv, that is lost all the time
    #[arg(long, default_value_t = 0.0)]
    loss: f64,
    /// Time between two faults, and of one, on average, milliseconds
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(100..=600_000))]
    fault_interval_ms: u64,
    /// Decides what clients ask, when faults strike and how messages travel (not how the machine
    /// schedules processes) [default: drawn, and printed]
    #[arg(long)]
    seed: Option<u64>,
    /// A run in which fewer operations happened fails
    #[arg(long, default_value_t = 100)]
    at_least_ok: usize,
    /// The program that is a node [default: handfast-maelstrom-node beside this one]
    #[arg(long, value_name = "PROGRAM")]
    bin: Option<PathBuf>,
    /// An argument for every node; may be given several times
    #[arg(long = "node-arg", value_name = "ARGUMENT", allow_hyphen_values = true)]
    node_args: Vec<String>,
    /// Where the run leaves its history, verdict and logs [default: runs/maelstrom-WORKLOAD-SEED]
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Prints the verdict as JSON
    #[arg(long)]
    json: bool,
}

fn faults(name: &str) -> Result<Vec<Fault>, String> {
    if name == "all" { Ok(Fault::ALL.to_vec()) } else { name.parse().map(|fault| vec![fault]) }
}

fn options(it: Arguments) -> anyhow::Result<RunnerOptions> {
    anyhow::ensure!(it.rate > 0.0 && it.rate <= 1e6, "--rate must be above 0, and at most 1000000");
    anyhow::ensure!((0.0..1.0).contains(&it.loss), "--loss is a share, from 0 to less than 1");
    let (node, mut node_arguments) = match it.bin {
        Some(program) => (program, Vec::new()),
        // Only our own node knows this argument.
        None => {
            let own = std::env::current_exe()?.with_file_name("handfast-maelstrom-node");
            anyhow::ensure!(
                own.exists(),
                "{} is missing; build it with: cargo build --release -p handfast-maelstrom",
                own.display()
            );
            (own, vec!["--commit-timestamps".to_owned()])
        }
    };
    node_arguments.extend(it.node_args);
    let seed = it.seed.unwrap_or_else(|| rand::random::<u64>() >> 32);
    let nodes = usize::from(it.node_count);
    let mut faults: Vec<Fault> = it.faults.into_iter().flatten().collect();
    faults.sort_unstable();
    faults.dedup();
    let named = format!("maelstrom-{}-{seed}", it.workload);
    Ok(RunnerOptions {
        workload: it.workload,
        node,
        node_arguments,
        nodes,
        time: Duration::from_secs(it.time_limit),
        rate: it.rate,
        concurrency: it.concurrency.map_or(4 * nodes, usize::from),
        latency: Duration::from_millis(it.latency),
        loss: it.loss,
        faults,
        fault_interval: Duration::from_millis(it.fault_interval_ms),
        seed,
        at_least_ok: it.at_least_ok,
        folder: it.folder.unwrap_or_else(|| PathBuf::from("runs").join(named)),
    })
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let as_json = arguments.json;
    let options = match options(arguments) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("error: {error:#}");
            return ExitCode::from(2);
        }
    };
    eprintln!("seed {}", options.seed);
    match run(&options) {
        Ok(report) => {
            if as_json {
                println!("{:#}", report.to_json());
            } else {
                print!("{report}");
                println!("everything about the run is in {}", options.folder.display());
            }
            if report.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("error: the run broke off, which is no verdict: {error:#}");
            ExitCode::FAILURE
        }
    }
}
