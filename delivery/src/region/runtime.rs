//! Where the gathering meets the world.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel as channel;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use wal_core::log::IntentLog;
use wal_core::namespace::RegionSettings;
use wal_core::{ShardId, Timestamp};

use super::gather::Gather;
use super::metrics::ShipMetrics;
use super::pieces::PiecesTo;
use super::term::{Term, place_of};
use super::{Arrived, Home, Peer};
use crate::runtime::reader::{Order, Reader};
use crate::runtime::{Clock, Members, courses, should_have};
use crate::store::{Claim, Course, Owner, Store, StoreError};

/// How often it is looked who sends, and how far everything is stored.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often it is looked whether shards are silent.
const PULSE_EVERY: Duration = Duration::from_millis(10);
/// Batches of what was read that may wait.
const BATCHES: usize = 64;
/// The pause after the other region has failed, at first, and at most.
pub(super) const PAUSES: (Duration, Duration) =
    (Duration::from_millis(100), Duration::from_secs(5));
/// After it could not go on, it begins anew so much later.
const AGAIN_AFTER: Duration = Duration::from_secs(5);
/// What sending to another region needs.
pub struct ShipParts {
    /// The namespace.
    pub namespace: Arc<str>,
    /// Its shards.
    pub shards: u16,
    /// Its log.
    pub log: Arc<dyn IntentLog>,
    /// How, and this region's term.
    pub settings: RegionSettings,
    /// The other region.
    pub to: Arc<str>,
    /// What of the committed stream goes there.
    pub picks: PiecesTo,
    /// It.
    pub peer: Arc<dyn Peer>,
    /// This region.
    pub home: Arc<dyn Home>,
    /// Claims and marks.
    pub store: Arc<dyn Store>,
    /// Who else sends.
    pub members: Members,
}

impl ShipParts {
    /// What sending to a region is called among deliveries; no target may be.
    pub fn course_of(region: &str) -> String {
        format!("@region/{region}")
    }
}

/// How sending to another region stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShipStatus {
    /// Whether this process does it.
    pub sends: bool,
    /// Everything is there that committed here at or before this time.
    pub watermark: Timestamp,
    /// How many transactions are there.
    pub transactions: u64,
    /// How many timestamps were read and are not there, and their bytes.
    pub waiting: (usize, usize),
    /// Of each shard from which something waits, how long the oldest does, microseconds.
    pub lag_us: BTreeMap<ShardId, u64>,
    /// Why it does not go on, if so.
    pub problem: Option<String>,
}

/// Sends what a namespace commits to another region, if this process should. Dropping it stops it at once;
/// [`Ship::stop`] in order.
pub struct Ship {
    stop: watch::Sender<bool>,
    status: watch::Receiver<ShipStatus>,
    task: Option<JoinHandle<()>>,
}

impl Ship {
    /// Begins. Runs on the current tokio runtime.
    pub fn start(parts: ShipParts) -> Self {
        let (stop, stopped) = watch::channel(false);
        let (shown, status) = watch::channel(ShipStatus::default());
        let course = Course {
            namespace: Arc::clone(&parts.namespace),
            target: ShipParts::course_of(&parts.to).into(),
            shard: ShardId(0),
        };
        let metrics = ShipMetrics::new(&parts.namespace, &parts.to);
        let clock = Clock::start();
        let parts = Arc::new(parts);
        let sender = Sender { parts, course, metrics, clock, shown, stopped };
        Self { stop, status, task: Some(tokio::spawn(sender.run())) }
    }

    /// How it stands, about a second ago at most.
    pub fn status(&self) -> ShipStatus {
        self.status.borrow().clone()
    }

    /// Sends nothing more, waits for what is under way, and lets others go on; at most for `patience`.
    pub async fn stop(mut self, patience: Duration) {
        let _ = self.stop.send(true); // it may have ended by itself
        if let Some(mut task) = self.task.take()
            && tokio::time::timeout(patience, &mut task).await.is_err()
        {
            task.abort();
        }
    }
}

