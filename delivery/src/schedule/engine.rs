//! What is due when, of the shards that this process has, in bounded memory. No I/O.
//!
//! The index has everything. Here is, of each shard, what is due first: everything up to a place in the order of
//! the index (`through`), and what was told lately and is due soon. More is loaded when that runs low. Where that
//! place lies in the past, there is a backlog, and what is due now is loaded beside it (up to `ahead`).
//!
//! ```text
//!   index  ───────────────────────────────────────────────────────────▶ due
//!          │◀── all of it is here ──▶│      now │◀─ here too ─▶│      ▲
//!                                 through                    ahead    └ told lately, due soon: here too
//! ```
//!
//! Nothing but `through` says that something need not be loaded: whatever else is here is here only so that it
//! is not late.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use wal_core::{Millis, Now, ShardId};

use super::clock::Clock;
use super::index::{Change, Entry};
use crate::outgoing::Name;
use crate::rules::{Rule, Rules, Strict};

/// What is due within so many milliseconds is worth having here.
const SOON_MS: u64 = 10_000;
/// While there is a backlog, what is due within so many milliseconds is loaded beside it; again when half of that
/// is over.
const AHEAD_MS: u64 = 2_000;
/// After a page could not be loaded, it is asked for again so much later, microseconds.
const LOAD_AGAIN_US: u64 = 1_000_000;
/// The pause before what could not be done is tried again, microseconds; doubled each time.
const FIRST_PAUSE_US: u64 = 50_000;
/// The longest such pause.
const LONGEST_PAUSE_US: u64 = 10_000_000;

/// Bounds of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScheduleConfig {
    /// Parts of each shard that are here at most.
    pub held: usize,
    /// Parts of a page of the index: a quarter of `held` at most. A page is loaded when fewer are here; half of `held`
    /// is room for what is told and due soon, which a backlog must not push out.
    pub page: u32,
    /// What may be under way at once.
    pub in_flight: usize,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Do a part that is due: look at its row first.
    Fire {
        /// Which.
        name: Name,
        /// The shard of its row.
        shard: ShardId,
        /// When it is due, as far as is known.
        due: Millis,
        /// What time it is: what is due later is not done.
        time: Millis,
    },
    /// Load a page of what is pending in a shard.
    Load {
        /// The shard.
        shard: ShardId,
        /// Behind this one.
        after: Option<(Millis, Name)>,
        /// At most so many.
        limit: u32,
    },
}

/// How firing ended, as far as the schedule is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It is done, or its row says something else than was thought.
    Changed(Change),
    /// Nothing is known yet.
    Again,
}

/// How far a shard is in the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Through {
    /// Nothing was loaded.
    Nothing,
    /// Everything up to this one.
    Entry(Millis, Name),
    /// Everything.
    All,
}

/// What is known of one part.
#[derive(Clone, Copy, Debug)]
enum State {
    /// It waits for its time.
    Waiting(Millis),
    /// It is being done. `told`: for when it was scheduled meanwhile, which whoever does it may not have seen.
    Firing { due: Millis, tries: u32, told: Option<Millis> },
    /// It could not be done, and is tried again at this time of the monotonic clock.
    Resting { due: Millis, until_us: u64, tries: u32 },
}

/// What is being loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loading {
    /// What comes behind `through`.
    First,
    /// What is due about now.
    Ahead,
}

#[derive(Debug)]
struct Shard {
    through: Through,
    /// Behind a backlog: what is due up to this place was loaded, from when the backlog was noticed.
    ahead: Option<(Millis, Name)>,
    loading: Option<Loading>,
    /// The first that went since a page is being loaded, which may lack it and end beyond it.
    evicted: Option<(Millis, Name)>,
    /// Nothing is loaded before this time.
    load_after_us: u64,
    parts: BTreeMap<Name, State>,
    /// Those that wait, by time.
    waiting: BTreeSet<(Millis, Name)>,
}

impl Default for Shard {
    fn default() -> Self {
        Self {
            through: Through::Nothing,
            ahead: None,
            loading: None,
            evicted: None,
            load_after_us: 0,
            parts: BTreeMap::new(),
            waiting: BTreeSet::new(),
        }
    }
}

impl Shard {
    /// Lets a part wait, or wait for another time. One that is being done is left alone until whoever does it has
    /// looked at the row, and says what it found.
    fn wait(&mut self, name: Name, due: Millis) {
        match self.parts.get_mut(&name) {
            Some(State::Firing { told, .. }) => {
                *told = Some(due);
                return;
            }
            Some(State::Waiting(old)) => {
                self.waiting.remove(&(*old, name));
            }
            Some(State::Resting { .. }) | None => {}
        }
        self.parts.insert(name, State::Waiting(due));
        self.waiting.insert((due, name));
    }

