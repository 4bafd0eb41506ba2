//! What travels between nodes, and everything that can happen.

use std::sync::Arc;

use coordinator::api::{Call, CallAnswer};
use participant::engine::IoId;
use participant::message::{Origin, ShardReply, ShardRequest};
use wal_core::log::ShardBatch;
use wal_core::{Epoch, Position, Row, RowKey, RowMutation, ShardId};

use crate::deliver::{Heard, Outside};
use crate::fault::Fault;
use crate::region::Happens;
use crate::store::Refused;

/// What travels.
#[derive(Clone, Debug)]
pub(crate) enum Message {
    /// To the leader of a shard.
    Request { origin: Origin, shard: ShardId, request: ShardRequest },
    /// To a commit engine.
    Reply { process: u64, shard: ShardId, token: u64, reply: ShardReply },
    /// From a node that leads these shards.
    Heartbeat { from: usize, leads: Vec<(ShardId, Epoch)> },
    /// From a client.
    Call { call: u64, what: Call },
    /// From a client that waits no more.
    Forget { call: u64 },
}

/// One leader, or one that stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SeatId {
    pub(crate) slot: usize,
    pub(crate) shard: ShardId,
    pub(crate) uid: u64,
}

/// Everything that can happen.
#[derive(Debug)]
pub(crate) enum Event {
    /// Time passes on a node.
    Tick { slot: usize, process: u64 },
    /// A node looks whether it should lead something.
    Placement { slot: usize, process: u64 },
    /// A node says what it leads.
    Heartbeat { slot: usize, process: u64 },
    /// A message arrives at a node.
    Deliver { slot: usize, message: Box<Message> },
    /// A command for the same process' commit engine arrives.
    ToCommit { slot: usize, process: u64, event: Box<coordinator::interface::CommitEvent> },
    /// Something happens to regions.
    Region(Box<Happens>),
    /// A client hears an answer.
    Answer { client: usize, call: u64, answer: Box<CallAnswer> },
    /// A client acts.
    Client { client: usize, turn: u64 },
    /// A candidate reads the log.
    Poll { seat: SeatId },
    /// A leader takes its batch.
    Take { seat: SeatId },
    /// A batch reaches the broker. `silent` says that nobody will hear of it.
    Land { seat: SeatId, append: u64, batch: Arc<ShardBatch>, silent: bool },
    /// The oldest batch that the log's leader holds alone is stable.
    Stable { shard: ShardId },
    /// A hint that was written late.
    Hint { shard: ShardId, checkpoint: Position },
    /// What a checkpoint covers has been kept for long enough.
    Trim { shard: ShardId, trim: Position },
    /// A request is sent once more, to whoever leads by now.
    Reroute { slot: usize, message: Box<Message> },
    /// The broker's acknowledgement reaches the producer.
    Acknowledged { seat: SeatId, append: u64, offset: u64 },
    /// The producer has read the log back.
    ReadBack { seat: SeatId, append: u64, offset: u64 },
    /// The broker refuses.
    Refused { seat: SeatId, append: u64 },
    /// The producer's patience ends.
    AppendTimeout { seat: SeatId, append: u64 },
    /// The embedded log's sync ends.
    DiskSynced { slot: usize, process: u64, covers: usize },
    /// A read reaches the table store.
    ReadRows { seat: SeatId, io: IoId, keys: Vec<RowKey> },
    /// Its answer comes back; none if it failed.
    RowsRead { seat: SeatId, io: IoId, rows: Option<Vec<Row>> },
    /// Rows reach the table store.
    Apply { mutations: Arc<[RowMutation]>, from: usize, to: usize },
    /// A flush's answer comes back.
    Flushed { seat: SeatId, io: IoId, fine: bool },
    /// It says which rows are refused for good.
    FlushRefused { seat: SeatId, io: IoId, rows: Vec<usize> },
    /// The tables take again what they refused; perhaps somebody has it tried at once.
    TakenAgain { what: Refused, retry: bool },
    /// A sync's answer comes back.
    Synced { seat: SeatId, io: IoId, mark: usize },
    /// A node learns who should lead a shard.
    Placed { slot: usize, shard: ShardId, leader: usize },
    /// A fault strikes.
    Strike { fault: Fault },
    /// A node starts.
    Start { slot: usize },
    /// A process ends.
    End { slot: usize, process: u64 },
    /// A cut ends.
    Mend { cut: Cut },
    /// A process that delivers hears from the store of deliveries, or from a target.
    Heard { slot: usize, process: u64, what: Box<Heard> },
    /// That store, or a target, is reached.
    Outside { what: Box<Outside> },
    /// All faults end.
    Heal,
    /// Looks whether everything has come to rest.
    Watch,
}

