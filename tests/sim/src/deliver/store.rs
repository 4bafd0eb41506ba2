//! The store of claims, marks and dead letters, as the port `delivery::Store` says it.

use std::collections::{BTreeMap, BTreeSet};

use delivery::schedule::{Entry, Noted};
use delivery::{Burial, Claim, LetterState, Mark, Name, Outgoing, Ticket};
use wal_core::{Millis, Position, ShardId};

use super::CourseId;

/// A message that was given up.
#[derive(Clone, Debug)]
pub(crate) struct Letter {
    pub(super) course: CourseId,
    pub(super) ticket: Ticket,
    pub(super) outgoing: Outgoing,
    pub(super) state: LetterState,
}

/// Who has what.
#[derive(Clone, Debug)]
pub(crate) struct View {
    /// Processes that have looked not long ago.
    pub(super) alive: BTreeSet<u64>,
    /// The owner and the generation of each course that was ever claimed.
    pub(super) owners: BTreeMap<CourseId, (Option<u64>, u64)>,
    /// Some letters are to be sent again.
    pub(super) redriving: bool,
    /// Moves what each should have.
    pub(super) turn: u64,
}

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) enum Question {
    /// Who has what? That also says that the process lives.
    Look,
    Claim {
        course: CourseId,
        generation: u64,
    },
    Release {
        course: CourseId,
        generation: u64,
    },
    Mark {
        marks: Vec<(CourseId, u64, Mark)>,
    },
    Bury {
        letter: Letter,
        generation: u64,
    },
    /// Which letters are to be sent again?
    Redriving {
        course: CourseId,
        generation: u64,
    },
    /// The index is to have these.
    Note {
        changes: Vec<Noted>,
    },
    /// What is due next?
    Entries {
        shard: ShardId,
        after: Option<(Millis, Name)>,
        limit: u32,
    },
    /// A letter was sent again.
    Redriven {
        course: CourseId,
        generation: u64,
        name: Name,
        is_delivered: bool,
    },
}

/// What is answered.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Looked(View),
    Claimed(Option<Claim>),
    Marked(Vec<bool>),
    Buried(Burial),
    Letters(Vec<Letter>),
    Entries(Vec<Entry>),
    Done,
}

#[derive(Debug, Default)]
struct Owner {
    process: Option<u64>,
    generation: u64,
    mark: Option<Mark>,
    settled: BTreeSet<Ticket>,
}

/// Everything that is stored. Durable when answered.
#[derive(Debug, Default)]
pub(crate) struct Store {
    /// When each process looked last.
    beats: BTreeMap<u64, u64>,
    owners: BTreeMap<CourseId, Owner>,
    letters: BTreeMap<(u8, Name), Letter>,
    turn: u64,
}

impl Store {
    pub(super) fn look(&mut self, process: u64, now_us: u64, missed_us: u64) -> View {
        self.beats.insert(process, now_us);
        self.beats.retain(|_, at_us| *at_us + missed_us >= now_us);
        let owners = self.owners.iter();
        View {
            alive: self.beats.keys().copied().collect(),
            owners: owners.map(|(id, own)| (*id, (own.process, own.generation))).collect(),
            redriving: self.letters.values().any(|it| it.state == LetterState::Redriving),
            turn: self.turn,
        }
    }

    /// From now on others should have what one has.
    pub(super) fn move_all(&mut self) {
        self.turn += 1;
    }

    pub(super) fn is_current(&self, course: CourseId, generation: u64) -> bool {
        self.owners.get(&course).is_some_and(|owner| owner.generation == generation)
    }

    pub(super) fn claim(
        &mut self,
        course: CourseId,
        process: u64,
        generation: u64,
    ) -> Option<Claim> {
        let owner = self.owners.entry(course).or_default();
        if owner.generation != generation {
            return None;
        }
        owner.generation += 1;
        owner.process = Some(process);
        let from = owner.mark.as_ref().map_or(Position(0), |mark| mark.dealt_with);
        let letters = self.letters.values().filter(|letter| letter.course == course);
        let buried = letters.map(|letter| letter.ticket).filter(|it| it.position >= from);
        let settled = buried.chain(owner.settled.iter().copied()).collect();
        Some(Claim { generation: owner.generation, mark: owner.mark.clone(), settled })
    }

    pub(super) fn release(&mut self, course: CourseId, generation: u64) {
        if let Some(owner) = self.owners.get_mut(&course)
            && owner.generation == generation
        {
            owner.process = None;
        }
    }

    pub(super) fn mark(&mut self, course: CourseId, generation: u64, mark: Mark) -> bool {
        let Some(owner) = self.owners.get_mut(&course) else { return false };
        if owner.generation != generation {
            return false;
        }
        owner.settled = owner.settled.split_off(&Ticket { position: mark.dealt_with, index: 0 });
        owner.mark = Some(mark);
        true
    }

    pub(super) fn bury(&mut self, letter: Letter, generation: u64, most: usize) -> (Burial, bool) {
        let course = letter.course;
        let name = (course.target, letter.outgoing.name);
        let Some(owner) = self.owners.get(&course) else { return (Burial::Deposed, false) };
        if owner.generation != generation {
            return (Burial::Deposed, false);
        }
        if owner.settled.contains(&letter.ticket) || self.letters.contains_key(&name) {
            return (Burial::Stored, false);
        }
        let of_target = self.letters.keys().filter(|(target, _)| *target == course.target);
        if of_target.count() >= most {
            return (Burial::Full, false);
        }
        self.letters.insert(name, letter);
        (Burial::Stored, true)
    }

    pub(super) fn has_letter(&self, target: u8, name: Name) -> bool {
        self.letters.contains_key(&(target, name))
    }

    /// All letters are to be sent again; which they are.
    pub(super) fn redrive_all(&mut self) -> Vec<(u8, Name)> {
        self.letters.values_mut().for_each(|letter| letter.state = LetterState::Redriving);
        self.letters.keys().copied().collect()
    }

    pub(super) fn redriving(&self, course: CourseId) -> Vec<Letter> {
        let here = |it: &&Letter| it.course == course && it.state == LetterState::Redriving;
        let mut letters: Vec<Letter> = self.letters.values().filter(here).cloned().collect();
        letters.sort_by_key(|letter| letter.ticket);
        letters
    }

    /// A letter was sent again; says whether anything is changed by that.
    pub(super) fn redriven(
        &mut self,
        course: CourseId,
        generation: u64,
        name: Name,
        is_delivered: bool,
    ) -> bool {
        let Some(owner) = self.owners.get_mut(&course) else { return false };
        let Some(letter) = self.letters.get_mut(&(course.target, name)) else { return false };
        if owner.generation != generation {
            return false;
        }
        letter.state = LetterState::Dead;
        if is_delivered {
            let ticket = letter.ticket;
            self.letters.remove(&(course.target, name));
            if owner.mark.as_ref().is_none_or(|mark| ticket.position >= mark.dealt_with) {
                owner.settled.insert(ticket);
            }
        }
        true
    }

    /// From where on a shard's log must be kept.
    pub(super) fn hold(&self, targets: u8, shard: ShardId) -> Position {
        let holds = (0..targets).map(|target| {
            let owner = self.owners.get(&CourseId { target, shard });
            owner.and_then(|owner| owner.mark.as_ref()).map_or(Position(0), |mark| mark.hold)
        });
        holds.min().expect("there are targets")
    }

    /// How far a course is.
    pub(super) fn dealt_with(&self, course: CourseId) -> Position {
        let mark = self.owners.get(&course).and_then(|owner| owner.mark.as_ref());
        mark.map_or(Position(0), |mark| mark.dealt_with)
    }
}
