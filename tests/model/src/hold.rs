//! `Read` that holds: each participant read-locks in memory for a time from its grant.
//!
//! Two writers, the second beginning when the first is acknowledged, write one row each. The reader's
//! clock may fall one tick behind the participants'.

use crate::check::{Goal, Machine};
use crate::invariant::Broken;
use crate::rule::{Rule, Rules};

const HOLD: u8 = 3;
const DRIFT: u8 = 1;
const END: u8 = 6;

/// The machine of a holding read.
#[derive(Clone, Copy, Debug)]
pub struct Hold {
    pub(crate) rules: Rules,
}

/// Clocks, locks and rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct State {
    now: u8,
    /// The reader's clock since it sent its requests.
    elapsed: u8,
    slow: bool,
    rows: [bool; 2],
    /// When each participant granted, and what it read.
    grants: [Option<(u8, bool)>; 2],
    accepted: bool,
    gave_up: bool,
    wrong: Option<Broken>,
}

/// One thing that may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each has its sentence")]
pub enum Step {
    Tick { slow: bool },
    Grant(usize),
    Write(usize),
    Accept,
}

impl Hold {
    fn on_accept(&self, s: &mut State) -> Option<()> {
        let [Some(first), Some(second)] = s.grants else { return None };
        let margin = if self.rules.has(Rule::HoldHasDrift) { DRIFT } else { 0 };
        let in_time = s.elapsed < HOLD - margin || !self.rules.has(Rule::HoldBounded);
        if s.accepted || s.gave_up {
            return None;
        }
        s.accepted = in_time;
        s.gave_up = !in_time;
        // The second row is written only after the first: it alone was never visible.
        if in_time && !first.1 && second.1 {
            s.wrong = Some(Broken::TornRead);
        }
        Some(())
    }
}

impl Machine for Hold {
    type State = State;
    type Step = Step;

    fn start(&self) -> Vec<State> {
        vec![State::default()]
    }

    fn steps(&self, _: &State, steps: &mut Vec<Step>) {
        steps.extend([Step::Tick { slow: false }, Step::Tick { slow: true }, Step::Accept]);
        steps.extend([0, 1].map(Step::Grant));
        steps.extend([0, 1].map(Step::Write));
    }

    fn apply(&self, before: &State, step: &Step) -> Option<State> {
        let mut state = *before;
        let s = &mut state;
        match *step {
            Step::Tick { slow } => {
                if s.now == END || (slow && s.slow) {
                    return None;
                }
                s.now += 1;
                s.elapsed += u8::from(!slow);
                s.slow |= slow;
            }
            Step::Grant(row) => {
                if s.grants[row].is_some() {
                    return None;
                }
                s.grants[row] = Some((s.now, s.rows[row]));
            }
            Step::Write(row) => {
                let held = s.grants[row].is_some_and(|(at, _)| s.now < at + HOLD);
                if held || s.rows[row] || (row == 1 && !s.rows[0]) {
                    return None;
                }
                s.rows[row] = true;
            }
            Step::Accept => self.on_accept(s)?,
        }
        Some(state)
    }

    fn broken(&self, state: &State) -> Option<Broken> {
        state.wrong
    }

    fn tell(&self, _: &State, step: &Step, after: &State) -> String {
        match *step {
            Step::Tick { .. } => {
                format!("it is tick {}; the reader's clock says {}", after.now, after.elapsed)
            }
            Step::Grant(row) => {
                let value = if after.rows[row] { "new" } else { "old" };
                format!("shard {row} read-locks its row for {HOLD} ticks and replies: {value}")
            }
            Step::Write(row) => format!("a write of shard {row}'s row commits and is acknowledged"),
            Step::Accept if after.accepted => "the reader has both replies and accepts".into(),
            Step::Accept => "the reader has both replies too late and gives up".into(),
        }
    }

    fn goals() -> Vec<(&'static str, Goal<Self>)> {
        vec![
            ("a read is accepted", |_, state| state.accepted),
            ("a read is given up", |_, state| state.gave_up),
        ]
    }
}
