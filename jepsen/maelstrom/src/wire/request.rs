//! Requests as bytes.

use participant::message::{PrepareRequest, ShardRequest};
use wal_core::record::{DecodeError, Reader, Writer};

use super::read_arc;

pub(super) fn write(request: &ShardRequest, out: &mut Writer<'_>) {
    match request {
        ShardRequest::Single { txn, applied, clock_us } => {
            out.byte(1);
            out.piece(txn);
            out.piece(applied);
            out.fixed64(clock_us.cast_unsigned());
        }
        ShardRequest::Prepare(prepare) => {
            out.byte(2);
            write_prepare(prepare, out);
        }
        ShardRequest::Commit { id, attempt, timestamp, home, applied } => {
            out.byte(3);
            out.piece(id);
            out.piece(attempt);
            out.piece(timestamp);
            out.piece(home);
            out.piece(applied);
        }
        ShardRequest::Abort { id, attempt } => {
            out.byte(4);
            out.piece(id);
            out.piece(attempt);
        }
        ShardRequest::Open { txn, start } => {
            out.byte(5);
            out.piece(txn);
            out.piece(start);
        }
        ShardRequest::Resolve { id, attempt } => {
            out.byte(6);
            out.piece(id);
            out.piece(attempt);
        }
        ShardRequest::Closed { id, fingerprint, participants, reason } => {
            out.byte(7);
            out.piece(id);
            out.piece(fingerprint);
            out.list(participants);
            out.piece(reason);
        }
        ShardRequest::Acknowledge { id, shard } => {
            out.byte(8);
            out.piece(id);
            out.piece(shard);
        }
        ShardRequest::Finished { id, until } => {
            out.byte(9);
            out.piece(id);
            out.piece(until);
        }
        ShardRequest::Condemn { id, attempt, reason } => {
            out.byte(10);
            out.piece(id);
            out.piece(attempt);
            out.piece(reason);
        }
        ShardRequest::Ask { id, wait } => {
            out.byte(11);
            out.piece(id);
            out.piece(wait);
        }
        ShardRequest::Fence { id } => {
            out.byte(12);
            out.piece(id);
        }
        ShardRequest::AwaitApplied { id } => {
            out.byte(13);
            out.piece(id);
        }
        ShardRequest::Read { keys, only } => {
            out.byte(14);
            out.list(keys);
            out.piece(only);
        }
        ShardRequest::Confirm { keys, epoch, mark, tries } => {
            out.byte(15);
            out.list(keys);
            out.piece(epoch);
            out.piece(mark);
            out.varint(u64::from(*tries));
        }
    }
}

pub(super) fn read(input: &mut Reader) -> Result<ShardRequest, DecodeError> {
    Ok(match input.byte()? {
        1 => {
            let (txn, applied) = (input.piece()?, input.piece()?);
            ShardRequest::Single { txn, applied, clock_us: input.fixed64()?.cast_signed() }
        }
        2 => ShardRequest::Prepare(Box::new(read_prepare(input)?)),
        3 => {
            let (id, attempt) = (input.piece()?, input.piece()?);
            let (timestamp, home) = (input.piece()?, input.piece()?);
            ShardRequest::Commit { id, attempt, timestamp, home, applied: input.piece()? }
        }
        4 => ShardRequest::Abort { id: input.piece()?, attempt: input.piece()? },
        5 => ShardRequest::Open { txn: input.piece()?, start: input.piece()? },
        6 => ShardRequest::Resolve { id: input.piece()?, attempt: input.piece()? },
        7 => {
            let (id, fingerprint) = (input.piece()?, input.piece()?);
            let participants = read_arc(input)?;
            ShardRequest::Closed { id, fingerprint, participants, reason: input.piece()? }
        }
        8 => ShardRequest::Acknowledge { id: input.piece()?, shard: input.piece()? },
        9 => ShardRequest::Finished { id: input.piece()?, until: input.piece()? },
        10 => {
            let (id, attempt) = (input.piece()?, input.piece()?);
            ShardRequest::Condemn { id, attempt, reason: input.piece()? }
        }
        11 => ShardRequest::Ask { id: input.piece()?, wait: input.piece()? },
        12 => ShardRequest::Fence { id: input.piece()? },
        13 => ShardRequest::AwaitApplied { id: input.piece()? },
        14 => ShardRequest::Read { keys: read_arc(input)?, only: input.piece()? },
        15 => {
            let (keys, epoch) = (read_arc(input)?, input.piece()?);
            ShardRequest::Confirm { keys, epoch, mark: input.piece()?, tries: input.small()? }
        }
        _ => return Err(input.damaged("an unknown request")),
    })
}

fn write_prepare(prepare: &PrepareRequest, out: &mut Writer<'_>) {
    out.piece(&prepare.id);
    out.piece(&prepare.fingerprint);
    out.varint(u64::from(prepare.namespace_version));
    out.piece(&prepare.attempt);
    out.piece(&prepare.expected_epoch);
    out.piece(&prepare.start);
    out.fixed64(prepare.clock_us.cast_unsigned());
    out.list(&prepare.participants);
    out.piece(&prepare.part);
    out.piece(&prepare.whole);
}

fn read_prepare(input: &mut Reader) -> Result<PrepareRequest, DecodeError> {
    Ok(PrepareRequest {
        id: input.piece()?,
        fingerprint: input.piece()?,
        namespace_version: input.small()?,
        attempt: input.piece()?,
        expected_epoch: input.piece()?,
        start: input.piece()?,
        clock_us: input.fixed64()?.cast_signed(),
        participants: read_arc(input)?,
        part: input.piece()?,
        whole: input.piece()?,
    })
}
