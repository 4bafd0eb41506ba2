//! The command line of `handfast delayed`, and how others say when something is due.

use std::time::Duration;

use clap::{Args, Subcommand};
use handfast_client::Uuid;

use super::duration;

/// When something is due; now if nothing is said.
#[derive(Clone, Debug, Args)]
pub(crate) struct DueArgs {
    /// Not now, but so long after the time in the id
    #[arg(long, value_name = "DURATION", value_parser = duration, conflicts_with = "at")]
    pub(crate) after: Option<Duration>,
    /// Not now, but at this time, such as 2027-01-31T08:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Option<String>,
    /// Not now, but when the namespace says by default
    #[arg(long, conflicts_with_all = ["after", "at"])]
    pub(crate) later: bool,
    /// Up to so much later than that, by chance
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) jitter: Option<Duration>,
}

/// `handfast delayed`.
#[derive(Debug, Subcommand)]
pub(crate) enum DelayedVerb {
    /// List what is due later, the next first
    #[command(after_help = "\
Examples:
  handfast delayed list --namespace bank
  handfast delayed list --namespace bank --within 1h --limit 20
  handfast delayed list --namespace bank --refused")]
    List {
        /// The namespace
        #[arg(short, long, env = "HANDFAST_NAMESPACE")]
        namespace: String,
        /// What was refused when it was due, and waits for somebody
        #[arg(long)]
        refused: bool,
        /// What is due within so long
        #[arg(long, value_name = "DURATION", value_parser = duration)]
        within: Option<Duration>,
        /// List at most so many
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
    /// Show one: when it is due, what it does, and why it was refused
    #[command(after_help = "Example:\n  handfast delayed show --namespace bank $ID/0")]
    Show {
        /// The namespace
        #[arg(short, long, env = "HANDFAST_NAMESPACE")]
        namespace: String,
        /// Its name, ID/PLACE
        name: String,
    },
    /// How many are due later, and how many were refused
    #[command(after_help = "Example:\n  handfast delayed count --namespace bank")]
    Count {
        /// The namespace
        #[arg(short, long, env = "HANDFAST_NAMESPACE")]
        namespace: String,
    },
    /// Cancel one: it is never done
    #[command(after_help = "\
Exits 4 if it was not pending any more: it was done, or cancelled before.

Examples:
  handfast delayed cancel --namespace bank $ID/0
  handfast delayed cancel --namespace bank $ID/0 --id $CHANGE")]
    Cancel {
        /// The namespace
        #[arg(short, long, env = "HANDFAST_NAMESPACE")]
        namespace: String,
        /// Its name, ID/PLACE
        name: String,
        /// Of this change, a UUID of version 7: with it the command is safe to repeat [default: a new one]
        #[arg(long, value_name = "UUID")]
        id: Option<Uuid>,
    },
    /// Schedule one anew, also if it was refused
    #[command(after_help = "\
Exits 4 if it was not pending any more: it was done, or cancelled before.

Examples:
  handfast delayed reschedule --namespace bank $ID/0 --after 10m
  handfast delayed reschedule --namespace bank $ID/0 --at 2027-01-31T08:00:00Z")]
    Reschedule {
        /// The namespace
        #[arg(short, long, env = "HANDFAST_NAMESPACE")]
        namespace: String,
        /// Its name, ID/PLACE
        name: String,
        #[command(flatten)]
        due: DueArgs,
        /// Of this change, a UUID of version 7: with it the command is safe to repeat [default: a new one]
        #[arg(long, value_name = "UUID")]
        id: Option<Uuid>,
    },
}
