//! The engine against each of its promises in turn, and against a world that fails at random.

mod bounds;
mod control;
mod failures;
mod order;
pub(crate) mod property;
mod world;

use bytes::Bytes;
use wal_core::{Now, Position};

use crate::*;

const MS: u64 = 1_000;
const S: u64 = 1_000_000;

/// An engine, a clock, and what the engine said since it was asked last.
struct Desk {
    engine: Engine<u64>,
    now_us: u64,
    said: Vec<Command<u64>>,
}

const fn ticket(position: u64) -> Ticket {
    Ticket { position: Position(position), index: 0 }
}

const fn at(mono_us: u64) -> Now {
    Now { wall_us: 1_700_000_000_000_000 + mono_us as i64, mono_us }
}

fn message(ticket: Ticket, key: Option<&str>) -> Message<u64> {
    let key = key.map(|key| Bytes::copy_from_slice(key.as_bytes()));
    Message { ticket, key, size_bytes: 10, payload: ticket.position.0 }
}

fn failed(class: ErrorClass) -> Answer {
    Answer::Failed(Failure { class, text: "because".into() })
}

const OVERLOADED: ErrorClass = ErrorClass::Overloaded { retry_after_us: None };

impl Desk {
    /// With settings that are easy to reckon with.
    fn new(change: impl FnOnce(&mut DeliveryConfig)) -> Self {
        let mut config = DeliveryConfig::new(1);
        config.window.latency = None;
        config.mark.interval_us = u64::MAX;
        config.retry.pauses = Pauses { first_us: 100 * MS, longest_us: 1_600 * MS };
        config.retry.max_tries = 3;
        change(&mut config);
        let engine = Engine::new(config, Position(0));
        Self { engine, now_us: S, said: Vec::new() }
    }

    fn step(&mut self, event: Event<u64>) -> &mut Self {
        self.engine.step(at(self.now_us), event, &mut self.said);
        self
    }

    fn take(&mut self, position: u64, key: Option<&str>) -> &mut Self {
        self.step(Event::Take(message(ticket(position), key)))
    }

    fn answer(&mut self, position: u64, number: u32, answer: Answer) -> &mut Self {
        self.step(Event::Answered { ticket: ticket(position), number, answer })
    }

    fn delivered(&mut self, position: u64, number: u32) -> &mut Self {
        self.answer(position, number, Answer::Delivered)
    }

    fn fails(&mut self, position: u64, number: u32, class: ErrorClass) -> &mut Self {
        self.answer(position, number, failed(class))
    }

    fn buried(&mut self, position: u64, ok: bool) -> &mut Self {
        self.step(Event::Buried { ticket: ticket(position), ok })
    }

    fn read_to(&mut self, position: u64) -> &mut Self {
        self.step(Event::ReadTo { position: Position(position) })
    }

    fn wait(&mut self, us: u64) -> &mut Self {
        self.now_us += us;
        self.step(Event::Tick)
    }

    /// Waits until the engine wants to be woken; how long that was.
    fn wake(&mut self) -> u64 {
        let wake_us = self.engine.next_wake().expect("it waits for something");
        assert!(wake_us > self.now_us, "it would be woken for ever");
        let waited = wake_us - self.now_us;
        self.wait(waited);
        waited
    }

    fn status(&self) -> Status {
        self.engine.status(at(self.now_us))
    }

    /// What it said since it was asked last.
    fn said(&mut self) -> Vec<Command<u64>> {
        std::mem::take(&mut self.said)
    }

    /// Of that, what is to be sent: position and number of the try.
    fn sends(&mut self) -> Vec<(u64, u32)> {
        let sends = self.said().into_iter().filter_map(|command| match command {
            Command::Send { ticket, number, .. } => Some((ticket.position.0, number)),
            Command::Bury { .. } | Command::Mark { .. } | Command::Drained { .. } => None,
        });
        sends.collect()
    }

    /// Of that, what is to be buried: position, cause, and how many tries failed.
    fn burials(&mut self) -> Vec<(u64, Cause, u32)> {
        let burials = self.said().into_iter().filter_map(|command| match command {
            Command::Bury { ticket, cause, history, .. } => {
                Some((ticket.position.0, cause, history.count()))
            }
            Command::Send { .. } | Command::Mark { .. } | Command::Drained { .. } => None,
        });
        burials.collect()
    }

    /// Of that, the marks.
    fn marks(&mut self) -> Vec<u64> {
        let marks = self.said().into_iter().filter_map(|command| match command {
            Command::Mark { position } => Some(position.0),
            Command::Send { .. } | Command::Bury { .. } | Command::Drained { .. } => None,
        });
        marks.collect()
    }
}
