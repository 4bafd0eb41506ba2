//! Two namespaces of a world that are the two regions of one: each has logs, tables, engines and clients of its
//! own, and what commits in one is sent to the other, in both directions.
//!
//! ```text
//!  namespace 0                                              namespace 1
//!  logs ──▶ Follower, Gather (a sender) ── a batch ──▶ server: arrival() ──▶ gateway, shards, logs, tables
//!  shards ◀── pulse() ──┘   ▲ watermark ◀──────────── committed, or where it is ──┘
//! ```
//!
//! The gathering, the followers and the transactions that carry batches and pulses are those of production; what is
//! modelled is around them: senders that crash, are taken for dead and go on, and requests between servers that are
//! lost, late and repeated.

mod arrive;
mod check;
mod namespace;
mod sender;
mod way;

use std::collections::BTreeMap;
use std::sync::Arc;

use delivery::region::Batch;
use wal_core::Timestamp;
use wal_core::namespace::Namespace;

pub(crate) use check::check;
pub(crate) use namespace::{RegionPlan, draw, written_here};

use arrive::Served;
use way::Way;

/// Whose calls are those of servers that serve regions: no client has this number.
pub(crate) const SERVER: usize = usize::MAX / 2;

/// What must happen in some of many worlds with regions.
pub(crate) const HAPPENED: [&str; 9] = [
    "region: batch applied",
    "region: batch begins behind another watermark",
    "region: batch ahead of the clock",
    "region: batch came to nobody",
    "region: not answered in time",
    "region: answer came late",
    "region: sender taken over",
    "region: sender deposed",
    "region: pulse",
];

/// The regions of a world; without ways where it has none.
#[derive(Default)]
pub(crate) struct Regions {
    /// One in each direction.
    ways: Vec<Way>,
    /// The namespace of each region, by its number in the world; in both of its versions.
    namespaces: BTreeMap<u16, [Namespace; 2]>,
    /// Calls that servers have made for other regions, or for a sender.
    calls: BTreeMap<u64, Served>,
}

/// Who asks something of a server of the other region, so that the answer finds its way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker {
    way: usize,
    sender: u64,
    /// Its number among what the sender has asked: what it has given up is not listened to any more.
    tried: u64,
}

/// What a sender asks.
#[derive(Clone, Debug)]
pub(crate) enum Asked {
    /// Where the other region is.
    Arrived,
    /// To apply a batch; so many transactions are there before it.
    Apply(Arc<Batch>, u64),
}

/// What a sender hears.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Heard {
    /// Everything up to this time is there, by its batch.
    Applied(Timestamp),
    /// Everything up to this time is there, so many transactions.
    Arrived(Timestamp, u64),
    /// It was not done, or nobody knows; perhaps when to try again.
    Failed(Option<u64>),
}

/// What happens to regions.
#[derive(Debug)]
pub(crate) enum Happens {
    /// It is looked who sends. (In the namespace that is sent from, as the next.)
    Look { way: usize },
    /// A sender goes on.
    Turn { way: usize, sender: u64, slot: usize },
    /// A server of the other region is asked. (In the namespace that is sent to.)
    Ask { asker: Asker, asked: Asked, slot: usize },
    /// The sender hears. (In the namespace that is sent from.)
    Hear { asker: Asker, heard: Heard, slot: usize },
}

impl Happens {
    /// The node on which it happens.
    pub(crate) const fn node(&self) -> Option<usize> {
        match self {
            Self::Look { .. } => None,
            Self::Turn { slot, .. } | Self::Ask { slot, .. } | Self::Hear { slot, .. } => {
                Some(*slot)
            }
        }
    }
}
