//! A table that is written in one region only moves its home: a planned failover.
//!
//! A is the old home, with two shards, B the new one. Under version 1 of the namespace the home is A, under
//! version 2 nobody, under version 3 B. A gateway of A may know only version 1, for ever. Shipping works as
//! in [`super::ship`], with all of its rules.

use crate::check::{Goal, Machine};
use crate::invariant::Broken;
use crate::rule::{Rule, Rules};

use super::CLOCKS;

/// The machine of a planned failover.
#[derive(Clone, Copy, Debug)]
pub struct Home {
    pub(crate) rules: Rules,
}

const TXNS: usize = 4;
/// The pulse; the transactions before it were validated under version 1.
const PULSE: usize = 3;
const WRITES: [[bool; 2]; PULSE] = [[true, true], [true, false], [false, true]];

/// How far a transaction is at one shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Phase {
    #[default]
    Away,
    /// It waits for a lock.
    Waiting,
    /// Prepared, at this proposal; a transaction of one shard is committed.
    Taken(u8),
    /// Its outcome is in the log.
    Decided(u8),
}

/// A shard of the old home.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Shard {
    phases: [Phase; TXNS],
    last: u8,
    /// Whether it knows version 2, and whether its log says so.
    closing: bool,
    logged: bool,
}

/// Both regions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct State {
    shards: [Shard; 2],
    aborted: [bool; TXNS],
    /// B: its watermark, which transactions it has, whether it is open, its first write.
    watermark: u8,
    applied: [bool; TXNS],
    open: bool,
    written: u8,
    wrong: Option<Broken>,
}

/// One thing that may happen; transactions and shards are numbered from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each has its sentence")]
pub enum Step {
    Arrive { txn: usize, shard: usize },
    Append { txn: usize, shard: usize, clock: u8 },
    Decide { txn: usize, shard: usize },
    Abort(usize),
    Hear(usize),
    FailOver(usize),
    Ship,
    Open,
    WriteThere { clock: u8 },
}

impl Home {
    fn takes_part(&self, txn: usize, shard: usize) -> bool {
        if txn == PULSE {
            shard == 0 || self.rules.has(Rule::PulseOnAllShards)
        } else {
            WRITES[txn][shard]
        }
    }

    /// The commit timestamp, once the transaction is committed.
    fn committed(&self, state: &State, txn: usize) -> Option<u8> {
        let mut highest = 0;
        for shard in (0..2).filter(|shard| self.takes_part(txn, *shard)) {
            match state.shards[shard].phases[txn] {
                Phase::Taken(at) | Phase::Decided(at) => highest = highest.max(at),
                Phase::Away | Phase::Waiting => return None,
            }
        }
        (!state.aborted[txn]).then_some(highest)
    }

    /// Whether a shard refuses a transaction for the version that it was validated under.
    fn refuses(&self, shard: &Shard, txn: usize) -> bool {
        txn != PULSE && shard.closing && self.rules.has(Rule::OldVersionRefused)
    }

    fn on_append(&self, s: &mut State, txn: usize, shard: usize, clock: u8) -> Option<()> {
        let at = s.shards[shard];
        let late = self.rules.has(Rule::VersionCheckedAtAppend) && self.refuses(&at, txn);
        if at.phases[txn] != Phase::Waiting || s.aborted[txn] || late {
            return None;
        }
        let at = &mut s.shards[shard];
        at.last = clock.max(at.last + 1);
        let single = !(self.takes_part(txn, 0) && self.takes_part(txn, 1));
        at.phases[txn] = if single { Phase::Decided(at.last) } else { Phase::Taken(at.last) };
        if txn == PULSE && self.rules.has(Rule::PulseTeachesVersion) {
            at.closing = true;
            at.logged = true;
        }
        Some(())
    }

    fn on_decide(&self, s: &mut State, txn: usize, shard: usize) -> Option<()> {
        let Phase::Taken(_) = s.shards[shard].phases[txn] else { return None };
        let highest = self.committed(s, txn)?;
        let at = &mut s.shards[shard];
        at.last = at.last.max(highest);
        at.phases[txn] = Phase::Decided(highest);
        Some(())
    }

    fn on_abort(&self, s: &mut State, txn: usize) -> Option<()> {
        if s.aborted[txn] || self.committed(s, txn).is_some() {
            return None;
        }
        s.aborted[txn] = true;
        for shard in &mut s.shards {
            shard.phases[txn] = Phase::Away;
        }
        Some(())
    }

    fn on_fail_over(&self, s: &mut State, shard: usize) -> Option<()> {
        let at = &mut s.shards[shard];
        // What the old leader had heard and not logged, its successor need not know.
        at.closing = at.logged && self.rules.has(Rule::VersionReplayed);
        for phase in at.phases.iter_mut().filter(|phase| **phase == Phase::Waiting) {
            *phase = Phase::Away;
        }
        Some(())
    }

    fn closed(shard: &Shard) -> u8 {
        let undecided = shard.phases.iter().filter_map(|phase| match phase {
            Phase::Taken(at) => Some(*at),
            Phase::Away | Phase::Waiting | Phase::Decided(_) => None,
        });
        undecided.min().map_or(shard.last, |least| least - 1)
    }

    fn on_ship(&self, s: &mut State) -> Option<()> {
        let watermark = s.shards.iter().map(Self::closed).min()?;
        s.watermark = s.watermark.max(watermark);
        for txn in 0..TXNS {
            s.applied[txn] |= self.committed(s, txn).is_some_and(|at| at <= watermark);
        }
        Some(())
    }

