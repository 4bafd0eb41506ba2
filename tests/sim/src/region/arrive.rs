//! What servers do for regions: they apply batches as transactions, say what has arrived, and give pulses. As
//! `coordinator/src/service/regions` does.

use std::sync::Arc;

use coordinator::api::{Answer, Call, CallAnswer, Level, ReadAnswer};
use delivery::region::Batch;
use wal_core::build::{Arriving, arrival, arrived_columns, arriving, build_key, pulse};
use wal_core::limits::MAX_CLOCK_DRIFT_US;
use wal_core::namespace::Namespace;
use wal_core::region::RegionSet;
use wal_core::{
    AbortReason, ColumnId, Row, RowKey, RowOp, ShardId, Timestamp, Transaction, WriteOp,
};

use super::namespace::{NAMES, RegionPlan};
use super::{Asked, Asker, Heard, SERVER};
use crate::bug::AdapterBug;
use crate::client::{About, Pending};
use crate::message::{Event, Message};
use crate::workload::{Kind, as_number};
use crate::world::{World, trace};

/// What is later than the server's clock by more waits until it is not.
const MAX_AHEAD_US: i64 = MAX_CLOCK_DRIFT_US / 4;
/// After a pulse has failed, another is given so much later.
const PULSE_AGAIN_US: u64 = 100_000;
/// In the table of what has arrived.
pub(super) const WATERMARK: ColumnId = ColumnId(1);
pub(super) const TRANSACTIONS: ColumnId = ColumnId(3);

/// A call that a server has made of its own gateway.
pub(super) struct Served {
    asker: Asker,
    slot: usize,
    what: Serving,
}

#[derive(Clone, Copy)]
enum Serving {
    /// A batch; with it everything is there up to this time.
    Batch(Timestamp),
    /// What has arrived is read.
    Arrived,
    /// A pulse.
    Pulse,
}

/// The row of what has arrived from a region, routed.
fn arrived_key(namespace: &Namespace, from: u8) -> (ShardId, RowKey) {
    let columns = arrived_columns(NAMES[usize::from(from)]);
    build_key(namespace, "arrived", &columns).expect("the table is as it was declared")
}

/// What a row of what has arrived says.
fn heard_in(row: &Row) -> Heard {
    let number = |column| row.get(column).map_or(0, |value| as_number(value));
    Heard::Arrived(Timestamp(number(WATERMARK)), number(TRANSACTIONS) as u64)
}

/// Planted: what another region wrote, as of the time at which it arrives.
fn as_arriving(op: &RowOp, at: Timestamp) -> RowOp {
    let WriteOp::Merge(row) = &op.write else { return op.clone() };
    let mut row = row.clone();
    row.deleted_at = row.deleted_at.map(|_| at.of_delete());
    row.marker_at = row.marker_at.map(|_| at.of_put());
    for cell in &mut row.cells {
        cell.timestamp = if cell.value.is_some() { at.of_put() } else { at.of_delete() };
    }
    RowOp { write: WriteOp::Merge(row), ..op.clone() }
}

impl World {
    /// The namespace of this region, in the version that is in force.
    fn namespace(&self) -> &Namespace {
        let version = self.space.plan.version(self.now_us);
        &self.regions.namespaces[&self.ns][usize::from(version > 1)]
    }

    /// The number of the other region.
    fn other_region(&self) -> u8 {
        1 - self.space.plan.region.as_ref().map_or(0, |region: &RegionPlan| region.number)
    }

    /// Some transactions stay where they are committed: each of their parts says so.
    pub(crate) fn name_regions(&mut self, txn: &mut Transaction) {
        let Some(region) = &self.space.plan.region else { return };
        if !self.rng.chance(region.stays_ppm) {
            return;
        }
        let here = RegionSet::default().with(region.number);
        for (_, part) in &mut txn.parts {
            let part = Arc::make_mut(part);
            part.push(here.row());
            part.sort_by(|a, b| a.key.cmp(&b.key));
        }
    }

    /// Some reads ask what has arrived, too.
    pub(crate) fn read_arrived_too(&mut self, keys: &mut Vec<RowKey>) {
        if self.space.plan.region.is_some() && self.rng.coin() {
            keys.push(arrived_key(self.namespace(), self.other_region()).1);
        }
    }

    /// A server of this region is asked something by the other.
    pub(super) fn on_asked(&mut self, asker: Asker, asked: Asked, slot: usize) {
        if self.space.nodes[slot].process.is_none() {
            self.count("region: batch came to nobody");
            return self.tell_sender(asker, slot, Heard::Failed(None));
        }
        match asked {
            Asked::Arrived => self.read_arrived(asker, slot),
            Asked::Apply(batch, before) => {
                let latest_us = self.clock(slot).wall_us + MAX_AHEAD_US;
                if let Ok(ahead_us @ 1..) = u64::try_from(batch.until.0 - latest_us) {
                    self.count("region: batch ahead of the clock");
                    return self.tell_sender(asker, slot, Heard::Failed(Some(ahead_us)));
                }
                self.apply_batch(asker, slot, &batch, before);
            }
        }
    }

