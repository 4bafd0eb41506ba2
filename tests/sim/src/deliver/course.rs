//! A course that a process delivers: production's own, and the follower that reads for it.

use std::sync::Arc;

use delivery::runtime::{self, Batch, Messages, Phase, PicksMessages};
use delivery::{Claim, DeliveryConfig, Without};
use participant::follow::{Follower, Place, Scope};
use wal_core::{Nonce, Position, ShardId};

use super::CourseId;
use crate::failure::{Check, Failure};
use crate::log::{ShardLog, Trimmed};

/// A course of which nothing comes says so often how far it was read, microseconds.
const PROGRESS_EVERY_US: u64 = 50_000;
/// There is one log for as long as a world lasts.
const LOG: Nonce = Nonce(1);

/// A course that a process believes to be its own.
pub(crate) struct Course {
    pub(super) kept: runtime::Course<Without>,
    /// When it was claimed, as the book counts.
    pub(super) claimed: u64,
    shard: ShardId,
    follower: Follower,
    picks: Arc<PicksMessages>,
    /// Where the next look at the log starts.
    next: Position,
    said_us: u64,
    /// Tries that were not answered.
    pub(super) out: u32,
}

impl Course {
    pub(super) fn new(
        id: CourseId,
        picks: Arc<PicksMessages>,
        config: DeliveryConfig,
        (claim, claimed): (Claim, u64),
        rules: Without,
    ) -> Self {
        let (kept, place) = runtime::Course::with_rules(config, claim, LOG, rules)
            .expect("the store gives back what was stored");
        Self {
            kept,
            claimed,
            shard: id.shard,
            next: place.from,
            follower: Follower::new(id.shard, Scope::Parts, place),
            picks,
            said_us: 0,
            out: 0,
        }
    }

    /// Reads on, if there is room. Says `Trimmed` if what it needs is gone; then it goes on behind that.
    pub(super) fn read(
        &mut self,
        now_us: u64,
        log: &ShardLog,
        most: usize,
    ) -> Result<Result<Option<Messages>, Trimmed>, Failure> {
        if self.kept.phase() != Phase::Running || self.kept.engine().room().is_full() {
            return Ok(Ok(None));
        }
        let Ok(from) = log.start(self.next) else {
            let told = self.next.max(self.follower.place().told);
            let place = Place { told, ..Place::default() };
            self.next = place.from;
            self.follower = Follower::new(self.shard, Scope::Parts, place);
            return Ok(Err(Trimmed));
        };
        let wrong = |error: String| Failure::new(Check::Delivery, error);
        let to = log.end().min(from + most as u64);
        let mut items = Vec::new();
        for offset in from..to {
            let record = log.records[offset as usize].clone();
            let told = self.follower.take(Position(offset), record);
            if let Some(told) = told.map_err(|error| wrong(error.to_string()))? {
                items.extend(self.picks.pick(&told).map_err(wrong)?);
            }
        }
        self.next = Position(to);
        if items.is_empty() && now_us < self.said_us + PROGRESS_EVERY_US {
            return Ok(Ok(None));
        }
        self.said_us = now_us;
        Ok(Ok(Some(Batch {
            shard: self.shard,
            generation: self.kept.generation,
            items,
            place: self.follower.place(),
            closed: self.follower.closed(),
            unseen: self.follower.unseen(),
            failed: None,
        })))
    }
}
