//! Two regions that write the same rows blindly, each with three shards whose clocks are off; senders that are
//! taken for dead and go on, whose batches come late, twice or never, and whose answers are lost; leaders that
//! take over; transactions that stay undecided, and abort. The world knows what has committed, and judges by that:
//! at every moment a region has of the other exactly what committed there up to the watermark; in the end both
//! have equal rows.

use std::collections::BTreeMap;

use bytes::Bytes;
use participant::follow::{Follower, Place, Scope};
use wal_core::txn::Part;
use wal_core::{
    Cell, CellOp, ColumnId, Millis, Position, Row, RowKey, RowMutation, RowOp, ShardId, TableId,
    Timestamp, TxnId, WriteOp,
};

use super::logs::Shard;
use crate::backoff::Draw;
use crate::region::{Batch, Gather, PiecesTo};
use crate::rules::{Rule, Without};
use crate::runtime::Picks as _;

const SHARDS: u16 = 3;
const KEYS: u64 = 5;
const STEPS: usize = 400;
/// Steps at the end in which nothing fails.
const CALM: usize = 3_000;
const ARRIVED: TableId = TableId(1);
const BATCH_BYTES: usize = 300;

/// What is wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Planted {
    Nothing,
    /// The gathering lacks a rule.
    Without(Rule),
    /// A batch is applied whatever has arrived.
    WithoutCondition,
    /// Who leads next begins with its own clock.
    TimeLostWithLeader,
    /// What came from the other region is sent back.
    SendsWhatItReceived,
    /// What is undecided is not waited for.
    UndecidedIsClosed,
}

/// How often what happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Happened {
    pub(super) batches: u32,
    pub(super) refused: u32,
    pub(super) unanswered: u32,
    pub(super) late: u32,
    pub(super) taken_over: u32,
    pub(super) failovers: u32,
    pub(super) wide: u32,
    pub(super) aborted: u32,
    pub(super) pulses: u32,
}

type Rows = BTreeMap<RowKey, Row>;

fn merge(rows: &mut Rows, mutations: &[RowMutation]) {
    for RowMutation { key, delta } in mutations {
        rows.entry(key.clone()).or_default().merge(delta);
    }
}

/// A transaction over several shards on its way.
struct Pending {
    id: TxnId,
    parts: Vec<(ShardId, Part)>,
    /// How many have prepared.
    prepared: usize,
    timestamp: Timestamp,
    /// How many have heard that it is committed or aborted; none if it is undecided.
    told: Option<(bool, usize)>,
}

/// What a region is.
struct Region {
    number: u8,
    shards: Vec<Shard>,
    pending: Vec<Pending>,
    /// What has committed here: when, and what it writes.
    committed: Vec<(Timestamp, Vec<RowMutation>)>,
    rows: Rows,
    /// What has come from the other region, and up to when.
    received: Rows,
    watermark: Timestamp,
    /// What had come at each watermark.
    history: Vec<(Timestamp, Rows)>,
}

/// Somebody who sends from one region to the other.
struct Sender {
    gather: Gather<Without>,
    followers: Vec<Follower>,
    read: Vec<usize>,
    is_applying: bool,
}

/// A batch on its way to the region that is not `from`.
struct Flying {
    from: usize,
    batch: Batch,
    /// The number of its sender, which hears the answer if it is not lost.
    sender: u64,
}

pub(super) struct World {
    draw: Draw,
    planted: Planted,
    now_us: i64,
    ids: u64,
    regions: [Region; 2],
    /// By the region from which they send, and their numbers: the newest is in office.
    senders: [BTreeMap<u64, Sender>; 2],
    /// What is stored of how far each shard was read, and what had arrived then.
    marks: [Vec<(Timestamp, Place)>; 2],
    flying: Vec<Flying>,
    numbers: u64,
    happened: Happened,
}

