//! Deliveries: in some worlds every process delivers messages, too, to targets that fail in every way.
//!
//! ```text
//!  log ──▶ follower ──▶ delivery engine ──tries──▶ target        (simulated: delivers, fails, refuses, hangs, …)
//!          └──── one of each for a course ────┘ ──▶ store        (simulated: marks, claims, dead letters)
//! ```
//!
//! A course is a shard's messages to one target. Who delivers it is decided by claims, as in production, so a
//! process that is paused, or cut off, is taken over while it still believes that the course is its own. The
//! [`book`] knows what has really arrived, and judges by that alone.

mod book;
mod course;
mod deliverer;
mod messages;
mod plan;
mod redrive;
mod store;
mod target;

use delivery::{Answer, Name, Ticket};
use wal_core::{Position, ShardId};

use book::Book;
pub(crate) use book::check;
pub(crate) use deliverer::Deliverer;
pub(crate) use messages::Messages;
pub(crate) use plan::DeliveryPlan;
pub(crate) use store::Question;
use store::{Reply, Store};
use target::Refuses;

use crate::later::Index;

/// A shard's messages to one target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CourseId {
    target: u8,
    shard: ShardId,
}

/// What a namespace has of deliveries beside its processes.
pub(crate) struct Deliveries {
    plan: DeliveryPlan,
    store: Store,
    refuses: Refuses,
    book: Book,
    index: Index,
    /// Where the logs ended when all but the deliveries was at rest.
    ends: Option<Vec<Position>>,
}

impl Deliveries {
    pub(crate) fn new(plan: DeliveryPlan) -> Self {
        Self {
            plan,
            store: Store::default(),
            refuses: Refuses::default(),
            book: Book::default(),
            index: Index::default(),
            ends: None,
        }
    }
}

/// Which try.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Of {
    /// A message's, in its turn.
    Lane { ticket: Ticket, number: u32 },
    /// A dead letter's that is sent again.
    Letter,
}

/// What a process that delivers hears.
#[derive(Debug)]
pub(crate) enum Heard {
    /// From the store; nothing if that failed.
    Store { question: Question, reply: Option<Reply> },
    /// From a target, or from its own deadline.
    Target { course: CourseId, generation: u64, name: Name, of: Of, answer: Answer },
    /// From its own patience with what it had begun to do.
    Impatient { call: u64 },
}

/// What happens outside of all processes.
#[derive(Debug)]
pub(crate) enum Outside {
    /// The store is asked. If `is_told`, the answer comes back.
    Asked { slot: usize, process: u64, question: Question, is_told: bool },
    /// A target has a message.
    Arrived { target: u8, name: Name },
}

/// Names of what must happen in some of many worlds. (What one world in hundreds shows is counted, and not demanded.)
#[rustfmt::skip]
pub(crate) const NAMES: &[&str] = &[
    "delivery claimed",
    "delivery claimed too late",
    "delivery drained",
    "delivery deposed",
    "message sent",
    "message sent by a deposed process",
    "message arrived",
    "message arrived again",
    "message buried",
    "message not buried: full",
    "letter delivered",
    "letter dead again",
    "mark stored",
    "mark refused",
    "part done",
    "part gone",
    "part refused",
    "part tried again",
];
