//! Replies as bytes.

use participant::message::{Known, NoReason, Resolution, ShardReply, Vote};
use wal_core::record::{DecodeError, Reader, Writer};

use super::{read_arc, read_outcome, write_outcome};

pub(super) fn write(reply: &ShardReply, out: &mut Writer<'_>) {
    match reply {
        ShardReply::Voted { id, attempt, vote } => {
            out.byte(1);
            out.piece(id);
            out.piece(attempt);
            write_vote(vote, out);
        }
        ShardReply::Single { id, vote } => {
            out.byte(2);
            out.piece(id);
            write_vote(vote, out);
        }
        ShardReply::Opened { id, epoch } => {
            out.byte(3);
            out.piece(id);
            out.piece(epoch);
        }
        ShardReply::Applied { id } => {
            out.byte(4);
            out.piece(id);
        }
        ShardReply::Resolved { id, attempt, resolution } => {
            out.byte(5);
            out.piece(id);
            out.piece(attempt);
            write_resolution(resolution, out);
        }
        ShardReply::Known { id, known } => {
            out.byte(6);
            out.piece(id);
            write_known(known, out);
        }
        ShardReply::Rows { epoch, mark, rows } => {
            out.byte(7);
            out.piece(epoch);
            out.piece(mark);
            out.list(rows);
        }
        ShardReply::Confirmed { tries, unchanged } => {
            out.byte(8);
            out.varint(u64::from(*tries));
            out.piece(unchanged);
        }
        ShardReply::NotLeading { epoch } => {
            out.byte(9);
            out.piece(epoch);
        }
        ShardReply::Overloaded => out.byte(10),
    }
}

pub(super) fn read(input: &mut Reader) -> Result<ShardReply, DecodeError> {
    Ok(match input.byte()? {
        1 => {
            let (id, attempt) = (input.piece()?, input.piece()?);
            ShardReply::Voted { id, attempt, vote: read_vote(input)? }
        }
        2 => ShardReply::Single { id: input.piece()?, vote: read_vote(input)? },
        3 => ShardReply::Opened { id: input.piece()?, epoch: input.piece()? },
        4 => ShardReply::Applied { id: input.piece()? },
        5 => {
            let (id, attempt) = (input.piece()?, input.piece()?);
            ShardReply::Resolved { id, attempt, resolution: read_resolution(input)? }
        }
        6 => ShardReply::Known { id: input.piece()?, known: read_known(input)? },
        7 => {
            let (epoch, mark) = (input.piece()?, input.piece()?);
            ShardReply::Rows { epoch, mark, rows: input.list()? }
        }
        8 => ShardReply::Confirmed { tries: input.small()?, unchanged: input.piece()? },
        9 => ShardReply::NotLeading { epoch: input.piece()? },
        10 => ShardReply::Overloaded,
        _ => return Err(input.damaged("an unknown reply")),
    })
}

fn write_vote(vote: &Vote, out: &mut Writer<'_>) {
    match vote {
        Vote::Yes { proposal } => {
            out.byte(1);
            out.piece(proposal);
        }
        Vote::No(reason) => {
            out.byte(2);
            match reason {
                NoReason::WrongEpoch { current } => {
                    out.byte(1);
                    out.piece(current);
                }
                NoReason::Busy => out.byte(2),
                NoReason::Refused => out.byte(3),
                NoReason::Overloaded => out.byte(4),
                NoReason::Drift => out.byte(5),
            }
        }
        Vote::Condemned(reason) => {
            out.byte(3);
            out.piece(reason);
        }
        Vote::Decided(outcome) => {
            out.byte(4);
            write_outcome(outcome, out);
        }
        Vote::IdReused => out.byte(5),
        Vote::TooOld { floor } => {
            out.byte(6);
            out.piece(floor);
        }
        Vote::FromFuture => out.byte(7),
    }
}

fn read_vote(input: &mut Reader) -> Result<Vote, DecodeError> {
    Ok(match input.byte()? {
        1 => Vote::Yes { proposal: input.piece()? },
        2 => Vote::No(match input.byte()? {
            1 => NoReason::WrongEpoch { current: input.piece()? },
            2 => NoReason::Busy,
            3 => NoReason::Refused,
            4 => NoReason::Overloaded,
            5 => NoReason::Drift,
            _ => return Err(input.damaged("an unknown reason")),
        }),
        3 => Vote::Condemned(input.piece()?),
        4 => Vote::Decided(read_outcome(input)?),
        5 => Vote::IdReused,
        6 => Vote::TooOld { floor: input.piece()? },
        7 => Vote::FromFuture,
        _ => return Err(input.damaged("an unknown vote")),
    })
}

fn write_resolution(resolution: &Resolution, out: &mut Writer<'_>) {
    match resolution {
        Resolution::Prepared { proposal } => {
            out.byte(1);
            out.piece(proposal);
        }
        Resolution::Refused => out.byte(2),
        Resolution::Decided { outcome, attempt } => {
            out.byte(3);
            write_outcome(outcome, out);
            out.piece(attempt);
        }
    }
}

fn read_resolution(input: &mut Reader) -> Result<Resolution, DecodeError> {
    Ok(match input.byte()? {
        1 => Resolution::Prepared { proposal: input.piece()? },
        2 => Resolution::Refused,
        3 => Resolution::Decided { outcome: read_outcome(input)?, attempt: input.piece()? },
        _ => return Err(input.damaged("an unknown resolution")),
    })
}

fn write_known(known: &Known, out: &mut Writer<'_>) {
    match known {
        Known::Outcome { outcome, participants } => {
            out.byte(1);
            write_outcome(outcome, out);
            out.list(participants);
        }
        Known::Open { participants } => {
            out.byte(2);
            out.list(participants);
        }
        Known::Prepared { participants } => {
            out.byte(3);
            out.list(participants);
        }
        Known::Nothing => out.byte(4),
        Known::TooOld { floor } => {
            out.byte(5);
            out.piece(floor);
        }
    }
}

fn read_known(input: &mut Reader) -> Result<Known, DecodeError> {
    Ok(match input.byte()? {
        1 => Known::Outcome { outcome: read_outcome(input)?, participants: read_arc(input)? },
        2 => Known::Open { participants: read_arc(input)? },
        3 => Known::Prepared { participants: read_arc(input)? },
        4 => Known::Nothing,
        5 => Known::TooOld { floor: input.piece()? },
        _ => return Err(input.damaged("an unknown state of knowledge")),
    })
}
