//! `Read` over two shards in two rounds, against writers of one shard and of both.
//!
//! A row is a bit that writers toggle, so a version can come back. The ghost `seen` holds every
//! combination of committed rows that has existed since the read began, in lock-point order: an answer
//! that is not among them is wrong.

use crate::check::{Goal, Machine};
use crate::invariant::Broken;
use crate::rule::{Rule, Rules};

/// The machine of a read in two rounds.
#[derive(Clone, Copy, Debug)]
pub struct TwoRounds {
    pub(crate) rules: Rules,
    /// Transactions that writers may commit.
    pub(crate) writes: u8,
}

/// One shard with one row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Shard {
    epoch: u8,
    /// Accepted records so far.
    position: u8,
    row: bool,
    /// Position of the last record that wrote the row, as this epoch knows it.
    last_write: u8,
    /// An undecided `Prepare` covers the row.
    undecided: bool,
}

/// What a shard replied in round one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Reply {
    row: bool,
    position: u8,
    epoch: u8,
}

/// The read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Read {
    /// Shards that it reads: the first alone, or both.
    shards: u8,
    replies: [Option<Reply>; 2],
    confirmed: [bool; 2],
    /// Combinations of committed rows since it began, one bit each.
    seen: u8,
}

/// Shards, the transaction of both shards that is under way, the read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct State {
    shards: [Shard; 2],
    /// Committed rows in lock-point order (ghost).
    truth: [bool; 2],
    writes: u8,
    failed_over: bool,
    read: Option<Read>,
    answered: u8,
    failed: bool,
    wrong: Option<Broken>,
}

/// One thing that may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each has its sentence")]
pub enum Step {
    Toggle(usize),
    Prepare(usize),
    Learn(usize),
    FailOver(usize),
    Begin { shards: u8 },
    RoundOne(usize),
    RoundTwo(usize),
}

impl TwoRounds {
    fn committed(s: &mut State) {
        if let Some(read) = &mut s.read {
            read.seen |= combination(s.truth);
        }
    }

    fn on_toggle(&self, s: &mut State, shard: usize) -> Option<()> {
        if s.writes == self.writes || s.shards[shard].undecided {
            return None;
        }
        s.writes += 1;
        let at = &mut s.shards[shard];
        at.position += 1;
        at.last_write = at.position;
        at.row = !at.row;
        s.truth[shard] = !s.truth[shard];
        Self::committed(s);
        Some(())
    }

    /// The transaction of both shards prepares; with its second `Prepare` it is committed.
    fn on_prepare(&self, s: &mut State, shard: usize) -> Option<()> {
        let pending = |each: usize| s.shards[each].undecided;
        let first = !pending(1 - shard);
        if pending(shard) || (first && s.writes == self.writes) || (!first && self.both_prepared(s))
        {
            return None;
        }
        // After a commit one shard may have learned it and the other not: that is no new prepare.
        if !first && s.truth[1 - shard] != s.shards[1 - shard].row {
            return None;
        }
        s.writes += u8::from(first);
        s.shards[shard].position += 1;
        s.shards[shard].undecided = true;
        if !first {
            s.truth = [!s.shards[0].row, !s.shards[1].row];
            Self::committed(s);
        }
        Some(())
    }

    fn both_prepared(&self, s: &State) -> bool {
        s.shards.iter().all(|shard| shard.undecided)
    }

    fn on_learn(s: &mut State, shard: usize) -> Option<()> {
        let at = &mut s.shards[shard];
        if !at.undecided || s.truth[shard] == at.row {
            return None;
        }
        at.undecided = false;
        at.position += 1;
        at.last_write = at.position;
        at.row = !at.row;
        Some(())
    }

    fn on_fail_over(s: &mut State, shard: usize) -> Option<()> {
        if s.failed_over {
            return None;
        }
        s.failed_over = true;
        s.shards[shard].epoch += 1;
        // The table of last writes is memory; the new leader's starts empty.
        s.shards[shard].last_write = 0;
        Some(())
    }

    fn on_round_one(&self, s: &mut State, shard: usize) -> Option<()> {
        let at = s.shards[shard];
        let read = s.read.as_mut()?;
        let waits = at.undecided && self.rules.has(Rule::ReadWaitsForUndecided);
        if shard as u8 >= read.shards || read.replies[shard].is_some() || waits {
            return None;
        }
        read.replies[shard] = Some(Reply { row: at.row, position: at.position, epoch: at.epoch });
        let all = read.replies[..read.shards as usize].iter().all(Option::is_some);
        if all && (read.shards == 1 || !self.rules.has(Rule::SecondRound)) {
            Self::answer(s);
        }
        Some(())
    }

