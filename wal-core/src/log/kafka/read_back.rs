//! Reading the log where a report came from an unexpected place: what of it counts is decided by the rule
//! that every reader uses.

use std::collections::BTreeMap;

use super::Shared;
use super::reader::Reader;
use super::term::{Found, Question, Verified};
use crate::id::ShardId;
use crate::log::LogError;
use crate::record::{Acceptor, Verdict, decode};

/// Reads from the last record that counts to the last one reported. Blocks.
pub(super) fn read_back(
    shared: &Shared,
    shard: ShardId,
    question: Question,
) -> Result<Found, LogError> {
    let Question { epoch, from, to } = question;
    // Everything up to there was acknowledged, so a reader sees it soon.
    shared.learn_end(shard, to + 1);
    shared.limits(shard)?;
    let mut reader = Reader::open(&shared.options, &BTreeMap::from([(shard, from.offset)]))?;
    let mut acceptor: Option<Acceptor> = None;
    let mut found = Found::default();
    while reader.next(shard) <= to {
        let read = reader.read()?;
        if read.key.is_some() {
            continue;
        }
        let (record, hash) = decode(read.bytes).map_err(|error| LogError::Damaged {
            what: format!("position {} of shard {shard}: {error}", read.position),
        })?;
        let Some(acceptor) = &mut acceptor else {
            // The chain goes on from our own last record, which must be there still.
            if (record.header.epoch, record.header.seq) != (epoch, from.seq) {
                let what = format!(
                    "shard {shard} held record {} of epoch {epoch} at {}, and now record {} of epoch {}",
                    from.seq, read.position, record.header.seq, record.header.epoch
                );
                return Err(LogError::Lost { log: shared.options.kafka.topic.clone(), what });
            }
            acceptor = Some(Acceptor { epoch, last: from.seq, hash, ..Acceptor::default() });
            continue;
        };
        if found.over.is_some() {
            continue;
        }
        let verdict = acceptor.judge(&record, hash);
        if acceptor.epoch != epoch {
            found.over = Some(format!(
                "epoch {} began at {}: this leader was deposed",
                acceptor.epoch, read.position
            ));
        } else if acceptor.broken {
            found.over = Some(format!(
                "record {} is missing before {}: the rest of epoch {epoch} does not count",
                acceptor.last.next(),
                read.position
            ));
        } else if verdict == Verdict::Accepted {
            found.accepted.push(Verified { seq: record.header.seq, offset: read.position.0 });
        }
    }
    found.next = reader.next(shard);
    Ok(found)
}
