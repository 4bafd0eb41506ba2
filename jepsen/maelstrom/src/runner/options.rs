//! What a run is.

use std::path::PathBuf;
use std::time::Duration;

use super::{Fault, Workload};

/// A run.
#[derive(Clone, Debug)]
pub struct RunnerOptions {
    /// What clients do.
    pub workload: Workload,
    /// The program that is a node.
    pub node: PathBuf,
    /// What it is started with.
    pub node_arguments: Vec<String>,
    /// How many nodes.
    pub nodes: usize,
    /// For how long clients work.
    pub time: Duration,
    /// Requests a second, of all clients together.
    pub rate: f64,
    /// Clients at once.
    pub concurrency: usize,
    /// The mean time that a message takes.
    pub latency: Duration,
    /// The share of all messages but those of clients that is lost, always.
    pub loss: f64,
    /// What happens to the cluster meanwhile.
    pub faults: Vec<Fault>,
    /// Time between two faults, and of one, on average.
    pub fault_interval: Duration,
    /// Decides what clients ask, when faults strike, and which messages are late or lost.
    pub seed: u64,
    /// A run with fewer operations that happened fails.
    pub at_least_ok: usize,
    /// Where the run leaves its history, its verdict and the nodes' logs.
    pub folder: PathBuf,
}
