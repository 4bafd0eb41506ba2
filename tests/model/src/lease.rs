//! Reads without appends: an old leader with a lease, one that is suspended, and its successor.
//!
//! Time is counted in ticks. The old leader's clock may fall one tick behind during a lease, which is the
//! drift that the successor's wait allows for. The successor writes two rows of the shard in one
//! transaction; it applies them to the table one after the other.

use crate::check::{Goal, Machine};
use crate::invariant::Broken;
use crate::rule::{Rule, Rules};

const LEASE: u8 = 2;
const DRIFT: u8 = 1;
const END: u8 = 9;

/// The lease machine.
#[derive(Clone, Copy, Debug)]
pub struct Lease {
    pub(crate) rules: Rules,
}

/// A record of the old leader that gives a lease: when it was sent by the leader's clock, and its fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Barrier {
    None,
    UnderWay(u8),
    Accepted(u8),
    Ignored,
    Done,
}

/// What the successor has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Successor {
    Away,
    /// Its `Epoch` record is under way since this tick.
    Sent(u8),
    /// It is in the log.
    Landed(u8),
    /// It was read back; the wait runs from this tick.
    Waiting(u8),
    Serving,
}

/// A read of both rows at the old leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Read {
    /// Rows read so far.
    done: u8,
    rows: [bool; 2],
    /// The write had been acknowledged when the read began.
    must_see: bool,
}

/// Both leaders, the table and the clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    now: u8,
    /// The old leader's clock.
    clock: u8,
    slow: bool,
    suspended: bool,
    lease_until: u8,
    barrier: Barrier,
    resigned: bool,
    waived: bool,
    successor: Successor,
    /// The successor's write was acknowledged.
    told: bool,
    table: [bool; 2],
    read: Option<Read>,
    answered: bool,
    wrong: Option<Broken>,
}

/// One thing that may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each has its sentence")]
pub enum Step {
    Tick { slow: bool },
    Suspend,
    Wake,
    SendBarrier,
    LandBarrier,
    HearBarrier,
    Resign,
    SendEpoch,
    LandEpoch,
    ReadBack,
    Serve,
    Commit,
    Apply(usize),
    BeginRead,
    ReadRow,
    Answer,
}

impl Lease {
    fn on_tick(&self, s: &mut State, slow: bool) -> Option<()> {
        if s.now == END || (slow && s.slow) {
            return None;
        }
        s.now += 1;
        let stands = s.suspended && !self.rules.has(Rule::LeaseCountsSuspension);
        s.clock += u8::from(!slow && !stands);
        s.slow |= slow;
        Some(())
    }

    fn on_send_barrier(&self, s: &mut State) -> Option<()> {
        if s.barrier != Barrier::None || s.resigned {
            return None;
        }
        s.barrier = Barrier::UnderWay(s.clock);
        if !self.rules.has(Rule::LeaseNeedsAcceptance) {
            s.lease_until = s.clock + LEASE;
        }
        Some(())
    }

    fn on_land_barrier(s: &mut State) -> Option<()> {
        let Barrier::UnderWay(sent) = s.barrier else { return None };
        let in_time = matches!(s.successor, Successor::Away | Successor::Sent(_));
        s.barrier = if in_time { Barrier::Accepted(sent) } else { Barrier::Ignored };
        Some(())
    }

    fn on_hear_barrier(&self, s: &mut State) -> Option<()> {
        let Barrier::Accepted(sent) = s.barrier else { return None };
        let from = if self.rules.has(Rule::LeaseFromSending) { sent } else { s.clock };
        s.lease_until = from + LEASE;
        s.barrier = Barrier::Done;
        Some(())
    }

    fn on_resign(s: &mut State) -> Option<()> {
        let in_time = matches!(s.successor, Successor::Away | Successor::Sent(_));
        if s.resigned || !in_time || matches!(s.barrier, Barrier::UnderWay(_)) {
            return None;
        }
        (s.resigned, s.waived) = (true, true);
        Some(())
    }

    fn on_serve(&self, s: &mut State) -> Option<()> {
        let Successor::Waiting(since) = s.successor else { return None };
        let margin = if self.rules.has(Rule::WaitHasDrift) { DRIFT } else { 0 };
        let waited = s.now >= since + LEASE + margin;
        if !waited && !s.waived && self.rules.has(Rule::SuccessorWaits) {
            return None;
        }
        s.successor = Successor::Serving;
        Some(())
    }

    fn on_read_back(&self, s: &mut State) -> Option<()> {
        let Successor::Landed(sent) = s.successor else { return None };
        let since = if self.rules.has(Rule::WaitFromReadBack) { s.now } else { sent };
        s.successor = Successor::Waiting(since);
        Some(())
    }

    fn has_lease(&self, s: &State) -> bool {
        let resigned = s.resigned && self.rules.has(Rule::ResignIsLast);
        (s.clock < s.lease_until || !self.rules.has(Rule::LeadershipProven)) && !resigned
    }

    fn on_begin_read(&self, s: &mut State) -> Option<()> {
        let tested = self.rules.has(Rule::LeaseTestedAfterRead) || self.has_lease(s);
        if s.read.is_some() || s.answered || !tested {
            return None;
        }
        s.read = Some(Read { done: 0, rows: [false; 2], must_see: s.told });
        Some(())
    }

    fn on_read_row(s: &mut State) -> Option<()> {
        let read = s.read.as_mut().filter(|read| read.done < 2)?;
        read.rows[read.done as usize] = s.table[read.done as usize];
        read.done += 1;
        Some(())
    }

