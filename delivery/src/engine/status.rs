//! What can be seen of a delivery from outside.

use wal_core::{Now, Position};

use crate::rules::Rules;

use super::{Engine, Phase};

/// What was done since the engine began.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) delivered: u64,
    pub(super) buried: u64,
    pub(super) discarded: u64,
    pub(super) retried: u64,
    pub(super) ignored: u64,
}

/// Why nothing is sent; of several reasons, the first of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paused {
    /// [`Event::Drain`](super::Event::Drain) was given.
    Draining,
    /// [`Event::Pause`](super::Event::Pause) was given.
    Administrator,
    /// The dead letters are refused: their limit is reached, or their store is away.
    DeadLetters,
    /// The target is overloaded.
    Overloaded {
        /// Until then, microseconds of [`Now::mono_us`].
        until_us: u64,
    },
}

/// A delivery at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Messages that are held: `waiting`, `in_flight`, `backing_off`, `parked` and `condemned` together.
    pub held: usize,
    /// Their size, bytes.
    pub held_bytes: u64,
    /// Those that wait for a slot of the window, or behind another of their key.
    pub waiting: usize,
    /// Those of which a try is out.
    pub in_flight: u32,
    /// Those that wait for their retry.
    pub backing_off: usize,
    /// Those that wait for a fault of ours to be mended.
    pub parked: usize,
    /// Those that are given up, and not durably in the dead letters yet.
    pub condemned: usize,
    /// Different keys of what is held.
    pub keys: usize,
    /// Those of them that wait for a retry, for us, or for the dead letters.
    pub parked_keys: usize,
    /// How many tries may be in flight.
    pub window: u32,
    /// See [`Engine::mark`].
    pub mark: Position,
    /// How long ago the oldest message that is held was handed in, microseconds.
    pub oldest_age_us: Option<u64>,
    /// Messages delivered.
    pub delivered: u64,
    /// Messages durably in the dead letters.
    pub buried: u64,
    /// Messages discarded.
    pub discarded: u64,
    /// Tries beyond the first of a message.
    pub retried: u64,
    /// Messages that were not taken in, as they came again or out of order.
    pub ignored: u64,
    /// Why nothing is sent.
    pub paused: Option<Paused>,
}

impl<M: Clone, R: Rules> Engine<M, R> {
    /// How it stands now.
    pub fn status(&self, now: Now) -> Status {
        let tally = &self.pending.tally;
        let held = self.pending.len();
        let in_flight = usize::try_from(tally.in_flight).expect("no more than are held");
        let oldest = self.pending.first();
        Status {
            held,
            held_bytes: self.pending.bytes(),
            waiting: held - in_flight - tally.backoff - tally.parked - tally.condemned,
            in_flight: tally.in_flight,
            backing_off: tally.backoff,
            parked: tally.parked,
            condemned: tally.condemned,
            keys: self.lanes.len(),
            parked_keys: tally.held_keys,
            window: self.window.limit(),
            mark: self.mark(),
            oldest_age_us: oldest.map(|entry| now.mono_us.saturating_sub(entry.taken_us)),
            delivered: self.counts.delivered,
            buried: self.counts.buried,
            discarded: self.counts.discarded,
            retried: self.counts.retried,
            ignored: self.counts.ignored,
            paused: self.paused_because(now),
        }
    }

    fn paused_because(&self, now: Now) -> Option<Paused> {
        let until_us = self.window.paused_until_us();
        if self.phase != Phase::Running {
            Some(Paused::Draining)
        } else if self.paused {
            Some(Paused::Administrator)
        } else if self.burials.is_refused() {
            Some(Paused::DeadLetters)
        } else {
            (now.mono_us < until_us).then_some(Paused::Overloaded { until_us })
        }
    }
}
