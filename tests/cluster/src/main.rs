//! A cluster of Handfast on loopback, from a shell.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, ensure};
use clap::{Args, Parser, Subcommand, ValueEnum};
use comfy_table::{Table, presets};
use handfast_cluster::{Cluster, ClusterSpec, Part};
use handfast_stack::{Jit, ServerState};
use serde_json::json;

/// Handfast's servers on real Kafka, Cassandra and PostgreSQL on loopback, without containers.
///
/// Needs what handfast-stack needs: a JDK, Maven and PostgreSQL, on Debian:
/// apt-get install default-jdk-headless maven postgresql
#[derive(Debug, Parser)]
#[command(name = "handfast-cluster", version, arg_required_else_help = true)]
#[command(after_help = "\
Examples:
  handfast-cluster up                    3 brokers, 3 nodes, PostgreSQL, 2 gateways, 3 participants, 1 that delivers
  handfast-cluster demo                  the guided demo on it, with three kinds of parts killed
  handfast-cluster show                  addresses, process ids, memory, who serves
  handfast-cluster kill participant-2    as kill -9 does
  handfast-cluster start participant-2   again, where it was
  handfast-cluster down                  stop all of it; the data stay
  handfast-cluster wipe                  kill it and delete its data")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
    /// The cluster's folder [default: handfast-cluster-<user id> in the folder for temporary files]
    #[arg(long, global = true, value_name = "FOLDER", env = "HANDFAST_CLUSTER_DIR")]
    dir: Option<PathBuf>,
    /// How to print data [default: table to a terminal, json otherwise]
    #[arg(short = 'o', long, global = true, value_enum, env = "HANDFAST_OUTPUT")]
    output: Option<Format>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Starts what does not run, waits until everything serves, and prints the addresses
    Up(Shape),
    /// Brings the cluster up and plays the guided demo on it: a participant, a broker and a Cassandra
    /// node are killed in the middle, and started again
    Demo(Shape),
    /// Prints addresses, process ids, memory, and who serves; exits 1 unless all of it serves
    Show,
    /// Kills parts as kill -9 does
    Kill { parts: Vec<Part> },
    /// Starts parts that are gone, and waits until they serve
    Start { parts: Vec<Part> },
    /// Asks parts to stop in order, and waits until they have
    Stop { parts: Vec<Part> },
    /// Pauses parts as kill -STOP does
    Pause { parts: Vec<Part> },
    /// Lets paused parts go on
    Resume { parts: Vec<Part> },
    /// Stops everything in order; data and addresses stay
    Down,
    /// Kills everything and deletes data and logs
    Wipe,
}

/// What a new cluster consists of.
#[derive(Clone, Debug, Args)]
struct Shape {
    /// Kafka brokers: 1 or 3 [default: 3]
    #[arg(long, value_name = "COUNT")]
    kafka: Option<usize>,
    /// Cassandra nodes: 1 or 3 [default: 3]
    #[arg(long, value_name = "COUNT")]
    cassandra: Option<usize>,
    /// Gateways [default: 2]
    #[arg(long, value_name = "COUNT")]
    gateways: Option<usize>,
    /// Participants [default: 3]
    #[arg(long, value_name = "COUNT")]
    participants: Option<usize>,
    /// Servers that deliver messages, and do what is due later [default: 1]
    #[arg(long, value_name = "COUNT")]
    deliveries: Option<usize>,
    /// Let Java compile for speed rather than for a quick start: for benchmarks
    #[arg(long)]
    peak: bool,
}

