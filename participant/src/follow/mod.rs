//! Following a shard's log from outside: what has committed, in the order in which the shard says so.
//!
//! ```text
//! log ──▶ Prepare(t1) ── Prepare(t2) ── CommitSingle(t3) ── Commit(t2) ── Abort(t1) ── …
//!                                            tells t3         tells t2
//! ```
//!
//! A follower leads nothing and asks nobody: which records count is decided by [`Acceptor`], and a promise
//! becomes a telling with the `Commit` that names it. It keeps what is promised and undecided, so it goes
//! on from a [`Place`]: the oldest such promise, and which tellings before the end were made already.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use wal_core::record::{
    Acceptor, AddResults, Body, CommitSingle, DecodeError, Header, Piece, Prepare, Reader, Record,
    Verdict, Writer, decode,
};
use wal_core::txn::Part;
use wal_core::{
    Attempt, Epoch, Position, RowMutation, ShardId, TableId, Timestamp, TxnId, WriteOp,
};

use crate::engine::check::mutations;
use crate::engine::undecided_in;

#[cfg(test)]
mod tests;

/// What a follower tells of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Each transaction once, whole, at its home; sums as they were asked for.
    Whole,
    /// At each shard that takes part its own rows; sums as they came out. What writes one key is told in
    /// the order in which it committed.
    Parts,
}

/// A committed transaction, or a shard's part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The shard whose log says so.
    pub shard: ShardId,
    /// The record that says so.
    pub position: Position,
    /// Its place in the shard's chain.
    pub header: Header,
    /// The transaction.
    pub id: TxnId,
    /// Its commit timestamp.
    pub timestamp: Timestamp,
    /// Every participant, sorted.
    pub participants: Vec<ShardId>,
    /// The rows, by shard.
    pub parts: Vec<(ShardId, Arc<Part>)>,
    /// In [`Scope::Parts`], what the adds came to, in the order of the rows and cells.
    pub adds: Option<AddResults>,
}

impl Told {
    /// Whether the shard that tells it is its home.
    pub fn is_home(&self) -> bool {
        let home = self.id.home_index(self.participants.len().max(1));
        self.participants.get(home) == Some(&self.shard)
    }

    /// What was committed here to rows of some tables: not what had come from another region. For
    /// [`Scope::Parts`].
    pub fn written_here(&self, of: impl Fn(TableId) -> bool) -> Vec<RowMutation> {
        let rows = self.parts.iter().flat_map(|(_, part)| part.iter());
        let here = rows.filter(|op| !matches!(op.write, WriteOp::Merge(_)) && of(op.key.table));
        let adds = self.adds.as_deref().unwrap_or_default();
        mutations(here, self.timestamp, adds).collect()
    }
}

/// Where a follower goes on, without missing or repeating anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Where the log is to be read from.
    pub from: Position,
    /// What was known of the chain there; `None` at the first record that is left, and at a checkpoint.
    pub acceptor: Option<Acceptor>,
    /// What records before this position say was told already.
    pub told: Position,
}

/// Position, optional chain (epoch, owner, last sequence, hash, broken), position.
impl Piece for Place {
    fn write(&self, out: &mut Writer<'_>) {
        out.piece(&self.from);
        out.piece(&self.acceptor.is_some());
        if let Some(acceptor) = &self.acceptor {
            out.piece(&acceptor.epoch);
            out.piece(&acceptor.owner);
            out.piece(&acceptor.last);
            out.fixed64(acceptor.hash);
            out.piece(&acceptor.broken);
        }
        out.piece(&self.told);
    }

    fn read(input: &mut Reader) -> Result<Self, DecodeError> {
        let from = input.piece()?;
        let acceptor = if input.piece()? {
            Some(Acceptor {
                epoch: input.piece()?,
                owner: input.piece()?,
                last: input.piece()?,
                hash: input.fixed64()?,
                broken: input.piece()?,
            })
        } else {
            None
        };
        Ok(Self { from, acceptor, told: input.piece()? })
    }
}

/// Why a log cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FollowError {
    /// A record cannot be read.
    #[error("position {position} of shard {shard}: {why}")]
    Record {
        /// The shard.
        shard: ShardId,
        /// The record.
        position: Position,
        /// Why.
        why: DecodeError,
    },
    /// A commit without its promise: the log, or the place that was gone on from, is not what it was.
    #[error(
        "position {position} of shard {shard} says that transaction {id} is committed, whose promise is \
         not there"
    )]
    Unpromised {
        /// The shard.
        shard: ShardId,
        /// The record.
        position: Position,
        /// The transaction.
        id: TxnId,
    },
}

/// A promise without its decision.
#[derive(Clone, Debug)]
struct Promise {
    attempt: Attempt,
    participants: Vec<ShardId>,
    /// What will be told if it commits; empty where another shard tells it.
    parts: Vec<(ShardId, Arc<Part>)>,
    adds: AddResults,
    /// It commits at this time or later.
    proposal: Timestamp,
    /// Where it was read, and the chain before it.
    place: (Position, Option<Acceptor>),
}

