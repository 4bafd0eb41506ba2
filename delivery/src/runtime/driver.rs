//! The task that drives the engines of a target.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel as channel;
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;
use wal_core::{Nonce, ShardId};

use super::assign::{About, courses, should_have};
use super::course::{Course, Courses, Messages, Phase, ReadNews};
use super::metrics::DeliveryMetrics;
use super::reader::{self, PROGRESS_EVERY, Reader};
use super::redrive::{redrive_all, send};
use super::{Clock, Parts, ShardDelivery};
use crate::caught::{caught, stored};
use crate::config::DeliveryConfig;
use crate::engine::{Command, Event, Paused, Which};
use crate::message::{Answer, Cause, ErrorClass, Failure, Ticket};
use crate::outgoing::Outgoing;
use crate::store::{
    self, Burial, Claim, DeadLetter, LetterCount, LetterState, Mark, Owner, StoreError,
};

/// How often it is looked who has what, and what is to be redriven.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Claims under way at once.
const CLAIMS_AT_ONCE: usize = 8;
/// Batches that may wait for the driver.
const BATCHES: usize = 16;
/// A shard whose stored place cannot be read is claimed again so much later.
const UNPLACED_FOR: Duration = Duration::from_secs(30);

/// What somebody wants.
#[derive(Debug)]
pub(super) enum Order {
    /// Try now whatever waits for a retry.
    Retry,
    /// End in order.
    Stop,
}

/// What has come of something that was begun.
enum Done {
    Answered { shard: ShardId, generation: u64, ticket: Ticket, number: u32, answer: Answer },
    Buried { shard: ShardId, generation: u64, ticket: Ticket, how: Result<Burial, StoreError> },
    Marked { marks: Vec<(ShardId, u64, Mark)>, how: Result<Vec<bool>, StoreError> },
    Looked(Result<(Vec<Owner>, Vec<LetterCount>), StoreError>),
    Claimed { shard: ShardId, how: Result<Option<Claim>, StoreError> },
    Released { shard: ShardId },
    Redriven { shard: ShardId },
}

pub(super) struct Driver {
    parts: Arc<Parts>,
    log: Nonce,
    clock: Clock,
    metrics: DeliveryMetrics,
    courses: Courses,
    to_reader: channel::Sender<reader::Order>,
    batches: mpsc::Receiver<Messages>,
    orders: mpsc::UnboundedReceiver<Order>,
    done: mpsc::UnboundedReceiver<Done>,
    to_done: mpsc::UnboundedSender<Done>,
    shown: watch::Sender<Vec<ShardDelivery>>,
    /// Shards that are being claimed or let go.
    moving: BTreeSet<ShardId>,
    /// Shards of which letters are being sent again.
    redriving: BTreeSet<ShardId>,
    /// Shards whose stored place cannot be read, why, and until when they are left alone.
    unplaced: BTreeMap<ShardId, (String, tokio::time::Instant)>,
    is_looking: bool,
    is_marking: bool,
    is_stopping: bool,
    /// The store failed, which was told.
    is_store_away: bool,
}

impl Driver {
    pub(super) fn new(
        parts: Parts,
        orders: mpsc::UnboundedReceiver<Order>,
        shown: watch::Sender<Vec<ShardDelivery>>,
    ) -> Self {
        let (to_reader, reader_orders) = channel::unbounded();
        let (batch, batches) = mpsc::channel(BATCHES);
        let (to_done, done) = mpsc::unbounded_channel();
        let reader = Reader {
            namespace: Arc::clone(&parts.namespace),
            name: Arc::clone(&parts.name),
            picks: Arc::clone(&parts.picks),
            log: Arc::clone(&parts.log),
            orders: reader_orders,
            batches: batch,
            progress_every: PROGRESS_EVERY,
            passes_trimmed: true,
        };
        let spawned = std::thread::Builder::new().name("delivery".into()).spawn(|| reader.run());
        if let Err(error) = spawned {
            // Nothing is read then, and nothing lost: the log is held.
            tracing::error!(%error, target = &*parts.name, "cannot start a thread");
        }
        Self {
            log: parts.log.identity(),
            clock: Clock::start(),
            metrics: DeliveryMetrics::new(&parts.namespace, &parts.name),
            courses: Courses::new(),
            to_reader,
            batches,
            orders,
            done,
            to_done,
            shown,
            moving: BTreeSet::new(),
            redriving: BTreeSet::new(),
            unplaced: BTreeMap::new(),
            is_looking: false,
            is_marking: false,
            is_stopping: false,
            is_store_away: false,
            parts: Arc::new(parts),
        }
    }

