//! What a runtime needs of the network between servers: a port, so that it names no socket.

use std::sync::Arc;

use participant::message::{ShardReply, ShardRequest};
use wal_core::ShardId;

use crate::placement::{Beat, PlacementConfig};

/// A request to a shard that another server leads.
#[derive(Debug)]
pub struct PeerRequest {
    /// The shard.
    pub shard: ShardId,
    /// The conversation of the asker; 0 if no answer is expected.
    pub token: u64,
    /// What is asked.
    pub request: ShardRequest,
}

/// An answer to a server that asked.
#[derive(Debug)]
pub struct PeerReply {
    /// The shard that answers.
    pub shard: ShardId,
    /// The conversation of the asker.
    pub token: u64,
    /// The answer.
    pub reply: ShardReply,
}

/// Carries one namespace's messages to other servers. Calls return at once. What cannot be sent is
/// dropped: whoever needs an answer asks again. Messages to one server may be lost, repeated and reordered.
pub trait Transport: Send + Sync {
    /// Sends requests to the server at `address`.
    fn ask(&self, address: &Arc<str>, requests: Vec<PeerRequest>);

    /// Sends replies to whoever asked over `connection`. Never to anybody else: a server that came back
    /// under the same address knows nothing of what was asked before.
    fn answer(&self, connection: u64, replies: Vec<PeerReply>);

    /// Tells every server how this one is. Of two beats only the later matters.
    fn beat(&self, beat: Beat);
}

/// What arrives from other servers.
#[derive(Debug)]
pub enum FromPeer {
    /// Requests, to be answered over `connection` (never 0).
    Asked {
        /// Unique while the process lives.
        connection: u64,
        /// What is asked.
        requests: Vec<PeerRequest>,
    },
    /// Replies to requests of this process.
    Answered(Vec<PeerReply>),
    /// A server says how it is.
    Heard {
        /// Where it can be reached.
        address: Arc<str>,
        /// How it is.
        beat: Beat,
    },
    /// A server refuses connections.
    Gone {
        /// Which.
        address: Arc<str>,
    },
}

/// What a runtime among others is given.
pub struct Cluster {
    /// The way to the others.
    pub transport: Arc<dyn Transport>,
    /// Who this process is, and its patience.
    pub placement: PlacementConfig,
}
