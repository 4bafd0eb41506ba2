//! A shard that this process delivers: its engine, and what goes with it. No I/O.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use participant::follow::Place;
use wal_core::record::{DecodeError, Reader, Writer};
use wal_core::{Nonce, Now, Position};

use super::reader::{Batch, Unreadable};
use crate::config::DeliveryConfig;
use crate::engine::{Command, Engine, Event};
use crate::message::{Message, Ticket};
use crate::outgoing::Outgoing;
use crate::rules::{Rules, Strict};
use crate::store::{Claim, Mark};

/// What was read of a shard for a delivery.
pub type Messages = Batch<(Ticket, Outgoing)>;

/// Places that are remembered at most; beyond it every second one is forgotten.
const PLACES: usize = 1_024;
/// What a message takes in memory beside its payload, bytes.
const MESSAGE_BYTES: u64 = 256;
/// What cannot be read is read again so much later, microseconds: a file may have been mended.
const UNREAD_FOR_US: u64 = 30_000_000;
/// The form of a place in the store.
const PLACE_VERSION: u8 = 1;

/// A shard that this process delivers: what was claimed, the engine, and how far reading and marks are.
pub struct Course<R: Rules = Strict> {
    /// Of the claim.
    pub generation: u64,
    engine: Engine<Outgoing, R>,
    /// Where reading could go on, by how far was read there.
    places: VecDeque<Place>,
    /// Dead letters of before, and what became of them: not delivered again.
    settled: BTreeSet<Ticket>,
    /// What was last said of room to who reads.
    pub(super) has_room: bool,
    /// The newest mark, if it is not stored.
    unstored: Option<Mark>,
    /// A mark is being stored.
    is_storing: bool,
    phase: Phase,
    /// What holds up reading, if something does.
    unread: Option<Unread>,
    log: Nonce,
}

/// What cannot be read of a shard: nothing behind it is delivered, and no mark passes it.
#[derive(Debug)]
struct Unread {
    at: Position,
    why: Arc<str>,
    /// Where reading begins again, and when; `None` while it is read again.
    place: Place,
    again_us: Option<u64>,
}

/// What is to be told of the reading of a course.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadNews {
    /// It cannot be read on, for this reason.
    Stuck(Arc<str>),
    /// What could not be read was read.
    Passed,
}

/// What becomes of a course.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It is read and delivered.
    Running,
    /// It is to be let go: what is under way is waited for.
    Draining,
    /// Nothing is under way; its last mark is stored, or being stored.
    Drained,
}

impl Course {
    /// A course of `log` that was claimed, and where its reading begins. Errors as of [`Course::with_rules`].
    pub(super) fn new(
        config: DeliveryConfig,
        claim: Claim,
        log: Nonce,
    ) -> Result<(Self, Place), DecodeError> {
        Self::with_rules(config, claim, log, Strict)
    }
}

impl<R: Rules> Course<R> {
    /// A course of `log` that was claimed, and where its reading begins, by some of the rules only (tests only).
    ///
    /// # Errors
    /// [`DecodeError`] if the claim's mark is not one that was stored.
    pub fn with_rules(
        config: DeliveryConfig,
        claim: Claim,
        log: Nonce,
        rules: R,
    ) -> Result<(Self, Place), DecodeError> {
        let had_mark = claim.mark.is_some();
        // Positions of another log mean nothing in this one.
        let mark = claim.mark.filter(|mark| mark.log == log);
        // Nor do tickets: without any mark they can only be of the one log that there was.
        let settled = if had_mark && mark.is_none() { Vec::new() } else { claim.settled };
        let place = match &mark {
            Some(mark) => place_of(mark)?,
            None => Place::default(),
        };
        let start = mark.as_ref().map_or(Position(0), |mark| mark.dealt_with);
        let course = Self {
            generation: claim.generation,
            engine: Engine::with_rules(config, start, rules),
            places: VecDeque::from([place.clone()]),
            settled: settled.into_iter().collect(),
            has_room: true,
            unstored: None,
            is_storing: false,
            phase: Phase::Running,
            unread: None,
            log,
        };
        Ok((course, place))
    }

    /// Its engine.
    pub const fn engine(&self) -> &Engine<Outgoing, R> {
        &self.engine
    }

