//! Which records count: the reader of the model, as forgiving as the rules that are out make it.

use crate::invariant::Broken;
use crate::rule::{Rule, Rules};

/// A record's name: owner, epoch and sequence. No two records share one.
pub(super) type Name = (u8, u8, u8);

/// A record, as it is in the log or under way to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Record {
    pub(super) owner: u8,
    pub(super) epoch: u8,
    /// 0 for the `Epoch` record itself.
    pub(super) seq: u8,
    /// The hash of everything that its writer held for accepted before it.
    pub(super) previous: u64,
}

impl Record {
    pub(super) fn name(&self) -> Name {
        (self.owner, self.epoch, self.seq)
    }
}

/// The hash of a chain that ends with this record.
pub(super) fn chain(previous: u64, name: Name) -> u64 {
    let number = u64::from(name.0) << 16 | u64::from(name.1) << 8 | u64::from(name.2);
    (previous ^ (number + 1)).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23)
}

/// Reads a log from its beginning.
#[derive(Clone, Debug, Default)]
pub(super) struct Reader {
    pub(super) epoch: u8,
    pub(super) owner: u8,
    pub(super) last: u8,
    pub(super) chain: u64,
    pub(super) broken: bool,
    pub(super) accepted: Vec<Name>,
    /// The last accepted sequence of each older epoch, for a reader that still takes its records.
    older: Vec<(u8, u8)>,
    pub(super) wrong: Option<Broken>,
}

impl Reader {
    pub(super) fn read(rules: Rules, log: &[Record]) -> Self {
        let mut reader = Self::default();
        for record in log {
            reader.judge(rules, record);
        }
        reader
    }

    fn judge(&mut self, rules: Rules, record: &Record) {
        if record.seq == 0 {
            return self.judge_epoch(rules, record);
        }
        if record.epoch < self.epoch {
            return self.judge_old(rules, record);
        }
        if record.epoch > self.epoch || (self.broken && rules.has(Rule::GapEndsEpoch)) {
            return;
        }
        let repeated = record.seq <= self.last;
        if rules.has(Rule::SequenceChecked) && repeated {
            return;
        }
        let gap = rules.has(Rule::SequenceChecked) && record.seq != self.last + 1;
        let other = rules.has(Rule::HashChained) && record.previous != self.chain;
        if gap || other {
            self.broken = true;
            return;
        }
        self.last = record.seq;
        self.accept(record);
    }

    fn judge_epoch(&mut self, rules: Rules, record: &Record) {
        let next = record.epoch == self.epoch + 1;
        let same = record.epoch == self.epoch && !rules.has(Rule::FirstEpochWins);
        let any = record.epoch != self.epoch && !rules.has(Rule::EpochIsNext);
        if !(next || same || any) || self.accepted.contains(&record.name()) {
            return;
        }
        self.older.push((self.epoch, self.last));
        (self.epoch, self.owner, self.last) = (record.epoch, record.owner, 0);
        self.broken = false;
        self.chain = chain(self.chain, record.name());
        self.accepted.push(record.name());
    }

    fn judge_old(&mut self, rules: Rules, record: &Record) {
        if rules.has(Rule::OldEpochIgnored) {
            return;
        }
        let Some(tail) = self.older.iter_mut().find(|tail| tail.0 == record.epoch) else { return };
        if record.seq == tail.1 + 1 {
            tail.1 = record.seq;
            self.accept(record);
        }
    }

    fn accept(&mut self, record: &Record) {
        if record.previous != self.chain {
            self.wrong.get_or_insert(Broken::WithoutItsCause);
        }
        self.chain = chain(self.chain, record.name());
        self.accepted.push(record.name());
    }
}
