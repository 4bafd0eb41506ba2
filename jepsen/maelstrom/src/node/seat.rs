//! A shard's engine on this node, from its candidacy to its end.

use std::sync::Arc;

use participant::engine::{
    EngineSchema, Leadership, ShardCommand, ShardConfig, ShardEngine, ShardEvent, ShardLimits,
};
use wal_core::log::{Appended, ShardBatch};
use wal_core::{Epoch, Nonce, Now, Position, Sequence, ShardId};

use super::NodeOptions;

/// Batches of one shard that were handed to the log and are not yet answered.
const MAX_APPENDS: usize = 2;

/// One engine of one shard: an answer to an earlier one is not for the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SeatId {
    pub(super) shard: ShardId,
    pub(super) number: u64,
}

/// What a batch was, for its answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    epoch: Epoch,
    first: Sequence,
    last: Sequence,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It reads the log for the first time.
    Reading,
    /// It has stood, and will read its own record back from there.
    Standing { next: Position },
    /// It leads, or will once its predecessor's lease is over.
    Won,
    /// It leads.
    Leading(Epoch),
}

/// An engine and where it stands.
pub(super) struct Seat {
    pub(super) id: SeatId,
    engine: ShardEngine,
    phase: Phase,
    appends: usize,
}

/// The bounds of a shard's engine: far above what a test asks for.
fn limits(options: &NodeOptions) -> ShardLimits {
    ShardLimits {
        max_waiting: 1_024,
        max_prepared: 1_024,
        max_overlay_bytes: 16 << 20,
        max_cache_bytes: 16 << 20,
        max_remembered: 200_000,
        id_window_ms: wal_core::limits::DEFAULT_ID_WINDOW_MS,
        recover_after_us: 500_000,
        max_drift_us: wal_core::limits::MAX_CLOCK_DRIFT_US,
        max_flush_rows: 64,
        flush_every_us: 4_000,
        checkpoint_every_bytes: options.checkpoint_every_bytes,
    }
}

impl Seat {
    pub(super) fn new(
        id: SeatId,
        log: Nonce,
        schema: Arc<EngineSchema>,
        options: &NodeOptions,
    ) -> Self {
        let lease_us = u64::try_from(options.lease.as_micros()).unwrap_or(u64::MAX);
        let config = ShardConfig {
            shard: id.shard,
            log,
            // Clocks of one machine run alike; the allowance is for those of several.
            leadership: Leadership::Lease { lease_us, drift_ppm: 1_000 },
            limits: limits(options),
        };
        Self { id, engine: ShardEngine::new(config, schema), phase: Phase::Reading, appends: 0 }
    }

    /// The epoch in which it leads.
    pub(super) const fn leads(&self) -> Option<Epoch> {
        match self.phase {
            Phase::Leading(epoch) => Some(epoch),
            Phase::Reading | Phase::Standing { .. } | Phase::Won => None,
        }
    }

    pub(super) const fn set_leading(&mut self, epoch: Epoch) {
        self.phase = Phase::Leading(epoch);
    }

    pub(super) fn step(&mut self, now: Now, event: ShardEvent, out: &mut Vec<ShardCommand>) {
        self.engine.step(now, event, out);
    }

    /// The log was read; what it is to be told once it has stood.
    pub(super) fn on_replayed(
        &mut self,
        now: Now,
        (records, next): (crate::log::Visited, Position),
        (owner, address): (Nonce, String),
        out: &mut Vec<ShardCommand>,
    ) {
        for (position, record) in records {
            self.engine.step(now, ShardEvent::Logged { position, record }, out);
        }
        match self.phase {
            Phase::Reading => {
                self.phase = Phase::Standing { next };
                self.engine.step(now, ShardEvent::Stand { owner, address }, out);
            }
            // It won, or has said that it lost.
            Phase::Standing { .. } => {
                let led = out.iter().find_map(|command| match command {
                    ShardCommand::Leading { epoch } => Some(*epoch),
                    _ => None,
                });
                self.phase = led.map_or(Phase::Won, Phase::Leading);
            }
            Phase::Won | Phase::Leading(_) => {}
        }
    }

    /// What it has written since the last time, if the log is ready for it.
    pub(super) fn take_batch(&mut self, now: Now) -> Option<(ShardBatch, Sent)> {
        if self.appends >= MAX_APPENDS {
            return None;
        }
        let batch = self.engine.take_batch(now)?;
        self.appends += 1;
        let last = Sequence(batch.first.0 + batch.ends.len() as u64 - 1);
        let sent = Sent { epoch: batch.epoch, first: batch.first, last };
        Some((batch, sent))
    }

    /// A batch was answered. Whether, and from where, it must read its own record back.
    pub(super) fn on_appended(
        &mut self,
        now: Now,
        sent: Sent,
        result: Appended,
        out: &mut Vec<ShardCommand>,
    ) -> Option<Position> {
        self.appends -= 1;
        let Sent { epoch, first, last } = sent;
        match (result, self.phase) {
            (Appended::Durable { .. }, Phase::Standing { next }) => return Some(next),
            (Appended::Durable { first: position }, _) => {
                self.engine.step(now, ShardEvent::Appended { epoch, first, last, position }, out);
            }
            (Appended::Unknown { why } | Appended::Rejected { why }, _) => {
                self.engine.step(now, ShardEvent::AppendFailed { why }, out);
            }
        }
        None
    }
}