impl Drop for Ship {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// Why a term of sending ended.
pub(super) enum Ended {
    /// It is to stop.
    Stopped,
    /// Another process has taken over, or should.
    Deposed,
    /// What it knew of the other region is not so any more: it begins anew at once, from what that has said, if it
    /// has.
    Outdated(String, Option<Arrived>),
    /// It cannot go on for now.
    Failed(String),
    /// The log cannot be read from where it should be.
    Unread(String),
}

pub(super) struct Sender {
    pub(super) parts: Arc<ShipParts>,
    /// That of the first shard: who has it has all.
    pub(super) course: Course,
    pub(super) metrics: ShipMetrics,
    pub(super) clock: Clock,
    pub(super) shown: watch::Sender<ShipStatus>,
    stopped: watch::Receiver<bool>,
}

impl Sender {
    async fn run(mut self) {
        // What the other region has said; whether to read on from where the log was read to.
        let (mut arrived, mut goes_on) = (None, true);
        loop {
            let claims = match self.claim().await {
                Ok(Some(claims)) => claims,
                Ok(None) => return,
                Err(error) => {
                    self.show_problem(&error.to_string());
                    tokio::time::sleep(LOOK_EVERY).await;
                    continue;
                }
            };
            let generations: Vec<u64> = claims.iter().map(|claim| claim.generation).collect();
            let ended = self.term(claims, arrived.take(), goes_on).await;
            goes_on = match ended {
                Ended::Unread(_) => false,
                Ended::Failed(_) => goes_on,
                Ended::Stopped | Ended::Deposed | Ended::Outdated(..) => true,
            };
            for (course, generation) in self.courses().zip(generations) {
                let _ = self.parts.store.release(course, generation).await; // it is claimed anew all the same
            }
            match ended {
                Ended::Stopped => return self.metrics.clear(self.parts.shards),
                Ended::Deposed => {
                    self.metrics.clear(self.parts.shards);
                    self.shown.send_replace(ShipStatus::default());
                    tokio::time::sleep(LOOK_EVERY).await;
                }
                Ended::Outdated(why, said) => {
                    let (namespace, region) = (&self.parts.namespace, &self.parts.to);
                    tracing::warn!(%namespace, %region, why, "sending begins anew");
                    if let Some(said) = &said {
                        self.adopt(said).await;
                    }
                    arrived = said;
                }
                Ended::Failed(why) | Ended::Unread(why) => {
                    let (namespace, region) = (&self.parts.namespace, &self.parts.to);
                    tracing::error!(%namespace, %region, why, "nothing is sent to a region for now");
                    self.metrics.failures.increment(1);
                    self.show_problem(&why);
                    tokio::select! {
                        () = tokio::time::sleep(AGAIN_AFTER) => {}
                        () = is_stopped(&mut self.stopped) => return,
                    }
                }
            }
        }
    }

    fn show_problem(&self, why: &str) {
        self.shown.send_modify(|status| status.problem = Some(why.to_owned()));
    }

    pub(super) fn courses(&self) -> impl Iterator<Item = Course> {
        courses(&self.course, self.parts.shards)
    }

    /// Waits until this process should send, and claims all shards. `None` if it is to stop.
    async fn claim(&mut self) -> Result<Option<Vec<Claim>>, StoreError> {
        loop {
            if *self.stopped.borrow() {
                return Ok(None);
            }
            let owners = self.parts.store.owners(&self.parts.namespace).await?;
            if self.is_mine(&owners) {
                let mut claims = Vec::new();
                for course in self.courses() {
                    let generation = owner_of(&owners, &course).map_or(0, |owner| owner.generation);
                    let me = self.parts.members.me();
                    match self.parts.store.claim(course, me, generation).await? {
                        Some(claim) => claims.push(claim),
                        None => break, // somebody was quicker
                    }
                }
                if claims.len() == usize::from(self.parts.shards) {
                    return Ok(Some(claims));
                }
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = is_stopped(&mut self.stopped) => return Ok(None),
            }
        }
    }

    /// Whether this process should send, and nobody else is alive who does.
    fn is_mine(&self, owners: &[Owner]) -> bool {
        let (me, alive) = (self.parts.members.me(), self.parts.members.alive());
        let has = owner_of(owners, &self.course).and_then(|owner| owner.process);
        should_have(&alive, &self.course) == Some(me)
            && has.is_none_or(|has| has == me || !alive.contains(&has))
    }

