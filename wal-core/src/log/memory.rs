//! A log in memory, for tests, with the misfortunes that a log across a network can have.
//!
//! Handles are clones of one log: give one to each process of a test. A fault is drawn from the seed for each
//! batch, or planned for the next batch of a shard. Answers are given at once, or, between
//! [`MemoryLog::hold_answers`] and [`MemoryLog::release_answers`], later.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;

use super::{AppendDone, Appended, IntentLog, LogError, ShardBatch, Visit};
use crate::id::{Epoch, Nonce, Position, Sequence, ShardId};

/// What can happen to a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is rejected.
    Reject,
    /// The answer is unknown, and it is not in the log.
    UnknownLost,
    /// The answer is unknown, and it is in the log: the acknowledgement was lost.
    UnknownStored,
    /// The answer is unknown, and it comes into the log after this many more batches of any shard:
    /// a deposed owner's record behind its successor's.
    UnknownDelayed(u32),
}

/// How often what happens, in thousandths of all batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// [`Fault::Reject`].
    pub reject: u16,
    /// [`Fault::UnknownLost`].
    pub unknown_lost: u16,
    /// [`Fault::UnknownStored`].
    pub unknown_stored: u16,
    /// [`Fault::UnknownDelayed`], by 1 to 16 batches.
    pub unknown_delayed: u16,
}

/// One handle of a log in memory.
#[derive(Clone)]
pub struct MemoryLog {
    shared: Arc<Mutex<Shared>>,
    /// Handles made before the last crash are of an earlier life, and dead.
    life: u64,
}

struct Shared {
    identity: Nonce,
    random: u64,
    faults: Faults,
    life: u64,
    next: u64,
    shards: BTreeMap<ShardId, Shard>,
    delayed: Vec<(u32, ShardBatch)>,
    holding: bool,
    held: Vec<(Vec<Appended>, AppendDone)>,
}

#[derive(Default)]
struct Shard {
    records: BTreeMap<Position, Bytes>,
    trimmed: Position,
    /// Behind the last record that was dropped. Positions are shared by all shards, so this may be long before
    /// `trimmed`; who goes on from between them misses nothing.
    lost: Position,
    /// Where a deposed owner's records would stand, that count for nobody, in a log that cannot compare.
    refused: BTreeSet<Position>,
    hint: Option<Position>,
    barred: Epoch,
    /// The newest epoch that anything was appended in.
    newest: Epoch,
    planned: VecDeque<Fault>,
}

impl Shared {
    /// The next number of a fixed sequence (splitmix64).
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn draw_fault(&mut self, shard: ShardId) -> Option<Fault> {
        if let Some(fault) = self.shard(shard).planned.pop_front() {
            return Some(fault);
        }
        let mut drawn = (self.draw() % 1000) as u16;
        let delay = 1 + (self.draw() % 16) as u32;
        let Faults { reject, unknown_lost, unknown_stored, unknown_delayed } = self.faults;
        for (share, fault) in [
            (reject, Fault::Reject),
            (unknown_lost, Fault::UnknownLost),
            (unknown_stored, Fault::UnknownStored),
            (unknown_delayed, Fault::UnknownDelayed(delay)),
        ] {
            if drawn < share {
                return Some(fault);
            }
            drawn -= share;
        }
        None
    }

    fn shard(&mut self, shard: ShardId) -> &mut Shard {
        self.shards.entry(shard).or_default()
    }

    fn append(&mut self, batch: ShardBatch) -> Appended {
        if batch.epoch <= self.shard(batch.shard).barred {
            let why = "an earlier batch of the epoch was refused or in doubt".into();
            return Appended::Rejected { why };
        }
        // As a log that can compare would: records behind a newer epoch's count for nobody.
        let newest = self.shard(batch.shard).newest;
        if batch.epoch < newest {
            let place = Position(self.next);
            self.next += 1;
            self.shard(batch.shard).refused.insert(place);
            let why = format!("epoch {newest} has begun");
            return Appended::Rejected { why };
        }
        let Some(fault) = self.draw_fault(batch.shard) else {
            return Appended::Durable { first: self.store(&batch) };
        };
        self.shard(batch.shard).barred = batch.epoch;
        let unknown = Appended::Unknown { why: "a fault of the test".into() };
        match fault {
            Fault::Reject => return Appended::Rejected { why: "a fault of the test".into() },
            Fault::UnknownLost => {}
            Fault::UnknownStored => {
                self.store(&batch);
            }
            Fault::UnknownDelayed(batches) => self.delayed.push((batches, batch)),
        }
        unknown
    }

