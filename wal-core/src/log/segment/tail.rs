//! Reading on where the last visit ended, without going through the segment again.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use super::block::BlockHeader;
use super::folder::Folder;
use super::scan;
use crate::id::{Position, ShardId};
use crate::log::tail::LOOK_EVERY;
use crate::log::{LogError, Tail, VISIT_BYTES, Visit};

/// A tail of the log.
pub(super) struct SegmentTail<'a> {
    pub(super) folder: &'a Folder,
    pub(super) next: BTreeMap<ShardId, Position>,
    /// The last block that was visited.
    pub(super) last: Option<BlockHeader>,
}

impl SegmentTail<'_> {
    /// Reads on, up to the end of the log as it is now or the bound of a visit; says whether anything was
    /// visited.
    fn read_on(&mut self, visit: Visit<'_>) -> Result<bool, LogError> {
        let route = self.folder.route(&self.next)?;
        let mut visited = false;
        let mut note = |shard, position, record| {
            visited = true;
            visit(shard, position, record)
        };
        let (identity, enough) = (self.folder.identity(), VISIT_BYTES as u64);
        let read = scan::replay(&route, identity, self.last, enough, &mut note)?;
        self.last = read.last;
        // One that was trimmed to beyond the visit's end goes on where it begins.
        self.next.extend(route.starts);
        for next in self.next.values_mut() {
            next.0 = next.0.max(read.end);
        }
        Ok(visited)
    }
}

impl Tail for SegmentTail<'_> {
    fn visit(&mut self, patience: Duration, visit: Visit<'_>) -> Result<(), LogError> {
        let end = Instant::now() + patience;
        loop {
            let has_more = self.next.values().any(|next| next.0 < self.folder.end());
            let visited = has_more && self.read_on(visit)?;
            let left = end.saturating_duration_since(Instant::now());
            if visited || left.is_zero() {
                return Ok(());
            }
            // What was read may all have been of other shards.
            if !has_more {
                thread::sleep(LOOK_EVERY.min(left));
            }
        }
    }

    fn next(&self) -> &BTreeMap<ShardId, Position> {
        &self.next
    }
}
