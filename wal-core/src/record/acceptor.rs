//! Which records of a shard's log count.

use crate::id::{Epoch, Nonce, Sequence};

use super::{Body, Header, Record};

/// Whether a record counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It counts.
    Accepted,
    /// It does not: an older epoch's, a loser's, or behind a gap.
    Ignored,
}

/// Decides, record by record in log order, which count. The answer is a function of the log's prefix:
/// every reader that starts from the beginning, or from a checkpoint's chain state, agrees.
///
/// * `Epoch(n)` counts only if n is the current epoch plus one; the first in log order wins.
/// * Another record counts only if it is of the current epoch, its sequence is the last one plus one and
///   it names the hash of the last accepted record.
/// * After a gap the rest of that epoch is ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Acceptor {
    /// The winning epoch.
    pub epoch: Epoch,
    /// Its owner's nonce.
    pub owner: Nonce,
    /// The last accepted record's sequence.
    pub last: Sequence,
    /// The last accepted record's hash.
    pub hash: u64,
    /// Whether the epoch had a gap: nothing of it counts any more.
    pub broken: bool,
}

impl Acceptor {
    /// Judges from the first record that is left on: what came before it was trimmed, and it counted, or
    /// the log could not have been trimmed up to it.
    pub fn first_left(record: &Record) -> Self {
        let header = record.header;
        match record.body {
            Body::Epoch { .. } => {
                Self { epoch: Epoch(header.epoch.0.saturating_sub(1)), ..Self::default() }
            }
            _ => Self {
                epoch: header.epoch,
                last: Sequence(header.seq.0.saturating_sub(1)),
                hash: header.previous,
                ..Self::default()
            },
        }
    }

    /// Judges the next record. `hash` is the hash of its encoded bytes.
    pub fn judge(&mut self, record: &Record, hash: u64) -> Verdict {
        match &record.body {
            Body::Epoch { owner, .. } => self.judge_epoch(&record.header, *owner, hash),
            _ => self.judge_other(&record.header, hash),
        }
    }

    fn judge_epoch(&mut self, header: &Header, owner: Nonce, hash: u64) -> Verdict {
        if header.epoch != self.epoch.next() || header.seq != Sequence(0) {
            return Verdict::Ignored;
        }
        *self = Self { epoch: header.epoch, owner, last: Sequence(0), hash, broken: false };
        Verdict::Accepted
    }

    fn judge_other(&mut self, header: &Header, hash: u64) -> Verdict {
        if header.epoch != self.epoch || self.broken {
            return Verdict::Ignored;
        }
        if header.seq <= self.last {
            return Verdict::Ignored; // a repeat of an accepted record changes nothing
        }
        if header.seq != self.last.next() || header.previous != self.hash {
            self.broken = true;
            return Verdict::Ignored;
        }
        self.last = header.seq;
        self.hash = hash;
        Verdict::Accepted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(n: u64, owner: u128) -> Record {
        Record {
            header: Header { epoch: Epoch(n), seq: Sequence(0), previous: 0 },
            body: Body::Epoch {
                log: Nonce(1),
                owner: Nonce(owner),
                address: String::new(),
                wall_us: 0,
            },
        }
    }

    fn barrier(n: u64, seq: u64, previous: u64) -> Record {
        Record {
            header: Header { epoch: Epoch(n), seq: Sequence(seq), previous },
            body: Body::Barrier,
        }
    }

    #[test]
    fn the_first_epoch_record_in_log_order_wins() {
        let mut acceptor = Acceptor::default();
        assert_eq!(acceptor.judge(&epoch(1, 7), 11), Verdict::Accepted);
        assert_eq!(acceptor.judge(&epoch(1, 8), 12), Verdict::Ignored);
        assert_eq!(acceptor.judge(&epoch(3, 9), 13), Verdict::Ignored);
        assert_eq!((acceptor.epoch, acceptor.owner), (Epoch(1), Nonce(7)));
    }

    #[test]
    fn a_deposed_leaders_late_record_is_ignored() {
        let mut acceptor = Acceptor::default();
        acceptor.judge(&epoch(1, 7), 11);
        acceptor.judge(&epoch(2, 8), 12);
        assert_eq!(acceptor.judge(&barrier(1, 1, 11), 13), Verdict::Ignored);
        assert_eq!(acceptor.judge(&barrier(2, 1, 12), 14), Verdict::Accepted);
    }

    #[test]
    fn after_a_gap_the_rest_of_the_epoch_is_ignored() {
        let mut acceptor = Acceptor::default();
        acceptor.judge(&epoch(1, 7), 11);
        assert_eq!(acceptor.judge(&barrier(1, 2, 12), 13), Verdict::Ignored);
        assert_eq!(acceptor.judge(&barrier(1, 1, 11), 14), Verdict::Ignored);
    }

    #[test]
    fn a_record_that_names_another_predecessor_breaks_the_epoch() {
        let mut acceptor = Acceptor::default();
        acceptor.judge(&epoch(1, 7), 11);
        assert_eq!(acceptor.judge(&barrier(1, 1, 99), 13), Verdict::Ignored);
        assert!(acceptor.broken);
    }
}
