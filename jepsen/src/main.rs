//! One workload under one fault, with a seed and a time.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use handfast_jepsen::{Fault, Kind, Options, Validity, run};

/// Runs a consistency workload against a real server while a fault strikes, and checks the history.
///
/// Exits 0 only if the history is valid, 1 if it is not or cannot be decided, 2 on a wrong command line.
#[derive(Debug, Parser)]
#[command(
    name = "handfast-jepsen",
    after_help = "\
Example:
  cargo run --release -p handfast-jepsen -- --workload bank --fault kill --seconds 60 --seed 7"
)]
struct Arguments {
    /// What the clients do
    #[arg(long, value_enum)]
    workload: Kind,
    /// What happens to the server meanwhile
    #[arg(long, value_enum)]
    fault: Fault,
    /// For how long, in seconds
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// Decides what clients ask and when faults strike (not how the machine schedules them)
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Clients at the same time
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    concurrency: u16,
    /// A run with fewer committed operations fails
    #[arg(long, default_value_t = 100)]
    at_least_committed: usize,
    /// Go on until so many faults have struck, at most five times as long; a run with fewer fails
    #[arg(long, default_value_t = 1)]
    at_least_faults: usize,
    /// Where the run leaves its history, verdict and logs [default: runs/WORKLOAD-FAULT-SEED]
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let it = Arguments::parse();
    let named = format!("{}-{}-{}", it.workload.name(), it.fault.name(), it.seed);
    let options = Options {
        workload: it.workload,
        fault: it.fault,
        time: Duration::from_secs(it.seconds),
        seed: it.seed,
        concurrency: it.concurrency,
        at_least_committed: it.at_least_committed,
        at_least_faults: it.at_least_faults,
        folder: it.folder.unwrap_or_else(|| PathBuf::from("runs").join(named)),
    };
    match run(&options).await {
        Ok(verdict) => {
            print!("{verdict}");
            println!("the history, the verdict and the logs are in {}", options.folder.display());
            if verdict.validity() == Validity::Valid {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(error) => {
            eprintln!("error: the run broke off, which is no verdict: {error:#}");
            ExitCode::FAILURE
        }
    }
}
