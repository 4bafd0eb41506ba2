//! The server of a run, and what it stands on: a clock that can be set, a disk that can be filled.

use std::path::Path;
use std::time::Duration;

use anyhow::ensure;
use handfast_e2e::{OffsetClock, Server, SmallDisk, Surroundings};
use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio::time::Instant;

use crate::fault::Fault;

/// Room on the small disk: the log that a run keeps, its next segments, the tables.
const DISK_BYTES: u64 = 384 << 20;
/// How long a paused process sleeps, milliseconds.
const PAUSE_MS: std::ops::Range<u64> = 50..2_500;
/// How long the server is away between kill and restart, milliseconds.
const AWAY_MS: std::ops::Range<u64> = 0..150;
/// How long the disk is full, milliseconds, if the server does not give up before.
const FULL_MS: std::ops::Range<u64> = 300..3_000;
/// How far the clock jumps forward or back around its base, milliseconds.
const JUMP_MS: std::ops::Range<i64> = -1_500..1_500;
/// How far its base goes ahead at once, milliseconds. It never comes back: a server whose clock goes
/// back by so much refuses work until the clock has caught up, as promised.
const STEP_MS: std::ops::Range<i64> = 5_000..30_000;
/// How far the base goes ahead in all: ids of the clients' time must stay within the id window.
const MOST_AHEAD_MS: i64 = 240_000;
/// Seconds that a server may take to stop in order: with a full disk it cannot finish everything.
const DRAIN_SECONDS: u32 = 5;

/// The server and what it stands on.
pub(crate) struct Ground {
    pub(crate) server: Server,
    clock: Option<OffsetClock>,
    disk: Option<SmallDisk>,
    /// How far the clock is ahead when it has not jumped.
    ahead_ms: i64,
    /// Faults of [`Fault::Everything`] that this machine has no means for, and why.
    pub(crate) missing: Vec<String>,
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

impl Ground {
    /// Starts the server on what the fault needs.
    ///
    /// # Errors
    /// [`NotRun`] if this machine does not have it.
    pub(crate) async fn start(
        fault: Fault,
        folder: &Path,
        definition: &str,
    ) -> anyhow::Result<Self> {
        let mut missing = Vec::new();
        let mut absent = |name: &str, error: anyhow::Error| -> anyhow::Result<()> {
            let why = format!("{name}: {error:#}");
            ensure!(fault == Fault::Everything, NotRun(why.clone()));
            missing.push(why);
            Ok(())
        };
        let mut around = Surroundings::default();
        let mut clock = None;
        if fault.needs_clock() {
            match OffsetClock::build(folder).await {
                Ok(built) => {
                    around = around.with_clock(&built);
                    clock = Some(built);
                }
                Err(error) => absent("a clock that can be set", error)?,
            }
        }
        let mut disk = None;
        if fault.needs_disk() {
            match SmallDisk::mount(&folder.join("data"), DISK_BYTES).await {
                Ok(mounted) => {
                    around = around.with_disk(&mounted);
                    disk = Some(mounted);
                }
                Err(error) => absent("a disk that can be filled", error)?,
            }
        }
        let mut server = Server::start_in(folder, &[definition], around).await?;
        server.drain_within(DRAIN_SECONDS);
        Ok(Self { server, clock, disk, ahead_ms: 0, missing })
    }

    /// Strikes once, which may be several kinds at a time: which, from when to when.
    pub(crate) async fn strike(
        &mut self,
        fault: Fault,
        rng: &mut StdRng,
    ) -> anyhow::Result<Vec<Blow>> {
        if fault == Fault::Everything {
            self.several(rng).await
        } else {
            self.single(fault, rng).await
        }
    }

    async fn single(&mut self, fault: Fault, rng: &mut StdRng) -> anyhow::Result<Vec<Blow>> {
        let from = Instant::now();
        match fault {
            Fault::None | Fault::Everything => return Ok(Vec::new()),
            Fault::Kill => self.kill(rng).await?,
            Fault::Pause => self.pause(rng).await?,
            Fault::Clock => self.jump(rng).await?,
            Fault::Drain => self.drain().await?,
            Fault::Disk => self.fill(rng).await?,
        }
        Ok(vec![Blow { kind: fault.name(), from, to: Instant::now() }])
    }

