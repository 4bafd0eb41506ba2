//! A node and the process that runs on it: what a crash takes away, and what it leaves.

use std::collections::VecDeque;
use std::sync::Arc;

use participant::message::Origin;
use wal_core::log::ShardBatch;
use wal_core::{Epoch, ShardId, TxnId};

use crate::clock::NodeClock;
use crate::deliver::Deliverer;
use crate::engines::{Commit, Shard};
use crate::message::SeatId;
use crate::producer::Producer;

/// A machine. It survives its processes.
pub(crate) struct Machine {
    pub(crate) clock: NodeClock,
    pub(crate) paused_until: u64,
    /// Whether it belongs to the deployment; else nothing starts on it.
    pub(crate) member: bool,
    /// After so many more commands its process ends.
    pub(crate) crash_in: Option<u64>,
    /// When its wall clock jumped ahead, and how far ahead it was before, microseconds.
    pub(crate) jumped: Option<(u64, i64)>,
}

/// What of a machine serves one namespace.
#[derive(Default)]
pub(crate) struct Node {
    pub(crate) process: Option<Process>,
    /// What a dead process had given to the embedded log and not synced.
    pub(crate) unsynced: Vec<Pending>,
}

/// How far a candidate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It reads the log for the first time.
    Reading,
    /// It has stood, and reads on until it has won or lost.
    Standing,
    /// It leads.
    Leading(Epoch),
}

/// A shard engine with what its runtime keeps.
pub(crate) struct Seat {
    pub(crate) uid: u64,
    pub(crate) engine: Shard,
    pub(crate) phase: Phase,
    pub(crate) next: u64,
    pub(crate) producer: Producer,
    pub(crate) take_scheduled: bool,
    pub(crate) draining_since: Option<u64>,
    /// Who waits for a transaction of this shard alone (kept for one planted bug only).
    pub(crate) singles: Vec<(Origin, TxnId)>,
}

/// A batch that the embedded log has taken and not yet synced.
pub(crate) struct Pending {
    pub(crate) seat: SeatId,
    pub(crate) append: u64,
    pub(crate) batch: Arc<ShardBatch>,
}

/// Everything of a namespace that a crash takes away.
pub(crate) struct Process {
    pub(crate) number: u64,
    /// Whether it has seen the namespace's newer version.
    pub(crate) knows_newer: bool,
    pub(crate) commit: Commit,
    pub(crate) seats: Vec<Option<Seat>>,
    pub(crate) routes: Vec<Option<(Epoch, usize)>>,
    /// When a leader of each shard was last heard of.
    pub(crate) heard_us: Vec<u64>,
    /// Who should lead each shard, as far as this process was told.
    pub(crate) placed: Vec<usize>,
    pub(crate) retry_at: Vec<u64>,
    /// The embedded log's queue.
    pub(crate) disk: VecDeque<Pending>,
    pub(crate) disk_syncing: bool,
    pub(crate) disk_dead: bool,
    /// What it delivers.
    pub(crate) deliverer: Deliverer,
}

impl Process {
    pub(crate) fn seat(&mut self, shard: ShardId) -> Option<&mut Seat> {
        self.seats[shard.0 as usize].as_mut()
    }
}
