//! What of a process delivers: it claims courses, drives their engines, and stores how far they are.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use delivery::runtime::{About, MessagesTo, Phase, PicksMessages};
use delivery::schedule::ChangesOf;
use delivery::{Burial, Claim, Command, Event, LetterState, Mark, Outgoing, Without};
use wal_core::{Position, ShardId};

use super::course::Course;
use super::messages::TARGETS;
use super::store::{Letter, Question, Reply, View};
use super::{CourseId, Deliveries, Heard, Of, Outside};
use crate::bug::AdapterBug;
use crate::failure::{Failure, ensure};
use crate::fault::Fault;
use crate::later::Keeper;
use crate::message::{Cut, Event as Happens};
use crate::world::{World, trace};

/// What a crash takes away.
#[derive(Default)]
pub(crate) struct Deliverer {
    pub(super) courses: BTreeMap<CourseId, Course>,
    /// Courses that are being claimed or let go.
    moving: BTreeSet<CourseId>,
    /// Letters that are being sent again, the next first.
    pub(super) redriving: BTreeMap<CourseId, VecDeque<Letter>>,
    /// What does what is due later, if anything is.
    pub(crate) keeper: Option<Keeper>,
    is_looking: bool,
    next_look_us: u64,
    is_marking: bool,
}

impl World {
    /// What there is of deliveries; only where there are any.
    pub(super) fn deliveries(&mut self) -> &mut Deliveries {
        self.space.deliveries.as_mut().expect("only these worlds deliver")
    }

    pub(crate) fn deliverer(&mut self, slot: usize) -> Option<(u64, &mut Deliverer)> {
        let process = self.space.nodes[slot].process.as_mut()?;
        Some((process.number, &mut process.deliverer))
    }

    pub(super) fn course(&mut self, slot: usize, id: CourseId) -> Option<&mut Course> {
        self.deliverer(slot)?.1.courses.get_mut(&id)
    }

    pub(crate) fn is_current(&mut self, slot: usize, id: CourseId, generation: u64) -> bool {
        self.course(slot, id).is_some_and(|course| course.kept.generation == generation)
    }

    /// Time passes for what a process delivers.
    pub(crate) fn deliver(&mut self, slot: usize) -> Result<(), Failure> {
        let Some(deliveries) = &self.space.deliveries else { return Ok(()) };
        let (look_us, now_us) = (deliveries.plan.look_us, self.now_us);
        let Some((_, deliverer)) = self.deliverer(slot) else { return Ok(()) };
        if !deliverer.is_looking && deliverer.next_look_us <= now_us {
            deliverer.is_looking = true;
            deliverer.next_look_us = now_us + look_us;
            self.ask_deliveries(slot, Question::Look);
        }
        self.keep_claimed(slot)?;
        let ids: Vec<CourseId> = match self.deliverer(slot) {
            Some((_, deliverer)) => deliverer.courses.keys().copied().collect(),
            None => return Ok(()),
        };
        for id in ids {
            self.read_course(slot, id)?;
            let now = self.clock(slot);
            let wake = self.course(slot, id).and_then(|course| course.kept.engine().next_wake());
            if wake.is_some_and(|wake_us| wake_us <= now.mono_us) {
                self.step_course(slot, id, Event::Tick)?;
            }
        }
        self.store_marks(slot);
        Ok(())
    }

    /// What is due later in the courses that are claimed.
    fn keep_claimed(&mut self, slot: usize) -> Result<(), Failure> {
        let (now, now_us) = (self.clock(slot), self.now_us);
        let rules = Without(self.space.plan.delivery_rule());
        let plan = &self.deliveries().plan;
        let (Some(later), targets) = (plan.later, plan.targets) else { return Ok(()) };
        let Some((_, deliverer)) = self.deliverer(slot) else { return Ok(()) };
        let courses = deliverer.courses.iter().filter(|(id, _)| id.target == targets);
        let claimed = courses.map(|(id, course)| (id.shard, course.kept.phase() != Phase::Running));
        let claimed: Vec<(ShardId, bool)> = claimed.collect();
        let keeper = deliverer.keeper.get_or_insert_with(|| Keeper::new(&later, rules, now_us));
        keeper.on_claims(now, &claimed);
        self.keep(slot)
    }

