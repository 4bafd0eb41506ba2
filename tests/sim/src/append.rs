//! How a leader's batches reach the log: in two flavours, both of them unkind.

use std::sync::Arc;

use participant::engine::ShardEvent;
use wal_core::log::ShardBatch;
use wal_core::record::Verdict;
use wal_core::{Position, ShardId};
use xxhash_rust::xxh3::xxh3_64;

use crate::bug::AdapterBug;
use crate::failure::{Failure, ensure};
use crate::fault::Fault;
use crate::log::Landed;
use crate::message::{Cut, Event, SeatId};
use crate::plan::Flavour;
use crate::process::Pending;
use crate::producer::{Acknowledged, Fate};
use crate::world::{World, trace};

impl World {
    /// The leader takes what was written since the last time, and appends it.
    pub(crate) fn on_take(&mut self, id: SeatId) -> Result<(), Failure> {
        let now = self.clock(id.slot);
        let most = self.space.plan.max_in_flight;
        let Some(seat) = self.seat(id) else { return Ok(()) };
        seat.take_scheduled = false;
        if seat.producer.outstanding.len() >= most {
            return Ok(()); // taken when the next one completes
        }
        let Some(batch) = seat.engine.take_batch(now) else { return Ok(()) };
        let append = self.number();
        let batch = Arc::new(batch);
        let Some(seat) = self.seat(id) else { return Ok(()) };
        seat.producer.submit(append, &batch);
        trace!(
            self,
            "n{} s{} appends #{append}: epoch {}, {} records from {}",
            id.slot,
            id.shard,
            batch.epoch,
            batch.ends.len(),
            batch.first
        );
        match self.space.plan.flavour {
            Flavour::Embedded => self.append_to_disk(id, append, batch),
            Flavour::Cluster => self.append_to_broker(id, append, batch),
        }
        self.complete(id)
    }

    fn append_to_broker(&mut self, seat: SeatId, append: u64, batch: Arc<ShardBatch>) {
        let timeout = self.space.plan.append_timeout_us;
        self.schedule(timeout, Event::AppendTimeout { seat, append });
        let mut delay = 1 + self.rng.below(self.space.plan.log_us);
        if self.fires(Fault::AppendDelayed) {
            delay += self.rng.range(5_000..500_000);
        }
        if self.cuts.contains(&Cut::Log { slot: seat.slot }) || self.fires(Fault::AppendLost) {
            return;
        }
        if self.fires(Fault::AppendRejected) {
            self.schedule(delay, Event::Refused { seat, append });
            return;
        }
        if self.fires(Fault::AppendLate) {
            let late = timeout + self.rng.scale(1_000, 6_000_000);
            self.schedule(late, Event::Land { seat, append, batch, silent: true });
            return;
        }
        let now_us = self.now_us;
        let reordered = self.fires(Fault::AppendReordered);
        if let Some(seat) = self.seat(seat)
            && !reordered
        {
            // One connection: nothing overtakes.
            let arrival = (now_us + delay).max(seat.producer.last_arrival_us + 1);
            seat.producer.last_arrival_us = arrival;
            delay = arrival - now_us;
        } else {
            delay += self.rng.below(20_000);
        }
        let silent = self.fires(Fault::AppendAckLost);
        if self.fires(Fault::AppendRepeated) {
            let again = delay + self.rng.scale(100, 200_000);
            let batch = Arc::clone(&batch);
            self.schedule(again, Event::Land { seat, append, batch, silent: silent || reordered });
        }
        self.schedule(delay, Event::Land { seat, append, batch, silent });
    }

    /// A batch reaches the broker.
    pub(crate) fn on_land(
        &mut self,
        seat: SeatId,
        append: u64,
        batch: &Arc<ShardBatch>,
        silent: bool,
    ) -> Result<(), Failure> {
        let until = self.space.broker.shard(seat.shard).unavailable_until;
        if until > self.now_us {
            let batch = Arc::clone(batch);
            let delay = until - self.now_us + self.rng.below(1_000);
            self.schedule(delay, Event::Land { seat, append, batch, silent });
            return Ok(());
        }
        let gone = self.seat(seat).is_none();
        if gone && self.rng.chance(300_000) {
            return Ok(()); // what a dead process had not sent yet
        }
        let landed = Landed { seat, append, batch: Arc::clone(batch), silent };
        let alone = self.space.plan.faults.has(Fault::LogLeaderChange) && self.healed_at.is_none();
        let log = self.space.broker.shard(seat.shard);
        if alone || !log.unstable.is_empty() {
            log.unstable.push_back(landed);
            let delay = 1 + self.rng.below(self.space.plan.log_us * 8);
            self.schedule(delay, Event::Stable { shard: seat.shard });
            return Ok(());
        }
        self.settle_landed(landed)
    }

