//! Shipping: the logs of two shards, two shippers that read them, and the remote region.
//!
//! The transactions write different rows, so that no lock orders them: only timestamps do. A record in a
//! log counts and is durable. A batch that is late or repeated is a batch of a shipper that stood still
//! and sends it now: so there is no network, but a second shipper that takes over from the first, which
//! goes on.

use crate::check::{Goal, Machine};
use crate::invariant::Broken;
use crate::rule::{Rule, Rules};

use super::{CLOCKS, listed};

/// The machine of shipping.
#[derive(Clone, Copy, Debug)]
pub struct Ship {
    pub(crate) rules: Rules,
    /// Which shards each transaction writes on.
    pub(crate) txns: &'static [[bool; 2]],
    /// Whether a second shipper may take over, and answers of the remote may be lost.
    pub(crate) takeover: bool,
    /// Whether a deposed leader's record may land in a log.
    pub(crate) strays: bool,
}

/// What a log says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Record {
    Prepare {
        txn: usize,
        at: u8,
    },
    Commit {
        txn: usize,
        at: u8,
    },
    Abort {
        txn: usize,
    },
    Single {
        txn: usize,
        at: u8,
    },
    /// Of a deposed leader: it lies in the log and does not count.
    Stray {
        at: u8,
    },
}

/// A shard of the source region.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Shard {
    log: Vec<Record>,
    /// The last timestamp, as its leader knows it.
    last: u8,
}

/// A process that ships.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Shipper {
    /// Where it began to read each log, and how far it has come.
    from: [usize; 2],
    read: [usize; 2],
    /// The remote's watermark, as it knows it.
    watermark: u8,
}

/// Both regions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    shards: [Shard; 2],
    shippers: [Option<Shipper>; 2],
    watermark: u8,
    /// What the remote region shows of each transaction, by shard.
    applied: Vec<[bool; 2]>,
}

/// One thing that may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each has its sentence")]
pub enum Step {
    Take { txn: usize, shard: usize, clock: u8 },
    Commit { txn: usize, shard: usize },
    Abort { txn: usize, shard: usize },
    Stray { shard: usize },
    FailOver(usize),
    TakeOver,
    Read { shipper: usize, shard: usize },
    Apply { shipper: usize, until: u8, part: Part, heard: bool },
    Ask(usize),
}

/// What of a batch is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    All,
    /// Without its rule: the rows of one shard, and the watermark not yet.
    Shard(usize),
    /// Without its rule: one transaction, though others have the same timestamp.
    Txn(usize),
}

impl Shard {
    fn proposal(&self, txn: usize) -> Option<u8> {
        self.log.iter().find_map(|record| match *record {
            Record::Prepare { txn: of, at } | Record::Single { txn: of, at } => {
                (of == txn).then_some(at)
            }
            Record::Commit { .. } | Record::Abort { .. } | Record::Stray { .. } => None,
        })
    }

    fn aborted(&self, txn: usize) -> bool {
        self.log.contains(&Record::Abort { txn })
    }
}

/// Whether these records hold what decides a transaction.
fn decided(records: &[Record], txn: usize) -> bool {
    records.iter().any(|record| match *record {
        Record::Commit { txn: of, .. }
        | Record::Single { txn: of, .. }
        | Record::Abort { txn: of } => of == txn,
        Record::Prepare { .. } | Record::Stray { .. } => false,
    })
}

impl Ship {
    /// The commit timestamp, once the transaction is committed: whoever knows all logs could say so.
    fn committed(&self, state: &State, txn: usize) -> Option<u8> {
        if state.shards.iter().any(|shard| shard.aborted(txn)) {
            return None;
        }
        let mut proposals = Vec::new();
        for shard in (0..2).filter(|shard| self.txns[txn][*shard]) {
            proposals.push(state.shards[shard].proposal(txn)?);
        }
        if self.rules.has(Rule::HighestProposal) {
            proposals.into_iter().max()
        } else {
            proposals.first().copied()
        }
    }

    /// What a shipper knows to be closed on a shard.
    fn closed(&self, state: &State, shipper: &Shipper, shard: usize) -> u8 {
        let records = &state.shards[shard].log[shipper.from[shard]..shipper.read[shard]];
        let mut greatest = 0;
        let mut undecided = None;
        for record in records {
            match *record {
                Record::Prepare { txn, at } => {
                    greatest = greatest.max(at);
                    if !decided(records, txn) {
                        undecided = Some(undecided.map_or(at, |least: u8| least.min(at)));
                    }
                }
                Record::Commit { at, .. } | Record::Single { at, .. } => {
                    greatest = greatest.max(at);
                }
                Record::Stray { at } if !self.rules.has(Rule::ClosedFromAccepted) => {
                    greatest = greatest.max(at);
                }
                Record::Abort { .. } | Record::Stray { .. } => {}
            }
        }
        if !self.rules.has(Rule::ClosedFromLog) {
            greatest = greatest.max(CLOCKS[1]);
        }
        match undecided {
            Some(least) if self.rules.has(Rule::ClosedBelowUndecided) => least - 1,
            Some(_) | None => greatest,
        }
    }

