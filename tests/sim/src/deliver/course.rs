//! A course that a process delivers: its follower, its engine, and what the runtime keeps beside them.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use delivery::runtime::PicksMessages;
use delivery::{Command, DeliveryConfig, Engine, Event, Message, Outgoing, Ticket, Without};
use participant::follow::{Follower, Place, Scope};
use wal_core::{Now, Position, ShardId};

use super::CourseId;
use super::store::{Claim, Mark};
use crate::failure::{Check, Failure};
use crate::log::{ShardLog, Trimmed};

/// A course of which nothing comes says so often how far it was read, microseconds.
const PROGRESS_EVERY_US: u64 = 50_000;

/// What becomes of a course.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Running,
    /// It is to be let go: what is under way is waited for.
    Draining,
    /// Nothing is under way; its last mark is stored, or being stored.
    Drained,
}

/// What is read of a log at once: messages, and where reading goes on behind them.
pub(super) struct Batch {
    pub(super) items: Vec<(Ticket, Outgoing)>,
    place: Place,
}

/// A course that a process believes to be its own.
pub(crate) struct Course {
    pub(super) generation: u64,
    /// When it was claimed, as the book counts.
    pub(super) claimed: u64,
    pub(super) engine: Engine<Outgoing, Without>,
    pub(super) phase: Phase,
    shard: ShardId,
    follower: Follower,
    picks: Arc<PicksMessages>,
    /// Where the next look at the log starts.
    next: Position,
    said_us: u64,
    /// Where reading could go on, by how far was read there.
    places: VecDeque<Place>,
    /// Dead letters of before, and what became of them: not delivered again.
    settled: BTreeSet<Ticket>,
    /// The newest mark, if it is not stored.
    pub(super) unstored: Option<Mark>,
    pub(super) is_storing: bool,
    /// Tries that were not answered.
    pub(super) out: u32,
}

impl Course {
    pub(super) fn new(
        id: CourseId,
        picks: Arc<PicksMessages>,
        config: DeliveryConfig,
        (claim, claimed): (Claim, u64),
        rules: Without,
    ) -> Self {
        let mark = claim.mark.as_ref();
        let start = mark.map_or(Position(0), |mark| mark.dealt_with);
        let place = mark.map_or_else(Place::default, |mark| mark.place.clone());
        Self {
            generation: claim.generation,
            claimed,
            engine: Engine::with_rules(config, start, rules),
            phase: Phase::Running,
            shard: id.shard,
            follower: Follower::new(id.shard, Scope::Parts, place.clone()),
            picks,
            next: place.from,
            said_us: 0,
            places: VecDeque::from([place]),
            settled: claim.settled.into_iter().collect(),
            unstored: None,
            is_storing: false,
            out: 0,
        }
    }

    /// Reads on, if there is room. Says `Trimmed` if what it needs is gone; then it goes on behind that.
    pub(super) fn read(
        &mut self,
        now_us: u64,
        log: &ShardLog,
        most: usize,
    ) -> Result<Result<Option<Batch>, Trimmed>, Failure> {
        if self.phase != Phase::Running || self.engine.room().is_full() {
            return Ok(Ok(None));
        }
        let Ok(from) = log.start(self.next) else {
            let told = self.next.max(self.follower.place().told);
            let place = Place { told, ..Place::default() };
            self.next = place.from;
            self.follower = Follower::new(self.shard, Scope::Parts, place);
            return Ok(Err(Trimmed));
        };
        let wrong = |error: String| Failure::new(Check::Delivery, error);
        let to = log.end().min(from + most as u64);
        let mut items = Vec::new();
        for offset in from..to {
            let record = log.records[offset as usize].clone();
            let told = self.follower.take(Position(offset), record);
            if let Some(told) = told.map_err(|error| wrong(error.to_string()))? {
                items.extend(self.picks.pick(&told).map_err(wrong)?);
            }
        }
        self.next = Position(to);
        if items.is_empty() && now_us < self.said_us + PROGRESS_EVERY_US {
            return Ok(Ok(None));
        }
        self.said_us = now_us;
        Ok(Ok(Some(Batch { items, place: self.follower.place() })))
    }

    /// Hands in what was read.
    pub(super) fn take(&mut self, now: Now, batch: Batch, out: &mut Vec<Command<Outgoing>>) {
        for (ticket, payload) in batch.items {
            if self.settled.contains(&ticket) {
                continue;
            }
            let size_bytes = payload.message.payload.len() as u64;
            let key = payload.message.key.clone();
            self.step(now, Event::Take(Message { ticket, key, size_bytes, payload }), out);
        }
        let read = batch.place.told;
        self.places.push_back(batch.place);
        self.step(now, Event::ReadTo { position: read }, out);
    }

    /// Takes an event in. What the engine says of marks is kept here, the rest is appended to `out`.
    pub(super) fn step(
        &mut self,
        now: Now,
        event: Event<Outgoing>,
        out: &mut Vec<Command<Outgoing>>,
    ) {
        if event == Event::Drain && self.phase == Phase::Running {
            self.phase = Phase::Draining;
        }
        let mut said = Vec::new();
        self.engine.step(now, event, &mut said);
        for command in said {
            match command {
                Command::Mark { position } => self.mark(position),
                Command::Drained { mark } => {
                    self.mark(mark);
                    self.phase = Phase::Drained;
                }
                command @ (Command::Send { .. } | Command::Bury { .. }) => out.push(command),
            }
        }
    }

    fn mark(&mut self, position: Position) {
        while self.places.get(1).is_some_and(|next| next.told <= position) {
            self.places.pop_front();
        }
        let Some(place) = self.places.front() else { return };
        let place = Place { told: position, ..place.clone() };
        self.settled = self.settled.split_off(&Ticket { position, index: 0 });
        let hold = place.from.min(position);
        self.unstored = Some(Mark { dealt_with: position, hold, place });
    }
}
