//! Where the schedule meets the world.

use std::sync::Arc;
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use wal_core::log::IntentLog;
use wal_core::{Millis, ShardId};

use super::behind::WriteBehind;
use super::engine::{Ended, Schedule, ScheduleConfig, Wanted};
use super::index::{Change, Entry, EntryState, Filter, Index, Noted};
use super::stream::{ChangesOf, DelayedTable, ToldChange, decode};
use super::{Fired, Fires};
use crate::caught::{caught_later, stored};
use crate::config::{DeliveryConfig, Pauses};
use crate::engine::Paused;
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
/// Parts of one shard whose change is held at most. Each takes a slot of the window: the rest is for what is noted.
const HELD_CHANGES: usize = 2_048;
/// Changes of one shard that are under way at once.
const WINDOW: u32 = 2 * HELD_CHANGES as u32;
/// Pauses before what was not answered in time is asked for again.
const PAUSES: Pauses = Pauses { first_us: 100_000, longest_us: 5_000_000 };
/// A change may take so long to be noted.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Of what is heard so much is taken in before something else is looked at.
const HEARD_TOGETHER: usize = 1_000;
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
    heard: mpsc::UnboundedSender<Heard>,
    task: JoinHandle<()>,
}

impl Delays {
    /// Begins. Runs on the current tokio runtime.
    pub fn start(parts: DelaysParts) -> Self {
        let DelaysParts { namespace, shards, log, table, store, index, fires, in_flight, .. } =
            parts;
        let fires_here = parts.fires_here;
        // Bounded by what the engines of the delivery hold.
        let (heard, changes) = mpsc::unbounded_channel();
        let picks = ChangesOf { namespace: Arc::clone(&namespace), table };
        let delivery = Delivery::start(Parts {
            namespace: Arc::clone(&namespace),
            shards,
            log,
            name: DELAYS.into(),
            picks: Arc::new(picks),
            settings: settings(),
            target: Arc::new(Notes(heard.clone())),
            store,
            members: parts.members,
            seed: parts.seed,
        });
        let (least, most) = HELD_BY_SHARD;
        let held = (HELD / usize::from(shards.max(1))).clamp(least, most);
        let page = u32::try_from(held / 4).unwrap_or(u32::MAX);
        let task = Task {
            schedule: Schedule::new(ScheduleConfig { held, page, in_flight }),
            behind: WriteBehind::new((held / 4).min(HELD_CHANGES)),
            clock: Clock::start(),
            metrics: DelayMetrics::new(&namespace),
            namespace,
            index,
            fires_here,
            fires,
            claimed: delivery.watch_shards(),
            has: Vec::new(),
            answered: Vec::new(),
            done: mpsc::unbounded_channel(),
        };
        Self { delivery, heard, task: tokio::spawn(task.run(changes)) }
    }

    /// How the shards stand that this process has.
    pub fn shards(&self) -> Vec<ShardDelivery> {
        self.delivery.shards()
    }

    /// Does nothing more that is due, and lets the shards go; at most for `patience`.
    pub async fn stop(self, patience: Duration) {
        // What is held would hold up the delivery, which is first: what is under way of it waits for the task.
        let _ = self.heard.send(Heard::Stop); // a task that has ended holds nothing
        self.delivery.stop(patience).await;
        self.task.abort();
    }
}

/// Many at once, from the beginning: they are noted together.
fn settings() -> Settings {
    let mut engine = DeliveryConfig::new(0);
    engine.window.initial = WINDOW;
    engine.window.ceiling = WINDOW;
    engine.window.pauses = PAUSES;
    engine.window.latency = None;
    engine.retry.max_tries = u32::MAX;
    engine.retry.max_age_us = None;
    engine.retry.pauses = PAUSES;
    Settings { engine, timeout: TIMEOUT, dead_letters: 0, paused: false }
}

/// What the task hears of the stream.
enum Heard {
    /// A change was read.
    Read { noted: Noted, is_insert: bool },
    /// It is to be dealt with.
    Asked { noted: Noted, answer: oneshot::Sender<Answer> },
    /// It ends soon.
    Stop,
}

