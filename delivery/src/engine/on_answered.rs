//! A try ended.

use wal_core::Now;

use crate::message::{Answer, Cause, ErrorClass, Failure, Ticket};
use crate::rules::{Rule, Rules};
use crate::window::Sent;

use super::pending::State;
use super::{Engine, Settled};

impl<M: Clone, R: Rules> Engine<M, R> {
    pub(super) fn on_answered(&mut self, now: Now, ticket: Ticket, number: u32, answer: Answer) {
        let Some(entry) = self.pending.get_mut(ticket) else { return };
        let was_sent = (1..=entry.tries).contains(&number);
        let is_newest = number == entry.tries || !self.rules.holds(Rule::AnswersNameTheirTry);
        let is_delivered = answer == Answer::Delivered;
        match entry.state {
            State::InFlight(sent) if is_newest => match answer {
                Answer::Delivered => {
                    self.window.on_delivered(now.mono_us, sent);
                    self.settle(ticket, Settled::Delivered);
                }
                Answer::Failed(failure) => self.on_failed(now, ticket, sent, &failure),
            },
            // An earlier try was told to have failed, or not in time, and did deliver it. The later one is still
            // out: the next of the key would meet it on the way.
            State::InFlight(_) => entry.delivered |= is_delivered && was_sent,
            State::Ready | State::Backoff { .. } | State::Parked { .. } | State::Condemned(_)
                if is_delivered && was_sent =>
            {
                self.settle(ticket, Settled::Delivered);
            }
            // Nothing new, or it is too late to take the burial back.
            State::Behind
            | State::Ready
            | State::Backoff { .. }
            | State::Parked { .. }
            | State::Condemned(_)
            | State::Burying { .. } => {}
        }
    }

    fn on_failed(&mut self, now: Now, ticket: Ticket, sent: Sent, failure: &Failure) {
        match failure.class {
            ErrorClass::Overloaded { retry_after_us } => {
                let draw = &mut self.draw;
                self.window.on_overloaded(now.mono_us, sent, retry_after_us, draw);
            }
            ErrorClass::Permanent | ErrorClass::Ours => self.window.on_responded(sent),
            // It may have come from the network, or from our own deadline: nothing is known of the target.
            ErrorClass::Transient => {}
        }
        let entry = self.pending.get_mut(ticket).expect("what is in flight is held");
        let history = entry.history.get_or_insert_default();
        history.add(entry.tries, now.millis(), failure);
        if entry.delivered {
            self.settle(ticket, Settled::Delivered);
        } else if entry.discarded {
            self.settle(ticket, Settled::Discarded);
        } else {
            let state = self.judge(now.mono_us, ticket, failure.class);
            self.hold(ticket, state);
        }
    }

    /// Where a message goes whose try has failed.
    fn judge(&mut self, now_us: u64, ticket: Ticket, class: ErrorClass) -> State {
        let config = &self.config.retry;
        let entry = self.pending.get_mut(ticket).expect("what is in flight is held");
        let age_us = now_us.saturating_sub(entry.first_sent_us);
        let (failures, max_age_us) = match class {
            ErrorClass::Permanent => return State::Condemned(Cause::Permanent),
            ErrorClass::Ours if self.rules.holds(Rule::OursIsNeverBuried) => {
                return State::Parked {
                    due_us: now_us.saturating_add(config.ours_pause_us.max(1)),
                };
            }
            ErrorClass::Transient | ErrorClass::Ours => {
                entry.failures += 1;
                if entry.failures >= config.max_tries {
                    return State::Condemned(Cause::TriesExhausted);
                }
                (entry.failures, config.max_age_us)
            }
            ErrorClass::Overloaded { .. } => {
                entry.overloads = entry.overloads.saturating_add(1);
                (entry.overloads, config.max_overloaded_age_us)
            }
        };
        if max_age_us.is_some_and(|max_age_us| age_us >= max_age_us) {
            return State::Condemned(Cause::TooOld);
        }
        let pause_us = config.pauses.after(failures, &mut self.draw);
        State::Backoff { due_us: now_us.saturating_add(pause_us) }
    }

    /// It waits, and its lane behind it.
    fn hold(&mut self, ticket: Ticket, state: State) {
        self.pending.put(ticket, state);
        match state {
            State::Backoff { due_us } | State::Parked { due_us } => {
                self.timers.insert((due_us, ticket));
            }
            State::Condemned(_) => self.burials.push(ticket),
            State::Behind | State::Ready | State::InFlight(_) | State::Burying { .. } => {
                unreachable!("a failed try is judged to wait or to be given up")
            }
        }
        if !self.rules.holds(Rule::RetryHoldsKey) {
            let entry = self.pending.get_mut(ticket).expect("it was put above");
            let key = entry.message.key.clone();
            if let Some(discarded) = key.and_then(|key| self.go_on(&key)) {
                self.settle(discarded, Settled::Discarded);
            }
        }
    }
}
