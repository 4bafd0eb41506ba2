//! One shard engine and what is around it: a log, a table store, a clock, clients.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use participant::engine::{
    IoId, Leadership, ParkedChoice, ShardCommand, ShardConfig, ShardEngine, ShardEvent,
    ShardLimits, Without,
};
use participant::message::{Origin, ShardRequest};
use wal_core::log::ShardBatch;
use wal_core::record::{Body, Header, encode_into};
use wal_core::{
    Epoch, Nonce, Now, Position, Row, RowKey, RowMutation, Sequence, ShardId, TableId, Timestamp,
};

use super::names::{BEGIN_US, Names, key, keys, number, schema, stored};
use super::outputs::{command_text, record_text};
use super::requests::{self, Surroundings};

/// The durable part of the world, and what a fresh engine needs to be made from it.
#[derive(Clone)]
pub(crate) struct Disk {
    pub(crate) config: ShardConfig,
    rules: Without,
    log: Vec<(Position, Bytes)>,
    next: u64,
    trim: Position,
    hint: Option<Position>,
    pub(crate) store: BTreeMap<RowKey, Row>,
}

/// What the engine asked of the table store.
#[derive(Clone)]
enum Io {
    Read { keys: Vec<RowKey>, then: Vec<Row> },
    Flush(Arc<[RowMutation]>),
    Sync,
}

/// Everything.
pub(crate) struct World {
    pub(crate) names: Names,
    pub(crate) disk: Disk,
    pub(crate) engine: ShardEngine<Without>,
    pub(crate) now: Now,
    in_flight: Vec<ShardBatch>,
    io: BTreeMap<IoId, Io>,
    /// How far the log was fed to the engine.
    fed: u64,
    reads: BTreeMap<u64, Vec<RowKey>>,
    /// Whether inputs that do not fit any more (the story was bent) are passed over, not refused.
    pub(crate) lenient: bool,
    /// The commands of the last step.
    pub(crate) commands: Vec<ShardCommand>,
}

impl World {
    /// A world as the head of a story describes it; its engine leads, unless it is `cold`.
    pub(crate) fn new(setting: &[String], rules: Without) -> Self {
        let config = ShardConfig {
            shard: ShardId(1),
            log: Nonce(7),
            leadership: Leadership::Exclusive,
            limits: limits(),
        };
        let mut disk = Disk {
            config,
            rules,
            log: Vec::new(),
            next: 1,
            trim: Position(0),
            hint: None,
            store: BTreeMap::new(),
        };
        let mut names = Names::default();
        for line in setting {
            set(&mut disk, &mut names, line);
        }
        let mut world = Self {
            names,
            engine: disk.engine(),
            disk,
            now: Now { wall_us: BEGIN_US, mono_us: 1_000_000 },
            in_flight: Vec::new(),
            io: BTreeMap::new(),
            fed: 0,
            reads: BTreeMap::new(),
            lenient: false,
            commands: Vec::new(),
        };
        if !setting.iter().any(|line| line == "cold") {
            world.play("restart");
        }
        world
    }

    /// Plays one input; returns what came out, as text.
    pub(crate) fn play(&mut self, input: &str) -> Vec<String> {
        self.commands.clear();
        let mut text = Vec::new();
        self.enact(input, &mut text);
        text
    }

    fn enact(&mut self, input: &str, text: &mut Vec<String>) {
        let words: Vec<_> = input.split_whitespace().collect();
        match words[..] {
            ["tick"] => self.step(ShardEvent::Tick, text),
            ["wait", ms, "ms"] => {
                self.now.mono_us += number::<u64>(ms) * 1000;
                self.now.wall_us += number::<i64>(ms) * 1000;
                self.step(ShardEvent::Tick, text);
            }
            ["clock", "set", "by", ms, "ms"] => self.now.wall_us += number::<i64>(ms) * 1000,
            ["durable"] => self.durable(text),
            ["append", "fails"] => {
                self.in_flight.clear();
                self.step(ShardEvent::AppendFailed { why: "the disk is gone".to_owned() }, text);
            }
            ["rows", io] => self.answer_io(io, Self::rows_read, text),
            ["rows", io, "as", "then"] => self.answer_io(io, Self::rows_read_then, text),
            ["read", "fails", io] => self.answer_io(io, Self::read_failed, text),
            ["flushed", io] => self.answer_io(io, Self::flushed, text),
            ["flush", "fails", io] => self.answer_io(io, Self::flush_failed, text),
            ["flush", "refuses", ..] => self.flush_refused(input, text),
            ["retry", "parked"] => {
                self.step(ShardEvent::RetryParked { which: ParkedChoice::All }, text);
            }
            ["discard", "parked", name] => {
                let which = match name {
                    "all" => ParkedChoice::All,
                    "orders" => ParkedChoice::Table(TableId(1)),
                    name => ParkedChoice::Rows([key(name)].into()),
                };
                self.step(ShardEvent::DiscardParked { token: 1, which }, text);
            }
            ["synced", io] => self.answer_io(io, Self::synced, text),
            ["drain"] => self.step(ShardEvent::Drain, text),
            ["checkpoint", "soon"] => self.engine.request_checkpoint(),
            ["see", "newer"] => self.engine.set_schema(Arc::new(schema(2))),
            ["crash"] => self.crash(),
            ["crash", "after", "the", "append"] => {
                self.append_in_flight();
                self.crash();
            }
            ["replay"] => self.replay(self.disk.hint.unwrap_or_default(), text),
            ["replay", "without", "hint"] => self.replay(Position(0), text),
            ["read", "on"] => self.replay(Position(self.fed), text),
            ["stand"] => {
                let owner = Nonce(0xbeef << 32 | u128::from(self.disk.next));
                self.step(ShardEvent::Stand { owner, address: String::new() }, text);
            }
            ["rival", "stands"] => self.rival_stands(),
            ["rival", "resigns"] => self.rival_resigns(),
            ["restart"] => self.restart(Position(0), text),
            ["restart", "from", "hint"] => self.restart(self.disk.hint.unwrap_or_default(), text),
            ["lose", "record", position] => {
                let lost = Position(number(position));
                self.disk.log.retain(|(position, _)| *position != lost);
            }
            _ => self.request(input, text),
        }
    }

