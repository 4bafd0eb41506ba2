//! The schedule, and what stands before the index, in a world that fails at random: rows that are written, rescheduled and deleted, a stream that is
//! told late and again, an index that fails and is behind, firing that takes long and whose answer is lost,
//! processes that take over from each other and die, clocks that jump. The world knows what is so; it judges by
//! that alone: nothing early, nothing doubled, nothing lost.

use std::collections::{BTreeMap, BTreeSet};

use wal_core::{Millis, Now, ShardId, Timestamp, TxnId};

use super::super::behind::WriteBehind;
use super::super::engine::{Ended, Schedule, ScheduleConfig, Wanted};
use super::super::index::{Change, Entry, EntryState, Noted};
use crate::backoff::Draw;
use crate::outgoing::Name;
use crate::rules::{Rule, Without};

const MS: u64 = 1_000;
pub(super) const S: u64 = 1_000_000;
pub(super) const SHARD: ShardId = ShardId(3);
/// Parts that are held before the index.
const HELD: usize = 3;
/// How much earlier by the true time is not early: a step of the clock that is no jump.
const STEP_US: u64 = S;
/// Clients write for so long.
const BUSY_US: u64 = 240 * S;
/// Then everything is well, and everything must be over.
const OVER_US: u64 = 1_500 * S;
/// The wall clock at the beginning.
const BEGAN_S: u64 = 1_000_000;

/// What is wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Planted {
    Nothing,
    /// The engine lacks a rule.
    Without(Rule),
    /// What was told is not told again once the index has it.
    ToldOnce,
    /// What is due is done without looking whether its row is as it was read.
    Blind,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    due: Millis,
    written: Timestamp,
}

/// What will happen.
#[derive(Clone, Debug)]
enum Coming {
    Client,
    /// Whoever has the mark asks for a change.
    Asked {
        process: u64,
        at: usize,
    },
    /// The index has changes now, and who noted them hears of it.
    Noted {
        process: u64,
        changes: Vec<Noted>,
        is_stored: bool,
        ok: bool,
    },
    /// A page that was read a while ago.
    Loaded {
        process: u64,
        page: Option<Vec<Entry>>,
    },
    /// Somebody has read a row, and now commits.
    Commit {
        process: u64,
        name: Name,
        time: Millis,
        read: Option<Row>,
    },
    Answer {
        process: u64,
        name: Name,
        how: How,
    },
    TakeOver,
    /// The shard is to be let go, and then is not.
    LetGo,
    Jump,
    JumpBack,
}

/// How firing ended.
#[derive(Clone, Copy, Debug)]
enum How {
    Done,
    Missing,
    Later(Row),
    Again,
}

/// One process, while it has the shard.
struct Process {
    number: u64,
    schedule: Schedule<Without>,
    behind: WriteBehind<usize, Without>,
    /// How far of the stream it was told.
    told: usize,
    /// How far of that is dealt with, and what is beyond.
    mark: usize,
    dealt_with: BTreeSet<usize>,
}

/// How often what happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Happened {
    pub(super) done: u32,
    pub(super) cancelled: u32,
    pub(super) rescheduled: u32,
    pub(super) too_late: u32,
    pub(super) taken_over: u32,
    pub(super) jumps: u32,
    pub(super) unanswered: u32,
    pub(super) notes_failed: u32,
    pub(super) changed_meanwhile: u32,
    pub(super) never_noted: u32,
    pub(super) deleted_lazily: u32,
}

pub(super) struct World {
    draw: Draw,
    planted: Planted,
    now_us: u64,
    /// By how much the wall clock is off, microseconds.
    offset_us: i64,
    rows: BTreeMap<Name, Row>,
    /// What was written, and whether it was the first of its name.
    stream: Vec<(Noted, bool)>,
    last_written: Timestamp,
    index: BTreeMap<Name, (Noted, Millis)>,
    /// What was ever in the index.
    ever_noted: BTreeSet<Name>,
    process: Process,
    agenda: BTreeMap<(u64, u64), Coming>,
    events: u64,
    names: u64,
    done: BTreeSet<Name>,
    happened: Happened,
}

fn config() -> ScheduleConfig {
    ScheduleConfig { held: 6, page: 3, in_flight: 2 }
}

