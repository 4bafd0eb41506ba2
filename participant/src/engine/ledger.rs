//! What a shard remembers of transactions: what is prepared, open, decided, barred.
//!
//! An entry may be forgotten once the floor has passed its id and nobody can need it any more: a
//! decided one when every participant holds the outcome, a barred attempt when the floor bars it by
//! itself. Until then it counts against the bound, and the floor advances faster when that is reached.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use smallvec::SmallVec;
use wal_core::record::{AddResults, Prepare};
use wal_core::txn::Part;
use wal_core::{
    Attempt, Epoch, Fingerprint, Millis, Sequence, ShardId, Timestamp, Transaction, TxnId,
};

use super::locks::{Age, LockSet};
use crate::message::{Origin, Outcome};

/// An attempt that this shard promised, undecided.
#[derive(Clone, Debug)]
pub(super) struct Prepared {
    pub(super) attempt: Attempt,
    pub(super) start: Millis,
    pub(super) proposal: Timestamp,
    pub(super) part: Arc<Part>,
    pub(super) adds: AddResults,
    pub(super) locks: LockSet,
    /// Since when it waits for its decision, or when recovery last began.
    pub(super) since_us: u64,
}

/// At the home: a transaction that will be driven to an outcome.
#[derive(Clone, Debug)]
pub(super) struct Open {
    pub(super) txn: Arc<Transaction>,
    pub(super) start: Millis,
    /// The newest attempt that is known.
    pub(super) attempt: Attempt,
    /// Whether that attempt may still be under way.
    pub(super) under_way: bool,
    /// When the next attempt may start, or since when this one is under way.
    pub(super) since_us: u64,
    /// Close it as soon as the attempt under way has ended.
    pub(super) fence: bool,
}

/// A decided transaction.
#[derive(Clone, Debug)]
pub(super) struct Decided {
    pub(super) outcome: Outcome,
    /// The attempt that was committed (of a closed one: nothing).
    pub(super) attempt: Attempt,
    /// Whether every participant is known to hold it.
    pub(super) finished: bool,
    /// When it was last told to those that do not, or to the home.
    pub(super) told_us: u64,
}

/// What is remembered of one transaction of several shards, or of one that was closed.
#[derive(Clone, Debug, Default)]
pub(super) struct Entry {
    pub(super) fingerprint: Option<Fingerprint>,
    pub(super) participants: Arc<[ShardId]>,
    pub(super) prepared: Option<Box<Prepared>>,
    pub(super) open: Option<Box<Open>>,
    pub(super) decided: Option<Decided>,
    /// The highest bar of the attempts that the home promised: kept until the floor has passed it.
    pub(super) until: Millis,
    /// Attempts that this shard will not prepare, by a durable record.
    pub(super) barred: SmallVec<[Attempt; 1]>,
    /// Attempts that it said no to, in this epoch.
    pub(super) refused: SmallVec<[Attempt; 1]>,
    /// At the home: the other participants that are known to hold the outcome.
    pub(super) holders: SmallVec<[ShardId; 2]>,
    /// Who waits for the outcome.
    pub(super) waiters: SmallVec<[Origin; 1]>,
    /// Who waits until it is applied, while it is undecided here.
    pub(super) apply_waiters: SmallVec<[Origin; 1]>,
}

impl Entry {
    pub(super) fn bars(&self, attempt: Attempt) -> bool {
        self.barred.contains(&attempt) || self.refused.contains(&attempt)
    }

    /// Its home, where the participants are known.
    pub(super) fn home(&self, id: TxnId) -> Option<ShardId> {
        (!self.participants.is_empty())
            .then(|| self.participants[id.home_index(self.participants.len())])
    }

    fn may_forget(&self, id: TxnId, floor: Millis) -> bool {
        if self.prepared.is_some() || self.open.is_some() || !self.waiters.is_empty() {
            return false;
        }
        if self.decided.as_ref().is_some_and(|decided| !decided.finished) {
            return false;
        }
        let barred = self.barred.iter().chain(&self.refused);
        id.time().max(self.until) <= floor
            && barred.map(|attempt| attempt.bar(id)).all(|bar| bar <= floor)
    }
}

/// What is remembered of one transaction.
#[derive(Clone, Debug)]
pub(super) enum Memory {
    /// Committed, and known to every participant: nothing more will happen to it. Nearly all are.
    Settled(Settled),
    /// Everything else.
    Entry(Box<Entry>),
}

impl Memory {
    fn may_forget(&self, id: TxnId, floor: Millis) -> bool {
        match self {
            Self::Settled(settled) => settled.until <= floor,
            Self::Entry(entry) => entry.may_forget(id, floor),
        }
    }
}

/// A committed transaction that every participant knows to be so.
#[derive(Clone, Debug)]
pub(super) struct Settled {
    pub(super) fingerprint: Fingerprint,
    pub(super) timestamp: Timestamp,
    pub(super) epoch: Epoch,
    pub(super) seq: Sequence,
    /// Empty for a transaction of this shard alone.
    pub(super) participants: Arc<[ShardId]>,
    /// Kept until the floor has passed it, and the id.
    pub(super) until: Millis,
}

