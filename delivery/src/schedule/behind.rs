//! Which changes the index is given, and when: a write-behind cache before it. No I/O.
//!
//! A change of a row is **read** of the stream, in its order, and kept until the index has it. Whoever has the
//! shard's mark **asks** for each, and is answered once it is dealt with: the mark stops before what is not.
//!
//! ```text
//!   read ──▶ held ──────────── done meanwhile ───────────▶ ∙  never noted
//!     │       │ its time is long over, or no room
//!     ▼       ▼
//!     queue ────── batch ──▶ the index ──▶ ∙
//!     ▲
//!   lazy: deletions of what was done here, answered already
//! ```
//!
//! * What is due soon is **held**: it is in the schedule, and will most likely be done before the index need know of
//!   it. Then neither it nor its deletion is ever noted.
//! * A change that a later one **replaces**, which was read too, is dealt with: the later one holds the mark.
//! * The deletion of what was done here holds no mark: it is noted **lazily**, behind everything else, so that a
//!   backlog that is being done holds nothing up. If it is lost, the index has something that is overdue: the
//!   next that loads it finds no row, and takes it out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use wal_core::{Now, ShardId, Timestamp};

use super::index::{Change, Noted};
use crate::outgoing::Name;
use crate::rules::{Rule, Rules, Strict};

const MS: u64 = 1_000;
const S: u64 = 1_000_000;

/// What is due within so long is held, microseconds.
const SOON_US: u64 = 5 * S;
/// For so long after it is due, at most.
const GRACE_US: u64 = 2 * S;
/// What was scheduled within so long after the shard was claimed may be in the index already, by the clocks of
/// others: whoever had the shard before may have noted it.
const SKEW_US: i64 = 2 * S as i64;
/// Changes that are noted together.
const BATCH: usize = 1_000;
/// Lazy deletions that wait at most: what is beyond holds the mark as any other change.
const LAZY: usize = 1 << 19;
/// Parts of a shard that were done, and whose deletion is still to be read, at most.
const DONE: usize = 1 << 16;
/// The pause after the index has failed, doubled each time up to the longest.
const FIRST_PAUSE_US: u64 = 100 * MS;
const LONGEST_PAUSE_US: u64 = 5 * S;

/// A change that the index does not have.
#[derive(Debug)]
struct Unnoted<T> {
    written: Timestamp,
    change: Change,
    /// Who asked.
    who: Option<T>,
}

/// Where a part is whose changes the index does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// It is most likely done before this time of the monotonic clock.
    Held { until_us: u64 },
    /// It is noted next.
    Queued,
    /// It is being noted.
    Noting,
}

/// A part of which the index does not have everything.
#[derive(Debug)]
struct Dirty<T> {
    /// The index has nothing of it for sure.
    is_new: bool,
    at: At,
    /// In order: the last, and before a refusal what it refuses, since that says nothing to an index without it.
    changes: VecDeque<Unnoted<T>>,
}

impl<T> Dirty<T> {
    fn answer_all(&mut self, out: &mut Vec<T>) {
        out.extend(self.changes.drain(..).filter_map(|it| it.who));
    }
}

/// A part that is done here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    /// Right now; and what the stream has told of it since that began.
    Now(Option<Change>),
    /// It was, and the stream has still to tell. `is_noted`: the index has it.
    Done { is_noted: bool },
}

#[derive(Debug)]
struct Shard<T> {
    /// What was scheduled later than this is new to the index.
    new_since: Timestamp,
    /// Whether something may be held.
    holds: bool,
    held: usize,
    dirty: BTreeMap<Name, Dirty<T>>,
    doing: BTreeMap<Name, Doing>,
}

/// What the index is being given.
#[derive(Debug)]
struct Batch {
    dirty: Vec<Noted>,
    lazy: Vec<Noted>,
}

/// Which changes the index is given, and when. See the module. `T` is who asks.
#[derive(Debug)]
pub struct WriteBehind<T, R: Rules = Strict> {
    rules: R,
    /// Parts of each shard that are held at most.
    most_held: usize,
    shards: BTreeMap<ShardId, Shard<T>>,
    /// When what is held is held no more.
    held_until: BTreeSet<(u64, ShardId, Name)>,
    queue: VecDeque<(ShardId, Name)>,
    lazy: VecDeque<Noted>,
    noting: Option<Batch>,
    /// Nothing is noted before this time.
    note_after_us: u64,
    /// Batches that failed in a row.
    failures: u32,
}

impl<T> WriteBehind<T> {
    /// An empty one, which holds at most so many parts of each shard.
    pub fn new(most_held: usize) -> Self {
        Self::with_rules(most_held, Strict)
    }
}

