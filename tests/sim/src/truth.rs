//! What the logs hold, read by the rules alone: the truth against which answers are held.
//!
//! Every record is judged as it lands, so that an answer can be checked at the instant at which it
//! leaves: a promise must be durable before it is said, not a moment after.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use rustc_hash::FxHashMap;
use wal_core::record::{Acceptor, AddResults, Body, CommitSingle, Prepare, Verdict, decode};
use wal_core::txn::Part;
use wal_core::{AbortReason, Attempt, Fingerprint, RowKey, ShardId, Timestamp, TxnId};

use crate::failure::{Check, Failure, ensure};

/// Who holds a row.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Lock {
    Shared(Vec<TxnId>),
    Exclusive(TxnId),
}

/// What one shard's log says.
#[derive(Default)]
struct ShardTruth {
    acceptor: Acceptor,
    accepted: Vec<bool>,
    prepared: BTreeMap<TxnId, (Attempt, Arc<Part>)>,
    locks: BTreeMap<RowKey, Lock>,
}

/// One participant's promise.
#[derive(Clone, Debug)]
struct Promise {
    attempt: Attempt,
    shard: ShardId,
    proposal: Timestamp,
    adds: AddResults,
}

/// A commit, as the logs have it.
#[derive(Clone, Debug)]
pub(crate) struct Committed {
    /// When the last record that it needs became durable (for the stories).
    #[expect(dead_code, reason = "printed with the rest")]
    pub(crate) at_us: u64,
    pub(crate) attempt: Option<Attempt>,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) timestamp: Timestamp,
    /// Its participants, and what their adds came to.
    pub(crate) adds: Vec<(ShardId, AddResults)>,
}

/// What the logs say of one transaction.
#[derive(Clone, Debug, Default)]
pub(crate) struct TxnTruth {
    pub(crate) committed: Option<Committed>,
    /// Why it was closed: participants that close at the same time may each have a reason of their own.
    pub(crate) closed: Vec<AbortReason>,
    /// Which shards closed it, and whether they knew its participants. A fence without a locator closes
    /// blindly on every shard: only the home's blind close bars it for good.
    closers: Vec<(ShardId, bool)>,
    /// The home durably holds the whole.
    pub(crate) held: bool,
    promises: Vec<Promise>,
    barred: Vec<(Attempt, ShardId)>,
}

/// Counts of what happened in the logs, for coverage.
pub(crate) type RecordCounts = BTreeMap<&'static str, u64>;

/// All logs of a namespace.
pub(crate) struct Truth {
    shards: Vec<ShardTruth>,
    txns: FxHashMap<TxnId, TxnTruth>,
    pub(crate) counts: RecordCounts,
}

impl Truth {
    pub(crate) fn new(shards: u16) -> Self {
        Self {
            shards: (0..shards).map(|_| ShardTruth::default()).collect(),
            txns: FxHashMap::default(),
            counts: RecordCounts::new(),
        }
    }

    pub(crate) fn txn(&self, id: TxnId) -> Option<&TxnTruth> {
        self.txns.get(&id)
    }

