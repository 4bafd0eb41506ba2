//! Commit timestamps: two shards whose clocks disagree, a few transactions, a failover.
//!
//! Transactions that conflict are serialised by their locks, so each runs here in one step; what may
//! differ is what the shards' clocks say at that moment.

use crate::check::{Goal, Machine};
use crate::invariant::Broken;
use crate::rule::{Rule, Rules};

/// The timestamp machine.
#[derive(Clone, Copy, Debug)]
pub struct Stamps {
    pub(crate) rules: Rules,
    /// Transactions in all.
    pub(crate) txns: u8,
}

/// What a transaction does with one shard's row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Use {
    /// Nothing: the shard does not take part.
    None,
    /// It reads it.
    Read,
    /// It writes it.
    Write,
    /// It deletes the row's partition and puts the row.
    Replace,
}

/// One shard with one row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Shard {
    /// The last timestamp, as its leader knows it.
    last: u8,
    /// The last timestamp that its log shows.
    logged: u8,
    /// The highest timestamp that wrote the row, and that read it (ghosts).
    written: u8,
    read: u8,
}

/// Both shards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct State {
    shards: [Shard; 2],
    txns: u8,
    failed_over: bool,
    wrong: Option<Broken>,
    last_timestamp: u8,
}

/// One thing that may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each has its sentence")]
pub enum Step {
    Txn { uses: [Use; 2], clocks: [u8; 2] },
    FailOver(usize),
}

const CLOCKS: [u8; 2] = [1, 4];

impl Stamps {
    fn proposal(&self, shard: &Shard, clock: u8) -> u8 {
        if self.rules.has(Rule::ProposalAboveLast) { clock.max(shard.last + 1) } else { clock }
    }

    fn on_txn(&self, s: &mut State, uses: [Use; 2], clocks: [u8; 2]) -> Option<()> {
        if s.txns == self.txns {
            return None;
        }
        s.txns += 1;
        let proposals = [0, 1].map(|each| match uses[each] {
            Use::None => 0,
            Use::Read | Use::Write | Use::Replace => self.proposal(&s.shards[each], clocks[each]),
        });
        let highest = self.rules.has(Rule::HighestProposal) || proposals[0] == 0;
        let timestamp = if highest { proposals[0].max(proposals[1]) } else { proposals[0] };
        s.last_timestamp = timestamp;
        for each in 0..2 {
            if let Some(broken) =
                self.take(&mut s.shards[each], uses[each], timestamp, proposals[each])
            {
                s.wrong.get_or_insert(broken);
            }
        }
        Some(())
    }

    fn take(&self, shard: &mut Shard, how: Use, timestamp: u8, proposal: u8) -> Option<Broken> {
        let (raises, above) = match how {
            Use::None => return None,
            Use::Read => (self.rules.has(Rule::ReadersRaiseLast), timestamp > shard.written),
            Use::Write | Use::Replace => {
                (self.rules.has(Rule::WritersRaiseLast), timestamp > shard.written.max(shard.read))
            }
        };
        let visible = timestamp > shard.written;
        shard.last = shard.last.max(if raises { timestamp } else { proposal });
        shard.logged = shard.logged.max(shard.last);
        match how {
            Use::Read => shard.read = shard.read.max(timestamp),
            Use::Write | Use::Replace => shard.written = shard.written.max(timestamp),
            Use::None => {}
        }
        match how {
            Use::Replace if !self.rules.has(Rule::PutsAboveDeletes) => Some(Broken::WriteInvisible),
            Use::Write | Use::Replace if !visible => Some(Broken::TimestampNotAbove),
            _ if !above => Some(Broken::TimestampOrderWrong),
            _ => None,
        }
    }

    fn on_fail_over(&self, s: &mut State, shard: usize) -> Option<()> {
        if s.failed_over {
            return None;
        }
        s.failed_over = true;
        let at = &mut s.shards[shard];
        at.last = if self.rules.has(Rule::LastReplayed) { at.logged } else { 0 };
        Some(())
    }
}

impl Machine for Stamps {
    type State = State;
    type Step = Step;

    fn start(&self) -> Vec<State> {
        vec![State::default()]
    }

    fn steps(&self, _: &State, steps: &mut Vec<Step>) {
        let all = [Use::None, Use::Read, Use::Write, Use::Replace];
        for first in all {
            for second in
                all.into_iter().filter(|second| (first, *second) != (Use::None, Use::None))
            {
                for clock in CLOCKS {
                    let clocks = CLOCKS.map(|other| [clock, other]);
                    steps.extend(clocks.map(|clocks| Step::Txn { uses: [first, second], clocks }));
                }
            }
        }
        steps.extend([0, 1].map(Step::FailOver));
    }

    fn apply(&self, before: &State, step: &Step) -> Option<State> {
        let mut state = *before;
        match *step {
            Step::Txn { uses, clocks } => self.on_txn(&mut state, uses, clocks),
            Step::FailOver(shard) => self.on_fail_over(&mut state, shard),
        }?;
        Some(state)
    }

    fn broken(&self, state: &State) -> Option<Broken> {
        state.wrong
    }

    fn tell(&self, before: &State, step: &Step, after: &State) -> String {
        match *step {
            Step::Txn { uses, clocks } => {
                let part = |shard: usize| match uses[shard] {
                    Use::None => None,
                    Use::Read => {
                        Some(format!("reads {} (clock {})", ["x", "y"][shard], clocks[shard]))
                    }
                    Use::Write => {
                        Some(format!("writes {} (clock {})", ["x", "y"][shard], clocks[shard]))
                    }
                    Use::Replace => Some(format!(
                        "deletes and puts {} (clock {})",
                        ["x", "y"][shard],
                        clocks[shard]
                    )),
                };
                let parts: Vec<String> = [0, 1].into_iter().filter_map(part).collect();
                format!(
                    "transaction {} {}: committed at {}",
                    after.txns,
                    parts.join(" and "),
                    after.last_timestamp
                )
            }
            Step::FailOver(shard) => format!(
                "shard {shard} fails over: its last timestamp was {}, the new leader's is {}",
                before.shards[shard].last, after.shards[shard].last
            ),
        }
    }

    fn goals() -> Vec<(&'static str, Goal<Self>)> {
        vec![
            ("a row is written, read and written", |_, state| {
                let row = &state.shards[0];
                row.read > 0 && row.written > row.read && state.txns == 3
            }),
            ("a shard runs ahead of its clocks", |_, state| state.shards[1].last > CLOCKS[1]),
        ]
    }
}
