//! A cluster that runs use one after the other, because its start takes about a minute.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use handfast_cluster::{Cluster, ClusterSpec, Member, apart};
use handfast_e2e::OffsetClock;
use tempfile::TempDir;
use tokio::time::Instant;

use super::cluster::{OnCluster, Parts, cut_by};
use super::{Ground as _, NotRun, Place};
use crate::Validity;
use crate::fault::Fault;
use crate::report::Report;
use crate::run::{Options, play, prepare};

/// Each run has a namespace of its own, with a topic and tables, and no namespace ever goes. So many runs
/// share a cluster; that bounds disk, memory and the time that a server takes to start again.
const RUNS_PER_CLUSTER: usize = 6;
/// What a run may take beyond five times the time that its clients work.
const RUN_PATIENCE: Duration = Duration::from_secs(600);
/// How long parts that are being started may hold up the end.
const CLOSE_PATIENCE: Duration = Duration::from_secs(30);

/// A cluster in a temporary folder: started when a run needs it, mended after each, made anew after six, and
/// after one that broke off or is not valid. It ends with this process, however that ends.
#[derive(Default)]
pub struct Arena {
    live: Option<Live>,
}

struct Live {
    parts: Parts,
    runs: usize,
    // After the processes, which read their clocks there.
    _clocks: TempDir,
}

impl Arena {
    /// Runs a workload on the cluster under a fault, checks it, and leaves everything in the folder. An error is
    /// no verdict: the run broke off, or is [`NotRun`].
    pub async fn run(&mut self, options: &Options) -> anyhow::Result<Report> {
        prepare(options, Place::Cluster)?;
        let missing = missing(options.fault)?;
        if self.live.as_ref().is_some_and(|live| live.runs >= RUNS_PER_CLUSTER) {
            self.close().await?;
        }
        let live = match &mut self.live {
            Some(live) => live,
            None => self.live.insert(Live::start().await?),
        };
        live.runs += 1;
        let ahead = Place::Cluster.clocks_ahead(options.fault);
        let workload = options.workload.workload(format!("jepsen_{}", live.runs), ahead).await?;
        let parts = live.parts.clone();
        let played = async {
            let mut ground = OnCluster::new(parts, workload.namespace(), missing);
            let limit = options.time * 5 + RUN_PATIENCE;
            let whole = async {
                ground.begin(&*workload).await?;
                play(options, workload, &mut ground).await
            };
            let played = tokio::time::timeout(limit, whole).await;
            let played = played.context("the run did not end in time").flatten();
            if played.is_err() {
                // They may tell why; what broke the run matters more than why they cannot be read.
                let _ = ground.end(&options.folder).await;
            }
            played
        };
        let played = played.await;
        if played.as_ref().map_or(true, |report| report.validity() != Validity::Valid) {
            self.close().await?;
        }
        played
    }

    /// Kills every process of the cluster and deletes its data.
    pub async fn close(&mut self) -> anyhow::Result<()> {
        let Some(live) = self.live.take() else { return Ok(()) };
        let end = Instant::now() + CLOSE_PATIENCE;
        loop {
            let cluster = Arc::clone(&live.parts.cluster);
            tokio::task::spawn_blocking(move || cluster.kill_all()).await??;
            // What a run that was broken off is still starting is told that it has ended.
            if Arc::strong_count(&live.parts.cluster) == 1 || Instant::now() > end {
                break;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(tokio::task::spawn_blocking(move || drop(live)).await?)
    }
}

impl Live {
    async fn start() -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("handfast-clocks-").tempdir()?;
        let spec = ClusterSpec::default();
        let mut clocks = BTreeMap::new();
        let mut through = BTreeMap::new();
        for member in (0..spec.participants).map(Member::Participant) {
            let own = folder.path().join(member.to_string());
            std::fs::create_dir_all(&own)?;
            // Without one, what needs it is said not to be run.
            let Ok(clock) = OffsetClock::build(&own).await else { continue };
            let words =
                clock.environment().map(|(name, path)| format!("{name}={}", path.display()));
            through.insert(member, ["env".to_owned()].into_iter().chain(words).collect());
            clocks.insert(member, clock);
        }
        let start = move || Cluster::start_through(&spec, through);
        let cluster = tokio::task::spawn_blocking(start).await?.context("no cluster")?;
        let parts = Parts { cluster: Arc::new(cluster), clocks: Arc::new(clocks) };
        Ok(Self { parts, runs: 0, _clocks: folder })
    }
}

/// What of [`Fault::Everything`] this machine has no means for, and why.
///
/// # Errors
/// [`NotRun`] if that is what was asked for.
fn missing(fault: Fault) -> anyhow::Result<Vec<String>> {
    let mut missing = Vec::new();
    if !apart::is_apart() {
        let why = "cuts: they need root, for network namespaces".to_owned();
        ensure!(cut_by(fault).is_none(), NotRun(why.clone()));
        missing.push(why);
    }
    if std::process::Command::new("cc").arg("--version").output().is_err() {
        let why = "a clock that can be set: it needs a C compiler".to_owned();
        ensure!(fault != Fault::Clock, NotRun(why.clone()));
        missing.push(why);
    }
    if fault != Fault::Everything {
        missing.clear();
    }
    Ok(missing)
}
