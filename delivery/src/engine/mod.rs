//! The engine itself: events in, commands out.
//!
//! A message's life:
//!
//! ```text
//!           head of its lane          in the window             delivered
//!  Behind ───────────────────▶ Ready ───────────────▶ InFlight ───────────▶ ∙
//!                                ▲                     │ │  │
//!                                ├── Backoff ◀─────────┘ │  │ transient, overloaded
//!                                ├── Parked  ◀───────────┘  │ ours
//!                                            permanent,     ▼         Bury            ok
//!                                            given up   Condemned ──────────▶ Burying ───▶ ∙
//!                                                           ▲     not ok, pause │
//!                                                           └───────────────────┘
//! ```
//!
//! Wherever the head of a lane is, the rest of it is `Behind`. A message that leaves (∙) lets the next of its
//! lane become ready. What is in `Ready`, `Backoff`, `Parked` or `Condemned` also leaves when it is discarded, or
//! an earlier try turns out to have delivered it.

mod burials;
mod on_answered;
mod on_buried;
mod on_request;
mod pending;
mod status;

use std::collections::BTreeSet;

use bytes::Bytes;
use wal_core::{Now, Position};

use crate::backoff::Draw;
use crate::config::DeliveryConfig;
use crate::history::History;
use crate::lane::{Lanes, Ready};
use crate::mark::Marker;
use crate::message::{Answer, Cause, Message, Ticket};
use crate::rules::{Rule, Rules, Strict};
use crate::window::Window;

use burials::Burials;
use pending::{Entry, Pending, State};
use status::Counts;
pub use status::{Paused, Status};

/// Which messages are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// All that wait for a retry, and dead letters that wait for their store. Takes time in proportion to
    /// their number.
    All,
    /// This one.
    One(Ticket),
}

/// What the engine is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<M> {
    /// The next message of the shard. It is taken in even beyond [`Engine::room`].
    Take(Message<M>),
    /// Everything before this position was handed in.
    ReadTo {
        /// Exclusive.
        position: Position,
    },
    /// A try ended.
    Answered {
        /// Of which message.
        ticket: Ticket,
        /// Which try: [`Command::Send`]'s number.
        number: u32,
        /// How.
        answer: Answer,
    },
    /// A dead letter was stored, or not.
    Buried {
        /// Which.
        ticket: Ticket,
        /// Whether it is durable. `false` if the limit is reached, the store is away, or nobody knows.
        ok: bool,
    },
    /// Somebody asks for tries now rather than when they are due.
    Retry(Which),
    /// A message is to be given up without a dead letter, which is durable. A try of it that is in flight may
    /// still deliver it.
    Discard {
        /// Which.
        ticket: Ticket,
    },
    /// Send nothing, until [`Event::Resume`].
    Pause,
    /// Go on.
    Resume,
    /// Send nothing more, wait for what is under way, and say the last mark.
    Drain,
    /// Time passes: at [`Engine::next_wake`], or at any time.
    Tick,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command<M> {
    /// Send it to the target, and answer with [`Event::Answered`].
    Send {
        /// The message, and what the target recognises repeats by.
        ticket: Ticket,
        /// Which try; 1 is the first of this engine.
        number: u32,
        /// Its key.
        key: Option<Bytes>,
        /// The message's.
        payload: M,
    },
    /// Store it in the dead letters, and answer with [`Event::Buried`].
    Bury {
        /// The message. Storing the same again changes nothing.
        ticket: Ticket,
        /// Its key.
        key: Option<Bytes>,
        /// The message's.
        payload: M,
        /// Why it is given up.
        cause: Cause,
        /// How it was tried.
        history: History,
    },
    /// Store that everything before this position is dealt with. Grows.
    Mark {
        /// Exclusive.
        position: Position,
    },
    /// Nothing is under way any more; the last command.
    Drained {
        /// The last mark.
        mark: Position,
    },
}

/// How much more is to be handed in. The driver reads on while neither is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// So many messages.
    pub messages: usize,
    /// So many bytes; the last message may exceed it.
    pub bytes: u64,
}

impl Room {
    /// Whether nothing more is to be read.
    pub const fn is_full(self) -> bool {
        self.messages == 0 || self.bytes == 0
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    Draining,
    Drained,
}

/// How a message was dealt with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Settled {
    Delivered,
    Buried,
    Discarded,
}

