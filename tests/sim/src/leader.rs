//! The runtime of a shard engine, simulated: it feeds the engine and carries out its commands.

use std::sync::Arc;

use coordinator::interface::CommitEvent;
use participant::engine::{
    HaltReason, IoId, ParkedChoice, Rule, ShardCommand, ShardConfig, ShardEvent,
};
use participant::message::{Origin, Outcome, ShardReply, ShardRequest, Vote};
use wal_core::{AbortReason, Epoch, Position, Row, RowKey, RowMutation, ShardId};
use xxhash_rust::xxh3::xxh3_64;

use crate::bug::AdapterBug;
use crate::failure::{Check, Failure};
use crate::fault::Fault;
use crate::message::{Cut, Event, SeatId};
use crate::names;
use crate::plan::Flavour;
use crate::process::{Phase, Seat};
use crate::producer::Producer;
use crate::store::Refused;
use crate::world::{World, trace};

/// Records that a candidate is fed at a time.
const FEED: usize = 64;

impl World {
    pub(crate) fn seat_id(&self, slot: usize, shard: ShardId) -> Option<SeatId> {
        let seat = self.space.nodes[slot].process.as_ref()?.seats[shard.0 as usize].as_ref()?;
        Some(SeatId { slot, shard, uid: seat.uid })
    }

    pub(crate) fn seat(&mut self, id: SeatId) -> Option<&mut Seat> {
        let seat = self.space.nodes[id.slot].process.as_mut()?.seat(id.shard)?;
        (seat.uid == id.uid).then_some(seat)
    }

    /// Makes an engine for a shard, which reads the log and stands.
    pub(crate) fn stand(&mut self, slot: usize, shard: ShardId) {
        let hint_lost = self.fires(Fault::HintLost);
        let log = self.space.broker.shard(shard);
        let hint = if hint_lost { None } else { log.hint() };
        let from = hint.unwrap_or(Position(0));
        let Ok(next) = log.start(from) else { return };
        let config = ShardConfig {
            shard,
            log: self.space.log_identity,
            leadership: self.space.plan.leadership(),
            limits: self.space.plan.limits,
        };
        let uid = self.number();
        let planted = self.space.plan.rule();
        let Some(process) = &self.space.nodes[slot].process else { return };
        let schema = Arc::clone(&self.space.schemas[usize::from(process.knows_newer)]);
        let engine = crate::engines::shard(config, schema, planted);
        let seat = Seat {
            uid,
            engine,
            phase: Phase::Reading,
            next,
            producer: Producer::default(),
            take_scheduled: false,
            draining_since: None,
            singles: Vec::new(),
        };
        let Some(process) = &mut self.space.nodes[slot].process else { return };
        process.seats[shard.0 as usize] = Some(seat);
        trace!(self, "n{slot} s{shard} reads the log from {next}");
        let delay = self.rng.below(self.space.plan.log_us);
        self.schedule(delay, Event::Poll { seat: SeatId { slot, shard, uid } });
    }

    /// Ends a seat; another engine may be made after a while.
    pub(crate) fn vacate(&mut self, id: SeatId) {
        let retry_at = self.now_us + self.rng.range(5_000..150_000);
        let Some(process) = &mut self.space.nodes[id.slot].process else { return };
        process.seats[id.shard.0 as usize] = None;
        process.retry_at[id.shard.0 as usize] = retry_at;
    }

    /// Feeds a candidate with the log.
    pub(crate) fn on_poll(&mut self, id: SeatId) -> Result<(), Failure> {
        let cut = self.cuts.contains(&Cut::Log { slot: id.slot });
        // Planted: who stood does not read what came of it.
        let blind = self.space.plan.rule() == Some(Rule::EpochIsReadBack);
        let Some(seat) = self.seat(id) else { return Ok(()) };
        if matches!(seat.phase, Phase::Leading(_)) {
            return Ok(());
        }
        if seat.phase == Phase::Standing && blind {
            return Ok(());
        }
        let mut next = seat.next;
        if cut {
            self.schedule(20_000, Event::Poll { seat: id });
            return Ok(());
        }
        let log = self.space.broker.shard(id.shard);
        if log.start(Position(next)).is_err() {
            self.count("replay met a trimmed position");
            self.vacate(id);
            return Ok(());
        }
        let past_stable = self.space.plan.has_bug(AdapterBug::ReadsUnstable);
        let records = log.read(next, FEED, past_stable);
        let done = records.len() < FEED;
        for record in records {
            next += 1;
            if let Some(seat) = self.seat(id) {
                seat.next = next;
            }
            self.step_shard(id, ShardEvent::Logged { position: Position(next - 1), record })?;
        }
        let owner = self.nonce(id.slot);
        let Some(seat) = self.seat(id) else { return Ok(()) };
        if matches!(seat.phase, Phase::Leading(_)) {
            return Ok(());
        }
        if done && seat.phase == Phase::Reading {
            seat.phase = Phase::Standing;
            let address = format!("node-{}", id.slot);
            self.step_shard(id, ShardEvent::Stand { owner, address })?;
        }
        let delay = 200 + self.rng.below(self.space.plan.log_us);
        self.schedule(delay, Event::Poll { seat: id });
        Ok(())
    }