    fn request(&mut self, input: &str, text: &mut Vec<String>) {
        let at = Surroundings {
            shard: self.disk.config.shard,
            epoch: self.engine.status().epoch,
            now: self.now,
        };
        let Some(request) = requests::parse(&mut self.names, at, input) else {
            panic!("no input is written `{input}`");
        };
        let client = input.split_once(" from c").map(|(_, rest)| rest);
        let token = client.map_or(0, |rest| number(rest.split([' ', ':']).next().unwrap_or(rest)));
        if let ShardRequest::Read { keys, .. } | ShardRequest::Hold { keys, .. } = &request {
            self.reads.insert(token, keys.to_vec());
        }
        let origin = Origin { node: 1, token };
        self.step(ShardEvent::Request { origin, request }, text);
    }

    fn step(&mut self, event: ShardEvent, text: &mut Vec<String>) {
        let mut out = Vec::new();
        self.engine.step(self.now, event, &mut out);
        if let Some(batch) = self.engine.take_batch(self.now) {
            text.extend(batch.records().map(|record| record_text(&mut self.names, &record)));
            self.in_flight.push(batch);
        }
        for command in &out {
            let reads = &self.reads;
            let keys = |client| reads.get(&client).cloned().unwrap_or_default();
            text.push(command_text(&mut self.names, command, keys));
            self.carry_out(command);
        }
        self.commands.append(&mut out);
    }

    fn carry_out(&mut self, command: &ShardCommand) {
        match command {
            ShardCommand::ReadRows { io, keys } => {
                let then = keys.iter().map(|key| self.disk.row(key)).collect();
                self.io.insert(*io, Io::Read { keys: keys.clone(), then });
            }
            ShardCommand::Flush { io, mutations } => {
                self.io.insert(*io, Io::Flush(mutations.clone()));
            }
            ShardCommand::SyncStore { io } => {
                self.io.insert(*io, Io::Sync);
            }
            ShardCommand::Checkpointed { checkpoint, trim } => {
                self.disk.hint = Some(*checkpoint);
                self.disk.trim = *trim;
            }
            ShardCommand::Reply { .. }
            | ShardCommand::Tell { .. }
            | ShardCommand::Drive { .. }
            | ShardCommand::Recover { .. }
            | ShardCommand::Parked { .. }
            | ShardCommand::Discarded { .. }
            | ShardCommand::Leading { .. }
            | ShardCommand::Halt { .. } => {}
        }
    }

    fn append_in_flight(&mut self) -> Vec<(ShardBatch, Position)> {
        let batches = std::mem::take(&mut self.in_flight);
        let append = |batch: ShardBatch| {
            let position = self.disk.append(&batch);
            (batch, position)
        };
        batches.into_iter().map(append).collect()
    }

    fn durable(&mut self, text: &mut Vec<String>) {
        for (batch, position) in self.append_in_flight() {
            let last = Sequence(batch.first.0 + batch.ends.len() as u64 - 1);
            let (epoch, first) = (batch.epoch, batch.first);
            self.step(ShardEvent::Appended { epoch, first, last, position }, text);
        }
    }

    fn crash(&mut self) {
        self.in_flight.clear();
        self.io.clear();
        self.engine = self.disk.engine();
        self.fed = 0;
    }