/// Delivers the messages of one shard to one target. See the crate.
#[derive(Debug)]
pub struct Engine<M, R: Rules = Strict> {
    config: DeliveryConfig,
    rules: R,
    phase: Phase,
    /// By an administrator.
    paused: bool,
    pending: Pending<M>,
    lanes: Lanes,
    ready: Ready,
    /// When each message in `Backoff` or `Parked` is due.
    timers: BTreeSet<(u64, Ticket)>,
    window: Window,
    burials: Burials,
    marker: Marker,
    /// Everything before it was handed in.
    read: Position,
    /// The newest message.
    last: Option<Ticket>,
    draw: Draw,
    /// The latest time.
    seen_us: u64,
    counts: Counts,
}

impl<M: Clone> Engine<M> {
    /// An engine that has been handed nothing yet, and for which everything before `start`, the last mark
    /// that was stored, is dealt with.
    pub fn new(config: DeliveryConfig, start: Position) -> Self {
        Self::with_rules(config, start, Strict)
    }
}

impl<M: Clone, R: Rules> Engine<M, R> {
    /// The same, with the rules that it is to keep.
    pub fn with_rules(config: DeliveryConfig, start: Position, rules: R) -> Self {
        Self {
            config,
            rules,
            phase: Phase::Running,
            paused: false,
            pending: Pending::default(),
            lanes: Lanes::default(),
            ready: Ready::default(),
            timers: BTreeSet::new(),
            window: Window::new(config.window),
            burials: Burials::new(config.burial),
            marker: Marker::new(config.mark, start),
            read: start,
            last: None,
            draw: Draw::new(config.seed),
            seen_us: 0,
            counts: Counts::default(),
        }
    }

    /// Takes one event in, and appends to `out` what is to be done, in that order. Never fails, never blocks;
    /// takes logarithmic time in what is held, but for [`Which::All`].
    pub fn step(&mut self, now: Now, event: Event<M>, out: &mut Vec<Command<M>>) {
        if self.phase == Phase::Drained {
            return; // the last mark was said
        }
        let now = Now { mono_us: now.mono_us.max(self.seen_us), ..now };
        self.seen_us = now.mono_us;
        match event {
            Event::Take(message) => self.on_take(now.mono_us, message),
            Event::ReadTo { position } => self.read = self.read.max(position),
            Event::Answered { ticket, number, answer } => {
                self.on_answered(now, ticket, number, answer);
            }
            Event::Buried { ticket, ok } => self.on_buried(now.mono_us, ticket, ok),
            Event::Retry(which) => self.on_retry(now.mono_us, which),
            Event::Discard { ticket } => self.on_discard(ticket),
            Event::Pause => self.paused = true,
            Event::Resume => self.paused = false,
            Event::Drain => self.phase = Phase::Draining,
            Event::Tick => {}
        }
        self.advance(now.mono_us, out);
    }

    /// How much more it is to be handed. Nothing while it drains.
    pub fn room(&self) -> Room {
        match self.phase {
            Phase::Running => Room {
                messages: self.config.max_messages.max(1).saturating_sub(self.pending.len()),
                bytes: self.config.max_bytes.max(1).saturating_sub(self.pending.bytes()),
            },
            Phase::Draining | Phase::Drained => Room::default(),
        }
    }

    /// The first position that is not wholly dealt with, as far as it was handed in.
    pub fn mark(&self) -> Position {
        match self.pending.first() {
            Some(entry) if self.rules.holds(Rule::MarkStopsAtFirst) => {
                entry.message.ticket.position
            }
            Some(_) | None => self.read,
        }
    }

    /// When it is to be given [`Event::Tick`] if nothing else happens before, in microseconds of
    /// [`Now::mono_us`]: always later than the last event. `None`: never.
    pub fn next_wake(&self) -> Option<u64> {
        if self.phase == Phase::Drained {
            return None;
        }
        let retry = self.timers.first().map(|(due_us, _)| *due_us);
        let send = (!self.ready.is_empty() && self.is_sending())
            .then(|| self.window.paused_until_us())
            .filter(|until_us| *until_us > self.seen_us);
        let bury = self.burials.wake().filter(|_| self.phase == Phase::Running);
        let mark = self.marker.wake(self.mark());
        [retry, send, bury, mark].into_iter().flatten().min()
    }

