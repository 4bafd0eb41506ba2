//! The command line of `handfast target` and `handfast dead-letters`.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::duration;

/// `handfast target`.
#[derive(Debug, Subcommand)]
pub(crate) enum TargetVerb {
    /// List the targets of a namespace, and how delivering to them stands
    #[command(after_help = "\
In a cluster the asked server tells how much waits of the shards that it delivers itself, see -o json.

Examples:
  handfast target list --namespace bank
  handfast target list --namespace bank -o json")]
    List {
        /// The namespace
        #[arg(short, long, env = "HANDFAST_NAMESPACE")]
        namespace: String,
    },
    /// Try whatever waits for a retry at once, of the shards that the asked server delivers
    #[command(after_help = "Example:\n  handfast target retry --namespace bank shipping")]
    Retry {
        /// The namespace
        #[arg(short, long, env = "HANDFAST_NAMESPACE")]
        namespace: String,
        /// The target
        target: String,
    },
}

/// `handfast dead-letters`.
#[derive(Debug, Subcommand)]
pub(crate) enum DeadLettersVerb {
    /// List dead letters, the oldest burial first
    #[command(after_help = "\
Examples:
  handfast dead-letters list --namespace bank
  handfast dead-letters list --namespace bank --target shipping --since 1h")]
    List {
        #[command(flatten)]
        which: WhichLetters,
        /// List at most so many
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
    /// Show one dead letter whole: its message, and how it was tried
    #[command(after_help = "Example:\n  handfast dead-letters show --namespace bank $ID/0")]
    Show {
        /// The namespace
        #[arg(short, long, env = "HANDFAST_NAMESPACE")]
        namespace: String,
        /// Its name, ID/INDEX
        name: String,
    },
    /// Print dead letters whole, one JSON value a line
    #[command(
        after_help = "Example:\n  handfast dead-letters export --namespace bank > letters.jsonl"
    )]
    Export {
        #[command(flatten)]
        which: WhichLetters,
    },
    /// Send dead letters again: those that arrive are none any more
    #[command(after_help = "\
One after the other for each shard, under the same names as before, so that a target that tells repeats
takes none twice. They come after what has been delivered since: the order of their keys is lost.

Choosing them is durable, and sending goes on by itself: Ctrl-C ends the waiting, or the choosing of more.

Examples:
  handfast dead-letters redrive --namespace bank --target shipping --dry-run
  handfast dead-letters redrive --namespace bank --target shipping --wait 10m
  handfast dead-letters redrive --namespace bank --target shipping --rate 50
  handfast dead-letters redrive --namespace bank $ID/0")]
    Redrive {
        #[command(flatten)]
        which: WhichLetters,
        /// Say how many it would be, and do nothing
        #[arg(long)]
        dry_run: bool,
        /// Choose at most so many in a second, evenly, with progress; Ctrl-C leaves the rest as it is
        #[arg(long, value_name = "PER_SECOND", value_parser = clap::value_parser!(u32).range(1..))]
        rate: Option<u32>,
        /// Wait until none of them is on its way any more, for so long at most, and say how many were
        /// delivered, are dead again, or are left
        #[arg(long, value_parser = duration, value_name = "DURATION", conflicts_with = "dry_run")]
        wait: Option<Duration>,
    },
    /// Do not send them again after all, as far as that has not happened yet
    #[command(after_help = "Example:\n  handfast dead-letters cancel --namespace bank")]
    Cancel {
        #[command(flatten)]
        which: WhichLetters,
    },
    /// Give dead letters up for good
    #[command(after_help = "\
What is given up cannot be brought back: keep the output of `handfast dead-letters export`.

Examples:
  handfast dead-letters discard --namespace bank $ID/0
  handfast dead-letters discard --namespace bank --target shipping --before 30d --dry-run")]
    Discard {
        #[command(flatten)]
        which: WhichLetters,
        /// Say how many it would be, and do nothing
        #[arg(long)]
        dry_run: bool,
    },
}

/// Which dead letters. Whatever is given must hold.
#[derive(Clone, Debug, Args)]
pub(crate) struct WhichLetters {
    /// The namespace
    #[arg(short, long, env = "HANDFAST_NAMESPACE")]
    pub(crate) namespace: String,
    /// These, by name, ID/INDEX [default: all that the options choose]
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// Of this target
    #[arg(long)]
    pub(crate) target: Option<String>,
    /// Of this key
    #[arg(long)]
    pub(crate) key: Option<String>,
    /// Given up no longer ago than this
    #[arg(long, value_parser = duration, value_name = "DURATION")]
    pub(crate) since: Option<Duration>,
    /// Given up longer ago than this
    #[arg(long, value_parser = duration, value_name = "DURATION")]
    pub(crate) before: Option<Duration>,
}