impl Shape {
    /// `None` if nothing was chosen.
    fn spec(&self) -> Option<ClusterSpec> {
        let counts =
            [self.kafka, self.cassandra, self.gateways, self.participants, self.deliveries];
        let usual = ClusterSpec::default();
        (self.peak || counts.iter().any(Option::is_some)).then(|| ClusterSpec {
            kafka: self.kafka.unwrap_or(usual.kafka),
            cassandra: self.cassandra.unwrap_or(usual.cassandra),
            gateways: self.gateways.unwrap_or(usual.gateways),
            participants: self.participants.unwrap_or(usual.participants),
            deliveries: self.deliveries.unwrap_or(usual.deliveries),
            jit: if self.peak { Jit::Peak } else { Jit::QuickStart },
        })
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

impl Cli {
    fn folder(&self) -> PathBuf {
        self.dir.clone().unwrap_or_else(|| {
            let user = rustix::process::getuid().as_raw();
            std::env::temp_dir().join(format!("handfast-cluster-{user}"))
        })
    }

    fn open(&self) -> anyhow::Result<Cluster> {
        let folder = self.folder();
        Cluster::open(&folder)?.with_context(|| {
            format!("there is no cluster in {}; `handfast-cluster up` starts one", folder.display())
        })
    }

    /// Does something to each part, and says how long it took.
    fn each<T>(
        &self,
        parts: &[Part],
        done: &str,
        what: impl Fn(&Cluster, Part) -> anyhow::Result<T>,
    ) -> anyhow::Result<ExitCode> {
        ensure!(!parts.is_empty(), "name a part, such as participant-1; `show` lists them");
        let cluster = self.open()?;
        for part in parts {
            let begun = Instant::now();
            what(&cluster, *part)?;
            eprintln!("{part}: {done}, {} ms", begun.elapsed().as_millis());
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    match &cli.verb {
        Verb::Up(shape) => {
            let cluster = up(cli, shape)?;
            print_states(cli, &cluster)?;
            Ok(ExitCode::SUCCESS)
        }
        Verb::Demo(shape) => demo(cli, shape),
        Verb::Show => {
            let all = print_states(cli, &cli.open()?)?;
            Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Verb::Kill { parts } => cli.each(parts, "killed", Cluster::kill),
        Verb::Start { parts } => cli.each(parts, "serves", Cluster::restart),
        Verb::Stop { parts } => cli.each(parts, "stopped", Cluster::stop),
        Verb::Pause { parts } => cli.each(parts, "paused", Cluster::pause),
        Verb::Resume { parts } => cli.each(parts, "resumed", Cluster::resume),
        Verb::Down => {
            cli.open()?.stop_all()?;
            eprintln!("stopped; `handfast-cluster up` starts it again, `wipe` deletes it");
            Ok(ExitCode::SUCCESS)
        }
        Verb::Wipe => {
            let folder = cli.folder();
            match Cluster::open(&folder)? {
                Some(cluster) => cluster.wipe()?,
                None => eprintln!("there is no cluster in {}", folder.display()),
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn up(cli: &Cli, shape: &Shape) -> anyhow::Result<Cluster> {
    let (begun, folder) = (Instant::now(), cli.folder());
    eprintln!("starting in {}; the first time, Kafka and Cassandra are fetched", folder.display());
    let (cluster, started) = Cluster::keep(&folder, shape.spec().as_ref())?;
    if started.is_empty() {
        eprintln!("it is up already");
    } else {
        eprintln!(
            "started {}; all serve after {:.1} s",
            started.join(", "),
            begun.elapsed().as_secs_f64()
        );
    }
    Ok(cluster)
}

/// Plays `handfast demo` on the cluster.
fn demo(cli: &Cli, shape: &Shape) -> anyhow::Result<ExitCode> {
    let cluster = up(cli, shape)?;
    let this = std::env::current_exe()?;
    let of = |verb: &str, parts: &str| {
        format!("'{}' --dir '{}' {verb} {parts}", this.display(), cli.folder().display())
    };
    let struck = "participant-1 kafka-1 cassandra-1";
    let status = Command::new(handfast_e2e::binary()?)
        .args(["demo", "--endpoint", &cluster.endpoints().join(",")])
        .arg("--definition")
        .arg(cluster.definition_path())
        .args(["--strike", &of("kill", struck)])
        .args(["--mend", &of("start", struck)])
        .status()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints a cluster, and says whether all of it serves.
fn print_states(cli: &Cli, cluster: &Cluster) -> anyhow::Result<bool> {
    let states = cluster.states();
    let all = states.iter().all(|state| state.serves);
    let usual = if std::io::stdout().is_terminal() { Format::Table } else { Format::Json };
    let text = if cli.output.unwrap_or(usual) == Format::Table {
        table(&states, cluster)
    } else {
        serde_json::to_string_pretty(&json!({
            "folder": cluster.stack().folder(),
            "serves": all,
            "endpoints": cluster.endpoints(),
            "namespace_file": cluster.definition_path(),
            "parts": states,
        }))?
    };
    match writeln!(std::io::stdout().lock(), "{text}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to stdout")
        }
        Ok(()) | Err(_) => Ok(all),
    }
}

fn table(states: &[ServerState], cluster: &Cluster) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["PART", "ADDRESS", "STATE", "PID", "MEMORY", "LOG"]);
    table.add_rows(states.iter().map(|it| {
        let state = match (it.serves, it.pid) {
            (true, _) => "serves",
            (false, Some(_)) => "does not answer",
            (false, None) => "down",
        };
        [
            it.name.clone(),
            it.address.to_string(),
            state.to_owned(),
            it.pid.map_or_else(String::new, |pid| pid.to_string()),
            it.resident_bytes.map_or_else(String::new, |bytes| format!("{} MB", bytes / 1_000_000)),
            it.log.display().to_string(),
        ]
    }));
    format!(
        "{}\n\nfor clients: export HANDFAST_ENDPOINT={}",
        table.trim_fmt(),
        cluster.endpoints().join(",")
    )
}
