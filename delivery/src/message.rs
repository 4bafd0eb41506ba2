//! What is delivered, and what a target answers.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use wal_core::Position;

/// A message's name and its place in the order: the commit record that it came from, and its index there.
///
/// The same after every restart; what a target recognises repeats by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket {
    /// The commit record.
    pub position: Position,
    /// Which of the record's messages to the target, from 0.
    pub index: u32,
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.position, self.index)
    }
}

/// A message to the target. `M` is what the driver needs for sending it, cheap to clone: it comes back with
/// every [`Command::Send`](crate::Command::Send).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<M> {
    /// Its name.
    pub ticket: Ticket,
    /// Messages with the same key are delivered in the order of their tickets; without a key there is none.
    pub key: Option<Bytes>,
    /// What it counts against [`DeliveryConfig::max_bytes`](crate::DeliveryConfig::max_bytes), in bytes.
    pub size_bytes: u64,
    /// Opaque to the engine.
    pub payload: M,
}

/// What kind of failure a try ended in, which decides what is done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// This message will never be taken: too large, malformed, forbidden. It goes to the dead letters at once.
    Permanent,
    /// It may be taken later; also a try that was not answered in time. Tried again, with a pause that grows,
    /// up to [`RetryConfig::max_tries`](crate::RetryConfig::max_tries) and
    /// [`max_age_us`](crate::RetryConfig::max_age_us); then to the dead letters.
    Transient,
    /// The target as a whole takes nothing now: too many requests, connection refused, too few replicas.
    /// Everything slows down. Does not count against
    /// [`RetryConfig::max_tries`](crate::RetryConfig::max_tries).
    Overloaded {
        /// How long the target asks us to stay away, microseconds; held to at least that, up to
        /// [`WindowConfig::longest_retry_after_us`](crate::WindowConfig::longest_retry_after_us).
        retry_after_us: Option<u64>,
    },
    /// The fault is on our side: a bug, or a schema that this server does not know yet. The message is parked,
    /// with its key, and is never given up: it is tried again on request, or after a long pause.
    Ours,
}

/// A try that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What kind of failure.
    pub class: ErrorClass,
    /// What the target said, for people; cut to [`MAX_TEXT_BYTES`](crate::MAX_TEXT_BYTES) in histories.
    pub text: Arc<str>,
}

/// How a try ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The target has it, durably as far as the target goes; also if it recognised a repeat.
    Delivered,
    /// It does not, or that is not known.
    Failed(Failure),
}

/// Why a message is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// [`ErrorClass::Permanent`].
    Permanent,
    /// As many transient failures as [`RetryConfig::max_tries`](crate::RetryConfig::max_tries) allows.
    TriesExhausted,
    /// It was tried for longer than [`RetryConfig::max_age_us`](crate::RetryConfig::max_age_us), or
    /// [`max_overloaded_age_us`](crate::RetryConfig::max_overloaded_age_us), allows.
    TooOld,
}
