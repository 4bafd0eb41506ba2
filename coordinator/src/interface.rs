//! What goes into the commit engine and what comes out of it.

use std::sync::Arc;

use participant::message::{ShardReply, ShardRequest};
use wal_core::{Attempt, Epoch, Millis, ShardId, Transaction, TxnId};

use crate::api::{Call, CallAnswer};

/// What the commit engine is told.
#[derive(Debug)]
pub enum CommitEvent {
    /// A client's call. `call` numbers are unique and never used again.
    Call {
        /// Answer with it.
        call: u64,
        /// What is asked.
        what: Call,
    },
    /// Nobody waits for this call's answer any more (its transaction is driven on all the same).
    Forget {
        /// Which call.
        call: u64,
    },
    /// A shard's answer.
    Reply {
        /// The shard that answers.
        shard: ShardId,
        /// The token of the origin that was answered.
        token: u64,
        /// The answer.
        reply: ShardReply,
    },
    /// From a home that is led in this process: start this attempt.
    Drive {
        /// The whole transaction.
        txn: Arc<Transaction>,
        /// Start of its age.
        start: Millis,
        /// The attempt.
        attempt: Attempt,
    },
    /// From a shard that is led in this process: find out what became of this attempt.
    Recover {
        /// The transaction.
        id: TxnId,
        /// The attempt.
        attempt: Attempt,
        /// Its participants.
        participants: Arc<[ShardId]>,
    },
    /// A shard is led in this epoch (somewhere; the runtime knows where).
    Route {
        /// The shard.
        shard: ShardId,
        /// Its epoch.
        epoch: Epoch,
    },
    /// Time passes. About every 10 ms.
    Tick,
}

/// What the commit engine wants done.
#[derive(Debug)]
pub enum CommitCommand {
    /// Send a request to the leader of a shard; its reply comes back with the token.
    Send {
        /// The shard.
        shard: ShardId,
        /// The conversation, part of the origin.
        token: u64,
        /// What is asked.
        request: ShardRequest,
    },
    /// Answer a client.
    Answer {
        /// Which call.
        call: u64,
        /// The answer.
        answer: CallAnswer,
    },
}