    /// A batch that the log's leader held alone is in the log for good, unless that leader is gone.
    pub(crate) fn on_stable(&mut self, shard: ShardId) -> Result<(), Failure> {
        let first = self.space.broker.shard(shard).unstable.pop_front();
        first.map_or(Ok(()), |landed| self.settle_landed(landed))
    }

    fn settle_landed(&mut self, landed: Landed) -> Result<(), Failure> {
        let Landed { seat, append, batch, silent } = landed;
        let offset = if self.loses_tail(&batch) {
            self.space.broker.shard(seat.shard).end()
        } else {
            self.land(seat, append, &batch, batch.ends.len())?
        };
        if !silent {
            let delay = 1 + self.rng.below(self.space.plan.log_us);
            self.schedule(delay, Event::Acknowledged { seat, append, offset });
        }
        Ok(())
    }

    /// Planted: an acknowledged batch is lost with the tail that nobody had flushed.
    fn loses_tail(&mut self, batch: &ShardBatch) -> bool {
        self.space.plan.has_bug(AdapterBug::LosesTail)
            && batch.first.0 > 0
            && self.rng.chance(20_000)
    }

    /// The first `count` records of a batch are in the log from now on.
    pub(crate) fn land(
        &mut self,
        seat: SeatId,
        append: u64,
        batch: &ShardBatch,
        count: usize,
    ) -> Result<u64, Failure> {
        let shard = batch.shard;
        ensure!(shard == seat.shard, Simulator, "a batch of shard {shard} came from {seat:?}");
        let offset = self.space.broker.shard(shard).end();
        let mut ignored = 0;
        for record in batch.records().take(count) {
            self.mix(xxh3_64(&record));
            self.space.broker.shard(shard).records.push(record.clone());
            if self.space.truth.on_record(self.now_us, shard, record)? == Verdict::Ignored {
                ignored += 1;
            }
        }
        trace!(
            self,
            "log s{shard}: #{append} of n{} lands at {offset}: epoch {}, seq {}.., {count} records, {ignored} ignored",
            seat.slot,
            batch.epoch,
            batch.first
        );
        Ok(offset)
    }

    pub(crate) fn on_acknowledged(
        &mut self,
        id: SeatId,
        append: u64,
        offset: u64,
    ) -> Result<(), Failure> {
        let trusts = self.space.plan.has_bug(AdapterBug::NoContiguityCheck);
        let Some(seat) = self.seat(id) else { return Ok(()) };
        if trusts || seat.producer.was_sent_again(append) {
            seat.producer.settle(append, Fate::Durable(offset));
        }
        if seat.producer.on_acknowledged(append, offset) == Acknowledged::MustReadBack {
            let delay = 1 + self.rng.below(self.space.plan.log_us);
            self.schedule(delay, Event::ReadBack { seat: id, append, offset });
        }
        self.complete(id)
    }

    pub(crate) fn on_read_back(
        &mut self,
        id: SeatId,
        append: u64,
        offset: u64,
    ) -> Result<(), Failure> {
        if self.cuts.contains(&Cut::Log { slot: id.slot }) {
            self.schedule(20_000, Event::ReadBack { seat: id, append, offset });
            return Ok(());
        }
        let is_winner = self.space.truth.accepted(id.shard, offset);
        let log = self.space.broker.shard(id.shard);
        let Some(process) = &mut self.space.nodes[id.slot].process else { return Ok(()) };
        let Some(seat) = process.seat(id.shard).filter(|seat| seat.uid == id.uid) else {
            return Ok(());
        };
        let blind = self.space.plan.has_bug(AdapterBug::ContiguityWithoutSequence);
        seat.producer.read_back(append, offset, log, is_winner, blind);
        self.count("read back");
        self.complete(id)
    }

    pub(crate) fn on_refused(&mut self, id: SeatId, append: u64) -> Result<(), Failure> {
        if self.sends_again(id, append) {
            return Ok(());
        }
        if let Some(seat) = self.seat(id) {
            seat.producer.settle(append, Fate::Rejected);
        }
        self.complete(id)
    }

    pub(crate) fn on_append_timeout(&mut self, id: SeatId, append: u64) -> Result<(), Failure> {
        if self.sends_again(id, append) {
            return Ok(());
        }
        let end = self.space.broker.shard(id.shard).end();
        let lies = self.space.plan.has_bug(AdapterBug::UnknownIsDurable);
        if let Some(seat) = self.seat(id) {
            seat.producer.settle(append, if lies { Fate::Durable(end) } else { Fate::Unknown });
        }
        self.complete(id)
    }

    /// Planted: what was refused, or not answered, is sent again behind all that followed it.
    fn sends_again(&mut self, seat: SeatId, append: u64) -> bool {
        if !self.space.plan.has_bug(AdapterBug::ProducerRetries) {
            return false;
        }
        let batch = self.seat(seat).and_then(|seat| seat.producer.send_again(append));
        let Some(batch) = batch else { return false };
        let delay = 1 + self.rng.below(self.space.plan.log_us * 4);
        self.schedule(delay, Event::Land { seat, append, batch, silent: false });
        self.schedule(self.space.plan.append_timeout_us, Event::AppendTimeout { seat, append });
        true
    }

