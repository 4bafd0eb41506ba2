//! The schedule in a world that fails at random: rows that are written, rescheduled and deleted, a stream that is
//! told late and again, an index that fails and is behind, firing that takes long and whose answer is lost,
//! processes that take over from each other and die, clocks that jump. The world knows what is so; it judges by
//! that alone: nothing early, nothing doubled, nothing lost.

use std::collections::{BTreeMap, BTreeSet};

use wal_core::{Millis, Now, ShardId, Timestamp, TxnId};

use super::engine::{Ended, Schedule, ScheduleConfig, Wanted};
use super::index::{Change, Entry, EntryState, Noted};
use crate::backoff::Draw;
use crate::outgoing::Name;
use crate::rules::{Rule, Without};
use crate::tests::property::{every_seed, happened_often};

const MS: u64 = 1_000;
const S: u64 = 1_000_000;
const SHARD: ShardId = ShardId(3);
/// How much earlier by the true time is not early: a step of the clock that is no jump.
const STEP_US: u64 = S;
/// Clients write for so long.
const BUSY_US: u64 = 240 * S;
/// Then everything is well, and everything must be over.
const OVER_US: u64 = 1_500 * S;
const SEEDS: u64 = 3_000;
/// The wall clock at the beginning.
const BEGAN_S: u64 = 1_000_000;

/// What is wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Planted {
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
    /// The index has changes now, and who noted them hears of it.
    Noted {
        process: u64,
        until: usize,
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
        ended: Ended,
        correct: Option<Noted>,
    },
    TakeOver,
    Jump,
    JumpBack,
}

/// One process, while it has the shard.
struct Process {
    number: u64,
    schedule: Schedule<Without>,
    /// How far of the stream it was told, and how far of that is in the index.
    told: usize,
    noted: usize,
    is_noting: bool,
}

/// How often what happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Happened {
    done: u32,
    cancelled: u32,
    rescheduled: u32,
    too_late: u32,
    taken_over: u32,
    jumps: u32,
    unanswered: u32,
    notes_failed: u32,
    changed_meanwhile: u32,
}

struct World {
    draw: Draw,
    planted: Planted,
    now_us: u64,
    /// By how much the wall clock is off, microseconds.
    offset_us: i64,
    rows: BTreeMap<Name, Row>,
    stream: Vec<Noted>,
    index: BTreeMap<Name, (Noted, Millis)>,
    /// How far of the stream the index surely is: what was stored of the mark.
    mark: usize,
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
    fn new(seed: u64, planted: Planted) -> Self {
        let mut world = Self {
            draw: Draw::new(seed),
            planted,
            now_us: S,
            offset_us: 0,
            rows: BTreeMap::new(),
            stream: Vec::new(),
            index: BTreeMap::new(),
            mark: 0,
            process: Self::process(1, 0, planted),
            agenda: BTreeMap::new(),
            events: 0,
            names: 0,
            done: BTreeSet::new(),
            happened: Happened::default(),
        };
        world.process.schedule.begin(SHARD);
        world.come(10 * MS, Coming::Client);
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
        Process { number, schedule, told: mark, noted: mark, is_noting: false }
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

    fn run(mut self) -> Result<Happened, String> {
        loop {
            self.tell();
            self.poll();
            let wake = self.process.schedule.next_wake(self.now());
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

    /// The stream tells what was written, some at a time; and what was told is noted, some at a time.
    fn tell(&mut self) {
        while self.process.told < self.stream.len() {
            let noted = self.stream[self.process.told];
            self.process.told += 1;
            self.process.schedule.told(self.now(), SHARD, noted.name, noted.change);
        }
        if self.process.is_noting || self.process.noted == self.process.told {
            return;
        }
        self.process.is_noting = true;
        let until = (self.process.noted + 4).min(self.process.told);
        let mut newest = BTreeMap::new();
        for noted in &self.stream[self.process.noted..until] {
            newest.insert(noted.name, *noted);
        }
        let is_busy = self.is_busy();
        let ok = !is_busy || !self.one_in(6);
        let is_stored = ok || self.one_in(2);
        let after = if is_busy { self.below(3 * S) } else { MS };
        let (process, changes) = (self.process.number, newest.into_values().collect());
        self.come(after, Coming::Noted { process, until, changes, is_stored, ok });
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
                    let read = self.rows.get(&name).copied();
                    self.come(after, Coming::Commit { process, name, time, read });
                }
            }
        }
    }

