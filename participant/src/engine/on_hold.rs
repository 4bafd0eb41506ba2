//! `Read` that holds: the fallback of a read over several shards whose rows writers keep changing.
//!
//! Each participant read-locks the rows in memory, for a time that starts with the grant and lies within
//! its lease, and answers the values. A reader that has every answer sooner than the shortest of these
//! times after it *sent* its requests knows of an instant at which all the locks stood together: the
//! values are of that instant. Nothing is written. See `hold` in the model.

use std::collections::BTreeMap;
use std::sync::Arc;

use wal_core::{Now, RowKey};

use super::admit::{Asked, Waiter};
use super::locks::{Age, LockSet, want};
use super::{Leadership, Role, Rule, Rules, ShardCommand, ShardEngine};
use crate::message::{Origin, ShardReply};

/// How long the rows are locked for a reader, unless the lease is short, microseconds. Long enough for a
/// round trip behind a busy log; a reader that is done releases them sooner.
const HOLD_US: u64 = 100_000;

/// A reader's hold: asked for, or granted.
#[derive(Debug)]
struct Hold {
    age: Age,
    tries: u32,
    /// What is locked, and until when; nothing while it waits.
    granted: Option<(LockSet, u64)>,
}

/// The holds of one shard, by who asked.
#[derive(Debug, Default)]
pub(super) struct Holds(BTreeMap<Origin, Hold>);

impl Holds {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<R: Rules> ShardEngine<R> {
    pub(super) fn on_hold(
        &mut self,
        now: Now,
        origin: Origin,
        keys: Arc<[RowKey]>,
        tries: u32,
        out: &mut Vec<ShardCommand>,
    ) {
        // A successor does not wait for the lease of a leader that resigned.
        if self.role == Role::Draining {
            let reply = ShardReply::NotLeading { epoch: self.acceptor.epoch };
            return out.push(ShardCommand::Reply { origin, reply });
        }
        match self.holds.0.get_mut(&origin) {
            Some(known) if known.tries > tries => return, // a late message of an earlier try
            // It keeps its place in the queues.
            Some(known) if known.granted.is_none() => return known.tries = tries,
            Some(_) => self.end_hold(origin),
            None => {}
        }
        if self.waiting.len().max(self.holds.0.len()) >= self.config.limits.max_waiting {
            return out.push(ShardCommand::Reply { origin, reply: ShardReply::Overloaded });
        }
        let age = self.next_read_age(now);
        self.holds.0.insert(origin, Hold { age, tries, granted: None });
        self.consider_hold(now, age, Waiter::new(Asked::Hold { keys }, origin, now), out);
    }

    /// The reader needs the rows no longer, nor those of earlier tries.
    pub(super) fn on_release(&mut self, origin: Origin, tries: u32) {
        if self.holds.0.get(&origin).is_some_and(|hold| hold.tries <= tries) {
            self.end_hold(origin);
        }
    }

    pub(super) fn consider_hold(
        &mut self,
        now: Now,
        age: Age,
        mut waiter: Waiter,
        out: &mut Vec<ShardCommand>,
    ) {
        let Asked::Hold { keys } = waiter.asked.clone() else { return };
        if waiter.locks.is_empty() {
            keys.iter().for_each(|key| want(&mut waiter.locks, key, false));
        }
        let free = self.locks.is_free(age, &waiter.locks);
        let mut at_hand = true;
        for key in keys.iter() {
            at_hand &= self.row_at_hand(age, key, &mut waiter.pinned);
        }
        if !free || !at_hand {
            return self.park(age, waiter);
        }
        self.leave_lock_queues(age, &waiter);
        let origin = waiter.origins[0];
        let held_us = self.hold_us();
        let until_us = now.mono_us + held_us;
        let rows = self.rows_of(&keys);
        if let Some(hold) = self.holds.0.get_mut(&origin) {
            let reply = ShardReply::Held { tries: hold.tries, held_us, rows };
            self.locks.acquire(age.1, &waiter.locks);
            hold.granted = Some((std::mem::take(&mut waiter.locks), until_us));
            // What vouches is a lease that lasts as long as the hold, or a record that begins one.
            if self.rules.holds(Rule::LeadershipIsProved) && !self.has_lease_until(until_us) {
                self.write_barrier(now, out);
            }
            self.reply(origin, reply);
        }
        self.unpin_rows(&waiter);
    }

    /// Ends the holds whose time is over.
    pub(super) fn expire_holds(&mut self, now: Now) {
        let is_over =
            |hold: &Hold| hold.granted.as_ref().is_some_and(|(_, until)| now.mono_us >= *until);
        let over: Vec<_> =
            self.holds.0.iter().filter(|(_, hold)| is_over(hold)).map(|(who, _)| *who).collect();
        for origin in over {
            self.end_hold(origin);
        }
    }

    fn end_hold(&mut self, origin: Origin) {
        let Some(hold) = self.holds.0.remove(&origin) else { return };
        match hold.granted {
            Some((locks, _)) => self.locks.release(hold.age.1, &locks, &mut self.wake),
            None => {
                self.remove_waiter(hold.age);
            }
        }
    }

    fn hold_us(&self) -> u64 {
        match self.config.leadership {
            Leadership::Exclusive => HOLD_US,
            Leadership::Lease { lease_us, .. } => HOLD_US.min(lease_us / 2),
        }
    }
}