    fn on_answer(&self, s: &mut State) -> Option<()> {
        let read = s.read.filter(|read| read.done == 2)?;
        if self.rules.has(Rule::LeaseTestedAfterRead) && !self.has_lease(s) {
            return None;
        }
        s.read = None;
        s.answered = true;
        if read.rows[0] != read.rows[1] {
            s.wrong = Some(Broken::TornRead);
        } else if read.must_see && !read.rows[0] {
            s.wrong = Some(Broken::StaleRead);
        }
        Some(())
    }
}

impl Machine for Lease {
    type State = State;
    type Step = Step;

    fn start(&self) -> Vec<State> {
        vec![State {
            now: 0,
            clock: 0,
            slow: false,
            suspended: false,
            lease_until: 0,
            barrier: Barrier::None,
            resigned: false,
            waived: false,
            successor: Successor::Away,
            told: false,
            table: [false; 2],
            read: None,
            answered: false,
            wrong: None,
        }]
    }

    fn steps(&self, _: &State, steps: &mut Vec<Step>) {
        steps.extend([
            Step::Tick { slow: false },
            Step::Tick { slow: true },
            Step::Suspend,
            Step::Wake,
        ]);
        steps.extend([Step::SendBarrier, Step::LandBarrier, Step::HearBarrier, Step::Resign]);
        steps.extend([Step::SendEpoch, Step::LandEpoch, Step::ReadBack, Step::Serve]);
        steps.extend([Step::Commit, Step::Apply(0), Step::Apply(1)]);
        steps.extend([Step::BeginRead, Step::ReadRow, Step::Answer]);
    }

    fn apply(&self, before: &State, step: &Step) -> Option<State> {
        let mut state = *before;
        let s = &mut state;
        let old_leader_acts = matches!(
            step,
            Step::SendBarrier
                | Step::HearBarrier
                | Step::Resign
                | Step::BeginRead
                | Step::ReadRow
                | Step::Answer
        );
        if old_leader_acts && s.suspended {
            return None;
        }
        match *step {
            Step::Tick { slow } => self.on_tick(s, slow)?,
            Step::Suspend => s.suspended = true,
            Step::Wake => s.suspended = false,
            Step::SendBarrier => self.on_send_barrier(s)?,
            Step::LandBarrier => Self::on_land_barrier(s)?,
            Step::HearBarrier => self.on_hear_barrier(s)?,
            Step::Resign => Self::on_resign(s)?,
            Step::SendEpoch if s.successor == Successor::Away => {
                s.successor = Successor::Sent(s.now)
            }
            Step::LandEpoch => match s.successor {
                Successor::Sent(sent) => s.successor = Successor::Landed(sent),
                _ => return None,
            },
            Step::ReadBack => self.on_read_back(s)?,
            Step::Serve => self.on_serve(s)?,
            Step::Commit if s.successor == Successor::Serving => s.told = true,
            Step::Apply(row) if s.told => s.table[row] = true,
            Step::SendEpoch | Step::Commit | Step::Apply(_) => return None,
            Step::BeginRead => self.on_begin_read(s)?,
            Step::ReadRow => Self::on_read_row(s)?,
            Step::Answer => self.on_answer(s)?,
        }
        Some(state)
    }

    fn broken(&self, state: &State) -> Option<Broken> {
        state.wrong
    }

    fn tell(&self, before: &State, step: &Step, after: &State) -> String {
        match *step {
            Step::Tick { slow: false } => {
                format!("it is tick {}; the old leader's clock says {}", after.now, after.clock)
            }
            Step::Tick { slow: true } => format!(
                "it is tick {}; the old leader's clock still says {}",
                after.now, after.clock
            ),
            Step::Suspend => "the old leader is suspended".into(),
            Step::Wake => "the old leader wakes up".into(),
            Step::SendBarrier => "the old leader sends a barrier".into(),
            Step::LandBarrier if after.barrier == Barrier::Ignored => {
                "the barrier lands behind the successor's Epoch: ignored".into()
            }
            Step::LandBarrier => "the barrier lands and is accepted".into(),
            Step::HearBarrier => format!(
                "the old leader hears of it: its lease runs until {} by its clock",
                after.lease_until
            ),
            Step::Resign => "the old leader appends Resign".into(),
            Step::SendEpoch => "the successor sends its Epoch record".into(),
            Step::LandEpoch => "the successor's Epoch record lands".into(),
            Step::ReadBack => "the successor reads it back".into(),
            Step::Serve => "the successor begins to serve".into(),
            Step::Commit => "the successor commits a write of both rows and acknowledges it".into(),
            Step::Apply(row) => format!("the successor applies row {row} to the table"),
            Step::BeginRead => "the old leader is asked to read both rows".into(),
            Step::ReadRow => {
                let row = before.read.map_or(0, |read| read.done);
                format!(
                    "the old leader reads row {row} from the table: {}",
                    if after.table[row as usize] { "new" } else { "old" }
                )
            }
            Step::Answer => "the old leader answers the read".into(),
        }
    }

    fn goals() -> Vec<(&'static str, Goal<Self>)> {
        vec![
            ("the old leader answers under its lease", |_, state| state.answered),
            ("the successor serves after its wait", |_, state| {
                state.told && !state.waived && state.table == [true; 2]
            }),
            ("a resignation waives the wait", |_, state| state.told && state.now == 0),
        ]
    }
}
