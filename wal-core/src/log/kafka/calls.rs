//! Who waits for which answers. A call is answered when all of its batches are, and never before an earlier
//! call that shares a shard with it: so each shard's batches complete in order (clause 5).

use std::collections::{BTreeMap, VecDeque};
use std::panic::{self, AssertUnwindSafe};

use super::term::Ticket;
use crate::id::ShardId;
use crate::log::{AppendDone, Appended};

struct Call {
    shards: Vec<ShardId>,
    results: Vec<Option<Appended>>,
    open: usize,
    done: AppendDone,
}

/// Every append that was not answered yet.
#[derive(Default)]
pub(super) struct Calls {
    next: u64,
    calls: BTreeMap<u64, Call>,
    queues: BTreeMap<ShardId, VecDeque<u64>>,
}

impl Calls {
    /// Takes a call in; its batches are named by tickets `0 .. shards.len()` of the number returned.
    pub(super) fn open(&mut self, shards: Vec<ShardId>, done: AppendDone) -> u64 {
        let number = self.next;
        self.next += 1;
        for shard in &shards {
            let queue = self.queues.entry(*shard).or_default();
            if queue.back() != Some(&number) {
                queue.push_back(number);
            }
        }
        let open = shards.len();
        self.calls.insert(number, Call { results: vec![None; open], open, shards, done });
        number
    }

    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Notes one answer and calls back everybody who has all of theirs. A call without batches is answered
    /// by [`Self::complete`].
    pub(super) fn settle(&mut self, ticket: Ticket, answer: Appended) {
        let call = self.calls.get_mut(&ticket.call).expect("a ticket is settled once");
        debug_assert!(call.results[ticket.slot].is_none());
        call.results[ticket.slot] = Some(answer);
        call.open -= 1;
        if call.open == 0 {
            self.complete(ticket.call);
        }
    }

    /// Calls back this call, and those that it held up, if nothing holds it up.
    pub(super) fn complete(&mut self, number: u64) {
        let mut candidates = VecDeque::from([number]);
        while let Some(number) = candidates.pop_front() {
            let ready = self.calls.get(&number).is_some_and(|call| {
                let first = |shard| self.queues[shard].front() == Some(&number);
                call.open == 0 && call.shards.iter().all(first)
            });
            if !ready {
                continue;
            }
            let Some(call) = self.calls.remove(&number) else { continue };
            for shard in &call.shards {
                let queue = self.queues.entry(*shard).or_default();
                if queue.front() == Some(&number) {
                    queue.pop_front();
                    candidates.extend(queue.front());
                }
                if queue.is_empty() {
                    self.queues.remove(shard);
                }
            }
            let results = call.results.into_iter().flatten().collect();
            let done = call.done;
            // The panic was reported where it happened; the others must not wait for ever because of it.
            if panic::catch_unwind(AssertUnwindSafe(|| done(results))).is_err() {
                tracing::error!("the callback of an append panicked");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::id::Position;

    const A: ShardId = ShardId(0);
    const B: ShardId = ShardId(1);

    #[test]
    fn calls_that_share_a_shard_complete_in_order_and_others_do_not_wait() {
        let mut calls = Calls::default();
        let completed: Arc<Mutex<Vec<u64>>> = Arc::default();
        let note = |number: u64| -> AppendDone {
            let completed = Arc::clone(&completed);
            Box::new(move |_| completed.lock().expect("nobody panics").push(number))
        };
        let durable = || Appended::Durable { first: Position(1) };
        let both = calls.open(vec![A, B], note(0));
        let a = calls.open(vec![A], note(1));
        let other = calls.open(vec![ShardId(2)], note(2));
        let a_again = calls.open(vec![A, A], note(3));
        calls.settle(Ticket { call: a, slot: 0 }, durable());
        calls.settle(Ticket { call: both, slot: 0 }, durable());
        calls.settle(Ticket { call: a_again, slot: 1 }, durable());
        calls.settle(Ticket { call: a_again, slot: 0 }, durable());
        assert!(completed.lock().expect("nobody panics").is_empty());
        calls.settle(Ticket { call: other, slot: 0 }, durable());
        assert_eq!(*completed.lock().expect("nobody panics"), [2]);
        calls.settle(Ticket { call: both, slot: 1 }, durable());
        assert_eq!(*completed.lock().expect("nobody panics"), [2, 0, 1, 3]);
        assert!(calls.is_empty());
        let empty = calls.open(Vec::new(), note(4));
        calls.complete(empty);
        assert_eq!(completed.lock().expect("nobody panics").last(), Some(&4));
    }
}
