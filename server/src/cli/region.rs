//! The command line of `handfast region`.

use std::time::Duration;

use clap::Subcommand;

use super::duration;

/// `handfast region`.
#[derive(Debug, Subcommand)]
pub(crate) enum RegionVerb {
    /// List the regions of a namespace: what has arrived from each, and how far each is behind
    #[command(after_help = "\
What is sent is told by the server that sends it; where there are several, ask each (--endpoint).

Examples:
  handfast region list bank
  handfast region list bank -o json")]
    List {
        /// The namespace
        namespace: String,
    },
    /// Move the homes of tables to another region
    #[command(after_help = "\
Says what will happen, and what would be lost, and changes nothing without --yes.

Planned, both regions answer: the old home refuses writes, everything that it has committed is waited for, then
the new home takes writes. Nothing is lost; writes fail for some seconds. The same again goes on where it was
interrupted, and `--to` the old home goes back.

With --force, when the old home is gone: the new home takes writes at once, without what has not arrived.

Examples:
  handfast region failover bank --to us
  handfast region failover bank --to us --yes
  handfast region failover bank --to us --force --yes --endpoint http://10.1.0.1:7420")]
    Failover {
        /// The namespace
        namespace: String,
        /// The new home
        #[arg(long, value_name = "REGION")]
        to: String,
        /// The old home [default: the only one, if there is one only]
        #[arg(long, value_name = "REGION")]
        from: Option<String>,
        /// Do not ask the old home: it is gone
        #[arg(long)]
        force: bool,
        /// Do it
        #[arg(long)]
        yes: bool,
        /// Wait so long for what has not arrived
        #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "5m")]
        within: Duration,
    },
    /// Say up to when everything of another region is here: after its tables were copied by hand, or earlier than
    /// that, to have the rest sent again
    #[command(after_help = "\
Rows are merged by their write times: to have them again changes nothing. What the other region's log does not
have any more cannot be sent again.

Examples:
  handfast region accept bank --from eu --until 2026-11-22T08:00:00Z
  handfast region accept bank --from eu --beginning")]
    Accept {
        /// The namespace
        namespace: String,
        /// From which region
        #[arg(long, value_name = "REGION")]
        from: String,
        /// Up to when
        #[arg(long, value_name = "TIME", required_unless_present = "beginning")]
        until: Option<String>,
        /// Nothing: have everything sent that is left
        #[arg(long, conflicts_with = "until")]
        beginning: bool,
    },
}
