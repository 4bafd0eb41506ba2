//! Where the schedule meets the world.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use wal_core::log::IntentLog;
use wal_core::{Millis, ShardId, Timestamp};

use super::engine::{Ended, Schedule, ScheduleConfig, Wanted};
use super::index::{Change, Entry, EntryState, Filter, Index, Noted};
use super::stream::{ChangesOf, DelayedTable, decode};
use super::{Fired, Fires};
use crate::config::{DeliveryConfig, Pauses};
use crate::message::{Answer, ErrorClass, Failure};
use crate::outgoing::{Name, Outgoing};
use crate::runtime::{Clock, Delivery, Members, Parts, Settings, ShardDelivery};
use crate::store::{Store, StoreError};
use crate::target::{Later, Target};

/// What the delivery is called that makes the index; no target may be.
pub const DELAYS: &str = "@delays";
/// Parts in memory, all shards together; and of one shard at least, and at most.
const HELD: usize = 1 << 17;
const HELD_BY_SHARD: (usize, usize) = (256, 1 << 14);
/// Changes that are noted together.
const NOTED_TOGETHER: usize = 1_000;
/// Changes that may wait to be noted.
const QUEUE: usize = 8_192;
/// Pauses after the index has failed.
const PAUSES: Pauses = Pauses { first_us: 100_000, longest_us: 5_000_000 };
/// A change may take so long to be noted.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How often the gauges are set.
const SHOW_EVERY: Duration = Duration::from_secs(1);

/// What the delays of a namespace need.
pub struct DelaysParts {
    /// The namespace.
    pub namespace: Arc<str>,
    /// Its shards.
    pub shards: u16,
    /// Its log.
    pub log: Arc<dyn IntentLog>,
    /// The table that keeps what is due later.
    pub table: DelayedTable,
    /// Claims and marks.
    pub store: Arc<dyn Store>,
    /// What is due when.
    pub index: Arc<dyn Index>,
    /// Whether what is due is done: if not, it is only noted when.
    pub fires_here: bool,
    /// Who does what is due.
    pub fires: Arc<dyn Fires>,
    /// Transactions that are due which are under way at once.
    pub in_flight: usize,
    /// Who else delivers.
    pub members: Members,
    /// What jitter is drawn from.
    pub seed: u64,
}

/// Does what is due in the shards of a namespace that this process has claimed. Dropping it stops it at once;
/// [`Delays::stop`] in order.
pub struct Delays {
    delivery: Delivery,
    task: JoinHandle<()>,
}

impl Delays {
    /// Begins. Runs on the current tokio runtime.
    pub fn start(parts: DelaysParts) -> Self {
        let DelaysParts { namespace, shards, log, table, store, index, fires, in_flight, .. } =
            parts;
        let fires_here = parts.fires_here;
        let (to_noted, changes) = mpsc::channel(QUEUE);
        let picks = ChangesOf { namespace: Arc::clone(&namespace), table };
        let delivery = Delivery::start(Parts {
            namespace: Arc::clone(&namespace),
            shards,
            log,
            name: DELAYS.into(),
            picks: Arc::new(picks),
            settings: settings(),
            target: Arc::new(Notes(to_noted)),
            store,
            members: parts.members,
            seed: parts.seed,
        });
        let (least, most) = HELD_BY_SHARD;
        let held = (HELD / usize::from(shards.max(1))).clamp(least, most);
        let page = u32::try_from(held / 4).unwrap_or(u32::MAX);
        let task = Task {
            schedule: Schedule::new(ScheduleConfig { held, page, in_flight }),
            clock: Clock::start(),
            metrics: DelayMetrics::new(&namespace),
            namespace,
            index,
            fires_here,
            fires,
            claimed: delivery.watch_shards(),
            has: Vec::new(),
            waiting: Vec::new(),
            is_noting: false,
            done: mpsc::unbounded_channel(),
        };
        Self { delivery, task: tokio::spawn(task.run(changes)) }
    }

    /// How the shards stand that this process has.
    pub fn shards(&self) -> Vec<ShardDelivery> {
        self.delivery.shards()
    }

    /// Does nothing more that is due, and lets the shards go; at most for `patience`.
    pub async fn stop(self, patience: Duration) {
        // First the delivery: what is under way of it waits for the task.
        self.delivery.stop(patience).await;
        self.task.abort();
    }
}

/// Many at once, from the beginning: they are noted together.
fn settings() -> Settings {
    let mut engine = DeliveryConfig::new(0);
    engine.window.initial = 1_024;
    engine.window.ceiling = 4_096;
    engine.window.pauses = PAUSES;
    engine.window.latency = None;
    engine.retry.max_tries = u32::MAX;
    engine.retry.max_age_us = None;
    engine.retry.pauses = PAUSES;
    Settings { engine, timeout: TIMEOUT, dead_letters: 0, paused: false }
}

