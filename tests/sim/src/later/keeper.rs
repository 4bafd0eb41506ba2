//! What of a process does what is due: the engines, and what the runtime keeps beside them.

use std::collections::BTreeMap;

use delivery::schedule::{Entry, Noted, Schedule, ScheduleConfig, Wanted, WriteBehind, change};
use delivery::{Answer, ErrorClass, Event, Failure as Failed, Outgoing, Ticket, Without};
use wal_core::{Now, ShardId};

use super::LaterPlan;
use super::fire::Firing;
use crate::deliver::{CourseId, Heard, Of, Question};
use crate::failure::Failure;
use crate::message::Event as Happens;
use crate::world::World;

/// A change may take so long to be noted, microseconds.
const TIMEOUT_US: u64 = 30_000_000;

/// Who asks to hear when a change is dealt with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker {
    course: CourseId,
    generation: u64,
    ticket: Ticket,
    number: u32,
}

/// What a crash takes away.
pub(crate) struct Keeper {
    pub(super) schedule: Schedule<Without>,
    pub(super) behind: WriteBehind<Asker, Without>,
    pub(super) answered: Vec<Asker>,
    /// The shards that were claimed when it was looked last.
    has: Vec<ShardId>,
    /// When it began.
    pub(super) since_us: u64,
    /// What is being done, by the call that is under way.
    pub(super) firings: BTreeMap<u64, Firing>,
}

impl Keeper {
    pub(crate) fn new(plan: &LaterPlan, rules: Without, since_us: u64) -> Self {
        let LaterPlan { held, in_flight, held_changes, .. } = *plan;
        let page = (held / 4) as u32;
        let config = ScheduleConfig { held, page, in_flight };
        Self {
            schedule: Schedule::with_rules(config, rules),
            behind: WriteBehind::with_rules(held_changes, rules),
            answered: Vec::new(),
            has: Vec::new(),
            since_us,
            firings: BTreeMap::new(),
        }
    }

    /// Which shards it has, and whether each is to be let go.
    pub(crate) fn on_claims(&mut self, now: Now, claimed: &[(ShardId, bool)]) {
        let is_claimed = |shard: &ShardId| claimed.iter().any(|(of, _)| of == shard);
        for ended in self.has.iter().filter(|shard| !is_claimed(shard)) {
            self.schedule.end(*ended);
            self.behind.end(*ended);
        }
        for (shard, is_draining) in claimed {
            self.schedule.begin(*shard);
            if !self.has.contains(shard) {
                self.behind.begin(now, *shard);
            }
            // What is held would hold up whoever is to have it next.
            if *is_draining {
                self.behind.end(*shard);
            }
        }
        self.has = claimed.iter().map(|(shard, _)| *shard).collect();
    }

    /// A change was read of the log.
    pub(crate) fn read(&mut self, now: Now, outgoing: &Outgoing) {
        let Some((noted, is_insert)) = change(outgoing) else { return };
        if self.behind.read(now, noted, is_insert, &mut self.answered) {
            self.tell(now, noted);
        }
    }

    fn tell(&mut self, now: Now, noted: Noted) {
        self.schedule.told(now, noted.shard, noted.name, noted.change);
    }

    /// The index has what it was given, or not for sure.
    pub(crate) fn noted(&mut self, now: Now, ok: bool) {
        for noted in self.behind.noted(now, ok, &mut self.answered) {
            self.tell(now, noted);
        }
    }

    pub(crate) fn loaded(&mut self, now: Now, shard: ShardId, page: Option<Vec<Entry>>) {
        self.schedule.loaded(now, shard, page);
    }
}

impl World {
    pub(crate) fn keeper(&mut self, slot: usize) -> Option<&mut Keeper> {
        self.deliverer(slot)?.1.keeper.as_mut()
    }

    /// A change is to be noted, or to be done before that.
    pub(crate) fn ask_keeper(
        &mut self,
        slot: usize,
        (course, generation): (CourseId, u64),
        (ticket, number): (Ticket, u32),
        outgoing: &Outgoing,
    ) {
        let Some((noted, _)) = change(outgoing) else { return };
        let Some((process, deliverer)) = self.deliverer(slot) else { return };
        let Some(keeper) = &mut deliverer.keeper else { return };
        let asker = Asker { course, generation, ticket, number };
        keeper.behind.ask(&noted, asker, &mut keeper.answered);
        let class = ErrorClass::Transient;
        let answer = Answer::Failed(Failed { class, text: "not noted in time".into() });
        let of = Of::Lane { ticket, number };
        let what = Heard::Target { course, generation, name: outgoing.name, of, answer };
        self.schedule(TIMEOUT_US, Happens::Heard { slot, process, what: Box::new(what) });
    }

    /// Goes on with whatever is to be done now.
    pub(crate) fn keep(&mut self, slot: usize) -> Result<(), Failure> {
        while let Some(asker) = self.keeper(slot).and_then(|keeper| keeper.answered.pop()) {
            let Asker { course, generation, ticket, number } = asker;
            let answer = Answer::Delivered;
            if self.is_current(slot, course, generation) {
                self.step_course(slot, course, Event::Answered { ticket, number, answer })?;
            }
        }
        let now = self.clock(slot);
        let Some(keeper) = self.keeper(slot) else { return Ok(()) };
        if let Some(changes) = keeper.behind.batch(now) {
            self.ask_deliveries(slot, Question::Note { changes });
        }
        let mut wanted = Vec::new();
        let Some(keeper) = self.keeper(slot) else { return Ok(()) };
        keeper.schedule.poll(now, &mut wanted);
        for wanted in wanted {
            match wanted {
                Wanted::Load { shard, after, limit } => {
                    self.ask_deliveries(slot, Question::Entries { shard, after, limit });
                }
                Wanted::Fire { name, shard, time, .. } => self.fire(slot, shard, name, time),
            }
        }
        Ok(())
    }
}
