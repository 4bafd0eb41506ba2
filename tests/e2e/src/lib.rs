//! A harness around the real `handfast` binary: start it on a folder and free ports, talk to it, stop it,
//! kill it, pause it, by its process id alone. The tests beside it, and the consistency workloads, use it.

mod command;
mod deliveries;
mod endpoint;
mod metrics;
mod offset_clock;
mod regions;
mod server;
mod small_disk;
mod surroundings;
mod way;

pub use command::{Said, binary, http_get, run, run_with_input};
pub use deliveries::{served_with_targets, target_status, write};
pub use endpoint::{Arrived, Endpoint};
pub use offset_clock::OffsetClock;
pub use regions::{Regions, commit, lags, until};
pub use server::{Server, Start};
pub use small_disk::SmallDisk;
pub use surroundings::Surroundings;
pub use way::{Way, WayState};

use handfast_client::Client;
use tempfile::TempDir;

/// A namespace file for tests: the bank of the examples, with the smallest segments that the log takes
/// (tests open many logs) and with `settings` added, as `section.key = value` lines.
pub fn bank(settings: &str) -> String {
    format!(
        r#"name = "bank"
shards = 8
log.segment_bytes = 16781312
{settings}

[[table]]
cql = "CREATE TABLE accounts (id text PRIMARY KEY, balance bigint)"

[[table]]
cql = """
CREATE TABLE transfers (
    account text, id uuid, recipient text, amount bigint, note blob,
    PRIMARY KEY (account, id)
)"""
"#
    )
}

/// A server of that bank on a folder of its own, and a client of it.
pub async fn served(settings: &str) -> anyhow::Result<(TempDir, Server, Client)> {
    let folder = TempDir::new()?;
    let server = Server::start(folder.path(), &[&bank(settings)]).await?;
    let client = server.client().await?;
    Ok((folder, server, client))
}