/// A change on its way into the index.
struct Waiting {
    noted: Noted,
    answer: oneshot::Sender<Answer>,
}

/// The index as a target.
struct Notes(mpsc::Sender<Waiting>);

impl Target for Notes {
    fn send(&self, outgoing: Outgoing) -> Later<'_, Answer> {
        Box::pin(async move {
            let Some(change) = decode(&outgoing.message.payload) else {
                return failed(ErrorClass::Ours, "a change that cannot be read");
            };
            let Outgoing { shard, name, timestamp, .. } = outgoing;
            let noted = Noted { name, shard, written: timestamp, change };
            let (answer, answered) = oneshot::channel();
            if self.0.send(Waiting { noted, answer }).await.is_err() {
                return failed(ErrorClass::Transient, "it is being stopped");
            }
            answered
                .await
                .unwrap_or_else(|_| failed(ErrorClass::Transient, "it was stopped meanwhile"))
        })
    }
}

fn failed(class: ErrorClass, text: &str) -> Answer {
    Answer::Failed(Failure { class, text: text.into() })
}

/// What has come of something that was begun.
enum Done {
    Noted { waiting: Vec<Waiting>, how: Result<(), StoreError> },
    Loaded { shard: ShardId, how: Result<Vec<Entry>, StoreError> },
    Fired { shard: ShardId, name: Name, due: Millis, fired: Fired },
}

struct Task {
    schedule: Schedule,
    clock: Clock,
    metrics: DelayMetrics,
    namespace: Arc<str>,
    index: Arc<dyn Index>,
    fires_here: bool,
    fires: Arc<dyn Fires>,
    claimed: watch::Receiver<Vec<ShardDelivery>>,
    /// The shards that were claimed when it was looked last.
    has: Vec<ShardId>,
    /// Changes that are noted next.
    waiting: Vec<Waiting>,
    is_noting: bool,
    done: (mpsc::UnboundedSender<Done>, mpsc::UnboundedReceiver<Done>),
}

