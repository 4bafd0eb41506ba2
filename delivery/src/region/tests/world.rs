//! Two regions or three that write the same rows blindly, each with three shards whose clocks are off; senders that
//! are taken for dead and go on, whose batches come late, twice or never, and whose answers are lost; leaders that
//! take over; transactions that stay undecided, and abort. The world knows what has committed, and judges by that:
//! at every moment a region has of each other exactly what committed there up to the watermark; in the end all
//! have equal rows.

use std::collections::BTreeMap;

use bytes::Bytes;
use participant::follow::{Follower, Place, Scope};
use wal_core::txn::Part;
use wal_core::{
    CellOp, ColumnId, Millis, Position, RowMutation, RowOp, ShardId, TableId, Timestamp, TxnId,
    WriteOp,
};

use super::logs::Shard;
use super::rows::{Rows, SHARDS, as_own, key_of, merge, number_of, shard_of, written};
use crate::backoff::Draw;
use crate::region::{Batch, Gather, PiecesTo};
use crate::rules::{Rule, Without};
use crate::runtime::Picks as _;

const KEYS: u64 = 5;
/// From each region to each other.
const STEPS: usize = 200;
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
    /// By the region that it came from.
    arrived: Vec<Arrived>,
}

/// What has come from a region, and up to when.
#[derive(Clone, Default)]
struct Arrived {
    rows: Rows,
    watermark: Timestamp,
    /// What had come at each watermark.
    history: Vec<(Timestamp, Rows)>,
}

/// From one region to another.
struct Link {
    from: usize,
    to: usize,
    /// By their numbers: the newest is in office.
    senders: BTreeMap<u64, Sender>,
    /// What is stored of how far each shard was read, and what had arrived then.
    marks: Vec<(Timestamp, Place)>,
}

/// Somebody who sends from one region to another.
struct Sender {
    gather: Gather<Without>,
    followers: Vec<Follower>,
    read: Vec<usize>,
    is_applying: bool,
}

/// A batch on its way.
struct Flying {
    link: usize,
    batch: Batch,
    /// The number of its sender, which hears the answer if it is not lost.
    sender: u64,
}

pub(super) struct World {
    draw: Draw,
    planted: Planted,
    now_us: i64,
    ids: u64,
    regions: Vec<Region>,
    links: Vec<Link>,
    flying: Vec<Flying>,
    numbers: u64,
    happened: Happened,
}

impl World {
    pub(super) fn new(seed: u64, regions: u8, planted: Planted) -> Self {
        let region = |number| Region {
            number,
            shards: (0..SHARDS).map(|_| Shard::new(number)).collect(),
            pending: Vec::new(),
            committed: Vec::new(),
            rows: Rows::new(),
            arrived: vec![Arrived::default(); usize::from(regions)],
        };
        let count = usize::from(regions);
        let pairs = (0..count).flat_map(|from| (0..count).map(move |to| (from, to)));
        let links = pairs.filter(|(from, to)| from != to).map(|(from, to)| Link {
            from,
            to,
            senders: BTreeMap::new(),
            marks: vec![(Timestamp(0), Place::default()); usize::from(SHARDS)],
        });
        let mut world = Self {
            draw: Draw::new(seed),
            planted,
            now_us: 1_000_000,
            ids: 0,
            regions: (0..regions).map(region).collect(),
            links: links.collect(),
            flying: Vec::new(),
            numbers: 0,
            happened: Happened::default(),
        };
        (0..world.links.len()).for_each(|link| world.take_over(link));
        world
    }