    fn read_course(&mut self, slot: usize, id: CourseId) -> Result<(), Failure> {
        if self.cuts.contains(&Cut::Log { slot }) {
            return Ok(());
        }
        let (now, now_us) = (self.clock(slot), self.now_us);
        let Some(deliveries) = &mut self.space.deliveries else { return Ok(()) };
        let Some(process) = &mut self.space.nodes[slot].process else { return Ok(()) };
        let Some(course) = process.deliverer.courses.get_mut(&id) else { return Ok(()) };
        let generation = course.kept.generation;
        let read = course.read(now_us, self.space.broker.log(id.shard), deliveries.plan.feed)?;
        let mut commands = Vec::new();
        match read {
            Ok(Some(batch)) => {
                for (ticket, outgoing) in &batch.items {
                    if id.target < deliveries.plan.targets {
                        deliveries.book.on_read(id, *ticket, outgoing)?;
                    } else if let Some(keeper) = &mut process.deliverer.keeper {
                        keeper.read(now, outgoing);
                    }
                }
                let news = course.kept.take(now, batch, &mut commands);
                ensure!(news.is_none(), Delivery, "a log that can be read: {news:?}");
            }
            Ok(None) => {}
            Err(_) => {
                ensure!(
                    !deliveries.store.is_current(id, generation),
                    Delivery,
                    "the log was trimmed before {id:?} was delivered, of which {:?} is dealt with",
                    deliveries.store.dealt_with(id)
                );
                self.count("delivery of a trimmed position");
            }
        }
        self.obey_course(slot, id, commands)
    }

    /// Gives an engine an event, and does what it says.
    pub(crate) fn step_course(
        &mut self,
        slot: usize,
        id: CourseId,
        event: Event<Outgoing>,
    ) -> Result<(), Failure> {
        let now = self.clock(slot);
        let mut commands = Vec::new();
        let Some(course) = self.course(slot, id) else { return Ok(()) };
        course.kept.step(now, event, &mut commands);
        self.obey_course(slot, id, commands)
    }

    fn obey_course(
        &mut self,
        slot: usize,
        id: CourseId,
        commands: Vec<Command<Outgoing>>,
    ) -> Result<(), Failure> {
        let Some(course) = self.course(slot, id) else { return Ok(()) };
        let generation = course.kept.generation;
        let targets = self.deliveries().plan.targets;
        for command in commands {
            match command {
                Command::Send { ticket, number, payload, .. } if id.target == targets => {
                    self.ask_keeper(slot, (id, generation), (ticket, number), &payload);
                }
                Command::Send { ticket, number, payload, .. } => {
                    self.note_sent(slot, id, (ticket, payload.name))?;
                    self.send_to_target(
                        slot,
                        (id, generation),
                        Of::Lane { ticket, number },
                        payload,
                    );
                }
                Command::Bury { ticket, payload, .. } => {
                    trace!(self, "n{slot} {id:?} buries {}", payload.name);
                    let state = LetterState::Dead;
                    let letter = Letter { course: id, ticket, outgoing: payload, state };
                    self.ask_deliveries(slot, Question::Bury { letter, generation });
                }
                Command::Mark { .. } | Command::Drained { .. } => {} // the course has kept them
            }
            if self.ends_mid_step(slot) {
                return Ok(());
            }
        }
        self.let_go_if_drained(slot, id);
        Ok(())
    }

    /// Asks the store. What fails may have happened all the same.
    pub(crate) fn ask_deliveries(&mut self, slot: usize, question: Question) {
        let Some((process, _)) = self.deliverer(slot) else { return };
        let is_cut = self.cuts.contains(&Cut::Store { slot });
        let is_told = !is_cut && !self.fires(Fault::LettersFailed);
        let mut delay = 1 + self.rng.below(self.space.plan.store_us);
        if self.fires(Fault::LettersSlow) {
            delay += self.rng.scale(1_000, 2_000_000);
        }
        if is_told || (!is_cut && self.rng.coin()) {
            let what = Outside::Asked { slot, process, question, is_told };
            self.schedule(delay, Happens::Outside { what: Box::new(what) });
        } else {
            let what = Box::new(Heard::Store { question, reply: None });
            self.schedule(delay, Happens::Heard { slot, process, what });
        }
    }