    /// Tells the engine what became of its batches, in the order in which it gave them.
    fn complete(&mut self, id: SeatId) -> Result<(), Failure> {
        while let Some(batch) = self.seat(id).and_then(|seat| seat.producer.pop_settled()) {
            let event = match batch.fate {
                Some(Fate::Durable(offset)) => {
                    // A candidate reads its own epoch record back: whether it won is not said here.
                    let sound = self.space.plan.planted.is_none() && batch.first.0 > 0;
                    for (index, seq) in (batch.first.0..=batch.last.0).enumerate() {
                        ensure!(
                            !sound || self.space.truth.accepted(id.shard, offset + index as u64),
                            Simulator,
                            "the adapter of {id:?} vouches for record {seq} at {offset}"
                        );
                    }
                    ShardEvent::Appended {
                        epoch: batch.epoch,
                        first: batch.first,
                        last: batch.last,
                        position: Position(offset),
                    }
                }
                Some(Fate::Unknown) => ShardEvent::AppendFailed { why: "nobody answered".into() },
                Some(Fate::Rejected) | None => ShardEvent::AppendFailed { why: "refused".into() },
            };
            self.step_shard(id, event)?;
        }
        let Some(seat) = self.seat(id) else { return Ok(()) };
        if !std::mem::replace(&mut seat.take_scheduled, true) {
            let delay = self.rng.below(self.space.plan.take_delay_us);
            self.schedule(delay, Event::Take { seat: id });
        }
        Ok(())
    }

    fn append_to_disk(&mut self, seat: SeatId, append: u64, batch: Arc<ShardBatch>) {
        let Some(process) = &mut self.space.nodes[seat.slot].process else { return };
        if process.disk_dead {
            self.schedule(1, Event::Refused { seat, append });
            return;
        }
        process.disk.push_back(Pending { seat, append, batch });
        self.sync_disk(seat.slot);
    }

    /// Begins a sync of everything that waits, if none runs.
    fn sync_disk(&mut self, slot: usize) {
        let Some(process) = &mut self.space.nodes[slot].process else { return };
        if process.disk_syncing || process.disk_dead || process.disk.is_empty() {
            return;
        }
        process.disk_syncing = true;
        let (number, covers) = (process.number, process.disk.len());
        let delay = 1 + self.rng.below(self.space.plan.log_us);
        self.schedule(delay, Event::DiskSynced { slot, process: number, covers });
    }

    pub(crate) fn on_disk_synced(
        &mut self,
        slot: usize,
        number: u64,
        covers: usize,
    ) -> Result<(), Failure> {
        if !self.is_alive(slot, number) {
            return Ok(());
        }
        let Some(process) = &mut self.space.nodes[slot].process else { return Ok(()) };
        process.disk_syncing = false;
        if process.disk_dead {
            return Ok(());
        }
        let synced: Vec<Pending> = process.disk.drain(..covers).collect();
        for Pending { seat, append, batch } in synced {
            let offset = if self.loses_tail(&batch) {
                self.space.broker.shard(seat.shard).end()
            } else {
                self.land(seat, append, &batch, batch.ends.len())?
            };
            if let Some(seat) = self.seat(seat) {
                seat.producer.settle(append, Fate::Durable(offset));
            }
            self.complete(seat)?;
        }
        self.sync_disk(slot);
        Ok(())
    }

    /// A sync failed: nobody knows what is on disk, and the log takes nothing more.
    pub(crate) fn fail_disk(&mut self, slot: usize) -> Result<(), Failure> {
        let Some(process) = &mut self.space.nodes[slot].process else { return Ok(()) };
        process.disk_dead = true;
        let doubtful: Vec<(SeatId, u64)> =
            process.disk.iter().map(|pending| (pending.seat, pending.append)).collect();
        for (seat, append) in doubtful {
            if let Some(seat) = self.seat(seat) {
                seat.producer.settle(append, Fate::Unknown);
            }
            self.complete(seat)?;
        }
        Ok(())
    }

    /// What of the embedded log's queue a crash leaves behind: a prefix, its last batch perhaps torn.
    pub(crate) fn salvage_disk(&mut self, pending: Vec<Pending>) -> Result<(), Failure> {
        if pending.is_empty() {
            return Ok(());
        }
        let whole = self.rng.index(pending.len() + 1);
        for Pending { seat, append, batch } in &pending[..whole] {
            self.land(*seat, *append, batch, batch.ends.len())?;
        }
        if let Some(Pending { seat, append, batch }) = pending.get(whole)
            && self.fires(Fault::TornTail)
        {
            let count = self.rng.index(batch.ends.len() + 1);
            self.land(*seat, *append, batch, count)?;
        }
        Ok(())
    }
}
