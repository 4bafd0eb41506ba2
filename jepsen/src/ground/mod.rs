//! What a run stands on: the servers that its clients work with, and what can happen to them.

mod arena;
mod cluster;
mod embedded;
mod regions;

use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio::time::Instant;

use crate::fault::Fault;

pub use arena::Arena;
pub(crate) use embedded::Embedded;
pub(crate) use regions::Regions;

/// The grounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// One server with log and tables in files; for workloads in regions, one in each of them.
    Embedded,
    /// Several servers on real Kafka, Cassandra and PostgreSQL.
    Cluster,
}

impl Place {
    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Cluster => "cluster",
        }
    }

    /// What can happen there, each with what it does, for `--help`.
    pub const fn faults(self) -> &'static [(Fault, &'static str)] {
        match self {
            Self::Embedded => embedded::FAULTS,
            Self::Cluster => cluster::FAULTS,
        }
    }

    /// How far a server's clock may be ahead of the clients' under a fault.
    pub(crate) const fn clocks_ahead(self, fault: Fault) -> Duration {
        let most_ms = match (fault, self) {
            (Fault::Clock | Fault::Everything, Self::Embedded) => embedded::MOST_JUMPED_MS,
            (Fault::Clock | Fault::Everything, Self::Cluster) => cluster::MOST_JUMPED_MS,
            _ => 0,
        };
        Duration::from_millis(most_ms.unsigned_abs())
    }
}

/// The servers of one run.
pub(crate) trait Ground {
    /// Which it is.
    const PLACE: Place;
    /// How long a client rests after each task, so that the machine has time for the faults.
    const THINK: Duration;

    /// Where clients go, in each region; there is one only unless the workload has several.
    fn endpoints(&self) -> Vec<Vec<String>>;

    /// Every server that may lead shards.
    fn leaders(&self) -> Vec<String>;

    /// How long nothing happens between two strikes, milliseconds.
    fn quiet_ms(&self, fault: Fault) -> Range<u64>;

    /// Strikes once, which may be several kinds at a time, and mends it: which, from when to when.
    async fn strike(&mut self, fault: Fault, rng: &mut StdRng) -> anyhow::Result<Vec<Blow>>;

    /// Kills every server, so that what counts from here on was not in memory only, and starts them again.
    async fn forget(&mut self) -> anyhow::Result<()>;

    /// Faults of [`Fault::Everything`] that this machine has no means for, and why.
    fn missing(&mut self) -> Vec<String>;

    /// Ends the run's part of it, and leaves the logs in that folder: what the servers did that none
    /// may do.
    async fn end(&mut self, folder: &Path) -> anyhow::Result<Vec<String>>;

    /// What is done with the data, once the verdict is known.
    async fn leave(&mut self, folder: &Path, valid: bool) -> anyhow::Result<()>;
}

/// One kind of fault that struck, from when to when.
pub(crate) struct Blow {
    pub(crate) kind: &'static str,
    pub(crate) from: Instant,
    pub(crate) to: Instant,
}

/// This machine has no means for a fault: the run says *not run*, and that is no verdict.
#[derive(Debug, thiserror::Error)]
#[error("not run: {0}")]
pub struct NotRun(pub String);

fn draw(range: &Range<u64>, rng: &mut StdRng) -> Duration {
    Duration::from_millis(rng.random_range(range.clone()))
}
