//! The node that Maelstrom, or our runner, starts.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use handfast_maelstrom::node::{NodeOptions, run};

/// A node of a Handfast cluster that speaks Maelstrom's protocol: messages on stdin and stdout, logs on
/// stderr, the log and the tables in the lin-kv service.
#[derive(Debug, Parser)]
#[command(
    name = "handfast-maelstrom-node",
    after_help = "\
Examples:
  maelstrom test -w txn-list-append --bin target/release/handfast-maelstrom-node --node-count 3 \\
    --time-limit 20 --rate 100 --consistency-models strict-serializable --nemesis partition
  handfast-maelstrom -w lin-kv --faults cut,kill       # our runner, which starts nodes by itself"
)]
struct Arguments {
    /// Shards of the namespace; the same on every node
    #[arg(long, default_value_t = NodeOptions::default().shards, value_parser = clap::value_parser!(u16).range(1..=256))]
    shards: u16,
    /// How long a leader's lease runs, milliseconds
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(50..=60_000))]
    lease_ms: u64,
    /// After how long a leader that nobody hears is taken for dead, milliseconds
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(150..=60_000))]
    silence_ms: u64,
    /// A transaction is answered within so long, milliseconds (Maelstrom's clients wait 5000)
    #[arg(long, default_value_t = 4_000, value_parser = clap::value_parser!(u64).range(100..=600_000))]
    answer_txn_within_ms: u64,
    /// A read, write or cas is answered within so long, milliseconds (Maelstrom's clients wait 1000)
    #[arg(long, default_value_t = 900, value_parser = clap::value_parser!(u64).range(100..=600_000))]
    answer_key_within_ms: u64,
    /// After how long, at most, a request to lin-kv that was not answered is sent again, milliseconds
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(10..=60_000))]
    storage_timeout_ms: u64,
    /// Bytes of a shard's log after which a checkpoint is written
    #[arg(long, default_value_t = NodeOptions::default().checkpoint_every_bytes)]
    checkpoint_every_bytes: u64,
    /// Answers to what was committed carry commit_timestamp, which Maelstrom's schemas do not know
    #[arg(long)]
    commit_timestamps: bool,
}

fn main() -> ExitCode {
    let it = Arguments::parse();
    let options = NodeOptions {
        shards: it.shards,
        lease: Duration::from_millis(it.lease_ms),
        silence: Duration::from_millis(it.silence_ms),
        answer_txn_within: Duration::from_millis(it.answer_txn_within_ms),
        answer_key_within: Duration::from_millis(it.answer_key_within_ms),
        storage_timeout: Duration::from_millis(it.storage_timeout_ms),
        checkpoint_every_bytes: it.checkpoint_every_bytes,
        commit_timestamps: it.commit_timestamps,
    };
    match run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
