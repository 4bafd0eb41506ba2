//! One shard's log without compare-and-append, and two processes that both want to lead it.
//!
//! ```text
//! A: Epoch(1) ─ x1 ─ x2 ─ ─ ─ ─ x3 (late)          B: stands, reads back, replays
//! log: Epoch(1,A)  x1  Epoch(2,B)  x2  y1  x3      accepted: Epoch(1,A) x1 Epoch(2,B) y1
//! ```
//!
//! Records under way may land at any time, also long after their writer was deposed or died.

mod owner;
mod reader;

use crate::check::{Goal, Machine};
use crate::invariant::Broken;
use crate::rule::Rules;
use owner::{Mode, Owner};
use reader::{Name, Reader, Record};

/// What a configuration includes.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Epochs in all.
    pub epochs: u8,
    /// Records of one epoch beside its `Epoch` record.
    pub records: u8,
    /// Records that fit into the log.
    pub length: usize,
    /// Times that a producer skips, repeats or reorders.
    pub faults: u8,
    /// Whether the log may lose its last record once: then only the chain of causes is checked.
    pub loses_tail: bool,
}

/// The log machine.
#[derive(Clone, Copy, Debug)]
pub struct Log {
    pub(crate) rules: Rules,
    pub(crate) bounds: Bounds,
}

/// The log, what is under way to it, and both processes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct State {
    log: Vec<Record>,
    /// Sent and not landed, in the order of sending.
    under_way: Vec<Record>,
    owners: [Owner; 2],
    /// Who led each epoch (ghost).
    led: [Option<u8>; 4],
    /// Records whose effects were told to somebody (ghost).
    told: Vec<Name>,
    /// Records that were reported as failed (ghost).
    failed: Vec<Name>,
    faults: u8,
    tail_lost: bool,
    wrong: Option<Broken>,
}

/// One thing that may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is described by its handler and its sentence")]
pub enum Step {
    Stand(usize),
    ReadBack(usize),
    Write(usize),
    Acknowledged(usize),
    TimedOut(usize),
    Land(usize),
    LandTwice(usize),
    Lose(usize),
    LoseTail,
}

impl Log {
    fn read(&self, log: &[Record]) -> Reader {
        Reader::read(self.rules, log)
    }

    /// The record lands at the end of the log.
    fn on_land(&self, state: &mut State, index: usize, stays: bool) -> Option<()> {
        let record = *state.under_way.get(index)?;
        if state.log.len() >= self.bounds.length {
            return None;
        }
        let overtakes = state.under_way[..index].iter().any(|each| same_producer(each, &record));
        if (overtakes || stays) && !self.misbehave(state) {
            return None;
        }
        let offset = state.log.len() as u8;
        state.log.push(record);
        if !stays {
            state.under_way.remove(index);
        }
        let owner = &mut state.owners[record.owner as usize];
        if owner.epoch == record.epoch && owner.mode != Mode::Idle {
            owner.landed.push((record.seq, offset));
        }
        Some(())
    }

    /// The record never lands. A gapless producer then loses everything behind it too.
    fn on_lose(&self, state: &mut State, index: usize) -> Option<()> {
        let record = *state.under_way.get(index)?;
        if self.misbehave(state) {
            state.under_way.remove(index);
            return Some(());
        }
        let at = |each: &Record| same_producer(each, &record) && each.seq >= record.seq;
        state.under_way.retain(|each| !at(each));
        state.owners[record.owner as usize].producer_died(record.epoch);
        Some(())
    }

    fn misbehave(&self, state: &mut State) -> bool {
        if !self.rules.has(crate::rule::Rule::ProducerIsGapless) {
            return true;
        }
        let left = state.faults > 0;
        state.faults = state.faults.saturating_sub(1);
        left
    }

    fn on_lose_tail(&self, state: &mut State) -> Option<()> {
        if !self.bounds.loses_tail || state.tail_lost {
            return None;
        }
        state.log.pop()?;
        state.tail_lost = true;
        Some(())
    }
}

fn same_producer(left: &Record, right: &Record) -> bool {
    (left.owner, left.epoch) == (right.owner, right.epoch)
}

impl Machine for Log {
    type State = State;
    type Step = Step;

    fn start(&self) -> Vec<State> {
        vec![State { faults: self.bounds.faults, ..State::default() }]
    }

    fn steps(&self, state: &State, steps: &mut Vec<Step>) {
        for owner in 0..2 {
            steps.extend([Step::Stand(owner), Step::ReadBack(owner), Step::Write(owner)]);
            steps.extend([Step::Acknowledged(owner), Step::TimedOut(owner)]);
        }
        for index in 0..state.under_way.len() {
            steps.extend([Step::Land(index), Step::LandTwice(index), Step::Lose(index)]);
        }
        steps.push(Step::LoseTail);
    }

    fn apply(&self, before: &State, step: &Step) -> Option<State> {
        let mut state = before.clone();
        match *step {
            Step::Stand(owner) => self.on_stand(&mut state, owner),
            Step::ReadBack(owner) => self.on_read_back(&mut state, owner),
            Step::Write(owner) => self.on_write(&mut state, owner),
            Step::Acknowledged(owner) => self.on_acknowledged(&mut state, owner),
            Step::TimedOut(owner) => self.on_timed_out(&mut state, owner),
            Step::Land(index) => self.on_land(&mut state, index, false),
            Step::LandTwice(index) => self.on_land(&mut state, index, true),
            Step::Lose(index) => self.on_lose(&mut state, index),
            Step::LoseTail => self.on_lose_tail(&mut state),
        }?;
        Some(state)
    }

    fn broken(&self, state: &State) -> Option<Broken> {
        let reader = self.read(&state.log);
        if reader.wrong.is_some() || self.bounds.loses_tail {
            return reader.wrong;
        }
        if state.told.iter().any(|name| !reader.accepted.contains(name)) {
            return Some(Broken::AcknowledgedNotAccepted);
        }
        if state.failed.iter().any(|name| reader.accepted.contains(name)) {
            return Some(Broken::FailedYetAccepted);
        }
        state.wrong
    }

    fn tell(&self, before: &State, step: &Step, after: &State) -> String {
        owner::sentence(before, *step, after)
    }

    fn goals() -> Vec<(&'static str, Goal<Self>)> {
        let each_is_acknowledged: Goal<Self> = |checked, state| {
            let told = |owner: u8| state.told.iter().any(|name| name.0 == owner);
            told(0) && (told(1) || checked.machine().bounds.epochs == 1)
        };
        let late_is_ignored: Goal<Self> = |checked, state| {
            let reader = checked.machine().read(&state.log);
            let late = |each: &Record| {
                each.epoch < reader.epoch && !reader.accepted.contains(&each.name())
            };
            checked.machine().bounds.epochs == 1 || state.log.iter().any(late)
        };
        vec![
            ("both processes lead in turn and are acknowledged", each_is_acknowledged),
            ("a deposed leader's record is ignored", late_is_ignored),
        ]
    }
}
