//! One server with log and tables in files, and what it stands on: a clock that can be set, a disk that can
//! be filled.

use std::net::SocketAddr;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use anyhow::{bail, ensure};
use handfast_e2e::{OffsetClock, Server, SmallDisk, Surroundings};
use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio::time::Instant;

use super::{Blow, Ground, NotRun, Place, draw};
use crate::fault::Fault;
use crate::workload::Workload;

/// What can happen to it.
pub(super) const FAULTS: &[(Fault, &str)] = &[
    (Fault::None, "nothing"),
    (Fault::Kill, "kill -9, and a restart"),
    (Fault::Pause, "SIGSTOP for up to 2.5 s, then SIGCONT"),
    (Fault::Clock, "the server's wall clock jumps, forward and back"),
    (Fault::Drain, "SIGTERM, which must end with exit code 0, and a restart"),
    (Fault::Disk, "the disk is full for a while, then a restart"),
    (Fault::Everything, "all of these, also several at the same time"),
];
/// Between two faults, milliseconds.
const QUIET_MS: Range<u64> = 100..700;
/// Between two kills: a restart is quick, and many of them are wanted.
const QUIET_BETWEEN_KILLS_MS: Range<u64> = 20..350;
/// Room on the small disk: the log that a run keeps, its next segments, the tables.
const DISK_BYTES: u64 = 384 << 20;
/// Each shard writes a checkpoint after so much log.
const CHECKPOINT_EVERY_BYTES: u64 = 256 << 10;
/// How long a paused process sleeps, milliseconds.
const PAUSE_MS: Range<u64> = 50..2_500;
/// How long the server is away between kill and restart, milliseconds.
const AWAY_MS: Range<u64> = 0..150;
/// How long the disk is full, milliseconds, if the server does not give up before.
const FULL_MS: Range<u64> = 300..3_000;
/// How far the clock jumps forward or back around its base, milliseconds.
const JUMP_MS: Range<i64> = -1_500..1_500;
/// How far its base goes ahead at once, milliseconds. It never comes back: a server whose clock goes
/// back by so much refuses work until the clock has caught up, as promised.
const STEP_MS: Range<i64> = 5_000..30_000;
/// How far the base goes ahead in all: ids of the clients' time must stay within the id window.
const MOST_AHEAD_MS: i64 = 240_000;
/// How far the clock is ahead at most, milliseconds.
pub(super) const MOST_JUMPED_MS: i64 = MOST_AHEAD_MS + JUMP_MS.end;
/// Seconds that a server may take to stop in order: with a full disk it cannot finish everything.
const DRAIN_SECONDS: u32 = 5;

/// The namespace file of a workload. Small logs, so that they are trimmed while the run goes on; and quick
/// recovery, because a process that is killed more often than attempts are recovered gets nothing done that could
/// be wrong.
pub(super) fn definition(workload: &dyn Workload, checkpoint_every_bytes: u64) -> String {
    format!(
        "name = '{}'\nshards = 8\npolicy.recover_after_ms = 100\nlog.segment_bytes = 16781312\nlog.retain_ms = 0\n\
         log.retain_bytes = 67108864\nlog.checkpoint_every_bytes = {checkpoint_every_bytes}\n{}\n",
        workload.namespace(),
        workload.tables()
    )
}

/// The server and what it stands on.
pub(crate) struct Embedded {
    server: Server,
    clock: Option<OffsetClock>,
    disk: Option<SmallDisk>,
    /// How far the clock is ahead when it has not jumped.
    ahead_ms: i64,
    /// How far it may come to be.
    most_ahead_ms: i64,
    missing: Vec<String>,
}

impl Ground for Embedded {
    const PLACE: Place = Place::Embedded;
    const THINK: Duration = Duration::ZERO;

    fn endpoints(&self) -> Vec<Vec<String>> {
        vec![self.leaders()]
    }

    fn leaders(&self) -> Vec<String> {
        vec![self.server.endpoint()]
    }

    fn quiet_ms(&self, fault: Fault) -> Range<u64> {
        if fault == Fault::Kill { QUIET_BETWEEN_KILLS_MS } else { QUIET_MS }
    }

