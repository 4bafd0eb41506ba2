//! The benchmark's command line.

use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::cli::{Global, duration};
use crate::exit::Failure;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Workload {
    /// One row
    Write,
    /// Two rows of two tables on two partitions, conditional
    Transfer,
    /// Increments of one row
    Hot,
    /// Ten rows on ten partitions
    Blind10,
    /// Reads of two rows at one point
    Read2,
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
#[command(after_help = "\
Examples:
  handfast bench
  handfast bench --workload transfer --transport stream --in-flight 256 --duration 30s -o json")]
pub(crate) struct BenchArgs {
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
    /// Folder for the data [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<std::path::PathBuf>,
}

/// Runs the benchmark.
pub(crate) async fn command(_global: &Global, args: BenchArgs) -> Result<(), Failure> {
    Err(Failure::error(format!("bench is not part of this build yet: {args:?}")))
}