impl<T, R: Rules> WriteBehind<T, R> {
    /// One that keeps these rules.
    pub fn with_rules(most_held: usize, rules: R) -> Self {
        Self {
            rules,
            most_held,
            shards: BTreeMap::new(),
            held_until: BTreeSet::new(),
            queue: VecDeque::new(),
            lazy: VecDeque::new(),
            noting: None,
            note_after_us: 0,
            failures: 0,
        }
    }

    /// This process has the shard, and does what is due in it: from now on something may be held.
    pub fn begin(&mut self, now: Now, shard: ShardId) {
        let of_it = self.shard(now, shard);
        of_it.holds = true;
        of_it.new_since = new_since(now);
    }

    /// It is to be let go, or was: nothing of it is held any more. What was read is noted still.
    pub fn end(&mut self, shard: ShardId) {
        let Some(of_it) = self.shards.get_mut(&shard) else { return };
        of_it.holds = false;
        of_it.held = 0;
        of_it.doing.retain(|_, doing| matches!(doing, Doing::Now(_)));
        let held = self.held_until.extract_if(.., |(_, of, _)| *of == shard);
        for (_, _, name) in held.collect::<Vec<_>>() {
            self.enqueue(shard, name);
        }
    }

    /// The same of all shards.
    pub fn end_all(&mut self) {
        for shard in self.shards.keys().copied().collect::<Vec<_>>() {
            self.end(shard);
        }
    }

    /// A change was read of the stream. `is_insert`: it is the first of its name. Who asked for
    /// what is dealt with by that is put into `out`. Says whether nothing newer is known.
    pub fn read(&mut self, now: Now, noted: Noted, is_insert: bool, out: &mut Vec<T>) -> bool {
        let Noted { shard, name, written, change } = noted;
        if change == Change::Gone {
            self.deleted(now, noted, out);
            return true;
        }
        let of_it = self.shard(now, shard);
        match of_it.doing.get_mut(&name) {
            Some(Doing::Done { .. }) => return false,
            Some(Doing::Now(told)) => *told = Some(change),
            None => {}
        }
        let is_new = is_insert && written > of_it.new_since;
        let may_hold = of_it.holds;
        let dirty = of_it.dirty.entry(name).or_insert_with(|| Dirty {
            is_new,
            at: At::Noting, // until it is placed below
            changes: VecDeque::new(),
        });
        match dirty.changes.back() {
            Some(known) if known.written >= written => return known.written == written,
            Some(_) | None => {}
        }
        let is_first = dirty.changes.is_empty();
        if change != Change::Refused {
            dirty.answer_all(out);
        }
        dirty.changes.push_back(Unnoted { written, change, who: None });
        let until_us = match change {
            Change::Due(due) if may_hold => held_until(now, due.0.saturating_mul(MS)),
            Change::Due(_) | Change::Refused | Change::Gone => None,
        };
        match dirty.at {
            At::Held { until_us: old } => {
                self.let_go(shard, name, old);
                self.place(shard, name, until_us);
            }
            At::Noting if is_first => self.place(shard, name, until_us),
            At::Queued | At::Noting => {}
        }
        true
    }

    /// The stream tells that a row is deleted.
    fn deleted(&mut self, now: Now, noted: Noted, out: &mut Vec<T>) {
        let Noted { shard, name, written, change } = noted;
        let has_room = self.lazy.len() < LAZY;
        let of_it = self.shard(now, shard);
        if let Some(dirty) = of_it.dirty.get_mut(&name) {
            let (is_new, at) = (dirty.is_new, dirty.at);
            if dirty.changes.back().is_some_and(|known| known.written < written) {
                dirty.answer_all(out);
                dirty.changes.push_back(Unnoted { written, change, who: None });
            }
            if let Some(Doing::Now(told)) = of_it.doing.get_mut(&name) {
                *told = Some(change);
            }
            match at {
                _ if is_new => self.forget(shard, name, out),
                At::Held { until_us } => {
                    self.let_go(shard, name, until_us);
                    self.enqueue(shard, name);
                }
                At::Queued | At::Noting => {}
            }
            return;
        }
        let is_lazy = match of_it.doing.get_mut(&name) {
            // By us, or by somebody else just before: what is being done is due.
            Some(Doing::Now(told)) => {
                *told = Some(change);
                has_room
            }
            Some(Doing::Done { is_noted }) => {
                let is_noted = *is_noted;
                of_it.doing.remove(&name);
                if !is_noted {
                    return;
                }
                has_room
            }
            None => false,
        };
        if is_lazy {
            self.lazy.push_back(noted);
            return;
        }
        let changes = VecDeque::from([Unnoted { written, change, who: None }]);
        of_it.dirty.insert(name, Dirty { is_new: false, at: At::Queued, changes });
        self.queue.push_back((shard, name));
    }

