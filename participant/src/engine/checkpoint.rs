//! Checkpoints: the shard's state as records of its own log, so that a replay need not start at its
//! beginning.
//!
//! The store is synced first. Rows that the sync may not cover (applied since, or not applied yet) go
//! into the checkpoint, so that a replay from it needs nothing older: what is remembered, what is
//! prepared and open with its content, the floor, the last timestamp, and those rows.

use std::sync::Arc;

use bytes::Bytes;
use wal_core::record::{AddResults, Body, DecodeError, Reader, Writer};
use wal_core::txn::Part;
use wal_core::{
    Attempt, Millis, Nonce, Now, Position, RowKey, RowMutation, Sequence, ShardId, Timestamp, TxnId,
};

use super::ledger::{Decided, Entry, Memory, Open, Prepared, Settled};
use super::locks::{LockSet, want};
use super::rows::WriteOrigin;
use super::{IoId, Role, Rule, Rules, ShardCommand, ShardEngine};
use crate::message::Outcome;

/// The forms of the payload: the later one says the newest version of the namespace in the log, too.
const CHECKPOINT_VERSION: u8 = 1;
const CHECKPOINT_WITH_VERSION: u8 = 2;
/// Bytes of one chunk.
const CHUNK_BYTES: usize = 1 << 20;
const SETTLED: u8 = 1;
const ENTRY: u8 = 2;

/// A checkpoint on its way into the log.
#[derive(Clone, Copy, Debug)]
struct Pending {
    first: Sequence,
    last: Sequence,
    position: Option<Position>,
}

/// What the engine knows of its checkpoints.
#[derive(Debug, Default)]
pub(super) struct Checkpointer {
    /// While looking for a start: the newest epoch of any record seen.
    pub(super) newest_epoch_seen: wal_core::Epoch,
    /// Rows whose read failed.
    pub(super) reread: Vec<RowKey>,
    syncing: Option<IoId>,
    pending: Option<Pending>,
    /// Where the newest accepted checkpoint starts.
    newest: Option<Position>,
    restoring: Option<Vec<u8>>,
}

impl Checkpointer {
    pub(super) fn begin_restore(&mut self) {
        self.restoring = Some(Vec::new());
    }

    /// Where the newest accepted checkpoint starts, if there is one.
    pub(super) const fn newest(&self) -> Option<Position> {
        self.newest
    }

    pub(super) fn starts_at(&mut self, position: Position) {
        self.newest = Some(position);
    }

    /// Whether a checkpoint was begun that has not been read to its end.
    pub(super) const fn is_restoring(&self) -> bool {
        self.restoring.is_some()
    }

    /// The rest of the checkpoint never came: it does not count.
    pub(super) fn give_up_restore(&mut self) {
        self.restoring = None;
        self.newest = None;
    }
}

impl<R: Rules> ShardEngine<R> {
    pub(super) fn checkpoint_if_due(&mut self, out: &mut Vec<ShardCommand>) {
        let due = self.chain.bytes_since_checkpoint >= self.config.limits.checkpoint_every_bytes;
        let idle = self.checkpointer.syncing.is_none() && self.checkpointer.pending.is_none();
        if due && idle && self.role == Role::Leading {
            let io = self.next_io();
            self.applier.begin_sync();
            self.checkpointer.syncing = Some(io);
            out.push(ShardCommand::SyncStore { io });
        }
    }

    pub(super) fn on_synced(&mut self, now: Now, io: IoId, out: &mut Vec<ShardCommand>) {
        if self.checkpointer.syncing != Some(io) {
            return;
        }
        self.checkpointer.syncing = None;
        self.chain.bytes_since_checkpoint = 0;
        let payload = Bytes::from(self.encode_checkpoint());
        let chunks = payload.len().div_ceil(CHUNK_BYTES);
        let first = self.chain.tail().next();
        for chunk in 0..chunks {
            let end = payload.len().min((chunk + 1) * CHUNK_BYTES);
            let body = Body::Checkpoint {
                chunk: u32::try_from(chunk).expect("a checkpoint is below 4 PiB"),
                last: chunk + 1 == chunks,
                payload: payload.slice(chunk * CHUNK_BYTES..end),
            };
            self.write(now, body, out);
        }
        self.stats.checkpoints += 1;
        self.stats.checkpoint_bytes = payload.len() as u64;
        self.checkpointer.pending =
            Some(Pending { first, last: self.chain.tail(), position: None });
    }

    /// A batch is durable: perhaps the checkpoint is, whole.
    pub(super) fn checkpoint_appended(
        &mut self,
        first: Sequence,
        last: Sequence,
        position: Position,
        out: &mut Vec<ShardCommand>,
    ) {
        let Some(pending) = &mut self.checkpointer.pending else { return };
        if first <= pending.first && pending.first <= last {
            pending.position = Some(position);
        }
        if pending.last > last {
            return;
        }
        let started = pending.position.expect("batches are appended in order");
        self.checkpointer.pending = None;
        // The last two stay: a lost hint must still find one.
        let trim = self.checkpointer.newest.replace(started).unwrap_or_default();
        out.push(ShardCommand::Checkpointed { checkpoint: started, trim });
    }