    /// One step of a shard engine and everything that it commands.
    pub(crate) fn step_shard(&mut self, id: SeatId, event: ShardEvent) -> Result<(), Failure> {
        let now = self.clock(id.slot);
        let SeatId { slot, shard, .. } = id;
        self.count(names::event(&event));
        if !matches!(event, ShardEvent::Tick) {
            trace!(self, "n{slot} s{shard} <- {}", names::brief(&event));
        }
        let mut commands = std::mem::take(&mut self.shard_commands);
        let Some(seat) = self.seat(id) else {
            self.shard_commands = commands;
            return Ok(());
        };
        seat.engine.step(now, event, &mut commands);
        if !std::mem::replace(&mut seat.take_scheduled, true) {
            let delay = self.rng.below(self.space.plan.take_delay_us);
            self.schedule(delay, Event::Take { seat: id });
        }
        let mut result = Ok(());
        for command in commands.drain(..) {
            result = self.obey_shard(id, command);
            if result.is_err() || self.ends_mid_step(slot) {
                break;
            }
        }
        self.shard_commands = commands;
        self.shard_commands.clear();
        result
    }

    fn obey_shard(&mut self, id: SeatId, command: ShardCommand) -> Result<(), Failure> {
        let SeatId { slot, shard, .. } = id;
        self.count(names::command(&command));
        trace!(self, "n{slot} s{shard} -> {}", names::brief(&command));
        match command {
            ShardCommand::Reply { origin, reply } => {
                self.count(names::reply(&reply));
                if let Some(seat) = self.seat(id) {
                    seat.singles.retain(|(asker, _)| *asker != origin);
                }
                self.reply(slot, origin, shard, reply);
            }
            ShardCommand::Tell { shard, request } => {
                self.request(slot, Origin::default(), shard, request);
            }
            ShardCommand::ReadRows { io, keys } => self.start_read(id, io, keys),
            ShardCommand::Flush { io, mutations } => self.start_flush(id, io, mutations),
            ShardCommand::SyncStore { io } => {
                let mark = self.space.store.sync_mark();
                let delay = 1 + self.rng.below(self.space.plan.store_us);
                self.schedule(delay, Event::Synced { seat: id, io, mark });
            }
            ShardCommand::Checkpointed { checkpoint, trim } => {
                if self.fires(Fault::HintLate) {
                    // Nobody says that it was written: nothing is trimmed.
                    let delay = self.rng.scale(10_000, 2_000_000);
                    self.schedule(delay, Event::Hint { shard, checkpoint });
                } else {
                    self.space.broker.shard(shard).store_hint(checkpoint);
                    self.schedule(self.space.plan.trim_delay_us, Event::Trim { shard, trim });
                }
            }
            ShardCommand::Drive { txn, start, attempt } => {
                self.tell_commit_engine(slot, CommitEvent::Drive { txn, start, attempt });
            }
            ShardCommand::Recover { id, attempt, participants } => {
                self.tell_commit_engine(slot, CommitEvent::Recover { id, attempt, participants });
            }
            ShardCommand::Parked { .. } | ShardCommand::Discarded { .. } => {}
            ShardCommand::Leading { epoch } => return self.on_leading(id, epoch),
            ShardCommand::Halt { why } => return self.on_halt(id, why),
        }
        Ok(())
    }

    /// A hint comes late. Its offset is its write time, so that it cannot go back.
    pub(crate) fn on_late_hint(&mut self, shard: ShardId, checkpoint: Position) {
        let log = self.space.broker.shard(shard);
        if self.space.plan.has_bug(AdapterBug::HintGoesBack) {
            log.overwrite_hint(checkpoint);
        } else {
            log.store_hint(checkpoint);
        }
    }