impl World {
    pub(super) fn new(seed: u64, planted: Planted) -> Self {
        let mut world = Self {
            draw: Draw::new(seed),
            planted,
            now_us: S,
            offset_us: 0,
            rows: BTreeMap::new(),
            stream: Vec::new(),
            last_written: Timestamp(0),
            index: BTreeMap::new(),
            ever_noted: BTreeSet::new(),
            process: Self::process(1, 0, planted),
            agenda: BTreeMap::new(),
            events: 0,
            names: 0,
            done: BTreeSet::new(),
            happened: Happened::default(),
        };
        world.begin();
        world.come(10 * MS, Coming::Client);
        let let_go = 5 * S + world.below(120 * S);
        world.come(let_go, Coming::LetGo);
        let jump = 20 * S + world.below(200 * S);
        world.come(jump, Coming::Jump);
        let take_over = 5 * S + world.below(60 * S);
        world.come(take_over, Coming::TakeOver);
        world
    }

    fn process(number: u64, mark: usize, planted: Planted) -> Process {
        let rules = match planted {
            Planted::Without(rule) => Without(Some(rule)),
            Planted::Nothing | Planted::ToldOnce | Planted::Blind => Without(None),
        };
        let schedule = Schedule::with_rules(config(), rules);
        let behind = WriteBehind::with_rules(HELD, rules);
        Process { number, schedule, behind, told: mark, mark, dealt_with: BTreeSet::new() }
    }

    fn begin(&mut self) {
        let now = self.now();
        self.process.schedule.begin(SHARD);
        self.process.behind.begin(now, SHARD);
    }