    /// What is to be loaded next, and in how many microseconds: nothing while something is, nor while enough is
    /// here.
    fn next_load(&self, now: Now, time: Millis, config: ScheduleConfig) -> Option<(u64, Loading)> {
        if self.loading.is_some() {
            return None;
        }
        let may_us = self.load_after_us.saturating_sub(now.mono_us);
        let ahead = self.ahead_of_backlog(time).filter(|_| {
            let limit = Loading::Ahead.limit(config) as usize;
            self.parts.len().saturating_add(limit) <= config.held
        });
        let ahead_us = ahead.map(|(due, _)| until_us(time, earlier(due, AHEAD_MS / 2)).max(may_us));
        let is_low = self.parts.len() < config.page as usize;
        let first_us = match self.through {
            Through::Entry(due, _) if is_low => {
                Some(until_us(time, earlier(due, SOON_MS)).max(may_us))
            }
            Through::Nothing if is_low => Some(may_us),
            Through::Nothing | Through::Entry(..) | Through::All => None,
        };
        let ahead = ahead_us.map(|us| (us, Loading::Ahead));
        let first = first_us.map(|us| (us, Loading::First));
        ahead.into_iter().chain(first).min_by_key(|(us, _)| *us)
    }

    /// If there is a backlog: the place up to which what is due now was loaded.
    fn ahead_of_backlog(&self, time: Millis) -> Option<(Millis, Name)> {
        let Through::Entry(due, _) = self.through else { return None };
        let now = (time, Name::FIRST);
        // What fell behind by itself has become part of the backlog.
        let is_near = |ahead: &(Millis, Name)| ahead.0 >= earlier(time, SOON_MS);
        (due < time).then(|| self.ahead.filter(is_near).unwrap_or(now))
    }

    /// Lets what was loaded wait. What was told is newer.
    fn add(&mut self, page: Vec<Entry>) {
        for entry in page {
            if !self.parts.contains_key(&entry.name) {
                self.wait(entry.name, entry.due);
            }
        }
    }

    fn forget(&mut self, name: Name) {
        match self.parts.get(&name) {
            Some(State::Firing { .. }) | None => return,
            Some(State::Waiting(due)) => {
                self.waiting.remove(&(*due, name));
            }
            Some(State::Resting { .. }) => {}
        }
        self.parts.remove(&name);
    }
}

impl Loading {
    /// Parts of a page.
    fn limit(self, config: ScheduleConfig) -> u32 {
        match self {
            Self::First => config.page,
            Self::Ahead => (config.page / 4).max(1),
        }
    }
}

const fn earlier(time: Millis, by_ms: u64) -> Millis {
    Millis(time.0.saturating_sub(by_ms))
}

const fn later(time: Millis, by_ms: u64) -> Millis {
    Millis(time.0.saturating_add(by_ms))
}

/// How long it is until then, microseconds.
const fn until_us(time: Millis, then: Millis) -> u64 {
    then.0.saturating_sub(time.0).saturating_mul(1_000)
}

/// How a schedule stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScheduleStatus {
    /// Parts that are in memory.
    pub held: usize,
    /// Of those, being done.
    pub firing: usize,
    /// When the first of them is due, if any.
    pub first_due: Option<Millis>,
}

/// What is due when. See the module.
#[derive(Debug)]
pub struct Schedule<R: Rules = Strict> {
    config: ScheduleConfig,
    rules: R,
    clock: Clock,
    shards: BTreeMap<ShardId, Shard>,
    firing: usize,
    /// Those that rest, by when they are tried again.
    resting: BTreeSet<(u64, ShardId, Name)>,
    /// Whether the last that was done was the oldest of all.
    oldest_was_last: bool,
}

impl Schedule {
    /// An empty one.
    pub fn new(config: ScheduleConfig) -> Self {
        Self::with_rules(config, Strict)
    }
}

impl<R: Rules> Schedule<R> {
    /// One that keeps these rules.
    pub fn with_rules(config: ScheduleConfig, rules: R) -> Self {
        Self {
            config,
            rules,
            clock: Clock::default(),
            shards: BTreeMap::new(),
            firing: 0,
            resting: BTreeSet::new(),
            oldest_was_last: false,
        }
    }

    /// This process has the shard: what is due in it is loaded.
    pub fn begin(&mut self, shard: ShardId) {
        self.shards.entry(shard).or_default();
    }

