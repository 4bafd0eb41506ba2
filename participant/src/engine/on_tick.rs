//! Time passes: wounds, recovery, the home's next attempts, the floor, housekeeping.

use wal_core::record::Body;
use wal_core::{Attempt, Millis, Nonce, Now, TxnId};

use super::{Role, Rule, Rules, ShardCommand, ShardEngine};
use crate::message::{Outcome, ShardRequest};

/// How long an older transaction waits before it wounds a younger one that is prepared: most are
/// decided by then, and need no recovery.
const WOUND_AFTER_US: u64 = 20_000;
/// How often everything undecided is looked at.
const SWEEP_EVERY_US: u64 = 100_000;
/// How many outcomes one sweep tells again, and one `Finished` record names.
const TOLD_AT_ONCE: usize = 1_024;
/// No id younger than this is forgotten, however full the memory: a retry must have a chance.
const SHORTEST_WINDOW_MS: u64 = 250;

impl<R: Rules> ShardEngine<R> {
    pub(super) fn on_tick(&mut self, now: Now, out: &mut Vec<ShardCommand>) {
        self.open_if_due(now, out);
        if !matches!(self.role, Role::Leading | Role::Draining) {
            return;
        }
        self.retry_io(out);
        self.expire_holds(now);
        self.wound(now, out);
        self.start_attempts(now);
        if now.mono_us >= self.last_sweep_us + SWEEP_EVERY_US {
            self.last_sweep_us = now.mono_us;
            self.recover_old(now, out);
            self.tell_unfinished(now);
            self.log_finished(now, out);
        }
        self.advance_floor(now, out);
        self.rows.evict(self.config.limits.max_cache_bytes);
        self.checkpoint_if_due(out);
        self.resign_if_drained(now, out);
    }

    /// An older waiter runs recovery on the younger transactions that hold its locks.
    fn wound(&mut self, now: Now, out: &mut Vec<ShardCommand>) {
        let mut wounded = Vec::new();
        for (age, waiter) in &self.waiting {
            if now.mono_us < waiter.since_us + WOUND_AFTER_US {
                continue;
            }
            for holder in self.locks.holders_against(age.1, &waiter.locks) {
                if self.ledger.prepared_age(holder).is_some_and(|held| held > *age) {
                    wounded.push(holder);
                }
            }
        }
        wounded.sort_unstable();
        wounded.dedup();
        for id in wounded {
            let recent = self.ledger.entry(id).and_then(|entry| entry.prepared.as_ref());
            if recent.is_some_and(|held| now.mono_us >= held.since_us + WOUND_AFTER_US) {
                self.stats.wounds += 1;
                self.recover_now(now, id, out);
            }
        }
    }

    /// Runs recovery on the attempt that is prepared here, or that the home has under way.
    pub(super) fn recover_now(&mut self, now: Now, id: TxnId, out: &mut Vec<ShardCommand>) {
        let Some(entry) = self.ledger.entry_mut(id) else { return };
        let participants = entry.participants.clone();
        let attempt = if let Some(prepared) = &mut entry.prepared {
            prepared.since_us = now.mono_us;
            prepared.attempt
        } else if let Some(open) = entry.open.as_mut().filter(|open| open.under_way) {
            open.since_us = now.mono_us;
            open.attempt
        } else {
            return;
        };
        self.stats.recoveries += 1;
        out.push(ShardCommand::Recover { id, attempt, participants });
    }

    /// Recovery of what has been undecided for too long: the home first, others at twice that.
    fn recover_old(&mut self, now: Now, out: &mut Vec<ShardCommand>) {
        let after_us = self.config.limits.recover_after_us;
        let shard = self.config.shard;
        let due = |id: &TxnId| {
            let entry = self.ledger.entry(*id)?;
            let patience = if entry.home(*id) == Some(shard) { after_us } else { 2 * after_us };
            let prepared = entry.prepared.as_ref().map(|prepared| prepared.since_us);
            let open = entry.open.as_ref().filter(|open| open.under_way).map(|open| open.since_us);
            let since_us = prepared.or(open)?;
            (now.mono_us >= since_us + patience).then_some(*id)
        };
        let mut old: Vec<_> =
            self.ledger.prepared.iter().chain(&self.ledger.open).filter_map(due).collect();
        old.sort_unstable();
        old.dedup();
        for id in old {
            if self.waiter_of(id).is_none() {
                self.recover_now(now, id, out);
            }
        }
    }