    /// The store answers.
    pub(super) fn on_heard_store(
        &mut self,
        slot: usize,
        question: Question,
        reply: Option<Reply>,
    ) -> Result<(), Failure> {
        match (question, reply) {
            (Question::Look, reply) => {
                if let Some((_, deliverer)) = self.deliverer(slot) {
                    deliverer.is_looking = false;
                }
                if let Some(Reply::Looked(view)) = reply {
                    return self.on_looked(slot, &view);
                }
            }
            (Question::Claim { course, .. }, reply) => {
                if let Some((_, deliverer)) = self.deliverer(slot) {
                    deliverer.moving.remove(&course);
                }
                if let Some(Reply::Claimed(Some(claim))) = reply {
                    self.begin_course(slot, course, claim);
                }
            }
            (Question::Release { course, .. }, _) => {
                if let Some((_, deliverer)) = self.deliverer(slot) {
                    deliverer.moving.remove(&course);
                }
            }
            (Question::Mark { marks }, reply) => self.on_marked(slot, marks, reply),
            (Question::Bury { letter, generation }, reply) => {
                let id = letter.course;
                if !self.is_current(slot, id, generation) {
                    return Ok(());
                }
                if matches!(reply, Some(Reply::Buried(Burial::Deposed))) {
                    self.depose(slot, id);
                    return Ok(());
                }
                let ok = matches!(reply, Some(Reply::Buried(Burial::Stored)));
                return self.step_course(slot, id, Event::Buried { ticket: letter.ticket, ok });
            }
            (Question::Redriving { course, generation }, reply) => {
                let letters = match reply {
                    Some(Reply::Letters(letters)) => letters,
                    _ => Vec::new(),
                };
                self.redrive_next(slot, (course, generation), letters.into());
            }
            (Question::Note { .. }, reply) => {
                let now = self.clock(slot);
                if let Some(keeper) = self.keeper(slot) {
                    keeper.noted(now, reply.is_some());
                }
                return self.keep(slot);
            }
            (Question::Entries { shard, .. }, reply) => {
                let now = self.clock(slot);
                let page = match reply {
                    Some(Reply::Entries(entries)) => Some(entries),
                    _ => None,
                };
                if let Some(keeper) = self.keeper(slot) {
                    keeper.loaded(now, shard, page);
                }
                return self.keep(slot);
            }
            (Question::Redriven { course, generation, .. }, reply) => {
                self.on_redriven(slot, (course, generation), reply.is_some());
            }
        }
        Ok(())
    }

    /// Who has what is known: others' courses are let go, one's own are claimed.
    fn on_looked(&mut self, slot: usize, view: &View) -> Result<(), Failure> {
        let count = self.deliveries().plan.courses();
        for id in self.shards().flat_map(|shard| courses(shard, count)) {
            let Some((me, deliverer)) = self.deliverer(slot) else { return Ok(()) };
            let Some(wanted) = view.should_have(id) else { return Ok(()) };
            let (owner, generation) = view.owners.get(&id).copied().unwrap_or_default();
            match deliverer.courses.get(&id) {
                Some(own) if own.kept.generation < generation => self.depose(slot, id),
                Some(own) if wanted != me && own.kept.phase() == Phase::Running => {
                    self.step_course(slot, id, Event::Drain)?;
                }
                Some(_) => {}
                None => {
                    let question = match About::of(me, wanted, owner, &view.alive) {
                        About::Claim => Question::Claim { course: id, generation },
                        About::Release => Question::Release { course: id, generation },
                        About::Nothing => continue,
                    };
                    if deliverer.moving.insert(id) {
                        self.ask_deliveries(slot, question);
                    }
                }
            }
        }
        if view.redriving {
            self.redrive(slot);
        }
        Ok(())
    }