    /// It does not have it any more. What is being done is done to the end.
    pub fn end(&mut self, shard: ShardId) {
        if let Some(ended) = self.shards.remove(&shard) {
            let of_it = |state: &&State| matches!(state, State::Firing { .. });
            self.firing -= ended.parts.values().filter(of_it).count();
        }
        self.resting.retain(|(_, of, _)| *of != shard);
    }

    /// What was written to the row of a part. To be told before the index knows it, so that it is done in time
    /// even if the index is away, **and again after**: a page that was loaded meanwhile may not have had it.
    pub fn told(&mut self, now: Now, shard: ShardId, name: Name, change: Change) {
        let soon = later(self.clock.read(now), SOON_MS);
        let of_it = self.shards.entry(shard).or_default();
        let Change::Due(due) = change else { return of_it.forget(name) };
        let is_covered = Through::Entry(due, name) <= of_it.through;
        // What is loaded right now may lack it, and end beyond it.
        if !is_covered && of_it.loading.is_none() && due > soon {
            return of_it.forget(name);
        }
        of_it.wait(name, due);
        self.evict(shard, soon);
    }

    /// A page of the index, in its order. `None` if it could not be loaded.
    pub fn loaded(&mut self, now: Now, shard: ShardId, page: Option<Vec<Entry>>) {
        let time = self.clock.read(now);
        let soon = later(time, SOON_MS);
        let Some(of_it) = self.shards.get_mut(&shard) else { return };
        let Some(loading) = of_it.loading.take() else { return };
        let evicted = of_it.evicted.take();
        let Some(mut page) = page else {
            of_it.load_after_us = now.mono_us.saturating_add(LOAD_AGAIN_US);
            return;
        };
        let is_rest = page.len() < loading.limit(self.config) as usize;
        if loading == Loading::Ahead {
            let horizon = later(time, AHEAD_MS);
            let last = page.last().filter(|last| !is_rest && last.due <= horizon);
            of_it.ahead = Some(last.map_or((horizon, Name::FIRST), |last| (last.due, last.name)));
            page.retain(|it| it.due <= horizon);
            of_it.add(page);
            return self.evict(shard, soon);
        }
        let is_all = is_rest && evicted.is_none();
        page.retain(|it| evicted.is_none_or(|evicted| (it.due, it.name) < evicted));
        let through = match page.last() {
            _ if is_all => Through::All,
            Some(last) => Through::Entry(last.due, last.name),
            None => Through::Nothing,
        };
        of_it.through = of_it.through.max(through);
        of_it.add(page);
        self.evict(shard, soon);
    }

    /// Keeps a shard within its bound: what is due last goes, and has to be loaded again. What is not due soon takes
    /// up half of the room at most, however much of it was told.
    fn evict(&mut self, shard: ShardId, soon: Millis) {
        let held = self.config.held;
        let keeps_through = self.rules.holds(Rule::EvictedIsLoadedAgain);
        let Some(of_it) = self.shards.get_mut(&shard) else { return };
        while of_it.parts.len() > held / 2 {
            let is_full = of_it.parts.len() > held;
            let may_go = |(due, _): &(Millis, Name)| is_full || *due > soon;
            let Some((due, name)) = of_it.waiting.last().copied().filter(may_go) else { return };
            of_it.waiting.remove(&(due, name));
            of_it.parts.remove(&name);
            if keeps_through && of_it.loading.is_some() {
                let first = of_it.evicted.map_or((due, name), |first| first.min((due, name)));
                of_it.evicted = Some(first);
            }
            if keeps_through && Through::Entry(due, name) <= of_it.through {
                of_it.through = of_it
                    .waiting
                    .last()
                    .map_or(Through::Nothing, |(due, name)| Through::Entry(*due, *name));
            }
        }
    }

    /// How firing ended.
    pub fn fired(&mut self, now: Now, shard: ShardId, name: Name, ended: Ended) {
        let Some(of_it) = self.shards.get_mut(&shard) else { return };
        let Some(State::Firing { due, tries, told }) = of_it.parts.get(&name).copied() else {
            return;
        };
        self.firing -= 1;
        of_it.parts.remove(&name);
        match (ended, told) {
            (Ended::Changed(Change::Gone), _) => {} // for ever
            // Which of the two is newer is not known: looking too early does no harm.
            (Ended::Changed(Change::Due(due)), Some(told)) => {
                self.told(now, shard, name, Change::Due(due.min(told)));
            }
            (Ended::Changed(Change::Refused), Some(told)) => {
                self.told(now, shard, name, Change::Due(told));
            }
            (Ended::Changed(change), None) => self.told(now, shard, name, change),
            (Ended::Again, _) => {
                let pause = (FIRST_PAUSE_US << tries.min(16)).min(LONGEST_PAUSE_US);
                let until_us = now.mono_us.saturating_add(pause);
                of_it.parts.insert(name, State::Resting { due, until_us, tries: tries + 1 });
                self.resting.insert((until_us, shard, name));
            }
        }
    }