    /// Everything that is committed.
    pub(crate) fn committed(&self) -> impl Iterator<Item = (TxnId, &Committed)> + '_ {
        self.txns.iter().filter_map(|(id, txn)| Some((*id, txn.committed.as_ref()?)))
    }

    /// Whether the record at this offset counts.
    pub(crate) fn accepted(&self, shard: ShardId, offset: u64) -> bool {
        self.shards[shard.0 as usize].accepted.get(offset as usize).copied().unwrap_or(false)
    }

    /// Transactions that hold locks by the log of any shard.
    pub(crate) fn prepared(&self) -> impl Iterator<Item = (ShardId, TxnId)> + '_ {
        (0u16..)
            .zip(&self.shards)
            .flat_map(|(shard, truth)| truth.prepared.keys().map(move |id| (ShardId(shard), *id)))
    }

    /// Judges a record that has just landed.
    pub(crate) fn on_record(
        &mut self,
        at_us: u64,
        shard: ShardId,
        bytes: Bytes,
    ) -> Result<Verdict, Failure> {
        let (record, hash) = decode(bytes)
            .map_err(|error| Failure::new(Check::Log, format!("shard {shard} wrote {error}")))?;
        let truth = &mut self.shards[shard.0 as usize];
        let current = truth.acceptor.epoch;
        let verdict = truth.acceptor.judge(&record, hash);
        truth.accepted.push(verdict == Verdict::Accepted);
        if verdict == Verdict::Ignored {
            let name = match record.header.epoch {
                epoch if epoch < current => "ignored: older epoch",
                epoch if epoch > current => "ignored: epoch out of turn",
                _ if matches!(record.body, Body::Epoch { .. }) => "ignored: lost election",
                _ if truth.acceptor.broken => "ignored: behind a gap",
                _ => "ignored: repeated",
            };
            *self.counts.entry(name).or_default() += 1;
            return Ok(verdict);
        }
        *self.counts.entry(name_of(&record.body)).or_default() += 1;
        self.on_accepted(at_us, shard, record.body)?;
        Ok(verdict)
    }

    fn on_accepted(&mut self, at_us: u64, shard: ShardId, body: Body) -> Result<(), Failure> {
        match body {
            Body::Epoch { .. }
            | Body::Finished { .. }
            | Body::Floor { .. }
            | Body::Checkpoint { .. }
            | Body::Discard { .. }
            | Body::Resign
            | Body::Barrier => Ok(()),
            Body::Intent { transaction, .. } => {
                self.txns.entry(transaction.id).or_default().held = true;
                Ok(())
            }
            Body::Prepare(prepare) => self.on_prepare(at_us, shard, *prepare),
            Body::CommitSingle(commit) => self.on_single(at_us, shard, *commit),
            Body::Commit { id, attempt, timestamp } => {
                self.on_commit(shard, id, attempt, timestamp)
            }
            Body::Abort { id, attempt } => self.on_abort(shard, id, attempt),
            Body::Refuse { id, attempt } => self.on_refuse(shard, id, attempt),
            Body::Close { id, participants, reason, .. } => {
                self.on_close(shard, id, !participants.is_empty(), reason)
            }
        }
    }

    fn on_prepare(&mut self, at_us: u64, shard: ShardId, prepare: Prepare) -> Result<(), Failure> {
        let id = prepare.id;
        let here = &mut self.shards[shard.0 as usize];
        if let Some((attempt, _)) = here.prepared.get(&id) {
            ensure!(false, Log, "shard {shard} prepares {id} again while {attempt:?} is undecided");
        }
        here.lock(shard, id, &prepare.part)?;
        here.hold(id, &prepare.part);
        here.prepared.insert(id, (prepare.attempt, Arc::clone(&prepare.part)));

        let txn = self.txns.entry(id).or_default();
        ensure!(
            !txn.barred.contains(&(prepare.attempt, shard)),
            Log,
            "shard {shard} prepares {:?} of {id}, which it barred before",
            prepare.attempt
        );
        if prepare.participants[id.home_index(prepare.participants.len())] == shard {
            txn.held = true;
        }
        txn.promises.push(Promise {
            attempt: prepare.attempt,
            shard,
            proposal: prepare.proposal,
            adds: prepare.adds.clone(),
        });
        let all: Vec<&Promise> = prepare
            .participants
            .iter()
            .filter_map(|wanted| {
                txn.promises.iter().find(|p| p.attempt == prepare.attempt && p.shard == *wanted)
            })
            .collect();
        if all.len() < prepare.participants.len() {
            return Ok(());
        }
        let committed = Committed {
            at_us,
            attempt: Some(prepare.attempt),
            fingerprint: prepare.fingerprint,
            timestamp: all
                .iter()
                .map(|p| p.proposal)
                .max()
                .expect("a transaction has participants"),
            adds: all.iter().map(|p| (p.shard, p.adds.clone())).collect(),
        };
        let barred = txn.barred.iter().find(|(attempt, _)| *attempt == prepare.attempt);
        ensure!(
            barred.is_none(),
            Log,
            "{id} commits by its last promise, on shard {shard}, after {barred:?} barred the attempt"
        );
        txn.commit(id, committed)
    }

    fn on_single(
        &mut self,
        at_us: u64,
        shard: ShardId,
        commit: CommitSingle,
    ) -> Result<(), Failure> {
        let id = commit.id;
        let here = &mut self.shards[shard.0 as usize];
        here.lock(shard, id, &commit.part)?;
        let txn = self.txns.entry(id).or_default();
        txn.held = true;
        txn.commit(
            id,
            Committed {
                at_us,
                attempt: None,
                fingerprint: commit.fingerprint,
                timestamp: commit.timestamp,
                adds: vec![(shard, commit.adds)],
            },
        )
    }

    fn on_commit(
        &mut self,
        shard: ShardId,
        id: TxnId,
        attempt: Attempt,
        timestamp: Timestamp,
    ) -> Result<(), Failure> {
        let committed = self.txns.get(&id).and_then(|txn| txn.committed.as_ref());
        let right =
            committed.is_some_and(|c| c.attempt == Some(attempt) && c.timestamp == timestamp);
        ensure!(
            right,
            Log,
            "shard {shard} logs Commit({id}, {attempt:?}, {timestamp}), but the promises say {committed:?}"
        );
        self.shards[shard.0 as usize].free(id);
        Ok(())
    }

    fn on_abort(&mut self, shard: ShardId, id: TxnId, attempt: Attempt) -> Result<(), Failure> {
        self.bar(shard, id, attempt, "Abort")?;
        let here = &mut self.shards[shard.0 as usize];
        if here.prepared.get(&id).is_some_and(|(held, _)| *held == attempt) {
            here.free(id);
        }
        Ok(())
    }

    fn on_refuse(&mut self, shard: ShardId, id: TxnId, attempt: Attempt) -> Result<(), Failure> {
        let held = self.shards[shard.0 as usize].prepared.get(&id);
        ensure!(
            held.is_none_or(|(held, _)| *held != attempt),
            Log,
            "shard {shard} refuses {attempt:?} of {id}, which it has prepared"
        );
        self.bar(shard, id, attempt, "Refuse")
    }

    fn bar(
        &mut self,
        shard: ShardId,
        id: TxnId,
        attempt: Attempt,
        what: &str,
    ) -> Result<(), Failure> {
        let txn = self.txns.entry(id).or_default();
        let committed = txn.committed.as_ref().is_some_and(|c| c.attempt == Some(attempt));
        ensure!(
            !committed,
            Log,
            "shard {shard} logs {what} of {attempt:?} of {id}, which is committed"
        );
        txn.barred.push((attempt, shard));
        Ok(())
    }

    fn on_close(
        &mut self,
        shard: ShardId,
        id: TxnId,
        knows: bool,
        reason: AbortReason,
    ) -> Result<(), Failure> {
        let txn = self.txns.entry(id).or_default();
        let takes_part = txn.committed.as_ref().is_some_and(|committed| {
            committed.adds.iter().any(|(participant, _)| *participant == shard)
        });
        ensure!(
            !takes_part,
            Log,
            "shard {shard} closes {id} ({reason:?}), which is committed: {:?}",
            txn.committed
        );
        txn.closers.push((shard, knows));
        if !txn.closed.contains(&reason) {
            txn.closed.push(reason);
        }
        let here = &mut self.shards[shard.0 as usize];
        here.free(id);
        Ok(())
    }
}

