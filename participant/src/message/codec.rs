//! Requests and replies as bytes, between the servers of a cluster: see [`wal_core::record::pieces`] for
//! how the fields are written. Each variant's number is pinned here and never used again.

use std::sync::Arc;

use wal_core::record::{DecodeError, Piece, Reader, Writer};
use wal_core::{Sequence, ShardId};

use super::{Known, NoReason, Outcome, PrepareRequest, Resolution, ShardReply, ShardRequest, Vote};

/// The form of what this module writes; servers that speak another do not talk to each other.
pub const MESSAGE_VERSION: u32 = 2;

fn list<T: Piece>(input: &mut Reader) -> Result<Arc<[T]>, DecodeError> {
    input.list().map(Arc::from)
}

impl Piece for PrepareRequest {
    fn write(&self, out: &mut Writer<'_>) {
        out.piece(&self.id);
        out.piece(&self.fingerprint);
        out.varint(u64::from(self.namespace_version));
        out.piece(&self.attempt);
        out.piece(&self.expected_epoch);
        out.piece(&self.start);
        out.fixed64(self.clock_us as u64);
        out.list(&self.participants);
        out.piece(&self.part);
        out.piece(&self.whole);
    }

    // Fields of a literal are read in the order in which they stand.
    fn read(input: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self {
            id: input.piece()?,
            fingerprint: input.piece()?,
            namespace_version: input.small()?,
            attempt: input.piece()?,
            expected_epoch: input.piece()?,
            start: input.piece()?,
            clock_us: input.fixed64()? as i64,
            participants: list(input)?,
            part: input.piece()?,
            whole: input.piece()?,
        })
    }
}

/// 1 single, 2 prepare, 3 commit, 4 abort, 5 open, 6 resolve, 7 closed, 8 acknowledge, 9 finished,
/// 10 condemn, 11 ask, 12 fence, 13 await applied, 14 read, 15 confirm, 16 hold, 17 release.
impl Piece for ShardRequest {
    fn write(&self, out: &mut Writer<'_>) {
        match self {
            Self::Single { txn, applied, clock_us } => {
                out.byte(1);
                out.piece(txn);
                out.piece(applied);
                out.fixed64(*clock_us as u64);
            }
            Self::Prepare(prepare) => {
                out.byte(2);
                out.piece(&**prepare);
            }
            Self::Commit { id, attempt, timestamp, home, applied } => {
                out.byte(3);
                out.piece(id);
                out.piece(attempt);
                out.piece(timestamp);
                out.piece(home);
                out.piece(applied);
            }
            Self::Abort { id, attempt } => {
                out.byte(4);
                out.piece(&(*id, *attempt));
            }
            Self::Open { txn, start } => {
                out.byte(5);
                out.piece(txn);
                out.piece(start);
            }
            Self::Resolve { id, attempt } => {
                out.byte(6);
                out.piece(&(*id, *attempt));
            }
            Self::Closed { id, fingerprint, participants, reason } => {
                out.byte(7);
                out.piece(id);
                out.piece(fingerprint);
                out.list(participants);
                out.piece(reason);
            }
            Self::Acknowledge { id, shard } => {
                out.byte(8);
                out.piece(&(*id, *shard));
            }
            Self::Finished { id, until } => {
                out.byte(9);
                out.piece(&(*id, *until));
            }
            Self::Condemn { id, attempt, reason } => {
                out.byte(10);
                out.piece(id);
                out.piece(attempt);
                out.piece(reason);
            }
            Self::Ask { id, wait } => {
                out.byte(11);
                out.piece(&(*id, *wait));
            }
            Self::Fence { id } => {
                out.byte(12);
                out.piece(id);
            }
            Self::AwaitApplied { id } => {
                out.byte(13);
                out.piece(id);
            }
            Self::Read { keys, only } => {
                out.byte(14);
                out.list(keys);
                out.piece(only);
            }
            Self::Confirm { keys, epoch, mark, tries } => {
                out.byte(15);
                out.list(keys);
                out.piece(epoch);
                out.piece(mark);
                out.varint(u64::from(*tries));
            }
            Self::Hold { keys, tries } => {
                out.byte(16);
                out.list(keys);
                out.varint(u64::from(*tries));
            }
            Self::Release { tries } => {
                out.byte(17);
                out.varint(u64::from(*tries));
            }
        }
    }

