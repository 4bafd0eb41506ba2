//! Messages between engines as protobuf, and back.

use std::sync::Arc;

use bytes::Bytes;
use handfast_proto::peer;
use wal_core::record::{DecodeError, Piece, Reader, Writer};
use wal_core::{Epoch, Nonce, ShardId};

use crate::placement::Beat;
use crate::runtime::{FromPeer, PeerReply, PeerRequest};

fn encode(piece: &impl Piece) -> Bytes {
    let mut bytes = Vec::new();
    Writer::new(&mut bytes).piece(piece);
    Bytes::from(bytes)
}

fn decode<T: Piece>(bytes: Bytes) -> Result<T, DecodeError> {
    let mut input = Reader::new(bytes);
    let piece = input.piece()?;
    input.finish()?;
    Ok(piece)
}

pub(super) fn request(request: &PeerRequest) -> peer::Item {
    let PeerRequest { shard, token, request } = request;
    peer::Item { shard: u32::from(shard.0), token: *token, body: encode(request) }
}

pub(super) fn reply(reply: &PeerReply) -> peer::Item {
    let PeerReply { shard, token, reply } = reply;
    peer::Item { shard: u32::from(shard.0), token: *token, body: encode(reply) }
}

pub(super) fn beat(namespace: &str, beat: &Beat) -> peer::Beat {
    let led =
        |(shard, epoch): &(ShardId, Epoch)| peer::Led { shard: u32::from(shard.0), epoch: epoch.0 };
    peer::Beat {
        namespace: namespace.to_owned(),
        participates: beat.participates,
        leads: beat.leads.iter().map(led).collect(),
        unable: beat.unable.iter().map(|shard| u32::from(shard.0)).collect(),
        over: beat.over.iter().map(led).collect(),
        log: beat.log.as_ref().map(encode).unwrap_or_default(),
    }
}

fn shard(number: u32) -> Result<ShardId, DecodeError> {
    let damaged = DecodeError::Damaged { what: "a shard beyond 16 bits", at: 0 };
    u16::try_from(number).map(ShardId).map_err(|_| damaged)
}

/// Requests, whole or not at all.
pub(super) fn requests(connection: u64, batch: peer::Batch) -> Result<FromPeer, DecodeError> {
    let request = |item: peer::Item| {
        let request = decode(item.body)?;
        Ok(PeerRequest { shard: shard(item.shard)?, token: item.token, request })
    };
    let requests = batch.items.into_iter().map(request).collect::<Result<_, DecodeError>>()?;
    Ok(FromPeer::Asked { connection, requests })
}

/// Replies, whole or not at all.
pub(super) fn replies(batch: peer::Batch) -> Result<FromPeer, DecodeError> {
    let reply = |item: peer::Item| {
        let reply = decode(item.body)?;
        Ok(PeerReply { shard: shard(item.shard)?, token: item.token, reply })
    };
    batch.items.into_iter().map(reply).collect::<Result<_, DecodeError>>().map(FromPeer::Answered)
}

pub(super) fn heard(address: &Arc<str>, beat: &peer::Beat) -> Result<FromPeer, DecodeError> {
    let led = |led: &peer::Led| Ok((shard(led.shard)?, Epoch(led.epoch)));
    let leads = beat.leads.iter().map(led).collect::<Result<_, DecodeError>>()?;
    let unable = beat.unable.iter().map(|number| shard(*number)).collect::<Result<_, _>>()?;
    // A server that is too old to name its log leaves it empty.
    let log: Option<Nonce> =
        if beat.log.is_empty() { None } else { Some(decode(beat.log.clone())?) };
    let over = beat.over.iter().map(led).collect::<Result<_, DecodeError>>()?;
    let beat = Beat { log, participates: beat.participates, leads, unable, over };
    Ok(FromPeer::Heard { address: address.clone(), beat })
}