    /// Puts a batch into the log, and behind it those whose delay is over.
    fn store(&mut self, batch: &ShardBatch) -> Position {
        let first = self.put(batch);
        for (left, _) in &mut self.delayed {
            *left = left.saturating_sub(1);
        }
        let (due, waiting): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.delayed).into_iter().partition(|(left, _)| *left == 0);
        self.delayed = waiting;
        for (_, batch) in due {
            self.put(&batch);
        }
        first
    }

    fn put(&mut self, batch: &ShardBatch) -> Position {
        let first = Position(self.next);
        let shard = self.shard(batch.shard);
        shard.newest = shard.newest.max(batch.epoch);
        for record in batch.records() {
            let position = Position(self.next);
            self.next += 1;
            // Copied: a log does not keep its callers' buffers.
            self.shard(batch.shard).records.insert(position, Bytes::copy_from_slice(&record));
        }
        first
    }
}

impl MemoryLog {
    /// An empty log without faults.
    pub fn new(identity: Nonce) -> Self {
        Self::with_faults(identity, 0, Faults::default())
    }

    /// An empty log whose faults are drawn from `seed`.
    pub fn with_faults(identity: Nonce, seed: u64, faults: Faults) -> Self {
        let shared = Shared {
            identity,
            random: seed,
            faults,
            life: 0,
            next: 1,
            shards: BTreeMap::new(),
            delayed: Vec::new(),
            holding: false,
            held: Vec::new(),
        };
        Self { shared: Arc::new(Mutex::new(shared)), life: 0 }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().expect("no holder of this lock panics")
    }

    /// Changes how often what happens from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.shared().faults = faults;
    }

    /// Plans a fault for the next batch of the shard that has none planned.
    pub fn plan(&self, shard: ShardId, fault: Fault) {
        self.shared().shard(shard).planned.push_back(fault);
    }

    /// A batch of a process that is gone comes into the log now, whoever may write by then. The record of a
    /// candidate begins its epoch if that is the next one.
    pub fn land(&self, batch: &ShardBatch) {
        let mut shared = self.shared();
        let newest = shared.shard(batch.shard).newest;
        shared.put(batch);
        let begins = batch.first == Sequence(0) && batch.epoch == newest.next();
        shared.shard(batch.shard).newest = if begins { batch.epoch } else { newest };
    }

    /// Keeps answers back from now on. What was appended is in the log already.
    pub fn hold_answers(&self) {
        self.shared().holding = true;
    }

    /// Gives the answers that were kept back, in order, and keeps back none from now on.
    pub fn release_answers(&self) {
        let held = {
            let mut shared = self.shared();
            shared.holding = false;
            std::mem::take(&mut shared.held)
        };
        for (results, done) in held {
            done(results);
        }
    }

    /// The log after a crash of everybody who used it. Every handle of before is dead; answers that were kept
    /// back become unknown, although their batches are in the log.
    pub fn crash(&self) -> Self {
        let (held, life) = {
            let mut shared = self.shared();
            shared.holding = false;
            shared.life += 1;
            (std::mem::take(&mut shared.held), shared.life)
        };
        for (results, done) in held {
            let unknown = |_| Appended::Unknown { why: "the process crashed".into() };
            done(results.into_iter().map(unknown).collect());
        }
        Self { shared: Arc::clone(&self.shared), life }
    }
}

impl IntentLog for MemoryLog {
    fn identity(&self) -> Nonce {
        self.shared().identity
    }

    fn append(&self, batches: Vec<ShardBatch>, done: AppendDone) {
        let results = {
            let mut shared = self.shared();
            let results: Vec<Appended> = if shared.life == self.life {
                batches.into_iter().map(|batch| shared.append(batch)).collect()
            } else {
                let gone = |_| Appended::Rejected { why: "its process crashed".into() };
                batches.iter().map(gone).collect()
            };
            if shared.holding {
                shared.held.push((results, done));
                return;
            }
            results
        };
        done(results);
    }

    fn replay(
        &self,
        from: &BTreeMap<ShardId, Position>,
        visit: Visit<'_>,
    ) -> Result<BTreeMap<ShardId, Position>, LogError> {
        let (records, end) = {
            let shared = self.shared();
            let mut records = BTreeMap::new();
            for (&shard, &asked) in from {
                let Some(state) = shared.shards.get(&shard) else { continue };
                let first = state.trimmed;
                if asked != Position(0) && asked < state.lost {
                    return Err(LogError::Trimmed { shard, asked, first });
                }
                let visited = state.records.range(asked.max(first)..);
                records.extend(visited.map(|(at, record)| (*at, (shard, record.clone()))));
            }
            (records, Position(shared.next))
        };
        for (position, (shard, record)) in records {
            visit(shard, position, record)?;
        }
        Ok(from.keys().map(|shard| (*shard, end)).collect())
    }

