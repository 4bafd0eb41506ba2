//! What a test knows of a log: what was acknowledged, what is in doubt, what must never be seen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use wal_core::log::conformance::{Visited, replay};
use wal_core::log::{Appended, IntentLog, ShardBatch};
use wal_core::{Nonce, Position, ShardId};

pub(crate) const SHARDS: u16 = 3;
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(crate) struct Ledger {
    identity: Option<Nonce>,
    /// Records that must be there, unless trimmed.
    durable: BTreeMap<Position, (ShardId, Bytes)>,
    /// Appends that may be there, whole.
    unknown: Vec<Vec<ShardBatch>>,
    /// Records that must not be there.
    never: BTreeSet<Bytes>,
    /// Below these positions records may be missing.
    trims: BTreeMap<ShardId, Position>,
    /// The last hint that was stored, and one that may have been.
    hints: BTreeMap<ShardId, [Option<Position>; 2]>,
    pub(crate) unknown_kept: u64,
    pub(crate) unknown_lost: u64,
    pub(crate) last_rejection: Option<String>,
}

impl Ledger {
    /// Appends without waiting in between; returns whether all became durable.
    pub(crate) fn append_all(
        &mut self,
        log: &dyn IntentLog,
        appends: Vec<Vec<ShardBatch>>,
    ) -> bool {
        let (send, receive) = mpsc::channel();
        let count = appends.len();
        for batches in appends {
            let (send, kept) = (send.clone(), batches.clone());
            let done = move |results| send.send((kept, results)).expect("somebody waits");
            log.append(batches, Box::new(done));
        }
        let mut all = true;
        for _ in 0..count {
            let (batches, results) = receive.recv_timeout(PATIENCE).expect("an answer");
            all &= self.note(batches, &results);
        }
        all
    }

    fn note(&mut self, batches: Vec<ShardBatch>, results: &[Appended]) -> bool {
        assert_eq!(batches.len(), results.len());
        let (mut all, mut in_doubt) = (true, Vec::new());
        for (batch, result) in batches.into_iter().zip(results) {
            match result {
                Appended::Durable { first } => {
                    let mut position = *first;
                    for record in batch.records() {
                        let length = record.len() as u64;
                        self.durable.insert(position, (batch.shard, record));
                        position.0 += length;
                    }
                }
                Appended::Unknown { .. } => in_doubt.push(batch),
                Appended::Rejected { why } => {
                    self.never.extend(batch.records());
                    self.last_rejection = Some(why.clone());
                }
            }
            all &= matches!(result, Appended::Durable { .. });
        }
        if !in_doubt.is_empty() {
            self.unknown.push(in_doubt);
        }
        all
    }

    /// How many appends are in doubt.
    pub(crate) fn unknown(&self) -> usize {
        self.unknown.len()
    }

    fn positions(&self, shard: ShardId) -> Vec<Position> {
        let own = self.durable.iter().filter(|(_, (of, _))| *of == shard);
        own.map(|(position, _)| *position).collect()
    }

    /// Trims the older half of what a shard has.
    pub(crate) fn trim(&mut self, log: &dyn IntentLog, shard: ShardId) -> bool {
        let positions = self.positions(shard);
        let Some(middle) = positions.get(positions.len() / 2) else { return true };
        self.trims.insert(shard, *middle);
        log.trim(shard, *middle).is_ok()
    }

    /// Trims everything but the last record of a shard.
    #[allow(dead_code, reason = "not every test that uses the ledger trims so")]
    pub(crate) fn trim_all_but_last(&mut self, log: &dyn IntentLog, shard: ShardId) {
        let last = *self.positions(shard).last().expect("a record");
        self.trims.insert(shard, last);
        log.trim(shard, last).expect("a trim");
    }

    /// Stores where a shard's last record is.
    pub(crate) fn hint(&mut self, log: &dyn IntentLog, shard: ShardId) -> bool {
        let Some(last) = self.positions(shard).pop() else { return true };
        let stored = log.store_hint(shard, last).is_ok();
        let hints = self.hints.entry(shard).or_default();
        hints[1] = Some(last);
        if stored {
            *hints = [Some(last), None];
        }
        stored
    }

    /// Compares a log that was just opened with what is known, and settles what was in doubt.
    /// Returns false if the log could not be read for lack of power.
    pub(crate) fn check(&mut self, log: &dyn IntentLog) -> bool {
        let from: Vec<(ShardId, Position)> =
            (0..SHARDS).map(|shard| (ShardId(shard), Position(0))).collect();
        let visited = match replay(log, &from) {
            Ok((visited, _)) => visited,
            Err(error) => {
                assert!(error.to_string().contains("the power is off"), "{error}");
                return false;
            }
        };
        assert_eq!(log.identity(), *self.identity.get_or_insert(log.identity()));
        assert!(visited.is_sorted_by(|a, b| a.1 < b.1), "positions grow");
        for (shard, [stored, tried]) in &mut self.hints {
            let hint = log.hint(*shard).expect("a hint");
            assert!(hint == *stored || hint == *tried, "{hint:?}, not {stored:?} or {tried:?}");
            (*stored, *tried) = (hint, None);
        }
        self.settle(&visited);
        self.compare(&visited);
        true
    }

    /// An append in doubt is there, whole, for ever; or never.
    fn settle(&mut self, visited: &[Visited]) {
        for batches in std::mem::take(&mut self.unknown) {
            let records: BTreeSet<Bytes> = batches.iter().flat_map(ShardBatch::records).collect();
            let there = visited.iter().filter(|(_, _, record)| records.contains(record));
            let there: Vec<&Visited> = there.collect();
            if there.is_empty() {
                self.unknown_lost += 1;
                self.never.extend(records);
            } else {
                assert_eq!(there.len(), records.len(), "half an append");
                self.unknown_kept += 1;
                let there = there.into_iter().cloned();
                self.durable.extend(there.map(|(shard, at, record)| (at, (shard, record))));
            }
        }
    }

    fn compare(&self, visited: &[Visited]) {
        let found: BTreeMap<Position, (ShardId, Bytes)> =
            visited.iter().map(|(shard, at, record)| (*at, (*shard, record.clone()))).collect();
        for (position, record) in &found {
            assert!(!self.never.contains(&record.1), "a rejected record at {position}");
            assert_eq!(self.durable.get(position), Some(record), "a record nobody appended");
        }
        for (position, record) in &self.durable {
            let trimmed = self.trims.get(&record.0).is_some_and(|trim| position < trim);
            assert!(trimmed || found.contains_key(position), "{position} was lost");
        }
    }
}
