//! What people ask for.

use crate::message::Ticket;
use crate::rules::Rules;

use super::pending::State;
use super::{Engine, Settled, Which};

impl<M: Clone, R: Rules> Engine<M, R> {
    pub(super) fn on_retry(&mut self, now_us: u64, which: Which) {
        match which {
            Which::All => {
                for (_, ticket) in std::mem::take(&mut self.timers) {
                    self.try_again(ticket);
                }
                self.burials.hurry(now_us);
            }
            Which::One(ticket) => {
                let state = self.pending.get_mut(ticket).map(|entry| entry.state);
                if let Some(State::Backoff { due_us } | State::Parked { due_us }) = state {
                    self.timers.remove(&(due_us, ticket));
                    self.try_again(ticket);
                }
            }
        }
    }

    pub(super) fn on_discard(&mut self, ticket: Ticket) {
        let Some(entry) = self.pending.get_mut(ticket) else { return };
        match entry.state {
            State::Ready | State::Backoff { .. } | State::Parked { .. } | State::Condemned(_) => {
                self.settle(ticket, Settled::Discarded)
            }
            // It leaves when its turn, or the answer that is under way, has come.
            State::Behind | State::InFlight(_) | State::Burying { .. } => entry.discarded = true,
        }
    }
}