    fn trim(&self, shard: ShardId, before: Position) -> Result<(), LogError> {
        let mut shared = self.shared();
        let before = before.min(Position(shared.next));
        let state = shared.shard(shard);
        state.trimmed = before.max(state.trimmed);
        let left = state.records.split_off(&state.trimmed);
        let dropped = std::mem::replace(&mut state.records, left);
        let left = state.refused.split_off(&state.trimmed);
        let refused = std::mem::replace(&mut state.refused, left);
        let last = dropped.last_key_value().map(|(last, _)| last).max(refused.last());
        if let Some(last) = last {
            state.lost = Position(last.0 + 1);
        }
        Ok(())
    }

    fn store_hint(&self, shard: ShardId, checkpoint: Position) -> Result<(), LogError> {
        // As every log does that several processes write: one that is late does not set it back.
        let mut shared = self.shared();
        let hint = &mut shared.shard(shard).hint;
        *hint = (*hint).max(Some(checkpoint));
        Ok(())
    }

    fn hint(&self, shard: ShardId) -> Result<Option<Position>, LogError> {
        Ok(self.shared().shard(shard).hint)
    }

    fn size_bytes(&self) -> u64 {
        let shared = self.shared();
        let records = shared.shards.values().flat_map(|shard| shard.records.values());
        records.map(|record| record.len() as u64).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::super::conformance::{append, batch, replay};
    use super::*;

    const A: ShardId = ShardId(0);
    const B: ShardId = ShardId(1);

    fn sequences(log: &MemoryLog, shard: ShardId) -> Vec<(u64, u64)> {
        let (records, _) = replay(log, &[(shard, Position(0))]).expect("a readable log");
        let header = |(_, _, record): (ShardId, Position, Bytes)| {
            let header = crate::record::decode_header(&record).expect("a record");
            (header.epoch.0, header.seq.0)
        };
        records.into_iter().map(header).collect()
    }

    #[test]
    fn an_unknown_batch_is_lost_or_stored_or_comes_behind_its_successor() {
        let log = MemoryLog::new(Nonce(1));
        let faults = [Fault::UnknownLost, Fault::UnknownStored, Fault::UnknownDelayed(2)];
        for (epoch, fault) in (1..).zip(faults) {
            log.plan(A, fault);
            let answers = append(&log, vec![batch(A, Epoch(epoch), 0, 1, 0)]);
            assert!(matches!(answers[..], [Appended::Unknown { .. }]));
            let later = append(&log, vec![batch(A, Epoch(epoch), 1, 1, 0)]);
            assert!(matches!(later[..], [Appended::Rejected { .. }]));
        }
        for seq in 0..3 {
            append(&log, vec![batch(A, Epoch(4), seq, 1, 0)]);
        }
        assert_eq!(sequences(&log, A), [(2, 0), (4, 0), (4, 1), (3, 0), (4, 2)]);
    }

    #[test]
    fn a_crash_makes_held_answers_unknown_and_old_handles_dead() {
        let log = MemoryLog::new(Nonce(1));
        log.hold_answers();
        let (send, receive) = mpsc::channel();
        let done = move |results| send.send(results).expect("somebody waits");
        log.append(vec![batch(A, Epoch(1), 0, 1, 0)], Box::new(done));
        assert!(receive.try_recv().is_err(), "the answer is held");
        let after = log.crash();
        let answer: Vec<Appended> = receive.try_recv().expect("an answer");
        assert!(matches!(answer[..], [Appended::Unknown { .. }]));
        assert_eq!(sequences(&after, A), [(1, 0)]);
        let dead = append(&log, vec![batch(B, Epoch(1), 0, 1, 0)]);
        assert!(matches!(dead[..], [Appended::Rejected { .. }]));
        assert!(sequences(&after, B).is_empty());
    }

    #[test]
    fn the_same_seed_brings_the_same_faults() {
        let run = |seed| {
            let shares = Faults { reject: 100, unknown_lost: 100, ..Faults::default() };
            let log = MemoryLog::with_faults(Nonce(1), seed, shares);
            let answers = (1..200).map(|epoch| append(&log, vec![batch(A, Epoch(epoch), 0, 1, 0)]));
            answers.flatten().collect::<Vec<Appended>>()
        };
        let answers = run(5);
        assert_eq!(answers, run(5));
        assert_ne!(answers, run(6));
        let rejected = answers.iter().filter(|it| matches!(it, Appended::Rejected { .. })).count();
        assert!((5..60).contains(&rejected), "{rejected} of 199 rejected");
    }
}
