//! The embedded log: segment files in one folder, one physical log for all shards of a namespace.
//!
//! ```text
//! segment-000000000007.log (64 MiB, written full of zeroes beforehand)
//! ┌────────┬─────────────────────────────┬──────────────┬──────┬───────────────────────┐
//! │ header │ block 41                    │ block 42     │ mark │ zeroes, or old blocks │
//! │        │ [shard 3: …][shard 9: …]    │ [shard 3: …] │      │ of a reused file      │
//! └────────┴─────────────────────────────┴──────────────┴──────┴───────────────────────┘
//! ```
//!
//! A thread takes every append that came in while the last sync ran, writes them as one block, syncs it once,
//! and only then answers. One block is in flight at a time, so **a block is written only when every block
//! before it is durable**. Blocks start at pages, so a page that was acknowledged is never written again.
//! An append is in one block, so it is in the log whole or not at all. A [`Position`] is an offset in
//! the endless file that the segments form together.
//!
//! # What can pass for a block
//!
//! A block names its own position, its number, the log's identity and the hash of the header before it
//! (its *chain*). Every opening draws a *salt*, which is in each header. So neither an old block of a reused
//! file (another position), nor a block of another log, nor what is left of a write that a crash cut
//! short, nor bytes that a client chose (they were written before the salt was drawn) can stand where a block
//! is expected.
//!
//! # The end of the log
//!
//! The log ends behind the last block of the unbroken chain. What follows is one of:
//! * nothing that looks like a block, or the remains of the next block: it was in flight when the power
//!   went, and was never acknowledged. It is cut, that is, overwritten by what comes next;
//! * the header of a block with a number beyond the next: it proves that the missing block was durable
//!   when it was written. That is damage, and the log is refused.
//!
//! The very last block has no successor to prove it. If it held acknowledged records and was damaged
//! afterwards, it would be cut as a torn tail. To close this gap a *mark*, an empty block, is written and synced
//! when the log has been idle for 100 ms, when it is closed, and when it is opened. So the gap is
//! open only for damage to the last block of a log that lost its power, or was killed, within 100 ms of
//! writing it. Open, too, is the loss of whole blocks that a disk acknowledged and did not keep: no log on
//! one disk can see that.
//!
//! At opening the last block is written again and synced before it is believed: an earlier process may
//! have ended between writing and syncing it, or after a sync that failed.
//!
//! # Files
//!
//! `log.state` (identity, segments, trim positions, hints; replaced as a whole), `log.lock`,
//! `segment-*.log`, `next.log` (not ready yet), `spare.log` (trimmed, to be used again). All carry a format
//! number. Every segment that `log.state` names must be there.
//!
//! # Failure
//!
//! After a failed write or sync nothing is known about that file any more: the log stops for good. The
//! appends in that block are unknown; those behind are rejected. A disk without space for the next segment
//! stops the log too, but only when the current segment is full, and with nothing unknown.

mod block;
mod folder;
mod queue;
mod scan;
mod state;
mod stats;
mod tail;
mod writer;

pub use stats::{SegmentStats, Synced};

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use uuid::Uuid;

use self::block::ALIGN;
use self::folder::Folder;
use self::queue::{Bounds, Queue};
use self::stats::Counters;
use self::tail::SegmentTail;
use self::writer::Writer;
use super::file::{Disk, RealDisk};
use super::{AppendDone, IntentLog, LogError, ShardBatch, Tail, Visit};
use crate::id::{Nonce, Position, ShardId};
use crate::limits::MAX_RECORD_BYTES;

/// Bytes of a segment, if nothing else is said.
pub const DEFAULT_SEGMENT_BYTES: u64 = 64 << 20;
/// Bytes of appends that may wait for the disk, if nothing else is said.
pub const DEFAULT_QUEUE_BYTES: u64 = 64 << 20;
/// Bytes of one group commit, unless a single append is larger.
pub const MAX_GROUP_BYTES: u64 = 4 << 20;
/// The smallest segment.
pub const MIN_SEGMENT_BYTES: u64 = 4 * ALIGN;

const _: () = assert!(DEFAULT_SEGMENT_BYTES > 2 * MAX_RECORD_BYTES as u64);
const _: () = assert!(DEFAULT_QUEUE_BYTES > 2 * MAX_RECORD_BYTES as u64);
const _: () = assert!(DEFAULT_QUEUE_BYTES > MAX_GROUP_BYTES);

/// Called by the writer after every group commit. It must not block.
pub type Observer = Arc<dyn Fn(&Synced) + Send + Sync>;

/// Settings of a [`SegmentLog`].
#[derive(Clone)]
pub struct SegmentOptions {
    /// Bytes of a new segment, rounded up to pages; at least [`MIN_SEGMENT_BYTES`], at most 4 GiB. An append
    /// must fit one: a server needs more than twice [`MAX_RECORD_BYTES`]. May change between openings.
    pub segment_bytes: u64,
    /// Bytes of appends that may wait for the disk or be written; beyond them appends are rejected.
    pub queue_bytes: u64,
    /// Told about every group commit.
    pub observer: Option<Observer>,
}

impl Default for SegmentOptions {
    fn default() -> Self {
        Self {
            segment_bytes: DEFAULT_SEGMENT_BYTES,
            queue_bytes: DEFAULT_QUEUE_BYTES,
            observer: None,
        }
    }
}

