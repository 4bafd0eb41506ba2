//! A shard whose log is lost begins a new one.

use wal_core::log::ShardBatch;
use wal_core::record::Body;
use wal_core::{Epoch, Millis, Nonce, Now, ShardId};

use super::chain::Chain;

/// The first records of a shard's new log: an epoch that leads nothing, and a floor.
///
/// What the lost log had decided, nobody knows any more. So every id that it may have decided must lie at
/// or below the floor, where the answer is that it is too old: to try it again could do its effect twice.
/// Who leads next waits for no lease, so the leases of those who led the lost log must have ended.
#[derive(Debug)]
pub struct Founding {
    /// The `Epoch` record. It must be durable, and read back as the first one, before the rest is appended.
    pub epoch: ShardBatch,
    /// The floor, and the end of this epoch.
    pub rest: ShardBatch,
}

/// The first records of the new log `log` of a shard, by whoever is called `owner`.
pub fn found(shard: ShardId, log: Nonce, owner: Nonce, now: Now, floor: Millis) -> Founding {
    let mut chain = Chain::new(shard);
    let epoch = Body::Epoch { log, owner, address: String::new(), wall_us: now.wall_us };
    chain.write_epoch(Epoch(1), 0, &epoch);
    let epoch = chain.take().expect("it was written");
    chain.write(&Body::Floor { floor });
    chain.write(&Body::Resign);
    let rest = chain.take().expect("it was written");
    Founding { epoch, rest }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use wal_core::Position;

    use super::*;
    use crate::engine::{
        EngineSchema, Leadership, ShardCommand, ShardConfig, ShardEngine, ShardEvent, ShardLimits,
        Strict,
    };

    const LIMITS: ShardLimits = ShardLimits {
        max_waiting: 1,
        max_prepared: 1,
        max_overlay_bytes: 1,
        max_cache_bytes: 1,
        max_remembered: 1,
        id_window_ms: 1,
        recover_after_us: 1,
        max_drift_us: 1,
        max_flush_rows: 1,
        flush_every_us: 1,
        checkpoint_every_bytes: 1 << 20,
    };

    #[test]
    fn who_leads_a_new_log_knows_the_floor_and_waits_for_nobody() {
        let (shard, log, floor) = (ShardId(3), Nonce(7), Millis(1_000));
        let now = Now { wall_us: 900_000, mono_us: 1 };
        let Founding { epoch, rest } = found(shard, log, Nonce(8), now, floor);
        assert_eq!((epoch.ends.len(), rest.ends.len(), rest.first.0), (1, 2, 1));
        let leadership = Leadership::Lease { lease_us: 2_000_000, drift_ppm: 1_000 };
        let config = ShardConfig { shard, log, leadership, limits: LIMITS };
        let mut engine = ShardEngine::<Strict>::new(config, Arc::new(EngineSchema::default()));
        let mut out = Vec::new();
        let records = epoch.records().chain(rest.records());
        for (position, record) in (0..).map(Position).zip(records) {
            engine.step(now, ShardEvent::Logged { position, record }, &mut out);
        }
        assert_eq!(engine.status().floor, floor);
        engine.step(now, ShardEvent::Stand { owner: Nonce(9), address: String::new() }, &mut out);
        let standing = engine.take_batch(now).expect("it stands");
        for record in standing.records() {
            engine.step(now, ShardEvent::Logged { position: Position(3), record }, &mut out);
        }
        assert!(
            out.iter().any(|command| matches!(command, ShardCommand::Leading { .. })),
            "{out:?}"
        );
    }
}