/// The index as a target.
struct Notes(mpsc::UnboundedSender<Heard>);

impl Target for Notes {
    fn send(&self, outgoing: Outgoing) -> Later<'_, Answer> {
        Box::pin(async move {
            let Some((noted, _)) = change(&outgoing) else {
                return failed(ErrorClass::Ours, "a change that cannot be read");
            };
            let (answer, answered) = oneshot::channel();
            if self.0.send(Heard::Asked { noted, answer }).is_err() {
                return failed(ErrorClass::Transient, "it is being stopped");
            }
            answered
                .await
                .unwrap_or_else(|_| failed(ErrorClass::Transient, "it was stopped meanwhile"))
        })
    }

    fn announce(&self, outgoing: &Outgoing) {
        if let Some((noted, is_insert)) = change(outgoing) {
            let _ = self.0.send(Heard::Read { noted, is_insert }); // nothing is asked of one that has ended
        }
    }
}

/// The change that a message is, and whether it is the first of its name.
pub fn change(outgoing: &Outgoing) -> Option<(Noted, bool)> {
    let ToldChange { change, is_insert } = decode(&outgoing.message.payload)?;
    let Outgoing { shard, name, timestamp, .. } = *outgoing;
    Some((Noted { name, shard, written: timestamp, change }, is_insert))
}

fn failed(class: ErrorClass, text: &str) -> Answer {
    Answer::Failed(Failure { class, text: text.into() })
}

/// What has come of something that was begun.
enum Done {
    Noted(Result<(), StoreError>),
    Loaded { shard: ShardId, how: Result<Vec<Entry>, StoreError> },
    Fired { shard: ShardId, name: Name, due: Millis, fired: Fired },
}

struct Task {
    schedule: Schedule,
    behind: WriteBehind<oneshot::Sender<Answer>>,
    clock: Clock,
    metrics: DelayMetrics,
    namespace: Arc<str>,
    index: Arc<dyn Index>,
    fires_here: bool,
    fires: Arc<dyn Fires>,
    claimed: watch::Receiver<Vec<ShardDelivery>>,
    /// The shards that were claimed when it was looked last.
    has: Vec<ShardId>,
    /// Who asked for a change that is dealt with.
    answered: Vec<oneshot::Sender<Answer>>,
    done: (mpsc::UnboundedSender<Done>, mpsc::UnboundedReceiver<Done>),
}

