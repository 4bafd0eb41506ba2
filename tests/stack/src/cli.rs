//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use handfast_stack::StackSpec;

/// Real Kafka, Cassandra and PostgreSQL on loopback, without containers, for development and tests.
///
/// Kafka and Cassandra are fetched with Maven, once, into the user's cache folder; PostgreSQL is the one
/// that is installed. Needs a JDK, Maven and PostgreSQL, on Debian:
/// apt-get install default-jdk-headless maven postgresql
#[derive(Debug, Parser)]
#[command(name = "handfast-stack", version, arg_required_else_help = true)]
#[command(after_help = "\
Examples:
  handfast-stack up                          one broker, one node and PostgreSQL, in the background
  handfast-stack up --kafka 3 --cassandra 3 --postgres
  handfast-stack show -o json                addresses, process ids, memory, who serves
  handfast-stack down                        stop all of it; the data stay
  handfast-stack up                          the same again, on the same addresses and data
  handfast-stack wipe                        stop it and delete its data
  handfast-stack up --dir ./other --kafka 1  another stack, side by side")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Starts what does not run, waits until everything serves, and prints the addresses
    ///
    /// A stack that is up is left alone; of one that is half dead, the dead servers are started again.
    Up {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        place: Place,
    },
    /// Stops every server; data and addresses stay
    Down(Place),
    /// Kills every server and deletes data and logs
    Wipe(Place),
    /// Prints addresses, process ids, memory, and who serves; exits 1 unless all of it serves
    Show(Place),
    /// Fetches Kafka and Cassandra into the cache, so that nothing is fetched later
    Fetch(Output),
}

/// Which servers.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// Kafka brokers: 0, 1 or 3
    #[arg(long, value_name = "COUNT")]
    kafka: Option<usize>,
    /// Cassandra nodes: 0, 1 or 3
    #[arg(long, value_name = "COUNT")]
    cassandra: Option<usize>,
    /// PostgreSQL too
    #[arg(long)]
    postgres: bool,
    /// Let Java compile for speed rather than for a quick start: for benchmarks
    #[arg(long)]
    peak: bool,
}

impl Which {
    /// `None` if nothing was chosen.
    pub(crate) fn spec(&self) -> Option<StackSpec> {
        let chosen = self.kafka.is_some() || self.cassandra.is_some() || self.postgres || self.peak;
        let only_peak = self.kafka.is_none() && self.cassandra.is_none() && !self.postgres;
        let jit =
            if self.peak { handfast_stack::Jit::Peak } else { handfast_stack::Jit::QuickStart };
        let spec = if only_peak {
            StackSpec { jit, ..Self::usual() }
        } else {
            StackSpec {
                kafka: self.kafka.unwrap_or(0),
                cassandra: self.cassandra.unwrap_or(0),
                postgres: self.postgres,
                jit,
                ..StackSpec::default()
            }
        };
        chosen.then_some(spec)
    }

    /// What is started when nothing was chosen and nothing is there.
    pub(crate) fn usual() -> StackSpec {
        StackSpec { kafka: 1, cassandra: 1, postgres: true, ..StackSpec::default() }
    }
}

/// Where the stack is, and how to print it.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// The stack's folder [default: handfast-stack-<user id> in the folder for temporary files]
    #[arg(long, value_name = "FOLDER", env = "HANDFAST_STACK_DIR")]
    pub(crate) dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) output: Output,
}

impl Place {
    pub(crate) fn folder(&self) -> PathBuf {
        self.dir.clone().unwrap_or_else(|| {
            let user = rustix::process::getuid().as_raw();
            std::env::temp_dir().join(format!("handfast-stack-{user}"))
        })
    }
}

/// How to print.
#[derive(Debug, Args)]
pub(crate) struct Output {
    /// How to print data [default: table to a terminal, json otherwise]
    #[arg(short = 'o', long, value_enum, env = "HANDFAST_OUTPUT")]
    pub(crate) output: Option<Format>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Table,
    Json,
}