impl Task {
    async fn run(mut self, mut changes: mpsc::Receiver<Waiting>) {
        let mut every = tokio::time::interval(SHOW_EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut wanted = Vec::new();
        loop {
            let wake = self.schedule.next_wake(self.clock.now());
            let sleep = tokio::time::sleep(Duration::from_micros(wake.unwrap_or(0)));
            tokio::select! {
                changed = self.claimed.changed() => match changed {
                    Ok(()) => self.on_claims(),
                    Err(_) => return, // the delivery is no more
                },
                Some(waiting) = changes.recv(), if self.waiting.len() < NOTED_TOGETHER => {
                    self.on_change(waiting);
                    while self.waiting.len() < NOTED_TOGETHER
                        && let Ok(waiting) = changes.try_recv()
                    {
                        self.on_change(waiting);
                    }
                }
                Some(done) = self.done.1.recv() => {
                    self.on_done(done);
                    while let Ok(done) = self.done.1.try_recv() {
                        self.on_done(done);
                    }
                }
                () = sleep, if wake.is_some() => {}
                _ = every.tick() => self.metrics.show(&self.schedule, self.clock.now().millis()),
            }
            self.note_waiting();
            self.schedule.poll(self.clock.now(), &mut wanted);
            for wanted in wanted.drain(..) {
                self.begin(wanted);
            }
        }
    }

    /// Only what was there and is not any more has ended: a shard of which something was told may have been
    /// claimed since it was shown last.
    fn on_claims(&mut self) {
        let now: Vec<ShardId> =
            self.claimed.borrow_and_update().iter().map(|it| it.shard).collect();
        for ended in self.has.iter().filter(|shard| !now.contains(shard)) {
            self.schedule.end(*ended);
        }
        for shard in now.iter().filter(|_| self.fires_here) {
            self.schedule.begin(*shard);
        }
        self.has = now;
    }

    fn on_change(&mut self, waiting: Waiting) {
        self.tell(waiting.noted);
        self.waiting.push(waiting);
    }

    /// Tells the schedule of a change, if what is due is done here.
    fn tell(&mut self, Noted { name, shard, change, .. }: Noted) {
        if self.fires_here {
            self.schedule.told(self.clock.now(), shard, name, change);
        }
    }

    fn note_waiting(&mut self) {
        if self.is_noting || self.waiting.is_empty() {
            return;
        }
        self.is_noting = true;
        let waiting = std::mem::take(&mut self.waiting);
        // Of one name the newest: a correction may have met what it corrects.
        let mut newest: BTreeMap<Name, Noted> = BTreeMap::new();
        for Waiting { noted, .. } in &waiting {
            let known = newest.entry(noted.name).or_insert(*noted);
            if known.written <= noted.written {
                *known = *noted;
            }
        }
        let changes = newest.into_values().collect();
        let (index, namespace, done) =
            (Arc::clone(&self.index), Arc::clone(&self.namespace), self.done.0.clone());
        tokio::spawn(async move {
            let how = index.note(&namespace, changes).await;
            let _ = done.send(Done::Noted { waiting, how }); // whoever has stopped hears nothing
        });
    }

    fn begin(&self, wanted: Wanted) {
        let done = self.done.0.clone();
        match wanted {
            Wanted::Load { shard, after, limit } => {
                let (index, namespace) = (Arc::clone(&self.index), Arc::clone(&self.namespace));
                let filter = Filter {
                    shard: Some(shard),
                    state: Some(EntryState::Pending),
                    ..Filter::default()
                };
                tokio::spawn(async move {
                    let how = index.entries(&namespace, filter, after, limit).await;
                    let _ = done.send(Done::Loaded { shard, how }); // as above
                });
            }
            Wanted::Fire { name, shard, due, time } => {
                let fires = Arc::clone(&self.fires);
                tokio::spawn(async move {
                    let fired = fires.fire(shard, name, time).await;
                    let _ = done.send(Done::Fired { shard, name, due, fired }); // as above
                });
            }
        }
    }

    fn on_done(&mut self, done: Done) {
        let now = self.clock.now();
        match done {
            Done::Noted { waiting, how } => {
                self.is_noting = false;
                if let Err(error) = &how {
                    tracing::warn!(namespace = %self.namespace, %error, "what is due later is not noted");
                }
                for Waiting { noted, answer } in waiting {
                    let answered = match &how {
                        Ok(()) => {
                            self.tell(noted);
                            Answer::Delivered
                        }
                        Err(error) => {
                            let class = ErrorClass::Overloaded { retry_after_us: None };
                            failed(class, &error.0)
                        }
                    };
                    let _ = answer.send(answered); // the try was given up meanwhile
                }
            }
            Done::Loaded { shard, how } => {
                if let Err(error) = &how {
                    tracing::warn!(namespace = %self.namespace, %shard, %error, "what is due cannot be looked up");
                }
                self.schedule.loaded(now, shard, how.ok());
            }
            Done::Fired { shard, name, due, fired } => self.on_fired(shard, name, due, fired),
        }
    }

    fn on_fired(&mut self, shard: ShardId, name: Name, due: Millis, fired: Fired) {
        let now = self.clock.now();
        let late_ms = now.millis().0.saturating_sub(due.0);
        // What became of it, and when the index is to take that as written, if it will not be told otherwise.
        let (change, written) = match fired {
            Fired::Done => {
                self.metrics.fired.increment(1);
                self.metrics.lateness.record(late_ms as f64 / 1_000.0);
                (Change::Gone, None)
            }
            // It may have come back into the index late: then nobody else takes it out.
            Fired::Gone => (Change::Gone, Some(Timestamp(i64::MAX))),
            Fired::Later { due, written } => (Change::Due(due), Some(written)),
            Fired::Refused { written } => {
                self.metrics.refused.increment(1);
                (Change::Refused, Some(written))
            }
            Fired::Again { why } => {
                self.metrics.again.increment(1);
                tracing::debug!(namespace = %self.namespace, part = %name, why, "trying again");
                return self.schedule.fired(now, shard, name, Ended::Again);
            }
        };
        if let Some(written) = written {
            self.correct(Noted { name, shard, written, change });
        }
        self.schedule.fired(now, shard, name, Ended::Changed(change));
    }

    /// Tells the index what the row said. If it is not noted, it is found again.
    fn correct(&mut self, noted: Noted) {
        let (answer, _) = oneshot::channel();
        self.waiting.push(Waiting { noted, answer });
    }
}

struct DelayMetrics {
    fired: Counter,
    refused: Counter,
    again: Counter,
    lateness: Histogram,
    held: Gauge,
    overdue: Gauge,
}

impl DelayMetrics {
    fn new(namespace: &Arc<str>) -> Self {
        let name = Arc::clone(namespace);
        Self {
            fired: counter!("handfast_delayed_fired_total", "namespace" => Arc::clone(&name)),
            refused: counter!("handfast_delayed_refused_total", "namespace" => Arc::clone(&name)),
            again: counter!("handfast_delayed_retried_total", "namespace" => Arc::clone(&name)),
            lateness: histogram!("handfast_delayed_lateness_seconds", "namespace" => Arc::clone(&name)),
            held: gauge!("handfast_delayed_held", "namespace" => Arc::clone(&name)),
            overdue: gauge!("handfast_delayed_overdue_seconds", "namespace" => name),
        }
    }

    fn show(&self, schedule: &Schedule, now: Millis) {
        let status = schedule.status();
        self.held.set(status.held as f64);
        let overdue_ms = status.first_due.map_or(0, |due| now.0.saturating_sub(due.0));
        self.overdue.set(overdue_ms as f64 / 1_000.0);
    }
}
