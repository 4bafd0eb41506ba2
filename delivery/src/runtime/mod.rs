//! Where the delivery engine meets the world: one [`Delivery`] for each target of a namespace in a process.
//!
//! ```text
//!  log ──Tail──▶ reader (a thread) ──batches──▶ driver (a task) ──Send──▶ target
//!                  one Follower for each          one Engine for each ◀──Answered──┘
//!                  shard that is claimed          shard that is claimed ──Bury, Mark──▶ store
//! ```
//!
//! Which process delivers a shard is decided by claims in the [`Store`]: of those that are alive ([`Members`])
//! each course has one that should have it, by rendezvous hashing; who has it and should not drains it and lets
//! it go. Whoever claims it next goes on from the last mark.

mod assign;
mod course;
mod driver;
mod members;
mod metrics;
mod picks;
pub(crate) mod reader;
mod redrive;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use wal_core::Now;
use wal_core::log::IntentLog;
use wal_core::namespace::DeliverySettings;

use crate::config::{DeliveryConfig, Pauses};
use crate::engine::Status;
use crate::store::Store;
use crate::target::Target;

pub use assign::About;
pub(crate) use assign::{courses, should_have};
pub use course::{Course, Messages, Phase, ReadNews, place_of};
pub use members::{Members, WhoElse};
pub use picks::{MessagesTo, Picks, PicksMessages};
pub use reader::{Batch, Unreadable};

/// What a delivery needs.
pub struct Parts {
    /// The namespace.
    pub namespace: Arc<str>,
    /// Its shards.
    pub shards: u16,
    /// Its log.
    pub log: Arc<dyn IntentLog>,
    /// What the delivery is called: the target's name.
    pub name: Arc<str>,
    /// What of the committed stream is delivered.
    pub picks: Arc<PicksMessages>,
    /// How.
    pub settings: Settings,
    /// Where to.
    pub target: Arc<dyn Target>,
    /// Marks, claims, dead letters.
    pub store: Arc<dyn Store>,
    /// Who else delivers.
    pub members: Members,
    /// What jitter is drawn from.
    pub seed: u64,
}

/// How the deliveries of one shard stand.
#[derive(Clone, Debug)]
pub struct ShardDelivery {
    /// The shard.
    pub shard: wal_core::ShardId,
    /// Its engine.
    pub status: Status,
    /// Why the shard cannot be read on, if so: what was read is delivered, nothing behind it is, and the log is
    /// kept.
    pub unread: Option<Arc<str>>,
}

/// Delivers a namespace's messages to one target, as far as this process should. Dropping it stops it at
/// once; [`Delivery::stop`] in order.
pub struct Delivery {
    orders: mpsc::UnboundedSender<driver::Order>,
    shards: watch::Receiver<Vec<ShardDelivery>>,
    driver: Option<JoinHandle<()>>,
}

impl Delivery {
    /// Begins. Runs on the current tokio runtime.
    pub fn start(parts: Parts) -> Self {
        let (orders, ordered) = mpsc::unbounded_channel();
        let (shown, shards) = watch::channel(Vec::new());
        let driver = driver::Driver::new(parts, ordered, shown);
        Self { orders, shards, driver: Some(tokio::spawn(driver.run())) }
    }

    /// How the shards stand that this process delivers, about a second ago at most.
    pub fn shards(&self) -> Vec<ShardDelivery> {
        self.shards.borrow().clone()
    }

    /// The same, as it changes.
    pub(crate) fn watch_shards(&self) -> watch::Receiver<Vec<ShardDelivery>> {
        self.shards.clone()
    }

    /// Tries now whatever waits for a retry, and reads again what could not be read.
    pub fn retry(&self) {
        let _ = self.orders.send(driver::Order::Retry); // one that has stopped retries nothing
    }

    /// Sends nothing more, waits for what is under way, stores the last marks and lets everything go; at most
    /// for `patience`.
    pub async fn stop(mut self, patience: Duration) {
        let _ = self.orders.send(driver::Order::Stop); // it may have ended by itself
        if let Some(mut driver) = self.driver.take()
            && tokio::time::timeout(patience, &mut driver).await.is_err()
        {
            driver.abort();
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if let Some(driver) = &self.driver {
            driver.abort();
        }
    }
}

/// How something is delivered.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Settings of the engines; each gets a seed of its own.
    pub engine: DeliveryConfig,
    /// How long a try may take.
    pub timeout: Duration,
    /// Dead letters at most.
    pub dead_letters: u64,
    /// Whether nothing is sent for now.
    pub paused: bool,
}

impl Settings {
    /// As the namespace declares a target.
    pub fn of(target: &wal_core::namespace::Target) -> Self {
        Self {
            engine: config(&target.delivery),
            timeout: Duration::from_millis(target.delivery.timeout_ms),
            dead_letters: target.delivery.dead_letters,
            paused: target.paused,
        }
    }
}

/// The engine's settings, from those of the namespace.
fn config(settings: &DeliverySettings) -> DeliveryConfig {
    const MS: u64 = 1_000;
    let mut config = DeliveryConfig::new(0);
    config.window.ceiling = u32::try_from(settings.in_flight).unwrap_or(u32::MAX);
    config.window.initial = config.window.initial.min(config.window.ceiling);
    config.retry.max_tries = u32::try_from(settings.tries).unwrap_or(u32::MAX);
    config.retry.max_age_us = Some(settings.max_age_ms.saturating_mul(MS));
    config.retry.pauses = Pauses {
        first_us: settings.first_pause_ms * MS,
        longest_us: settings.longest_pause_ms * MS,
    };
    config
}

/// The time since a beginning, and of the wall.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    began: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { began: Instant::now() }
    }

    pub(crate) fn now(self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall_us = i64::try_from(wall.as_micros()).unwrap_or(i64::MAX);
        let mono_us = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        Now { wall_us, mono_us }
    }

    /// When a time of [`Now::mono_us`] is.
    fn at(self, mono_us: u64) -> tokio::time::Instant {
        tokio::time::Instant::from_std(self.began + Duration::from_micros(mono_us))
    }
}