    fn replay(&mut self, from: Position, text: &mut Vec<String>) {
        let from = Position(from.0.max(self.fed));
        for (position, record) in self.disk.since(from) {
            self.fed = position.0 + 1;
            self.step(ShardEvent::Logged { position, record }, text);
        }
    }

    fn restart(&mut self, from: Position, text: &mut Vec<String>) {
        self.crash();
        self.replay(from, text);
        self.enact("stand", text);
        self.durable(text);
        self.replay(Position(self.fed), text);
    }

    /// Another candidate's `Epoch` record is next in the log.
    fn rival_stands(&mut self) {
        let epoch = self.disk.last_epoch().next();
        let header = Header { epoch, seq: Sequence(0), previous: 0 };
        let (log, owner) = (self.disk.config.log, Nonce(0xbad));
        let body = Body::Epoch { log, owner, address: String::new(), wall_us: 0 };
        self.disk.append_record(&header, &body);
    }

    fn rival_resigns(&mut self) {
        let (_, last) = self.disk.log.last().expect("the rival stood");
        let (record, hash) = wal_core::record::decode(last.clone()).expect("it can be read");
        let (epoch, seq) = (record.header.epoch, record.header.seq.next());
        self.disk.append_record(&Header { epoch, seq, previous: hash }, &Body::Resign);
    }

    /// Answers one outstanding call of the store. In a bent story the numbers of the calls say nothing:
    /// every outstanding one is answered.
    fn answer_io(
        &mut self,
        name: &str,
        answer: fn(&mut Self, IoId, &Io) -> Option<ShardEvent>,
        text: &mut Vec<String>,
    ) {
        let named = IoId(number(name.strip_prefix("io").expect("calls are written ioN")));
        let outstanding: Vec<_> = match self.lenient {
            true => self.io.keys().copied().collect(),
            false => vec![named],
        };
        for id in outstanding {
            let io =
                self.io.get(&id).unwrap_or_else(|| panic!("{name} is not outstanding")).clone();
            if let Some(event) = answer(self, id, &io) {
                self.io.remove(&id);
                if let ShardEvent::FlushFailed { io: id } = event {
                    self.io.insert(id, io); // it will be sent again under the same number
                }
                self.step(event, text);
            }
        }
    }

    fn rows_read(&mut self, id: IoId, io: &Io) -> Option<ShardEvent> {
        let Io::Read { keys, .. } = io else { return None };
        let rows = keys.iter().map(|key| self.disk.row(key)).collect();
        Some(ShardEvent::RowsRead { io: id, rows })
    }

    /// The rows as they stood when they were asked for: the answer took its time.
    fn rows_read_then(&mut self, id: IoId, io: &Io) -> Option<ShardEvent> {
        let Io::Read { then, .. } = io else { return None };
        Some(ShardEvent::RowsRead { io: id, rows: then.clone() })
    }

    fn read_failed(&mut self, id: IoId, io: &Io) -> Option<ShardEvent> {
        matches!(io, Io::Read { .. }).then_some(ShardEvent::ReadFailed { io: id })
    }

    fn flushed(&mut self, id: IoId, io: &Io) -> Option<ShardEvent> {
        let Io::Flush(mutations) = io else { return None };
        for RowMutation { key, delta } in mutations.iter() {
            self.disk.store.entry(key.clone()).or_default().merge(delta);
        }
        Some(ShardEvent::Flushed { io: id })
    }

    fn flush_failed(&mut self, id: IoId, io: &Io) -> Option<ShardEvent> {
        matches!(io, Io::Flush(_)).then_some(ShardEvent::FlushFailed { io: id })
    }

    /// `flush refuses ioN: ROW, ROW`: these rows of it; nothing beside them is taken either.
    fn flush_refused(&mut self, input: &str, text: &mut Vec<String>) {
        let (head, rows) = input.split_once(": ").expect("`flush refuses ioN: ROW, ROW`");
        let rows = keys(rows);
        let named = head.trim_start_matches("flush refuses io");
        let outstanding: Vec<_> = match self.lenient {
            true => self.io.keys().copied().collect(),
            false => vec![IoId(number(named))],
        };
        for io in outstanding {
            let Some(Io::Flush(mutations)) = self.io.get(&io) else { continue };
            let refused: Vec<_> = (0..mutations.len())
                .filter(|index| rows.contains(&mutations[*index].key))
                .map(|index| (index, "its column was dropped".to_owned()))
                .collect();
            if !refused.is_empty() {
                self.io.remove(&io);
                self.step(ShardEvent::FlushRefused { io, rows: refused }, text);
            }
        }
    }

    fn synced(&mut self, id: IoId, io: &Io) -> Option<ShardEvent> {
        matches!(io, Io::Sync).then_some(ShardEvent::Synced { io: id })
    }

