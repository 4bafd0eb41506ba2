//! Targets and the store, as far as they fail: what is sent arrives or not, and what is said of it may be wrong.

use std::collections::BTreeMap;

use delivery::{Answer, Burial, ErrorClass, Failure as Failed, Name, Outgoing, Ticket};
use wal_core::Position;

use super::deliverer::courses;
use super::store::{Question, Reply};
use super::{CourseId, Heard, Of, Outside};
use crate::bug::AdapterBug;
use crate::failure::{Failure, ensure};
use crate::fault::Fault;
use crate::message::Event as Happens;
use crate::world::{World, trace};

/// What a target never takes, and whether it says so for good.
pub(super) type Refuses = BTreeMap<(u8, Name), bool>;

/// How a try goes.
struct Goes {
    arrives: bool,
    /// What is answered; nothing if the deadline passes.
    answer: Option<Answer>,
}

fn failed(class: ErrorClass) -> Option<Answer> {
    Some(Answer::Failed(Failed { class, text: "because".into() }))
}

impl World {
    /// A message is sent in its turn: whether it may be.
    pub(super) fn note_sent(
        &mut self,
        slot: usize,
        id: CourseId,
        (ticket, name): (Ticket, Name),
    ) -> Result<(), Failure> {
        let truth = self.space.truth.txn(name.id);
        ensure!(
            truth.is_some_and(|truth| truth.committed.is_some()),
            Delivery,
            "{id:?} sends {name}, which is not committed: {truth:?}"
        );
        let most = self.deliveries().plan.engine.window.ceiling;
        let Some(course) = self.course(slot, id) else { return Ok(()) };
        course.out += 1;
        let (out, claimed, generation) = (course.out, course.claimed, course.kept.generation);
        ensure!(out <= most, Delivery, "{id:?} has {out} tries out, and may have {most}");
        let deliveries = self.deliveries();
        let is_deposed = !deliveries.store.is_current(id, generation);
        deliveries.book.on_sent(id, claimed, (ticket, name))?;
        self.count("message sent");
        if is_deposed {
            self.count("message sent by a deposed process");
        }
        Ok(())
    }

    /// Puts a message on its way to a target.
    pub(super) fn send_to_target(
        &mut self,
        slot: usize,
        (course, generation): (CourseId, u64),
        of: Of,
        outgoing: Outgoing,
    ) {
        let Some((process, _)) = self.deliverer(slot) else { return };
        let name = outgoing.name;
        let goes = self.draw_try((course.target, name));
        trace!(
            self,
            "n{slot} {course:?} sends {name} {of:?}: arrives {}, {:?}", goes.arrives, goes.answer
        );
        self.mix(name.id.0 as u64 ^ u64::from(name.index));
        let timeout_us = self.deliveries().plan.timeout_us;
        let there = 1 + self.rng.below(self.space.plan.network_us.min(timeout_us));
        if goes.arrives {
            let what = Outside::Arrived { target: course.target, name };
            self.schedule(there, Happens::Outside { what: Box::new(what) });
        }
        let back = there + self.rng.below(self.space.plan.network_us);
        let (delay, answer) = match goes.answer {
            Some(answer) if back < timeout_us => (back, Some(answer)),
            Some(_) | None => (timeout_us, failed(ErrorClass::Transient)),
        };
        let answer = answer.expect("a deadline answers, too");
        let what = Heard::Target { course, generation, name, of, answer };
        self.schedule(delay, Happens::Heard { slot, process, what: Box::new(what) });
    }

    /// Decides how a try goes.
    fn draw_try(&mut self, message: (u8, Name)) -> Goes {
        let is_new = !self.deliveries().refuses.contains_key(&message);
        if is_new && self.fires(Fault::TargetRefuses) {
            let for_good = self.rng.coin();
            self.deliveries().refuses.insert(message, for_good);
        }
        let refuses = self.deliveries().refuses.get(&message).copied();
        let (arrives, answer) = if let Some(for_good) = refuses {
            let class = if for_good { ErrorClass::Permanent } else { ErrorClass::Transient };
            (false, failed(class))
        } else if self.fires(Fault::TargetOverloaded) {
            let retry_after_us = self.rng.coin().then(|| self.rng.below(300_000));
            (false, failed(ErrorClass::Overloaded { retry_after_us }))
        } else if self.fires(Fault::TargetHangs) {
            (self.rng.coin(), None)
        } else if self.fires(Fault::TargetAnswerLost) {
            (true, failed(ErrorClass::Transient))
        } else if self.fires(Fault::TargetFails) {
            let is_ours = self.rng.chance(100_000);
            (false, failed(if is_ours { ErrorClass::Ours } else { ErrorClass::Transient }))
        } else {
            (true, Some(Answer::Delivered))
        };
        Goes { arrives, answer }
    }

