//! Starting: every shard's log is replayed, every shard taken over.

use std::collections::BTreeMap;
use std::sync::Arc;

use participant::engine::{HaltReason, ShardCommand, ShardConfig, ShardEngine, ShardEvent};
use wal_core::log::{Appended, LogError, ShardBatch};
use wal_core::{Nonce, Now, Position, ShardId};

use super::{Parts, engine_schema, shard_limits};

/// Why a namespace cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The log contradicts the protocol.
    #[error(
        "shard {shard} cannot be led: {why}; nothing was changed: keep the data folder and report this"
    )]
    Corrupt {
        /// Which shard.
        shard: ShardId,
        /// What contradicts what.
        why: String,
    },
    /// The log took no record.
    #[error("shard {shard} cannot be taken over: {why}")]
    TakeOver {
        /// Which shard.
        shard: ShardId,
        /// Why.
        why: String,
    },
    /// A thread could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    /// The core thread panicked while it recovered.
    #[error("recovery stopped unexpectedly; see the log above")]
    Panicked,
}

/// Replays and takes over every shard. The engines that come back lead, or will after a lease.
pub(super) fn recover(
    parts: &Parts,
) -> Result<BTreeMap<ShardId, (ShardEngine, Vec<ShardCommand>)>, StartError> {
    let schema = Arc::new(engine_schema(&parts.namespace));
    let mut engines = BTreeMap::new();
    let mut from = BTreeMap::new();
    for shard in (0..parts.namespace.shards()).map(ShardId) {
        let config = ShardConfig {
            shard,
            log: parts.log.identity(),
            leadership: parts.leadership,
            limits: shard_limits(&parts.namespace),
        };
        engines.insert(shard, (ShardEngine::new(config, schema.clone()), Vec::new()));
        from.insert(shard, parts.log.hint(shard)?.unwrap_or_default());
    }
    let mut replayed = Replayed::default();
    let from = replay(parts, &mut engines, &from, &mut replayed)?;
    let (namespace, Replayed { records, bytes }) = (parts.namespace.name(), replayed);
    tracing::info!(namespace, records, bytes, "replayed the log behind the checkpoints");
    stand(parts, &mut engines)?;
    replay(parts, &mut engines, &from, &mut replayed)?;
    Ok(engines)
}

type Engines = BTreeMap<ShardId, (ShardEngine, Vec<ShardCommand>)>;

/// How much was replayed.
#[derive(Clone, Copy, Default)]
struct Replayed {
    records: u64,
    bytes: usize,
}

fn replay(
    parts: &Parts,
    engines: &mut Engines,
    from: &BTreeMap<ShardId, Position>,
    replayed: &mut Replayed,
) -> Result<BTreeMap<ShardId, Position>, StartError> {
    let now = parts.clock.now();
    let next = parts.log.replay(from, &mut |shard, position, record| {
        replayed.records += 1;
        replayed.bytes += record.len();
        if let Some((engine, out)) = engines.get_mut(&shard) {
            engine.step(now, ShardEvent::Logged { position, record }, out);
        }
        Ok(())
    })?;
    for (shard, (_, out)) in engines.iter() {
        for command in out {
            if let ShardCommand::Halt { why } = command {
                let why = match why {
                    HaltReason::Corrupt(why) | HaltReason::AppendInDoubt(why) => why.clone(),
                    HaltReason::Deposed => "another owner won its epoch".to_owned(),
                    HaltReason::Resigned => "it resigned".to_owned(),
                };
                return Err(StartError::Corrupt { shard: *shard, why });
            }
        }
    }
    Ok(next)
}

/// Tells a candidate from every other: time, what was drawn for its process, shard.
pub(super) fn owner_nonce(now: Now, seed: u64, shard: ShardId) -> Nonce {
    let maker = u128::from(seed) << 16 | u128::from(shard.0);
    Nonce(u128::from(now.millis().0 & 0xffff_ffff_ffff) << 80 | maker)
}

/// Appends an `Epoch` record for every shard, in one append.
fn stand(parts: &Parts, engines: &mut Engines) -> Result<(), StartError> {
    let now = parts.clock.now();
    let mut batches: Vec<ShardBatch> = Vec::new();
    for (shard, (engine, out)) in engines.iter_mut() {
        let owner = owner_nonce(now, parts.seed, *shard);
        engine.step(now, ShardEvent::Stand { owner, address: parts.address.clone() }, out);
        batches.extend(engine.take_batch(now));
    }
    let shards: Vec<_> = batches.iter().map(|batch| batch.shard).collect();
    let (done, results) = crossbeam_channel::bounded(1);
    parts.log.append(
        batches,
        Box::new(move |results| {
            let _ = done.send(results); // the starter waits
        }),
    );
    let results = results.recv().unwrap_or_default();
    for (shard, result) in shards.into_iter().zip(results) {
        match result {
            Appended::Durable { .. } => {}
            Appended::Unknown { why } | Appended::Rejected { why } => {
                return Err(StartError::TakeOver { shard, why });
            }
        }
    }
    Ok(())
}