    fn read_arrived(&mut self, asker: Asker, slot: usize) {
        let (shard, key) = arrived_key(self.namespace(), self.other_region());
        let about = About::Read { keys: vec![key.clone()] };
        let what = Call::Read { keys: vec![(shard, key)] };
        self.call_gateway(slot, about, what, Served { asker, slot, what: Serving::Arrived });
    }

    /// A batch is one transaction here.
    fn apply_batch(&mut self, asker: Asker, slot: usize, batch: &Batch, before: u64) {
        let id = self.draw_id();
        let namespace = self.namespace();
        let settings = namespace.region().expect("it is in two");
        let what = Arriving {
            from: NAMES[usize::from(self.other_region())],
            after: batch.after,
            until: batch.until,
            term: settings.term,
            transactions: before + batch.transactions,
        };
        let built = arrival(namespace, id, &arriving(settings, what), batch.rows.clone());
        let mut txn = built.expect("the table is as it was declared");
        let here = 1 - self.other_region();
        let at = Timestamp::propose(here, self.clock(slot).wall_us, Timestamp(0));
        for (_, part) in &mut txn.parts {
            for op in Arc::make_mut(part) {
                if self.space.plan.has_bug(AdapterBug::TakenWithoutCondition) {
                    op.conditions.clear();
                }
                if self.space.plan.has_bug(AdapterBug::MergedAtArrival) {
                    *op = as_arriving(op, at);
                }
            }
        }
        trace!(
            self,
            "n{slot} applies what committed from {} to {} there: {id}", batch.after, batch.until
        );
        let served = Served { asker, slot, what: Serving::Batch(batch.until) };
        self.submit_served(txn, Kind::Arrival, served);
    }

    /// A sender has the last timestamps of some shards raised.
    pub(super) fn give_pulse(&mut self, asker: Asker, slot: usize, shards: &[ShardId]) {
        self.count("region: pulse");
        let id = self.draw_id();
        let txn = pulse(self.namespace(), id, shards, false);
        self.submit_served(txn, Kind::Pulse, Served { asker, slot, what: Serving::Pulse });
    }

    fn submit_served(&mut self, txn: Transaction, kind: Kind, served: Served) {
        let index = self.space.history.add(txn, kind, None);
        let entry = &mut self.space.history.txns[index];
        entry.first_sent_us = self.now_us;
        entry.sent = 1;
        let level = Level::Committed;
        let what = Call::Submit { txn: Arc::clone(&entry.txn), level };
        self.call_gateway(served.slot, About::Submit { txn: index, level }, what, served);
    }

    /// A server calls the gateway in its own process.
    fn call_gateway(&mut self, slot: usize, about: About, what: Call, served: Served) {
        let call = self.number();
        let sent_us = self.now_us;
        trace!(self, "server => n{slot} call {call}: {}", crate::names::brief(&what));
        self.space.calls.insert(call, Pending { client: SERVER, about, sent_us, answered: false });
        self.regions.calls.insert(call, served);
        let delay = self.rng.below(100);
        self.schedule(
            delay,
            Event::Deliver { slot, message: Box::new(Message::Call { call, what }) },
        );
    }

    /// A gateway has answered a server.
    pub(crate) fn on_served(&mut self, call: u64, answer: &CallAnswer) {
        let Some(Served { asker, slot, what }) = self.regions.calls.remove(&call) else { return };
        let heard = match (what, answer) {
            (Serving::Pulse, answer) => {
                let is_given = matches!(answer, CallAnswer::Submit(Answer::Committed { .. }));
                let again_us = self.now_us + if is_given { 0 } else { PULSE_AGAIN_US };
                if let Some(sender) = self.regions.ways[asker.way].senders.get_mut(&asker.sender) {
                    sender.no_pulse_before_us = again_us;
                }
                return;
            }
            (Serving::Batch(until), CallAnswer::Submit(Answer::Committed { .. })) => {
                self.count("region: batch applied");
                Heard::Applied(until)
            }
            (
                Serving::Batch(_),
                CallAnswer::Submit(Answer::Aborted {
                    reason: AbortReason::ConditionFailed { .. },
                    ..
                }),
            ) => {
                self.count("region: batch begins behind another watermark");
                return self.read_arrived(asker, slot);
            }
            (Serving::Arrived, CallAnswer::Read(ReadAnswer::Rows(rows))) => {
                heard_in(rows.first().unwrap_or(&Row::default()))
            }
            (Serving::Batch(_) | Serving::Arrived, _) => Heard::Failed(None),
        };
        self.tell_sender(asker, slot, heard);
    }
}