/// The log in a folder of segment files. Dropping it writes what waits, then ends its threads.
pub struct SegmentLog {
    folder: Arc<Folder>,
    queue: Arc<Queue>,
    counters: Arc<Counters>,
    writer: Option<JoinHandle<()>>,
}

impl SegmentLog {
    /// Opens the log in a folder of the operating system, or creates both.
    ///
    /// # Errors
    /// [`LogError::Locked`], [`LogError::Format`], [`LogError::Damaged`] as they say;
    /// [`LogError::Io`] also for a full or read-only disk, or for options out of their range.
    pub fn open(folder: &Path, options: &SegmentOptions) -> Result<Self, LogError> {
        let disk = RealDisk::new(folder)
            .map_err(|error| io_error(&format!("open the folder {}", folder.display()), error))?;
        Self::open_on(Arc::new(disk), options)
    }

    /// Opens the log on any disk, or creates it. Errors as of [`Self::open`].
    pub fn open_on(disk: Arc<dyn Disk>, options: &SegmentOptions) -> Result<Self, LogError> {
        const MAX_SEGMENT_BYTES: u64 = 4 << 30;
        let segment_bytes = options.segment_bytes.next_multiple_of(ALIGN);
        if !(MIN_SEGMENT_BYTES..=MAX_SEGMENT_BYTES).contains(&segment_bytes) {
            let action = format!(
                "use segments of {segment_bytes} bytes; choose {MIN_SEGMENT_BYTES} to \
                 {MAX_SEGMENT_BYTES}"
            );
            return Err(LogError::Io { action, source: io::ErrorKind::InvalidInput.into() });
        }
        let folder = Arc::new(Folder::open(disk, segment_bytes, draw())?);
        if folder.segments().is_empty() {
            folder.prepare_next()?;
        }
        let tail = scan::find_tail(&folder.segments(), folder.identity())?;
        if tail.torn {
            tracing::warn!("the log ends in an incomplete block that was never acknowledged: cut");
        }
        let queue = Arc::new(Queue::new(Bounds {
            queue_bytes: options.queue_bytes,
            append_bytes: folder.capacity(),
            group_bytes: MAX_GROUP_BYTES,
        }));
        let salt = draw().0 as u64;
        let observer = options.observer.clone();
        let mut writer =
            Writer::new(Arc::clone(&folder), Arc::clone(&queue), tail, salt, observer)?;
        writer.settle()?;
        let counters = Arc::clone(&writer.counters);
        let thread = thread::Builder::new().name("log-writer".into()).spawn(|| writer.work());
        let thread = thread.map_err(|error| io_error("start a thread", error))?;
        Ok(Self { folder, queue, counters, writer: Some(thread) })
    }

    /// Figures for metrics.
    pub fn stats(&self) -> SegmentStats {
        let (bytes, appends) = self.queue.depth();
        self.counters.snapshot(bytes, appends)
    }
}

impl Drop for SegmentLog {
    fn drop(&mut self) {
        self.queue.close();
        // The last owner may be a callback, on the writer's own thread: that one ends by itself.
        let writer = self.writer.take().filter(|it| it.thread().id() != thread::current().id());
        if let Some(writer) = writer {
            // A panic in it was reported by its own thread; there is nothing left to undo.
            let _ = writer.join();
        }
    }
}

impl IntentLog for SegmentLog {
    fn identity(&self) -> Nonce {
        self.folder.identity()
    }

    fn append(&self, batches: Vec<ShardBatch>, done: AppendDone) {
        self.queue.push(batches, done);
    }

    fn replay(
        &self,
        from: &BTreeMap<ShardId, Position>,
        visit: Visit<'_>,
    ) -> Result<BTreeMap<ShardId, Position>, LogError> {
        let route = self.folder.route(from)?;
        scan::replay(&route, self.folder.identity(), None, u64::MAX, visit)?;
        Ok(from.keys().map(|shard| (*shard, Position(route.end))).collect())
    }

    fn tail(&self, from: BTreeMap<ShardId, Position>) -> Result<Box<dyn Tail + '_>, LogError> {
        self.folder.route(&from)?; // who asks for what was trimmed is told at once
        Ok(Box::new(SegmentTail { folder: &self.folder, next: from, last: None }))
    }

    fn trim(&self, shard: ShardId, before: Position) -> Result<(), LogError> {
        self.folder.trim(shard, before)
    }

    fn store_hint(&self, shard: ShardId, checkpoint: Position) -> Result<(), LogError> {
        self.folder.store_hint(shard, checkpoint)
    }

    fn hint(&self, shard: ShardId) -> Result<Option<Position>, LogError> {
        Ok(self.folder.hint(shard))
    }

    fn size_bytes(&self) -> u64 {
        self.folder.size_bytes()
    }
}

/// Time, then randomness.
fn draw() -> Nonce {
    Nonce(Uuid::now_v7().as_u128())
}

/// An error that says what to do when the disk is full.
fn io_error(action: &str, source: io::Error) -> LogError {
    let action = match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => format!(
            "{action}: the disk is full; free space, or let the log keep less, and start again"
        ),
        _ => action.to_owned(),
    };
    LogError::Io { action, source }
}
