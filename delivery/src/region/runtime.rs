//! Where the gathering meets the world.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use crossbeam_channel as channel;
use metrics::{Counter, Gauge, counter, gauge};
use participant::follow::{Place, Told};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use wal_core::log::IntentLog;
use wal_core::message::MESSAGES;
use wal_core::namespace::RegionSettings;
use wal_core::record::{DecodeError, Reader as Bytewise, Writer};
use wal_core::region::{RegionSet, announces};
use wal_core::{RowMutation, ShardId, TableId, Timestamp};

use super::gather::{Gather, Piece};
use super::{Applied, Arrived, Home, Peer, PeerError};
use crate::runtime::reader::{Batch as Read, Order, Reader};
use crate::runtime::{Clock, Members, Picks, courses, should_have};
use crate::store::{Claim, Course, Mark, Owner, Store, StoreError};

/// How often it is looked who sends, and how far everything is stored.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often it is looked whether shards are silent.
const PULSE_EVERY: Duration = Duration::from_millis(10);
/// Batches of what was read that may wait.
const BATCHES: usize = 64;
/// The pause after the other region has failed, at first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// After it could not go on, it begins anew so much later.
const AGAIN_AFTER: Duration = Duration::from_secs(5);
/// A region that is sent nothing is asked so often whether it is there.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// The form of a place in the store.
const PLACE_VERSION: u8 = 1;

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

/// What goes to another region: what was committed here, but messages, and unless its transaction names others.
#[derive(Clone, Debug)]
pub struct PiecesTo {
    /// The region's number.
    pub region: u8,
    /// The table that says what has arrived here: each region has its own.
    pub arrived: TableId,
}

impl Picks for PiecesTo {
    type Item = Piece;

    fn pick(&self, told: &Told) -> Result<Vec<Piece>, String> {
        let goes = |part: &[_]| RegionSet::of(part).has(self.region);
        if !told.parts.iter().all(|(_, part)| goes(part)) {
            return Ok(Vec::new());
        }
        let rows = told.written_here(|table| table != self.arrived && table != MESSAGES);
        if rows.is_empty() && !told.parts.iter().any(|(_, part)| announces(part)) {
            return Ok(Vec::new());
        }
        let size = |row: &RowMutation| row.key.size_bytes() + row.delta.size_bytes();
        let bytes = rows.iter().map(size).sum();
        Ok(vec![Piece { id: told.id, timestamp: told.timestamp, rows, bytes }])
    }