    fn begin_course(&mut self, slot: usize, id: CourseId, claim: Claim) {
        trace!(self, "n{slot} {id:?} is claimed: {}", crate::names::brief(&claim));
        self.count("delivery claimed");
        let rules = Without(self.space.plan.delivery_rule());
        let seed = self.rng.next();
        let deliveries = self.deliveries();
        let config = deliveries.plan.config(id.target, seed);
        let targets = deliveries.plan.targets;
        let claimed = deliveries.book.happen();
        let picks = self.picks(id, targets);
        if let Some((_, deliverer)) = self.deliverer(slot) {
            let course = Course::new(id, picks, config, (claim, claimed), rules);
            deliverer.courses.insert(id, course);
        }
    }

    /// What of the committed stream is delivered.
    fn picks(&self, id: CourseId, targets: u8) -> Arc<PicksMessages> {
        let namespace = Arc::from("simulated");
        match &self.space.workload.later {
            Some(parts) if id.target == targets => {
                Arc::new(ChangesOf { namespace, table: parts.table().clone() })
            }
            _ => Arc::new(MessagesTo { namespace, target: TARGETS[usize::from(id.target)].into() }),
        }
    }

    /// Another process has claimed the course.
    fn depose(&mut self, slot: usize, id: CourseId) {
        trace!(self, "n{slot} {id:?} was claimed by another");
        self.count("delivery deposed");
        if let Some((_, deliverer)) = self.deliverer(slot) {
            deliverer.courses.remove(&id);
        }
    }

    fn let_go_if_drained(&mut self, slot: usize, id: CourseId) {
        let Some(course) = self.course(slot, id) else { return };
        if !course.kept.is_over() {
            return;
        }
        let generation = course.kept.generation;
        self.count("delivery drained");
        if let Some((_, deliverer)) = self.deliverer(slot) {
            deliverer.courses.remove(&id);
            deliverer.moving.insert(id);
        }
        trace!(self, "n{slot} {id:?} is let go");
        self.ask_deliveries(slot, Question::Release { course: id, generation });
    }

    /// Stores the newest marks, if none are being stored.
    fn store_marks(&mut self, slot: usize) {
        let Some((_, deliverer)) = self.deliverer(slot) else { return };
        if deliverer.is_marking {
            return;
        }
        let mut marks = Vec::new();
        for (id, course) in &mut deliverer.courses {
            if let Some(mark) = course.kept.begin_storing() {
                marks.push((*id, course.kept.generation, mark));
            }
        }
        if !marks.is_empty() {
            deliverer.is_marking = true;
            self.ask_deliveries(slot, Question::Mark { marks });
        }
    }

    fn on_marked(&mut self, slot: usize, marks: Vec<(CourseId, u64, Mark)>, reply: Option<Reply>) {
        if let Some((_, deliverer)) = self.deliverer(slot) {
            deliverer.is_marking = false;
        }
        let stored = match reply {
            Some(Reply::Marked(stored)) => Some(stored),
            _ => None,
        };
        for (index, (id, generation, mark)) in marks.into_iter().enumerate() {
            let Some(course) = self.course(slot, id) else { continue };
            if course.kept.generation != generation {
                continue;
            }
            course.kept.end_storing(stored.is_none().then_some(mark));
            match &stored {
                Some(stored) if stored[index] => self.let_go_if_drained(slot, id),
                Some(_) => self.depose(slot, id),
                None => {}
            }
        }
    }

    /// How far a log may be trimmed: what is not delivered yet is kept.
    pub(crate) fn held_by_deliveries(&self, shard: ShardId, trim: Position) -> Position {
        match &self.space.deliveries {
            Some(_) if self.space.plan.has_bug(AdapterBug::TrimsUndelivered) => trim,
            Some(it) => trim.min(it.store.hold(it.plan.courses(), shard)),
            None => trim,
        }
    }
}

/// A shard's courses.
pub(super) fn courses(shard: ShardId, targets: u8) -> impl Iterator<Item = CourseId> {
    (0..targets).map(move |target| CourseId { target, shard })
}

impl View {
    /// Which of those that are alive should have a course.
    fn should_have(&self, id: CourseId) -> Option<u64> {
        let rank = u64::from(id.shard.0) + u64::from(id.target) + self.turn;
        let count = self.alive.len() as u64;
        self.alive.iter().copied().nth(rank.checked_rem(count)? as usize)
    }
}