/// A checkpoint that is being read, from its first chunk on.
#[derive(Debug)]
struct Restoring {
    at: Position,
    payload: Vec<u8>,
}

/// Follows one shard.
#[derive(Debug)]
pub struct Follower {
    shard: ShardId,
    scope: Scope,
    /// `None` until the log's beginning or a checkpoint was found: what stands before that is the end of
    /// something that is not there any more.
    acceptor: Option<Acceptor>,
    /// While looking for a start: the newest epoch of any record seen.
    newest_epoch_seen: Epoch,
    promises: BTreeMap<TxnId, Promise>,
    restoring: Option<Restoring>,
    /// Everything before it was read.
    next: Position,
    told: Position,
    /// The greatest timestamp of any record read.
    last: Timestamp,
    /// What committed at or before it may have stood before a checkpoint with which the reading began.
    unseen: Timestamp,
}

impl Follower {
    /// Goes on from a place; the default one is the first record that is left.
    pub fn new(shard: ShardId, scope: Scope, place: Place) -> Self {
        Self {
            shard,
            scope,
            acceptor: place.acceptor,
            newest_epoch_seen: Epoch(0),
            promises: BTreeMap::new(),
            restoring: None,
            next: place.from,
            told: place.told,
            last: Timestamp::default(),
            unseen: Timestamp::default(),
        }
    }

    /// Whether it has not found where to begin yet.
    pub const fn is_searching(&self) -> bool {
        self.acceptor.is_none()
    }

    /// Whether it knows all that was promised before what it reads next.
    pub const fn is_ready(&self) -> bool {
        self.acceptor.is_some() && self.restoring.is_none()
    }

    /// What it tells.
    pub const fn scope(&self) -> Scope {
        self.scope
    }

    /// Everything before `at` was read, and what it says is taken as told.
    pub fn begin_at(&mut self, at: Position) {
        self.next = at;
        self.told = at;
    }

    /// Everything before `next` was read.
    pub fn read_to(&mut self, next: Position) {
        self.next = next.max(self.next);
    }

    /// The closed timestamp: whatever is told from now on committed later than that. Nothing is closed until a
    /// record with a timestamp was read.
    ///
    /// A shard proposes above every timestamp in its log, and a transaction commits at its own proposal or
    /// above, so this follows from the records alone.
    pub fn closed(&self) -> Timestamp {
        let undecided = self.promises.values().map(|promise| promise.proposal).min();
        let below = undecided.map(|proposal| Timestamp(proposal.0 - 1));
        below.map_or(self.last, |below| below.min(self.last))
    }

    /// What committed at or before this may not have been told, because the reading began behind it, at a
    /// checkpoint. Zero if it began at the log's beginning, or at a place.
    pub const fn unseen(&self) -> Timestamp {
        self.unseen
    }

    /// Where another follower goes on from here.
    pub fn place(&self) -> Place {
        let oldest = self.promises.values().map(|promise| promise.place);
        let restoring = self.restoring.iter().map(|restoring| (restoring.at, None));
        let oldest = oldest.chain(restoring).min_by_key(|(at, _)| *at);
        let (from, acceptor) = oldest.unwrap_or((self.next, self.acceptor));
        Place { from, acceptor, told: self.told.max(self.next) }
    }

    /// Takes the next record in; says what it tells.
    ///
    /// # Errors
    /// [`FollowError`]; the follower cannot be used any more.
    pub fn take(&mut self, position: Position, bytes: Bytes) -> Result<Option<Told>, FollowError> {
        let shard = self.shard;
        let (record, hash) =
            decode(bytes).map_err(|why| FollowError::Record { shard, position, why })?;
        self.next = Position(position.0 + 1);
        if self.interrupts(&record, hash) {
            // Its leader died within the checkpoint, which does not count; this record is looked at as any
            // other is by who looks for a start.
            self.restoring = None;
            self.acceptor = None;
        }
        if self.is_searching() && !self.finds_start(position, &record) {
            return Ok(None);
        }
        let acceptor = self.acceptor.as_mut().expect("the start was found");
        let before = *acceptor;
        if acceptor.judge(&record, hash) == Verdict::Ignored {
            return Ok(None);
        }
        let told = match record.body {
            Body::Prepare(prepare) => {
                let Prepare { id, attempt, proposal, participants, part, adds, others, .. } =
                    *prepare;
                self.last = self.last.max(proposal);
                let place = (position, Some(before));
                let parts = Vec::new();
                let promise = Promise { attempt, participants, parts, adds, proposal, place };
                self.promise(id, promise, part, others);
                None
            }
            Body::CommitSingle(commit) => {
                self.last = self.last.max(commit.timestamp);
                (position >= self.told).then(|| self.single(position, record.header, *commit))
            }
            Body::Commit { id, attempt, timestamp } => {
                self.last = self.last.max(timestamp);
                self.on_commit(position, record.header, (id, attempt), timestamp)?
            }
            Body::Abort { id, attempt } | Body::Refuse { id, attempt } => {
                if self.promises.get(&id).is_some_and(|promise| promise.attempt == attempt) {
                    self.promises.remove(&id);
                }
                None
            }
            Body::Close { id, .. } => {
                self.promises.remove(&id);
                None
            }
            Body::Checkpoint { last, payload, .. } => {
                self.on_checkpoint(position, last, &payload)?;
                None
            }
            Body::Epoch { .. }
            | Body::Intent { .. }
            | Body::Finished { .. }
            | Body::Floor { .. }
            | Body::Discard { .. }
            | Body::Resign
            | Body::Barrier => None,
        };
        Ok(told)
    }