    fn bytes(&self, piece: &Piece) -> usize {
        piece.bytes
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
enum Ended {
    /// It is to stop.
    Stopped,
    /// Another process has taken over, or should.
    Deposed,
    /// It cannot go on for now.
    Failed(String),
}

/// What has come of something that was begun.
enum Done {
    Applied(Result<Applied, PeerError>),
    Asked(Result<Arrived, PeerError>),
    Pulsed(Result<(), String>),
    Marked(Result<bool, StoreError>),
}

struct Sender {
    parts: Arc<ShipParts>,
    /// That of the first shard: who has it has all.
    course: Course,
    metrics: ShipMetrics,
    clock: Clock,
    shown: watch::Sender<ShipStatus>,
    stopped: watch::Receiver<bool>,
}

impl Sender {
    async fn run(mut self) {
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
            let ended = self.term(claims).await;
            for (course, generation) in self.courses().zip(generations) {
                let _ = self.parts.store.release(course, generation).await; // it is claimed anew all the same
            }
            match ended {
                Ended::Stopped => return,
                Ended::Deposed => {
                    self.shown.send_replace(ShipStatus::default());
                    tokio::time::sleep(LOOK_EVERY).await;
                }
                Ended::Failed(why) => {
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

    fn courses(&self) -> impl Iterator<Item = Course> {
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

    /// Sends until something ends it.
    async fn term(&mut self, claims: Vec<Claim>) -> Ended {
        let arrived = match self.first_arrived().await {
            Ok(arrived) => arrived,
            Err(ended) => return ended,
        };
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
        let log = self.parts.log.identity();
        for (course, claim) in self.courses().zip(&claims) {
            let mark = claim.mark.as_ref().filter(|mark| mark.log == log);
            let place = mark.and_then(|mark| place_of(mark).ok());
            // One that was stored when more had arrived there than has now is of no use: read all that is left.
            let place = place.filter(|(watermark, _)| *watermark <= arrived.watermark);
            let place = place.map(|(_, place)| place).unwrap_or_default();
            let begin = Order::Begin { shard: course.shard, generation: 0, place };
            let _ = to_reader.send(begin); // a reader that has ended closes its batches
        }
        let is_ahead = arrived.term > self.parts.settings.term;
        let mut term = Term {
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
        let mut looks = tokio::time::interval(LOOK_EVERY);
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
                self.store_marks_at_last(&mut term).await;
                return ended;
            }
            self.apply(&mut term);
        }
    }

    /// Where the other region is. Tried until it answers.
    async fn first_arrived(&mut self) -> Result<Arrived, Ended> {
        let mut pause = PAUSES.0;
        loop {
            let answer = tokio::select! {
                answer = self.parts.peer.arrived() => answer,
                () = is_stopped(&mut self.stopped) => return Err(Ended::Stopped),
            };
            match answer {
                Ok(arrived) => {
                    self.adopt(&arrived).await;
                    return Ok(arrived);
                }
                Err(error) => {
                    self.metrics.failures.increment(1);
                    self.show_problem(&error.text);
                    tokio::time::sleep(error.retry_after.unwrap_or(pause)).await;
                    pause = (pause * 2).min(PAUSES.1);
                }
            }
            let owners = self.parts.store.owners(&self.parts.namespace).await;
            if owners.is_ok_and(|owners| !self.is_mine(&owners)) {
                return Err(Ended::Deposed);
            }
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

    fn on_read(
        &self,
        term: &mut Term,
        first: Read<Piece>,
        more: &mut mpsc::Receiver<Read<Piece>>,
    ) -> Result<(), Ended> {
        let now_us = self.clock.now().mono_us;
        let mut next = Some(first);
        while let Some(read) = next {
            let Read { shard, items, place, closed, unseen, failed, .. } = read;
            if let Some(why) = failed {
                return Err(Ended::Failed(format!("shard {shard}: {why}")));
            }
            if unseen > term.gather.watermark() {
                return Err(Ended::Failed(behind(shard, &self.parts.to)));
            }
            term.gather.take(now_us, shard, items, place, closed);
            next = more.try_recv().ok();
        }
        let most = usize::try_from(self.parts.settings.buffer_bytes).unwrap_or(usize::MAX);
        for (shard, said) in (0..).map(ShardId).zip(&mut term.room) {
            let is_there = term.gather.has_room(shard, most);
            if *said != is_there {
                *said = is_there;
                let _ = term.to_reader.send(Order::Room { shard, is_there }); // as above
            }
        }
        Ok(())
    }

    /// Begins the next batch, if none is under way.
    fn apply(&self, term: &mut Term) {
        if term.applying.is_some() || Instant::now() < term.not_before {
            return;
        }
        let most = usize::try_from(self.parts.settings.batch_bytes).unwrap_or(usize::MAX);
        let Some(batch) = term.gather.next(most) else { return };
        term.applying = Some((batch.until, batch.transactions, batch.bytes));
        let (parts, done, arrived) =
            (Arc::clone(&self.parts), term.done.0.clone(), term.arrived.transactions);
        tokio::spawn(async move {
            let timeout = Duration::from_millis(parts.settings.timeout_ms);
            let applied = tokio::time::timeout(timeout, parts.peer.apply(batch, arrived)).await;
            let applied = applied.unwrap_or_else(|_| {
                let text = format!("region {:?} did not answer within {timeout:?}", parts.to);
                Err(PeerError { text, retry_after: None })
            });
            let _ = done.send(Done::Applied(applied)); // a term that has ended hears nothing
        });
    }

    fn on_done(&self, term: &mut Term, done: Done) -> Result<(), Ended> {
        match done {
            Done::Applied(applied) => return self.on_applied(term, applied),
            Done::Asked(Ok(arrived)) => {
                if self.parts.settings.follows(arrived.term, &arrived.homes) {
                    return Err(moved());
                }
                term.problem = None;
            }
            Done::Asked(Err(error)) => {
                self.metrics.failures.increment(1);
                term.problem = Some(error.text);
            }
            Done::Pulsed(Ok(())) => {
                term.pulsing = false;
                self.metrics.pulses.increment(1);
            }
            Done::Pulsed(Err(why)) => {
                term.pulsing = false;
                tracing::debug!(namespace = %self.parts.namespace, why, "a pulse failed");
            }
            Done::Marked(marked) => {
                term.marking = false;
                match marked {
                    Ok(true) => {}
                    Ok(false) => return Err(Ended::Deposed),
                    Err(error) => tracing::warn!(%error, "it is not stored how far a region is"),
                }
            }
        }
        Ok(())
    }

    fn on_applied(
        &self,
        term: &mut Term,
        applied: Result<Applied, PeerError>,
    ) -> Result<(), Ended> {
        let Some((until, transactions, bytes)) = term.applying.take() else { return Ok(()) };
        match applied {
            Ok(Applied::Yes { term: there }) => {
                term.contact = Instant::now();
                if there > self.parts.settings.term && !term.is_ahead {
                    return Err(moved());
                }
                term.gather.applied(until);
                term.arrived.watermark = until;
                term.arrived.transactions += transactions;
                term.pause = PAUSES.0;
                term.problem = None;
                self.metrics.transactions.increment(transactions);
                self.metrics.bytes.increment(bytes as u64);
                self.metrics.batches.increment(1);
            }
            // The answer to an earlier try was lost, or somebody else sends, too.
            Ok(Applied::Not(arrived)) if arrived.watermark > term.gather.watermark() => {
                term.gather.applied(arrived.watermark);
                term.arrived = arrived;
            }
            Ok(Applied::Not(arrived)) => {
                let why = format!(
                    "region {:?} has less than it had: {} instead of {}; what is missing is sent again",
                    self.parts.to,
                    arrived.watermark,
                    term.gather.watermark()
                );
                return Err(Ended::Failed(why));
            }
            Err(error) => {
                self.metrics.failures.increment(1);
                let pause = error.retry_after.unwrap_or(term.pause);
                term.not_before = Instant::now() + pause;
                term.pause = (term.pause * 2).min(PAUSES.1);
                if term.problem.is_none() {
                    let (namespace, region) = (&self.parts.namespace, &self.parts.to);
                    tracing::warn!(%namespace, %region, why = error.text, "a region does not take a batch; trying again");
                }
                term.problem = Some(error.text);
            }
        }
        Ok(())
    }

    /// Gives a pulse to shards that hold up the others.
    fn pulse(&self, term: &mut Term) {
        if term.pulsing {
            return;
        }
        let after_us = self.parts.settings.pulse_after_ms * 1_000;
        let before_us = self.clock.now().mono_us.saturating_sub(after_us);
        let silent = term.gather.silent(before_us);
        if silent.is_empty() {
            return;
        }
        term.pulsing = true;
        let (parts, done) = (Arc::clone(&self.parts), term.done.0.clone());
        tokio::spawn(async move {
            let pulsed = parts.home.pulse(silent).await;
            if pulsed.is_err() {
                tokio::time::sleep(PAUSES.0).await;
            }
            let _ = done.send(Done::Pulsed(pulsed)); // as above
        });
    }

    /// Shows how it stands, stores how far it is, and looks whether somebody else should send.
    async fn look(&self, term: &mut Term) -> Result<(), Ended> {
        let status = self.status(term);
        self.metrics.show(&status, self.parts.shards);
        self.shown.send_replace(status);
        let marks = self.marks(term);
        if !term.marking && !marks.is_empty() {
            term.marking = true;
            let (parts, done) = (Arc::clone(&self.parts), term.done.0.clone());
            tokio::spawn(async move {
                let marked = parts.store.mark(marks).await;
                let marked = marked.map(|marked| marked.into_iter().all(|it| it));
                let _ = done.send(Done::Marked(marked)); // as above
            });
        }
        if term.applying.is_none() && term.contact.elapsed() >= ASK_EVERY {
            // Where nothing is to be sent: whether it is there, and has moved homes.
            term.contact = Instant::now();
            let (parts, done) = (Arc::clone(&self.parts), term.done.0.clone());
            tokio::spawn(async move {
                let _ = done.send(Done::Asked(parts.peer.arrived().await)); // as above
            });
        }
        let should = should_have(&self.parts.members.alive(), &self.course);
        let is_other = should.is_some_and(|should| should != self.parts.members.me());
        if is_other { Err(Ended::Deposed) } else { Ok(()) }
    }

    fn status(&self, term: &Term) -> ShipStatus {
        let wall_us = self.clock.now().wall_us;
        let lag = |at: Timestamp| u64::try_from(wall_us.saturating_sub(at.0)).unwrap_or(0);
        ShipStatus {
            sends: true,
            watermark: term.gather.watermark(),
            transactions: term.arrived.transactions,
            waiting: term.gather.waiting(),
            lag_us: term.gather.oldest().into_iter().map(|(shard, at)| (shard, lag(at))).collect(),
            problem: term.problem.clone(),
        }
    }

    /// What has changed of how far each shard is.
    fn marks(&self, term: &mut Term) -> Vec<(Course, u64, Mark)> {
        let mut marks = Vec::new();
        let shards = self.courses().zip(&term.claims).zip(&mut term.stored);
        for ((course, generation), stored) in shards {
            let Some(place) = term.gather.resume(course.shard) else { continue };
            if stored.as_ref() != Some(place) {
                *stored = Some(place.clone());
                let mark = Mark {
                    log: self.parts.log.identity(),
                    dealt_with: place.told,
                    hold: place.from,
                    place: encode(term.gather.watermark(), place),
                };
                marks.push((course, *generation, mark));
            }
        }
        marks
    }

    async fn store_marks_at_last(&self, term: &mut Term) {
        let marks = self.marks(term);
        if !marks.is_empty() {
            let _ = self.parts.store.mark(marks).await; // who comes next reads a little more
        }
    }
}

/// One term of sending.
struct Term {
    gather: Gather,
    arrived: Arrived,
    /// The generation of each shard's claim.
    claims: Vec<u64>,
    to_reader: channel::Sender<Order>,
    /// What the reader was last told of each shard's room.
    room: Vec<bool>,
    /// The last place of each shard that was given to the store.
    stored: Vec<Option<Place>>,
    /// The batch under way: its end, its transactions, its bytes.
    applying: Option<(Timestamp, u64, usize)>,
    pulsing: bool,
    marking: bool,
    pause: Duration,
    not_before: Instant,
    /// When the other region was last asked something.
    contact: Instant,
    /// It is in a later term, which this region enters only when somebody says that it has everything.
    is_ahead: bool,
    problem: Option<String>,
    done: (mpsc::UnboundedSender<Done>, mpsc::UnboundedReceiver<Done>),
}

/// Waits until it is to stop.
async fn is_stopped(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stop| *stop).await; // who asked is gone: that is the same
}

fn owner_of<'a>(owners: &'a [Owner], course: &Course) -> Option<&'a Owner> {
    owners.iter().find(|owner| owner.course == *course)
}

fn moved() -> Ended {
    Ended::Failed("homes have moved to another region".to_owned())
}

fn behind(shard: ShardId, region: &str) -> String {
    format!(
        "the log of shard {shard} begins behind what region {region:?} has: copy the tables there, with their \
         write times, and say so with `handfast region accept`"
    )
}

/// A place, and what had arrived when it was stored.
fn encode(watermark: Timestamp, place: &Place) -> Bytes {
    let mut bytes = Vec::with_capacity(64);
    let mut out = Writer::new(&mut bytes);
    out.byte(PLACE_VERSION);
    out.piece(&watermark);
    out.piece(place);
    bytes.into()
}

fn place_of(mark: &Mark) -> Result<(Timestamp, Place), DecodeError> {
    let mut input = Bytewise::new(mark.place.clone());
    let found = input.byte()?;
    if found != PLACE_VERSION {
        return Err(DecodeError::Version { found, expected: PLACE_VERSION });
    }
    let place = (input.piece()?, input.piece()?);
    input.finish()?;
    Ok(place)
}

struct ShipMetrics {
    namespace: Arc<str>,
    region: Arc<str>,
    transactions: Counter,
    bytes: Counter,
    batches: Counter,
    pulses: Counter,
    failures: Counter,
    watermark: Gauge,
    waiting: Gauge,
}

impl ShipMetrics {
    fn new(namespace: &Arc<str>, region: &Arc<str>) -> Self {
        let labels = || (Arc::clone(namespace), Arc::clone(region));
        macro_rules! labelled {
            ($kind:ident, $name:literal) => {{
                let (namespace, region) = labels();
                $kind!($name, "namespace" => namespace, "region" => region)
            }};
        }
        Self {
            namespace: Arc::clone(namespace),
            region: Arc::clone(region),
            transactions: labelled!(counter, "handfast_region_transactions_total"),
            bytes: labelled!(counter, "handfast_region_bytes_total"),
            batches: labelled!(counter, "handfast_region_batches_total"),
            pulses: labelled!(counter, "handfast_region_pulses_total"),
            failures: labelled!(counter, "handfast_region_failures_total"),
            watermark: labelled!(gauge, "handfast_region_watermark_seconds"),
            waiting: labelled!(gauge, "handfast_region_waiting_bytes"),
        }
    }

    fn show(&self, status: &ShipStatus, shards: u16) {
        self.watermark.set(status.watermark.0 as f64 / 1e6);
        self.waiting.set(status.waiting.1 as f64);
        for shard in (0..shards).map(ShardId) {
            let lag_us = status.lag_us.get(&shard).copied().unwrap_or(0);
            let (namespace, region) = (Arc::clone(&self.namespace), Arc::clone(&self.region));
            gauge!(
                "handfast_region_lag_seconds",
                "namespace" => namespace, "region" => region, "shard" => shard.to_string()
            )
            .set(lag_us as f64 / 1e6);
        }
    }
}
