//! Following the topic with one reader that is kept open.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::Shared;
use super::reader::Reader;
use crate::id::{Position, ShardId};
use crate::log::{LogError, Tail, VISIT_BYTES, Visit};

/// After so long without a message it is asked whether the topic is the one that was read.
const SILENCE: Duration = Duration::from_secs(2);

/// A tail of the topic.
pub(super) struct KafkaTail<'a> {
    shared: &'a Shared,
    /// `None` where none of the asked shards exists.
    reader: Option<Reader>,
    next: BTreeMap<ShardId, Position>,
    /// When something was last read, or the topic was last looked at.
    heard: Instant,
}

impl<'a> KafkaTail<'a> {
    /// Begins to read. Errors as of a replay.
    pub(super) fn open(
        shared: &'a Shared,
        mut next: BTreeMap<ShardId, Position>,
    ) -> Result<Self, LogError> {
        shared.error_if_lost()?;
        let mut starts = BTreeMap::new();
        for (&shard, next) in &mut next {
            if shard.0 < shared.options.shards {
                let start = shared.range(shard, *next)?.start;
                starts.insert(shard, start);
                *next = Position(start);
            }
        }
        let reader = (!starts.is_empty()).then(|| Reader::follow(&shared.options, &starts));
        Ok(Self { shared, reader: reader.transpose()?, next, heard: Instant::now() })
    }

    /// Nothing has come for a while: perhaps the topic is gone, or is another one.
    fn look(&mut self) -> Result<(), LogError> {
        self.heard = Instant::now();
        self.shared.error_if_lost()?;
        for shard in self.next.keys().filter(|shard| shard.0 < self.shared.options.shards) {
            match self.shared.limits(*shard) {
                // The client goes on trying by itself, and so does everybody who writes.
                Ok(_) | Err(LogError::Unreachable { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Tail for KafkaTail<'_> {
    fn visit(&mut self, patience: Duration, visit: Visit<'_>) -> Result<(), LogError> {
        let Some(reader) = &mut self.reader else {
            std::thread::sleep(patience);
            return Ok(());
        };
        let (end, mut wait) = (Instant::now() + patience, patience);
        let (mut visited, mut bytes) = (false, 0);
        while bytes < VISIT_BYTES {
            match reader.poll(wait)? {
                Some(read) => {
                    let next = Position(read.position.0 + 1);
                    if read.key.is_none() {
                        self.shared.has_read(&read);
                        bytes += read.bytes.len();
                        visited = true;
                        visit(read.shard, read.position, read.bytes)?;
                    }
                    self.next.insert(read.shard, next);
                    self.heard = Instant::now();
                }
                None if visited || Instant::now() >= end => break,
                None => {}
            }
            let left = end.saturating_duration_since(Instant::now());
            wait = if visited { Duration::ZERO } else { left };
        }
        for (shard, next) in &self.next {
            self.shared.learn_end(*shard, next.0);
        }
        if self.heard.elapsed() >= SILENCE { self.look() } else { Ok(()) }
    }

    fn next(&self) -> &BTreeMap<ShardId, Position> {
        &self.next
    }
}
