//! The command line.

mod delayed;
mod deliveries;
mod region;
mod serve;
mod write;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use handfast_client::Uuid;
use handfast_proto::DEFAULT_ENDPOINT;

use crate::bench::BenchArgs;
use crate::commands::check::CheckArgs;

pub(crate) use delayed::{DelayedVerb, DueArgs};
pub(crate) use deliveries::{DeadLettersVerb, TargetVerb, WhichLetters};
pub(crate) use region::RegionVerb;
pub(crate) use serve::{ClusterArgs, ConnectionArgs, Role, ServeArgs};
pub(crate) use write::WriteArgs;

/// Batches of writes and conditions over many tables and partitions, committed as a whole or not at all.
#[derive(Debug, Parser)]
#[command(name = "handfast", version, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = "\
Exit codes: 0 ok, 1 error, 2 usage, 3 not found, 4 conflict (aborted, already exists), 5 try again
(unavailable, overloaded, unknown).

Examples:
  handfast demo                                        see it work, in a temporary folder
  handfast serve --data ./data --namespace bank.toml   run a server
  handfast submit --namespace bank transfer.json       commit a batch")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command understands.
#[derive(Clone, Debug, Args)]
pub(crate) struct Global {
    /// How to print data [default: table to a terminal, json otherwise]
    #[arg(short = 'o', long, global = true, value_enum, env = "HANDFAST_OUTPUT")]
    pub(crate) output: Option<Format>,
    /// Servers to talk to: the first that answers, then the next when it fails
    #[arg(
        long, global = true, env = "HANDFAST_ENDPOINT", value_delimiter = ',',
        default_value = DEFAULT_ENDPOINT, value_name = "URL"
    )]
    pub(crate) endpoint: Vec<String>,
    /// How long to go on trying, such as 500ms, 30s, 5m
    #[arg(long, global = true, default_value = "30s", value_parser = duration)]
    pub(crate) timeout: Duration,
    /// What to log on stderr: error, warn, info, debug, trace, or a filter such as coordinator=debug
    #[arg(
        long,
        global = true,
        env = "HANDFAST_LOG",
        default_value = "info",
        value_name = "FILTER"
    )]
    pub(crate) log: String,
    /// How to log
    #[arg(long, global = true, env = "HANDFAST_LOG_FORMAT", value_enum, default_value = "text")]
    pub(crate) log_format: LogFormat,
}

/// How data is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Table,
    /// One JSON value
    Json,
    /// One JSON value a line
    Jsonl,
}

/// How logs are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// One JSON value a line
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a server
    Serve(ServeArgs),
    /// Watch transactions commit, fail, and survive kill -9, in a temporary folder
    Demo(DemoArgs),
    /// Commit a batch from a JSON file or stdin
    Submit(SubmitArgs),
    /// Read rows at one point of the serial order
    Read(ReadArgs),
    /// Say what became of a transaction
    Outcome(OutcomeArgs),
    /// Tell the life of a transaction, from the logs of its shards
    Explain(ExplainArgs),
    /// Write a message into the log
    Write(WriteArgs),
    /// Print what commits, as it commits
    Subscribe(SubscribeArgs),
    /// Look at transactions
    #[command(subcommand)]
    Txn(Txn),
    /// List rows that the tables refuse for good, try them again, or give them up
    #[command(subcommand)]
    Parked(Parked),
    /// List the targets that messages are delivered to, and try again what waits
    #[command(subcommand)]
    Target(TargetVerb),
    /// List messages that were given up, send them again, or discard them
    #[command(subcommand)]
    DeadLetters(DeadLettersVerb),
    /// List what is due later, cancel it, or schedule it anew
    #[command(subcommand)]
    Delayed(DelayedVerb),
    /// Look at the regions of a namespace, and fail over from one to another
    #[command(subcommand)]
    Region(RegionVerb),
    /// Create, validate, list, describe, change and pin namespaces
    #[command(subcommand)]
    Namespace(NamespaceVerb),
    /// Create and list pools of participants
    #[command(subcommand)]
    Pool(PoolVerb),
    /// Show the shards of a namespace, who leads them, and how they are
    Status(StatusArgs),
    /// Check a history of operations for anomalies, such as Jepsen writes
    Check(CheckArgs),
    /// Measure
    Bench(BenchArgs),
    /// Print a completion script for a shell
    #[command(
        after_help = "Example:\n  handfast completions bash > /etc/bash_completion.d/handfast"
    )]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Print the version
    #[command(after_help = "Example:\n  handfast version -o json")]
    Version,
}

#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Exits 0 only if everything that it claims was seen to hold.

Examples:
  handfast demo
  handfast demo --keep        afterwards, leave the server running to play with
  handfast demo --endpoint http://10.0.0.5:7420,http://10.0.0.6:7420 --definition bank.toml \\
                --strike 'ssh p1 pkill -9 handfast' --mend 'ssh p1 systemctl start handfast'")]