    fn encode_checkpoint(&mut self) -> Vec<u8> {
        let mut rows = self.applier.end_sync(self.rules.holds(Rule::CheckpointHoldsParked));
        if !self.rules.holds(Rule::CheckpointHoldsUnapplied) {
            rows.clear();
        }
        let mut buffer = Vec::with_capacity(64 + self.ledger.memories.len() * 64);
        let mut out = Writer::new(&mut buffer);
        if self.schema.checkpoints_say_version() {
            out.byte(CHECKPOINT_WITH_VERSION);
            out.varint(u64::from(self.newest_version));
        } else {
            out.byte(CHECKPOINT_VERSION);
        }
        out.piece(&if self.rules.holds(Rule::FloorIsDurable) {
            self.ledger.floor
        } else {
            Millis(0)
        });
        out.piece(&self.last_timestamp);
        out.piece(&self.acceptor.owner);
        out.varint(self.ledger.memories.len() as u64);
        for (id, memory) in &self.ledger.memories {
            out.piece(id);
            write_memory(&mut out, memory);
        }
        out.varint(rows.len() as u64);
        rows.iter().for_each(|row| out.piece(row));
        buffer
    }

    pub(super) fn learn_checkpoint(
        &mut self,
        now: Now,
        chunk: u32,
        last: bool,
        payload: Bytes,
    ) -> Result<(), String> {
        let Some(buffer) = &mut self.checkpointer.restoring else { return Ok(()) };
        buffer.extend_from_slice(&payload);
        if !last {
            return Ok(());
        }
        let buffer = self.checkpointer.restoring.take().expect("tested above");
        self.restore(now, Bytes::from(buffer))
            .map_err(|error| format!("the checkpoint that ends with chunk {chunk}: {error}"))
    }

    fn restore(&mut self, now: Now, payload: Bytes) -> Result<(), String> {
        let wrong = |error: DecodeError| error.to_string();
        let mut input = Reader::new(payload);
        let newest_version = read_version(&mut input).map_err(wrong)?;
        self.newest_version = self.newest_version.max(newest_version);
        let floor: Millis = input.piece().map_err(wrong)?;
        let last_timestamp: Timestamp = input.piece().map_err(wrong)?;
        self.acceptor.owner = input.piece().map_err(wrong)?;
        self.ledger.floor = floor;
        self.raise_timestamp(last_timestamp);
        for _ in 0..input.varint().map_err(wrong)? {
            let id: TxnId = input.piece().map_err(wrong)?;
            let memory = read_memory(&mut input, now).map_err(wrong)?;
            self.restore_memory(id, memory);
        }
        let count = input.varint().map_err(wrong)?;
        for _ in 0..count {
            let RowMutation { key, delta } = input.piece().map_err(wrong)?;
            // What other regions wrote may be among what was folded into one.
            let origin = if self.schema.merges {
                WriteOrigin::Elsewhere
            } else {
                WriteOrigin::Newest { owned: self.schema.is_owned(key.table) }
            };
            self.rows.write(&key, &delta, Sequence(0), origin);
            let rows = [RowMutation { key, delta }].into_iter().collect();
            self.applier.push(Sequence(0), None, rows);
        }
        input.finish().map_err(wrong)
    }

    fn restore_memory(&mut self, id: TxnId, memory: Memory) {
        if let Memory::Entry(entry) = &memory {
            if let Some(prepared) = &entry.prepared {
                self.locks.acquire(id, &prepared.locks);
                self.ledger.prepared.insert(id);
            }
            if entry.open.is_some() {
                self.ledger.open.insert(id);
            }
            if entry.decided.as_ref().is_some_and(|decided| !decided.finished) {
                self.ledger.unfinished.insert(id);
            }
        }
        self.ledger.memories.insert(id, memory);
    }
}

/// The newest version of the namespace that stood in the log, 0 if that is not said. Other forms are refused, as
/// a record of another version is.
fn read_version(input: &mut Reader) -> Result<u32, DecodeError> {
    match input.byte()? {
        CHECKPOINT_VERSION => Ok(0),
        CHECKPOINT_WITH_VERSION => input.small(),
        found => Err(DecodeError::Version { found, expected: CHECKPOINT_WITH_VERSION }),
    }
}

/// A promise without its decision, as a checkpoint holds it.
#[derive(Clone, Debug)]
pub struct Undecided {
    /// The transaction.
    pub id: TxnId,
    /// The timestamp that the shard proposed.
    pub proposal: Timestamp,
    /// The attempt that was promised.
    pub attempt: Attempt,
    /// Every participant, sorted.
    pub participants: Vec<ShardId>,
    /// The shard's rows.
    pub part: Arc<Part>,
    /// What the part's adds came to.
    pub adds: AddResults,
    /// At the home, every participant's part.
    pub whole: Vec<(ShardId, Arc<Part>)>,
}

