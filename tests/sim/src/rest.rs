//! The end of a world: everything must come to rest, and soon.

use crate::client::Doing;
use crate::failure::{Check, Failure};
use crate::message::Event;
use crate::oracle::expected_tables;
use crate::world::{Probe, REST_WITHIN_US, World};

impl World {
    /// Looks whether everything has come to rest.
    pub(crate) fn on_watch(&mut self) -> Result<(), Failure> {
        let since = self.healed_at.unwrap_or(self.now_us);
        if self.now_us > since + REST_WITHIN_US {
            return Err(Failure::new(Check::Stuck, self.what_is_stuck()));
        }
        if self.space.probing == Probe::NotYet {
            let done = self.space.clients.iter().all(|client| client.doing == Doing::Finished);
            if done {
                self.begin_probe();
            }
        }
        if self.space.probing == Probe::Resting
            && self.is_at_rest()
            && self.has_done_all()
            && self.has_delivered()
            && self.regions_are_at_rest()
        {
            self.space.probing = Probe::Rested;
            return Ok(());
        }
        self.schedule(20_000, Event::Watch);
        Ok(())
    }

    pub(crate) fn is_at_rest(&self) -> bool {
        self.space.truth.prepared().next().is_none()
            && self.undecided().next().is_none()
            && *self.space.store.rows() == expected_tables(&self.space)
    }

    /// Transactions that somebody was promised would be decided, and are not.
    fn undecided(&self) -> impl Iterator<Item = usize> + '_ {
        let open = |index: &usize| {
            let txn = &self.space.history.txns[*index];
            let truth = self.space.truth.txn(txn.txn.id);
            txn.logged
                && truth.is_none_or(|truth| truth.committed.is_none() && truth.closed.is_empty())
        };
        (0..self.space.history.txns.len()).filter(open)
    }

    fn what_is_stuck(&self) -> String {
        let mut story =
            format!("not at rest {} s after everything healed; ", REST_WITHIN_US / 1_000_000);
        for (index, client) in self.space.clients.iter().enumerate() {
            if client.doing == Doing::Finished {
                continue;
            }
            let ids: Vec<String> = client
                .unresolved
                .iter()
                .filter(|txn| !self.is_resolved(**txn))
                .map(|txn| self.space.history.txns[*txn].txn.id.to_string())
                .collect();
            story += &format!("client {index} is {:?}, unresolved {ids:?}; ", client.doing);
        }
        for (shard, id) in self.space.truth.prepared() {
            story += &format!("shard {shard} holds locks of {id}; ");
        }
        for txn in self.undecided() {
            story +=
                &format!("{} was logged and is not decided; ", self.space.history.txns[txn].txn.id);
        }
        if self.space.probing == Probe::Resting {
            let expected = expected_tables(&self.space);
            for (key, row) in &expected {
                let stored = self.space.store.row(key);
                if stored != *row {
                    story += &format!("{key:?} holds {stored:?}, committed is {row:?}; ");
                }
            }
        }
        story += &self.story_of_regions();
        story += &self.undelivered();
        for (slot, node) in self.space.nodes.iter().enumerate() {
            for seat in node.process.iter().flat_map(|process| process.seats.iter().flatten()) {
                let status = seat.engine.status();
                story += &format!("\n  n{slot} {:?} {status:?}", seat.phase);
            }
        }
        story
    }
}
