//! What administrators ask about parked rows, and what they are told of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;
use participant::engine::{ParkedChoice, ParkedRow, ShardEvent};
use wal_core::{Now, ShardId, TableId};

use super::core::Core;

/// How long somebody waits for a discard to be durable.
pub(super) const DISCARD_PATIENCE: Duration = Duration::from_secs(10);
/// Rows may be parked with every flush: one line of the log tells of all in so much time.
const TOLD_EVERY_US: u64 = 5_000_000;

/// Parked rows of the shards that one process leads.
#[derive(Clone, Debug, Default)]
pub struct ParkedList {
    /// The rows, by shard and key.
    pub rows: Vec<(ShardId, ParkedRow)>,
    /// How many there are, listed or not.
    pub total: usize,
    /// Shards that it does not lead, each with the address of its leader if that is known.
    pub elsewhere: Vec<(ShardId, Option<Arc<str>>)>,
}

/// What became of a request to try or to discard parked rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParkedDone {
    /// Rows that it was about.
    pub rows: usize,
    /// Shards that this process does not lead, each with the address of its leader if that is known.
    pub elsewhere: Vec<(ShardId, Option<Arc<str>>)>,
}

/// A discard that is not durable on all shards yet.
struct Discarding {
    to: Sender<ParkedDone>,
    done: ParkedDone,
    shards_left: usize,
    until_us: u64,
}

/// What is under way.
#[derive(Default)]
pub(super) struct Parking {
    discards: BTreeMap<u64, Discarding>,
    last: u64,
    /// When rows were last told of, and how many were parked since.
    told_us: Option<u64>,
    untold: usize,
}

impl Core {
    pub(super) fn list_parked(&self, limit: usize) -> ParkedList {
        let mut list = ParkedList { elsewhere: self.not_led_here(), ..ParkedList::default() };
        for (shard, seat) in &self.shards {
            list.total += seat.engine.count_parked(&ParkedChoice::All);
            let left = limit - list.rows.len();
            list.rows.extend(seat.engine.parked(left).into_iter().map(|row| (*shard, row)));
        }
        list
    }

    pub(super) fn retry_parked(&mut self, now: Now, which: &ParkedChoice) -> ParkedDone {
        let mut done = ParkedDone { rows: 0, elsewhere: self.not_led_here() };
        for shard in self.shards_with_parked(which) {
            done.rows += self.shards.get(&shard).map_or(0, |it| it.engine.count_parked(which));
            self.step_shard(now, shard, ShardEvent::RetryParked { which: which.clone() });
        }
        done
    }

    pub(super) fn discard_parked(
        &mut self,
        now: Now,
        which: &ParkedChoice,
        to: Sender<ParkedDone>,
    ) {
        let shards = self.shards_with_parked(which);
        let done = ParkedDone { rows: 0, elsewhere: self.not_led_here() };
        if shards.is_empty() {
            let _ = to.send(done); // who asked may have left
            return;
        }
        self.parking.last += 1;
        let token = self.parking.last;
        let until_us = now.mono_us + DISCARD_PATIENCE.as_micros() as u64;
        let shards_left = shards.len();
        self.parking.discards.insert(token, Discarding { to, done, shards_left, until_us });
        for shard in shards {
            let event = ShardEvent::DiscardParked { token, which: which.clone() };
            self.step_shard(now, shard, event);
        }
    }

    /// One shard's part of a discard is durable.
    pub(super) fn discarded(&mut self, shard: ShardId, token: u64, rows: usize) {
        tracing::warn!(namespace = self.parts.namespace.name(), %shard, rows, "parked rows were discarded");
        let Some(discarding) = self.parking.discards.get_mut(&token) else { return };
        discarding.done.rows += rows;
        discarding.shards_left -= 1;
        if discarding.shards_left == 0 {
            let Discarding { to, done, .. } =
                self.parking.discards.remove(&token).expect("found above");
            let _ = to.send(done); // who asked may have lost patience
        }
    }

    /// Nobody waits any more for discards of leaders that are gone.
    pub(super) fn give_up_discards(&mut self, now: Now) {
        self.parking.discards.retain(|_, discarding| now.mono_us < discarding.until_us);
    }

    /// Tells the operator, once in a while, of rows that the tables refuse.
    pub(super) fn tell_parked(&mut self, now: Now, table: TableId, rows: usize, why: &str) {
        let parking = &mut self.parking;
        parking.untold += rows;
        if parking.told_us.is_some_and(|told_us| now.mono_us < told_us + TOLD_EVERY_US) {
            return;
        }
        parking.told_us = Some(now.mono_us);
        let rows = std::mem::take(&mut parking.untold);
        let namespace = &self.parts.namespace;
        let number = table.to_string();
        let table = namespace.table(table).map_or(&*number, |table| table.full_name());
        tracing::warn!(
            namespace = namespace.name(),
            table,
            rows,
            why,
            "the tables refuse rows for good: they are parked, and tried again every 30 s; see `handfast \
             parked list`"
        );
    }

    fn shards_with_parked(&self, which: &ParkedChoice) -> Vec<ShardId> {
        let has = |shard: &&ShardId| {
            self.is_led_here(**shard) && self.shards[*shard].engine.count_parked(which) > 0
        };
        self.shards.keys().filter(has).copied().collect()
    }

    fn not_led_here(&self) -> Vec<(ShardId, Option<Arc<str>>)> {
        let shards = (0..self.parts.namespace.shards()).map(ShardId);
        let of = |shard| {
            let route = self.among.as_ref().and_then(|among| among.placement().route(shard));
            let other = route.filter(|(_, address)| ***address != *self.parts.address);
            (shard, other.map(|(_, address)| address.clone()))
        };
        shards.filter(|shard| !self.is_led_here(*shard)).map(of).collect()
    }
}
