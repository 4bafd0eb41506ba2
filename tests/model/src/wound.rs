//! Waiting: three transactions, T1 the oldest, that all lock one row on each of two shards.
//!
//! No failures here and no lost messages: what is checked is progress. Without its rules the machine
//! comes to a stand, or one transaction's attempts end again and again; "without end" is shown in its
//! bounded form: more attempts than there are older transactions that could wound it.

use crate::check::{Goal, Machine};
use crate::invariant::Broken;
use crate::rule::{Rule, Rules};

const TXNS: usize = 3;
const SHARDS: usize = 2;

/// The waiting machine.
#[derive(Clone, Copy, Debug)]
pub struct Wound {
    pub(crate) rules: Rules,
}

/// One transaction, by age.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Txn {
    /// Attempts begun.
    attempts: u8,
    running: bool,
    committed: bool,
    /// Who wounded its last attempt.
    wounder: Option<u8>,
}

/// The lock of one shard's row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Lock {
    /// The transaction that holds it, prepared.
    holder: Option<u8>,
    /// The transactions that wait, one bit each.
    waiting: u8,
}

/// Transactions and locks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct State {
    txns: [Txn; TXNS],
    locks: [Lock; SHARDS],
    wrong: Option<Broken>,
}

/// One thing that may happen; transactions are numbered from 0 by age.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each has its sentence")]
pub enum Step {
    Begin(usize),
    Arrive { txn: usize, shard: usize },
    Grant { txn: usize, shard: usize },
    Wound { by: usize, shard: usize },
    Ask(usize),
    Rival(usize),
    Commit(usize),
}

impl Wound {
    fn on_begin(&self, s: &mut State, txn: usize) -> Option<()> {
        let at = s.txns[txn];
        let wounder_decided = at.wounder.is_none_or(|by| s.txns[by as usize].committed);
        if at.running
            || at.committed
            || (self.rules.has(Rule::RetryAfterWounder) && !wounder_decided)
        {
            return None;
        }
        self.next_attempt(s, txn);
        Some(())
    }

    fn next_attempt(&self, s: &mut State, txn: usize) {
        let at = &mut s.txns[txn];
        at.attempts += 1;
        at.running = true;
        at.wounder = None;
        if at.attempts as usize > 1 + txn {
            s.wrong.get_or_insert(Broken::Livelock);
        }
    }

    fn on_arrive(&self, s: &mut State, txn: usize, shard: usize) -> Option<()> {
        let lock = s.locks[shard];
        let known = lock.holder == Some(txn as u8) || lock.waiting & (1 << txn) != 0;
        if !s.txns[txn].running || known {
            return None;
        }
        s.locks[shard].waiting |= 1 << txn;
        let overtakes = !self.rules.has(Rule::NoOvertaking) && lock.holder.is_none();
        if overtakes {
            self.hold(s, txn, shard);
        }
        Some(())
    }

    fn on_grant(&self, s: &mut State, txn: usize, shard: usize) -> Option<()> {
        let lock = s.locks[shard];
        let older_waits = lock.waiting & ((1 << txn) - 1) != 0;
        let waits = lock.waiting & (1 << txn) != 0;
        if lock.holder.is_some() || !waits || (older_waits && self.rules.has(Rule::GrantByAge)) {
            return None;
        }
        self.hold(s, txn, shard);
        Some(())
    }

    fn hold(&self, s: &mut State, txn: usize, shard: usize) {
        let lock = &mut s.locks[shard];
        if lock.waiting & ((1 << txn) - 1) != 0 {
            s.wrong.get_or_insert(Broken::Overtaken);
        }
        lock.holder = Some(txn as u8);
        lock.waiting &= !(1 << txn);
    }

    /// A waiter runs recovery on the holder, which is refused where it has not prepared.
    fn on_wound(&self, s: &mut State, by: usize, shard: usize) -> Option<()> {
        let holder = s.locks[shard].holder? as usize;
        let waits = s.locks[shard].waiting & (1 << by) != 0;
        let rule = if by < holder { Rule::OlderWounds } else { Rule::YoungerWaits };
        // Taking a rule out turns it round: the older does not wound, the younger does.
        let wounds = (by < holder) == self.rules.has(rule);
        if !waits || !wounds || self.prepared_everywhere(s, holder) {
            return None;
        }
        self.refuse(s, holder);
        s.txns[holder].wounder = Some(by as u8);
        Some(())
    }

    fn prepared_everywhere(&self, s: &State, txn: usize) -> bool {
        s.locks.iter().all(|lock| lock.holder == Some(txn as u8))
    }

    fn refuse(&self, s: &mut State, txn: usize) {
        s.txns[txn].running = false;
        self.release(s, txn);
    }

    fn release(&self, s: &mut State, txn: usize) {
        for lock in &mut s.locks {
            lock.waiting &= !(1 << txn);
            lock.holder = lock.holder.filter(|holder| *holder != txn as u8);
        }
    }

