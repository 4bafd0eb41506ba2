//! What nodes say to each other: the messages of the engines, in their own encoding, as text.
//!
//! Nodes of one cluster run the same binary; a message of another version is refused.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use participant::message::codec::MESSAGE_VERSION;
use participant::message::{Origin, ShardReply, ShardRequest};
use wal_core::ShardId;
use wal_core::record::{DecodeError, Reader, Writer};

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
    out.varint(u64::from(MESSAGE_VERSION));
    match item {
        Item::Request { origin, shard, request } => {
            out.byte(1);
            write_origin(*origin, *shard, &mut out);
            out.piece(request);
        }
        Item::Reply { origin, shard, reply } => {
            out.byte(2);
            write_origin(*origin, *shard, &mut out);
            out.piece(reply);
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
    if input.small::<u32>()? != MESSAGE_VERSION {
        return Err(input.damaged("another version of the message"));
    }
    let kind = input.byte()?;
    let origin = Origin { node: input.fixed64()?, token: input.varint()? };
    let shard = input.piece()?;
    let item = match kind {
        1 => Item::Request { origin, shard, request: input.piece()? },
        2 => Item::Reply { origin, shard, reply: input.piece()? },
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

#[cfg(test)]
mod tests {
    use wal_core::{Epoch, TxnId};

    use super::*;

    fn items() -> [Item; 2] {
        let (origin, shard) = (Origin { node: u64::MAX, token: 12 }, ShardId(3));
        let request = ShardRequest::Ask { id: TxnId(7), wait: true };
        let reply = ShardReply::NotLeading { epoch: Epoch(5) };
        [Item::Request { origin, shard, request }, Item::Reply { origin, shard, reply }]
    }

    #[test]
    fn items_are_read_as_they_were_written() {
        for item in items() {
            let read = decode(&encode(&item)).expect("what was just written");
            assert_eq!(format!("{read:?}"), format!("{item:?}"));
        }
    }

    #[test]
    fn what_is_cut_off_longer_or_of_another_version_is_refused() {
        for item in items() {
            let bytes = STANDARD_NO_PAD.decode(encode(&item)).expect("base64");
            for length in 0..bytes.len() {
                assert!(decode(&STANDARD_NO_PAD.encode(&bytes[..length])).is_err(), "{item:?}");
            }
            let longer = [&bytes[..], &[0]].concat();
            assert!(decode(&STANDARD_NO_PAD.encode(longer)).is_err(), "{item:?}");
            let other = [&[77], &bytes[1..]].concat();
            assert!(decode(&STANDARD_NO_PAD.encode(other)).is_err(), "{item:?}");
        }
        assert!(decode("no base64!").is_err());
    }
}