    fn on_leading(&mut self, id: SeatId, epoch: Epoch) -> Result<(), Failure> {
        let Some(seat) = self.seat(id) else { return Ok(()) };
        seat.phase = Phase::Leading(epoch);
        self.learn_route(id.slot, id.shard, epoch, id.slot)?;
        if let Some(process) = &self.space.nodes[id.slot].process {
            let process = process.number;
            self.schedule(0, Event::Heartbeat { slot: id.slot, process });
        }
        Ok(())
    }

    fn on_halt(&mut self, id: SeatId, why: HaltReason) -> Result<(), Failure> {
        match why {
            HaltReason::Deposed => self.count("halted: deposed"),
            HaltReason::AppendInDoubt(_) => {
                self.count("halted: append in doubt");
                self.report_aborted(id);
            }
            HaltReason::Resigned => self.count("halted: resigned"),
            HaltReason::Corrupt(what) => {
                let SeatId { slot, shard, .. } = id;
                let story = format!("node {slot} halts shard {shard} for good: {what}");
                return Err(Failure::new(Check::Corrupt, story));
            }
        }
        self.vacate(id);
        Ok(())
    }

    /// Planted: the runtime takes "nobody answered" for "it did not happen".
    fn report_aborted(&mut self, id: SeatId) {
        let Some(seat) = self.seat(id) else { return };
        for (origin, txn) in std::mem::take(&mut seat.singles) {
            let vote = Vote::Decided(Outcome::Closed(AbortReason::Fenced));
            self.reply(id.slot, origin, id.shard, ShardReply::Single { id: txn, vote });
        }
    }

    /// What [`Self::report_aborted`] would lie about.
    pub(crate) fn note_single(&mut self, id: SeatId, origin: Origin, request: &ShardRequest) {
        if let ShardRequest::Single { txn, .. } = request
            && self.space.plan.has_bug(AdapterBug::TimeoutIsAborted)
            && let Some(seat) = self.seat(id)
        {
            seat.singles.push((origin, txn.id));
        }
    }

    fn tell_commit_engine(&mut self, slot: usize, event: CommitEvent) {
        let Some(process) = &self.space.nodes[slot].process else { return };
        let process = process.number;
        let delay = self.rng.below(200);
        self.schedule(delay, Event::ToCommit { slot, process, event: Box::new(event) });
    }

    fn start_read(&mut self, seat: SeatId, io: IoId, keys: Vec<RowKey>) {
        let mut there = 1 + self.rng.below(self.space.plan.store_us);
        if self.fires(Fault::ReadSlow) {
            there += self.rng.range(10_000..self.space.plan.slow_read_us);
        }
        if self.cuts.contains(&Cut::Store { slot: seat.slot }) || self.fires(Fault::ReadFailed) {
            let delay = there + self.rng.below(100_000);
            self.schedule(delay, Event::RowsRead { seat, io, rows: None });
            return;
        }
        self.schedule(there, Event::ReadRows { seat, io, keys });
    }

    pub(crate) fn on_read_rows(
        &mut self,
        seat: SeatId,
        io: IoId,
        keys: &[RowKey],
    ) -> Result<(), Failure> {
        if !self.space.store.unreadable(keys).is_empty() {
            // The table is gone, as CQL says it: neither written nor read.
            let back = self.rng.range(1_000..1_000_000);
            self.schedule(back, Event::RowsRead { seat, io, rows: None });
            return Ok(());
        }
        // The tables of a cluster are Cassandra's, which shows neither tombstones nor markers.
        let shown = self.space.plan.flavour == Flavour::Cluster;
        let read = |key: &RowKey| {
            let row = self.space.store.read(key, &mut self.rng);
            if shown { row.shown() } else { row }
        };
        let rows: Vec<Row> = keys.iter().map(read).collect();
        let mut back = 1 + self.rng.below(self.space.plan.store_us);
        if self.fires(Fault::ReadSlow) {
            back += self.rng.range(10_000..400_000);
        }
        self.schedule(back, Event::RowsRead { seat, io, rows: Some(rows) });
        Ok(())
    }

