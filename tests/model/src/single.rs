//! A transaction of one shard: one record, deduplicated by its id.
//!
//! Gateways A and B send the same transaction, because the client retried; gateway C sends other content
//! under the same id. Requests repeat. The shard may fail over with the record in flight. When its floor has
//! passed the id's time it may forget the outcome: nobody else has a part in it.

use crate::check::{Goal, Machine};
use crate::invariant::Broken;
use crate::rule::{Rule, Rules};

const FAILOVERS: u8 = 2;

/// The machine of single-shard transactions.
#[derive(Clone, Copy, Debug)]
pub struct Single {
    pub(crate) rules: Rules,
}

/// The content of a request: a fingerprint.
type Content = u8;

/// The shard and what clients were told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct State {
    /// Contents of the `CommitSingle` records of this id, in log order.
    log: Vec<Content>,
    /// Contents handed to the log, their results unknown, in order.
    appending: Vec<Content>,
    /// Contents that a client was told are committed.
    told: [bool; 2],
    exists: bool,
    failovers: u8,
    /// The floor has passed the id's time.
    floor: bool,
    /// The outcome was forgotten.
    forgotten: bool,
    too_old: bool,
}

/// One thing that may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each has its sentence")]
pub enum Step {
    Request(Content),
    Durable,
    FailOver { kept: bool },
    Floor,
    Forget,
}

impl Single {
    fn on_request(&self, s: &mut State, content: Content) -> Option<()> {
        let remembers = self.rules.has(Rule::DuplicateById) && !s.forgotten;
        let logged = s.log.first().copied().filter(|_| remembers);
        let flying = s.appending.first().copied().filter(|_| self.rules.has(Rule::DuplicateJoins));
        let found = logged.or(flying);
        let other = found.is_some_and(|found| found != content);
        match found {
            Some(_) if other && self.rules.has(Rule::FingerprintChecked) => s.exists = true,
            Some(_) if logged.is_some() => s.told[content as usize] = true,
            Some(_) => return None,
            None if s.floor && self.rules.has(Rule::PrepareObeysFloor) => s.too_old = true,
            None if s.appending.len() + s.log.len() < 3 => s.appending.push(content),
            None => return None,
        }
        Some(())
    }

    fn on_forget(&self, s: &mut State) -> Option<()> {
        let may = s.floor || !self.rules.has(Rule::KeptUntilFloor);
        if s.log.is_empty() || s.forgotten || !may {
            return None;
        }
        s.forgotten = true;
        Some(())
    }

    fn on_durable(s: &mut State) -> Option<()> {
        if s.appending.is_empty() {
            return None;
        }
        let content = s.appending.remove(0);
        s.log.push(content);
        s.told[content as usize] = true;
        Some(())
    }

    fn on_fail_over(s: &mut State, kept: bool) -> Option<()> {
        if s.failovers == FAILOVERS || (kept && s.appending.is_empty()) {
            return None;
        }
        s.failovers += 1;
        let flying = std::mem::take(&mut s.appending);
        s.log.extend(flying.into_iter().filter(|_| kept));
        Some(())
    }
}

impl Machine for Single {
    type State = State;
    type Step = Step;

    fn start(&self) -> Vec<State> {
        vec![State::default()]
    }

    fn steps(&self, _: &State, steps: &mut Vec<Step>) {
        steps.extend([Step::Request(0), Step::Request(1), Step::Durable]);
        steps.extend([true, false].map(|kept| Step::FailOver { kept }));
        steps.extend([Step::Floor, Step::Forget]);
    }

    fn apply(&self, before: &State, step: &Step) -> Option<State> {
        let mut state = before.clone();
        match *step {
            Step::Request(content) => self.on_request(&mut state, content),
            Step::Durable => Self::on_durable(&mut state),
            Step::FailOver { kept } => Self::on_fail_over(&mut state, kept),
            Step::Floor => {
                state.floor = true;
                Some(())
            }
            Step::Forget => self.on_forget(&mut state),
        }?;
        Some(state)
    }

    fn broken(&self, state: &State) -> Option<Broken> {
        let told_other =
            |content: u8| state.told[content as usize] && !state.log.contains(&content);
        if state.log.len() > 1 {
            Some(Broken::Doubled)
        } else if (0..2).any(told_other) {
            Some(Broken::OtherContent)
        } else {
            None
        }
    }

    fn tell(&self, before: &State, step: &Step, after: &State) -> String {
        match *step {
            Step::Request(content) if after.appending.len() > before.appending.len() => {
                format!(
                    "a request with content {content} arrives: the shard begins to append CommitSingle(t)"
                )
            }
            Step::Request(content) if after.told != before.told => {
                format!(
                    "a request with content {content} arrives and is answered \"committed\" from memory"
                )
            }
            Step::Request(content) if after.too_old != before.too_old => {
                format!("a request with content {content} is answered TOO_OLD")
            }
            Step::Request(content) => {
                format!("a request with content {content} is answered ALREADY_EXISTS")
            }
            Step::Floor => "the floor passes the id's time".into(),
            Step::Forget => "the shard forgets the outcome".into(),
            Step::Durable => "CommitSingle(t) is durable: the client is told \"committed\"".into(),
            Step::FailOver { kept: true } => {
                "the shard fails over; the record in flight is in the log".into()
            }
            Step::FailOver { kept: false } => {
                "the shard fails over; what was in flight is lost".into()
            }
        }
    }

    fn goals() -> Vec<(&'static str, Goal<Self>)> {
        vec![
            ("a retry is told \"committed\"", |_, state| state.told[0] && state.failovers > 0),
            ("other content is answered ALREADY_EXISTS", |_, state| state.exists),
            ("a late retry is answered TOO_OLD", |_, state| state.forgotten && state.too_old),
        ]
    }
}