    fn read(input: &mut Reader) -> Result<Self, DecodeError> {
        Ok(match input.byte()? {
            1 => Self::Single {
                txn: input.piece()?,
                applied: input.piece()?,
                clock_us: input.fixed64()? as i64,
            },
            2 => Self::Prepare(Box::new(input.piece()?)),
            3 => Self::Commit {
                id: input.piece()?,
                attempt: input.piece()?,
                timestamp: input.piece()?,
                home: input.piece()?,
                applied: input.piece()?,
            },
            4 => Self::Abort { id: input.piece()?, attempt: input.piece()? },
            5 => Self::Open { txn: input.piece()?, start: input.piece()? },
            6 => Self::Resolve { id: input.piece()?, attempt: input.piece()? },
            7 => Self::Closed {
                id: input.piece()?,
                fingerprint: input.piece()?,
                participants: list::<ShardId>(input)?,
                reason: input.piece()?,
            },
            8 => Self::Acknowledge { id: input.piece()?, shard: input.piece()? },
            9 => Self::Finished { id: input.piece()?, until: input.piece()? },
            10 => Self::Condemn {
                id: input.piece()?,
                attempt: input.piece()?,
                reason: input.piece()?,
            },
            11 => Self::Ask { id: input.piece()?, wait: input.piece()? },
            12 => Self::Fence { id: input.piece()? },
            13 => Self::AwaitApplied { id: input.piece()? },
            14 => Self::Read { keys: list(input)?, only: input.piece()? },
            15 => Self::Confirm {
                keys: list(input)?,
                epoch: input.piece()?,
                mark: input.piece()?,
                tries: input.small()?,
            },
            16 => Self::Hold { keys: list(input)?, tries: input.small()? },
            17 => Self::Release { tries: input.small()? },
            _ => return Err(input.damaged("an unknown request")),
        })
    }
}

/// 1 committed, 2 closed.
impl Piece for Outcome {
    fn write(&self, out: &mut Writer<'_>) {
        match self {
            Self::Committed { timestamp, epoch, seq } => {
                out.byte(1);
                out.piece(timestamp);
                out.piece(epoch);
                out.piece(seq);
            }
            Self::Closed(reason) => {
                out.byte(2);
                out.piece(reason);
            }
        }
    }

    fn read(input: &mut Reader) -> Result<Self, DecodeError> {
        Ok(match input.byte()? {
            1 => Self::Committed {
                timestamp: input.piece()?,
                epoch: input.piece()?,
                seq: input.piece()?,
            },
            2 => Self::Closed(input.piece()?),
            _ => return Err(input.damaged("an unknown outcome")),
        })
    }
}

/// 1 wrong epoch, 2 busy, 3 refused, 4 overloaded, 5 drift, 6 newer version.
impl Piece for NoReason {
    fn write(&self, out: &mut Writer<'_>) {
        match self {
            Self::WrongEpoch { current } => {
                out.byte(1);
                out.piece(current);
            }
            Self::Busy => out.byte(2),
            Self::Refused => out.byte(3),
            Self::Overloaded => out.byte(4),
            Self::Drift => out.byte(5),
            Self::NewerVersion => out.byte(6),
        }
    }

    fn read(input: &mut Reader) -> Result<Self, DecodeError> {
        Ok(match input.byte()? {
            1 => Self::WrongEpoch { current: input.piece()? },
            2 => Self::Busy,
            3 => Self::Refused,
            4 => Self::Overloaded,
            5 => Self::Drift,
            6 => Self::NewerVersion,
            _ => return Err(input.damaged("an unknown reason for a no")),
        })
    }
}

/// 1 yes, 2 no, 3 condemned, 4 decided, 5 id reused, 6 too old, 7 from the future.
impl Piece for Vote {
    fn write(&self, out: &mut Writer<'_>) {
        match self {
            Self::Yes { proposal } => {
                out.byte(1);
                out.piece(proposal);
            }
            Self::No(reason) => {
                out.byte(2);
                out.piece(reason);
            }
            Self::Condemned(reason) => {
                out.byte(3);
                out.piece(reason);
            }
            Self::Decided(outcome) => {
                out.byte(4);
                out.piece(outcome);
            }
            Self::IdReused => out.byte(5),
            Self::TooOld { floor } => {
                out.byte(6);
                out.piece(floor);
            }
            Self::FromFuture => out.byte(7),
        }
    }

    fn read(input: &mut Reader) -> Result<Self, DecodeError> {
        Ok(match input.byte()? {
            1 => Self::Yes { proposal: input.piece()? },
            2 => Self::No(input.piece()?),
            3 => Self::Condemned(input.piece()?),
            4 => Self::Decided(input.piece()?),
            5 => Self::IdReused,
            6 => Self::TooOld { floor: input.piece()? },
            7 => Self::FromFuture,
            _ => return Err(input.damaged("an unknown vote")),
        })
    }
}