pub(crate) struct DemoArgs {
    /// Leave the server running afterwards, until Ctrl-C
    #[arg(long)]
    pub(crate) keep: bool,
    /// Play on the servers of --endpoint instead, in a new namespace like the one of this file
    #[arg(long, value_name = "FILE", conflicts_with = "keep")]
    pub(crate) definition: Option<PathBuf>,
    /// What to do to them in the middle
    #[arg(long, value_name = "COMMAND", requires = "definition")]
    pub(crate) strike: Option<String>,
    /// How to bring back what was struck
    #[arg(long, value_name = "COMMAND", requires = "definition")]
    pub(crate) mend: Option<String>,
}

#[derive(Clone, Debug, Args)]
#[command(after_help = "\
The batch is JSON with `mutations` and `conditions`; an `id` in it, or --id, makes the command safe to
repeat. Aborted exits 4, an outcome that is not known yet 5.

Examples:
  handfast submit --namespace bank examples/transfer.json
  handfast submit --namespace bank - < examples/transfer.json
  handfast submit --namespace bank transfer.json --wait applied --id $ID
  handfast submit --namespace bank transfer.json --dry-run")]
pub(crate) struct SubmitArgs {
    /// The batch; - is stdin
    #[arg(default_value = "-", value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The namespace
    #[arg(short, long, env = "HANDFAST_NAMESPACE")]
    pub(crate) namespace: String,
    /// The transaction's id, a UUID of version 7 [default: the batch's own, or a new one]
    #[arg(long, value_name = "UUID")]
    pub(crate) id: Option<Uuid>,
    /// What to wait for
    #[arg(long, value_enum, default_value = "committed")]
    pub(crate) wait: Wait,
    /// Check the batch and print where it would go; submit nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) due: DueArgs,
}

/// What to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Wait {
    /// Durable: it will be driven to an outcome
    Logged,
    /// Decided
    Committed,
    /// Visible in every table store
    Applied,
}

#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Rows are JSON: {\"table\": …, \"key\": {…}}, or TABLE and one value for each part of the key.

Examples:
  handfast read --namespace bank accounts alice
  handfast read --namespace bank --row '{\"table\":\"accounts\",\"key\":{\"id\":\"alice\"}}' \\
                --row '{\"table\":\"accounts\",\"key\":{\"id\":\"bob\"}}'")]
pub(crate) struct ReadArgs {
    /// The namespace
    #[arg(short, long, env = "HANDFAST_NAMESPACE")]
    pub(crate) namespace: String,
    /// The table, then the values of the row's key
    #[arg(value_name = "TABLE KEY…", required_unless_present = "row")]
    pub(crate) target: Vec<String>,
    /// A row as JSON; may be repeated, all are read at one point
    #[arg(long, value_name = "JSON")]
    pub(crate) row: Vec<String>,
    /// Wait until a region has sent what it committed at or before a time, such as eu=1767225600000000: the commit
    /// timestamp of a transaction that was submitted there
    #[arg(long, value_name = "REGION=MICROSECONDS")]
    pub(crate) not_before: Vec<String>,
}

#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  handfast outcome $ID --namespace bank
  handfast outcome $ID --namespace bank --wait applied
  handfast outcome $ID --namespace bank --fence")]
pub(crate) struct OutcomeArgs {
    /// The transaction's id
    pub(crate) id: Uuid,
    /// The namespace
    #[arg(short, long, env = "HANDFAST_NAMESPACE")]
    pub(crate) namespace: String,
    /// Its home shard, if known: then only that is asked
    #[arg(long)]
    pub(crate) home: Option<u32>,
    /// Bar it from ever committing, unless it has committed already
    #[arg(long, conflicts_with = "wait")]
    pub(crate) fence: bool,
    /// Wait for this, as long as --timeout
    #[arg(long, value_enum)]
    pub(crate) wait: Option<Wait>,
}

#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Example:
  handfast explain $ID --namespace bank")]
pub(crate) struct ExplainArgs {
    /// The transaction's id
    pub(crate) id: Uuid,
    /// The namespace
    #[arg(short, long, env = "HANDFAST_NAMESPACE")]
    pub(crate) namespace: String,
}

#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Prints a line of JSON for each transaction, those of one shard in the order in which they committed, until
Ctrl-C. With --resume nothing is missed between two runs, and a transaction is printed twice only if the
command was killed between printing it and keeping its place.

Examples:
  handfast subscribe --namespace bank
  handfast subscribe --namespace bank --from-beginning --table transfers --count 10
  handfast subscribe --namespace bank --resume place.bin | my-consumer
  handfast subscribe --namespace bank --parts --row '{\"table\":\"accounts\",\"key\":{\"id\":\"alice\"}}'")]