/// The last timestamp of the shard when a checkpoint was written, and what was promised and undecided then;
/// `payload` is that of all its chunks.
///
/// # Errors
/// [`DecodeError`] if it is damaged, or of another version.
pub fn undecided_in(payload: Bytes) -> Result<(Timestamp, Vec<Undecided>), DecodeError> {
    let mut input = Reader::new(payload);
    read_version(&mut input)?;
    let (_floor, last, _owner): (Millis, Timestamp, Nonce) =
        (input.piece()?, input.piece()?, input.piece()?);
    let mut undecided = Vec::new();
    for _ in 0..input.varint()? {
        let id: TxnId = input.piece()?;
        let Memory::Entry(entry) = read_memory(&mut input, Now::default())? else { continue };
        let Entry { participants, prepared: Some(prepared), open, decided: None, .. } = *entry
        else {
            continue;
        };
        let whole = open.map(|open| open.txn.parts.clone()).unwrap_or_default();
        let Prepared { attempt, proposal, part, adds, .. } = *prepared;
        let participants = participants.to_vec();
        undecided.push(Undecided { id, proposal, attempt, participants, part, adds, whole });
    }
    Ok((last, undecided))
}

fn write_memory(out: &mut Writer<'_>, memory: &Memory) {
    match memory {
        Memory::Settled(settled) => {
            out.byte(SETTLED);
            out.piece(&settled.fingerprint);
            out.piece(&settled.timestamp);
            out.piece(&settled.epoch);
            out.piece(&settled.seq);
            out.list(&settled.participants);
            out.piece(&settled.until);
        }
        Memory::Entry(entry) => {
            out.byte(ENTRY);
            write_entry(out, entry);
        }
    }
}

fn write_entry(out: &mut Writer<'_>, entry: &Entry) {
    out.piece(&entry.fingerprint);
    out.list(&entry.participants);
    out.piece(&entry.prepared.is_some());
    if let Some(prepared) = &entry.prepared {
        out.piece(&prepared.attempt);
        out.piece(&prepared.start);
        out.piece(&prepared.proposal);
        out.piece(&prepared.part);
        out.list(&prepared.adds);
    }
    out.piece(&entry.open.is_some());
    if let Some(open) = &entry.open {
        out.piece(&open.txn);
        out.piece(&open.start);
        out.piece(&open.attempt);
    }
    out.piece(&entry.decided.is_some());
    if let Some(decided) = &entry.decided {
        match &decided.outcome {
            Outcome::Committed { timestamp, epoch, seq } => {
                out.piece(&true);
                out.piece(timestamp);
                out.piece(epoch);
                out.piece(seq);
            }
            Outcome::Closed(reason) => {
                out.piece(&false);
                out.piece(reason);
            }
        }
        out.piece(&decided.attempt);
        out.piece(&decided.finished);
    }
    out.piece(&entry.until);
    out.list(&entry.barred);
    out.list(&entry.holders);
}

fn read_memory(input: &mut Reader, now: Now) -> Result<Memory, DecodeError> {
    if input.byte()? == SETTLED {
        return Ok(Memory::Settled(Settled {
            fingerprint: input.piece()?,
            timestamp: input.piece()?,
            epoch: input.piece()?,
            seq: input.piece()?,
            participants: input.list()?.into(),
            until: input.piece()?,
        }));
    }
    Ok(Memory::Entry(Box::new(read_entry(input, now)?)))
}

fn read_entry(input: &mut Reader, now: Now) -> Result<Entry, DecodeError> {
    let since_us = now.mono_us;
    let mut entry = Entry {
        fingerprint: input.piece()?,
        participants: input.list()?.into(),
        ..Entry::default()
    };
    if input.piece()? {
        let mut prepared = Prepared {
            attempt: input.piece()?,
            start: input.piece()?,
            proposal: input.piece()?,
            part: input.piece()?,
            adds: input.list()?,
            locks: LockSet::new(),
            since_us,
        };
        for op in prepared.part.iter() {
            want(&mut prepared.locks, &op.key, !op.is_read_only());
        }
        entry.prepared = Some(Box::new(prepared));
    }
    if input.piece()? {
        entry.open = Some(Box::new(Open {
            txn: input.piece()?,
            start: input.piece()?,
            attempt: input.piece()?,
            under_way: false,
            since_us,
            fence: false,
        }));
    }
    if input.piece()? {
        let outcome = if input.piece()? {
            Outcome::Committed {
                timestamp: input.piece()?,
                epoch: input.piece()?,
                seq: input.piece()?,
            }
        } else {
            Outcome::Closed(input.piece()?)
        };
        let (attempt, finished) = (input.piece()?, input.piece()?);
        entry.decided = Some(Decided { outcome, attempt, finished, told_us: since_us });
    }
    entry.until = input.piece()?;
    entry.barred = input.list()?.into();
    entry.holders = input.list()?.into();
    Ok(entry)
}
