//! Answers on their way out, each held until the record that caused it is durable.

use std::collections::VecDeque;

use wal_core::Sequence;

use super::interface::ShardCommand;

#[derive(Debug)]
struct Held {
    after: Sequence,
    needs_lease: bool,
    command: ShardCommand,
}

/// One queue, in the order of the records that it waits for.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    queue: VecDeque<Held>,
}

impl Outbox {
    /// Holds `command` until the record `after` is durable and, if `needs_lease`, the shard can vouch
    /// that it still leads. `after` never goes down from one call to the next.
    pub(super) fn hold(&mut self, after: Sequence, needs_lease: bool, command: ShardCommand) {
        debug_assert!(self.queue.back().is_none_or(|held| held.after <= after));
        self.queue.push_back(Held { after, needs_lease, command });
    }

    /// Lets go what may go. What would need a lease that the shard does not have is handed back, to be
    /// held behind a record that proves its leadership.
    pub(super) fn release(
        &mut self,
        durable: Sequence,
        has_lease: bool,
        out: &mut Vec<ShardCommand>,
    ) -> Vec<ShardCommand> {
        let mut unproved = Vec::new();
        while self.queue.front().is_some_and(|held| held.after <= durable) {
            let held = self.queue.pop_front().expect("the queue has a front");
            if held.needs_lease && !has_lease {
                unproved.push(held.command);
            } else {
                out.push(held.command);
            }
        }
        unproved
    }

    /// How many answers are held.
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }
}

#[cfg(test)]
mod tests;
