//! Stacks that outlive the process that started them, each in a folder.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};

use crate::network::Network;
use crate::plan::Plan;
use crate::process::Lifetime;
use crate::stack::{Stack, StackSpec};

impl Stack {
    /// The stack of a folder, whether it runs or not; `None` if there is none.
    pub fn open(folder: &Path) -> anyhow::Result<Option<Self>> {
        let Some(plan) = Plan::read(folder)? else { return Ok(None) };
        let folder = folder.canonicalize()?;
        Ok(Some(Self::of(plan, folder, Lifetime::UntilStopped)))
    }

    /// Brings a stack up in a folder, to stay until it is stopped, and waits until all of it serves.
    /// What runs already is left alone; the names of what was started.
    ///
    /// A stack that is there must be what `spec` asks for; `None` takes it as it is.
    pub fn keep(folder: &Path, spec: Option<&StackSpec>) -> anyhow::Result<(Self, Vec<String>)> {
        let stack = match (Self::open(folder)?, spec) {
            (Some(stack), None) => stack,
            (Some(stack), Some(spec)) => {
                stack.plan().check(spec).with_context(|| {
                    format!("the stack in {} is another; wipe it first", folder.display())
                })?;
                stack
            }
            (None, None) => bail!("there is no stack in {}", folder.display()),
            (None, Some(spec)) => {
                let (network, _claim) = match spec.network {
                    Some(network) => (network, None),
                    None => {
                        let (network, claim) = Network::claim_free()?;
                        (network, Some(claim))
                    }
                };
                let plan = Plan::new(spec, network)?;
                let folder = create(folder)?;
                plan.write(&folder)?;
                Self::of(plan, folder, Lifetime::UntilStopped)
            }
        };
        let started = stack.up()?;
        Ok((stack, started))
    }

    /// Kills every server, and deletes its data and logs.
    pub fn wipe(self) -> anyhow::Result<()> {
        self.kill_all()?;
        let folder = self.folder().to_owned();
        drop(self);
        fs::remove_dir_all(&folder).with_context(|| format!("cannot delete {}", folder.display()))
    }
}

/// An empty folder of our own.
fn create(folder: &Path) -> anyhow::Result<PathBuf> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let mut inside = fs::read_dir(folder)?;
    ensure!(
        inside.next().is_none(),
        "{} has files in it that are no stack's; choose another folder",
        folder.display()
    );
    Ok(folder.canonicalize()?)
}