    /// Something happens outside of all processes.
    pub(crate) fn on_outside(&mut self, what: Outside) -> Result<(), Failure> {
        match what {
            Outside::Arrived { target, name } => {
                let first = self.deliveries().book.on_arrived(target, name);
                self.count(if first { "message arrived" } else { "message arrived again" });
                Ok(())
            }
            Outside::Asked { slot, process, question, is_told } => {
                let reply = self.ask_store(process, question.clone())?;
                let reply = is_told.then_some(reply);
                let delay = 1 + self.rng.below(self.space.plan.store_us);
                let what = Box::new(Heard::Store { question, reply });
                self.schedule(delay, Happens::Heard { slot, process, what });
                Ok(())
            }
        }
    }

    /// What the store does, and answers.
    fn ask_store(&mut self, process: u64, question: Question) -> Result<Reply, Failure> {
        let (now_us, healed) = (self.now_us, self.healed_at.is_some());
        if !matches!(question, Question::Look) {
            trace!(self, "process {process} asks the store: {}", crate::names::brief(&question));
        }
        Ok(match question {
            Question::Look => {
                self.meddle();
                let it = self.deliveries();
                Reply::Looked(it.store.look(process, now_us, it.plan.missed_us))
            }
            Question::Claim { course, generation } => {
                let forgets = self.space.plan.has_bug(AdapterBug::ClaimForgetsLetters);
                let mut claim = self.deliveries().store.claim(course, process, generation);
                match &mut claim {
                    Some(claim) if forgets => claim.settled.clear(),
                    Some(_) => {}
                    None => self.count("delivery claimed too late"),
                }
                Reply::Claimed(claim)
            }
            Question::Release { course, generation } => {
                self.deliveries().store.release(course, generation);
                Reply::Done
            }
            Question::Mark { marks } => {
                let mut stored = Vec::new();
                for (course, generation, mark) in marks {
                    let it = self.deliveries();
                    it.book.on_marked(course, &mark)?;
                    let is_stored = it.store.mark(course, generation, mark);
                    self.count(if is_stored { "mark stored" } else { "mark refused" });
                    stored.push(is_stored);
                }
                Reply::Marked(stored)
            }
            Question::Bury { letter, generation } => {
                let (target, name) = (letter.course.target, letter.outgoing.name);
                let it = self.deliveries();
                // Once all is well, somebody makes room.
                let most = if healed { usize::MAX } else { it.plan.most_letters };
                let (burial, is_new) = it.store.bury(letter, generation, most);
                if is_new {
                    it.book.on_buried(target, name);
                }
                self.count(match burial {
                    Burial::Stored if is_new => "message buried",
                    Burial::Stored => "message buried again",
                    Burial::Full => "message not buried: full",
                    Burial::Deposed => "message not buried: deposed",
                });
                Reply::Buried(burial)
            }
            Question::Note { changes } => {
                let index = &mut self.deliveries().index;
                changes.into_iter().for_each(|noted| index.note(noted));
                Reply::Done
            }
            Question::Entries { shard, after, limit } => {
                Reply::Entries(self.deliveries().index.entries(shard, after, limit))
            }
            Question::Redriving { course, .. } => {
                Reply::Letters(self.deliveries().store.redriving(course))
            }
            Question::Redriven { course, generation, name, is_delivered } => {
                let it = self.deliveries();
                if it.store.redriven(course, generation, name, is_delivered) {
                    let how = if is_delivered { "letter delivered" } else { "letter dead again" };
                    self.count(how);
                }
                Reply::Done
            }
        })
    }

    /// What people do: they have dead letters sent again, some of which they have mended; and processes come and
    /// go elsewhere, so that others should have what one has.
    fn meddle(&mut self) {
        if self.fires(Fault::DeliveriesMoved) {
            self.deliveries().store.move_all();
        }
        if self.fires(Fault::LettersRedriven) {
            for letter in self.deliveries().store.redrive_all() {
                if self.rng.coin() {
                    self.deliveries().refuses.remove(&letter);
                }
            }
        }
    }

    /// Whether everything that was read is dealt with, and everything that the logs hold was read. All but the
    /// deliveries is at rest.
    pub(crate) fn has_delivered(&mut self) -> bool {
        let shards: Vec<_> = self.shards().collect();
        let end = |shard| Position(self.space.broker.log(shard).end());
        let now: Vec<Position> = shards.iter().map(|shard| end(*shard)).collect();
        let Some(it) = &mut self.space.deliveries else { return true };
        let ends = it.ends.get_or_insert(now);
        let marked = |(shard, end): (_, &Position)| {
            courses(shard, it.plan.courses()).all(|id| it.store.dealt_with(id) >= *end)
        };
        it.book.undealt().next().is_none() && shards.into_iter().zip(ends.iter()).all(marked)
    }

    /// What is not delivered, in words.
    pub(crate) fn undelivered(&self) -> String {
        let Some(it) = &self.space.deliveries else { return String::new() };
        let mut story = String::new();
        for (id, ticket, name) in it.book.undealt() {
            story += &format!("{id:?} has neither delivered nor buried {name} at {ticket}; ");
        }
        for (slot, node) in self.space.nodes.iter().enumerate() {
            let now = self.clock(slot);
            for (id, course) in node.process.iter().flat_map(|it| &it.deliverer.courses) {
                let status = course.kept.engine().status(now);
                story += &format!("\n  n{slot} {id:?} {:?} {status:?}", course.kept.phase());
            }
        }
        story
    }
}
