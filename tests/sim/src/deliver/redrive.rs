//! Dead letters that are sent again: apart from the lanes, one at a time for each course.

use std::collections::VecDeque;

use delivery::{Answer, ErrorClass, Event, Failure as Failed, Name};

use super::store::{Letter, Question};
use super::{CourseId, Heard, Of};
use crate::failure::Failure;
use crate::world::World;

impl World {
    /// A process that delivers hears something.
    pub(crate) fn on_heard(
        &mut self,
        slot: usize,
        process: u64,
        heard: Heard,
    ) -> Result<(), Failure> {
        if !self.is_alive(slot, process) {
            return Ok(());
        }
        match heard {
            Heard::Store { question, reply } => self.on_heard_store(slot, question, reply),
            Heard::Target {
                course, generation, of: Of::Lane { ticket, number }, answer, ..
            } => {
                let Some(own) = self.course(slot, course) else { return Ok(()) };
                if own.kept.generation != generation {
                    return Ok(());
                }
                own.out = own.out.saturating_sub(1);
                self.step_course(slot, course, Event::Answered { ticket, number, answer })
            }
            Heard::Impatient { call } => self.on_impatient(slot, call),
            Heard::Target { course, generation, name, of: Of::Letter, answer } => {
                self.on_letter_answered(slot, (course, generation), name, &answer);
                Ok(())
            }
        }
    }

    /// Asks for the letters of each course that are to be sent again, unless its target takes nothing now.
    pub(super) fn redrive(&mut self, slot: usize) {
        let now = self.clock(slot);
        let Some((_, deliverer)) = self.deliverer(slot) else { return };
        let mut asked = Vec::new();
        for (id, course) in &deliverer.courses {
            let is_paused = course.kept.engine().status(now).paused.is_some();
            if !is_paused && !deliverer.redriving.contains_key(id) {
                asked.push((*id, course.kept.generation));
            }
        }
        for (course, generation) in asked {
            if let Some((_, deliverer)) = self.deliverer(slot) {
                deliverer.redriving.insert(course, VecDeque::new());
            }
            self.ask_deliveries(slot, Question::Redriving { course, generation });
        }
    }

    /// Sends the first of some letters.
    pub(super) fn redrive_next(
        &mut self,
        slot: usize,
        (course, generation): (CourseId, u64),
        letters: VecDeque<Letter>,
    ) {
        let Some((_, deliverer)) = self.deliverer(slot) else { return };
        let Some(first) = letters.front().map(|letter| letter.outgoing.clone()) else {
            deliverer.redriving.remove(&course);
            return;
        };
        deliverer.redriving.insert(course, letters);
        self.send_to_target(slot, (course, generation), Of::Letter, first);
    }

    fn on_letter_answered(
        &mut self,
        slot: usize,
        (course, generation): (CourseId, u64),
        name: Name,
        answer: &Answer,
    ) {
        let overloaded =
            matches!(answer, Answer::Failed(Failed { class: ErrorClass::Overloaded { .. }, .. }));
        if overloaded {
            // The target as a whole takes nothing: the rest is sent later.
            return self.redrive_next(slot, (course, generation), VecDeque::new());
        }
        let is_delivered = *answer == Answer::Delivered;
        self.ask_deliveries(slot, Question::Redriven { course, generation, name, is_delivered });
    }

    /// The store has been told of the first letter. If it was not, that is sent once more.
    pub(super) fn on_redriven(
        &mut self,
        slot: usize,
        (course, generation): (CourseId, u64),
        is_said: bool,
    ) {
        let Some((_, deliverer)) = self.deliverer(slot) else { return };
        let mut letters = deliverer.redriving.remove(&course).unwrap_or_default();
        letters.pop_front();
        let left = if is_said { letters } else { VecDeque::new() };
        self.redrive_next(slot, (course, generation), left);
    }
}
