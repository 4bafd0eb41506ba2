//! What an operator may see of a shard.

use wal_core::{Epoch, Millis, Position, Sequence, ShardId, TxnId};

use super::{Role, Rules, ShardEngine};

/// Counts since the engine was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Transactions committed.
    pub committed: u64,
    /// Transactions closed here.
    pub closed: u64,
    /// Requests refused: no room, or a no to an attempt.
    pub refused: u64,
    /// Records written.
    pub records: u64,
    /// Attempts started as a home.
    pub attempts: u64,
    /// Recoveries begun.
    pub recoveries: u64,
    /// Of these, by an older transaction that waited.
    pub wounds: u64,
    /// Rows flushed to the table store.
    pub flushed_rows: u64,
    /// Rows parked because the table store refuses them for good.
    pub parked_rows: u64,
    /// Reads and flushes that the table store failed.
    pub store_failures: u64,
    /// Checkpoints written.
    pub checkpoints: u64,
    /// Bytes of the newest checkpoint.
    pub checkpoint_bytes: u64,
}

/// The state of one shard.
#[derive(Clone, Debug)]
pub struct ShardStatus {
    /// Which.
    pub shard: ShardId,
    /// In a word: searching, following, standing, waiting, leading, draining,
    /// resigning, halted.
    pub role: &'static str,
    /// The newest epoch accepted.
    pub epoch: Epoch,
    /// The newest record written.
    pub tail: Sequence,
    /// The newest record durable.
    pub durable: Sequence,
    /// Transactions remembered.
    pub remembered: usize,
    /// The floor.
    pub floor: Millis,
    /// The oldest id remembered.
    pub oldest: Option<TxnId>,
    /// Prepared and undecided.
    pub prepared: usize,
    /// Open at this home.
    pub open: usize,
    /// Decided, not yet known to be held by every participant.
    pub unfinished: usize,
    /// Age of the oldest undecided promise or open intent, microseconds.
    pub oldest_unresolved_us: Option<u64>,
    /// Waiting for locks or rows.
    pub waiting: usize,
    /// Keys locked or waited for.
    pub locks: usize,
    /// Answers held back until their record is durable.
    pub held_answers: usize,
    /// Bytes committed, not acknowledged by the table store.
    pub overlay_bytes: usize,
    /// Commits not acknowledged by the table store.
    pub overlay_commits: usize,
    /// Rows that the table store refuses for good and that wait to be taken or discarded.
    pub parked_rows: usize,
    /// Their bytes, which `overlay_bytes` counts too.
    pub parked_bytes: usize,
    /// Rows in memory, and their bytes.
    pub rows: usize,
    /// Bytes of rows in memory.
    pub row_bytes: usize,
    /// Where the newest checkpoint starts.
    pub checkpoint: Option<Position>,
    /// Counts.
    pub counters: Counters,
}

/// A transaction without an outcome.
#[derive(Clone, Debug)]
pub struct Unresolved {
    /// Which.
    pub id: TxnId,
    /// The shard that tells.
    pub shard: ShardId,
    /// `waiting`, `prepared` or `open`.
    pub state: &'static str,
    /// Its participants.
    pub participants: Vec<ShardId>,
}

impl<R: Rules> ShardEngine<R> {
    /// The state of the shard.
    pub fn status(&self) -> ShardStatus {
        ShardStatus {
            shard: self.config.shard,
            role: match self.role {
                Role::Searching => "searching",
                Role::Following => "following",
                Role::Standing { .. } => "standing",
                Role::Waiting { .. } => "waiting",
                Role::Leading => "leading",
                Role::Draining => "draining",
                Role::Resigning { .. } => "resigning",
                Role::Halted => "halted",
            },
            epoch: self.acceptor.epoch,
            tail: self.chain.tail(),
            durable: self.durable,
            remembered: self.ledger.memories.len(),
            floor: self.ledger.floor,
            oldest: self.ledger.oldest(),
            prepared: self.ledger.prepared.len(),
            open: self.ledger.open.len(),
            unfinished: self.ledger.unfinished.len(),
            oldest_unresolved_us: self.oldest_unresolved_us(),
            waiting: self.waiting.len(),
            locks: self.locks.len(),
            held_answers: self.outbox.len(),
            overlay_bytes: self.applier.bytes(),
            overlay_commits: self.applier.len(),
            parked_rows: self.applier.parked.len(),
            parked_bytes: self.applier.parked.bytes(),
            rows: self.rows.len(),
            row_bytes: self.rows.bytes(),
            checkpoint: self.checkpointer.newest(),
            counters: self.stats,
        }
    }

    /// By the id's own time against the newest timestamp: no clock is needed.
    fn oldest_unresolved_us(&self) -> Option<u64> {
        let oldest =
            self.ledger.prepared.first().into_iter().chain(self.ledger.open.first()).min()?;
        let began_us = i64::try_from(oldest.time().0).ok()?.saturating_mul(1000);
        u64::try_from(self.last_timestamp.0.saturating_sub(began_us)).ok()
    }

    /// How many outcomes are remembered.
    pub fn remembered(&self) -> usize {
        self.ledger.memories.len()
    }

    /// Transactions without an outcome, oldest first, at most `limit`.
    pub fn unresolved(&self, limit: usize) -> Vec<Unresolved> {
        let shard = self.config.shard;
        let entries = self.ledger.prepared.union(&self.ledger.open).map(|id| {
            let entry = self.ledger.entry(*id);
            let open = entry.is_some_and(|entry| entry.open.is_some());
            Unresolved {
                id: *id,
                shard,
                state: if open { "open" } else { "prepared" },
                participants: entry.map(|e| e.participants.to_vec()).unwrap_or_default(),
            }
        });
        entries.take(limit).collect()
    }
}
