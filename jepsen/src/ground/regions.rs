//! Two regions, each an embedded server of its own, with ways between them that can be cut.

use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use handfast_e2e::{Way, WayState as State};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::time::Instant;

use super::embedded::definition;
use super::{Blow, Embedded, Ground, Place, draw};
use crate::fault::Fault;
use crate::workload::Workload;

/// How long the regions are cut off from each other, milliseconds.
const CUT_MS: Range<u64> = 300..5_000;
/// A region takes nothing that is later than its own clock by much: the clocks jump, and come back.
const MOST_AHEAD_MS: i64 = 0;
/// The log is kept until the other region has it, checkpoints too: with so many as otherwise it would fill a small
/// disk while the regions are cut off.
const CHECKPOINT_EVERY_BYTES: u64 = 1 << 20;

/// A region.
struct Region {
    name: &'static str,
    ground: Embedded,
    /// By which the other one reaches it.
    way: Way,
}

/// Both regions.
pub(crate) struct Regions {
    both: [Region; 2],
}

impl Regions {
    /// Starts a server in each region on what the fault needs.
    ///
    /// # Errors
    /// [`NotRun`](super::NotRun) if this machine does not have it.
    pub(crate) async fn start(
        fault: Fault,
        folder: &Path,
        workload: &dyn Workload,
    ) -> anyhow::Result<Self> {
        let mut ways = Vec::new();
        for name in workload.regions() {
            ways.push((*name, Way::start().await?));
        }
        let all = ways.iter().map(|(name, way)| {
            format!("[[region.all]]\nname = \"{name}\"\nservers = [\"{}\"]\n", way.url())
        });
        let all = all.collect::<String>();
        let definition = definition(workload, CHECKPOINT_EVERY_BYTES);
        let mut both = Vec::new();
        for (name, way) in ways {
            let folder = folder.join(name);
            std::fs::create_dir_all(&folder)?;
            let definition = format!("{definition}here = \"{name}\"\n{all}");
            let ground = Embedded::start_with(fault, &folder, &definition, MOST_AHEAD_MS).await?;
            way.lead_to(ground.address());
            both.push(Region { name, ground, way });
        }
        Ok(Self { both: both.try_into().ok().context("the workload has not two regions")? })
    }

    /// Strikes a region, or both at the same time.
    async fn hit(&mut self, fault: Fault, rng: &mut StdRng) -> anyhow::Result<Vec<Blow>> {
        let [first, second] = &mut self.both;
        let mut own = StdRng::from_rng(rng);
        Ok(match rng.random_range(0..5) {
            0 | 1 => first.ground.strike(fault, rng).await?,
            2 | 3 => second.ground.strike(fault, rng).await?,
            _ => {
                let both = (first.ground.strike(fault, rng), second.ground.strike(fault, &mut own));
                let (mut blows, more) = tokio::try_join!(both.0, both.1)?;
                blows.extend(more);
                blows
            }
        })
    }

    /// Cuts the regions off from each other, one way or both, while each goes on; under
    /// [`Fault::Everything`] something else strikes meanwhile, every other time.
    async fn cut(&mut self, fault: Fault, rng: &mut StdRng) -> anyhow::Result<Vec<Blow>> {
        let (from, held) = (Instant::now(), draw(&CUT_MS, rng));
        let how = if rng.random_range(0..2) == 0 { State::Silent } else { State::Broken };
        let open = rng.random_range(0..4);
        for (number, region) in self.both.iter().enumerate() {
            if number != open {
                region.way.set(how);
            }
        }
        let mut blows = Vec::new();
        if fault == Fault::Everything && rng.random_range(0..2) == 0 {
            tokio::time::sleep(held / 4).await;
            blows = self.hit(fault, rng).await?;
        }
        tokio::time::sleep_until(from + held).await;
        for region in &self.both {
            region.way.set(State::Open);
        }
        blows.push(Blow { kind: "cut", from, to: Instant::now() });
        Ok(blows)
    }
}

impl Ground for Regions {
    const PLACE: Place = Place::Embedded;
    const THINK: Duration = Embedded::THINK;

    fn endpoints(&self) -> Vec<Vec<String>> {
        self.both.iter().flat_map(|region| region.ground.endpoints()).collect()
    }

    fn leaders(&self) -> Vec<String> {
        self.both.iter().flat_map(|region| region.ground.leaders()).collect()
    }

    fn quiet_ms(&self, fault: Fault) -> Range<u64> {
        self.both[0].ground.quiet_ms(fault)
    }

    /// A pause is one of a region, or of the ways between them.
    async fn strike(&mut self, fault: Fault, rng: &mut StdRng) -> anyhow::Result<Vec<Blow>> {
        for region in &mut self.both {
            region.ground.expect_alive().with_context(|| format!("in {}", region.name))?;
        }
        let may_cut = matches!(fault, Fault::Pause | Fault::Everything);
        if may_cut && rng.random_range(0..2) == 0 {
            self.cut(fault, rng).await
        } else {
            self.hit(fault, rng).await
        }
    }

    async fn forget(&mut self) -> anyhow::Result<()> {
        let [first, second] = &mut self.both;
        tokio::try_join!(first.ground.forget(), second.ground.forget())?;
        Ok(())
    }

    fn missing(&mut self) -> Vec<String> {
        let mut missing = self.both[0].ground.missing();
        for why in self.both[1].ground.missing() {
            if !missing.contains(&why) {
                missing.push(why);
            }
        }
        missing
    }

    async fn end(&mut self, folder: &Path) -> anyhow::Result<Vec<String>> {
        let mut wrong = Vec::new();
        for Region { name, ground, .. } in &mut self.both {
            let of_region = ground.end(&folder.join(*name)).await?;
            wrong.extend(of_region.into_iter().map(|what| format!("in {name}: {what}")));
        }
        Ok(wrong)
    }

    async fn leave(&mut self, folder: &Path, valid: bool) -> anyhow::Result<()> {
        for Region { name, ground, .. } in &mut self.both {
            ground.leave(&folder.join(*name), valid).await?;
        }
        Ok(())
    }
}