impl Task {
    async fn run(mut self, mut changes: mpsc::UnboundedReceiver<Heard>) {
        let mut every = tokio::time::interval(SHOW_EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut wanted = Vec::new();
        loop {
            let now = self.clock.now();
            let wakes = [self.schedule.next_wake(now), self.behind.next_wake(now)];
            let wake = wakes.into_iter().flatten().min();
            let sleep = tokio::time::sleep(Duration::from_micros(wake.unwrap_or(0)));
            tokio::select! {
                changed = self.claimed.changed() => match changed {
                    Ok(()) => self.on_claims(),
                    Err(_) => return, // the delivery is no more
                },
                Some(heard) = changes.recv() => {
                    self.on_heard(heard);
                    let mut more = HEARD_TOGETHER;
                    while more > 0 && let Ok(heard) = changes.try_recv() {
                        self.on_heard(heard);
                        more -= 1;
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
            for answer in self.answered.drain(..) {
                let _ = answer.send(Answer::Delivered); // the try was given up meanwhile
            }
            self.note();
            self.schedule.poll(self.clock.now(), &mut wanted);
            for wanted in wanted.drain(..) {
                self.begin(wanted);
            }
        }
    }

    /// Only what was there and is not any more has ended: a shard of which something was told may have been
    /// claimed since it was shown last.
    fn on_claims(&mut self) {
        let now = self.clock.now();
        let shown = self.claimed.borrow_and_update().clone();
        let claimed: Vec<ShardId> = shown.iter().map(|it| it.shard).collect();
        for ended in self.has.iter().filter(|shard| !claimed.contains(shard)) {
            self.schedule.end(*ended);
            self.behind.end(*ended);
        }
        for shown in shown.iter().filter(|_| self.fires_here) {
            self.schedule.begin(shown.shard);
            if !self.has.contains(&shown.shard) {
                self.behind.begin(now, shown.shard);
            }
            // What is held would hold up whoever is to have it next.
            if shown.status.paused == Some(Paused::Draining) {
                self.behind.end(shown.shard);
            }
        }
        self.has = claimed;
    }

    fn on_heard(&mut self, heard: Heard) {
        match heard {
            Heard::Read { noted, is_insert } => {
                let now = self.clock.now();
                if self.behind.read(now, noted, is_insert, &mut self.answered) {
                    self.tell(noted);
                }
            }
            Heard::Asked { noted, answer } => self.behind.ask(&noted, answer, &mut self.answered),
            Heard::Stop => self.behind.end_all(),
        }
    }

    /// Tells the schedule of a change, if what is due is done here.
    fn tell(&mut self, Noted { name, shard, change, .. }: Noted) {
        if self.fires_here {
            self.schedule.told(self.clock.now(), shard, name, change);
        }
    }

    /// Gives the index what it is to have now.
    fn note(&mut self) {
        let Some(changes) = self.behind.batch(self.clock.now()) else { return };
        let (index, namespace, done) =
            (Arc::clone(&self.index), Arc::clone(&self.namespace), self.done.0.clone());
        tokio::spawn(async move {
            let how = stored(|| index.note(&namespace, changes)).await;
            let _ = done.send(Done::Noted(how)); // whoever has stopped hears nothing
        });
    }

    fn begin(&mut self, wanted: Wanted) {
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
                    let how = stored(|| index.entries(&namespace, filter, after, limit)).await;
                    let _ = done.send(Done::Loaded { shard, how }); // as above
                });
            }
            Wanted::Fire { name, shard, due, time } => {
                self.behind.fires(self.clock.now(), shard, name);
                let fires = Arc::clone(&self.fires);
                tokio::spawn(async move {
                    let fired = caught_later(async { fires.fire(shard, name, time).await });
                    let fired = fired.await.unwrap_or_else(|panicked| {
                        tracing::error!(part = %name, %panicked, "what is due panicked: report it");
                        Fired::Again { why: panicked.to_string() }
                    });
                    let _ = done.send(Done::Fired { shard, name, due, fired }); // as above
                });
            }
        }
    }

    fn on_done(&mut self, done: Done) {
        let now = self.clock.now();
        match done {
            Done::Noted(how) => {
                if let Err(error) = &how {
                    tracing::warn!(namespace = %self.namespace, %error, "what is due later is not noted");
                }
                for noted in self.behind.noted(now, how.is_ok(), &mut self.answered) {
                    self.tell(noted);
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
        let (change, written) = match fired {
            Fired::Done => {
                self.metrics.fired.increment(1);
                self.metrics.lateness.record(late_ms as f64 / 1_000.0);
                self.behind.done(shard, name, &mut self.answered);
                return self.schedule.fired(now, shard, name, Ended::Changed(Change::Gone));
            }
            Fired::Gone => {
                self.behind.missing(shard, name, &mut self.answered);
                return self.schedule.fired(now, shard, name, Ended::Changed(Change::Gone));
            }
            Fired::Again { why } => {
                self.metrics.again.increment(1);
                tracing::debug!(namespace = %self.namespace, part = %name, why, "trying again");
                self.behind.not_done(shard, name);
                return self.schedule.fired(now, shard, name, Ended::Again);
            }
            Fired::Later { due, written } => (Change::Due(due), written),
            Fired::Refused { written } => {
                self.metrics.refused.increment(1);
                (Change::Refused, written)
            }
        };
        let noted = Noted { name, shard, written, change };
        self.behind.correct(now, noted, &mut self.answered);
        self.schedule.fired(now, shard, name, Ended::Changed(change));
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
