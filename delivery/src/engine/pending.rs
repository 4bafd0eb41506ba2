//! The messages that are held, in the order of the log.

use std::collections::BTreeMap;

use crate::history::History;
use crate::message::{Cause, Message, Ticket};
use crate::window::Sent;

/// Where a message is; see [`super`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Another of its key is before it.
    Behind,
    /// It waits for a slot of the window.
    Ready,
    /// A try is out.
    InFlight(Sent),
    /// It waits for its retry.
    Backoff { due_us: u64 },
    /// It waits for us to mend something.
    Parked { due_us: u64 },
    /// It is given up, and waits to be stored as a dead letter.
    Condemned(Cause),
    /// It is being stored. `probe`: to find out whether the store takes anything.
    Burying { cause: Cause, probe: bool },
}

/// A message that is held, and what happened to it.
#[derive(Debug)]
pub(super) struct Entry<M> {
    pub(super) message: Message<M>,
    pub(super) state: State,
    pub(super) taken_us: u64,
    pub(super) first_sent_us: u64,
    /// How often it was sent.
    pub(super) tries: u32,
    /// Transient failures.
    pub(super) failures: u32,
    /// How often it was answered that the target is overloaded.
    pub(super) overloads: u32,
    /// An earlier try turned out to have delivered it, while a later one is out.
    pub(super) delivered: bool,
    /// It is discarded as soon as that is possible.
    pub(super) discarded: bool,
    /// Of failed tries, if any.
    pub(super) history: Option<Box<History>>,
}

impl<M> Entry<M> {
    pub(super) const fn new(message: Message<M>, state: State, taken_us: u64) -> Self {
        Self {
            message,
            state,
            taken_us,
            first_sent_us: 0,
            tries: 0,
            failures: 0,
            overloads: 0,
            delivered: false,
            discarded: false,
            history: None,
        }
    }
}

/// How many messages are where.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) in_flight: u32,
    pub(super) backoff: usize,
    pub(super) parked: usize,
    /// Condemned, or being buried.
    pub(super) condemned: usize,
    /// Keys whose head is in one of the three.
    pub(super) held_keys: usize,
}

impl Tally {
    fn enter<M>(&mut self, entry: &Entry<M>) {
        let keys = usize::from(entry.message.key.is_some());
        match entry.state {
            State::Behind | State::Ready => return,
            State::InFlight(_) => {
                self.in_flight += 1;
                return;
            }
            State::Backoff { .. } => self.backoff += 1,
            State::Parked { .. } => self.parked += 1,
            State::Condemned(_) | State::Burying { .. } => self.condemned += 1,
        }
        self.held_keys += keys;
    }

    fn leave<M>(&mut self, entry: &Entry<M>) {
        let keys = usize::from(entry.message.key.is_some());
        match entry.state {
            State::Behind | State::Ready => return,
            State::InFlight(_) => {
                self.in_flight -= 1;
                return;
            }
            State::Backoff { .. } => self.backoff -= 1,
            State::Parked { .. } => self.parked -= 1,
            State::Condemned(_) | State::Burying { .. } => self.condemned -= 1,
        }
        self.held_keys -= keys;
    }
}

/// What is held: a search tree, so that the first is at hand for the mark, and what is dealt with takes no room
/// behind one that is stuck.
#[derive(Debug)]
pub(super) struct Pending<M> {
    entries: BTreeMap<Ticket, Entry<M>>,
    bytes: u64,
    pub(super) tally: Tally,
}

impl<M> Default for Pending<M> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), bytes: 0, tally: Tally::default() }
    }
}

impl<M> Pending<M> {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn first(&self) -> Option<&Entry<M>> {
        self.entries.first_key_value().map(|(_, entry)| entry)
    }

    pub(super) fn get_mut(&mut self, ticket: Ticket) -> Option<&mut Entry<M>> {
        self.entries.get_mut(&ticket)
    }

    pub(super) fn insert(&mut self, entry: Entry<M>) {
        self.bytes = self.bytes.saturating_add(entry.message.size_bytes);
        self.tally.enter(&entry);
        let replaced = self.entries.insert(entry.message.ticket, entry);
        assert!(replaced.is_none(), "tickets grow");
    }

    /// It is somewhere else now. It must be held.
    pub(super) fn put(&mut self, ticket: Ticket, state: State) {
        let entry = self.entries.get_mut(&ticket).expect("only what is held changes");
        self.tally.leave(entry);
        entry.state = state;
        self.tally.enter(entry);
    }

    /// It is dealt with. It must be held.
    pub(super) fn remove(&mut self, ticket: Ticket) -> Entry<M> {
        let entry = self.entries.remove(&ticket).expect("a message is dealt with once");
        self.tally.leave(&entry);
        self.bytes = self.bytes.saturating_sub(entry.message.size_bytes);
        entry
    }
}
