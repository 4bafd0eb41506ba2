//! Dead letters on their way to their store.

use std::collections::VecDeque;

use crate::backoff::Draw;
use crate::config::BurialConfig;
use crate::message::Ticket;
use crate::rules::{Rule, Rules};

use super::pending::State;
use super::{Command, Engine, Settled};

/// Who waits to be buried, and whether the store refuses. While it does, the target is paused, so that no
/// more is given up than can be stored.
#[derive(Debug)]
pub(super) struct Burials {
    config: BurialConfig,
    /// May name messages that were dealt with since.
    queue: VecDeque<Ticket>,
    /// How many are on their way.
    asked: usize,
    refused: bool,
    /// In a row.
    refusals: u32,
    /// When the store is asked again.
    again_us: u64,
}

impl Burials {
    pub(super) const fn new(config: BurialConfig) -> Self {
        let queue = VecDeque::new();
        Self { config, queue, asked: 0, refused: false, refusals: 0, again_us: 0 }
    }

    pub(super) fn push(&mut self, ticket: Ticket) {
        self.queue.push_back(ticket);
    }

    /// Whether the store refused last.
    pub(super) const fn is_refused(&self) -> bool {
        self.refused
    }

    /// Whether none is on its way.
    pub(super) const fn is_still(&self) -> bool {
        self.asked == 0
    }

    /// When the store is to be asked again.
    pub(super) fn wake(&self) -> Option<u64> {
        (self.refused && self.asked == 0).then_some(self.again_us)
    }

    /// Ask at once rather than when it is due.
    pub(super) fn hurry(&mut self, now_us: u64) {
        self.again_us = self.again_us.min(now_us);
    }

    /// One that was on its way was answered. `counts`: the answer says whether the store takes anything
    /// now, rather than before it refused.
    pub(super) fn on_answer(&mut self, now_us: u64, ok: bool, counts: bool, draw: &mut Draw) {
        self.asked -= 1;
        if !counts {
            return;
        }
        self.refused = !ok;
        if ok {
            self.refusals = 0;
        } else {
            self.refusals = self.refusals.saturating_add(1);
            self.again_us = now_us.saturating_add(self.config.pauses.after(self.refusals, draw));
        }
    }

    fn may_ask(&self, now_us: u64) -> bool {
        if self.refused {
            self.asked == 0 && now_us >= self.again_us
        } else {
            self.asked < self.config.most_at_once.max(1)
        }
    }
}

impl<M: Clone, R: Rules> Engine<M, R> {
    pub(super) fn bury(&mut self, now_us: u64, out: &mut Vec<Command<M>>) {
        while self.burials.may_ask(now_us) {
            let Some(ticket) = self.burials.queue.pop_front() else {
                // Those that the store refused were dealt with otherwise: nothing is left to probe with.
                self.burials.refused = false;
                return;
            };
            let Some(entry) = self.pending.get_mut(ticket) else { continue };
            let State::Condemned(cause) = entry.state else { continue };
            out.push(Command::Bury {
                ticket,
                key: entry.message.key.clone(),
                payload: entry.message.payload.clone(),
                cause,
                history: entry.history.as_deref().cloned().unwrap_or_default(),
            });
            let probe = self.burials.refused;
            self.pending.put(ticket, State::Burying { cause, probe });
            self.burials.asked += 1;
            if !self.rules.holds(Rule::BuriedIsDurable) {
                self.burials.asked -= 1;
                self.settle(ticket, Settled::Buried);
            }
        }
    }
}