    fn below(&mut self, count: u64) -> u64 {
        self.draw.next() % count
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    pub(super) fn run(mut self) -> Result<Happened, String> {
        for _ in 0..STEPS * self.links.len() {
            self.now_us += i64::try_from(self.below(40)).expect("small");
            let link = self.below(self.links.len() as u64) as usize;
            let at = self.links[link].from;
            match self.below(20) {
                0..=4 => self.client(at),
                5..=8 => self.go_on(at, true),
                9..=12 => self.read(link)?,
                13 => self.send(link),
                14 | 15 => self.arrive(true)?,
                16 => self.pulse(link),
                17 => self.store_marks(link),
                18 if self.one_in(4) => self.take_over(link),
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
    fn read(&mut self, link: usize) -> Result<(), String> {
        let numbers: Vec<u64> = self.links[link].senders.keys().copied().collect();
        let newest = numbers.len() - 1;
        let number =
            if self.one_in(5) { self.below(numbers.len() as u64) as usize } else { newest };
        let (shard, most) = (self.below(SHARDS.into()) as usize, 1 + self.below(8) as usize);
        self.read_of(link, numbers[number], shard, most)
    }

    fn read_of(
        &mut self,
        link: usize,
        number: u64,
        shard: usize,
        most: usize,
    ) -> Result<(), String> {
        let Link { from: at, to, senders, .. } = &mut self.links[link];
        let (at, picks) = (*at, PiecesTo { region: *to as u8, arrived: ARRIVED });
        let sender = senders.get_mut(&number).expect("it is there");
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
    fn send(&mut self, link: usize) {
        for (number, sender) in &mut self.links[link].senders {
            if !sender.is_applying
                && let Some(batch) = sender.gather.next(BATCH_BYTES)
            {
                sender.is_applying = true;
                self.flying.push(Flying { link, batch, sender: *number });
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
        let Flying { link, sender, .. } = self.flying[index];
        let (from, to) = (self.links[link].from, self.links[link].to);
        let batch =
            if stays { self.flying[index].batch.clone() } else { self.flying.remove(index).batch };
        let is_lost = fails && self.one_in(8);
        let applied = !is_lost && self.apply(from, to, &batch)?;
        let watermark = self.regions[to].arrived[from].watermark;
        let senders = &mut self.links[link].senders;
        let is_waiting = senders.get(&sender).is_some_and(|sender| sender.is_applying);
        if !is_waiting {
            self.happened.late += 1;
            return Ok(());
        }
        let sender = senders.get_mut(&sender).expect("it is waiting");
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

    /// A region applies a batch, as a transaction of its own, if its condition holds.
    fn apply(&mut self, from: usize, at: usize, batch: &Batch) -> Result<bool, String> {
        let watermark = self.regions[at].arrived[from].watermark;
        if watermark != batch.after && self.planted != Planted::WithoutCondition {
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
        if batch.until <= watermark {
            return Err(format!(
                "region {at}: the watermark goes from {watermark} to {}",
                batch.until
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
        let arrived = &mut region.arrived[from];
        merge(&mut arrived.rows, &batch.rows);
        arrived.watermark = batch.until;
        arrived.history.push((batch.until, arrived.rows.clone()));
        Ok(true)
    }

    fn pulse(&mut self, link: usize) {
        let now_us = u64::try_from(self.now_us).expect("after 1970");
        let Link { from: at, senders, .. } = &self.links[link];
        let (at, senders) = (*at, senders.values());
        let silent: Vec<_> = senders.map(|sender| sender.gather.silent(now_us)).collect();
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
    fn store_marks(&mut self, link: usize) {
        let Link { senders, marks, .. } = &mut self.links[link];
        let Some((_, sender)) = senders.last_key_value() else { return };
        for (shard, mark) in marks.iter_mut().enumerate() {
            if let Some(place) = sender.gather.resume(ShardId(shard as u16)) {
                *mark = (sender.gather.watermark(), place.clone());
            }
        }
    }

    /// Another process sends from now on; the one before does not know.
    fn take_over(&mut self, link: usize) {
        self.numbers += 1;
        let Link { from, to, senders, marks } = &mut self.links[link];
        let watermark = self.regions[*to].arrived[*from].watermark;
        let rules = Without(match self.planted {
            Planted::Without(rule) => Some(rule),
            _ => None,
        });
        let places: Vec<Place> = marks
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
        for link in 0..self.links.len() {
            self.links[link].senders.clear();
            self.take_over(link);
        }
        self.flying.clear();
        for _ in 0..CALM {
            self.now_us += 20;
            let mut quiet = true;
            for at in 0..self.regions.len() {
                quiet &= self.regions[at].pending.is_empty();
                self.go_on(at, false);
            }
            for link in 0..self.links.len() {
                let number = *self.links[link].senders.last_key_value().expect("one sends").0;
                for shard in 0..usize::from(SHARDS) {
                    self.read_of(link, number, shard, usize::MAX)?;
                }
                self.pulse(link);
                self.send(link);
                let sender = &self.links[link].senders[&number];
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
        for Link { from, to, .. } in &self.links {
            let (region, other) = (&self.regions[*to], &self.regions[*from]);
            for (watermark, received) in &region.arrived[*from].history {
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
        for pair in self.regions.windows(2) {
            let [a, b] = [&pair[0].rows, &pair[1].rows];
            if a != b {
                return Err(format!("they differ: {a:?} and {b:?}"));
            }
        }
        Ok(self.happened)
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