    /// Somebody asks to hear when a change is dealt with, which was read. Who hears it at once is put into `out`.
    pub fn ask(&mut self, noted: &Noted, who: T, out: &mut Vec<T>) {
        let of_it = self.shards.get_mut(&noted.shard);
        let dirty = of_it.and_then(|of_it| of_it.dirty.get_mut(&noted.name));
        let Some(dirty) = dirty else { return out.push(who) };
        let passes = matches!(dirty.at, At::Held { .. }) && !self.rules.holds(Rule::HeldHoldsMark);
        match dirty.changes.iter_mut().find(|it| it.written == noted.written) {
            Some(unnoted) if !passes => unnoted.who = Some(who),
            Some(_) | None => out.push(who),
        }
    }

    /// A part is being done.
    pub fn fires(&mut self, now: Now, shard: ShardId, name: Name) {
        self.shard(now, shard).doing.insert(name, Doing::Now(None));
    }

    /// It is not known whether it was, or could not be.
    pub fn not_done(&mut self, shard: ShardId, name: Name) {
        self.told_meanwhile(shard, name);
    }

    /// Its row says something else than was thought. If the stream has told of it meanwhile, what the row said may
    /// be old: the stream tells the index.
    pub fn correct(&mut self, now: Now, noted: Noted, out: &mut Vec<T>) {
        if self.told_meanwhile(noted.shard, noted.name).is_none() {
            self.read(now, noted, false, out);
        }
    }

    /// It was done, so its row is deleted: the stream tells of that, if it has not.
    pub fn done(&mut self, shard: ShardId, name: Name, out: &mut Vec<T>) {
        if self.told_meanwhile(shard, name) == Some(Change::Gone) {
            return;
        }
        let Some(of_it) = self.shards.get_mut(&shard) else { return };
        let is_noted = match of_it.dirty.get(&name) {
            None => true,
            Some(dirty) if dirty.is_new => false,
            // What the index has is not what was done: its deletion holds the mark.
            Some(_) => return,
        };
        if of_it.holds && of_it.doing.len() < DONE {
            of_it.doing.insert(name, Doing::Done { is_noted });
        }
        if !is_noted {
            self.forget(shard, name, out);
        }
    }

    /// Its row was not there. The index may have it still, or again: then nobody else takes it out.
    pub fn missing(&mut self, shard: ShardId, name: Name, out: &mut Vec<T>) {
        if self.told_meanwhile(shard, name) == Some(Change::Gone) {
            return;
        }
        let of_it = self.shards.get(&shard);
        match of_it.and_then(|of_it| of_it.dirty.get(&name)) {
            Some(dirty) if dirty.is_new => self.forget(shard, name, out),
            // The stream tells of it.
            Some(_) => {}
            None if self.lazy.len() < LAZY => {
                let (written, change) = (Timestamp(i64::MAX), Change::Gone);
                self.lazy.push_back(Noted { name, shard, written, change });
            }
            None => {} // it is found again
        }
    }

    /// What the index is to be given now, of each name one change. It is answered by [`Self::noted`].
    pub fn batch(&mut self, now: Now) -> Option<Vec<Noted>> {
        while let Some(&(until_us, shard, name)) = self.held_until.first()
            && until_us <= now.mono_us
        {
            self.let_go(shard, name, until_us);
            self.enqueue(shard, name);
        }
        if self.noting.is_some() || now.mono_us < self.note_after_us {
            return None;
        }
        let (mut dirty, mut names) = (Vec::new(), BTreeSet::new());
        while dirty.len() < BATCH
            && let Some((shard, name)) = self.queue.pop_front()
        {
            let Some(of_it) = self.shards.get_mut(&shard) else { continue };
            let Some(it) = of_it.dirty.get_mut(&name).filter(|it| it.at == At::Queued) else {
                continue; // it was done before it was its turn
            };
            let Some(first) = it.changes.front() else { continue };
            (it.at, it.is_new) = (At::Noting, false);
            dirty.push(Noted { name, shard, written: first.written, change: first.change });
            names.insert(name);
        }
        let mut lazy = Vec::new();
        while dirty.len() + lazy.len() < BATCH
            && let Some(noted) = self.lazy.pop_front_if(|noted| names.insert(noted.name))
        {
            lazy.push(noted);
        }
        let changes: Vec<Noted> = dirty.iter().chain(&lazy).copied().collect();
        if changes.is_empty() {
            return None;
        }
        self.noting = Some(Batch { dirty, lazy });
        Some(changes)
    }