impl Settled {
    pub(super) const fn outcome(&self) -> Outcome {
        Outcome::Committed { timestamp: self.timestamp, epoch: self.epoch, seq: self.seq }
    }
}

/// Everything that a shard remembers.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) memories: BTreeMap<TxnId, Memory>,
    pub(super) floor: Millis,
    /// One empty list for all.
    nobody: Arc<[ShardId]>,
    /// Prepared and undecided.
    pub(super) prepared: BTreeSet<TxnId>,
    /// Open here, the home.
    pub(super) open: BTreeSet<TxnId>,
    /// Decided, but not known to be held by every participant.
    pub(super) unfinished: BTreeSet<TxnId>,
}

impl Ledger {
    pub(super) fn get(&self, id: TxnId) -> Option<&Memory> {
        self.memories.get(&id)
    }

    pub(super) fn entry(&self, id: TxnId) -> Option<&Entry> {
        match self.memories.get(&id) {
            Some(Memory::Entry(entry)) => Some(entry),
            Some(Memory::Settled(_)) | None => None,
        }
    }

    pub(super) fn entry_mut(&mut self, id: TxnId) -> Option<&mut Entry> {
        match self.memories.get_mut(&id) {
            Some(Memory::Entry(entry)) => Some(entry),
            Some(Memory::Settled(_)) | None => None,
        }
    }

    /// The entry of `id`, made if there is none. `None` if it is settled.
    pub(super) fn entry_or_new(&mut self, id: TxnId) -> Option<&mut Entry> {
        let memory = self.memories.entry(id).or_insert_with(|| Memory::Entry(Box::default()));
        match memory {
            Memory::Entry(entry) => Some(entry),
            Memory::Settled(_) => None,
        }
    }

    /// The outcome, if it is known.
    pub(super) fn outcome(&self, id: TxnId) -> Option<Outcome> {
        match self.memories.get(&id)? {
            Memory::Settled(settled) => Some(settled.outcome()),
            Memory::Entry(entry) => entry.decided.as_ref().map(|decided| decided.outcome.clone()),
        }
    }

    /// Remembers a commit of this shard alone.
    pub(super) fn remember_single(
        &mut self,
        id: TxnId,
        fingerprint: Fingerprint,
        timestamp: Timestamp,
        epoch: Epoch,
        seq: Sequence,
    ) {
        let (participants, until) = (self.nobody.clone(), id.time());
        let settled = Settled { fingerprint, timestamp, epoch, seq, participants, until };
        self.memories.insert(id, Memory::Settled(settled));
    }

    /// The participants of a transaction, as far as they are known.
    pub(super) fn participants(&self, id: TxnId) -> Arc<[ShardId]> {
        match self.memories.get(&id) {
            Some(Memory::Settled(settled)) => settled.participants.clone(),
            Some(Memory::Entry(entry)) => entry.participants.clone(),
            None => self.nobody.clone(),
        }
    }

    /// If every participant is known to hold the outcome: until when it must be kept.
    pub(super) fn finished_until(&self, id: TxnId) -> Option<Millis> {
        match self.memories.get(&id)? {
            Memory::Settled(settled) => Some(settled.until),
            Memory::Entry(entry) => {
                let finished = entry.decided.as_ref().is_some_and(|decided| decided.finished);
                finished.then_some(entry.until.max(id.time()))
            }
        }
    }

    /// The age of a prepared transaction.
    pub(super) fn prepared_age(&self, id: TxnId) -> Option<Age> {
        Some((self.entry(id)?.prepared.as_ref()?.start, id))
    }

    /// Raises the floor and forgets what it allows.
    pub(super) fn raise_floor(&mut self, floor: Millis) {
        if floor <= self.floor {
            return;
        }
        self.floor = floor;
        let end = TxnId((u128::from(floor.0) + 1) << 80);
        let above = self.memories.split_off(&end);
        let below = std::mem::replace(&mut self.memories, above);
        for (id, memory) in below {
            if !memory.may_forget(id, floor) {
                self.memories.insert(id, memory);
            }
        }
    }

    /// Forgets what the floor has passed though not every participant holds it (a rule taken out).
    pub(super) fn forget_unfinished(&mut self) {
        let floor = self.floor;
        for id in self.unfinished.iter().copied().filter(|id| id.time() <= floor) {
            self.memories.remove(&id);
        }
        self.unfinished.retain(|id| id.time() > floor);
    }

    /// Forgets everything about a decided transaction, as the floor allowed its leader to.
    pub(super) fn forget(&mut self, id: TxnId) {
        self.memories.remove(&id);
        self.unfinished.remove(&id);
    }

    /// Forgets an entry that only waited for its last need to end.
    pub(super) fn forget_if_done(&mut self, id: TxnId) {
        if id.time() <= self.floor
            && self.memories.get(&id).is_some_and(|m| m.may_forget(id, self.floor))
        {
            self.memories.remove(&id);
        }
    }

