//! What deliveries keep: who delivers what, how far it is, and the dead letters. A port.
//!
//! # Clauses
//!
//! 1. **Claims are fenced.** Each claim of a [`Course`] raises its generation by one; whatever is said under an
//!    older generation changes nothing, and is answered so.
//! 2. **Durable when answered.** What was answered `Ok` survives a crash.
//! 3. **An error is not a no**: what was asked for may have happened. Everything here may be repeated: the
//!    same mark or letter again changes nothing.
//! 4. **A letter is known by its message's [`Name`]** in a namespace and target.
//! 5. **What was settled is remembered until the mark has passed it**: a letter that was redriven or discarded
//!    leaves its ticket behind (`settled` of a [`Claim`]), so that nothing of it is delivered again.

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;
use wal_core::{Millis, Nonce, Position, ShardId, Timestamp};

use crate::history::Try;
use crate::message::{Cause, Ticket};
use crate::outgoing::Name;
use crate::target::Later;

/// One delivery: a shard's messages to one target of a namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Course {
    /// The namespace.
    pub namespace: Arc<str>,
    /// The target's name.
    pub target: Arc<str>,
    /// The shard.
    pub shard: ShardId,
}

/// How far a delivery is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Of which log the positions are.
    pub log: Nonce,
    /// Everything before it is dealt with.
    pub dealt_with: Position,
    /// The log must be kept from here on: at most `dealt_with`.
    pub hold: Position,
    /// Where reading goes on; opaque to the store, at most 200 bytes.
    pub place: Bytes,
}

/// Who claims a course.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Which delivery.
    pub course: Course,
    /// The process that has it; `None` if it was released.
    pub process: Option<Uuid>,
    /// How often it was claimed.
    pub generation: u64,
    /// How far it is, if anything was stored yet.
    pub mark: Option<Mark>,
}

/// A course that was claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The generation of this claim.
    pub generation: u64,
    /// How far it is, if anything was stored yet.
    pub mark: Option<Mark>,
    /// Tickets of that log at or after the mark that are in the dead letters, or were redriven or discarded:
    /// they are not delivered again.
    pub settled: Vec<Ticket>,
}

/// A message that was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Which delivery gave it up.
    pub course: Course,
    /// What the message is called.
    pub name: Name,
    /// Of which log the ticket is.
    pub log: Nonce,
    /// Where it stands in that log.
    pub ticket: Ticket,
    /// When its transaction committed.
    pub timestamp: Timestamp,
    /// Its key.
    pub key: Option<Bytes>,
    /// The message without its key, as [`wal_core::message::Message::encode`] writes it.
    pub message: Bytes,
    /// Why it was given up.
    pub cause: Cause,
    /// How many tries failed, those of redriving too.
    pub tries: u32,
    /// Some of them, oldest first, at most 12.
    pub history: Vec<Try>,
    /// When it was given up, by the clock of who did.
    pub buried_at: Millis,
    /// What is to become of it.
    pub state: LetterState,
}

/// Where a dead letter stands among those of its namespace: by the time of its burial, its name, and its target,
/// for one message may be given up for two targets at once. The targets' order is the store's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LetterPlace {
    /// When it was given up.
    pub buried_at: Millis,
    /// What the message is called.
    pub name: Name,
    /// The target.
    pub target: Arc<str>,
}

impl DeadLetter {
    /// Where it stands.
    pub fn place(&self) -> LetterPlace {
        let target = Arc::clone(&self.course.target);
        LetterPlace { buried_at: self.buried_at, name: self.name, target }
    }
}

/// What is to become of a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LetterState {
    /// Nothing, until somebody says so.
    Dead,
    /// It is to be sent again.
    Redriving,
}

/// What became of a burial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Burial {
    /// It is in the dead letters, or was already.
    Stored,
    /// The target has as many dead letters as it may: it is not.
    Full,
    /// Another process has claimed the course: it is not.
    Deposed,
}

/// Which dead letters of a namespace. Everything given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Of one target.
    pub target: Option<String>,
    /// Of one key.
    pub key: Option<Bytes>,
    /// These; empty for all.
    pub names: Vec<Name>,
    /// In one state.
    pub state: Option<LetterState>,
    /// Given up before this time.
    pub buried_before: Option<Millis>,
    /// Given up at or after this time.
    pub buried_since: Option<Millis>,
}