    fn below(&mut self, n: u64) -> u64 {
        self.draw.up_to(n - 1)
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn is_busy(&self) -> bool {
        self.now_us < BUSY_US
    }

    fn come(&mut self, after_us: u64, coming: Coming) {
        self.events += 1;
        self.agenda.insert((self.now_us + after_us, self.events), coming);
    }

    fn now(&self) -> Now {
        let wall_us = (BEGAN_S * S + self.now_us) as i64 + self.offset_us;
        Now { wall_us, mono_us: self.now_us }
    }

    /// The true time, as rows have it.
    fn true_time(&self) -> Millis {
        Millis((BEGAN_S * S + self.now_us) / MS)
    }

    pub(super) fn run(mut self) -> Result<Happened, String> {
        loop {
            self.tell();
            self.note();
            self.poll();
            let now = self.now();
            let wakes = [self.process.schedule.next_wake(now), self.process.behind.next_wake(now)];
            let wake = wakes.into_iter().flatten().min();
            let wake = wake.map(|after| self.now_us + after.max(1));
            let next = self.agenda.first_key_value().map(|((at, _), _)| *at);
            let Some(at) = wake.into_iter().chain(next).min() else { break };
            if at > OVER_US {
                break;
            }
            self.now_us = self.now_us.max(at);
            while let Some(entry) = self.agenda.first_entry()
                && entry.key().0 <= self.now_us
            {
                let coming = entry.remove();
                self.happen(coming)?;
            }
        }
        match self.rows.first_key_value() {
            Some((name, row)) => Err(format!(
                "{name} was lost: it was due at {:?}, and it is {:?}",
                row.due,
                self.true_time()
            )),
            None => Ok(self.happened),
        }
    }

    /// The stream tells what was written; for each of it is asked later.
    fn tell(&mut self) {
        while let Some((noted, is_insert)) = self.stream.get(self.process.told).copied() {
            let (at, now) = (self.process.told, self.now());
            self.process.told += 1;
            let mut answered = Vec::new();
            if self.process.behind.read(now, noted, is_insert, &mut answered) {
                self.process.schedule.told(now, SHARD, noted.name, noted.change);
            }
            self.deal_with(answered);
            let after = if self.is_busy() { self.below(S) } else { MS };
            self.come(after, Coming::Asked { process: self.process.number, at });
        }
    }

    /// Whoever has the mark hears what is dealt with.
    fn deal_with(&mut self, answered: Vec<usize>) {
        for at in answered {
            let (noted, _) = self.stream[at];
            let is_lazy = noted.change == Change::Gone && self.index.contains_key(&noted.name);
            self.happened.deleted_lazily += u32::from(is_lazy);
            self.process.dealt_with.insert(at);
        }
        while self.process.dealt_with.remove(&self.process.mark) {
            self.process.mark += 1;
        }
    }

    /// What is to be noted is, some of it, some time later.
    fn note(&mut self) {
        let Some(changes) = self.process.behind.batch(self.now()) else { return };
        let is_busy = self.is_busy();
        let ok = !is_busy || !self.one_in(6);
        let is_stored = ok || self.one_in(2);
        let after = if is_busy { self.below(3 * S) } else { MS };
        let process = self.process.number;
        self.come(after, Coming::Noted { process, changes, is_stored, ok });
    }

    fn poll(&mut self) {
        let mut wanted = Vec::new();
        self.process.schedule.poll(self.now(), &mut wanted);
        let process = self.process.number;
        for wanted in wanted {
            let after = if self.is_busy() { self.below(2 * S) } else { MS };
            match wanted {
                Wanted::Load { after: behind, limit, .. } => {
                    let mut found: Vec<Entry> = self.index.iter().filter_map(entry).collect();
                    found.sort_unstable();
                    found.retain(|it| behind.is_none_or(|behind| (it.due, it.name) > behind));
                    found.truncate(limit as usize);
                    let page = (!self.is_busy() || !self.one_in(8)).then_some(found);
                    self.come(after, Coming::Loaded { process, page });
                }
                Wanted::Fire { name, time, .. } => {
                    self.process.behind.fires(self.now(), SHARD, name);
                    let read = self.rows.get(&name).copied();
                    self.come(after, Coming::Commit { process, name, time, read });
                }
            }
        }
    }

    fn happen(&mut self, coming: Coming) -> Result<(), String> {
        match coming {
            Coming::Client => self.client(),
            Coming::Asked { process, at } => {
                if process == self.process.number {
                    let (mut answered, (noted, _)) = (Vec::new(), self.stream[at]);
                    self.process.behind.ask(&noted, at, &mut answered);
                    self.deal_with(answered);
                }
            }
            Coming::Noted { process, changes, is_stored, ok } => {
                if is_stored {
                    changes.iter().for_each(|noted| self.index_notes(*noted));
                }
                if process != self.process.number {
                    return Ok(()); // of one that is no more
                }
                self.happened.notes_failed += u32::from(!ok);
                let (now, mut answered) = (self.now(), Vec::new());
                let again = self.process.behind.noted(now, ok, &mut answered);
                for noted in again.into_iter().filter(|_| self.planted != Planted::ToldOnce) {
                    self.process.schedule.told(now, SHARD, noted.name, noted.change);
                }
                self.deal_with(answered);
            }
            Coming::Loaded { process, page } => {
                if process == self.process.number {
                    self.process.schedule.loaded(self.now(), SHARD, page);
                }
            }
            Coming::Commit { process, name, time, read } => {
                return self.commit(process, name, time, read);
            }
            Coming::Answer { process, name, how } => {
                if process == self.process.number {
                    self.fired(name, how);
                }
            }
            Coming::LetGo => {
                self.process.behind.end(SHARD);
                if self.one_in(2) {
                    self.begin();
                }
                let after = 5 * S + self.below(120 * S);
                if self.is_busy() {
                    self.come(after, Coming::LetGo);
                }
            }
            Coming::TakeOver => self.take_over(),
            Coming::Jump => {
                self.happened.jumps += 1;
                let by = 5 * S + self.below(3_600 * S);
                self.offset_us = if self.one_in(3) { -(by as i64) } else { by as i64 };
                // One ahead is put right before it is believed.
                let lasts = 100 * MS + self.below(9 * S);
                self.come(lasts, Coming::JumpBack);
            }
            Coming::JumpBack => {
                self.offset_us = 0;
                if self.is_busy() {
                    let after = 20 * S + self.below(100 * S);
                    self.come(after, Coming::Jump);
                }
            }
        }
        Ok(())
    }

    /// Somebody schedules, cancels or schedules anew.
    fn client(&mut self) {
        let written = self.commit_time();
        // Often due at the same time, and often soon.
        let in_ms = if self.one_in(2) { self.below(24) * 5_000 } else { self.below(12) * 1_000 };
        let due = Millis(self.true_time().0.saturating_sub(5_000) + in_ms);
        let pick = self.below(self.rows.len().max(1) as u64) as usize;
        let known = self.rows.keys().nth(pick).copied();
        let change = match (self.below(8), known) {
            (0, Some(name)) => {
                self.happened.cancelled += 1;
                self.rows.remove(&name);
                (name, Change::Gone, false)
            }
            (1 | 2, Some(name)) => {
                self.happened.rescheduled += 1;
                self.rows.insert(name, Row { due, written });
                (name, Change::Due(due), false)
            }
            _ => {
                self.names += 1;
                let name = Name { id: TxnId(u128::from(self.names)), index: 0 };
                self.rows.insert(name, Row { due, written });
                (name, Change::Due(due), true)
            }
        };
        let (name, change, is_insert) = change;
        self.stream.push((Noted { name, shard: SHARD, written, change }, is_insert));
        if self.is_busy() {
            let after = self.below(2 * S);
            self.come(after, Coming::Client);
        }
    }

    /// When what commits now is written: the true time, and no two the same.
    fn commit_time(&mut self) -> Timestamp {
        let now = (BEGAN_S * S + self.now_us) as i64;
        self.last_written = Timestamp(now.max(self.last_written.0 + 1));
        self.last_written
    }

    fn index_notes(&mut self, noted: Noted) {
        self.ever_noted.insert(noted.name);
        let known = self.index.get(&noted.name).copied();
        if known.is_some_and(|(known, _)| known.written > noted.written) {
            return;
        }
        match (noted.change, known) {
            (Change::Gone, _) => {
                self.index.remove(&noted.name);
            }
            (Change::Due(due), _) => {
                self.index.insert(noted.name, (noted, due));
            }
            (Change::Refused, Some((_, due))) => {
                self.index.insert(noted.name, (noted, due));
            }
            (Change::Refused, None) => {}
        }
    }

    fn commit(
        &mut self,
        process: u64,
        name: Name,
        time: Millis,
        read: Option<Row>,
    ) -> Result<(), String> {
        let is_same = self.rows.get(&name).map(|row| row.written) == read.map(|row| row.written);
        let how = match read {
            None => {
                self.happened.too_late += 1;
                How::Missing
            }
            Some(row) if row.due > time => How::Later(row),
            Some(row) if is_same || self.planted == Planted::Blind => {
                if !self.done.insert(name) {
                    return Err(format!("{name} was done twice"));
                }
                let now = self.true_time();
                if now.0 + STEP_US / MS < row.due.0 {
                    return Err(format!("{name} was done at {now:?}, and is due at {:?}", row.due));
                }
                self.happened.done += 1;
                self.happened.never_noted += u32::from(!self.ever_noted.contains(&name));
                if self.rows.remove(&name).is_none() {
                    return Err(format!("{name} was cancelled, and done"));
                }
                let (written, change) = (self.commit_time(), Change::Gone);
                self.stream.push((Noted { name, shard: SHARD, written, change }, false));
                How::Done
            }
            Some(_) => {
                self.happened.changed_meanwhile += 1;
                How::Again
            }
        };
        let is_lost = self.is_busy() && self.one_in(6);
        self.happened.unanswered += u32::from(is_lost);
        let how = if is_lost { How::Again } else { how };
        let after = if self.is_busy() { self.below(S) } else { MS };
        self.come(after, Coming::Answer { process, name, how });
        Ok(())
    }

    fn fired(&mut self, name: Name, how: How) {
        let (now, mut answered) = (self.now(), Vec::new());
        let Process { behind, schedule, .. } = &mut self.process;
        let ended = match how {
            How::Done => {
                behind.done(SHARD, name, &mut answered);
                Ended::Changed(Change::Gone)
            }
            How::Missing => {
                behind.missing(SHARD, name, &mut answered);
                Ended::Changed(Change::Gone)
            }
            How::Later(Row { due, written }) => {
                let change = Change::Due(due);
                let noted = Noted { name, shard: SHARD, written, change };
                behind.correct(now, noted, &mut answered);
                Ended::Changed(change)
            }
            How::Again => {
                behind.not_done(SHARD, name);
                Ended::Again
            }
        };
        schedule.fired(now, SHARD, name, ended);
        self.deal_with(answered);
    }

    /// Another process goes on from the mark that was stored, which may be behind.
    fn take_over(&mut self) {
        if !self.is_busy() {
            return;
        }
        // A process that starts believes its clock: nobody could tell it better.
        if self.offset_us == 0 {
            self.happened.taken_over += 1;
            let behind = self.below(4) as usize;
            let mark = self.process.mark.saturating_sub(behind);
            self.process = Self::process(self.process.number + 1, mark, self.planted);
            self.begin();
        }
        let after = S + self.below(60 * S);
        self.come(after, Coming::TakeOver);
    }
}

fn entry((name, (noted, due)): (&Name, &(Noted, Millis))) -> Option<Entry> {
    let state = EntryState::Pending;
    let is_pending = noted.change != Change::Refused;
    is_pending.then_some(Entry { due: *due, name: *name, shard: noted.shard, state })
}
