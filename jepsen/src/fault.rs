//! What happens to the server while the clients work.

use std::time::Duration;

use anyhow::ensure;
use clap::ValueEnum;
use handfast_checker::{Event, NEMESIS, Type, Value};
use handfast_e2e::Server;
use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio::time::Instant;

use crate::history::History;

/// Between two faults, milliseconds.
const QUIET_MS: std::ops::Range<u64> = 100..700;
/// How long a paused process sleeps, milliseconds.
const PAUSE_MS: std::ops::Range<u64> = 50..2_500;
/// How long the server is away between kill and restart, milliseconds.
const AWAY_MS: std::ops::Range<u64> = 0..150;

/// What happens to the server while the clients work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Fault {
    /// Nothing
    None,
    /// The process is killed as by kill -9, and started again
    Kill,
    /// The process is stopped for a while (SIGSTOP) and goes on (SIGCONT)
    Pause,
    /// The process is asked to stop in order (SIGTERM), must exit with 0, and is started again
    Drain,
    /// All of these by turns
    All,
}

impl Fault {
    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::Drain => "drain",
            Self::All => "all",
        }
    }
}

/// When the fault may stop striking.
pub(crate) struct Until {
    pub(crate) time: Instant,
    /// Not before so many faults.
    pub(crate) faults: usize,
    /// But then in any case.
    pub(crate) latest: Instant,
}

/// Strikes until it may stop, and leaves a server that serves. How often it struck.
pub(crate) async fn strike(
    fault: Fault,
    server: &mut Server,
    until: &Until,
    history: &History,
    rng: &mut StdRng,
) -> anyhow::Result<usize> {
    let mut struck = 0;
    loop {
        let now = Instant::now();
        let enough = struck >= until.faults || fault == Fault::None || now >= until.latest;
        if now >= until.time && enough {
            return Ok(struck);
        }
        if fault == Fault::None {
            tokio::time::sleep_until(until.time).await;
            continue;
        }
        tokio::time::sleep(Duration::from_millis(rng.random_range(QUIET_MS))).await;
        let now = match fault {
            Fault::All => [Fault::Kill, Fault::Pause, Fault::Drain][rng.random_range(0..3)],
            one => one,
        };
        write(history, Type::Info, now, "begins")?;
        once(now, server, rng).await?;
        write(history, Type::Info, now, "is over")?;
        struck += 1;
    }
}

fn write(history: &History, kind: Type, fault: Fault, what: &str) -> anyhow::Result<u64> {
    let value = Value::Text(what.to_owned());
    history.write(Event::new(kind, NEMESIS, fault.name(), value))
}

async fn once(fault: Fault, server: &mut Server, rng: &mut StdRng) -> anyhow::Result<()> {
    match fault {
        Fault::Kill => {
            server.kill().await?;
            tokio::time::sleep(Duration::from_millis(rng.random_range(AWAY_MS))).await;
            server.restart().await?;
        }
        Fault::Pause => {
            server.signal("STOP").await?;
            tokio::time::sleep(Duration::from_millis(rng.random_range(PAUSE_MS))).await;
            server.signal("CONT").await?;
        }
        Fault::Drain => {
            server.signal("TERM").await?;
            let status = server.ended().await?;
            ensure!(status.success(), "asked to stop in order, the server ended with {status}");
            server.restart().await?;
        }
        Fault::None | Fault::All => {}
    }
    Ok(())
}