    /// The home starts the next attempt of what is open, one at a time.
    fn start_attempts(&mut self, now: Now) {
        if self.role == Role::Draining {
            return;
        }
        let due = |id: &TxnId| {
            let entry = self.ledger.entry(*id)?;
            let open = entry.open.as_ref()?;
            let idle = !open.under_way && !open.fence && entry.prepared.is_none();
            (idle && now.mono_us >= open.since_us).then_some(*id)
        };
        let due: Vec<_> = self.ledger.open.iter().filter_map(due).collect();
        for id in due {
            let nonce = self.next_nonce(now);
            let Some(open) = self.open_mut(id) else { continue };
            let attempt = Attempt { number: open.attempt.number + 1, nonce };
            open.attempt = attempt;
            open.under_way = true;
            open.since_us = now.mono_us;
            let (txn, start) = (open.txn.clone(), open.start);
            self.stats.attempts += 1;
            self.hold(false, ShardCommand::Drive { txn, start, attempt });
        }
    }

    /// Time, then what no other epoch of any shard can repeat.
    fn next_nonce(&mut self, now: Now) -> Nonce {
        self.last_nonce += 1;
        let millis = u128::from(now.millis().0 & 0xffff_ffff_ffff);
        let shard = u128::from(self.config.shard.0);
        let epoch = u128::from(self.acceptor.epoch.0 & 0xffff_ffff);
        let count = u128::from(self.last_nonce & 0xffff_ffff);
        Nonce(millis << 80 | shard << 64 | epoch << 32 | count)
    }

    /// Tells outcomes again: the home to the participants that have not acknowledged, others to the home.
    fn tell_unfinished(&mut self, now: Now) {
        let after_us = self.config.limits.recover_after_us;
        let mut due = Vec::new();
        for id in &self.ledger.unfinished {
            let decided = self.ledger.entry(*id).and_then(|entry| entry.decided.as_ref());
            if decided.is_some_and(|decided| now.mono_us >= decided.told_us + after_us) {
                due.push(*id);
                if due.len() == TOLD_AT_ONCE {
                    break;
                }
            }
        }
        for id in due {
            if let Some(d) = self.ledger.entry_mut(id).and_then(|entry| entry.decided.as_mut()) {
                d.told_us = now.mono_us;
            }
            let at_home = self.ledger.entry(id).and_then(|e| e.home(id)) == Some(self.config.shard);
            if at_home {
                self.tell_participants(id);
            } else {
                self.tell_home(id);
            }
        }
    }

    fn tell_participants(&mut self, id: TxnId) {
        let Some(entry) = self.ledger.entry(id) else { return };
        let Some(decided) = &entry.decided else { return };
        let request = match &decided.outcome {
            Outcome::Committed { timestamp, .. } => ShardRequest::Commit {
                id,
                attempt: decided.attempt,
                timestamp: *timestamp,
                home: self.config.shard,
                applied: false,
            },
            Outcome::Closed(reason) => ShardRequest::Closed {
                id,
                fingerprint: entry.fingerprint,
                participants: entry.participants.clone(),
                reason: reason.clone(),
            },
        };
        let home = self.config.shard;
        let holders = entry.holders.clone();
        let participants = entry.participants.clone();
        for shard in participants.iter().filter(|p| **p != home && !holders.contains(p)) {
            let request = request.clone();
            self.hold(false, ShardCommand::Tell { shard: *shard, request });
        }
    }

    /// Lets a restart know what is finished, so that it need not be told again.
    fn log_finished(&mut self, now: Now, out: &mut Vec<ShardCommand>) {
        while !self.to_finish.is_empty() {
            let rest = self.to_finish.split_off(self.to_finish.len().min(TOLD_AT_ONCE));
            let ids = std::mem::replace(&mut self.to_finish, rest);
            self.write(now, Body::Finished { ids }, out);
        }
    }

    /// The clock only advances the floor; so does a memory that is full.
    fn advance_floor(&mut self, now: Now, out: &mut Vec<ShardCommand>) {
        const SMALLEST_STEP_MS: u64 = 1_000;
        const FEW: usize = 1_000;
        let limits = &self.config.limits;
        // A shard that remembers little has no need to write that the time passes.
        let few = self.ledger.memories.len() < FEW;
        let step_ms = if few { limits.id_window_ms / 8 } else { SMALLEST_STEP_MS };
        let now_ms = now.millis().0;
        let by_clock = Millis(now_ms.saturating_sub(limits.id_window_ms));
        let mut floor = self.ledger.floor;
        if by_clock.0 >= floor.0 + step_ms {
            floor = by_clock;
        }
        if self.ledger.memories.len() > self.max_remembered {
            // An eighth at a time, so that the floor moves seldom.
            let keep = self.max_remembered - self.max_remembered / 8;
            let youngest = Millis(now_ms.saturating_sub(SHORTEST_WINDOW_MS));
            // Where the excess is old ids that newer attempts keep, the floor must pass those attempts.
            let by_memory = self.ledger.floor_to_keep(keep).unwrap_or(youngest);
            floor = floor.max(by_memory.min(youngest));
        }
        if floor > self.ledger.floor {
            if self.rules.holds(Rule::FloorIsDurable) {
                self.write(now, Body::Floor { floor }, out);
            } else {
                self.learn_floor(floor);
            }
        }
    }
}
