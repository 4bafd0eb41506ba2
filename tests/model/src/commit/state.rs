//! What the commit machine remembers: shards, attempts, the home, and what an observer knows.

use crate::invariant::Broken;

/// Most shards of one configuration.
pub(super) const SHARDS: usize = 3;
/// Attempts: two gateways' first ones (0 and 1), then the home's (2 and 3).
pub(super) const ATTEMPTS: usize = 4;
/// The first of the attempts that only the home may start.
pub(super) const LATER: usize = 2;
/// The home is shard 0.
pub(super) const HOME: usize = 0;
/// Rank of the id's own time. Floors are 0 (below it), 1 (at it), 2 (later).
pub(super) const ID_TIME: u8 = 1;

/// A set of shards or attempts, one bit each.
pub(super) type Set = u8;

/// What a shard remembers about the end of the transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Outcome {
    /// Nothing.
    #[default]
    None,
    /// `Commit` of this attempt.
    Commit(u8),
    /// `Close`.
    Close,
}

/// One participant: durable first, then what dies with its epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Shard {
    pub(super) epoch: u8,
    pub(super) floor: u8,
    /// Attempts with an undecided `Prepare` in the log: one at most, if the rules are in force.
    pub(super) held: Set,
    /// Attempts with a remembered `Refuse` or `Abort`.
    pub(super) barred: Set,
    pub(super) outcome: Outcome,
    /// What `Finished` said that the floor must pass, if it was said.
    pub(super) finished: Option<u8>,
    /// Ghost: `Commit` was logged, and its writes applied, once.
    pub(super) applied: bool,
    /// A `Prepare` that waits for a lock (volatile).
    pub(super) waiting: Option<u8>,
    /// A `Prepare` handed to the log, its result unknown yet (volatile).
    pub(super) appending: Option<u8>,
    /// Attempts that this epoch said no to (volatile).
    pub(super) noes: Set,
}

/// One attempt, with the messages about it: whatever was said once can be heard at any time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Attempt {
    /// For each shard the epochs that `Prepare` messages in the network expect (one bit each).
    pub(super) expected: [Set; SHARDS],
    /// What the floor must pass before the attempt is barred.
    pub(super) bar: u8,
    /// Shards whose yes was said.
    pub(super) yes: Set,
    /// A no was said by somebody.
    pub(super) refused: bool,
    /// Ghost: shards whose log has ever held an accepted `Prepare` of it.
    pub(super) prepared: Set,
}

impl Attempt {
    pub(super) fn started(&self) -> bool {
        self.expected.iter().any(|epochs| *epochs != 0)
    }
}

/// What only the home has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Home {
    /// The intent is open (durable).
    pub(super) intent: bool,
    /// The highest bar of the attempts that the home prepared (durable: it is in its log).
    pub(super) highest: u8,
    /// The attempt that the home drives (volatile).
    pub(super) driving: Option<u8>,
    /// Participants that acknowledged the outcome (volatile).
    pub(super) acknowledged: Set,
    /// `Finished`, with its bar, is in the network.
    pub(super) finished: Option<u8>,
}

/// One transaction, everything that was said about it, and everything that is true of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct State {
    pub(super) shards: [Shard; SHARDS],
    pub(super) attempts: [Attempt; ATTEMPTS],
    pub(super) home: Home,
    /// Failovers that may still happen.
    pub(super) failovers: u8,
    /// Ghost: the client may have been told "aborted" (a durable `Close` was seen, if the rules are in force).
    pub(super) told_aborted: bool,
    /// Ghost: the client was told that the intent is logged.
    pub(super) told_logged: bool,
    /// The first thing that went wrong in a step.
    pub(super) wrong: Option<Broken>,
}

impl State {
    pub(super) fn committed(&self, attempt: usize, all: Set) -> bool {
        self.attempts[attempt].prepared == all
    }

    pub(super) fn any_committed(&self, all: Set) -> bool {
        (0..ATTEMPTS).any(|attempt| self.committed(attempt, all))
    }

    pub(super) fn fail(&mut self, broken: Broken) {
        self.wrong.get_or_insert(broken);
    }
}

pub(super) const fn bit(index: usize) -> Set {
    1 << index
}