    /// What is to be done now. Everything that is asked for is answered by [`Self::fired`] or [`Self::loaded`].
    pub fn poll(&mut self, now: Now, out: &mut Vec<Wanted>) {
        let time = self.time(now);
        self.load(now, time, out);
        while self.firing < self.config.in_flight {
            let Some(fire) = self.rested(now, time).or_else(|| self.next_due(time)) else { return };
            self.firing += 1;
            out.push(fire);
        }
    }

    fn time(&mut self, now: Now) -> Millis {
        let guarded = self.clock.read(now);
        if self.rules.holds(Rule::JumpsAreDoubted) { guarded } else { now.millis() }
    }

    fn load(&mut self, now: Now, time: Millis, out: &mut Vec<Wanted>) {
        for (shard, of_it) in &mut self.shards {
            let Some((0, loading)) = of_it.next_load(now, time, self.config) else { continue };
            let after = match (loading, of_it.through) {
                (Loading::Ahead, _) => of_it.ahead_of_backlog(time),
                (Loading::First, Through::Entry(due, name)) => Some((due, name)),
                (Loading::First, Through::Nothing | Through::All) => None,
            };
            of_it.loading = Some(loading);
            out.push(Wanted::Load { shard: *shard, after, limit: loading.limit(self.config) });
        }
    }

    /// One that has rested, if any.
    fn rested(&mut self, now: Now, time: Millis) -> Option<Wanted> {
        loop {
            let first = self.resting.first().copied()?;
            let (until_us, shard, name) = first;
            if until_us > now.mono_us {
                return None;
            }
            self.resting.remove(&first);
            let Some(of_it) = self.shards.get_mut(&shard) else { continue };
            if let Some(State::Resting { due, until_us: until, tries }) =
                of_it.parts.get(&name).copied()
                && until == until_us
            {
                of_it.parts.insert(name, State::Firing { due, tries, told: None });
                return Some(Wanted::Fire { name, shard, due, time });
            }
        }
    }

    /// The next that is due: in turn the oldest of all, so that a backlog drains, and the youngest that is
    /// here, so that what is due now does not wait behind it.
    fn next_due(&mut self, time: Millis) -> Option<Wanted> {
        let upper = (Millis(time.0 + 1), Name::FIRST);
        let oldest = !self.oldest_was_last;
        let due = self.shards.iter().filter_map(|(shard, of_it)| {
            let (due, name) = if oldest {
                of_it.waiting.first().filter(|first| **first < upper)
            } else {
                of_it.waiting.range((Bound::Unbounded, Bound::Excluded(upper))).next_back()
            }?;
            Some((*due, *name, *shard))
        });
        let (due, name, shard) = if oldest { due.min() } else { due.max() }?;
        self.oldest_was_last = oldest;
        let of_it = self.shards.get_mut(&shard)?;
        of_it.waiting.remove(&(due, name));
        of_it.parts.insert(name, State::Firing { due, tries: 0, told: None });
        Some(Wanted::Fire { name, shard, due, time })
    }

    /// When [`Self::poll`] should be called again although nothing has happened: in so many microseconds.
    pub fn next_wake(&mut self, now: Now) -> Option<u64> {
        let time = self.time(now);
        let mut wakes: Vec<u64> = Vec::new();
        for of_it in self.shards.values() {
            if self.firing < self.config.in_flight {
                wakes.extend(of_it.waiting.first().map(|(due, _)| until_us(time, *due)));
            }
            wakes.extend(of_it.next_load(now, time, self.config).map(|(us, _)| us));
        }
        if self.firing < self.config.in_flight {
            wakes.extend(self.resting.first().map(|it| it.0.saturating_sub(now.mono_us)));
        }
        wakes.extend(self.clock.believes_at().map(|at| at.saturating_sub(now.mono_us)));
        wakes.into_iter().min()
    }

    /// How it stands.
    pub fn status(&self) -> ScheduleStatus {
        let first = self.shards.values().filter_map(|of_it| of_it.waiting.first());
        ScheduleStatus {
            held: self.shards.values().map(|of_it| of_it.parts.len()).sum(),
            firing: self.firing,
            first_due: first.map(|(due, _)| *due).min(),
        }
    }
}
