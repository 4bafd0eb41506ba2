//! `Read` over one or several shards, without appends.
//!
//! Round one answers values of an acknowledged position once nothing undecided covers them. Round two,
//! sent after the last answer of round one, confirms that nothing wrote them since: so there was an
//! instant, between the two rounds, at which all the values stood together.

use std::sync::Arc;

use wal_core::{Epoch, Now, Row, RowKey, Sequence, TxnId};

use super::admit::{Asked, Waiter};
use super::locks::{Age, observe};
use super::{Rule, Rules, ShardCommand, ShardEngine};
use crate::message::{Origin, ShardReply};

/// Reads queue behind every transaction of their time: ids of version 7 are all smaller.
const READ_IDS_FROM: u128 = u128::MAX << 64;

impl<R: Rules> ShardEngine<R> {
    pub(super) fn on_read(
        &mut self,
        now: Now,
        origin: Origin,
        keys: Arc<[RowKey]>,
        only: bool,
        out: &mut Vec<ShardCommand>,
    ) {
        if self.waiting.len() >= self.config.limits.max_waiting {
            out.push(ShardCommand::Reply { origin, reply: ShardReply::Overloaded });
            return;
        }
        let age = self.next_read_age(now);
        self.consider_read(now, age, Waiter::new(Asked::Read { keys, only }, origin, now));
    }

    /// A read is younger than every transaction of its time.
    pub(super) fn next_read_age(&mut self, now: Now) -> Age {
        self.reads_begun += 1;
        (now.millis(), TxnId(READ_IDS_FROM | u128::from(self.reads_begun)))
    }

    /// Rows that are at hand.
    pub(super) fn rows_of(&mut self, keys: &[RowKey]) -> Vec<Row> {
        let row = |key: &RowKey| self.rows.get(key).expect("every row is at hand").clone();
        keys.iter().map(row).collect()
    }

    pub(super) fn consider_read(&mut self, now: Now, age: Age, mut waiter: Waiter) {
        let Asked::Read { keys, only } = waiter.asked.clone() else { return };
        let covered = keys.iter().any(|key| self.locks.is_covered(key))
            && self.rules.holds(Rule::ReadWaitsForUndecided)
            && !self.counts_as_aborted(now, keys.as_ref());
        let mut at_hand = true;
        for key in keys.iter() {
            at_hand &= self.row_at_hand(age, key, &mut waiter.pinned);
        }
        if covered || !at_hand {
            if waiter.locks.is_empty() {
                keys.iter().for_each(|key| observe(&mut waiter.locks, key));
            }
            return self.park(age, waiter);
        }
        let rows = self.rows_of(&keys);
        self.leave_queues(age, &waiter);
        let epoch = self.acceptor.epoch;
        let mark = self.chain.tail();
        for origin in &waiter.origins {
            let reply = ShardReply::Rows { epoch, mark, rows: Vec::clone(&rows) };
            // Of one shard only, this answer is the last word, and must prove that the shard still leads.
            if only && self.must_be_proved_since(waiter.since_us) {
                self.reply_proved(*origin, reply);
            } else {
                self.reply(*origin, reply);
            }
        }
    }

    /// Whether a read that began at `since_us` needs a lease now, after the tables were read: always.
    /// (Without the rule, one that was valid then does for it.)
    fn must_be_proved_since(&self, since_us: u64) -> bool {
        self.rules.holds(Rule::LeaseTestedAfterRead) || !self.has_lease_until(since_us)
    }

    /// Whether everything undecided over these rows is taken for aborted: never. (Without the rule, what
    /// will soon be old enough to be recovered is.)
    fn counts_as_aborted(&self, now: Now, keys: &[RowKey]) -> bool {
        let old_us = self.config.limits.recover_after_us / 8;
        !self.rules.holds(Rule::ReadWaitsForAbort)
            && self.ledger.prepared.iter().all(|id| {
                let held = self.ledger.entry(*id).and_then(|entry| entry.prepared.as_ref());
                held.is_none_or(|held| {
                    now.mono_us >= held.since_us + old_us
                        || !held.part.iter().any(|op| keys.contains(&op.key))
                })
            })
    }

    pub(super) fn on_confirm(
        &mut self,
        origin: Origin,
        keys: &[RowKey],
        epoch: Epoch,
        mark: Sequence,
        tries: u32,
    ) {
        let unchanged = epoch == self.acceptor.epoch
            && keys
                .iter()
                .all(|key| self.rows.unwritten_since(key, mark) && !self.locks.is_covered(key));
        self.reply_proved(origin, ShardReply::Confirmed { tries, unchanged });
    }
}