    /// How far a shipper may ship.
    fn least_closed(&self, state: &State, shipper: &Shipper) -> u8 {
        let [first, second] = [0, 1].map(|shard| self.closed(state, shipper, shard));
        if self.rules.has(Rule::WatermarkIsLeast) { first.min(second) } else { first.max(second) }
    }

    /// The parts that a shipper knows to be committed above its watermark: transaction, shard, timestamp.
    fn known(state: &State, shipper: &Shipper) -> Vec<(usize, usize, u8)> {
        let mut known = Vec::new();
        for shard in 0..2 {
            let records = &state.shards[shard].log[shipper.from[shard]..shipper.read[shard]];
            for record in records {
                match *record {
                    // The rows are in the Prepare: without it there is nothing to ship.
                    Record::Commit { txn, at } => {
                        let prepared = |record: &Record| matches!(record, Record::Prepare { txn: of, .. } if *of == txn);
                        known.extend(records.iter().any(prepared).then_some((txn, shard, at)));
                    }
                    Record::Single { txn, at } => known.push((txn, shard, at)),
                    Record::Prepare { .. } | Record::Abort { .. } | Record::Stray { .. } => {}
                }
            }
        }
        known.retain(|(.., at)| *at > shipper.watermark);
        known
    }

    fn on_take(&self, s: &mut State, txn: usize, shard: usize, clock: u8) -> Option<()> {
        let taken = s.shards[shard].proposal(txn).is_some();
        if taken || !self.txns[txn][shard] || s.shards.iter().any(|each| each.aborted(txn)) {
            return None;
        }
        let at = &mut s.shards[shard];
        let above = self.rules.has(Rule::ProposalAboveLast);
        let stamp = if above { clock.max(at.last + 1) } else { clock };
        at.last = at.last.max(stamp);
        at.log.push(if self.txns[txn] == [true; 2] {
            Record::Prepare { txn, at: stamp }
        } else {
            Record::Single { txn, at: stamp }
        });
        Some(())
    }

    fn on_commit(&self, s: &mut State, txn: usize, shard: usize) -> Option<()> {
        let at = self.committed(s, txn)?;
        let shard = &mut s.shards[shard];
        if decided(&shard.log, txn) || shard.proposal(txn).is_none() {
            return None;
        }
        if self.rules.has(Rule::WritersRaiseLast) {
            shard.last = shard.last.max(at);
        }
        shard.log.push(Record::Commit { txn, at });
        Some(())
    }

    fn on_abort(&self, s: &mut State, txn: usize, shard: usize) -> Option<()> {
        let at = &s.shards[shard];
        let undecided = at.proposal(txn).is_some() && !decided(&at.log, txn);
        if !undecided || self.committed(s, txn).is_some() {
            return None;
        }
        s.shards[shard].log.push(Record::Abort { txn });
        Some(())
    }

    /// A shipper that knows nothing begins: it asks the remote how far it is, and reads the logs again.
    fn on_take_over(&self, s: &mut State) -> Option<()> {
        let before = s.shippers[0]?;
        if !self.takeover || s.shippers[1].is_some() || s.watermark == 0 {
            return None;
        }
        let from = [0, 1].map(|shard| {
            if !self.rules.has(Rule::ResumeBeforeUnshipped) {
                return before.read[shard];
            }
            let log = &s.shards[shard].log;
            let done = |txn: usize| {
                let shipped = self.committed(s, txn).is_none_or(|at| at <= s.watermark);
                decided(log, txn) && shipped
            };
            let unshipped = |record: &Record| match *record {
                Record::Prepare { txn, .. }
                | Record::Commit { txn, .. }
                | Record::Abort { txn }
                | Record::Single { txn, .. } => !done(txn),
                Record::Stray { .. } => false,
            };
            log.iter().position(unshipped).unwrap_or(log.len())
        });
        s.shippers[1] = Some(Shipper { from, read: from, watermark: s.watermark });
        Some(())
    }

    fn on_read(s: &mut State, shipper: usize, shard: usize) -> Option<()> {
        let end = s.shards[shard].log.len();
        let read = &mut s.shippers[shipper].as_mut()?.read[shard];
        if *read == end {
            return None;
        }
        *read += 1;
        Some(())
    }