    /// The floor that would leave at most `keep` remembered, if that is above the present one.
    pub(super) fn floor_to_keep(&self, keep: usize) -> Option<Millis> {
        let excess = self.memories.len().checked_sub(keep)?;
        let first = TxnId((u128::from(self.floor.0) + 1) << 80);
        let (id, _) = self.memories.range(first..).nth(excess)?;
        Some(id.time())
    }

    /// The oldest id that is remembered.
    pub(super) fn oldest(&self) -> Option<TxnId> {
        self.memories.keys().next().copied()
    }

    /// Takes a promise in.
    pub(super) fn prepare(&mut self, prepare: &Prepare, locks: LockSet, home: bool, now_us: u64) {
        let id = prepare.id;
        let Some(entry) = self.entry_or_new(id) else { return };
        entry.fingerprint = Some(prepare.fingerprint);
        if entry.participants.is_empty() {
            entry.participants = prepare.participants.as_slice().into();
        }
        entry.prepared = Some(Box::new(Prepared {
            attempt: prepare.attempt,
            start: prepare.start,
            proposal: prepare.proposal,
            part: prepare.part.clone(),
            adds: prepare.adds.clone(),
            locks,
            since_us: now_us,
        }));
        if home {
            entry.until = entry.until.max(prepare.attempt.bar(id));
            let fence = entry.open.as_ref().is_some_and(|open| open.fence);
            let txn = entry.open.take().map_or_else(|| whole(prepare), |open| open.txn);
            entry.open = Some(Box::new(Open {
                txn,
                start: prepare.start,
                attempt: prepare.attempt,
                under_way: true,
                since_us: now_us,
                fence,
            }));
            self.open.insert(id);
        }
        self.prepared.insert(id);
    }

    /// Takes an outcome in; returns the promise that it ends, if there was one.
    pub(super) fn decide(
        &mut self,
        id: TxnId,
        outcome: Outcome,
        attempt: Attempt,
        now_us: u64,
    ) -> Option<Box<Prepared>> {
        let entry = self.entry_or_new(id)?;
        let prepared = entry.prepared.take();
        entry.open = None;
        let finished = entry.participants.len() <= 1;
        entry.decided = Some(Decided { outcome, attempt, finished, told_us: now_us });
        self.prepared.remove(&id);
        self.open.remove(&id);
        if !finished {
            self.unfinished.insert(id);
        }
        prepared
    }

    /// Every participant holds the outcome.
    pub(super) fn finish(&mut self, id: TxnId, until: Millis) {
        if let Some(entry) = self.entry_mut(id) {
            entry.until = entry.until.max(until);
            entry.holders = SmallVec::new();
            if let Some(decided) = entry.decided.as_mut() {
                decided.finished = true;
            }
        }
        self.unfinished.remove(&id);
        self.settle(id);
        self.forget_if_done(id);
    }

    /// Keeps of a committed and finished transaction only what can still be asked for.
    fn settle(&mut self, id: TxnId) {
        let Some(entry) = self.entry(id) else { return };
        let Some(Decided { outcome, finished: true, .. }) = &entry.decided else { return };
        let Outcome::Committed { timestamp, epoch, seq } = *outcome else { return };
        let Some(fingerprint) = entry.fingerprint.filter(|_| entry.waiters.is_empty()) else {
            return;
        };
        let barred = entry.barred.iter().chain(&entry.refused).map(|attempt| attempt.bar(id));
        let until = barred.fold(entry.until.max(id.time()), Millis::max);
        let participants = entry.participants.clone();
        let settled = Settled { fingerprint, timestamp, epoch, seq, participants, until };
        self.memories.insert(id, Memory::Settled(settled));
    }

    /// Ends a promise without an outcome; returns it.
    pub(super) fn abort(&mut self, id: TxnId, attempt: Attempt) -> Option<Box<Prepared>> {
        let entry = self.entry_or_new(id)?;
        if !entry.barred.contains(&attempt) {
            entry.barred.push(attempt);
        }
        let held = entry.prepared.as_ref().is_some_and(|prepared| prepared.attempt == attempt);
        let prepared = if held { entry.prepared.take() } else { None };
        if prepared.is_some() {
            self.prepared.remove(&id);
        }
        prepared
    }
}

/// The whole transaction, put together from the home's own part and the others'.
fn whole(prepare: &Prepare) -> Arc<Transaction> {
    let mut parts = prepare.others.clone();
    let home = prepare.participants[prepare.id.home_index(prepare.participants.len())];
    parts.push((home, prepare.part.clone()));
    parts.sort_by_key(|(shard, _)| *shard);
    Arc::new(Transaction {
        id: prepare.id,
        fingerprint: prepare.fingerprint,
        namespace_version: prepare.namespace_version,
        parts,
    })
}

#[cfg(test)]
mod tests;
