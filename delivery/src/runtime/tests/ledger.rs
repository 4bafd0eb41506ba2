//! What deliveries keep, in memory, by the clauses of the port; and a store that panics when it is told to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use crate::message::Ticket;
use crate::outgoing::Name;
use crate::store::{
    Burial, Chosen, Claim, Course, DeadLetter, LetterCount, LetterPlace, LetterState, Mark, Owner,
    Redriven, Selection, Store, Stored, Wish,
};

#[derive(Default)]
pub(crate) struct Ledger(Mutex<State>);

#[derive(Default)]
struct State {
    owners: BTreeMap<Course, Owner>,
    letters: Vec<DeadLetter>,
    settled: Vec<(Course, Ticket)>,
    /// The calls that panic the next time.
    panics: BTreeSet<&'static str>,
}

impl State {
    fn is_of(&self, course: &Course, generation: u64) -> bool {
        self.owners.get(course).is_some_and(|owner| owner.generation == generation)
    }
}

impl Ledger {
    /// A panic of its own leaves nothing half changed.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next of these calls panics.
    pub(super) fn panics_next(&self, call: &'static str) {
        self.state().panics.insert(call);
    }

    pub(super) fn letters_now(&self) -> Vec<DeadLetter> {
        self.state().letters.clone()
    }

    pub(super) fn add(&self, letter: DeadLetter) {
        self.state().letters.push(letter);
    }

    pub(super) fn owner(&self, target: &str) -> Option<Owner> {
        let state = self.state();
        state.owners.values().find(|owner| *owner.course.target == *target).cloned()
    }

    fn answer<'a, T: Send + 'a>(
        &'a self,
        call: &'static str,
        of: impl FnOnce(&mut State) -> T + Send + 'a,
    ) -> Stored<'a, T> {
        Box::pin(async move {
            let panics = self.state().panics.remove(call);
            assert!(!panics, "{call} was to panic");
            Ok(of(&mut self.state()))
        })
    }
}

impl Store for Ledger {
    fn beat(&self, process: Uuid) -> Stored<'_, Vec<(Uuid, u64)>> {
        self.answer("beat", move |_| vec![(process, 1)])
    }

    fn leave(&self, _process: Uuid) -> Stored<'_, ()> {
        self.answer("leave", |_| ())
    }

    fn owners(&self, _namespace: &str) -> Stored<'_, Vec<Owner>> {
        self.answer("owners", |state| state.owners.values().cloned().collect())
    }

    fn claim(&self, course: Course, process: Uuid, generation: u64) -> Stored<'_, Option<Claim>> {
        self.answer("claim", move |state| {
            let known = state.owners.get(&course);
            if known.map_or(0, |owner| owner.generation) != generation {
                return None;
            }
            let mark = known.and_then(|owner| owner.mark.clone());
            let generation = generation + 1;
            let owner = Owner {
                course: course.clone(),
                process: Some(process),
                generation,
                mark: mark.clone(),
            };
            let dead = state.letters.iter().map(|letter| (&letter.course, letter.ticket));
            let settled = state.settled.iter().map(|(course, ticket)| (course, *ticket));
            let of_it = dead.chain(settled).filter(|(of, _)| **of == course);
            let settled = of_it.map(|(_, ticket)| ticket).collect();
            state.owners.insert(course, owner);
            Some(Claim { generation, mark, settled })
        })
    }

    fn release(&self, course: Course, generation: u64) -> Stored<'_, ()> {
        self.answer("release", move |state| {
            if state.is_of(&course, generation)
                && let Some(owner) = state.owners.get_mut(&course)
            {
                owner.process = None;
            }
        })
    }

    fn mark(&self, marks: Vec<(Course, u64, Mark)>) -> Stored<'_, Vec<bool>> {
        self.answer("mark", move |state| {
            let one = |(course, generation, mark): (Course, u64, Mark)| {
                let is_of = state.is_of(&course, generation);
                if is_of && let Some(owner) = state.owners.get_mut(&course) {
                    owner.mark = Some(mark);
                }
                is_of
            };
            marks.into_iter().map(one).collect()
        })
    }

    fn bury(&self, letter: DeadLetter, generation: u64, limit: u64) -> Stored<'_, Burial> {
        self.answer("bury", move |state| {
            if !state.is_of(&letter.course, generation) {
                return Burial::Deposed;
            }
            if state.letters.len() as u64 >= limit {
                return Burial::Full;
            }
            state.letters.push(letter);
            Burial::Stored
        })
    }

    fn letters(
        &self,
        _namespace: &str,
        _selection: Selection,
        _after: Option<LetterPlace>,
        _limit: u32,
    ) -> Stored<'_, Vec<DeadLetter>> {
        self.answer("letters", |state| state.letters.clone())
    }

    fn outlines(
        &self,
        namespace: &str,
        selection: Selection,
        after: Option<LetterPlace>,
        limit: u32,
    ) -> Stored<'_, Vec<DeadLetter>> {
        self.letters(namespace, selection, after, limit)
    }

    fn count_chosen(&self, _namespace: &str, _selection: Selection) -> Stored<'_, Chosen> {
        self.answer("count_chosen", |_| Chosen::default())
    }

    fn count(&self, _namespace: &str) -> Stored<'_, Vec<LetterCount>> {
        self.answer("count", |state| {
            let one = |letter: &DeadLetter| LetterCount {
                target: letter.course.target.as_ref().to_owned(),
                state: letter.state,
                count: 1,
            };
            state.letters.iter().map(one).collect()
        })
    }

    fn wish(&self, _namespace: &str, _selection: Selection, _wish: Wish) -> Stored<'_, u64> {
        self.answer("wish", |_| 0)
    }

    fn redriving(&self, course: Course, limit: u32) -> Stored<'_, Vec<DeadLetter>> {
        self.answer("redriving", move |state| {
            let of_it = state
                .letters
                .iter()
                .filter(|letter| letter.course == course && letter.state == LetterState::Redriving);
            of_it.take(limit as usize).cloned().collect()
        })
    }

    fn redriven(
        &self,
        course: Course,
        generation: u64,
        name: Name,
        how: Redriven,
    ) -> Stored<'_, ()> {
        self.answer("redriven", move |state| {
            let is_of = state.is_of(&course, generation);
            let found = state.letters.iter().position(|letter| letter.name == name);
            let Some(place) = found.filter(|_| is_of) else { return };
            match how {
                Redriven::Delivered => {
                    let letter = state.letters.remove(place);
                    state.settled.push((course, letter.ticket));
                }
                Redriven::Failed(failed) => {
                    let letter = &mut state.letters[place];
                    letter.state = LetterState::Dead;
                    letter.tries = failed.number;
                    letter.history.push(failed);
                }
            }
        })
    }
}
