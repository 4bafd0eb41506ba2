//! The order of each key, and the order in which heads are sent.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::collections::btree_map::Entry;

use bytes::Bytes;

use crate::message::Ticket;

/// For each key of which a message is held, those behind the head, in log order.
///
/// The head itself is not in here, so a key with one message costs no allocation of its own. A search tree
/// and not a hash table: clients choose the keys, and no choice of theirs may make it slow.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    lanes: BTreeMap<Bytes, VecDeque<Ticket>>,
}

impl Lanes {
    /// A message joins the lane of its key. Says whether it is the head.
    pub(crate) fn join(&mut self, key: &Bytes, ticket: Ticket) -> bool {
        match self.lanes.entry(key.clone()) {
            Entry::Vacant(lane) => {
                lane.insert(VecDeque::new());
                true
            }
            Entry::Occupied(mut lane) => {
                lane.get_mut().push_back(ticket);
                false
            }
        }
    }

    /// The head leaves the lane of its key. Says which message is the head now, if one is left.
    pub(crate) fn leave(&mut self, key: &Bytes) -> Option<Ticket> {
        let next = self.lanes.get_mut(key)?.pop_front();
        if next.is_none() {
            self.lanes.remove(key);
        }
        next
    }

    /// How many keys there are.
    pub(crate) fn len(&self) -> usize {
        self.lanes.len()
    }
}

/// Which message is sent next: fresh ones and retries take turns, each in the order in which they came.
///
/// Neither waits for all of the other: many failing keys do not starve the fresh, nor does a long backlog
/// hold up the retry that the mark waits for.
#[derive(Debug, Default)]
pub(crate) struct Ready {
    fresh: VecDeque<Ticket>,
    again: VecDeque<Ticket>,
    again_was_last: bool,
}

impl Ready {
    pub(crate) fn push_fresh(&mut self, ticket: Ticket) {
        self.fresh.push_back(ticket);
    }

    pub(crate) fn push_again(&mut self, ticket: Ticket) {
        self.again.push_back(ticket);
    }

    /// The next. It may have been dealt with since it was pushed.
    pub(crate) fn pop(&mut self) -> Option<Ticket> {
        let (turn, other) = if self.again_was_last {
            (self.fresh.pop_front(), &mut self.again)
        } else {
            (self.again.pop_front(), &mut self.fresh)
        };
        let from_turn = turn.is_some();
        let ticket = turn.or_else(|| other.pop_front())?;
        self.again_was_last ^= from_turn;
        Some(ticket)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.fresh.is_empty() && self.again.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use wal_core::Position;

    use super::*;

    const fn ticket(position: u64) -> Ticket {
        Ticket { position: Position(position), index: 0 }
    }

    #[test]
    fn a_lane_hands_out_its_messages_in_order_and_then_is_gone() {
        let (mut lanes, key) = (Lanes::default(), Bytes::from_static(b"k"));
        assert!(lanes.join(&key, ticket(1)));
        assert!(!lanes.join(&key, ticket(2)));
        assert!(!lanes.join(&key, ticket(3)));
        assert!(lanes.join(&Bytes::from_static(b"other"), ticket(4)));
        assert_eq!(lanes.leave(&key), Some(ticket(2)));
        assert_eq!(lanes.leave(&key), Some(ticket(3)));
        assert_eq!((lanes.leave(&key), lanes.len()), (None, 1));
        assert!(lanes.join(&key, ticket(5)));
    }

    #[test]
    fn fresh_messages_and_retries_take_turns() {
        let mut ready = Ready::default();
        (1..=4).for_each(|number| ready.push_fresh(ticket(number)));
        (11..=12).for_each(|number| ready.push_again(ticket(number)));
        let order: Vec<u64> = std::iter::from_fn(|| ready.pop()).map(|t| t.position.0).collect();
        assert_eq!(order, [11, 1, 12, 2, 3, 4]);
        assert!(ready.is_empty());
    }
}