    /// Sends until something ends it. What has `arrived` may not be known yet: then it is at least what had when it
    /// was last stored how far the log was read, and from there the log is read, so that it is seen what waits.
    async fn term(&mut self, claims: Vec<Claim>, arrived: Option<Arrived>, goes_on: bool) -> Ended {
        let log = self.parts.log.identity();
        let stored: Vec<_> = (claims.iter())
            .map(|claim| claim.mark.as_ref().filter(|mark| goes_on && mark.log == log))
            .map(|mark| mark.and_then(|mark| place_of(mark).ok()))
            .collect();
        let is_known = arrived.is_some();
        let arrived = arrived.unwrap_or_else(|| Arrived {
            watermark: stored.iter().flatten().map(|(at, _)| *at).max().unwrap_or_default(),
            ..Arrived::default()
        });
        let (to_reader, orders) = channel::unbounded();
        let (batch, mut read) = mpsc::channel(BATCHES);
        let reader = Reader {
            namespace: Arc::clone(&self.parts.namespace),
            name: Arc::clone(&self.course.target),
            picks: Arc::new(self.parts.picks.clone()),
            log: Arc::clone(&self.parts.log),
            orders,
            batches: batch,
            progress_every: Duration::ZERO,
            passes_trimmed: false,
        };
        let spawned = std::thread::Builder::new().name("region".into()).spawn(|| reader.run());
        if let Err(error) = spawned {
            return Ended::Failed(format!("cannot start a thread: {error}"));
        }
        for (course, place) in self.courses().zip(stored) {
            // One that was stored when more had arrived there than has now is of no use: read all that is left.
            let place = place.filter(|(watermark, _)| *watermark <= arrived.watermark);
            let place = place.map(|(_, place)| place).unwrap_or_default();
            let begin = Order::Begin { shard: course.shard, generation: 0, place };
            let _ = to_reader.send(begin); // a reader that has ended closes its batches
        }
        let is_ahead = arrived.term > self.parts.settings.term;
        let mut term = Term {
            is_known,
            asking: None,
            unseen: None,
            gather: Gather::new(self.parts.shards, arrived.watermark),
            arrived,
            claims: claims.into_iter().map(|claim| claim.generation).collect(),
            to_reader,
            room: vec![true; usize::from(self.parts.shards)],
            stored: vec![None; usize::from(self.parts.shards)],
            applying: None,
            pulsing: false,
            marking: false,
            pause: PAUSES.0,
            not_before: Instant::now(),
            contact: Instant::now(),
            is_ahead,
            problem: None,
            done: mpsc::unbounded_channel(),
        };
        // Not at once: nothing is read yet, and so nothing would seem to wait.
        let first = tokio::time::Instant::now() + LOOK_EVERY;
        let mut looks = tokio::time::interval_at(first, LOOK_EVERY);
        let mut pulses = tokio::time::interval(PULSE_EVERY);
        for every in [&mut looks, &mut pulses] {
            every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        }
        let mut stopped = self.stopped.clone();
        loop {
            let ended = tokio::select! {
                () = is_stopped(&mut stopped) => Err(Ended::Stopped),
                batch = read.recv() => match batch {
                    Some(batch) => self.on_read(&mut term, batch, &mut read),
                    None => Err(Ended::Failed("the log is not read any more".to_owned())),
                },
                Some(done) = term.done.1.recv() => self.on_done(&mut term, done),
                _ = pulses.tick() => {
                    self.pulse(&mut term);
                    Ok(())
                }
                _ = looks.tick() => self.look(&mut term).await,
            };
            if let Err(ended) = ended {
                self.metrics.show(&self.status(&term), self.parts.shards);
                self.store_marks_at_last(&mut term).await;
                return ended;
            }
            self.ask(&mut term);
            self.apply(&mut term);
        }
    }

    /// Homes have moved while this region was away.
    async fn adopt(&self, arrived: &Arrived) {
        if !self.parts.settings.follows(arrived.term, &arrived.homes) {
            return;
        }
        let (namespace, region) = (&self.parts.namespace, &self.parts.to);
        tracing::warn!(%namespace, %region, term = arrived.term, "homes have moved: this region follows");
        if let Err(why) = self.parts.home.adopt(arrived.term, arrived.homes.clone()).await {
            tracing::error!(%namespace, %region, why, "this region could not follow");
        }
    }
}

/// Waits until it is to stop.
async fn is_stopped(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stop| *stop).await; // who asked is gone: that is the same
}

fn owner_of<'a>(owners: &'a [Owner], course: &Course) -> Option<&'a Owner> {
    owners.iter().find(|owner| owner.course == *course)
}