    fn happen(&mut self, coming: Coming) -> Result<(), String> {
        match coming {
            Coming::Client => self.client(),
            Coming::Noted { process, until, changes, is_stored, ok } => {
                if is_stored {
                    changes.iter().for_each(|noted| self.note(*noted));
                }
                if process != self.process.number {
                    return Ok(()); // of one that is no more
                }
                self.process.is_noting = false;
                if !ok {
                    self.happened.notes_failed += 1;
                    return Ok(());
                }
                self.process.noted = until;
                self.mark = self.mark.max(until);
                if self.planted != Planted::ToldOnce {
                    for noted in changes {
                        self.process.schedule.told(self.now(), SHARD, noted.name, noted.change);
                    }
                }
            }
            Coming::Loaded { process, page } => {
                if process == self.process.number {
                    self.process.schedule.loaded(self.now(), SHARD, page);
                }
            }
            Coming::Commit { process, name, time, read } => {
                return self.commit(process, name, time, read);
            }
            Coming::Answer { process, name, ended, correct } => {
                if let Some(noted) = correct {
                    self.note(noted);
                }
                if process == self.process.number {
                    self.process.schedule.fired(self.now(), SHARD, name, ended);
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
        let written = Timestamp(self.events as i64);
        // Often due at the same time.
        let due = Millis(self.true_time().0.saturating_sub(5_000) + self.below(24) * 5_000);
        let pick = self.below(self.rows.len().max(1) as u64) as usize;
        let known = self.rows.keys().nth(pick).copied();
        match (self.below(8), known) {
            (0, Some(name)) => {
                self.happened.cancelled += 1;
                self.rows.remove(&name);
                self.stream.push(Noted { name, shard: SHARD, written, change: Change::Gone });
            }
            (1 | 2, Some(name)) => {
                self.happened.rescheduled += 1;
                self.rows.insert(name, Row { due, written });
                self.stream.push(Noted { name, shard: SHARD, written, change: Change::Due(due) });
            }
            _ => {
                self.names += 1;
                let name = Name { id: TxnId(u128::from(self.names)), index: 0 };
                self.rows.insert(name, Row { due, written });
                self.stream.push(Noted { name, shard: SHARD, written, change: Change::Due(due) });
            }
        }
        if self.is_busy() {
            let after = self.below(2 * S);
            self.come(after, Coming::Client);
        }
    }

    fn note(&mut self, noted: Noted) {
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
        let corrected = |written, change| Some(Noted { name, shard: SHARD, written, change });
        let is_same = self.rows.get(&name).map(|row| row.written) == read.map(|row| row.written);
        let (ended, correct) = match read {
            None => {
                self.happened.too_late += 1;
                let change = Change::Gone;
                (Ended::Changed(change), corrected(Timestamp(i64::MAX), change))
            }
            Some(row) if row.due > time => {
                let change = Change::Due(row.due);
                (Ended::Changed(change), corrected(row.written, change))
            }
            Some(row) if is_same || self.planted == Planted::Blind => {
                if !self.done.insert(name) {
                    return Err(format!("{name} was done twice"));
                }
                let now = self.true_time();
                if now.0 + STEP_US / MS < row.due.0 {
                    return Err(format!("{name} was done at {now:?}, and is due at {:?}", row.due));
                }
                self.happened.done += 1;
                if self.rows.remove(&name).is_none() {
                    return Err(format!("{name} was cancelled, and done"));
                }
                let (written, change) = (Timestamp(self.events as i64), Change::Gone);
                self.stream.push(Noted { name, shard: SHARD, written, change });
                (Ended::Changed(change), None)
            }
            Some(_) => {
                self.happened.changed_meanwhile += 1;
                (Ended::Again, None)
            }
        };
        let is_lost = self.is_busy() && self.one_in(6);
        let (ended, correct) = if is_lost {
            self.happened.unanswered += 1;
            (Ended::Again, None)
        } else {
            (ended, correct)
        };
        let after = if self.is_busy() { self.below(S) } else { MS };
        self.come(after, Coming::Answer { process, name, ended, correct });
        Ok(())
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
            let mark = self.mark.saturating_sub(behind);
            self.process = Self::process(self.process.number + 1, mark, self.planted);
            self.process.schedule.begin(SHARD);
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

fn run(seed: u64, planted: Planted) -> Result<Happened, String> {
    World::new(seed, planted).run().map_err(|what| format!("seed {seed}: {what}"))
}

#[test]
fn whatever_fails_nothing_is_early_doubled_or_lost() {
    let all = every_seed(SEEDS, |seed| run(seed, Planted::Nothing));
    let often = |name: &str, count: fn(&Happened) -> u32| happened_often(&all, name, count);
    often("done", |happened| happened.done);
    often("cancelled", |happened| happened.cancelled);
    often("rescheduled", |happened| happened.rescheduled);
    often("gone when it was due", |happened| happened.too_late);
    often("taken over", |happened| happened.taken_over);
    often("jumps", |happened| happened.jumps);
    often("unanswered", |happened| happened.unanswered);
    often("notes that failed", |happened| happened.notes_failed);
    often("changed meanwhile", |happened| happened.changed_meanwhile);
}

#[test]
fn every_planted_bug_is_found() {
    let rules = Rule::OF_SCHEDULE.map(Planted::Without);
    for planted in rules.into_iter().chain([Planted::ToldOnce, Planted::Blind]) {
        let found = (0..2_000).find_map(|seed| run(seed, planted).err());
        let found = found.unwrap_or_else(|| panic!("nobody misses anything with {planted:?}"));
        println!("{planted:?}: {found}");
    }
}

#[test]
fn the_same_seed_tells_the_same_story() {
    for seed in 0..20 {
        assert_eq!(run(seed, Planted::Nothing), run(seed, Planted::Nothing));
    }
}

/// Backlog and what is due now take turns.
#[test]
fn a_backlog_does_not_starve_what_is_due_now() {
    let mut schedule = Schedule::new(ScheduleConfig { held: 100, page: 50, in_flight: 4 });
    let at = |s: u64| Now { wall_us: (1_000 * S + s * S) as i64, mono_us: s * S };
    let name = |n: u128| Name { id: TxnId(n), index: 0 };
    schedule.begin(SHARD);
    let mut wanted = Vec::new();
    schedule.poll(at(0), &mut wanted);
    assert!(matches!(wanted[..], [Wanted::Load { .. }]), "{wanted:?}");
    let entry = |n: u64| Entry {
        due: Millis(n),
        name: name(n.into()),
        shard: SHARD,
        state: EntryState::Pending,
    };
    schedule.loaded(at(0), SHARD, Some((0..50).map(entry).collect()));
    // Far behind what is loaded, and due now.
    for n in 1_000..1_002 {
        schedule.told(at(1), SHARD, name(n), Change::Due(Millis(1_001_000)));
    }
    wanted.clear();
    schedule.poll(at(1), &mut wanted);
    let fired: Vec<u128> = wanted
        .iter()
        .filter_map(|it| match it {
            Wanted::Fire { name, .. } => Some(name.id.0),
            Wanted::Load { .. } => None,
        })
        .collect();
    assert_eq!(fired, [0, 1_001, 1, 1_000]);
}