/// 1 outcome, 2 open, 3 prepared, 4 nothing, 5 too old.
impl Piece for Known {
    fn write(&self, out: &mut Writer<'_>) {
        match self {
            Self::Outcome { outcome, participants } => {
                out.byte(1);
                out.piece(outcome);
                out.list(participants);
            }
            Self::Open { participants } => {
                out.byte(2);
                out.list(participants);
            }
            Self::Prepared { participants } => {
                out.byte(3);
                out.list(participants);
            }
            Self::Nothing => out.byte(4),
            Self::TooOld { floor } => {
                out.byte(5);
                out.piece(floor);
            }
        }
    }

    fn read(input: &mut Reader) -> Result<Self, DecodeError> {
        Ok(match input.byte()? {
            1 => Self::Outcome { outcome: input.piece()?, participants: list(input)? },
            2 => Self::Open { participants: list(input)? },
            3 => Self::Prepared { participants: list(input)? },
            4 => Self::Nothing,
            5 => Self::TooOld { floor: input.piece()? },
            _ => return Err(input.damaged("an unknown state of knowledge")),
        })
    }
}

/// 1 prepared, 2 refused, 3 decided.
impl Piece for Resolution {
    fn write(&self, out: &mut Writer<'_>) {
        match self {
            Self::Prepared { proposal } => {
                out.byte(1);
                out.piece(proposal);
            }
            Self::Refused => out.byte(2),
            Self::Decided { outcome, attempt } => {
                out.byte(3);
                out.piece(outcome);
                out.piece(attempt);
            }
        }
    }

    fn read(input: &mut Reader) -> Result<Self, DecodeError> {
        Ok(match input.byte()? {
            1 => Self::Prepared { proposal: input.piece()? },
            2 => Self::Refused,
            3 => Self::Decided { outcome: input.piece()?, attempt: input.piece()? },
            _ => return Err(input.damaged("an unknown resolution")),
        })
    }
}

/// 1 voted, 2 single, 3 opened, 4 applied, 5 resolved, 6 known, 7 rows, 8 confirmed, 9 held,
/// 10 not leading, 11 overloaded.
impl Piece for ShardReply {
    fn write(&self, out: &mut Writer<'_>) {
        match self {
            Self::Voted { id, attempt, vote } => {
                out.byte(1);
                out.piece(&(*id, *attempt));
                out.piece(vote);
            }
            Self::Single { id, vote } => {
                out.byte(2);
                out.piece(id);
                out.piece(vote);
            }
            Self::Opened { id, epoch } => {
                out.byte(3);
                out.piece(&(*id, *epoch));
            }
            Self::Applied { id } => {
                out.byte(4);
                out.piece(id);
            }
            Self::Resolved { id, attempt, resolution } => {
                out.byte(5);
                out.piece(&(*id, *attempt));
                out.piece(resolution);
            }
            Self::Known { id, known } => {
                out.byte(6);
                out.piece(id);
                out.piece(known);
            }
            Self::Rows { epoch, mark, rows } => {
                out.byte(7);
                out.piece(epoch);
                out.piece(mark);
                out.list(rows);
            }
            Self::Confirmed { tries, unchanged } => {
                out.byte(8);
                out.varint(u64::from(*tries));
                out.piece(unchanged);
            }
            Self::Held { tries, held_us, rows } => {
                out.byte(9);
                out.varint(u64::from(*tries));
                out.varint(*held_us);
                out.list(rows);
            }
            Self::NotLeading { epoch } => {
                out.byte(10);
                out.piece(epoch);
            }
            Self::Overloaded => out.byte(11),
        }
    }

    fn read(input: &mut Reader) -> Result<Self, DecodeError> {
        Ok(match input.byte()? {
            1 => Self::Voted { id: input.piece()?, attempt: input.piece()?, vote: input.piece()? },
            2 => Self::Single { id: input.piece()?, vote: input.piece()? },
            3 => Self::Opened { id: input.piece()?, epoch: input.piece()? },
            4 => Self::Applied { id: input.piece()? },
            5 => Self::Resolved {
                id: input.piece()?,
                attempt: input.piece()?,
                resolution: input.piece()?,
            },
            6 => Self::Known { id: input.piece()?, known: input.piece()? },
            7 => Self::Rows {
                epoch: input.piece()?,
                mark: input.piece::<Sequence>()?,
                rows: input.list()?,
            },
            8 => Self::Confirmed { tries: input.small()?, unchanged: input.piece()? },
            9 => {
                Self::Held { tries: input.small()?, held_us: input.varint()?, rows: input.list()? }
            }
            10 => Self::NotLeading { epoch: input.piece()? },
            11 => Self::Overloaded,
            _ => return Err(input.damaged("an unknown reply")),
        })
    }
}

#[cfg(test)]
mod tests;
