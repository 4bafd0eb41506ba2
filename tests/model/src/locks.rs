//! Locks, conditions and the overlay: two transactions that each read what the other writes.
//!
//! ```text
//! T1: if x is absent, insert y        T2: if y is absent, insert x        T3: overwrite y, blindly
//! ```
//!
//! x is on shard 0, y on shard 1. T1 and T2 need both shards, T3 is a transaction of shard 1 alone. The
//! reads are of a row, or of the whole partition that the row would be in.

use crate::check::{Goal, Machine};
use crate::invariant::Broken;
use crate::rule::{Rule, Rules};

/// The lock machine.
#[derive(Clone, Copy, Debug)]
pub struct Locks {
    pub(crate) rules: Rules,
}

/// How far a transaction is at one shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Phase {
    #[default]
    Away,
    /// Its condition was found to hold before any lock was taken.
    Checked,
    /// Locked, checked, durable.
    Prepared,
    /// The commit is known and the locks are free: its write is in the overlay.
    Learned,
    /// Its write is in the table.
    Applied,
}

/// What the log of shard 1 says about y, in log order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Writer {
    First,
    Blind,
}

/// Both transactions at both shards.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct State {
    /// Whether conditions read partitions rather than rows.
    of_partitions: bool,
    /// By transaction, then shard.
    phases: [[Phase; 2]; 2],
    aborted: [bool; 2],
    /// Commits that wrote y, in the order of shard 1's log.
    log: Vec<Writer>,
    /// T3 was executed after T1 had freed its lock.
    blind_saw_first: bool,
}

/// One thing that may happen; transactions and shards are numbered from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each has its sentence")]
pub enum Step {
    CheckFirst { txn: usize, shard: usize },
    Prepare { txn: usize, shard: usize },
    Learn { txn: usize, shard: usize },
    LogLate,
    Apply { txn: usize, shard: usize },
    Abort(usize),
    Blind,
}

/// Transaction t reads at shard t and writes at the other.
const fn reads_at(txn: usize, shard: usize) -> bool {
    txn == shard
}

impl Locks {
    fn committed(state: &State, txn: usize) -> bool {
        state.phases[txn].iter().all(|phase| *phase >= Phase::Prepared)
    }

    /// Whether the row that a transaction reads has been written, as the check sees it.
    fn sees_row(&self, state: &State, shard: usize) -> bool {
        let writer = state.phases[1 - shard][shard];
        let blind = shard == 1 && state.log.contains(&Writer::Blind);
        let least =
            if self.rules.has(Rule::OverlayChecked) { Phase::Learned } else { Phase::Applied };
        writer >= least || (blind && self.rules.has(Rule::OverlayChecked))
    }

    /// Whether the other transaction's lock at this shard is in the way.
    fn blocked(&self, state: &State, txn: usize, shard: usize) -> bool {
        let other = 1 - txn;
        let present = self.sees_row(state, shard);
        let reader_locks = self.rules.has(Rule::ReadKeysLocked)
            && (present || self.rules.has(Rule::AbsentRowsLocked) || state.of_partitions)
            && (!state.of_partitions || self.rules.has(Rule::PartitionLocked));
        state.phases[other][shard] == Phase::Prepared && reader_locks
    }

    fn on_check_first(&self, s: &mut State, txn: usize, shard: usize) -> Option<()> {
        let first = s.phases[txn][shard] == Phase::Away && reads_at(txn, shard);
        if self.rules.has(Rule::LockBeforeCheck)
            || !first
            || s.aborted[txn]
            || self.sees_row(s, shard)
        {
            return None;
        }
        s.phases[txn][shard] = Phase::Checked;
        Some(())
    }

    fn on_prepare(&self, s: &mut State, txn: usize, shard: usize) -> Option<()> {
        let phase = s.phases[txn][shard];
        if phase > Phase::Checked || s.aborted[txn] || self.blocked(s, txn, shard) {
            return None;
        }
        if reads_at(txn, shard) && phase == Phase::Away && self.sees_row(s, shard) {
            s.aborted[txn] = true;
            s.phases[txn] = [Phase::Away; 2];
            return Some(());
        }
        s.phases[txn][shard] = Phase::Prepared;
        Some(())
    }

    fn on_learn(&self, s: &mut State, txn: usize, shard: usize) -> Option<()> {
        if s.phases[txn][shard] != Phase::Prepared || !Self::committed(s, txn) {
            return None;
        }
        s.phases[txn][shard] = Phase::Learned;
        if (txn, shard) == (0, 1) && self.rules.has(Rule::CommitBeforeUse) {
            s.log.push(Writer::First);
        }
        Some(())
    }

