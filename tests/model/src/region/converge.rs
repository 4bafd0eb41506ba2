//! Two regions that both write the same two rows, blindly, and ship to each other.
//!
//! Every transaction writes or deletes both rows. A region is one shard here: what several shards add is in
//! [`super::ship`]. Rows merge as a table store does it: the later write stays; of two at one timestamp the
//! put, and of two puts the greater value, row by row.

use crate::check::{Goal, Machine};
use crate::invariant::Broken;
use crate::rule::{Rule, Rules};

use super::listed;

/// The machine of two regions that write.
#[derive(Clone, Copy, Debug)]
pub struct Converge {
    pub(crate) rules: Rules,
    /// Transactions of each region.
    pub(crate) writes: u8,
}

const CLOCKS: [u8; 2] = [1, 3];
/// Rows that were received take room in the log only where they are shipped again.
const LONGEST_LOG: usize = 4;

/// What a transaction does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum What {
    /// It puts both rows.
    Put,
    /// It deletes both rows.
    Delete,
    /// It is a pulse: it has no rows.
    Pulse,
}

/// What a row's last write was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Cell {
    at: u8,
    /// Who put it; a tombstone has none.
    put: Option<Writer>,
}

/// The n-th transaction of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Writer {
    number: u8,
    region: u8,
}

/// A transaction in the log of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Committed {
    /// Its commit timestamp here.
    at: u8,
    /// What its rows carry: the same, unless they were received.
    cell: Cell,
}

/// One region.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Region {
    log: Vec<Committed>,
    last: u8,
    writes: u8,
    rows: [Option<Cell>; 2],
    /// The last of all writes that were ever merged here (ghost).
    newest: Option<Cell>,
    /// How far the other region's transactions are here.
    watermark: u8,
}

/// Both regions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct State {
    regions: [Region; 2],
    wrong: Option<Broken>,
}

/// One thing that may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each has its sentence")]
pub enum Step {
    Write { region: usize, what: What, clock: u8 },
    Ship { to: usize, until: u8 },
    Collect(usize),
    FailOver(usize),
}

impl Cell {
    /// Whether it stays when it meets another in the same row.
    fn wins_over(&self, other: &Self, row: usize) -> bool {
        let value = |cell: &Self| {
            // The greater value is that of another region in each row.
            cell.put.map(|put| [put.region, 1 - put.region][row] * 8 + put.number)
        };
        (self.at, value(self)) > (other.at, value(other))
    }
}

impl Region {
    fn merge(&mut self, cell: Cell) {
        if self.newest.is_none_or(|newest| cell.at > newest.at) {
            self.newest = Some(cell);
        }
        for (row, place) in self.rows.iter_mut().enumerate() {
            if place.is_none_or(|there| cell.wins_over(&there, row)) {
                *place = Some(cell);
            }
        }
    }

    /// What a reader sees: who put each row, if it is there.
    fn shown(&self) -> [Option<Writer>; 2] {
        self.rows.map(|row| row.and_then(|cell| cell.put))
    }
}

impl Converge {
    /// The least timestamp that this region may give above another one.
    fn stamp(&self, last: u8, region: usize, clock: u8) -> u8 {
        let bits = if self.rules.has(Rule::RegionInTimestamp) { region as u8 } else { 0 };
        clock.max(last / 2 + 1) * 2 + bits
    }

    fn on_write(&self, s: &mut State, region: usize, what: What, clock: u8) -> Option<()> {
        let here = &mut s.regions[region];
        if here.writes == self.writes {
            return None;
        }
        let at = self.stamp(here.last, region, clock);
        let writer = Writer { number: here.writes, region: region as u8 };
        here.last = at;
        here.writes += 1;
        if what == What::Pulse {
            return Some(());
        }
        let cell = Cell { at, put: (what == What::Put).then_some(writer) };
        here.log.push(Committed { at, cell });
        here.merge(cell);
        if here.rows != [Some(cell); 2] {
            s.wrong = Some(Broken::WriteInvisible);
        }
        Some(())
    }

    /// The rows that a shipper finds between two watermarks; one that has just begun reads the log again.
    fn batch(&self, from: &Region, watermark: u8, until: u8) -> Vec<Cell> {
        let skips = self.rules.has(Rule::SkipShipped);
        let due = |each: &&Committed| each.at <= until && (each.at > watermark || !skips);
        from.log.iter().filter(due).map(|each| each.cell).collect()
    }

    fn on_ship(&self, s: &mut State, to: usize, until: u8) -> Option<()> {
        let watermark = s.regions[to].watermark;
        let from = &s.regions[1 - to];
        // One shard without anything undecided: all is closed that its log shows.
        if until <= watermark || until > from.last {
            return None;
        }
        let batch = self.batch(from, watermark, until);
        let here = &mut s.regions[to];
        here.watermark = until;
        for cell in batch {
            here.merge(cell);
            if self.rules.has(Rule::ReceivedRaisesLast) {
                here.last = here.last.max(cell.at);
            }
            if !self.rules.has(Rule::OwnWritesOnly) {
                if here.log.len() == LONGEST_LOG {
                    return None;
                }
                here.last = self.stamp(here.last, to, 0);
                here.log.push(Committed { at: here.last, cell });
            }
        }
        Some(())
    }

    /// A region throws tombstones away.
    fn on_collect(&self, s: &mut State, region: usize) -> Option<()> {
        let here = &mut s.regions[region];
        let waits = self.rules.has(Rule::TombstoneAwaitsWatermarks);
        let watermark = here.watermark;
        let dead = |cell: &Cell| cell.put.is_none() && (cell.at <= watermark || !waits);
        here.rows = here.rows.map(|row| row.filter(|cell| !dead(cell)));
        Some(())
    }

