//! `handfast check`: whether a history is as a consistency model promises. It talks to no server.

use std::fs::File;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use handfast_checker::{
    Consistency, Format, History, HistoryError, Model, Options, Part, Validity, Verdict,
};

use crate::cli::Global;
use crate::exit::{self, Failure};
use crate::output;

/// What `handfast check` is given.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Exits 0 if the history is valid, 1 if it is not, 5 if that cannot be decided (never treat it as valid),
2 if the history cannot be read.

Examples:
  handfast check history.edn
  handfast check history.jsonl --model append --consistency snapshot-isolation
  handfast check history.edn --resolved resolved.edn --durability
  handfast check history.edn -o json
  handfast check history.edn --dot cycles.dot && dot -Tsvg cycles.dot > cycles.svg")]
pub(crate) struct CheckArgs {
    /// The history: EDN, or JSON lines if its name ends in .jsonl, .ndjson or .json
    #[arg(value_name = "HISTORY")]
    file: PathBuf,
    /// What transactions do
    #[arg(long, value_enum, default_value = "auto")]
    model: ModelName,
    /// What must hold
    #[arg(long, value_enum, default_value = "strict-serializable")]
    consistency: ConsistencyName,
    /// What became of the operations that the history leaves as :info
    #[arg(long, value_name = "FILE")]
    resolved: Option<PathBuf>,
    /// Every acknowledged write must be seen by a later read of its key
    #[arg(long)]
    durability: bool,
    /// Every acknowledged write must be seen by the reads of this history, taken when all was over
    #[arg(long, value_name = "FILE")]
    last: Option<PathBuf>,
    /// A history with fewer operations that happened is not decided
    #[arg(long, default_value_t = 1, value_name = "COUNT")]
    at_least: usize,
    /// Where to draw the cycles, for Graphviz
    #[arg(long, value_name = "FILE")]
    dot: Option<PathBuf>,
}

/// What transactions do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ModelName {
    /// Append to lists and read them
    Append,
    /// Write registers and read them
    Register,
    /// Whatever the history has
    Auto,
}

/// What must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ConsistencyName {
    /// One order explains all reads, and keeps what was over before what then began
    StrictSerializable,
    /// One order explains all reads
    Serializable,
    /// Every transaction reads a snapshot, and none overwrites what it has not seen
    SnapshotIsolation,
}

/// Reads, checks, prints.
pub(crate) fn run(global: &Global, args: &CheckArgs) -> Result<(), Failure> {
    let history = read(args)?;
    let options = Options {
        model: match args.model {
            ModelName::Append => Some(Model::Append),
            ModelName::Register => Some(Model::Register),
            ModelName::Auto => None,
        },
        consistency: match args.consistency {
            ConsistencyName::StrictSerializable => Consistency::StrictSerializable,
            ConsistencyName::Serializable => Consistency::Serializable,
            ConsistencyName::SnapshotIsolation => Consistency::SnapshotIsolation,
        },
        durability: args.durability,
        at_least_ok: args.at_least,
        ..Options::default()
    };
    let verdict = match &args.last {
        None => handfast_checker::check(&history, &options),
        Some(path) => {
            let last = handfast_checker::read(open(path)?, Format::of(path).unwrap_or(Format::Edn))
                .map_err(|error| unreadable(path, &error))?;
            handfast_checker::check_with_last(&history, &last, &options)
        }
    };
    if let Some(path) = &args.dot {
        std::fs::write(path, handfast_checker::dot(&verdict))
            .map_err(|error| Failure::usage(format!("cannot write {}: {error}", path.display())))?;
    }
    if output::is_table(global) {
        output::text(verdict.to_string().trim_end())?;
    } else {
        output::one(global, verdict.to_json())?;
    }
    exit_code(&verdict)
}

fn read(args: &CheckArgs) -> Result<History, Failure> {
    let format = |path: &Path| Format::of(path).unwrap_or(Format::Edn);
    let Some(resolved) = &args.resolved else {
        return handfast_checker::read(open(&args.file)?, format(&args.file))
            .map_err(|error| unreadable(&args.file, &error));
    };
    handfast_checker::read_resolved(
        open(&args.file)?,
        format(&args.file),
        open(resolved)?,
        format(resolved),
    )
    .map_err(|(part, error)| match part {
        Part::History => unreadable(&args.file, &error),
        Part::Resolved => unreadable(resolved, &error),
    })
}

fn open(path: &Path) -> Result<File, Failure> {
    File::open(path)
        .map_err(|error| Failure::usage(format!("cannot open {}: {error}", path.display())))
}

fn unreadable(path: &Path, error: &HistoryError) -> Failure {
    Failure::usage(format!("{}: {error}", path.display()))
}

/// Stdout has said it; stderr says only what nobody may overlook.
fn exit_code(verdict: &Verdict) -> Result<(), Failure> {
    match verdict.valid {
        Validity::Valid => Ok(()),
        Validity::Invalid => Err(Failure { code: exit::ERROR, message: String::new() }),
        Validity::Unknown => Err(Failure {
            code: exit::TRY_AGAIN,
            message: "the verdict is unknown, which is not valid".to_owned(),
        }),
    }
}