    /// The index has it, or not for sure. Gives what is to be told to the schedule **again**: a page that was loaded
    /// meanwhile may not have had it.
    pub fn noted(&mut self, now: Now, ok: bool, out: &mut Vec<T>) -> Vec<Noted> {
        let mut again = Vec::new();
        let Some(Batch { dirty, lazy }) = self.noting.take() else { return again };
        if !ok {
            let pause = (FIRST_PAUSE_US << self.failures.min(16)).min(LONGEST_PAUSE_US);
            self.note_after_us = now.mono_us.saturating_add(pause);
            self.failures += 1;
            for noted in dirty.iter().rev() {
                self.set_queued(noted.shard, noted.name);
                self.queue.push_front((noted.shard, noted.name));
            }
            lazy.into_iter().rev().for_each(|noted| self.lazy.push_front(noted));
            return again;
        }
        self.failures = 0;
        for noted in dirty {
            let Noted { shard, name, written, .. } = noted;
            let Some(of_it) = self.shards.get_mut(&shard) else { continue };
            let Some(it) = of_it.dirty.get_mut(&name) else { continue };
            while let Some(known) = it.changes.pop_front_if(|it| it.written <= written) {
                out.extend(known.who);
                if it.changes.is_empty() {
                    again.push(noted);
                }
            }
            if it.changes.is_empty() {
                of_it.dirty.remove(&name);
            } else {
                self.enqueue(shard, name);
            }
        }
        again
    }

    /// When [`Self::batch`] should be called again although nothing has happened: in so many microseconds.
    pub fn next_wake(&self, now: Now) -> Option<u64> {
        let held = self.held_until.first().map(|(until_us, ..)| *until_us);
        let is_waiting = !self.queue.is_empty() || !self.lazy.is_empty();
        let note = (is_waiting && self.noting.is_none()).then_some(self.note_after_us);
        held.into_iter().chain(note).min().map(|at| at.saturating_sub(now.mono_us))
    }

    /// A part is not being done any more: what the stream has told of it since that began.
    fn told_meanwhile(&mut self, shard: ShardId, name: Name) -> Option<Change> {
        match self.shards.get_mut(&shard)?.doing.remove(&name)? {
            Doing::Now(told) => told,
            Doing::Done { .. } => None,
        }
    }

    fn shard(&mut self, now: Now, shard: ShardId) -> &mut Shard<T> {
        self.shards.entry(shard).or_insert_with(|| Shard {
            new_since: new_since(now),
            holds: false,
            held: 0,
            dirty: BTreeMap::new(),
            doing: BTreeMap::new(),
        })
    }

    /// Holds a part until then, if there is room; otherwise it is noted next.
    fn place(&mut self, shard: ShardId, name: Name, until_us: Option<u64>) {
        let most = self.most_held;
        let Some(of_it) = self.shards.get_mut(&shard) else { return };
        match until_us {
            Some(until_us) if of_it.held < most => {
                let Some(dirty) = of_it.dirty.get_mut(&name) else { return };
                dirty.at = At::Held { until_us };
                of_it.held += 1;
                self.held_until.insert((until_us, shard, name));
            }
            Some(_) | None => self.enqueue(shard, name),
        }
    }

    /// Holds it no more.
    fn let_go(&mut self, shard: ShardId, name: Name, until_us: u64) {
        if self.held_until.remove(&(until_us, shard, name))
            && let Some(of_it) = self.shards.get_mut(&shard)
        {
            of_it.held -= 1;
        }
    }

    fn set_queued(&mut self, shard: ShardId, name: Name) {
        let of_it = self.shards.get_mut(&shard);
        if let Some(dirty) = of_it.and_then(|of_it| of_it.dirty.get_mut(&name)) {
            dirty.at = At::Queued;
        }
    }

    fn enqueue(&mut self, shard: ShardId, name: Name) {
        self.set_queued(shard, name);
        self.queue.push_back((shard, name));
    }

    /// The index need not know of it any more.
    fn forget(&mut self, shard: ShardId, name: Name, out: &mut Vec<T>) {
        let Some(of_it) = self.shards.get_mut(&shard) else { return };
        let Some(mut dirty) = of_it.dirty.remove(&name) else { return };
        dirty.answer_all(out);
        if let At::Held { until_us } = dirty.at {
            self.let_go(shard, name, until_us);
        }
    }
}

/// From when on what is scheduled in a shard is new to the index, if this process has it since now.
const fn new_since(now: Now) -> Timestamp {
    Timestamp(now.wall_us.saturating_add(SKEW_US))
}

/// Until when something is held that is due then, if it is.
fn held_until(now: Now, due_us: u64) -> Option<u64> {
    let in_us = due_us.saturating_sub(u64::try_from(now.wall_us).unwrap_or(0));
    (in_us <= SOON_US).then(|| now.mono_us.saturating_add(in_us + GRACE_US))
}
