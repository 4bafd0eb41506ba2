//! A new log in the place of one that is lost.

use std::collections::BTreeMap;

use participant::engine::{Founding, found};
use wal_core::log::{Appended, IntentLog, LogError, ShardBatch};
use wal_core::record::{Acceptor, Body, Verdict, decode};
use wal_core::{Millis, Nonce, Now, Position, ShardId};

/// Why a new log could not be begun. Nothing leads it, and nothing has been promised by it.
#[derive(Debug, thiserror::Error)]
pub enum FoundError {
    /// An append was not acknowledged.
    #[error("the new log's first record of shard {shard} was not acknowledged: {why}")]
    Append {
        /// Which shard.
        shard: ShardId,
        /// What the log said.
        why: String,
    },
    /// Somebody else writes there.
    #[error("somebody else has begun shard {shard} of the new log meanwhile")]
    Contested {
        /// Which shard.
        shard: ShardId,
    },
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Begins a log that is empty: in every shard an epoch that leads nothing, and a floor, at or below which
/// every id is too old to be answered for. Blocks.
///
/// # Errors
/// [`FoundError`]; the log is then to be given up too.
pub fn found_log(
    log: &dyn IntentLog,
    shards: u16,
    owner: Nonce,
    now: Now,
    floor: Millis,
) -> Result<(), FoundError> {
    let shards = (0..shards).map(ShardId);
    let founded = shards.map(|shard| (shard, found(shard, log.identity(), owner, now, floor)));
    let (epochs, rests): (Vec<ShardBatch>, Vec<ShardBatch>) =
        founded.map(|(_, Founding { epoch, rest })| (epoch, rest)).unzip();
    append(log, epochs.clone())?;
    // Only who reads its epoch back as the winning one may go on.
    let mut acceptors: BTreeMap<ShardId, (Acceptor, bool)> = BTreeMap::new();
    let from = epochs.iter().map(|batch| (batch.shard, Position(0))).collect();
    log.replay(&from, &mut |shard, _, bytes| {
        let (acceptor, won) = acceptors.entry(shard).or_default();
        if let Ok((record, hash)) = decode(bytes)
            && acceptor.judge(&record, hash) == Verdict::Accepted
        {
            *won = matches!(record.body, Body::Epoch { owner: found, .. } if found == owner);
        }
        Ok(())
    })?;
    for ShardBatch { shard, .. } in &epochs {
        if !acceptors.get(shard).is_some_and(|(_, won)| *won) {
            return Err(FoundError::Contested { shard: *shard });
        }
    }
    append(log, rests)
}

fn append(log: &dyn IntentLog, batches: Vec<ShardBatch>) -> Result<(), FoundError> {
    let shards: Vec<ShardId> = batches.iter().map(|batch| batch.shard).collect();
    let (to, done) = std::sync::mpsc::sync_channel(1);
    log.append(
        batches,
        Box::new(move |results| {
            let _ = to.send(results); // whoever waits is below, and waits
        }),
    );
    let results = done.recv().unwrap_or_default();
    for (index, shard) in shards.into_iter().enumerate() {
        let why = match results.get(index) {
            Some(Appended::Durable { .. }) => continue,
            Some(Appended::Unknown { why } | Appended::Rejected { why }) => why.clone(),
            None => "the log was closed".to_owned(),
        };
        return Err(FoundError::Append { shard, why });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use wal_core::log::memory::MemoryLog;

    use super::*;

    #[test]
    fn a_log_is_begun_once() {
        let log = MemoryLog::new(Nonce(9));
        let now = Now { wall_us: 5_000_000, mono_us: 1 };
        found_log(&log, 3, Nonce(1), now, Millis(5_000)).expect("it is empty");
        let mut floors = 0;
        let from = (0..3).map(|shard| (ShardId(shard), Position(0))).collect();
        log.replay(&from, &mut |_, _, bytes| {
            let (record, _) = decode(bytes).expect("a record");
            floors += u32::from(record.body == Body::Floor { floor: Millis(5_000) });
            Ok(())
        })
        .expect("a readable log");
        assert_eq!(floors, 3);
        found_log(&log, 3, Nonce(2), now, Millis(5_000)).expect_err("it is begun");
    }
}