    /// Keeps of a promise what this shard will tell of it. `parts` are the whole transaction at its home.
    fn promise(
        &mut self,
        id: TxnId,
        mut promise: Promise,
        own: Arc<Part>,
        mut parts: Vec<(ShardId, Arc<Part>)>,
    ) {
        let home = id.home_index(promise.participants.len().max(1));
        let is_home = promise.participants.get(home) == Some(&self.shard);
        promise.parts = match self.scope {
            Scope::Parts => vec![(self.shard, own)],
            Scope::Whole if is_home => {
                parts.retain(|(shard, _)| *shard != self.shard);
                parts.push((self.shard, own));
                parts.sort_by_key(|(shard, _)| *shard);
                parts
            }
            Scope::Whole => Vec::new(),
        };
        self.promises.insert(id, promise);
    }

    fn single(&self, position: Position, header: Header, commit: CommitSingle) -> Told {
        let CommitSingle { id, timestamp, part, adds, .. } = commit;
        Told {
            shard: self.shard,
            position,
            header,
            id,
            timestamp,
            participants: vec![self.shard],
            parts: vec![(self.shard, part)],
            adds: (self.scope == Scope::Parts).then_some(adds),
        }
    }

    fn on_commit(
        &mut self,
        position: Position,
        header: Header,
        (id, attempt): (TxnId, Attempt),
        timestamp: Timestamp,
    ) -> Result<Option<Told>, FollowError> {
        let promise = self.promises.remove(&id);
        if position < self.told {
            return Ok(None);
        }
        let shard = self.shard;
        let promise = promise
            .filter(|promise| promise.attempt == attempt)
            .ok_or(FollowError::Unpromised { shard, position, id })?;
        let Promise { participants, parts, adds, .. } = promise;
        if parts.is_empty() {
            return Ok(None); // its home tells it
        }
        let adds = (self.scope == Scope::Parts).then_some(adds);
        Ok(Some(Told { shard, position, header, id, timestamp, participants, parts, adds }))
    }

    /// Whether this record counts, and stands where a checkpoint should go on that is being read.
    fn interrupts(&self, record: &Record, hash: u64) -> bool {
        self.restoring.is_some()
            && !matches!(record.body, Body::Checkpoint { .. })
            && self.acceptor.is_some_and(|mut copy| copy.judge(record, hash) == Verdict::Accepted)
    }

    /// Whether this record is the log's beginning, or a checkpoint's first chunk: an engine that is to lead
    /// begins there, too.
    fn finds_start(&mut self, position: Position, record: &Record) -> bool {
        let newest = self.newest_epoch_seen.max(record.header.epoch);
        let stale = record.header.epoch < newest;
        self.newest_epoch_seen = newest;
        match &record.body {
            Body::Epoch { .. } if record.header.epoch.0 == 1 && record.header.previous == 0 => {}
            Body::Checkpoint { chunk: 0, .. } if !stale => {
                self.restoring = Some(Restoring { at: position, payload: Vec::new() });
            }
            _ => return false,
        }
        self.acceptor = Some(Acceptor::first_left(record));
        true
    }

    /// What was promised before the checkpoint with which the reading began stands in it.
    fn on_checkpoint(
        &mut self,
        position: Position,
        last: bool,
        payload: &[u8],
    ) -> Result<(), FollowError> {
        let Some(restoring) = &mut self.restoring else { return Ok(()) };
        restoring.payload.extend_from_slice(payload);
        if !last {
            return Ok(());
        }
        let Restoring { at, payload } = self.restoring.take().expect("tested above");
        let (shard, place) = (self.shard, (at, None));
        let (newest, undecided) = undecided_in(payload.into())
            .map_err(|why| FollowError::Record { shard, position, why })?;
        self.last = self.last.max(newest);
        self.unseen = self.unseen.max(newest);
        for found in undecided {
            let promise = Promise {
                attempt: found.attempt,
                participants: found.participants,
                parts: Vec::new(),
                adds: found.adds,
                proposal: found.proposal,
                place,
            };
            self.promise(found.id, promise, found.part, found.whole);
        }
        Ok(())
    }
}