impl TxnTruth {
    /// Whether a participant has closed it for good.
    pub(crate) fn is_barred(&self, home: ShardId, participants: &[ShardId]) -> bool {
        self.closers
            .iter()
            .any(|(shard, knows)| *shard == home || (*knows && participants.contains(shard)))
    }

    fn commit(&mut self, id: TxnId, committed: Committed) -> Result<(), Failure> {
        let participants: Vec<ShardId> = committed.adds.iter().map(|(shard, _)| *shard).collect();
        let home = participants[id.home_index(participants.len())];
        ensure!(
            !self.is_barred(home, &participants),
            Log,
            "{id} commits ({committed:?}) after it was closed: {:?} by {:?}",
            self.closed,
            self.closers
        );
        ensure!(
            self.committed.is_none(),
            Log,
            "{id} commits twice: {:?}, then {committed:?}",
            self.committed
        );
        self.committed = Some(committed);
        Ok(())
    }
}

impl ShardTruth {
    /// Checks that nobody else holds what this part uses.
    fn lock(&self, shard: ShardId, id: TxnId, part: &Part) -> Result<(), Failure> {
        for op in part {
            let Some(lock) = self.locks.get(&op.key) else { continue };
            let free = match lock {
                Lock::Exclusive(holder) => *holder == id,
                Lock::Shared(holders) => op.is_read_only() || holders.iter().all(|h| *h == id),
            };
            ensure!(
                free,
                Log,
                "shard {shard} logs {id} over {:?} while it is held: {lock:?}",
                op.key
            );
        }
        Ok(())
    }

    fn hold(&mut self, id: TxnId, part: &Part) {
        for op in part {
            match self.locks.get_mut(&op.key) {
                Some(Lock::Shared(holders)) => holders.push(id),
                _ if op.is_read_only() => {
                    self.locks.insert(op.key.clone(), Lock::Shared(vec![id]));
                }
                _ => {
                    self.locks.insert(op.key.clone(), Lock::Exclusive(id));
                }
            }
        }
    }

    fn free(&mut self, id: TxnId) {
        let Some((_, part)) = self.prepared.remove(&id) else { return };
        for op in part.iter() {
            let left = match self.locks.get_mut(&op.key) {
                Some(Lock::Shared(holders)) => {
                    holders.retain(|holder| *holder != id);
                    !holders.is_empty()
                }
                Some(Lock::Exclusive(holder)) => *holder != id,
                None => true,
            };
            if !left {
                self.locks.remove(&op.key);
            }
        }
    }
}

/// Every kind of record, by its name in the coverage.
pub(crate) const RECORDS: [&str; 13] = [
    "Epoch",
    "Intent",
    "Prepare",
    "Commit",
    "CommitSingle",
    "Abort",
    "Refuse",
    "Close",
    "Finished",
    "Floor",
    "Checkpoint",
    "Resign",
    "Barrier",
];

pub(crate) const fn name_of(body: &Body) -> &'static str {
    match body {
        Body::Epoch { .. } => "Epoch",
        Body::Intent { .. } => "Intent",
        Body::Prepare(_) => "Prepare",
        Body::Commit { .. } => "Commit",
        Body::CommitSingle(_) => "CommitSingle",
        Body::Abort { .. } => "Abort",
        Body::Refuse { .. } => "Refuse",
        Body::Close { .. } => "Close",
        Body::Finished { .. } => "Finished",
        Body::Floor { .. } => "Floor",
        Body::Checkpoint { .. } => "Checkpoint",
        Body::Resign => "Resign",
        Body::Barrier => "Barrier",
        Body::Discard { .. } => "Discard",
    }
}
