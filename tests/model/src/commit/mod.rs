//! One transaction over two or three shards: attempts, votes, recovery, decisions, forgetting.
//!
//! ```text
//! gateway A  ──Prepare(1,A)──▶ home ── durable ── yes ─┐
//!            ──Prepare(1,A)──▶ P ───── durable ── yes ─┴─▶ committed; Commit when it arrives
//! gateway B  ──Prepare(1,B)──▶ …          the same id again, through another gateway
//! home       ──Prepare(2,…)──▶ …          later attempts, while it holds the open intent
//! ```
//!
//! The network is what was ever said: every message can be lost, late, repeated and reordered, so a
//! message is never removed. Coordinators hold no state: whoever could conclude something from
//! messages, may act on it at any time. Recovery may run at any time, by anyone.

mod decide;
mod forget;
mod prepare;
mod state;
mod tell;

use crate::check::{Goal, Machine};
use crate::invariant::Broken;
use crate::rule::Rules;

pub use state::State;
use state::{ATTEMPTS, Outcome, Set, bit};

/// What a configuration includes.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Participants: 2 or 3, the first being the home.
    pub shards: usize,
    /// Gateways that start a first attempt: 1 or 2.
    pub gateways: usize,
    /// Later attempts of the home: up to 2.
    pub later: usize,
    /// Failovers in all.
    pub failovers: u8,
    /// How far each shard's floor can rise: 0 stays below the id's time, 1 reaches it, 2 goes beyond.
    pub floors: [u8; 3],
    /// The latest time that a later attempt's nonce can have: 1 is the id's own time.
    pub bars: u8,
    /// Whether a `Prepare` may wait for a lock.
    pub waiting: bool,
    /// Whether appending takes time, so that a failover may find it under way.
    pub appending: bool,
    /// Whether a permanent reason may be found.
    pub closes: bool,
    /// Whether a shard remembers that it aborted an attempt, as it remembers that it refused one.
    pub aborts_kept: bool,
    /// Whether outcomes are acknowledged, finished and forgotten.
    pub forgetting: bool,
}

/// The commit machine.
#[derive(Clone, Copy, Debug)]
pub struct Commit {
    pub(crate) rules: Rules,
    pub(crate) bounds: Bounds,
}

/// How a participant takes an acceptable `Prepare`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It locks, checks and appends.
    Accept,
    /// The lock is taken: it waits.
    Wait,
    /// Something passing is in the way: a no that may be different next time.
    No,
    /// A condition fails: for good.
    Close,
}

/// One thing that may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is described by its handler and its sentence")]
pub enum Step {
    Start(usize),
    SendAgain(usize),
    StartLater { attempt: usize, bar: u8 },
    Prepare { attempt: usize, shard: usize, answer: Answer },
    Grant(usize),
    Durable(usize),
    FailOver { shard: usize, kept: bool },
    Resolve { attempt: usize, shard: usize },
    DeposedRefuses { attempt: usize, shard: usize },
    DeposedTurnsAway { attempt: usize, shard: usize },
    DeposedAcknowledges(usize),
    Commit { attempt: usize, shard: usize },
    Abort { attempt: usize, shard: usize },
    Fence(usize),
    CloseTold(usize),
    Open,
    TellAborted,
    Floor { shard: usize, up: bool },
    Acknowledge(usize),
    Finish,
    Finished(usize),
    AskFinished(usize),
    Forget(usize),
    ForgetRefuse { attempt: usize, shard: usize },
}

impl Commit {
    fn all(&self) -> Set {
        bit(self.bounds.shards) - 1
    }

    fn attempts(&self) -> impl Iterator<Item = usize> + use<> {
        let (gateways, later) = (self.bounds.gateways, self.bounds.later);
        (0..ATTEMPTS).filter(move |attempt| {
            *attempt < gateways || (state::LATER..state::LATER + later).contains(attempt)
        })
    }

    fn steps_of_attempt(&self, attempt: usize, steps: &mut Vec<Step>) {
        steps.push(Step::SendAgain(attempt));
        for shard in 0..self.bounds.shards {
            for answer in [Answer::Accept, Answer::Wait, Answer::No, Answer::Close] {
                steps.push(Step::Prepare { attempt, shard, answer });
            }
            steps.push(Step::Resolve { attempt, shard });
            steps.push(Step::DeposedRefuses { attempt, shard });
            steps.push(Step::DeposedTurnsAway { attempt, shard });
            steps.push(Step::Commit { attempt, shard });
            steps.push(Step::Abort { attempt, shard });
            steps.push(Step::ForgetRefuse { attempt, shard });
        }
    }

