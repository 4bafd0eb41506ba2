//! A small runner for Maelstrom's protocol: nodes as processes, a network with misfortunes, the `lin-kv`
//! service, clients, faults, and a verdict.
//!
//! ```text
//!  clients ──▶ network: latency, loss, cuts ──▶ nodes (processes: killed, started again, stopped)
//!     │            ▲        └──▶ lin-kv              │
//!     ▼            └──────────────────────────────────┘
//!  history ──▶ checker ──▶ verdict
//! ```

mod child;
mod client;
mod fault;
mod network;
mod options;
mod record;
mod verdict;
mod workload;

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use rand::SeedableRng;
use rand::rngs::StdRng;

use child::Cluster;
use client::Client;
pub use fault::Fault;
use network::Network;
pub use options::RunnerOptions;
use record::Recorder;
pub use verdict::Report;
pub use workload::Workload;

/// How long nodes may take until the first transaction commits, or until one does after the last fault.
const RECOVERY: Duration = Duration::from_secs(30);

/// Runs a test from beginning to end, and leaves everything about it in the options' folder.
///
/// # Errors
/// If nodes cannot be started or files cannot be written: that is no verdict.
pub fn run(options: &RunnerOptions) -> anyhow::Result<Report> {
    let folder = &options.folder;
    std::fs::create_dir_all(folder).with_context(|| {
        format!("cannot create {}; choose another with --folder", folder.display())
    })?;
    let network = Network::start(options.seed, options.latency, options.loss);
    let cluster = Cluster::start(options, Arc::clone(&network))?;
    let recorder = Arc::new(Recorder::new());
    let workload = Arc::new(workload::Generator::new(options.workload, options.seed));

    let mut probe = Client::new(&network, &workload, &recorder, options.concurrency, options);
    probe.until_served(RECOVERY).context("the nodes did not begin to serve")?;

    let end = Instant::now() + options.time;
    let clients: Vec<_> = (0..options.concurrency)
        .map(|worker| {
            let mut client = Client::new(&network, &workload, &recorder, worker, options);
            std::thread::spawn(move || client.run(end))
        })
        .collect();
    let random = StdRng::seed_from_u64(options.seed ^ 0x006e_656d_6573_6973);
    let struck = fault::strike(options, &cluster, &network, &recorder, random, end)?;
    for client in clients {
        anyhow::ensure!(client.join().is_ok(), "a client has panicked; see the output above");
    }

    network.heal();
    let healed = Instant::now();
    let recovered = probe.final_reads(RECOVERY);
    let recovery = healed.elapsed();
    let elections = cluster.stop()?;
    let counts = network.counts();
    let history = recorder.finish();
    write_history(folder, &history)?;
    let report = verdict::judge(
        options,
        &history,
        verdict::Facts { struck, recovered, recovery, elections, counts },
    )?;
    std::fs::write(folder.join("verdict.txt"), report.to_string())?;
    std::fs::write(folder.join("verdict.json"), format!("{:#}\n", report.to_json()))?;
    Ok(report)
}

fn write_history(folder: &Path, history: &[handfast_checker::Event]) -> anyhow::Result<()> {
    let create = |name: &str| -> anyhow::Result<std::io::BufWriter<File>> {
        let path = folder.join(name);
        let file =
            File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(std::io::BufWriter::new(file))
    };
    let (mut edn, mut lines) = (create("history.edn")?, create("history.jsonl")?);
    for event in history {
        handfast_checker::write_edn(&mut edn, event)?;
        handfast_checker::write_jsonl(&mut lines, event)?;
    }
    edn.flush()?;
    Ok(lines.flush()?)
}