pub(crate) struct SubscribeArgs {
    /// The namespace
    #[arg(short, long, env = "HANDFAST_NAMESPACE")]
    pub(crate) namespace: String,
    /// Begin with the first transaction that is left in the log, not with what commits from now on
    #[arg(long)]
    pub(crate) from_beginning: bool,
    /// A file that keeps where to go on; where it is there already, it is gone on from there
    #[arg(long, value_name = "FILE")]
    pub(crate) resume: Option<PathBuf>,
    /// Let each participant tell its own rows, with the results of what was added
    #[arg(long)]
    pub(crate) parts: bool,
    /// Only transactions that write this table; may be given again
    #[arg(long)]
    pub(crate) table: Vec<String>,
    /// Only transactions that write this row: {\"table\": …, \"key\": {…}}; may be given again
    #[arg(long, value_name = "JSON")]
    pub(crate) row: Vec<String>,
    /// Only transactions that carry messages
    #[arg(long)]
    pub(crate) messages: bool,
    /// Only of this shard; may be given again
    #[arg(long)]
    pub(crate) shard: Vec<u16>,
    /// End after so many transactions
    #[arg(long)]
    pub(crate) count: Option<u64>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Txn {
    /// List transactions
    #[command(after_help = "\
Examples:
  handfast txn list --unresolved --namespace bank
  handfast txn list --unresolved --namespace bank --min-age 10s -o jsonl")]
    List(TxnListArgs),
}

#[derive(Clone, Debug, Args)]
pub(crate) struct TxnListArgs {
    /// Those that are durable and undecided (the only list so far)
    #[arg(long, required = true)]
    pub(crate) unresolved: bool,
    /// The namespace
    #[arg(short, long, env = "HANDFAST_NAMESPACE")]
    pub(crate) namespace: String,
    /// Only those at least so old
    #[arg(long, default_value = "0s", value_parser = duration, value_name = "DURATION")]
    pub(crate) min_age: Duration,
    /// At most so many
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) limit: u32,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Parked {
    /// List them, with what the tables say of each
    #[command(after_help = "\
Examples:
  handfast parked list --namespace bank
  handfast parked list --namespace bank -o jsonl")]
    List(ParkedListArgs),
    /// Try them again at once, not only every 30 s; answers before the tables have: list them to see
    #[command(after_help = "\
Examples:
  handfast parked retry --namespace bank --all
  handfast parked retry --namespace bank --table accounts
  handfast parked retry --namespace bank accounts alice")]
    Retry(ParkedRetryArgs),
    /// Give up what is parked of rows, for good: it will never reach the tables
    #[command(after_help = "\
What is given up cannot be brought back: keep the output of `handfast parked list -o jsonl`.

Examples:
  handfast parked discard --namespace bank accounts alice
  handfast parked discard --namespace bank --table accounts")]
    Discard(ParkedRowsArgs),
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ParkedListArgs {
    /// The namespace
    #[arg(short, long, env = "HANDFAST_NAMESPACE")]
    pub(crate) namespace: String,
    /// At most so many
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) limit: u32,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ParkedRowsArgs {
    /// The namespace
    #[arg(short, long, env = "HANDFAST_NAMESPACE")]
    pub(crate) namespace: String,
    /// The table, then the values of the row's key
    #[arg(value_name = "TABLE KEY…", required_unless_present_any = ["row", "table"])]
    pub(crate) target: Vec<String>,
    /// A row as JSON, {"table": …, "key": {…}}; may be repeated
    #[arg(long, value_name = "JSON", conflicts_with = "table")]
    pub(crate) row: Vec<String>,
    /// All parked rows of this table
    #[arg(long, conflicts_with = "target")]
    pub(crate) table: Option<String>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ParkedRetryArgs {
    /// The namespace
    #[arg(short, long, env = "HANDFAST_NAMESPACE")]
    pub(crate) namespace: String,
    /// The table, then the values of the row's key
    #[arg(value_name = "TABLE KEY…", required_unless_present_any = ["row", "table", "all"])]
    pub(crate) target: Vec<String>,
    /// A row as JSON, {"table": …, "key": {…}}; may be repeated
    #[arg(long, value_name = "JSON", conflicts_with = "table")]
    pub(crate) row: Vec<String>,
    /// All parked rows of this table
    #[arg(long, conflicts_with = "target")]
    pub(crate) table: Option<String>,
    /// All parked rows of the namespace
    #[arg(long, conflicts_with_all = ["target", "row", "table"])]
    pub(crate) all: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum NamespaceVerb {
    /// Create a namespace from its file
    #[command(after_help = "Example:\n  handfast namespace create examples/bank.toml")]
    Create {
        /// The definition; - is stdin
        file: PathBuf,
    },
    /// Check a file, and whether its namespace may be changed so; change nothing
    #[command(after_help = "Example:\n  handfast namespace validate examples/bank.toml")]
    Validate {
        /// The definition; - is stdin
        file: PathBuf,
    },
    /// List all namespaces
    #[command(after_help = "Example:\n  handfast namespace list -o jsonl")]
    List,
    /// Show one namespace
    #[command(after_help = "\
Examples:
  handfast namespace describe bank
  handfast namespace describe bank --definition > bank.toml")]
    Describe {
        /// Its name
        name: String,
        /// Print its file as it was given, and nothing else
        #[arg(long)]
        definition: bool,
    },
    /// Make a new version of a namespace
    #[command(after_help = "Example:\n  handfast namespace change bank.toml --expected-version 3")]
    Change {
        /// The whole new definition; - is stdin
        file: PathBuf,
        /// The version that the change was made from
        #[arg(long)]
        expected_version: u32,
        /// Give up what targets that are left out have not delivered
        #[arg(long)]
        give_up_pending: bool,
    },
    /// Have a namespace's shards led by the participants of one pool
    Pin(PinArgs),
    /// Give up a log in Kafka that is lost, and begin a new one; says first what is lost with it
    Recover(RecoverArgs),
}

#[derive(Clone, Debug, Args)]
#[command(after_help = "\
For a topic that was deleted, deleted and made anew, or cut: servers then say that it is not the log that
was written. Without --yes this says what is lost, changes nothing, and exits 1. Run it where the brokers,
the nodes and the control plane's database can be reached; servers need not run, and those that do serve
the namespace again by themselves.

Examples:
  handfast namespace recover bank --new-log --control postgres://handfast@db/handfast
  handfast namespace recover bank --new-log --control postgres://handfast@db/handfast --yes")]
pub(crate) struct RecoverArgs {
    /// The namespace
    pub(crate) name: String,
    /// Begin a new log (the only recovery so far)
    #[arg(long, required = true)]
    pub(crate) new_log: bool,
    /// Database of the control plane: postgres://user@host/database
    #[arg(long, env = "HANDFAST_CONTROL", value_name = "URL")]
    pub(crate) control: String,
    /// How far clients' clocks may run ahead: ids drawn until then are answered as too old
    #[arg(long, default_value = "5m", value_parser = duration, value_name = "DURATION")]
    pub(crate) clocks_ahead: Duration,
    /// Do it
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Clone, Debug, Args)]
#[command(after_help = "\
The servers hand the shards over within seconds of hearing of it.

Examples:
  handfast namespace pin bank apart --note 'it is noisy'
  handfast namespace pin bank default")]
pub(crate) struct PinArgs {
    /// Its name
    pub(crate) name: String,
    /// The pool
    pub(crate) pool: String,
    /// Why, for those who come later
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) note: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PoolVerb {
    /// Create a pool; participants join it with serve --pool NAME
    #[command(after_help = "Example:\n  handfast pool create apart --note 'noisy tenants'")]
    Create {
        /// Its name: lower-case letters, digits and '-'
        name: String,
        /// Why, for those who come later
        #[arg(long, default_value = "", hide_default_value = true)]
        note: String,
    },
    /// List all pools, and the namespaces that each serves
    #[command(after_help = "Example:\n  handfast pool list")]
    List,
}

#[derive(Clone, Debug, Args)]
#[command(after_help = "Example:\n  handfast status bank")]
pub(crate) struct StatusArgs {
    /// The namespace
    #[arg(env = "HANDFAST_NAMESPACE")]
    pub(crate) namespace: String,
}

/// Prints a completion script.
pub(crate) fn completions(shell: clap_complete::Shell) {
    clap_complete::generate(shell, &mut Cli::command(), "handfast", &mut std::io::stdout());
}

/// A duration as people write it: a number and ms, s, m or h.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 =
        number.parse().map_err(|_| "write a number and a unit, such as 500ms or 30s".to_owned())?;
    let ms = match unit {
        "ms" => Some(number),
        "s" => number.checked_mul(1_000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        "d" => number.checked_mul(86_400_000),
        _ => return Err(format!("unknown unit {unit:?}: use ms, s, m, h or d")),
    };
    ms.map(Duration::from_millis).ok_or_else(|| "that is too long".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent_and_every_verb_has_an_example() {
        Cli::command().debug_assert();
        fn check(command: &clap::Command) {
            if command.has_subcommands() {
                command.get_subcommands().for_each(check);
            } else {
                let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.contains("Example"), "{} has no example", command.get_name());
            }
        }
        check(&Cli::command());
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("1d"), Ok(Duration::from_secs(86_400)));
        for wrong in ["", "5", "s", "5y", "99999999999999999999s", "18446744073709551615h"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