    /// What becomes of it.
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether it may be let go: nothing is under way, and its last mark is stored.
    pub const fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Drained) && !self.is_storing && self.unstored.is_none()
    }

    /// The newest mark, which is to be stored now, if there is one that is not.
    pub fn begin_storing(&mut self) -> Option<Mark> {
        let mark = self.unstored.take()?;
        self.is_storing = true;
        Some(mark)
    }

    /// What was to be stored is stored, or else it is to be stored once more, unless there is a newer one.
    pub fn end_storing(&mut self, not_stored: Option<Mark>) {
        self.is_storing = false;
        self.unstored = self.unstored.take().or(not_stored);
    }

    /// Why the shard cannot be read on, if so.
    pub(super) fn unread(&self) -> Option<&Arc<str>> {
        self.unread.as_ref().map(|unread| &unread.why)
    }

    /// Where reading is to begin again, if it is time to: at once if somebody asks for that.
    pub(super) fn read_again(&mut self, now: Now, is_asked: bool) -> Option<Place> {
        let unread = self.unread.as_mut().filter(|_| self.phase == Phase::Running)?;
        let is_due = |again_us: &mut u64| is_asked || *again_us <= now.mono_us;
        unread.again_us.take_if(is_due).map(|_| unread.place.clone())
    }

    /// Says what is new about reading. What was told once is not told again.
    fn note_reading(
        &mut self,
        now: Now,
        place: &Place,
        failed: Option<Unreadable>,
    ) -> Option<ReadNews> {
        let Some(Unreadable { at, why }) = failed else {
            self.unread.take_if(|unread| place.told > unread.at)?;
            return Some(ReadNews::Passed);
        };
        let is_known = self.unread.as_ref().is_some_and(|unread| *unread.why == *why);
        let why: Arc<str> = why.into();
        let again_us = Some(now.mono_us.saturating_add(UNREAD_FOR_US));
        self.unread = Some(Unread { at, why: Arc::clone(&why), place: place.clone(), again_us });
        (!is_known).then_some(ReadNews::Stuck(why))
    }

    /// Hands in what was read. Says what is new about reading.
    pub fn take(
        &mut self,
        now: Now,
        batch: Messages,
        out: &mut Vec<Command<Outgoing>>,
    ) -> Option<ReadNews> {
        let news = self.note_reading(now, &batch.place, batch.failed);
        for (ticket, payload) in batch.items {
            if self.settled.contains(&ticket) {
                continue;
            }
            let size_bytes = MESSAGE_BYTES + payload.message.payload.len() as u64;
            let key = payload.message.key.clone();
            let message = Message { ticket, key, size_bytes, payload };
            self.step(now, Event::Take(message), out);
        }
        let read = batch.place.told;
        if self.places.len() >= PLACES {
            let mut keep = false;
            self.places.retain(|_| {
                keep = !keep;
                keep
            });
        }
        self.places.push_back(batch.place);
        self.step(now, Event::ReadTo { position: read }, out);
        news
    }

    /// Takes an event in. What the engine says of marks is kept here, the rest is appended to `out`.
    pub fn step(&mut self, now: Now, event: Event<Outgoing>, out: &mut Vec<Command<Outgoing>>) {
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
        let place = written_place(&place);
        self.unstored = Some(Mark { log: self.log, dealt_with: position, hold, place });
    }
}

fn written_place(place: &Place) -> bytes::Bytes {
    let mut bytes = Vec::with_capacity(64);
    let mut out = Writer::new(&mut bytes);
    out.byte(PLACE_VERSION);
    out.piece(place);
    bytes.into()
}

/// Where reading goes on behind a mark: nothing that was dealt with is told again.
///
/// # Errors
/// [`DecodeError`] if what the store gave back is not what was stored.
pub fn place_of(mark: &Mark) -> Result<Place, DecodeError> {
    let place = read_place(mark.place.clone())?;
    Ok(Place { told: mark.dealt_with, ..place })
}

fn read_place(bytes: bytes::Bytes) -> Result<Place, DecodeError> {
    let mut input = Reader::new(bytes);
    let found = input.byte()?;
    if found != PLACE_VERSION {
        return Err(DecodeError::Version { found, expected: PLACE_VERSION });
    }
    let place = input.piece()?;
    input.finish()?;
    Ok(place)
}