    fn start_flush(&mut self, seat: SeatId, io: IoId, mutations: Arc<[RowMutation]>) {
        let all = mutations.len();
        let ignored = self.space.plan.has_bug(AdapterBug::FailedFlushIsDropped);
        let mut there = 1 + self.rng.below(self.space.plan.store_us);
        if self.fires(Fault::FlushSlow) {
            there += self.rng.range(10_000..500_000);
        }
        let back = there + 1 + self.rng.below(self.space.plan.store_us);
        if self.fires(Fault::RowsRefused) {
            self.refuse_some(&mutations);
        }
        let refused = self.space.store.refused(&mutations);
        if !refused.is_empty() {
            return self.refuse_flush(seat, io, &mutations, refused, (there, back));
        }
        let cut = self.cuts.contains(&Cut::Store { slot: seat.slot });
        if cut || self.fires(Fault::FlushFailed) {
            // Some of it may have been applied before it failed.
            let to = if cut { 0 } else { self.rng.index(all + 1) };
            self.schedule(there, Event::Apply { mutations, from: 0, to });
            self.schedule(back, Event::Flushed { seat, io, fine: ignored });
        } else if self.fires(Fault::FlushLate) {
            let late = back + self.rng.range(10_000..3_000_000);
            self.schedule(late, Event::Apply { mutations, from: 0, to: all });
            self.schedule(back, Event::Flushed { seat, io, fine: ignored });
        } else if self.fires(Fault::FlushHalfSeen) {
            for mutation in mutations.iter() {
                self.space.store.apply_half(mutation);
            }
            self.schedule(back, Event::Flushed { seat, io, fine: ignored });
        } else {
            // Rows reach their replicas each in its own time; all before the answer.
            let cut = self.rng.index(all + 1);
            let second = there + self.rng.below(back - there);
            self.schedule(
                there,
                Event::Apply { mutations: Arc::clone(&mutations), from: 0, to: cut },
            );
            self.schedule(second, Event::Apply { mutations, from: cut, to: all });
            self.schedule(back, Event::Flushed { seat, io, fine: true });
        }
    }

    /// The tables refuse a row of these, or its whole table, for a while.
    fn refuse_some(&mut self, mutations: &[RowMutation]) {
        let key = &mutations[self.rng.index(mutations.len())].key;
        let what = match self.rng.chance(250_000) {
            true => Refused::Table(key.table),
            false => Refused::Row(key.clone()),
        };
        trace!(self, "the tables refuse {what:?}");
        self.space.store.refuse(what.clone());
        let until = self.rng.scale(50_000, 60_000_000);
        let retry = self.rng.coin();
        self.schedule(until, Event::TakenAgain { what, retry });
    }

    /// A flush with rows that are refused: some or all of them are named, and what is beside them is
    /// applied, or some of it, or nothing.
    fn refuse_flush(
        &mut self,
        seat: SeatId,
        io: IoId,
        mutations: &[RowMutation],
        mut refused: Vec<usize>,
        (there, back): (u64, u64),
    ) {
        let beside = (0..mutations.len()).filter(|index| !refused.contains(index));
        let beside: Vec<usize> = beside.collect();
        let some = self.rng.index(beside.len() + 1);
        let applied: Arc<[RowMutation]> =
            beside[..some].iter().map(|index| mutations[*index].clone()).collect();
        self.schedule(there, Event::Apply { mutations: applied, from: 0, to: some });
        if self.rng.chance(100_000) {
            refused.truncate(1);
        }
        self.schedule(back, Event::FlushRefused { seat, io, rows: refused });
    }

    /// The tables take something again.
    pub(crate) fn on_taken_again(&mut self, what: &Refused, retry: bool) -> Result<(), Failure> {
        trace!(self, "the tables take {what:?} again");
        self.space.store.take_again(what);
        if !retry {
            return Ok(());
        }
        for slot in 0..self.space.plan.slots {
            if self.machines[slot].paused_until > self.now_us {
                continue;
            }
            for seat in self.leading_seats(slot) {
                self.step_shard(seat, ShardEvent::RetryParked { which: ParkedChoice::All })?;
            }
        }
        Ok(())
    }

    pub(crate) fn on_apply(&mut self, mutations: &[RowMutation]) {
        let embedded = self.space.plan.flavour == Flavour::Embedded;
        for mutation in mutations {
            self.space.store.apply(mutation, embedded);
            self.mix(xxh3_64(&mutation.key.partition));
        }
    }
}