    pub(super) async fn run(mut self) {
        let mut every = tokio::time::interval(LOOK_EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.is_stopping || !self.courses.is_empty() || !self.moving.is_empty() {
            let wake = self.courses.values().filter_map(|it| it.engine().next_wake()).min();
            let wake = wake.map(|at| self.clock.at(at));
            let sleep = tokio::time::sleep_until(wake.unwrap_or_else(tokio::time::Instant::now));
            tokio::select! {
                Some(batch) = self.batches.recv() => self.on_batch(batch),
                Some(done) = self.done.recv() => self.on_done(done),
                order = self.orders.recv(), if !self.is_stopping => match order {
                    Some(Order::Retry) => self.retry(),
                    Some(Order::Stop) | None => self.stop(),
                },
                _ = every.tick() => self.on_tick(),
                () = sleep, if wake.is_some() => self.every_course(|| Event::Tick),
            }
            self.store_marks();
        }
    }

    fn stop(&mut self) {
        self.is_stopping = true;
        self.every_course(|| Event::Drain);
    }

    fn retry(&mut self) {
        self.read_again(true);
        self.every_course(|| Event::Retry(Which::All));
    }

    /// Reads again what could not be read, where it is time to.
    fn read_again(&mut self, is_asked: bool) {
        let now = self.clock.now();
        for (&shard, course) in &mut self.courses {
            let Some(place) = course.read_again(now, is_asked) else { continue };
            let generation = course.generation;
            let _ = self.to_reader.send(reader::Order::Begin { shard, generation, place });
            if !course.has_room {
                let _ = self.to_reader.send(reader::Order::Room { shard, is_there: false });
            }
        }
    }

    fn course(&self, shard: ShardId) -> store::Course {
        store::Course {
            namespace: Arc::clone(&self.parts.namespace),
            target: Arc::clone(&self.parts.name),
            shard,
        }
    }

    fn timeout(&self) -> Duration {
        self.parts.settings.timeout
    }

    /// Gives every engine an event.
    fn every_course(&mut self, event: impl Fn() -> Event<Outgoing>) {
        let shards: Vec<ShardId> = self.courses.keys().copied().collect();
        for shard in shards {
            self.step(shard, event());
        }
    }

    fn step(&mut self, shard: ShardId, event: Event<Outgoing>) {
        let now = self.clock.now();
        let Some(course) = self.courses.get_mut(&shard) else { return };
        let mut commands = Vec::new();
        course.step(now, event, &mut commands);
        self.obey(shard, commands);
    }

    /// Does what an engine says, and looks whether there is room for more.
    fn obey(&mut self, shard: ShardId, commands: Vec<Command<Outgoing>>) {
        let Some(course) = self.courses.get_mut(&shard) else { return };
        let generation = course.generation;
        let has_room = !course.engine().room().is_full();
        if course.phase() == Phase::Running && course.has_room != has_room {
            course.has_room = has_room;
            let _ = self.to_reader.send(reader::Order::Room { shard, is_there: has_room });
        }
        for command in commands {
            match command {
                Command::Send { ticket, number, payload, .. } => {
                    self.send(shard, generation, (ticket, number), payload);
                }
                Command::Bury { ticket, payload, cause, history, .. } => {
                    let letter = DeadLetter {
                        course: self.course(shard),
                        name: payload.name,
                        log: self.log,
                        ticket,
                        timestamp: payload.timestamp,
                        key: payload.message.key.clone(),
                        message: payload.message.encode(),
                        cause,
                        tries: history.count(),
                        history: history.kept().cloned().collect(),
                        buried_at: self.clock.now().millis(),
                        state: LetterState::Dead,
                    };
                    self.bury(shard, generation, letter, cause);
                }
                Command::Mark { .. } | Command::Drained { .. } => {} // the course has kept them
            }
        }
        self.let_go_if_drained(shard);
    }

    fn send(&self, shard: ShardId, generation: u64, one: (Ticket, u32), outgoing: Outgoing) {
        let (parts, to_done, timeout) =
            (Arc::clone(&self.parts), self.to_done.clone(), self.timeout());
        let (ticket, number) = one;
        if number > 1 {
            self.metrics.retried.increment(1);
        }
        tokio::spawn(async move {
            let answer = send(&*parts.target, &parts.name, outgoing, timeout).await;
            let done = Done::Answered { shard, generation, ticket, number, answer };
            let _ = to_done.send(done); // a driver that has ended hears nothing
        });
    }

    fn bury(&self, shard: ShardId, generation: u64, letter: DeadLetter, cause: Cause) {
        let (parts, to_done) = (Arc::clone(&self.parts), self.to_done.clone());
        let (name, ticket) = (letter.name, letter.ticket);
        let last = letter.history.last().map(|it| it.text.to_string()).unwrap_or_default();
        let (namespace, target) = (&self.parts.namespace, &*self.parts.name);
        tracing::warn!(%namespace, target, message = %name, ?cause, last, "a message is given up");
        tokio::spawn(async move {
            let limit = parts.settings.dead_letters;
            let how = stored(|| parts.store.bury(letter, generation, limit)).await;
            let _ = to_done.send(Done::Buried { shard, generation, ticket, how }); // as above
        });
    }

    fn on_batch(&mut self, batch: Messages) {
        let (shard, now) = (batch.shard, self.clock.now());
        let Some(course) = self.courses.get_mut(&shard) else { return };
        if course.generation != batch.generation || course.phase() != Phase::Running {
            return; // of an earlier claim, or to be read again by the next
        }
        for (_, outgoing) in &batch.items {
            if let Err(panicked) = caught(|| self.parts.target.announce(outgoing)) {
                let target = &*self.parts.name;
                tracing::error!(target, message = %outgoing.name, %panicked, "a target panicked");
            }
        }
        let mut commands = Vec::new();
        let news = course.take(now, batch, &mut commands);
        self.obey(shard, commands);
        let (namespace, target) = (&self.parts.namespace, &*self.parts.name);
        match news {
            Some(ReadNews::Stuck(why)) => tracing::error!(
                %namespace, target, %shard, %why,
                "a shard cannot be read on: what is behind that waits, and the log is kept; if a newer \
                 version wrote it, let that one deliver, else report it; it is read again every 30 s, and \
                 at once by `handfast target retry`"
            ),
            Some(ReadNews::Passed) => {
                tracing::info!(%namespace, target, %shard, "what could not be read was read");
            }
            None => {}
        }
    }

    fn on_done(&mut self, done: Done) {
        match done {
            Done::Answered { shard, generation, ticket, number, answer } => {
                match &answer {
                    Answer::Delivered => self.metrics.delivered.increment(1),
                    Answer::Failed(failure) => self.tell_if_ours(shard, ticket, failure),
                }
                if self.is_current(shard, generation) {
                    self.step(shard, Event::Answered { ticket, number, answer });
                }
            }
            Done::Buried { shard, generation, ticket, how } => {
                if how == Ok(Burial::Stored) {
                    self.metrics.dead.increment(1);
                }
                if !self.is_current(shard, generation) {
                    return;
                }
                if how == Ok(Burial::Deposed) {
                    return self.depose(shard);
                }
                self.note(how.as_ref().err());
                let ok = how == Ok(Burial::Stored);
                self.step(shard, Event::Buried { ticket, ok });
            }
            Done::Marked { marks, how } => self.on_marked(marks, how),
            Done::Looked(looked) => self.on_looked(looked),
            Done::Claimed { shard, how } => self.on_claimed(shard, how),
            Done::Released { shard } => {
                self.moving.remove(&shard);
            }
            Done::Redriven { shard } => {
                self.redriving.remove(&shard);
            }
        }
    }

    /// A message that is parked is told, whenever it was tried.
    fn tell_if_ours(&self, shard: ShardId, ticket: Ticket, failure: &Failure) {
        if failure.class == ErrorClass::Ours {
            let (namespace, target) = (&self.parts.namespace, &*self.parts.name);
            tracing::error!(
                %namespace, target, %shard, %ticket, why = &*failure.text,
                "a message is parked, and its key with it, until it can be sent: report it; \
                 `handfast target retry` tries it at once"
            );
        }
    }

    fn is_current(&self, shard: ShardId, generation: u64) -> bool {
        self.courses.get(&shard).is_some_and(|course| course.generation == generation)
    }

    /// Tells once that the store is away, and once that it is back.
    fn note(&mut self, error: Option<&StoreError>) {
        let target = &*self.parts.name;
        match (error, self.is_store_away) {
            (Some(error), false) => tracing::warn!(target, %error, "trying again"),
            (None, true) => tracing::info!(target, "the store of deliveries answers again"),
            _ => {}
        }
        self.is_store_away = error.is_some();
    }

    /// Another process has claimed the shard: it goes on from the last mark that was stored.
    fn depose(&mut self, shard: ShardId) {
        let target = &*self.parts.name;
        tracing::warn!(target, %shard, "another process has claimed a shard that this one delivered");
        self.courses.remove(&shard);
        let _ = self.to_reader.send(reader::Order::End { shard });
    }

    /// Stores the newest marks, if none are being stored.
    fn store_marks(&mut self) {
        if self.is_marking {
            return;
        }
        let mut marks = Vec::new();
        for (shard, course) in &mut self.courses {
            if let Some(mark) = course.begin_storing() {
                marks.push((*shard, course.generation, mark));
            }
        }
        if marks.is_empty() {
            return;
        }
        self.is_marking = true;
        let named = marks
            .iter()
            .map(|(shard, generation, mark)| (self.course(*shard), *generation, mark.clone()));
        let named: Vec<_> = named.collect();
        let (parts, to_done) = (Arc::clone(&self.parts), self.to_done.clone());
        tokio::spawn(async move {
            let how = stored(|| parts.store.mark(named)).await;
            if how.is_err() {
                tokio::time::sleep(LOOK_EVERY).await; // before they are stored again
            }
            let _ = to_done.send(Done::Marked { marks, how }); // as above
        });
    }

    fn on_marked(&mut self, marks: Vec<(ShardId, u64, Mark)>, how: Result<Vec<bool>, StoreError>) {
        self.is_marking = false;
        self.note(how.as_ref().err());
        for (index, (shard, generation, mark)) in marks.into_iter().enumerate() {
            if !self.is_current(shard, generation) {
                continue;
            }
            let Some(course) = self.courses.get_mut(&shard) else { continue };
            course.end_storing(how.is_err().then_some(mark));
            match &how {
                Ok(stored) if stored.get(index) == Some(&true) => self.let_go_if_drained(shard),
                Ok(_) => self.depose(shard),
                Err(_) => {}
            }
        }
    }

    fn let_go_if_drained(&mut self, shard: ShardId) {
        let Some(course) = self.courses.get(&shard).filter(|course| course.is_over()) else {
            return;
        };
        let generation = course.generation;
        self.courses.remove(&shard);
        let _ = self.to_reader.send(reader::Order::End { shard });
        self.release(self.course(shard), generation);
    }

    /// Lets a course go, unless it is being moved already.
    fn release(&mut self, course: store::Course, generation: u64) {
        let shard = course.shard;
        if !self.moving.insert(shard) {
            return;
        }
        let (parts, to_done) = (Arc::clone(&self.parts), self.to_done.clone());
        tokio::spawn(async move {
            if let Err(error) = stored(|| parts.store.release(course, generation)).await {
                // It is let go once more when it is looked next, or claimed again.
                tracing::warn!(%error, %shard, "a shard was not let go");
            }
            let _ = to_done.send(Done::Released { shard }); // as above
        });
    }

    fn on_tick(&mut self) {
        let now = self.clock.now();
        let shards = self.courses.iter().map(|(shard, course)| ShardDelivery {
            shard: *shard,
            status: course.engine().status(now),
            unread: course.unread().cloned(),
        });
        let shards: Vec<_> = shards.collect();
        self.metrics.show(&shards, self.unplaced.len());
        self.shown.send_replace(shards);
        if self.is_stopping {
            return;
        }
        self.read_again(false);
        if self.is_looking {
            return;
        }
        self.is_looking = true;
        let (parts, to_done) = (Arc::clone(&self.parts), self.to_done.clone());
        tokio::spawn(async move {
            let looked = async {
                let owners = stored(|| parts.store.owners(&parts.namespace)).await?;
                Ok((owners, stored(|| parts.store.count(&parts.namespace)).await?))
            };
            let _ = to_done.send(Done::Looked(looked.await)); // as above
        });
    }

    fn on_looked(&mut self, looked: Result<(Vec<Owner>, Vec<LetterCount>), StoreError>) {
        self.is_looking = false;
        self.note(looked.as_ref().err());
        let Ok((owners, counts)) = looked else { return };
        if self.is_stopping {
            return;
        }
        let target = &*self.parts.name;
        let count = |state| {
            let of = |it: &&LetterCount| it.target == target && it.state == state;
            counts.iter().filter(of).map(|it| it.count).sum::<u64>()
        };
        let (dead, redriving) = (count(LetterState::Dead), count(LetterState::Redriving));
        self.metrics.show_letters(dead, redriving);
        let alive = self.parts.members.alive.borrow().clone();
        let me = self.parts.members.me;
        for course in courses(&self.course(ShardId(0)), self.parts.shards) {
            let shard = course.shard;
            let Some(wanted) = should_have(&alive, &course) else { break };
            if wanted != me {
                self.unplaced.remove(&shard);
            }
            let owner = owners.iter().find(|owner| owner.course == course);
            let generation = owner.map_or(0, |owner| owner.generation);
            match self.courses.get(&shard) {
                Some(own) if own.generation < generation => self.depose(shard),
                Some(own) if wanted != me && own.phase() == Phase::Running => {
                    self.step(shard, Event::Drain);
                }
                Some(_) => {}
                None => {
                    let owner = owner.and_then(|owner| owner.process);
                    match About::of(me, wanted, owner, &alive) {
                        About::Claim => self.claim(course, generation),
                        About::Release => self.release(course, generation),
                        About::Nothing => {}
                    }
                }
            }
        }
        if redriving > 0 {
            let shards: Vec<ShardId> = self.courses.keys().copied().collect();
            for shard in shards {
                self.redrive(shard);
            }
        }
    }

    fn claim(&mut self, course: store::Course, generation: u64) {
        let (shard, now) = (course.shard, tokio::time::Instant::now());
        if self.moving.len() >= CLAIMS_AT_ONCE
            || self.unplaced.get(&shard).is_some_and(|(_, until)| *until > now)
            || !self.moving.insert(shard)
        {
            return;
        }
        let (parts, to_done) = (Arc::clone(&self.parts), self.to_done.clone());
        tokio::spawn(async move {
            let how = stored(|| parts.store.claim(course, parts.members.me, generation)).await;
            let _ = to_done.send(Done::Claimed { shard, how }); // as above
        });
    }

    fn on_claimed(&mut self, shard: ShardId, how: Result<Option<Claim>, StoreError>) {
        self.moving.remove(&shard);
        self.note(how.as_ref().err());
        let Ok(Some(claim)) = how else { return };
        let generation = claim.generation;
        let (namespace, target) = (&self.parts.namespace, &*self.parts.name);
        // Each engine its own jitter.
        let seed = self.parts.seed ^ (u64::from(shard.0) << 48) ^ generation;
        let (course, place) = match Course::new(
            DeliveryConfig { seed, ..self.parts.settings.engine },
            claim,
            self.log,
        ) {
            Ok(begun) => begun,
            Err(error) => {
                let why = error.to_string();
                let known = self.unplaced.get(&shard).is_some_and(|(known, _)| *known == why);
                if !known {
                    tracing::error!(
                        %namespace, target, %shard, why,
                        "how far a shard is cannot be read: nothing of it is delivered, and the log is \
                         kept; if a newer version wrote it, let that one deliver, else report it"
                    );
                }
                let until = tokio::time::Instant::now() + UNPLACED_FOR;
                self.unplaced.insert(shard, (why, until));
                return;
            }
        };
        tracing::debug!(%namespace, target, %shard, generation, "delivering");
        self.unplaced.remove(&shard);
        self.courses.insert(shard, course);
        let _ = self.to_reader.send(reader::Order::Begin { shard, generation, place });
        if self.parts.settings.paused {
            self.step(shard, Event::Pause);
        }
        if self.is_stopping {
            self.step(shard, Event::Drain);
        }
        // The next may be claimed at once, rather than with the next look.
        if !self.is_stopping && self.moving.is_empty() {
            self.on_tick();
        }
    }

    /// Sends letters of a shard again, one after the other, unless the target takes nothing now.
    fn redrive(&mut self, shard: ShardId) {
        let now = self.clock.now();
        let Some(course) = self.courses.get(&shard) else { return };
        // One whose dead letters are full takes what it is sent: that is what makes room for more of them.
        let takes = matches!(course.engine().status(now).paused, None | Some(Paused::DeadLetters));
        if !takes || !self.redriving.insert(shard) {
            return;
        }
        let generation = course.generation;
        let (course, timeout) = (self.course(shard), self.timeout());
        let (parts, to_done, clock) = (Arc::clone(&self.parts), self.to_done.clone(), self.clock);
        let counters = (self.metrics.redriven.clone(), self.metrics.redrive_failed.clone());
        tokio::spawn(async move {
            redrive_all(&parts, (course, generation), timeout, clock, counters).await;
            let _ = to_done.send(Done::Redriven { shard }); // as above
        });
    }
}