    fn on_apply(
        &self,
        s: &mut State,
        number: usize,
        until: u8,
        part: Part,
        heard: bool,
    ) -> Option<()> {
        let shipper = s.shippers[number]?;
        if until <= shipper.watermark || until > self.least_closed(s, &shipper) {
            return None;
        }
        if self.rules.has(Rule::WatermarkCondition) && s.watermark != shipper.watermark {
            return None;
        }
        for (txn, shard, at) in Self::known(s, &shipper) {
            let chosen = match part {
                Part::All => true,
                Part::Shard(only) => shard == only,
                Part::Txn(only) => txn == only,
            };
            s.applied[txn][shard] |= chosen && at <= until;
        }
        if !matches!(part, Part::Shard(_)) {
            s.watermark = until;
            if heard {
                s.shippers[number] = Some(Shipper { watermark: until, ..shipper });
            }
        }
        Some(())
    }

    fn apply_steps(&self, state: &State, number: usize, shipper: &Shipper, steps: &mut Vec<Step>) {
        let known = Self::known(state, shipper);
        let mut cuts: Vec<u8> = known.iter().map(|(.., at)| *at).collect();
        cuts.push(self.least_closed(state, shipper));
        cuts.sort_unstable();
        cuts.dedup();
        for until in cuts {
            for heard in [true, false].into_iter().filter(|heard| *heard || self.takeover) {
                let apply = |part| Step::Apply { shipper: number, until, part, heard };
                steps.push(apply(Part::All));
                if !self.rules.has(Rule::BatchIsAtomic) {
                    steps.extend([0, 1].map(|shard| apply(Part::Shard(shard))));
                }
                // Only the first transactions: skipping earlier ones is not what this rule forbids.
                let first = known.iter().all(|(.., at)| *at >= until);
                if first && !self.rules.has(Rule::CutBetweenTimestamps) {
                    let here = known.iter().filter(|(.., at)| *at == until);
                    steps.extend(here.map(|(txn, ..)| apply(Part::Txn(*txn))));
                }
            }
        }
    }
}

impl Machine for Ship {
    type State = State;
    type Step = Step;

    fn start(&self) -> Vec<State> {
        vec![State {
            shards: Default::default(),
            shippers: [Some(Shipper::default()), None],
            watermark: 0,
            applied: vec![[false; 2]; self.txns.len()],
        }]
    }

    fn steps(&self, state: &State, steps: &mut Vec<Step>) {
        for shard in 0..2 {
            for txn in 0..self.txns.len() {
                steps.extend(CLOCKS.map(|clock| Step::Take { txn, shard, clock }));
                steps.extend([Step::Commit { txn, shard }, Step::Abort { txn, shard }]);
            }
            steps.extend([Step::Stray { shard }, Step::FailOver(shard)]);
        }
        steps.push(Step::TakeOver);
        for (number, shipper) in state.shippers.iter().enumerate() {
            let Some(shipper) = shipper else { continue };
            steps.extend([0, 1].map(|shard| Step::Read { shipper: number, shard }));
            steps.push(Step::Ask(number));
            self.apply_steps(state, number, shipper, steps);
        }
    }

    fn apply(&self, before: &State, step: &Step) -> Option<State> {
        let mut state = before.clone();
        let s = &mut state;
        match *step {
            Step::Take { txn, shard, clock } => self.on_take(s, txn, shard, clock)?,
            Step::Commit { txn, shard } => self.on_commit(s, txn, shard)?,
            Step::Abort { txn, shard } => self.on_abort(s, txn, shard)?,
            Step::Stray { shard } => {
                let stray = Record::Stray { at: CLOCKS[1] };
                // With the rule it only takes a place: one is enough.
                if !self.strays || s.shards.iter().any(|shard| shard.log.contains(&stray)) {
                    return None;
                }
                s.shards[shard].log.push(stray);
            }
            Step::FailOver(shard) => {
                let at = &mut s.shards[shard];
                at.last = if self.rules.has(Rule::LastReplayed) { at.last } else { 0 };
            }
            Step::TakeOver => self.on_take_over(s)?,
            Step::Read { shipper, shard } => Self::on_read(s, shipper, shard)?,
            Step::Apply { shipper, until, part, heard } => {
                self.on_apply(s, shipper, until, part, heard)?;
            }
            Step::Ask(shipper) => s.shippers[shipper].as_mut()?.watermark = before.watermark,
        }
        Some(state)
    }