/// A cut between two ends; `to` is a node's slot, or the log, or the table store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    Nodes { from: usize, to: usize },
    Log { slot: usize },
    Store { slot: usize },
}

impl Event {
    /// The node on which this happens, if it waits while the node is paused.
    pub(crate) fn node(&self) -> Option<usize> {
        match self {
            Self::Region(happens) => happens.node(),
            Self::Tick { slot, .. }
            | Self::Placement { slot, .. }
            | Self::Heartbeat { slot, .. }
            | Self::Deliver { slot, .. }
            | Self::Reroute { slot, .. }
            | Self::ToCommit { slot, .. }
            | Self::Heard { slot, .. }
            | Self::Placed { slot, .. } => Some(*slot),
            Self::Poll { seat }
            | Self::Take { seat }
            | Self::Acknowledged { seat, .. }
            | Self::ReadBack { seat, .. }
            | Self::Refused { seat, .. }
            | Self::AppendTimeout { seat, .. }
            | Self::RowsRead { seat, .. }
            | Self::Flushed { seat, .. }
            | Self::FlushRefused { seat, .. }
            | Self::Synced { seat, .. } => Some(seat.slot),
            Self::Answer { .. }
            | Self::Client { .. }
            | Self::Land { .. }
            | Self::Stable { .. }
            | Self::Hint { .. }
            | Self::Trim { .. }
            | Self::DiskSynced { .. }
            | Self::ReadRows { .. }
            | Self::Apply { .. }
            | Self::Strike { .. }
            | Self::TakenAgain { .. }
            | Self::Start { .. }
            | Self::End { .. }
            | Self::Mend { .. }
            | Self::Outside { .. }
            | Self::Heal
            | Self::Watch => None,
        }
    }

    /// A number for the trace hash.
    pub(crate) fn kind(&self) -> u64 {
        match self {
            Self::Region(_) => 40,
            Self::Tick { .. } => 1,
            Self::Placement { .. } => 2,
            Self::Heartbeat { .. } => 3,
            Self::Deliver { .. } => 4,
            Self::ToCommit { .. } => 5,
            Self::Answer { .. } => 6,
            Self::Client { .. } => 7,
            Self::Poll { .. } => 8,
            Self::Take { .. } => 9,
            Self::Land { .. } => 10,
            Self::Acknowledged { .. } => 11,
            Self::ReadBack { .. } => 12,
            Self::Refused { .. } => 13,
            Self::AppendTimeout { .. } => 14,
            Self::DiskSynced { .. } => 15,
            Self::ReadRows { .. } => 16,
            Self::RowsRead { .. } => 17,
            Self::Apply { .. } => 18,
            Self::Flushed { .. } => 19,
            Self::Synced { .. } => 20,
            Self::Placed { .. } => 21,
            Self::Strike { .. } => 22,
            Self::Start { .. } => 23,
            Self::Mend { .. } => 24,
            Self::Heal => 25,
            Self::Watch => 26,
            Self::End { .. } => 27,
            Self::Stable { .. } => 28,
            Self::Hint { .. } => 29,
            Self::Reroute { .. } => 30,
            Self::Trim { .. } => 31,
            Self::FlushRefused { .. } => 32,
            Self::TakenAgain { .. } => 33,
            Self::Heard { .. } => 34,
            Self::Outside { .. } => 35,
        }
    }
}