impl World {
    pub(super) fn new(seed: u64, planted: Planted) -> Self {
        let region = |number| Region {
            number,
            shards: (0..SHARDS).map(|_| Shard::new(number)).collect(),
            pending: Vec::new(),
            committed: Vec::new(),
            rows: Rows::new(),
            received: Rows::new(),
            watermark: Timestamp(0),
            history: Vec::new(),
        };
        let no_marks = || vec![(Timestamp(0), Place::default()); usize::from(SHARDS)];
        let mut world = Self {
            draw: Draw::new(seed),
            planted,
            now_us: 1_000_000,
            ids: 0,
            regions: [region(0), region(1)],
            senders: [BTreeMap::new(), BTreeMap::new()],
            marks: [no_marks(), no_marks()],
            flying: Vec::new(),
            numbers: 0,
            happened: Happened::default(),
        };
        world.take_over(0);
        world.take_over(1);
        world
    }

    fn below(&mut self, count: u64) -> u64 {
        self.draw.next() % count
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    pub(super) fn run(mut self) -> Result<Happened, String> {
        for _ in 0..STEPS {
            self.now_us += i64::try_from(self.below(40)).expect("small");
            let at = self.below(2) as usize;
            match self.below(20) {
                0..=4 => self.client(at),
                5..=8 => self.go_on(at, true),
                9..=12 => self.read(at)?,
                13 => self.send(at),
                14 | 15 => self.arrive(true)?,
                16 => self.pulse(at),
                17 => self.store_marks(at),
                18 if self.one_in(4) => self.take_over(at),
                19 if self.one_in(3) => self.fail_over(at),
                _ => {}
            }
        }
        self.calm()?;
        self.judge()
    }

    /// A transaction of one to three rows.
    fn client(&mut self, at: usize) {
        self.ids += 1;
        let id = TxnId::from_parts(Millis(self.ids), self.draw.next().into());
        let mut keys: Vec<u64> = (0..=self.below(3)).map(|_| self.below(KEYS)).collect();
        keys.sort_unstable();
        keys.dedup();
        let mut parts: BTreeMap<ShardId, Part> = BTreeMap::new();
        for key in keys {
            let op = self.write_of(key);
            parts.entry(shard_of(key)).or_default().push(op);
        }
        self.begin(at, id, parts.into_iter().collect());
    }

    fn write_of(&mut self, key: u64) -> RowOp {
        let write = match self.below(5) {
            0 => WriteOp::DeleteRow,
            number => {
                let column = ColumnId(1 + self.below(2) as u16);
                let value = Bytes::copy_from_slice(&self.ids.to_be_bytes());
                let cell = match self.below(6) {
                    0 => CellOp::Delete { column },
                    _ => CellOp::Put { column, value },
                };
                WriteOp::Cells { insert: number == 1, cells: vec![cell] }
            }
        };
        RowOp { key: key_of(key), conditions: Vec::new(), write }
    }

    /// Begins a transaction, if no row of it is locked.
    fn begin(&mut self, at: usize, id: TxnId, parts: Vec<(ShardId, Part)>) -> bool {
        let now_us = self.now_us;
        let region = &mut self.regions[at];
        let busy = parts.iter().any(|(shard, part)| {
            part.iter().any(|op| region.shards[usize::from(shard.0)].locks(op))
        });
        if busy {
            return false;
        }
        if let [(shard, part)] = &parts[..] {
            let timestamp = region.shards[usize::from(shard.0)].single(now_us, id, part.clone());
            region.commit(timestamp, &parts);
        } else {
            self.happened.wide += 1;
            let timestamp = Timestamp(0);
            region.pending.push(Pending { id, parts, prepared: 0, timestamp, told: None });
        }
        true
    }

    /// Something undecided comes a step further.
    fn go_on(&mut self, at: usize, may_abort: bool) {
        let count = self.regions[at].pending.len() as u64;
        if count == 0 {
            return;
        }
        let (index, aborts) = (self.below(count) as usize, may_abort && self.one_in(12));
        let now_us = self.now_us;
        let region = &mut self.regions[at];
        let pending = &mut region.pending[index];
        let shards: Vec<ShardId> = pending.parts.iter().map(|(shard, _)| *shard).collect();
        if let Some((commits, told)) = &mut pending.told {
            let shard = &mut region.shards[usize::from(shards[*told].0)];
            if *commits {
                shard.commit(pending.id, pending.timestamp);
            } else {
                shard.abort(pending.id);
            }
            *told += 1;
            if *told == shards.len() {
                region.pending.remove(index);
            }
            return;
        }
        let (shard, part) = &pending.parts[pending.prepared];
        let shard = &mut region.shards[usize::from(shard.0)];
        if part.iter().any(|op| shard.locks(op)) || aborts {
            self.happened.aborted += 1;
            pending.told = Some((false, 0));
            return;
        }
        let proposal = shard.prepare(now_us, pending.id, shards.clone(), part.clone());
        pending.timestamp = pending.timestamp.max(proposal);
        pending.prepared += 1;
        if pending.prepared == shards.len() {
            pending.told = Some((true, 0));
            let (timestamp, parts) = (pending.timestamp, pending.parts.clone());
            region.commit(timestamp, &parts);
        }
    }

    /// A sender reads on in one shard: mostly the one in office.
    fn read(&mut self, at: usize) -> Result<(), String> {
        let numbers: Vec<u64> = self.senders[at].keys().copied().collect();
        let newest = numbers.len() - 1;
        let number =
            if self.one_in(5) { self.below(numbers.len() as u64) as usize } else { newest };
        let (shard, most) = (self.below(SHARDS.into()) as usize, 1 + self.below(8) as usize);
        self.read_of(at, numbers[number], shard, most)
    }

    fn read_of(&mut self, at: usize, number: u64, shard: usize, most: usize) -> Result<(), String> {
        let region = 1 - at as u8;
        let picks = PiecesTo { region, arrived: ARRIVED };
        let sender = self.senders[at].get_mut(&number).expect("it is there");
        let follower = &mut sender.followers[shard];
        let mut pieces = Vec::new();
        let records = &self.regions[at].shards[shard].records;
        for record in records.iter().skip(sender.read[shard]).take(most) {
            let position = Position(sender.read[shard] as u64);
            sender.read[shard] += 1;
            let told = follower.take(position, record.clone()).map_err(|it| it.to_string())?;
            let Some(mut told) = told else { continue };
            if self.planted == Planted::SendsWhatItReceived {
                for (_, part) in &mut told.parts {
                    *part = std::sync::Arc::new(part.iter().map(as_own).collect());
                }
            }
            pieces.extend(picks.pick(&told)?);
        }
        let (place, mut closed) = (follower.place(), follower.closed());
        if self.planted == Planted::UndecidedIsClosed && sender.read[shard] == records.len() {
            closed = self.regions[at].shards[shard].last();
        }
        let now_us = u64::try_from(self.now_us).expect("after 1970");
        sender.gather.take(now_us, ShardId(shard as u16), pieces, place, closed);
        Ok(())
    }

    /// A sender that has nothing under way sends what it can.
    fn send(&mut self, at: usize) {
        for (number, sender) in &mut self.senders[at] {
            if !sender.is_applying
                && let Some(batch) = sender.gather.next(BATCH_BYTES)
            {
                sender.is_applying = true;
                self.flying.push(Flying { from: at, batch, sender: *number });
            }
        }
    }

    /// One of the batches on their way arrives, or is lost; it may stay on its way and arrive again.
    fn arrive(&mut self, fails: bool) -> Result<(), String> {
        let count = self.flying.len() as u64;
        if count == 0 {
            return Ok(());
        }
        let index = self.below(count) as usize;
        let stays = fails && self.one_in(4);
        let Flying { from, sender, .. } = self.flying[index];
        let batch =
            if stays { self.flying[index].batch.clone() } else { self.flying.remove(index).batch };
        let is_lost = fails && self.one_in(8);
        let applied = !is_lost && self.apply(1 - from, &batch)?;
        let watermark = self.regions[1 - from].watermark;
        let is_waiting = self.senders[from].get(&sender).is_some_and(|sender| sender.is_applying);
        if !is_waiting {
            self.happened.late += 1;
            return Ok(());
        }
        let sender = self.senders[from].get_mut(&sender).expect("it is waiting");
        sender.is_applying = false;
        if fails && self.draw.next().is_multiple_of(6) {
            self.happened.unanswered += 1;
        } else if applied {
            sender.gather.applied(batch.until);
        } else if watermark > sender.gather.watermark() {
            sender.gather.applied(watermark);
        }
        Ok(())
    }

    /// The other region applies a batch, as a transaction of its own, if its condition holds.
    fn apply(&mut self, at: usize, batch: &Batch) -> Result<bool, String> {
        if self.regions[at].watermark != batch.after && self.planted != Planted::WithoutCondition {
            self.happened.refused += 1;
            return Ok(false);
        }
        let mut parts: BTreeMap<ShardId, Part> = BTreeMap::new();
        for RowMutation { key, delta } in &batch.rows {
            let write = WriteOp::Merge(delta.clone());
            let op = RowOp { key: key.clone(), conditions: Vec::new(), write };
            parts.entry(shard_of(number_of(key))).or_default().push(op);
        }
        self.ids += 1;
        let id = TxnId::from_parts(Millis(self.ids), self.draw.next().into());
        let (now_us, participants) = (self.now_us, parts.keys().copied().collect::<Vec<_>>());
        let region = &mut self.regions[at];
        let locked = |(shard, part): (&ShardId, &Part)| {
            part.iter().any(|op| region.shards[usize::from(shard.0)].locks(op))
        };
        if parts.iter().any(locked) {
            return Ok(false); // it would wait; it is sent again
        }
        if batch.until <= region.watermark {
            return Err(format!(
                "region {at}: the watermark goes from {} to {}",
                region.watermark, batch.until
            ));
        }
        self.happened.batches += 1;
        let proposals = parts.into_iter().map(|(shard, part)| {
            region.shards[usize::from(shard.0)].prepare(now_us, id, participants.clone(), part)
        });
        let timestamp = proposals.max().unwrap_or_default();
        for shard in &participants {
            region.shards[usize::from(shard.0)].commit(id, timestamp);
        }
        merge(&mut region.rows, &batch.rows);
        merge(&mut region.received, &batch.rows);
        region.watermark = batch.until;
        region.history.push((batch.until, region.received.clone()));
        Ok(true)
    }

    fn pulse(&mut self, at: usize) {
        let now_us = u64::try_from(self.now_us).expect("after 1970");
        let silent: Vec<Vec<ShardId>> =
            self.senders[at].values().map(|sender| sender.gather.silent(now_us)).collect();
        for shards in silent {
            for shard in shards {
                self.ids += 1;
                let id = TxnId::from_parts(Millis(self.ids), 0);
                self.happened.pulses += 1;
                self.regions[at].shards[usize::from(shard.0)].single(self.now_us, id, Part::new());
            }
        }
    }

    /// The sender in office stores how far it is.
    fn store_marks(&mut self, at: usize) {
        let Some((_, sender)) = self.senders[at].last_key_value() else { return };
        for (shard, mark) in self.marks[at].iter_mut().enumerate() {
            if let Some(place) = sender.gather.resume(ShardId(shard as u16)) {
                *mark = (sender.gather.watermark(), place.clone());
            }
        }
    }

    /// Another process sends from now on; the one before does not know.
    fn take_over(&mut self, at: usize) {
        self.numbers += 1;
        let watermark = self.regions[1 - at].watermark;
        let rules = Without(match self.planted {
            Planted::Without(rule) => Some(rule),
            _ => None,
        });
        let places: Vec<Place> = self.marks[at]
            .iter()
            .map(
                |(stored, place)| {
                    if *stored <= watermark { place.clone() } else { Place::default() }
                },
            )
            .collect();
        let sender = Sender {
            gather: Gather::with_rules(SHARDS, watermark, rules),
            read: places.iter().map(|place| place.from.0 as usize).collect(),
            followers: (0..)
                .zip(places)
                .map(|(shard, place)| Follower::new(ShardId(shard), Scope::Parts, place))
                .collect(),
            is_applying: false,
        };
        let senders = &mut self.senders[at];
        senders.insert(self.numbers, sender);
        if senders.len() > 1 {
            self.happened.taken_over += 1;
        }
        while senders.len() > 2 {
            senders.pop_first();
        }
    }

    /// Another leads a shard; its clock is another.
    fn fail_over(&mut self, at: usize) {
        let (shard, offset) = (self.below(SHARDS.into()) as usize, self.below(4_000));
        self.happened.failovers += 1;
        let shard = &mut self.regions[at].shards[shard];
        shard.offset_us = i64::try_from(offset).expect("small") - 2_000;
        shard.lead(self.planted != Planted::TimeLostWithLeader);
    }

    /// Nothing fails any more, and everything comes to its end.
    fn calm(&mut self) -> Result<(), String> {
        for at in [0, 1] {
            self.senders[at].clear();
            self.take_over(at);
        }
        self.flying.clear();
        for _ in 0..CALM {
            self.now_us += 20;
            let mut quiet = true;
            for at in [0, 1] {
                quiet &= self.regions[at].pending.is_empty();
                self.go_on(at, false);
                let number = *self.senders[at].last_key_value().expect("one sends").0;
                for shard in 0..usize::from(SHARDS) {
                    self.read_of(at, number, shard, usize::MAX)?;
                }
                self.pulse(at);
                self.send(at);
                let sender = &self.senders[at][&number];
                quiet &= sender.gather.waiting().0 == 0 && !sender.is_applying;
            }
            quiet &= self.flying.is_empty();
            self.arrive(false)?;
            if quiet {
                return Ok(());
            }
        }
        Err("it does not come to an end".to_owned())
    }

    fn judge(self) -> Result<Happened, String> {
        for at in [0, 1] {
            let (region, other) = (&self.regions[at], &self.regions[1 - at]);
            for (watermark, received) in &region.history {
                let mut expected = Rows::new();
                for (_, rows) in other.committed.iter().filter(|(at, _)| at <= watermark) {
                    merge(&mut expected, rows);
                }
                if *received != expected {
                    return Err(format!(
                        "region {} at {watermark} has {received:?}, expected {expected:?}",
                        region.number
                    ));
                }
            }
        }
        let [a, b] = &self.regions;
        if a.rows == b.rows {
            Ok(self.happened)
        } else {
            Err(format!("they differ: {:?} and {:?}", a.rows, b.rows))
        }
    }
}

impl Region {
    /// A transaction is committed: what it writes is in the tables.
    fn commit(&mut self, timestamp: Timestamp, parts: &[(ShardId, Part)]) {
        let rows: Vec<RowMutation> = parts
            .iter()
            .flat_map(|(_, part)| part.iter())
            .map(|op| written(op, timestamp))
            .collect();
        merge(&mut self.rows, &rows);
        self.committed.push((timestamp, rows));
    }
}

fn written(op: &RowOp, at: Timestamp) -> RowMutation {
    let mut delta = Row::default();
    match &op.write {
        WriteOp::DeleteRow => delta.deleted_at = Some(at.of_delete()),
        WriteOp::Cells { insert, cells } => {
            delta.marker_at = insert.then_some(at.of_put());
            for cell in cells {
                let (value, timestamp) = match cell {
                    CellOp::Put { value, .. } => (Some(value.clone()), at.of_put()),
                    _ => (None, at.of_delete()),
                };
                delta.cells.push(Cell { column: cell.column(), timestamp, value });
            }
        }
        WriteOp::None | WriteOp::Merge(_) => {}
    }
    RowMutation { key: op.key.clone(), delta }
}

/// What came from elsewhere, as if it had been written here.
fn as_own(op: &RowOp) -> RowOp {
    let WriteOp::Merge(row) = &op.write else { return op.clone() };
    let put = |cell: &Cell| CellOp::Put {
        column: cell.column,
        value: cell.value.clone().unwrap_or_default(),
    };
    let write = match row.deleted_at {
        Some(_) => WriteOp::DeleteRow,
        None => WriteOp::Cells {
            insert: row.marker_at.is_some(),
            cells: row.cells.iter().map(put).collect(),
        },
    };
    RowOp { write, ..op.clone() }
}

fn key_of(number: u64) -> RowKey {
    let partition = Bytes::copy_from_slice(&number.to_be_bytes());
    RowKey { table: TableId(0), partition, clustering: Bytes::new() }
}

fn number_of(key: &RowKey) -> u64 {
    key.partition.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

fn shard_of(number: u64) -> ShardId {
    ShardId((number % u64::from(SHARDS)) as u16)
}