    fn broken(&self, state: &State) -> Option<Broken> {
        for shipper in state.shippers.iter().flatten() {
            for shard in 0..2 {
                let closed = self.closed(state, shipper, shard);
                let read = &state.shards[shard].log[..shipper.read[shard]];
                // What is at or below its watermark, the shipper need not read again.
                let open = shipper.watermark + 1..=closed;
                let below =
                    |txn: usize| self.committed(state, txn).is_some_and(|at| open.contains(&at));
                let mut txns = 0..self.txns.len();
                if txns.any(|txn| self.txns[txn][shard] && below(txn) && !decided(read, txn)) {
                    return Some(Broken::ClosedNotClosed);
                }
            }
        }
        let mut other = false;
        for (txn, parts) in self.txns.iter().enumerate() {
            let due = self.committed(state, txn).is_some_and(|at| at <= state.watermark);
            if state.applied[txn] != *parts && state.applied[txn] != [false; 2] {
                return Some(Broken::RemoteTorn);
            }
            other |= due != (state.applied[txn] == *parts);
        }
        other.then_some(Broken::RemoteNotPrefix)
    }

    fn tell(&self, before: &State, step: &Step, after: &State) -> String {
        let name = |shipper: usize| ["the shipper", "the second shipper"][shipper];
        match *step {
            Step::Take { txn, shard, clock } => {
                let kind = if self.txns[txn] == [true; 2] { "Prepare" } else { "CommitSingle" };
                let at = after.shards[shard].proposal(txn).unwrap_or_default();
                format!("shard {shard} (clock {clock}) appends {kind}(T{}) at {at}", txn + 1)
            }
            Step::Commit { txn, shard } => {
                let at = self.committed(before, txn).unwrap_or_default();
                format!("shard {shard} appends Commit(T{}) at {at}", txn + 1)
            }
            Step::Abort { txn, shard } => format!("shard {shard} appends Abort(T{})", txn + 1),
            Step::Stray { shard } => {
                format!(
                    "a deposed leader's record at {} lands in the log of shard {shard}",
                    CLOCKS[1]
                )
            }
            Step::FailOver(shard) => format!(
                "shard {shard} fails over: its last timestamp was {}, the new leader's is {}",
                before.shards[shard].last, after.shards[shard].last
            ),
            Step::TakeOver => format!(
                "a second shipper begins: the remote is at {}, it reads from {:?}",
                after.watermark,
                after.shippers[1].map(|shipper| shipper.from).unwrap_or_default()
            ),
            Step::Read { shipper, shard } => {
                let read = after.shippers[shipper].unwrap_or_default();
                let record = after.shards[shard].log[read.read[shard] - 1];
                let closed = self.closed(after, &read, shard);
                format!(
                    "{} reads {record:?} of shard {shard}: {closed} is closed there",
                    name(shipper)
                )
            }
            Step::Apply { shipper, part, heard, .. } => {
                let shown = |state: &State, txn: usize, shard: usize| state.applied[txn][shard];
                let new = (0..self.txns.len())
                    .flat_map(|txn| [(txn, 0), (txn, 1)])
                    .filter(|(txn, shard)| {
                        shown(after, *txn, *shard) && !shown(before, *txn, *shard)
                    })
                    .map(|(txn, shard)| format!("T{} of shard {shard}", txn + 1));
                let watermark = match part {
                    Part::Shard(_) => "the watermark not yet".into(),
                    Part::All | Part::Txn(_) => {
                        format!(
                            "its watermark, {} before, is {}",
                            before.watermark, after.watermark
                        )
                    }
                };
                let lost = if heard { "" } else { " (the answer is lost)" };
                format!(
                    "the remote applies a batch of {}: {}; {watermark}{lost}",
                    name(shipper),
                    listed(new)
                )
            }
            Step::Ask(shipper) => {
                format!("{} asks the remote: it is at {}", name(shipper), after.watermark)
            }
        }
    }

    fn goals() -> Vec<(&'static str, Goal<Self>)> {
        vec![
            ("a transaction of both shards is shipped", |checked, state| {
                let parts = checked.machine().txns.iter();
                parts
                    .zip(&state.applied)
                    .any(|(parts, applied)| *parts == [true; 2] && applied == parts)
            }),
            ("everything is shipped", |checked, state| state.applied == checked.machine().txns),
            ("two transactions of one timestamp are shipped", |checked, state| {
                let machine = checked.machine();
                let at =
                    |txn: usize| machine.committed(state, txn).filter(|at| *at <= state.watermark);
                let txns = 0..machine.txns.len();
                txns.clone().any(|one| {
                    at(one).is_some() && txns.clone().any(|b| b != one && at(b) == at(one))
                })
            }),
            ("a transaction is aborted and others are shipped", |_, state| {
                let aborted = |shard: &Shard| {
                    shard.log.iter().any(|record| matches!(record, Record::Abort { .. }))
                };
                state.shards.iter().any(aborted) && state.watermark > 0
            }),
            ("a shipper that stood still has a batch for an old watermark", |checked, state| {
                state.shippers.iter().flatten().any(|shipper| {
                    shipper.watermark < state.watermark
                        && checked.machine().least_closed(state, shipper) > shipper.watermark
                })
            }),
        ]
    }
}
