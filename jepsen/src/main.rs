//! One workload under one fault, or many, with a seed and a time.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser, ValueEnum};
use handfast_cluster::apart;
use handfast_jepsen::{Arena, Cell, Fault, Kind, Matrix, Options, Place, Report, run};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

/// Runs in a row that may break off until something is wrong with the machine.
const MOST_BROKEN: usize = 3;

/// Runs consistency workloads against real servers while faults strike, and checks the histories.
///
/// Exits 0 only if every history is valid; 1 if one is not, cannot be decided, or was not run; 2 on a
/// wrong command line.
#[derive(Debug, Parser)]
#[command(name = "handfast-jepsen", after_help = after_help())]
struct Arguments {
    /// What the clients work with
    #[arg(long, value_enum, default_value = "embedded")]
    on: On,
    /// What the clients do: one workload, several with commas, or all
    #[arg(long)]
    workload: String,
    /// What happens to the servers meanwhile: one fault, several with commas, or all, one run each
    #[arg(long)]
    fault: String,
    /// For how long each: 30s, 5m, 1h
    #[arg(long, default_value = "60s", value_parser = duration)]
    time: Duration,
    /// Decides what clients ask and when faults strike (not how the machine schedules them)
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Clients at the same time
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    concurrency: u16,
    /// A run with fewer committed operations fails
    #[arg(long, default_value_t = 100)]
    at_least_committed: usize,
    /// Go on until faults have struck so often, at most five times as long; a run with fewer fails
    #[arg(long, default_value_t = 1)]
    at_least_faults: usize,
    /// Where runs leave history, verdict, picture and logs: each in DIR/WORKLOAD-FAULT-SEED
    #[arg(long, value_name = "DIR", default_value = "runs")]
    folder: PathBuf,
    /// Take runs that came to their end in that folder earlier, with the same seed, time and concurrency, as
    /// they are, and go on with the others
    #[arg(long)]
    resume: bool,
    /// Do not fail because this machine has no means for a fault
    #[arg(long)]
    allow_not_run: bool,
}

/// The grounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum On {
    /// One server, with log and tables in files
    Embedded,
    /// 2 gateways and 3 participants on 3 Kafka brokers, 3 Cassandra nodes and PostgreSQL
    Cluster,
}

impl On {
    const fn place(self) -> Place {
        match self {
            Self::Embedded => Place::Embedded,
            Self::Cluster => Place::Cluster,
        }
    }
}

fn workloads(place: Place, text: &str) -> Result<Vec<Kind>, String> {
    let all: Vec<Kind> = Kind::ALL.into_iter().filter(|it| it.is_on(place)).collect();
    choose(text, "workload", &all, Kind::name)
}

fn faults(place: Place, text: &str) -> Result<Vec<Fault>, String> {
    let all: Vec<Fault> = place.faults().iter().map(|(fault, _)| *fault).collect();
    choose(text, "fault", &all, Fault::name)
}

fn choose<T: Copy + PartialEq>(
    text: &str,
    what: &str,
    all: &[T],
    name: impl Fn(T) -> &'static str,
) -> Result<Vec<T>, String> {
    if text == "all" {
        return Ok(all.to_vec());
    }
    let mut chosen = Vec::new();
    for word in text.split(',') {
        let found = all.iter().copied().find(|it| name(*it) == word).ok_or_else(|| {
            let known: Vec<&str> = all.iter().map(|it| name(*it)).collect();
            format!("there is no {what} {word:?}; known are {}, and all", known.join(", "))
        })?;
        if !chosen.contains(&found) {
            chosen.push(found);
        }
    }
    Ok(chosen)
}

/// A number with a unit; a bare number is seconds.
fn duration(text: &str) -> Result<Duration, String> {
    const MOST: u64 = 24 * 60 * 60;
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        _ => return Err("write it as 30s, 5m or 1h".to_owned()),
    };
    let number: u64 = digits.parse().map_err(|_| "write it as 30s, 5m or 1h".to_owned())?;
    match number.checked_mul(unit) {
        Some(seconds @ 1..=MOST) => Ok(Duration::from_secs(seconds)),
        _ => Err("from 1s to 24h".to_owned()),
    }
}

fn after_help() -> String {
    let mut text = "Workloads:\n".to_owned();
    for it in Kind::ALL {
        let only = if it.is_on(Place::Cluster) { "" } else { " (not --on cluster)" };
        text += &format!("  {:<14} {}{only}\n", it.name(), it.help());
    }
    for place in [Place::Embedded, Place::Cluster] {
        text += &format!("\nFaults, --on {}:\n", place.name());
        for (fault, help) in place.faults() {
            text += &format!("  {:<14} {help}\n", fault.name());
        }
    }
    text + "\nExamples:\n  \
            cargo run --release -p handfast-jepsen -- --workload bank --fault kill --time 60s --seed 7\n  \
            cargo run --release -p handfast-jepsen -- --workload all --fault all --time 10s\n  \
            handfast-jepsen --on cluster --workload bank --fault everything --time 60s --seed 7\n  \
            handfast-jepsen --on cluster --workload all --fault all --time 30s --resume"
}

fn refuse<T>(wrong: String) -> T {
    Arguments::command().error(ErrorKind::InvalidValue, wrong).exit()
}

