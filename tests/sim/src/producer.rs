//! A simulated adapter of the log: what a producer of one epoch must do before it says *durable*.
//!
//! The broker knows nothing of epochs: a batch that it took may stand behind a later epoch's record, or
//! behind a gap. So a batch counts only if it landed exactly where `base + sequence` says; where it did
//! not, the log is read back by the rules of [`Acceptor`] before anything is said.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use wal_core::log::ShardBatch;
use wal_core::record::{Acceptor, Verdict, decode};
use wal_core::{Epoch, Sequence};

use crate::log::ShardLog;

/// What became of one batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Durable and accepted; the offset of its first record.
    Durable(u64),
    /// Nobody knows.
    Unknown,
    /// Never in the log, or never to count.
    Rejected,
}

/// A batch that was sent and not yet answered for.
#[derive(Debug)]
pub(crate) struct Outstanding {
    pub(crate) append: u64,
    pub(crate) epoch: Epoch,
    pub(crate) first: Sequence,
    pub(crate) last: Sequence,
    pub(crate) fate: Option<Fate>,
    batch: Arc<ShardBatch>,
    sent_again: bool,
}

/// The producer of one leader in one epoch.
#[derive(Debug, Default)]
pub(crate) struct Producer {
    epoch: Epoch,
    base: Option<u64>,
    reader: Option<(Acceptor, u64)>,
    accepted_at: BTreeMap<Sequence, u64>,
    pub(crate) outstanding: VecDeque<Outstanding>,
    pub(crate) last_arrival_us: u64,
    /// After a doubt nothing more is taken.
    pub(crate) dead: bool,
}

/// What the producer makes of an acknowledgement.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Acknowledged {
    /// It knows.
    Settled,
    /// The offset is not the expected one: the log must be read back.
    MustReadBack,
}

impl Producer {
    /// Takes a batch into the queue of those that wait for an answer.
    pub(crate) fn submit(&mut self, append: u64, batch: &Arc<ShardBatch>) {
        self.outstanding.push_back(Outstanding {
            append,
            epoch: batch.epoch,
            first: batch.first,
            last: Sequence(batch.first.0 + batch.ends.len() as u64 - 1),
            fate: self.dead.then_some(Fate::Rejected),
            batch: Arc::clone(batch),
            sent_again: false,
        });
    }

    fn find(&mut self, append: u64) -> Option<&mut Outstanding> {
        self.outstanding.iter_mut().find(|batch| batch.append == append && batch.fate.is_none())
    }

    /// Planted: gives a batch that is not answered for, to be sent once more.
    pub(crate) fn send_again(&mut self, append: u64) -> Option<Arc<ShardBatch>> {
        let batch = self.find(append)?;
        batch.sent_again = true;
        Some(Arc::clone(&batch.batch))
    }

    pub(crate) fn was_sent_again(&mut self, append: u64) -> bool {
        self.find(append).is_some_and(|batch| batch.sent_again)
    }

    /// A definite answer, or the end of patience.
    pub(crate) fn settle(&mut self, append: u64, fate: Fate) {
        if let Some(batch) = self.find(append) {
            let doubt = !matches!(fate, Fate::Durable(_));
            batch.fate = Some(fate);
            if doubt {
                self.dead = true;
            }
        }
    }

    /// The broker says that it took the batch, and where.
    pub(crate) fn on_acknowledged(&mut self, append: u64, offset: u64) -> Acknowledged {
        let base = self.base;
        let epoch = self.epoch;
        let read_to = self.reader.as_ref().map_or(0, |(_, next)| *next);
        let Some(batch) = self.find(append) else { return Acknowledged::Settled };
        let expected = base.map(|base| base + batch.first.0);
        // What was read back already is known; it may be the repeat of a batch that counted before.
        if batch.epoch == epoch && expected == Some(offset) && offset >= read_to {
            batch.fate = Some(Fate::Durable(offset));
            return Acknowledged::Settled;
        }
        Acknowledged::MustReadBack
    }

    /// Reads the log back and answers for one batch, which the broker says it took.
    /// An epoch's first batch is only said to be in the log: its owner reads whether it won.
    pub(crate) fn read_back(
        &mut self,
        append: u64,
        offset: u64,
        log: &ShardLog,
        is_winner: bool,
        ignores_sequence: bool,
    ) {
        let Some(batch) = self.find(append) else { return };
        let (epoch, first, last) = (batch.epoch, batch.first, batch.last);
        if first == Sequence(0) {
            // The epoch's own record: the offset tells where to start, the log whether it won.
            if !is_winner {
                self.settle(append, Fate::Durable(offset));
                return;
            }
            let Ok((record, hash)) = decode(log.records[offset as usize].clone()) else { return };
            let mut acceptor = Acceptor { epoch: Epoch(epoch.0 - 1), ..Acceptor::default() };
            acceptor.judge(&record, hash);
            self.epoch = epoch;
            self.base = Some(offset);
            self.accepted_at = BTreeMap::from([(Sequence(0), offset)]);
            self.reader = Some((acceptor, offset + 1));
        }
        self.read_on(log);
        let ours = self.reader.as_ref().is_some_and(|(acceptor, _)| acceptor.epoch == epoch);
        if ignores_sequence && ours {
            self.base = offset.checked_sub(first.0);
            self.settle(append, Fate::Durable(offset));
            return;
        }
        match (self.accepted_at.get(&first).copied(), self.accepted_at.contains_key(&last)) {
            (Some(at), true) => self.settle(append, Fate::Durable(at)),
            _ => self.settle(append, Fate::Rejected),
        }
    }

    /// Reads to the end of the log and sets a new base if the epoch is still whole.
    fn read_on(&mut self, log: &ShardLog) {
        let Some((acceptor, next)) = &mut self.reader else { return };
        for offset in *next..log.end() {
            let Ok((record, hash)) = decode(log.records[offset as usize].clone()) else { continue };
            let accepted = acceptor.judge(&record, hash) == Verdict::Accepted;
            if accepted && record.header.epoch == self.epoch {
                self.accepted_at.insert(record.header.seq, offset);
            }
        }
        *next = log.end();
        let whole = acceptor.epoch == self.epoch && !acceptor.broken;
        self.base = whole.then(|| log.end().wrapping_sub(acceptor.last.0 + 1));
    }

    /// The next batches that can be answered for, in the order in which they were submitted.
    pub(crate) fn pop_settled(&mut self) -> Option<Outstanding> {
        self.outstanding.front()?.fate.as_ref()?;
        self.outstanding.pop_front()
    }
}