    fn steps_of_shard(&self, shard: usize, steps: &mut Vec<Step>) {
        steps.extend([Step::Grant(shard), Step::Durable(shard), Step::CloseTold(shard)]);
        steps.extend([true, false].map(|kept| Step::FailOver { shard, kept }));
        steps.extend([true, false].map(|up| Step::Floor { shard, up }));
        steps.extend([Step::Acknowledge(shard), Step::DeposedAcknowledges(shard)]);
        steps.extend([Step::Finished(shard), Step::Fence(shard)]);
        steps.extend([Step::AskFinished(shard), Step::Forget(shard)]);
    }
}

impl Machine for Commit {
    type State = State;
    type Step = Step;

    fn start(&self) -> Vec<State> {
        vec![State { failovers: self.bounds.failovers, ..State::default() }]
    }

    fn steps(&self, state: &State, steps: &mut Vec<Step>) {
        for attempt in self.attempts() {
            if attempt < state::LATER {
                steps.push(Step::Start(attempt));
            } else {
                let bars = 1..=self.bounds.bars;
                steps.extend(bars.map(|bar| Step::StartLater { attempt, bar }));
            }
            if state.attempts[attempt].started() {
                self.steps_of_attempt(attempt, steps);
            }
        }
        for shard in 0..self.bounds.shards {
            self.steps_of_shard(shard, steps);
        }
        steps.extend([Step::Open, Step::TellAborted, Step::Finish]);
    }

    fn apply(&self, before: &State, step: &Step) -> Option<State> {
        let mut next = *before;
        let state = &mut next;
        match *step {
            Step::Start(gateway) => self.on_start(state, gateway),
            Step::SendAgain(attempt) => self.on_send_again(state, attempt),
            Step::StartLater { attempt, bar } => self.on_start_later(state, attempt, bar),
            Step::Prepare { attempt, shard, answer } => {
                self.on_prepare(state, attempt, shard, answer)
            }
            Step::Grant(shard) => self.on_grant(state, shard),
            Step::Durable(shard) => self.on_durable(state, shard),
            Step::FailOver { shard, kept } => self.on_fail_over(state, shard, kept),
            Step::Resolve { attempt, shard } => self.on_resolve(state, attempt, shard),
            Step::DeposedRefuses { attempt, shard } => {
                self.on_deposed_refuses(state, attempt, shard)
            }
            Step::DeposedTurnsAway { attempt, shard } => {
                self.on_deposed_turns_away(state, attempt, shard)
            }
            Step::DeposedAcknowledges(shard) => self.on_deposed_acknowledges(state, shard),
            Step::Commit { attempt, shard } => self.on_commit(state, attempt, shard),
            Step::Abort { attempt, shard } => self.on_abort(state, attempt, shard),
            Step::Fence(shard) => self.on_fence(state, shard),
            Step::CloseTold(shard) => self.on_close_told(state, shard),
            Step::Open => self.on_open(state),
            Step::TellAborted => self.on_tell_aborted(state),
            Step::Floor { shard, up } => self.on_floor(state, shard, up),
            Step::Acknowledge(shard) => self.on_acknowledge(state, shard),
            Step::Finish => self.on_finish(state),
            Step::Finished(shard) => self.on_finished(state, shard),
            Step::AskFinished(shard) => self.on_ask_finished(state, shard),
            Step::Forget(shard) => self.on_forget(state, shard),
            Step::ForgetRefuse { attempt, shard } => self.on_forget_refuse(state, attempt, shard),
        }?;
        Some(next)
    }

    fn broken(&self, state: &State) -> Option<Broken> {
        self.wrong(state)
    }

    fn tell(&self, before: &State, step: &Step, after: &State) -> String {
        self.sentence(before, *step, after)
    }

    fn goals() -> Vec<(&'static str, Goal<Self>)> {
        let every_shard_committed: Goal<Self> = |checked, state| {
            let shards = &state.shards[..checked.machine().bounds.shards];
            shards.iter().all(|shard| matches!(shard.outcome, Outcome::Commit(_)))
        };
        let home_commits_later: Goal<Self> = |checked, state| {
            checked.machine().bounds.later == 0
                || matches!(state.shards[0].outcome, Outcome::Commit(attempt) if attempt >= 2)
        };
        let closed: Goal<Self> = |checked, state| {
            !checked.machine().bounds.closes || state.shards[0].outcome == Outcome::Close
        };
        let forgotten: Goal<Self> = |checked, state| {
            let machine = checked.machine();
            let committed = state.any_committed(machine.all());
            let forgot = |shard: &state::Shard| shard.applied && shard.outcome == Outcome::None;
            !machine.bounds.forgetting || (committed && state.shards.iter().any(forgot))
        };
        vec![
            ("every shard learns the commit", every_shard_committed),
            ("a later attempt of the home commits", home_commits_later),
            ("the home closes", closed),
            ("a shard has forgotten a commit", forgotten),
        ]
    }
}