    /// Without its rule: a client that asks for the outcome has the attempt refused.
    fn on_ask(&self, s: &mut State, txn: usize) -> Option<()> {
        let undecided = s.txns[txn].running && !self.prepared_everywhere(s, txn);
        if self.rules.has(Rule::AskingIsPassive) || !undecided {
            return None;
        }
        self.refuse(s, txn);
        Some(())
    }

    /// Without its rule: another gateway drives the same transaction and refuses the attempt that is in its way.
    fn on_rival(&self, s: &mut State, txn: usize) -> Option<()> {
        self.undriven(s, txn)?;
        self.refuse(s, txn);
        self.next_attempt(s, txn);
        Some(())
    }

    fn undriven(&self, s: &State, txn: usize) -> Option<()> {
        let undecided = s.txns[txn].running && !self.prepared_everywhere(s, txn);
        (undecided && !self.rules.has(Rule::LaterAttemptsByHome)).then_some(())
    }

    fn on_commit(&self, s: &mut State, txn: usize) -> Option<()> {
        if !self.prepared_everywhere(s, txn) {
            return None;
        }
        (s.txns[txn].committed, s.txns[txn].running) = (true, false);
        self.release(s, txn);
        Some(())
    }

    fn all_steps(steps: &mut Vec<Step>) {
        for txn in 0..TXNS {
            steps.extend([Step::Begin(txn), Step::Ask(txn), Step::Rival(txn), Step::Commit(txn)]);
            for shard in 0..SHARDS {
                steps.extend([Step::Arrive { txn, shard }, Step::Grant { txn, shard }]);
                steps.push(Step::Wound { by: txn, shard });
            }
        }
    }
}

impl Machine for Wound {
    type State = State;
    type Step = Step;

    fn start(&self) -> Vec<State> {
        vec![State::default()]
    }

    fn steps(&self, _: &State, steps: &mut Vec<Step>) {
        Self::all_steps(steps);
    }

    fn apply(&self, before: &State, step: &Step) -> Option<State> {
        let mut state = *before;
        let s = &mut state;
        match *step {
            Step::Begin(txn) => self.on_begin(s, txn),
            Step::Arrive { txn, shard } => self.on_arrive(s, txn, shard),
            Step::Grant { txn, shard } => self.on_grant(s, txn, shard),
            Step::Wound { by, shard } => self.on_wound(s, by, shard),
            Step::Ask(txn) => self.on_ask(s, txn),
            Step::Rival(txn) => self.on_rival(s, txn),
            Step::Commit(txn) => self.on_commit(s, txn),
        }?;
        Some(state)
    }

    fn broken(&self, state: &State) -> Option<Broken> {
        if state.wrong.is_some() || state.txns.iter().all(|txn| txn.committed) {
            return state.wrong;
        }
        let mut steps = Vec::new();
        Self::all_steps(&mut steps);
        let stuck = steps.iter().all(|step| self.apply(state, step).is_none());
        stuck.then_some(Broken::Deadlock)
    }

    fn tell(&self, before: &State, step: &Step, after: &State) -> String {
        let name = |txn: usize| format!("T{}", txn + 1);
        match *step {
            Step::Begin(txn) => {
                format!("{} begins attempt {}", name(txn), after.txns[txn].attempts)
            }
            Step::Arrive { txn, shard } if after.locks[shard].holder == Some(txn as u8) => {
                format!(
                    "{} arrives at shard {shard} and is granted the free lock at once",
                    name(txn)
                )
            }
            Step::Arrive { txn, shard } => {
                format!("{} arrives at shard {shard} and queues", name(txn))
            }
            Step::Grant { txn, shard } => {
                format!("shard {shard} grants its lock to {}, which prepares", name(txn))
            }
            Step::Wound { by, shard } => {
                let holder = before.locks[shard]
                    .holder
                    .map_or_else(String::new, |holder| name(holder as usize));
                format!(
                    "{}, waiting at shard {shard}, runs recovery on {holder}: its attempt is refused",
                    name(by)
                )
            }
            Step::Ask(txn) => format!(
                "somebody asks for the outcome of {}, and its attempt is refused",
                name(txn)
            ),
            Step::Rival(txn) => format!(
                "another gateway refuses {}'s attempt and begins attempt {}",
                name(txn),
                after.txns[txn].attempts
            ),
            Step::Commit(txn) => {
                format!("{} is prepared everywhere: it commits and frees its locks", name(txn))
            }
        }
    }

    fn goals() -> Vec<(&'static str, Goal<Self>)> {
        vec![
            ("everybody commits", |_, state| state.txns.iter().all(|txn| txn.committed)),
            ("the youngest is wounded twice and commits", |_, state| {
                state.txns[2].attempts == 3 && state.txns[2].committed
            }),
        ]
    }
}
