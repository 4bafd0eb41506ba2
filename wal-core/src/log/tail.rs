//! Following a log as it grows.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use super::{IntentLog, LogError, Visit};
use crate::id::{Position, ShardId};

/// How often a log is looked at while there is nothing new.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A visit of a tail that has come to so many bytes ends: with the block or the batch that it reads.
pub const VISIT_BYTES: usize = 1 << 20;

/// A place in a log from which it is read on, again and again.
pub trait Tail: Send {
    /// Visits what has come since the last visit, in the order of each shard, but not much more than
    /// [`VISIT_BYTES`] of it; waits at most `patience` for something to come. Blocks. What the visitor stopped
    /// at was visited; after any error the tail is not to be used again.
    ///
    /// # Errors
    /// As of [`IntentLog::replay`]; [`LogError::Trimmed`] also if what was not visited yet is gone.
    fn visit(&mut self, patience: Duration, visit: Visit<'_>) -> Result<(), LogError>;

    /// Where each shard's next visit starts: a replay from here misses nothing and repeats nothing.
    fn next(&self) -> &BTreeMap<ShardId, Position>;
}

/// A tail of any log, made of replays.
pub(super) struct Replaying<'a, L: ?Sized> {
    log: &'a L,
    next: BTreeMap<ShardId, Position>,
}

impl<'a, L: IntentLog + ?Sized> Replaying<'a, L> {
    pub(super) const fn new(log: &'a L, next: BTreeMap<ShardId, Position>) -> Self {
        Self { log, next }
    }
}

impl<L: IntentLog + ?Sized> Replaying<'_, L> {
    /// Visits what is there now, up to the bound of a visit; says whether there was anything.
    fn replay(&mut self, visit: Visit<'_>) -> Result<bool, LogError> {
        let (mut bytes, mut is_enough) = (0, false);
        let mut reached = BTreeMap::new();
        let replayed = self.log.replay(&self.next, &mut |shard, position, record| {
            if bytes >= VISIT_BYTES {
                is_enough = true;
                return Err(LogError::Stopped("enough for one visit".to_owned()));
            }
            bytes += record.len();
            reached.insert(shard, Position(position.0 + 1));
            visit(shard, position, record)
        });
        let visited = !reached.is_empty();
        self.next.extend(if is_enough { reached } else { replayed? });
        Ok(visited)
    }
}

impl<L: IntentLog + ?Sized> Tail for Replaying<'_, L> {
    fn visit(&mut self, patience: Duration, visit: Visit<'_>) -> Result<(), LogError> {
        let end = Instant::now() + patience;
        loop {
            let visited = self.replay(visit)?;
            let left = end.saturating_duration_since(Instant::now());
            if visited || left.is_zero() {
                return Ok(());
            }
            thread::sleep(LOOK_EVERY.min(left));
        }
    }

    fn next(&self) -> &BTreeMap<ShardId, Position> {
        &self.next
    }
}