    fn on_round_two(&self, s: &mut State, shard: usize) -> Option<()> {
        let at = s.shards[shard];
        let read = s.read.as_mut().filter(|read| read.shards == 2)?;
        let reply = read.replies[shard].filter(|_| !read.confirmed[shard])?;
        let early = read.replies.iter().any(Option::is_none);
        if early && self.rules.has(Rule::SecondAfterLastReply) {
            return None;
        }
        let written = if self.rules.has(Rule::PositionsNotVersions) {
            at.last_write > reply.position
        } else {
            at.row != reply.row
        };
        let moved = at.epoch != reply.epoch && self.rules.has(Rule::SameEpochConfirmed);
        let undecided = at.undecided && self.rules.has(Rule::SecondSeesUndecided);
        if written || moved || undecided {
            s.read = None;
            s.failed = true;
            return Some(());
        }
        read.confirmed[shard] = true;
        if read.confirmed == [true; 2] && !early {
            Self::answer(s);
        }
        Some(())
    }

    fn answer(s: &mut State) {
        let Some(read) = s.read.take() else { return };
        let row = |shard: usize| read.replies[shard].is_some_and(|reply| reply.row);
        s.answered = read.shards;
        if read.shards == 2 && read.seen & combination([row(0), row(1)]) == 0 {
            s.wrong = Some(Broken::TornRead);
        }
        let either = combination([row(0), false]) | combination([row(0), true]);
        if read.shards == 1 && read.seen & either == 0 {
            s.wrong = Some(Broken::StaleRead);
        }
    }
}

fn combination(rows: [bool; 2]) -> u8 {
    1 << (u8::from(rows[0]) + 2 * u8::from(rows[1]))
}

impl Machine for TwoRounds {
    type State = State;
    type Step = Step;

    fn start(&self) -> Vec<State> {
        vec![State::default()]
    }

    fn steps(&self, _: &State, steps: &mut Vec<Step>) {
        steps.extend([1, 2].map(|shards| Step::Begin { shards }));
        for shard in 0..2 {
            steps.extend([Step::Toggle(shard), Step::Prepare(shard), Step::Learn(shard)]);
            steps.extend([Step::FailOver(shard), Step::RoundOne(shard), Step::RoundTwo(shard)]);
        }
    }

    fn apply(&self, before: &State, step: &Step) -> Option<State> {
        let mut state = *before;
        let s = &mut state;
        match *step {
            Step::Toggle(shard) => self.on_toggle(s, shard),
            Step::Prepare(shard) => self.on_prepare(s, shard),
            Step::Learn(shard) => Self::on_learn(s, shard),
            Step::FailOver(shard) => Self::on_fail_over(s, shard),
            Step::Begin { shards } => {
                if s.read.is_some() || s.answered != 0 || s.failed {
                    return None;
                }
                s.read = Some(Read { shards, seen: combination(s.truth), ..Read::default() });
                Some(())
            }
            Step::RoundOne(shard) => self.on_round_one(s, shard),
            Step::RoundTwo(shard) => self.on_round_two(s, shard),
        }?;
        Some(state)
    }

    fn broken(&self, state: &State) -> Option<Broken> {
        state.wrong
    }

    fn tell(&self, before: &State, step: &Step, after: &State) -> String {
        let row = |shard: usize| ["x", "y"][shard];
        let bit = |value: bool| u8::from(value);
        match *step {
            Step::Toggle(shard) => {
                format!(
                    "a write commits and is acknowledged: {} = {}",
                    row(shard),
                    bit(after.shards[shard].row)
                )
            }
            Step::Prepare(shard) if before.truth != after.truth => {
                let [x, y] = after.truth.map(bit);
                format!(
                    "shard {shard} prepares it too: x = {x} and y = {y} are committed and acknowledged"
                )
            }
            Step::Prepare(shard) => format!("shard {shard} prepares a write of both rows"),
            Step::Learn(shard) => format!(
                "shard {shard} learns the commit: {} = {}",
                row(shard),
                bit(after.shards[shard].row)
            ),
            Step::FailOver(shard) => format!("shard {shard} fails over"),
            Step::Begin { shards: 1 } => "a read of x begins".into(),
            Step::Begin { .. } => "a read of x and y begins".into(),
            Step::RoundOne(shard) => {
                format!(
                    "round one: shard {shard} replies {} = {}",
                    row(shard),
                    bit(before.shards[shard].row)
                )
            }
            Step::RoundTwo(shard) if after.failed => {
                format!("round two: shard {shard} does not confirm")
            }
            Step::RoundTwo(shard) => format!("round two: shard {shard} confirms"),
        }
    }

    fn goals() -> Vec<(&'static str, Goal<Self>)> {
        vec![
            ("a read of one shard is answered", |_, state| state.answered == 1),
            ("a read of two shards is answered", |_, state| state.answered == 2),
            ("a read fails its second round", |_, state| state.failed),
            ("a write of both shards is learned", |_, state| {
                state.shards.iter().all(|shard| shard.position == 2 && shard.row)
            }),
        ]
    }
}
