//! Clusters that outlive the process that started them, each in a folder.

use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};
use handfast_stack::Stack;

use crate::cluster::{Cluster, ClusterSpec};

const FILE: &str = "cluster.json";

impl Cluster {
    /// The cluster of a folder, whether it runs or not; `None` if there is none.
    pub fn open(folder: &Path) -> anyhow::Result<Option<Self>> {
        let Some(spec) = read(folder)? else { return Ok(None) };
        let Some(stack) = Stack::open(folder)? else { return Ok(None) };
        Ok(Some(Self::on(stack, &spec)))
    }

    /// Brings a cluster up in a folder, to stay until it is stopped, and waits until all of it serves.
    /// What runs already is left alone; the names of what was started.
    ///
    /// A cluster that is there must be what `spec` asks for; `None` takes it as it is, or makes the usual.
    pub fn keep(folder: &Path, spec: Option<&ClusterSpec>) -> anyhow::Result<(Self, Vec<String>)> {
        let there = read(folder)?;
        if let (Some(there), Some(spec)) = (&there, spec) {
            ensure!(
                there == spec,
                "the cluster in {} is another: {there:?}; wipe it first",
                folder.display()
            );
        }
        let spec = there.or_else(|| spec.cloned()).unwrap_or_default();
        spec.check()?;
        let (stack, mut started) = Stack::keep(folder, Some(&spec.stack()))?;
        fs::write(folder.join(FILE), serde_json::to_string_pretty(&spec)?)?;
        let cluster = Self::on(stack, &spec);
        started.extend(cluster.up_members()?);
        Ok((cluster, started))
    }

    /// Kills every server, and deletes data and logs.
    pub fn wipe(self) -> anyhow::Result<()> {
        self.kill_members()?;
        self.into_stack().wipe()
    }
}

fn read(folder: &Path) -> anyhow::Result<Option<ClusterSpec>> {
    let path = folder.join(FILE);
    if !path.exists() {
        return Ok(None);
    }
    let text = fs::read_to_string(&path)?;
    let spec = serde_json::from_str(&text);
    Ok(Some(spec.with_context(|| format!("{} is damaged: wipe the cluster", path.display()))?))
}
