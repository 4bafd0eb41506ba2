//! What nodes say to each other, as bytes: the pieces of the record codec, with pinned variant numbers.
//!
//! Nodes of one cluster run the same binary: nothing here is kept, and another [`VERSION`] is refused.

mod reply;
mod request;

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use participant::message::{Origin, Outcome, ShardReply, ShardRequest};
use wal_core::ShardId;
use wal_core::record::{DecodeError, Piece, Reader, Writer};

/// The version of the encoding.
const VERSION: u8 = 1;

/// A message from one node's engines to another's.
#[derive(Clone, Debug)]
pub enum Item {
    /// To whoever leads a shard.
    Request {
        /// Whom to answer.
        origin: Origin,
        /// The shard.
        shard: ShardId,
        /// What is asked.
        request: ShardRequest,
    },
    /// To a commit engine.
    Reply {
        /// Who asked: a reply to an earlier process of the same node is dropped.
        origin: Origin,
        /// The shard that answers.
        shard: ShardId,
        /// What it answers.
        reply: ShardReply,
    },
}

/// An item as text.
pub fn encode(item: &Item) -> String {
    let mut bytes = Vec::new();
    let mut out = Writer::new(&mut bytes);
    out.byte(VERSION);
    match item {
        Item::Request { origin, shard, request } => {
            out.byte(1);
            write_origin(*origin, *shard, &mut out);
            request::write(request, &mut out);
        }
        Item::Reply { origin, shard, reply } => {
            out.byte(2);
            write_origin(*origin, *shard, &mut out);
            reply::write(reply, &mut out);
        }
    }
    STANDARD_NO_PAD.encode(bytes)
}

/// Reads an item; what is wrong with it if it is none.
///
/// # Errors
/// Says what is damaged.
pub fn decode(text: &str) -> Result<Item, String> {
    let bytes = STANDARD_NO_PAD.decode(text).map_err(|error| error.to_string())?;
    read(&mut Reader::new(Bytes::from(bytes))).map_err(|error| error.to_string())
}

fn read(input: &mut Reader) -> Result<Item, DecodeError> {
    if input.byte()? != VERSION {
        return Err(input.damaged("another version of the message"));
    }
    let kind = input.byte()?;
    let origin = Origin { node: input.fixed64()?, token: input.varint()? };
    let shard = input.piece()?;
    let item = match kind {
        1 => Item::Request { origin, shard, request: request::read(input)? },
        2 => Item::Reply { origin, shard, reply: reply::read(input)? },
        _ => return Err(input.damaged("an unknown kind of message")),
    };
    input.finish()?;
    Ok(item)
}

fn write_origin(origin: Origin, shard: ShardId, out: &mut Writer<'_>) {
    out.fixed64(origin.node);
    out.varint(origin.token);
    out.piece(&shard);
}

fn read_arc<T: Piece>(input: &mut Reader) -> Result<Arc<[T]>, DecodeError> {
    input.list().map(Arc::from)
}

fn write_outcome(outcome: &Outcome, out: &mut Writer<'_>) {
    match outcome {
        Outcome::Committed { timestamp, epoch, seq } => {
            out.byte(1);
            out.piece(timestamp);
            out.piece(epoch);
            out.piece(seq);
        }
        Outcome::Closed(reason) => {
            out.byte(2);
            out.piece(reason);
        }
    }
}

fn read_outcome(input: &mut Reader) -> Result<Outcome, DecodeError> {
    Ok(match input.byte()? {
        1 => {
            let timestamp = input.piece()?;
            Outcome::Committed { timestamp, epoch: input.piece()?, seq: input.piece()? }
        }
        2 => Outcome::Closed(input.piece()?),
        _ => return Err(input.damaged("an unknown outcome")),
    })
}

#[cfg(test)]
mod tests;