/// What is to be done with dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Send them again.
    Redrive,
    /// Do not, as far as that has not happened yet.
    Cancel,
    /// Give them up for good.
    Discard,
}

/// How many dead letters of a target are in which state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LetterCount {
    /// The target's name.
    pub target: String,
    /// The state.
    pub state: LetterState,
    /// How many.
    pub count: u64,
}

/// How many dead letters a selection chooses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chosen {
    /// Those that stay dead.
    pub dead: u64,
    /// Those that are to be sent again.
    pub redriving: u64,
    /// When the newest of all these was given up; `None` if there is none.
    pub newest: Option<Millis>,
}

/// What became of a redriven letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Redriven {
    /// It was delivered: it is no dead letter any more.
    Delivered,
    /// It is dead again, with one more try in its history.
    Failed(Try),
}

/// Why the store did not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store of deliveries: {0}")]
pub struct StoreError(pub String);

/// The result of a question to the store.
pub type Stored<'a, T> = Later<'a, Result<T, StoreError>>;

/// Keeps what deliveries need. See the module's clauses.
pub trait Store: Send + Sync + 'static {
    /// Counts one more beat of a process. Returns how often each has beaten: who does not rise any more is
    /// gone. No clocks are compared.
    fn beat(&self, process: Uuid) -> Stored<'_, Vec<(Uuid, u64)>>;

    /// Removes a process, and releases whatever it has claimed.
    fn leave(&self, process: Uuid) -> Stored<'_, ()>;

    /// Every course of a namespace that was ever claimed.
    fn owners(&self, namespace: &str) -> Stored<'_, Vec<Owner>>;

    /// Claims a course whose generation is still `generation` (0: it was never claimed). `None` if somebody
    /// else was quicker.
    fn claim(&self, course: Course, process: Uuid, generation: u64) -> Stored<'_, Option<Claim>>;

    /// Lets a course go, if its generation is still this one.
    fn release(&self, course: Course, generation: u64) -> Stored<'_, ()>;

    /// Stores marks, all in one go; says of each whether its generation is still that one. Forgets the
    /// tickets that a mark has passed.
    fn mark(&self, marks: Vec<(Course, u64, Mark)>) -> Stored<'_, Vec<bool>>;

    /// Stores a dead letter, if its course's generation is still this one and its target has fewer than
    /// `limit` of them.
    fn bury(&self, letter: DeadLetter, generation: u64, limit: u64) -> Stored<'_, Burial>;

    /// Dead letters in the order of their places, at most `limit`; behind that one if `after` is given.
    fn letters(
        &self,
        namespace: &str,
        selection: Selection,
        after: Option<LetterPlace>,
        limit: u32,
    ) -> Stored<'_, Vec<DeadLetter>>;

    /// The same as [`Store::letters`] without their messages, which may be large: each `message` is empty.
    fn outlines(
        &self,
        namespace: &str,
        selection: Selection,
        after: Option<LetterPlace>,
        limit: u32,
    ) -> Stored<'_, Vec<DeadLetter>>;

    /// How many dead letters each target of a namespace has.
    fn count(&self, namespace: &str) -> Stored<'_, Vec<LetterCount>>;

    /// How many dead letters are chosen. Takes time in proportion to their number.
    fn count_chosen(&self, namespace: &str, selection: Selection) -> Stored<'_, Chosen>;

    /// Says what is to be done with dead letters; returns with how many. A letter that is discarded is gone,
    /// its ticket is remembered as settled.
    fn wish(&self, namespace: &str, selection: Selection, wish: Wish) -> Stored<'_, u64>;

    /// Letters of a course that are to be sent again, the oldest ticket first, at most `limit`.
    fn redriving(&self, course: Course, limit: u32) -> Stored<'_, Vec<DeadLetter>>;

    /// Says what became of a letter that was sent again, if its course's generation is still this one;
    /// otherwise, or if it was discarded meanwhile, changes nothing.
    fn redriven(
        &self,
        course: Course,
        generation: u64,
        name: Name,
        how: Redriven,
    ) -> Stored<'_, ()>;
}