/// Courses by shard.
pub(super) type Courses = BTreeMap<wal_core::ShardId, Course>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Answer;
    use wal_core::{ShardId, Timestamp, TxnId};

    fn claim(mark: Option<Mark>, settled: Vec<Ticket>) -> Claim {
        Claim { generation: 1, mark, settled }
    }

    fn ticket(position: u64) -> Ticket {
        Ticket { position: Position(position), index: 0 }
    }

    fn batch(positions: &[u64], from: u64, told: u64) -> Messages {
        let outgoing = |position| Outgoing {
            namespace: "bank".into(),
            shard: ShardId(0),
            name: crate::outgoing::Name { id: TxnId(position), index: 0 },
            timestamp: Timestamp(0),
            message: Arc::default(),
        };
        Messages {
            shard: ShardId(0),
            generation: 1,
            items: positions.iter().map(|at| (ticket(*at), outgoing(u128::from(*at)))).collect(),
            place: Place { from: Position(from), acceptor: None, told: Position(told) },
            closed: Timestamp(0),
            unseen: Timestamp(0),
            failed: None,
        }
    }

    const LOG: Nonce = Nonce(7);

    fn new(mark: Option<Mark>, settled: Vec<Ticket>) -> (Course, Place) {
        Course::new(DeliveryConfig::new(1), claim(mark, settled), LOG).expect("a good place")
    }

    fn sent(out: &[Command<Outgoing>]) -> Vec<Position> {
        out.iter()
            .map(|command| match command {
                Command::Send { ticket, .. } => ticket.position,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn another_goes_on_from_the_mark_and_repeats_only_what_was_not_dealt_with() {
        let now = Now { wall_us: 0, mono_us: 1 };
        let (mut course, place) = new(None, Vec::new());
        assert_eq!(place, Place::default());
        let mut out = Vec::new();
        course.take(now, batch(&[5, 8], 4, 9), &mut out);
        course.take(now, batch(&[12], 11, 13), &mut out);
        assert_eq!(sent(&out), [5, 8, 12].map(Position));
        for position in [5, 12] {
            let answered =
                Event::Answered { ticket: ticket(position), number: 1, answer: Answer::Delivered };
            course.step(now, answered, &mut out);
        }
        let later = Now { wall_us: 0, mono_us: 10_000_000 };
        course.step(later, Event::Tick, &mut out);
        let mark = course.unstored.clone().expect("time has passed");
        assert_eq!((mark.dealt_with, mark.hold), (Position(8), Position(0)), "8 is out");

        let (mut next, place) = new(Some(mark.clone()), Vec::new());
        assert_eq!((place.from, place.told), (Position(0), Position(8)));
        out.clear();
        next.take(now, batch(&[8, 12], 11, 13), &mut out);
        assert_eq!(sent(&out), [8, 12].map(Position));
        for position in [8, 12] {
            let answered =
                Event::Answered { ticket: ticket(position), number: 1, answer: Answer::Delivered };
            next.step(now, answered, &mut out);
        }
        next.step(later, Event::Tick, &mut out);
        let mark = next.unstored.clone().expect("time has passed");
        assert_eq!((mark.dealt_with, mark.hold), (Position(13), Position(11)));

        // The same mark in another log means nothing.
        let claimed = Course::new(DeliveryConfig::new(1), claim(Some(mark), Vec::new()), Nonce(8));
        assert_eq!(claimed.expect("a good place").1, Place::default());
    }

    #[test]
    fn what_was_settled_is_not_delivered_again() {
        let now = Now { wall_us: 0, mono_us: 1 };
        let (mut course, _) = new(None, Vec::new());
        let mut out = Vec::new();
        course.step(Now { wall_us: 0, mono_us: 10_000_000 }, Event::Drain, &mut out);
        assert_eq!(course.phase, Phase::Drained);
        let mark = course.unstored.expect("the last mark");
        let (mut next, _) = new(Some(mark), vec![ticket(8)]);
        next.take(now, batch(&[5, 8, 9], 9, 10), &mut out);
        assert_eq!(sent(&out), [5, 9].map(Position));
    }

    #[test]
    fn what_cannot_be_read_is_told_once_read_again_later_and_never_passed() {
        let at = |seconds: u64| Now { wall_us: 0, mono_us: 1 + seconds * 1_000_000 };
        let (mut course, _) = new(None, Vec::new());
        let mut out = Vec::new();
        let failed = |position, why: &str| Messages {
            failed: Some(Unreadable { at: Position(position), why: why.to_owned() }),
            ..batch(&[5], 0, 3)
        };
        let news = course.take(at(0), failed(7, "no form"), &mut out);
        assert_eq!(news, Some(ReadNews::Stuck("no form".into())));
        assert_eq!(course.unread().map(|why| &**why), Some("no form"));
        assert_eq!(course.read_again(at(29), false), None, "not yet");
        let place = Place { from: Position(0), acceptor: None, told: Position(3) };
        assert_eq!(course.read_again(at(30), false), Some(place.clone()));
        assert_eq!(course.read_again(at(90), true), None, "it is being read");

        // What comes before it is read again, and changes nothing; nor is the same told twice.
        assert_eq!(course.take(at(31), batch(&[5], 0, 7), &mut out), None);
        assert_eq!(course.take(at(31), failed(7, "no form"), &mut out), None);
        assert_eq!(sent(&out), [Position(5)]);
        let answered = Event::Answered { ticket: ticket(5), number: 1, answer: Answer::Delivered };
        course.step(at(32), answered, &mut out);
        course.step(at(40), Event::Tick, &mut out);
        let mark = course.unstored.clone().expect("time has passed");
        assert!(mark.dealt_with <= Position(7) && mark.hold <= Position(7), "{mark:?}");

        // Somebody asks for it; then it can be read.
        assert_eq!(course.read_again(at(41), true), Some(place));
        let news = course.take(at(42), batch(&[7], 0, 8), &mut out);
        assert_eq!((news, course.unread()), (Some(ReadNews::Passed), None));
        let news = course.take(at(43), failed(9, "no form"), &mut out);
        assert_eq!(news, Some(ReadNews::Stuck("no form".into())), "another one");
        course.step(at(44), Event::Drain, &mut out);
        assert_eq!(course.read_again(at(90), true), None, "it is let go");
    }
}
