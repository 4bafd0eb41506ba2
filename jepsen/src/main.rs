//! One workload under one fault, or many, with a seed and a time.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use handfast_jepsen::{Cell, Fault, Kind, Matrix, Options};

/// Runs consistency workloads against a real server while faults strike, and checks the histories.
///
/// Exits 0 only if every history is valid; 1 if one is not, cannot be decided, or was not run; 2 on a
/// wrong command line.
#[derive(Debug, Parser)]
#[command(name = "handfast-jepsen", after_help = after_help())]
struct Arguments {
    /// What the clients do: one workload, several with commas, or all
    #[arg(long, value_parser = workloads)]
    workload: Chosen<Kind>,
    /// What happens to the server meanwhile: one fault, several with commas, or all, one run each
    #[arg(long, value_parser = faults)]
    fault: Chosen<Fault>,
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
    /// Do not fail because this machine has no means for a fault
    #[arg(long)]
    allow_not_run: bool,
}

/// What was chosen, in the order in which it stands.
#[derive(Clone, Debug)]
struct Chosen<T>(Vec<T>);

fn workloads(text: &str) -> Result<Chosen<Kind>, String> {
    choose(text, "workload", &Kind::ALL, Kind::name)
}

fn faults(text: &str) -> Result<Chosen<Fault>, String> {
    choose(text, "fault", &Fault::ALL, Fault::name)
}

fn choose<T: Copy>(
    text: &str,
    what: &str,
    all: &[T],
    name: impl Fn(T) -> &'static str,
) -> Result<Chosen<T>, String> {
    if text == "all" {
        return Ok(Chosen(all.to_vec()));
    }
    let find = |word: &str| {
        all.iter().copied().find(|it| name(*it) == word).ok_or_else(|| {
            let known: Vec<&str> = all.iter().map(|it| name(*it)).collect();
            format!("there is no {what} {word:?}; known are {}, and all", known.join(", "))
        })
    };
    text.split(',').map(find).collect::<Result<_, _>>().map(Chosen)
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
        text += &format!("  {:<12} {}\n", it.name(), it.help());
    }
    text += "\nFaults:\n";
    for it in Fault::ALL {
        text += &format!("  {:<12} {}\n", it.name(), it.help());
    }
    text + "\nExamples:\n  \
            cargo run --release -p handfast-jepsen -- --workload bank --fault kill --time 60s --seed 7\n  \
            cargo run --release -p handfast-jepsen -- --workload all --fault all --time 10s"
}

#[tokio::main]
async fn main() -> ExitCode {
    let it = Arguments::parse();
    let mut matrix = Matrix::default();
    for workload in it.workload.0.iter().copied() {
        for fault in it.fault.0.iter().copied() {
            let named = format!("{}-{}-{}", workload.name(), fault.name(), it.seed);
            let options = Options {
                workload,
                fault,
                time: it.time,
                seed: it.seed,
                concurrency: it.concurrency,
                at_least_committed: it.at_least_committed,
                at_least_faults: it.at_least_faults,
                folder: it.folder.join(named),
            };
            let cell = Cell::run(&options).await;
            say(&options, &cell);
            matrix.add(workload, fault, cell);
        }
    }
    if it.workload.0.len() * it.fault.0.len() > 1 {
        println!("\n{}", matrix.to_markdown());
        if let Err(error) = save(&it.folder, &matrix) {
            eprintln!("error: cannot write the table: {error}");
            return ExitCode::FAILURE;
        }
    }
    if matrix.not_run() > 0 && !it.allow_not_run {
        eprintln!("error: not everything was run; leave it out, or use --allow-not-run");
        return ExitCode::FAILURE;
    }
    if matrix.failed() > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn say(options: &Options, cell: &Cell) {
    let named = format!("{} under {}", options.workload.name(), options.fault.name());
    match cell {
        Cell::Ran(report) => {
            print!("{report}");
            let shown = options.folder.display();
            println!("  history, verdict, timeline.svg and logs are in {shown}");
        }
        Cell::NotRun(why) => println!("{named}: not run: {why}"),
        Cell::BrokeOff(why) => {
            eprintln!("error: {named}: the run broke off, which is no verdict: {why}");
        }
    }
}

fn save(folder: &std::path::Path, matrix: &Matrix) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("matrix.md"), matrix.to_markdown())?;
    let text = format!("{:#}\n", matrix.to_json());
    std::fs::write(folder.join("matrix.json"), text)
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
        let error = workloads("bank,lists").expect_err("there is none");
        assert!(
            error.contains("\"lists\"") && error.contains("list-append, register, bank"),
            "{error}"
        );
        let error = faults("fire").expect_err("there is none");
        assert!(error.contains("none, kill, pause, clock, drain, disk, everything"), "{error}");
        assert_eq!(faults("all").expect("all").0.len(), Fault::ALL.len());
        assert_eq!(workloads("bank,set").expect("two").0, [Kind::Bank, Kind::Set]);
    }
}
