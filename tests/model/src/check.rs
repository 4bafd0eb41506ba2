//! Runs one machine through the checker.

use std::fmt::Debug;
use std::hash::Hash;
use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model, Property};

use crate::invariant::Broken;

/// A small state machine of one part of the protocol.
///
/// A step that is not possible in a state, or would change nothing, is answered with `None` by
/// [`Machine::apply`]: so the guards stand in one place.
pub trait Machine: Send + Sync + Sized + 'static {
    /// All of the state, network and ghosts (what an observer knows) included.
    type State: Clone + Debug + Hash + PartialEq + Send + Sync + 'static;
    /// One thing that may happen.
    type Step: Clone + Debug + PartialEq + Send + Sync + 'static;

    /// Where it begins.
    fn start(&self) -> Vec<Self::State>;
    /// Adds every step that may be possible.
    fn steps(&self, state: &Self::State, steps: &mut Vec<Self::Step>);
    /// The state after a step, if it is possible and changes anything.
    fn apply(&self, state: &Self::State, step: &Self::Step) -> Option<Self::State>;
    /// What is wrong in this state.
    fn broken(&self, state: &Self::State) -> Option<Broken>;
    /// The step in words.
    fn tell(&self, before: &Self::State, step: &Self::Step, after: &Self::State) -> String;
    /// States that must be reachable, so that the machine is known to do its work.
    fn goals() -> Vec<(&'static str, Goal<Self>)>;
}

/// Whether a goal is reached in a state.
pub type Goal<M> = fn(&Checked<M>, &<M as Machine>::State) -> bool;

/// A [`Machine`] as the checker sees it.
pub struct Checked<M> {
    machine: M,
    with_goals: bool,
}

impl<M> Checked<M> {
    /// The machine itself.
    pub fn machine(&self) -> &M {
        &self.machine
    }
}

/// How much to explore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim {
    /// Every state, on this many threads; every goal must be reached.
    Everything(usize),
    /// The shortest story that breaks an invariant.
    ShortestStory,
}

/// What a run found.
#[derive(Clone, Debug)]
pub struct Report {
    /// Different states seen.
    pub states: usize,
    /// Steps from the start to the farthest state.
    pub depth: usize,
    /// Time taken.
    pub seconds: f64,
    /// Goals that no state reached.
    pub missed: Vec<&'static str>,
    /// How an invariant breaks, if one does.
    pub story: Option<Story>,
}

/// A shortest way to a broken invariant.
#[derive(Clone, Debug)]
pub struct Story {
    /// What is broken at its end.
    pub broken: Broken,
    /// Its steps, one readable line each.
    pub lines: Vec<String>,
}

const INVARIANTS: &str = "every invariant holds";

impl<M: Machine> Model for Checked<M> {
    type State = M::State;
    type Action = M::Step;

    fn init_states(&self) -> Vec<Self::State> {
        self.machine.start()
    }

    fn actions(&self, state: &Self::State, actions: &mut Vec<Self::Action>) {
        if self.machine.broken(state).is_none() {
            self.machine.steps(state, actions);
        }
    }

    fn next_state(&self, last: &Self::State, action: Self::Action) -> Option<Self::State> {
        self.machine.apply(last, &action).filter(|next| next != last)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![Property::<Self>::always(INVARIANTS, |checked, state| {
            checked.machine.broken(state).is_none()
        })];
        if self.with_goals {
            properties
                .extend(M::goals().into_iter().map(|(name, goal)| Property::sometimes(name, goal)));
        }
        properties
    }
}

/// Explores a machine.
pub fn check<M: Machine>(machine: M, aim: Aim) -> Report {
    let begun = Instant::now();
    let (threads, with_goals) = match aim {
        Aim::Everything(threads) => (threads, true),
        // One thread: breadth first is then exact, and the first story found is a shortest one.
        Aim::ShortestStory => (1, false),
    };
    let checker = Checked { machine, with_goals }
        .checker()
        .threads(threads)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let missed = match aim {
        Aim::Everything(_) => M::goals()
            .into_iter()
            .map(|(name, _)| name)
            .filter(|name| checker.discovery(name).is_none())
            .collect(),
        Aim::ShortestStory => Vec::new(),
    };
    let story =
        checker.discovery(INVARIANTS).map(|path| tell(&checker.model().machine, path.into_vec()));
    Report {
        states: checker.unique_state_count(),
        depth: checker.max_depth() - 1,
        seconds: begun.elapsed().as_secs_f64(),
        missed,
        story,
    }
}

fn tell<M: Machine>(machine: &M, path: Vec<(M::State, Option<M::Step>)>) -> Story {
    let lines = path
        .windows(2)
        .filter_map(|pair| {
            pair[0].1.as_ref().map(|step| machine.tell(&pair[0].0, step, &pair[1].0))
        })
        .collect();
    let last = path.last().and_then(|(state, _)| machine.broken(state));
    Story { broken: last.expect("a discovery ends in a broken state"), lines }
}
