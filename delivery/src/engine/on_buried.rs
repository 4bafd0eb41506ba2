//! The store of dead letters answered.

use crate::message::Ticket;
use crate::rules::{Rule, Rules};

use super::pending::State;
use super::{Engine, Settled};

impl<M: Clone, R: Rules> Engine<M, R> {
    pub(super) fn on_buried(&mut self, now_us: u64, ticket: Ticket, ok: bool) {
        let Some(entry) = self.pending.get_mut(ticket) else { return };
        let State::Burying { cause, probe } = entry.state else { return };
        let discarded = entry.discarded;
        // Those that were asked before the store refused neither end the refusal nor make the pause longer.
        let counts = probe || !self.burials.is_refused();
        self.burials.on_answer(now_us, ok, counts, &mut self.draw);
        if ok || !self.rules.holds(Rule::RefusedIsBuriedAgain) {
            self.settle(ticket, Settled::Buried);
        } else if discarded {
            self.settle(ticket, Settled::Discarded);
        } else {
            self.pending.put(ticket, State::Condemned(cause));
            // Behind the others: one that the store never takes is not always the one that probes.
            self.burials.push(ticket);
        }
    }
}