fn main() -> ExitCode {
    let it = Arguments::parse();
    let place = it.on.place();
    let workloads = workloads(place, &it.workload).unwrap_or_else(refuse);
    let faults = faults(place, &it.fault).unwrap_or_else(refuse);
    let ran = (|| {
        if place == Place::Cluster {
            // Servers can be cut off only from what is in another network namespace.
            apart::become_apart()?;
        }
        Runtime::new()?.block_on(all(&it, place, Matrix::new(workloads, faults)))
    })();
    ran.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

/// Every pair, until somebody ends it.
async fn all(it: &Arguments, place: Place, mut matrix: Matrix) -> anyhow::Result<ExitCode> {
    let mut arena = Arena::default();
    let mut asked_to_stop = [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?];
    let [interrupt, terminate] = &mut asked_to_stop;
    let stopped = tokio::select! {
        all = pairs(it, place, &mut matrix, &mut arena) => { all?; false }
        _ = interrupt.recv() => true,
        _ = terminate.recv() => true,
    };
    if stopped {
        eprintln!("stopped; what was started is being stopped too, once more ends at once");
    }
    tokio::select! {
        closed = arena.close() => closed?,
        _ = interrupt.recv() => std::process::exit(1),
        _ = terminate.recv() => std::process::exit(1),
    }
    if matrix.pairs().len() > 1 {
        println!("\n{}", matrix.to_markdown());
    }
    if stopped {
        eprintln!("error: not everything was run; the same command with --resume goes on");
        return Ok(ExitCode::FAILURE);
    }
    if matrix.not_run() > 0 && !it.allow_not_run {
        eprintln!("error: not everything was run; leave it out, or use --allow-not-run");
        return Ok(ExitCode::FAILURE);
    }
    Ok(if matrix.failed() > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn pairs(
    it: &Arguments,
    place: Place,
    matrix: &mut Matrix,
    arena: &mut Arena,
) -> anyhow::Result<()> {
    let options = |(workload, fault): (Kind, Fault)| Options {
        workload,
        fault,
        time: it.time,
        seed: it.seed,
        concurrency: it.concurrency,
        at_least_committed: it.at_least_committed,
        at_least_faults: it.at_least_faults,
        folder: it.folder.join(format!("{}-{}-{}", workload.name(), fault.name(), it.seed)),
    };
    let mut left: Vec<Options> = matrix.pairs().into_iter().map(options).collect();
    let several = left.len() > 1;
    if it.resume {
        left.retain(|options| match Cell::earlier(place, options) {
            Some(cell) => {
                matrix.set(options.workload, options.fault, cell);
                false
            }
            None => true,
        });
    }
    let mut broken_in_a_row = 0;
    for options in left {
        if broken_in_a_row == MOST_BROKEN {
            eprintln!("error: {MOST_BROKEN} runs in a row broke off; no more are tried");
            break;
        }
        let ran = match place {
            Place::Embedded => run(&options).await,
            Place::Cluster => arena.run(&options).await,
        };
        let cell = Cell::of(&ran);
        say(&options, &cell, ran.as_ref().ok());
        broken_in_a_row = if matches!(cell, Cell::BrokeOff(_)) { broken_in_a_row + 1 } else { 0 };
        matrix.set(options.workload, options.fault, cell);
        if several {
            matrix.save(&it.folder)?;
        }
    }
    Ok(())
}

fn say(options: &Options, cell: &Cell, report: Option<&Report>) {
    let named = format!("{} under {}", options.workload.name(), options.fault.name());
    if let Some(report) = report {
        print!("{report}");
        let shown = options.folder.display();
        println!("  history, verdict, timeline.svg and logs are in {shown}");
    }
    match cell {
        Cell::Ran(_) => {}
        Cell::NotRun(why) => println!("{named}: not run: {why}"),
        Cell::BrokeOff(why) => {
            eprintln!("error: {named}: the run broke off, which is no verdict: {why}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units_and_ends() {
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("7"), Ok(Duration::from_secs(7)));
        for wrong in
            ["", "s", "0s", "25h", "1d", "-1s", "99999999999999999999s", "18446744073709551615h"]
        {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_unknown_workload_or_fault_is_told_with_those_that_there_are() {
        let error = workloads(Place::Embedded, "bank,lists").expect_err("there is none");
        assert!(
            error.contains("\"lists\"") && error.contains("list-append, register, bank"),
            "{error}"
        );
        let error = faults(Place::Embedded, "fire").expect_err("there is none");
        assert!(error.contains("none, kill, pause, clock, drain, disk, everything"), "{error}");
        let error = faults(Place::Cluster, "disk").expect_err("there is none");
        assert!(error.contains("kill-all, kill-gateway") && error.contains("cut-peers"), "{error}");
        for place in [Place::Embedded, Place::Cluster] {
            assert_eq!(faults(place, "all").expect("all").len(), place.faults().len());
        }
        let two = workloads(Place::Cluster, "bank,set,bank").expect("two");
        assert_eq!(two, [Kind::Bank, Kind::Set]);
        assert!(workloads(Place::Cluster, "regions").is_err(), "it has one region");
        let all = |place| workloads(place, "all").expect("all").len();
        assert_eq!((all(Place::Embedded), all(Place::Cluster)), (Kind::ALL.len(), 7));
    }
}