    /// Whether each region has all that the other has committed.
    fn all_shipped(state: &State) -> bool {
        (0..2).all(|to| {
            let watermark = state.regions[to].watermark;
            state.regions[1 - to].log.iter().all(|each| each.at <= watermark)
        })
    }
}

impl Machine for Converge {
    type State = State;
    type Step = Step;

    fn start(&self) -> Vec<State> {
        vec![State::default()]
    }

    fn steps(&self, state: &State, steps: &mut Vec<Step>) {
        for region in 0..2 {
            for what in [What::Put, What::Delete, What::Pulse] {
                steps.extend(CLOCKS.map(|clock| Step::Write { region, what, clock }));
            }
            let from = &state.regions[1 - region];
            let mut cuts: Vec<u8> = from.log.iter().map(|each| each.at).collect();
            cuts.push(from.last);
            cuts.dedup();
            steps.extend(cuts.into_iter().map(|until| Step::Ship { to: region, until }));
            steps.extend([Step::Collect(region), Step::FailOver(region)]);
        }
    }

    fn apply(&self, before: &State, step: &Step) -> Option<State> {
        let mut state = before.clone();
        let s = &mut state;
        match *step {
            Step::Write { region, what, clock } => self.on_write(s, region, what, clock),
            Step::Ship { to, until } => self.on_ship(s, to, until),
            Step::Collect(region) => self.on_collect(s, region),
            Step::FailOver(region) => {
                let here = &mut s.regions[region];
                here.last = if self.rules.has(Rule::LastReplayed) { here.last } else { 0 };
                Some(())
            }
        }?;
        Some(state)
    }

    fn broken(&self, state: &State) -> Option<Broken> {
        let [here, there] = [0, 1].map(|region| state.regions[region].shown());
        if state.wrong.is_some() {
            return state.wrong;
        }
        // What was deleted here stays so, until it is written again.
        let back = |region: &Region| {
            let newest = region.newest.and_then(|cell| cell.put);
            newest.is_none() && region.shown() != [None; 2]
        };
        if state.regions.iter().any(back) {
            return Some(Broken::Resurrected);
        }
        // Every transaction writes both rows, so both rows are always of one transaction.
        if here[0] != here[1] || there[0] != there[1] {
            return Some(Broken::TornRead);
        }
        (here != there && Self::all_shipped(state)).then_some(Broken::Diverged)
    }

    fn tell(&self, before: &State, step: &Step, after: &State) -> String {
        let name = |region: usize| ["A", "B"][region];
        let shown = |region: usize| {
            let row = |writer: Option<Writer>| {
                writer.map_or("absent".into(), |put| {
                    format!("of {}{}", name(put.region.into()), put.number + 1)
                })
            };
            let [x, y] = after.regions[region].shown().map(row);
            format!("x is {x}, y is {y}")
        };
        match *step {
            Step::Write { region, what, clock } => {
                let kind = match what {
                    What::Put => "puts both rows",
                    What::Delete => "deletes both rows",
                    What::Pulse => "is a pulse",
                };
                format!(
                    "{}{} (clock {clock}) {kind}: committed at {}; there {}",
                    name(region),
                    after.regions[region].writes,
                    after.regions[region].last,
                    shown(region)
                )
            }
            Step::Ship { to, until } => {
                let watermark = before.regions[to].watermark;
                let batch = self.batch(&before.regions[1 - to], watermark, until);
                let batch = batch.into_iter().map(|cell| match cell.put {
                    Some(put) => format!("{}{}", name(put.region.into()), put.number + 1),
                    None => format!("the delete at {}", cell.at),
                });
                format!(
                    "{} receives {}; its watermark is {until}, there {}",
                    name(to),
                    listed(batch),
                    shown(to)
                )
            }
            Step::FailOver(region) => format!(
                "{} fails over: its last timestamp was {}, the new leader's is {}",
                name(region),
                before.regions[region].last,
                after.regions[region].last
            ),
            Step::Collect(region) => {
                format!("{} throws its tombstones away: there {}", name(region), shown(region))
            }
        }
    }

    fn goals() -> Vec<(&'static str, Goal<Self>)> {
        vec![
            ("both regions have written and shipped everything", |checked, state| {
                let all =
                    |region: &Region| region.log.len() == usize::from(checked.machine().writes);
                state.regions.iter().all(all) && Self::all_shipped(state)
            }),
            ("a delete of one region has hidden a put of the other in both", |_, state| {
                let [a, b] = &state.regions;
                let put = a.log.iter().any(|each| each.cell.put.is_some());
                let puts = b.log.iter().any(|each| each.cell.put.is_some());
                let gone = |region: &Region| region.shown() == [None; 2];
                put && !puts && gone(a) && gone(b) && Self::all_shipped(state) && !b.log.is_empty()
            }),
            ("a tombstone is thrown away", |_, state| {
                state
                    .regions
                    .iter()
                    .any(|region| !region.log.is_empty() && region.rows == [None; 2])
            }),
            ("a region runs ahead of its clocks because it has received", |_, state| {
                state.regions.iter().any(|region| {
                    let own = region.log.last().is_some_and(|each| each.at == region.last);
                    own && region.log.len() == 1 && region.last / 2 > CLOCKS[1]
                })
            }),
        ]
    }
}