    async fn several(&mut self, rng: &mut StdRng) -> anyhow::Result<Vec<Blow>> {
        let mut blows = Vec::new();
        if self.clock.is_some() && rng.random_range(0..2) == 0 {
            blows.extend(self.single(Fault::Clock, rng).await?);
        }
        let next = match rng.random_range(0..5) {
            0 if self.disk.is_some() => Fault::Disk,
            1 => Fault::Drain,
            2 => Fault::Pause,
            3 => {
                // Killed in its sleep: nobody is told anything.
                let from = Instant::now();
                self.server.signal("STOP").await?;
                tokio::time::sleep(draw(&PAUSE_MS, rng) / 4).await;
                blows.push(Blow { kind: Fault::Pause.name(), from, to: Instant::now() });
                Fault::Kill
            }
            _ => Fault::Kill,
        };
        blows.extend(self.single(next, rng).await?);
        Ok(blows)
    }

    async fn kill(&mut self, rng: &mut StdRng) -> anyhow::Result<()> {
        self.server.kill().await?;
        tokio::time::sleep(draw(&AWAY_MS, rng)).await;
        self.server.restart().await?;
        Ok(())
    }

    async fn pause(&self, rng: &mut StdRng) -> anyhow::Result<()> {
        self.server.signal("STOP").await?;
        tokio::time::sleep(draw(&PAUSE_MS, rng)).await;
        self.server.signal("CONT").await
    }

    async fn drain(&mut self) -> anyhow::Result<()> {
        self.server.signal("TERM").await?;
        let status = self.server.ended().await?;
        ensure!(status.success(), "asked to stop in order, the server ended with {status}");
        self.server.restart().await?;
        Ok(())
    }

    /// A jump to and fro, and now and then one that stays.
    async fn jump(&mut self, rng: &mut StdRng) -> anyhow::Result<()> {
        let Some(clock) = &self.clock else { return Ok(()) };
        if self.ahead_ms < MOST_AHEAD_MS && rng.random_range(0..3) == 0 {
            self.ahead_ms = (self.ahead_ms + rng.random_range(STEP_MS)).min(MOST_AHEAD_MS);
        }
        for _ in 0..rng.random_range(1..6) {
            clock.set(self.ahead_ms + rng.random_range(JUMP_MS))?;
            tokio::time::sleep(Duration::from_millis(rng.random_range(1..400))).await;
        }
        clock.set(self.ahead_ms)
    }

    /// A full disk; now and then the server is killed on it, and must start or refuse in order.
    async fn fill(&mut self, rng: &mut StdRng) -> anyhow::Result<()> {
        let Some(disk) = &self.disk else { return Ok(()) };
        disk.fill()?;
        let end = Instant::now() + draw(&FULL_MS, rng);
        while Instant::now() < end && self.server.has_ended()?.is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if self.server.has_ended()?.is_none() && rng.random_range(0..3) == 0 {
            self.server.kill().await?;
            let refused = self.server.restart().await.err();
            if let Some(error) = refused.filter(|error| !says_that_the_disk_is_full(error)) {
                return Err(error.context("on a full disk"));
            }
        }
        disk.free()?;
        // What failed to write stays shut until a restart, as the operator's page says.
        if self.server.has_ended()?.is_none() {
            self.server.signal("TERM").await?;
            self.server.ended().await?;
        }
        self.server.restart().await?;
        Ok(())
    }

    /// Saves the data of a run that was not valid; a small disk is gone with the run.
    pub(crate) async fn keep_data(&self, folder: &Path) -> anyhow::Result<()> {
        match &self.disk {
            Some(disk) => disk.copy_out(".", &folder.join("data-of-small-disk")).await,
            None => Ok(()),
        }
    }
}

/// Whether a server that refused to start said why, in its last words.
fn says_that_the_disk_is_full(refused: &anyhow::Error) -> bool {
    let said = refused.to_string();
    let last = said.rsplit("error: ").next().unwrap_or_default();
    last.contains("disk is full") || last.contains("No space left")
}

fn draw(range: &std::ops::Range<u64>, rng: &mut StdRng) -> Duration {
    Duration::from_millis(rng.random_range(range.clone()))
}