    /// Whether the log says that what a transaction of this time wrote to the row was given up.
    pub(crate) fn is_discarded(&self, key: &RowKey, at: Timestamp) -> bool {
        self.disk.log.iter().any(|(_, record)| {
            let (record, _) = wal_core::record::decode(record.clone()).expect("it can be read");
            matches!(record.body, Body::Discard { rows }
                if rows.iter().any(|row| row.key == *key && row.from <= at && at <= row.until))
        })
    }

    /// In a bent story: everything outstanding is answered, until nothing more happens.
    pub(crate) fn settle(&mut self) -> Vec<ShardCommand> {
        let mut commands = Vec::new();
        for _ in 0..4 {
            for input in ["rows io0", "flushed io0", "synced io0", "durable", "wait 25 ms"] {
                self.play(input);
                commands.append(&mut self.commands);
            }
        }
        commands
    }
}

impl Disk {
    pub(crate) fn engine(&self) -> ShardEngine<Without> {
        ShardEngine::with_rules(self.config.clone(), Arc::new(schema(1)), self.rules)
    }

    /// An engine that leads what is durable: the whole of it, without waiting for a lease. It keeps every
    /// rule, whatever the engine of the story does.
    pub(crate) fn successor(&self, now: Now) -> (ShardEngine<Without>, Vec<ShardCommand>) {
        let mut disk = self.clone();
        disk.rules = Without(None);
        disk.config.leadership = Leadership::Exclusive;
        let mut engine = disk.engine();
        let mut out = Vec::new();
        for (position, record) in disk.since(Position(0)) {
            engine.step(now, ShardEvent::Logged { position, record }, &mut out);
        }
        let owner = Nonce(0x0c1e);
        engine.step(now, ShardEvent::Stand { owner, address: String::new() }, &mut out);
        if let Some(batch) = engine.take_batch(now) {
            let position = disk.append(&batch);
            for record in batch.records() {
                engine.step(now, ShardEvent::Logged { position, record }, &mut out);
            }
        }
        (engine, out)
    }

    fn row(&self, key: &RowKey) -> Row {
        self.store.get(key).cloned().unwrap_or_default()
    }

    fn since(&self, from: Position) -> Vec<(Position, Bytes)> {
        let from = from.max(self.trim);
        self.log.iter().filter(|(position, _)| *position >= from).cloned().collect()
    }

    fn append(&mut self, batch: &ShardBatch) -> Position {
        let first = Position(self.next);
        for record in batch.records() {
            self.log.push((Position(self.next), record));
            self.next += 1;
        }
        first
    }

    fn append_record(&mut self, header: &Header, body: &Body) {
        let mut bytes = Vec::new();
        encode_into(&mut bytes, header, body);
        self.log.push((Position(self.next), Bytes::from(bytes)));
        self.next += 1;
    }

    fn last_epoch(&self) -> Epoch {
        let last = self.log.last().map(|(_, record)| {
            let (record, _) = wal_core::record::decode(record.clone()).expect("it can be read");
            record.header.epoch
        });
        last.unwrap_or_default()
    }
}

/// Bounds that no story meets by accident.
fn limits() -> ShardLimits {
    ShardLimits {
        max_waiting: 100,
        max_prepared: 100,
        max_overlay_bytes: 16 << 20,
        max_cache_bytes: 1 << 20,
        max_remembered: 1_000,
        id_window_ms: u64::MAX,
        recover_after_us: 2_000_000,
        max_drift_us: 500_000,
        max_flush_rows: 100,
        flush_every_us: 4_000,
        checkpoint_every_bytes: 64 << 20,
    }
}

/// A line of a story's head.
fn set(disk: &mut Disk, names: &mut Names, line: &str) {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let words: Vec<_> = rest.split_whitespace().collect();
    match (word, &words[..]) {
        ("cold", []) => {}
        ("shard", [shard]) => disk.config.shard = ShardId(number(shard)),
        ("lease", [ms, "ms"]) => {
            let lease_us = number::<u64>(ms) * 1000;
            disk.config.leadership = Leadership::Lease { lease_us, drift_ppm: 1_000 };
        }
        ("limit", [what, limit]) => {
            let limits = &mut disk.config.limits;
            match *what {
                "waiting" => limits.max_waiting = number(limit),
                "prepared" => limits.max_prepared = number(limit),
                "overlay" => limits.max_overlay_bytes = number(limit),
                "remembered" => limits.max_remembered = number(limit),
                "window" => limits.id_window_ms = number(limit),
                "cache" => limits.max_cache_bytes = number(limit),
                _ => panic!("no limit is written `{what}`"),
            }
        }
        ("store", _) => {
            let (key, row) = stored(rest);
            disk.store.insert(key, row);
        }
        ("txn", _) => names.declare(rest),
        _ => panic!("no setting is written `{line}`"),
    }
}