    async fn strike(&mut self, fault: Fault, rng: &mut StdRng) -> anyhow::Result<Vec<Blow>> {
        self.expect_alive()?;
        if fault == Fault::Everything {
            self.several(rng).await
        } else {
            self.single(fault, rng).await
        }
    }

    async fn forget(&mut self) -> anyhow::Result<()> {
        self.server.kill().await?;
        self.server.restart().await?;
        Ok(())
    }

    fn missing(&mut self) -> Vec<String> {
        std::mem::take(&mut self.missing)
    }

    async fn end(&mut self, _folder: &Path) -> anyhow::Result<Vec<String>> {
        self.server.stop().await?;
        let panicked = self.server.said().contains("panicked");
        Ok(panicked.then(|| "the server panicked: see server.log".to_owned()).into_iter().collect())
    }

    /// The log and the tables have told what they had to tell, if the run is valid; a small disk is gone with
    /// the run.
    async fn leave(&mut self, folder: &Path, valid: bool) -> anyhow::Result<()> {
        if valid {
            return Ok(std::fs::remove_dir_all(folder.join("data"))?);
        }
        match &self.disk {
            Some(disk) => disk.copy_out(".", &folder.join("data-of-small-disk")).await,
            None => Ok(()),
        }
    }
}

impl Embedded {
    /// Starts the server on what the fault needs.
    ///
    /// # Errors
    /// [`NotRun`] if this machine does not have it.
    pub(crate) async fn start(
        fault: Fault,
        folder: &Path,
        workload: &dyn Workload,
    ) -> anyhow::Result<Self> {
        let definition = definition(workload, CHECKPOINT_EVERY_BYTES);
        Self::start_with(fault, folder, &definition, MOST_AHEAD_MS).await
    }

    /// The same with this namespace file, and a clock that is never ahead by more but while it jumps.
    pub(super) async fn start_with(
        fault: Fault,
        folder: &Path,
        definition: &str,
        most_ahead_ms: i64,
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
        if matches!(fault, Fault::Clock | Fault::Everything) {
            match OffsetClock::build(folder).await {
                Ok(built) => {
                    around = around.with_clock(&built);
                    clock = Some(built);
                }
                Err(error) => absent("a clock that can be set", error)?,
            }
        }
        let mut disk = None;
        if matches!(fault, Fault::Disk | Fault::Everything) {
            match SmallDisk::mount(&folder.join("data"), DISK_BYTES).await {
                Ok(mounted) => {
                    around = around.with_disk(&mounted);
                    disk = Some(mounted);
                }
                Err(error) => absent("a disk that can be filled", error)?,
            }
        }
        let server = Server::start_within(folder, &[definition], around, DRAIN_SECONDS).await?;
        Ok(Self { server, clock, disk, ahead_ms: 0, most_ahead_ms, missing })
    }

    /// Nobody else ends it.
    pub(super) fn expect_alive(&mut self) -> anyhow::Result<()> {
        if let Some(status) = self.server.has_ended()? {
            bail!("the server ended by itself with {status}: see its server.log");
        }
        Ok(())
    }

    /// Where it listens.
    pub(super) const fn address(&self) -> SocketAddr {
        self.server.how().ports.0
    }

    async fn single(&mut self, fault: Fault, rng: &mut StdRng) -> anyhow::Result<Vec<Blow>> {
        let from = Instant::now();
        match fault {
            Fault::Kill => self.kill(rng).await?,
            Fault::Pause => self.pause(rng).await?,
            Fault::Clock => self.jump(rng).await?,
            Fault::Drain => self.drain().await?,
            Fault::Disk => self.fill(rng).await?,
            _ => return Ok(Vec::new()),
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
        if self.ahead_ms < self.most_ahead_ms && rng.random_range(0..3) == 0 {
            self.ahead_ms = (self.ahead_ms + rng.random_range(STEP_MS)).min(self.most_ahead_ms);
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
}

/// Whether a server that refused to start said why, in its last words.
fn says_that_the_disk_is_full(refused: &anyhow::Error) -> bool {
    let said = refused.to_string();
    let last = said.rsplit("error: ").next().unwrap_or_default();
    last.contains("disk is full") || last.contains("No space left")
}