    fn on_open(&self, s: &mut State) -> Option<()> {
        let pulse = self.committed(s, PULSE)?;
        if s.open || (self.rules.has(Rule::OpenAfterWatermark) && s.watermark < pulse) {
            return None;
        }
        s.open = true;
        if (0..PULSE).any(|txn| self.committed(s, txn).is_some() && !s.applied[txn]) {
            s.wrong = Some(Broken::FailoverLost);
        }
        Some(())
    }

    /// B writes a row that every transaction of A wrote.
    fn on_write_there(&self, s: &mut State, clock: u8) -> Option<()> {
        if !s.open || s.written > 0 {
            return None;
        }
        let received = (0..PULSE).filter(|txn| s.applied[*txn]);
        let received = received.filter_map(|txn| self.committed(s, txn)).max().unwrap_or(0);
        let last = if self.rules.has(Rule::ReceivedRaisesLast) { received } else { 0 };
        s.written = clock.max(last + 1);
        if s.written <= received {
            s.wrong = Some(Broken::WriteInvisible);
        }
        Some(())
    }
}

impl Machine for Home {
    type State = State;
    type Step = Step;

    fn start(&self) -> Vec<State> {
        vec![State::default()]
    }

    fn steps(&self, _: &State, steps: &mut Vec<Step>) {
        for shard in 0..2 {
            for txn in 0..TXNS {
                steps.extend([Step::Arrive { txn, shard }, Step::Decide { txn, shard }]);
                steps.extend(CLOCKS.map(|clock| Step::Append { txn, shard, clock }));
            }
            steps.extend([Step::Hear(shard), Step::FailOver(shard)]);
        }
        steps.extend((0..TXNS).map(Step::Abort));
        steps.extend([Step::Ship, Step::Open]);
        steps.extend(CLOCKS.map(|clock| Step::WriteThere { clock }));
    }

    fn apply(&self, before: &State, step: &Step) -> Option<State> {
        let mut state = *before;
        let s = &mut state;
        match *step {
            Step::Arrive { txn, shard } => {
                let at = &mut s.shards[shard];
                let away = at.phases[txn] == Phase::Away && self.takes_part(txn, shard);
                if !away || s.aborted[txn] || self.refuses(at, txn) {
                    return None;
                }
                at.phases[txn] = Phase::Waiting;
            }
            Step::Append { txn, shard, clock } => self.on_append(s, txn, shard, clock)?,
            Step::Decide { txn, shard } => self.on_decide(s, txn, shard)?,
            Step::Abort(txn) => self.on_abort(s, txn)?,
            Step::Hear(shard) => s.shards[shard].closing = true,
            Step::FailOver(shard) => self.on_fail_over(s, shard)?,
            Step::Ship => self.on_ship(s)?,
            Step::Open => self.on_open(s)?,
            Step::WriteThere { clock } => self.on_write_there(s, clock)?,
        }
        let commits = |txn: usize| {
            self.committed(before, txn).is_none() && self.committed(&state, txn).is_some()
        };
        if before.open && (0..PULSE).any(commits) {
            state.wrong = Some(Broken::TwoHomes);
        }
        Some(state)
    }

    fn broken(&self, state: &State) -> Option<Broken> {
        state.wrong
    }

    fn tell(&self, before: &State, step: &Step, after: &State) -> String {
        let name = |txn: usize| {
            if txn == PULSE { "the pulse".into() } else { format!("T{}", txn + 1) }
        };
        match *step {
            Step::Arrive { txn, shard } => format!("{} reaches shard {shard}", name(txn)),
            Step::Append { txn, shard, clock } => {
                let (kind, at) = match after.shards[shard].phases[txn] {
                    Phase::Decided(at) => ("commits", at),
                    Phase::Taken(at) => ("prepares", at),
                    Phase::Away | Phase::Waiting => ("has", 0),
                };
                let told = match self.committed(after, txn) {
                    Some(at) => format!("; it is committed at {at}, and its client is told"),
                    None => String::new(),
                };
                format!("shard {shard} (clock {clock}) {kind} {} at {at}{told}", name(txn))
            }
            Step::Decide { txn, shard } => {
                format!("shard {shard} appends Commit of {}", name(txn))
            }
            Step::Abort(txn) => format!("{} is aborted", name(txn)),
            Step::Hear(shard) => {
                format!("shard {shard} hears that A is the home no more (version 2)")
            }
            Step::FailOver(shard) => {
                let version = if after.shards[shard].closing { 2 } else { 1 };
                format!("shard {shard} fails over: its new leader knows version {version}")
            }
            Step::Ship => {
                let new = (0..TXNS).filter(|txn| after.applied[*txn] && !before.applied[*txn]);
                let new = super::listed(new.map(name));
                format!("B receives {new}; its watermark is {}", after.watermark)
            }
            Step::Open => "B opens: it is the home from now on (version 3)".into(),
            Step::WriteThere { clock } => {
                format!("B (clock {clock}) commits its first write at {}", after.written)
            }
        }
    }

    fn goals() -> Vec<(&'static str, Goal<Self>)> {
        vec![
            ("the new home writes, with all that the old one has committed", |checked, state| {
                let all = |txn| checked.machine().committed(state, txn).is_some();
                state.written > 0 && (0..PULSE).all(all)
            }),
            ("a transaction of both shards is aborted, and the new home opens", |_, state| {
                state.aborted[0] && state.open
            }),
            ("one shard has taken the pulse, the other knows nothing of it", |_, state| {
                state.shards[0].logged && !state.shards[1].closing
            }),
            ("a request waits since before the pulse was taken", |_, state| {
                let waits = |phase: &Phase| *phase == Phase::Waiting;
                state
                    .shards
                    .iter()
                    .any(|shard| shard.logged && shard.phases[..PULSE].iter().any(waits))
            }),
        ]
    }
}