    /// Without its rule: the `Commit` whose locks were freed long ago is appended at last.
    fn on_log_late(s: &mut State) -> Option<()> {
        if s.phases[0][1] < Phase::Learned || s.log.contains(&Writer::First) {
            return None;
        }
        s.log.push(Writer::First);
        Some(())
    }

    fn on_blind(s: &mut State) -> Option<()> {
        let free = s.phases.iter().all(|phases| phases[1] != Phase::Prepared);
        if !free || s.log.contains(&Writer::Blind) {
            return None;
        }
        s.blind_saw_first = s.phases[0][1] >= Phase::Learned;
        s.log.push(Writer::Blind);
        Some(())
    }
}

impl Machine for Locks {
    type State = State;
    type Step = Step;

    fn start(&self) -> Vec<State> {
        [false, true].map(|of_partitions| State { of_partitions, ..State::default() }).to_vec()
    }

    fn steps(&self, _: &State, steps: &mut Vec<Step>) {
        for txn in 0..2 {
            for shard in 0..2 {
                steps.extend([Step::CheckFirst { txn, shard }, Step::Prepare { txn, shard }]);
                steps.extend([Step::Learn { txn, shard }, Step::Apply { txn, shard }]);
            }
            steps.push(Step::Abort(txn));
        }
        steps.extend([Step::LogLate, Step::Blind]);
    }

    fn apply(&self, before: &State, step: &Step) -> Option<State> {
        let mut state = before.clone();
        let s = &mut state;
        match *step {
            Step::CheckFirst { txn, shard } => self.on_check_first(s, txn, shard)?,
            Step::Prepare { txn, shard } => self.on_prepare(s, txn, shard)?,
            Step::Learn { txn, shard } => self.on_learn(s, txn, shard)?,
            Step::LogLate => Self::on_log_late(s)?,
            Step::Apply { txn, shard } if s.phases[txn][shard] == Phase::Learned => {
                s.phases[txn][shard] = Phase::Applied;
            }
            // An attempt is refused somewhere, and its locks are freed everywhere.
            Step::Abort(txn) if !Self::committed(s, txn) => s.phases[txn] = [Phase::Away; 2],
            Step::Blind => Self::on_blind(s)?,
            Step::Apply { .. } | Step::Abort(_) => return None,
        }
        Some(state)
    }

    fn broken(&self, state: &State) -> Option<Broken> {
        let late = state.blind_saw_first && state.log == [Writer::Blind, Writer::First];
        // Each found absent what the other inserted: no order of the two explains that.
        if Self::committed(state, 0) && Self::committed(state, 1) {
            Some(Broken::NotSerializable)
        } else if late {
            Some(Broken::LogOrderWrong)
        } else {
            None
        }
    }

    fn tell(&self, before: &State, step: &Step, after: &State) -> String {
        let row = |shard: usize| ["x", "y"][shard];
        let kind = if before.of_partitions { "partition of " } else { "" };
        match *step {
            Step::CheckFirst { txn, shard } => {
                format!(
                    "shard {shard} checks, before it locks, that {} is absent for T{}",
                    row(shard),
                    txn + 1
                )
            }
            Step::Prepare { txn, .. } if after.aborted[txn] => {
                format!("T{} finds its condition false and is closed", txn + 1)
            }
            Step::Prepare { txn, shard } if reads_at(txn, shard) => {
                format!(
                    "shard {shard} finds {kind}{} without the row and appends Prepare(T{})",
                    row(shard),
                    txn + 1
                )
            }
            Step::Prepare { txn, shard } => {
                format!(
                    "shard {shard} locks {} and appends Prepare(T{}), which inserts it",
                    row(shard),
                    txn + 1
                )
            }
            Step::Learn { txn, shard } if after.log.len() > before.log.len() => {
                format!("shard {shard} appends Commit(T{}) and frees its locks", txn + 1)
            }
            Step::Learn { txn, shard } => {
                format!("shard {shard} learns that T{} is committed and frees its locks", txn + 1)
            }
            Step::LogLate => "shard 1 appends Commit(T1) now".into(),
            Step::Apply { txn, shard } => {
                format!("shard {shard} applies T{}'s write to the table", txn + 1)
            }
            Step::Abort(txn) => format!("T{}'s attempt is refused and aborted", txn + 1),
            Step::Blind => {
                "shard 1 executes T3, which overwrites y, and appends CommitSingle(T3)".into()
            }
        }
    }

    fn goals() -> Vec<(&'static str, Goal<Self>)> {
        vec![
            ("T1 commits", |_, state| Self::committed(state, 0)),
            ("T2 commits", |_, state| Self::committed(state, 1)),
            ("a condition fails", |_, state| state.aborted != [false; 2]),
            ("the log holds both writers of y in order", |_, state| {
                state.log == [Writer::First, Writer::Blind]
            }),
        ]
    }
}
