//! `handfast bench`: what the machine under it gives, in committed transactions.
//!
//! Closed loops: so many requests in flight, a new one for each answer. Every run checks afterwards that
//! the balances add up.

mod cluster;
mod delayed;
mod disk;
mod postgres;
mod process;
mod region;
mod report;
mod wire;
mod workload;

use std::path::Path;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use crate::cli::{Global, duration};
use crate::exit::Failure;
use crate::output;
use report::{Measured, Report, Surroundings};

/// What else can be measured.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum BenchVerb {
    /// Measure a running cluster, and plain Kafka and plain Cassandra beside it
    Cluster(cluster::ClusterBenchArgs),
    /// Measure how late is what is due later
    Delayed(delayed::DelayedBenchArgs),
    /// Measure how far one region is behind another
    Region(region::RegionBenchArgs),
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Workload {
    /// One row
    Write,
    /// Two rows of two tables on two partitions, without a condition
    Blind2,
    /// The same with a condition
    Transfer,
    /// Increments of one row
    Hot,
    /// Ten rows on ten partitions
    Blind10,
    /// Reads of two rows at one point
    Read2,
    /// One message, into the log alone
    Log,
}

/// How submissions travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Transport {
    /// No network: the engines in this process
    Process,
    /// gRPC, one call each
    Unary,
    /// gRPC, one stream
    Stream,
}

#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "\
Examples:
  handfast bench
  handfast bench cluster bank.toml --endpoint http://10.0.0.5:7420
  handfast bench --workload transfer --transport stream --in-flight 256 --duration 30s -o json")]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    pub(crate) what: Option<BenchVerb>,
    /// What to measure; may be repeated [default: all]
    #[arg(long, value_enum)]
    pub(crate) workload: Vec<Workload>,
    /// How submissions travel; may be repeated [default: all]
    #[arg(long, value_enum)]
    pub(crate) transport: Vec<Transport>,
    /// Submissions in flight; may be repeated
    #[arg(long, default_values_t = [1, 16, 256])]
    pub(crate) in_flight: Vec<usize>,
    /// How long each measurement takes
    #[arg(long, default_value = "10s", value_parser = duration, value_name = "DURATION")]
    pub(crate) duration: Duration,
    /// Rows, spread over two tables
    #[arg(long, default_value_t = 10_000)]
    pub(crate) rows: u64,
    /// Bytes of a value
    #[arg(long, default_value_t = 100)]
    pub(crate) value_bytes: usize,
    /// Mebibytes of log kept before it is trimmed
    #[arg(long, default_value_t = 1024)]
    pub(crate) retain_mib: u64,
    /// Leave PostgreSQL out even where it is installed
    #[arg(long)]
    pub(crate) without_postgresql: bool,
    /// Folder for the data [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<std::path::PathBuf>,
}

impl Workload {
    const ALL: [Self; 7] = [
        Self::Write,
        Self::Blind2,
        Self::Transfer,
        Self::Hot,
        Self::Blind10,
        Self::Read2,
        Self::Log,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Blind2 => "blind2",
            Self::Transfer => "transfer",
            Self::Hot => "hot",
            Self::Blind10 => "blind10",
            Self::Read2 => "read2",
            Self::Log => "log",
        }
    }

    /// Whether the balances changed by what was committed, and by nothing else.
    fn check(self, before: i64, after: i64, measured: &Measured) -> Option<bool> {
        let (committed, unknown) = (measured.committed as i64, measured.unknown as i64);
        match self {
            Self::Transfer => Some(after == before),
            Self::Hot => Some((committed..=committed + unknown).contains(&(after - before))),
            Self::Write | Self::Blind2 | Self::Blind10 | Self::Read2 | Self::Log => None,
        }
    }
}

impl Transport {
    const ALL: [Self; 3] = [Self::Process, Self::Unary, Self::Stream];

    const fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Unary => "unary",
            Self::Stream => "stream",
        }
    }
}

/// Runs the benchmark.
pub(crate) async fn command(global: &Global, args: BenchArgs) -> Result<(), Failure> {
    match args.what {
        Some(BenchVerb::Cluster(args)) => return cluster::command(global, args).await,
        Some(BenchVerb::Delayed(args)) => return delayed::command(global, args).await,
        Some(BenchVerb::Region(args)) => return region::command(global, args).await,
        None => {}
    }
    let temporary = tempfile::tempdir().map_err(Failure::error)?;
    let folder = args.data.clone().unwrap_or_else(|| temporary.path().to_owned());
    let report = measure(&folder, &args).await?;
    if output::is_table(global) {
        let (columns, lines) = report.lines();
        output::many(global, columns, lines)?;
        eprintln!("{}", report.surroundings);
    } else {
        output::one(global, serde_json::to_value(&report).map_err(Failure::error)?)?;
    }
    if report.measured.iter().any(|measured| measured.sum == Some(false)) {
        return Err(Failure::error(
            "the balances do not add up: keep the data folder and report this",
        ));
    }
    Ok(())
}

async fn measure(folder: &Path, args: &BenchArgs) -> anyhow::Result<Report> {
    let workloads = if args.workload.is_empty() { &Workload::ALL[..] } else { &args.workload };
    let transports = if args.transport.is_empty() { &Transport::ALL[..] } else { &args.transport };
    std::fs::create_dir_all(folder)?;
    let mut report = Report { surroundings: Surroundings::of(folder)?, measured: Vec::new() };
    if transports.contains(&Transport::Process) {
        let process = process::InProcess::start(&folder.join("process"), args).await?;
        for (workload, in_flight) in pairs(workloads, args) {
            progress(&report.add(process.run(workload, in_flight, args)?));
        }
        report.surroundings.served("process", std::process::id(), Some(process.id_window_ms()));
        process.stop();
    }
    let remote: Vec<_> = transports.iter().filter(|t| **t != Transport::Process).collect();
    if !remote.is_empty() {
        let wire = wire::OverWire::start(&folder.join("wire"), args).await?;
        for transport in remote {
            for (workload, in_flight) in pairs(workloads, args) {
                progress(&report.add(wire.run(workload, *transport, in_flight, args).await?));
            }
        }
        report.surroundings.served("grpc", wire.process(), None);
        wire.stop().await?;
    }
    if let Some(bin) = postgres::installed().filter(|_| !args.without_postgresql) {
        let seconds = args.duration.as_secs().max(1);
        match postgres::measure(&bin, &folder.join("postgresql"), &[1, 64], seconds) {
            Ok(measured) => measured.into_iter().for_each(|m| progress(&report.add(m))),
            Err(error) => eprintln!("PostgreSQL was not measured: {error:#}"),
        }
    }
    Ok(report)
}

fn pairs(workloads: &[Workload], args: &BenchArgs) -> Vec<(Workload, usize)> {
    let of = |workload| args.in_flight.iter().map(move |in_flight| (workload, *in_flight));
    workloads.iter().copied().flat_map(of).collect()
}

fn progress(measured: &Measured) {
    eprintln!(
        "{:<9} {:<10} {:>4} in flight: {:>8.0}/s",
        measured.workload, measured.transport, measured.in_flight, measured.per_second
    );
}