    fn on_take(&mut self, now_us: u64, message: Message<M>) {
        let ticket = message.ticket;
        if ticket.position < self.read || self.last.is_some_and(|last| ticket <= last) {
            self.counts.ignored += 1;
            return;
        }
        self.last = Some(ticket);
        // More of the same record may follow.
        self.read = ticket.position;
        let is_head = message.key.as_ref().is_none_or(|key| self.lanes.join(key, ticket));
        let state = if is_head { State::Ready } else { State::Behind };
        if is_head {
            self.ready.push_fresh(ticket);
        }
        self.pending.insert(Entry::new(message, state, now_us));
    }

    /// Does whatever can be done now.
    fn advance(&mut self, now_us: u64, out: &mut Vec<Command<M>>) {
        while let Some(&(due_us, ticket)) = self.timers.first()
            && due_us <= now_us
        {
            self.timers.pop_first();
            self.try_again(ticket);
        }
        if self.phase == Phase::Running {
            self.bury(now_us, out);
            self.send(now_us, out);
        }
        let mark = self.mark();
        let is_still = self.pending.tally.in_flight == 0 && self.burials.is_still();
        let is_drained = self.phase == Phase::Draining && is_still;
        if self.marker.is_due(now_us, mark) || (is_drained && mark > self.marker.said()) {
            self.marker.say(now_us, mark);
            out.push(Command::Mark { position: mark });
        }
        if is_drained {
            self.phase = Phase::Drained;
            out.push(Command::Drained { mark });
        }
    }

    /// Whether it sends, but for the window.
    fn is_sending(&self) -> bool {
        self.phase == Phase::Running && !self.paused && !self.burials.is_refused()
    }

    fn may_send(&self, now_us: u64) -> bool {
        let has_slot = self.pending.tally.in_flight < self.window.limit()
            || !self.rules.holds(Rule::WindowIsBounded);
        has_slot && now_us >= self.window.paused_until_us() && self.is_sending()
    }

    fn send(&mut self, now_us: u64, out: &mut Vec<Command<M>>) {
        while self.may_send(now_us) {
            let Some(ticket) = self.ready.pop() else { return };
            let Some(entry) = self.pending.get_mut(ticket) else { continue };
            if !matches!(entry.state, State::Ready) {
                continue;
            }
            if entry.tries == 0 {
                entry.first_sent_us = now_us;
            } else {
                self.counts.retried += 1;
            }
            entry.tries += 1;
            out.push(Command::Send {
                ticket,
                number: entry.tries,
                key: entry.message.key.clone(),
                payload: entry.message.payload.clone(),
            });
            let sent = self.window.on_sent(now_us, self.pending.tally.in_flight + 1);
            self.pending.put(ticket, State::InFlight(sent));
        }
    }

    /// Its pause is over.
    fn try_again(&mut self, ticket: Ticket) {
        self.pending.put(ticket, State::Ready);
        self.ready.push_again(ticket);
    }

    /// A message is dealt with: it leaves, and its lane goes on.
    fn settle(&mut self, ticket: Ticket, how: Settled) {
        let mut next = Some((ticket, how));
        while let Some((ticket, how)) = next.take() {
            let entry = self.pending.remove(ticket);
            if let State::Backoff { due_us } | State::Parked { due_us } = entry.state {
                self.timers.remove(&(due_us, ticket));
            }
            match how {
                Settled::Delivered => self.counts.delivered += 1,
                Settled::Buried => self.counts.buried += 1,
                Settled::Discarded => self.counts.discarded += 1,
            }
            self.marker.on_settled();
            if let Some(key) = &entry.message.key {
                next = self.go_on(key).map(|discarded| (discarded, Settled::Discarded));
            }
        }
    }

    /// The head of a lane is out of the way: the next becomes ready, or is returned if it was discarded.
    fn go_on(&mut self, key: &Bytes) -> Option<Ticket> {
        let next = self.lanes.leave(key)?;
        let entry = self.pending.get_mut(next).expect("what waits in a lane is held");
        if entry.discarded {
            return Some(next);
        }
        self.pending.put(next, State::Ready);
        self.ready.push_fresh(next);
        None
    }
}
