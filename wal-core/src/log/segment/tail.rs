//! Reading on where the last visit ended, without going through the segment again.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use super::block::BlockHeader;
use super::folder::Folder;
use super::scan;
use crate::id::{Position, ShardId};
use crate::log::tail::LOOK_EVERY;
use crate::log::{LogError, Tail, Visit};

/// A tail of the log.
pub(super) struct SegmentTail<'a> {
    pub(super) folder: &'a Folder,
    pub(super) next: BTreeMap<ShardId, Position>,
    /// The last block that was visited.
    pub(super) last: Option<BlockHeader>,
}

impl Tail for SegmentTail<'_> {
    fn visit(&mut self, patience: Duration, visit: Visit<'_>) -> Result<(), LogError> {
        let end = Instant::now() + patience;
        loop {
            let mut visited = false;
            if self.next.values().any(|next| next.0 < self.folder.end()) {
                let route = self.folder.route(&self.next)?;
                self.last = scan::replay(
                    &route,
                    self.folder.identity(),
                    self.last,
                    &mut |shard, position, record| {
                        visited = true;
                        visit(shard, position, record)
                    },
                )?;
                self.next.values_mut().for_each(|next| *next = Position(route.end));
            }
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
