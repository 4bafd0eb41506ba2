//! The thread that writes: one block, one sync, then the answers; meanwhile the next block's batches gather.

use std::collections::BTreeSet;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::block::{ALIGN, BlockHeader, HEADER, encode_entry};
use super::folder::{Folder, Segment, segment_name};
use super::queue::{Item, Queue, Work};
use super::scan::Tail;
use super::stats::{Counters, Synced};
use super::{Observer, io_error};
use crate::id::{Position, ShardId};
use crate::log::{Appended, LogError};

/// When nothing was written for this long, a mark is: see "The end of the log" in [`super`].
const MARK_AFTER: Duration = Duration::from_millis(100);
/// A buffer that grew beyond this for one large append is given back.
const KEPT_BUFFER_BYTES: usize = 8 << 20;

/// The end of the log and the means to move it.
pub(super) struct Writer {
    pub(super) folder: Arc<Folder>,
    pub(super) queue: Arc<Queue>,
    pub(super) counters: Arc<Counters>,
    pub(super) observer: Option<Observer>,
    cursor: Cursor,
    known_shards: BTreeSet<ShardId>,
    preparer: Preparer,
    /// Why nothing is written any more.
    dead: Option<String>,
}

/// Where and how the next block is written.
struct Cursor {
    segment: Arc<Segment>,
    last: Option<BlockHeader>,
    salt: u64,
    block: Vec<u8>,
}

impl Cursor {
    fn position(&self) -> u64 {
        let last = self.last.map(|last| last.end());
        last.map_or(self.segment.first(), |end| end.max(self.segment.first()))
    }

    fn is_first_in_segment(&self) -> bool {
        self.position() == self.segment.first()
    }

    /// Bytes of content for which the segment has room; `None` if not even a mark fits.
    fn room(&self) -> Option<u64> {
        let left = self.segment.end() - self.position();
        (left >= ALIGN).then(|| left - HEADER as u64)
    }

    /// Starts a new block; its content is appended to `self.block`.
    fn begin(&mut self) {
        self.block.clear();
        self.block.shrink_to(KEPT_BUFFER_BYTES);
        self.block.resize(HEADER, 0);
    }

    /// Writes the block and syncs it. Only then is it the last one.
    fn commit(&mut self, identity: u64) -> std::io::Result<()> {
        let content = &self.block[HEADER..];
        let header = BlockHeader {
            position: self.position(),
            number: self.last.map_or(0, |last| last.number) + 1,
            chain: self.last.map_or(0, |last| last.hash()),
            identity,
            salt: self.salt,
            length: content.len() as u32,
            content: crc32fast::hash(content),
        };
        self.block[..HEADER].copy_from_slice(&header.encode());
        self.block.resize(header.span() as usize, 0);
        let offset = header.position - self.segment.header.base;
        // Invariant: a block never reaches beyond its segment.
        assert!(header.end() <= self.segment.end(), "a block of {} bytes", header.span());
        self.segment.file.write_at(&self.block, offset)?;
        self.segment.file.sync_data()?;
        self.last = Some(header);
        Ok(())
    }
}

impl Writer {
    /// Goes on behind `tail`.
    pub(super) fn new(
        folder: Arc<Folder>,
        queue: Arc<Queue>,
        tail: Tail,
        salt: u64,
        observer: Option<Observer>,
    ) -> Result<Self, LogError> {
        let cursor = Cursor { segment: tail.segment, last: tail.last, salt, block: Vec::new() };
        let known_shards = folder.known_shards().into_iter().collect();
        let preparer = Preparer::start(Arc::clone(&folder))?;
        let counters = Arc::default();
        Ok(Self { folder, queue, counters, observer, cursor, known_shards, preparer, dead: None })
    }

    /// Makes the last block durable, and proves it by a mark. To be called before anything is read:
    /// what an earlier process wrote may be in memory only, and may be there after a failed sync.
    pub(super) fn settle(&mut self) -> Result<(), LogError> {
        if let Some(last) = self.cursor.last {
            let segment = &self.cursor.segment;
            let failed = |error| io_error(&format!("write {}", name(segment)), error);
            let mut block = vec![0; last.span() as usize];
            let offset = last.position - segment.header.base;
            segment.file.read_at(&mut block, offset).map_err(failed)?;
            segment.file.write_at(&block, offset).map_err(failed)?;
            segment.file.sync_data().map_err(failed)?;
            self.folder.set_end(last.end());
        }
        self.mark()
    }

    /// Runs until the queue is closed. Should an invariant fail, the log stops, and later appends are still
    /// answered.
    pub(super) fn work(self) {
        let queue = Arc::clone(&self.queue);
        let ended = panic::catch_unwind(AssertUnwindSafe(|| self.run()));
        if ended.is_err() {
            queue.die("its writer panicked");
            while let Work::Items(items) = queue.next(0, None) {
                // Invariant: nothing is left in them that is not refused.
                let gone = || Appended::Rejected { why: "the log stopped".into() };
                items.into_iter().for_each(|item| item.complete(gone));
            }
        }
    }

    fn run(mut self) {
        loop {
            let idle_after = (self.dead.is_none() && !self.is_marked()).then_some(MARK_AFTER);
            match self.queue.next(self.cursor.room().unwrap_or(0), idle_after) {
                Work::Items(items) => self.write(items),
                Work::Idle => self.mark_or_die(),
                Work::Closed => {
                    self.mark_or_die();
                    return;
                }
            }
        }
    }

    fn is_marked(&self) -> bool {
        self.cursor.last.is_some_and(|last| last.length == 0)
    }

    fn mark_or_die(&mut self) {
        if self.dead.is_some() || self.is_marked() {
            return;
        }
        if let Err(error) = self.mark() {
            self.die(&error.to_string());
        }
    }

    fn mark(&mut self) -> Result<(), LogError> {
        self.make_room(0)?;
        self.cursor.begin();
        self.commit()
    }

    fn commit(&mut self) -> Result<(), LogError> {
        let committed = self.cursor.commit(self.folder.identity().0 as u64);
        committed.map_err(|error| {
            io_error(&format!("write and sync {}", name(&self.cursor.segment)), error)
        })?;
        self.folder.set_end(self.cursor.position());
        Ok(())
    }

    fn die(&mut self, why: &str) {
        tracing::error!(why, "the log stopped; nothing is appended until the server is restarted");
        self.queue.die(why);
        self.dead = Some(why.to_owned());
    }

    fn write(&mut self, items: Vec<Item>) {
        let bound: u64 = items.iter().map(|item| item.bound).sum();
        let answers = if bound == 0 { Ok(Vec::new()) } else { self.write_block(&items, bound) };
        self.queue.free(bound);
        match answers {
            Ok(positions) => {
                let mut positions = positions.into_iter();
                for item in items {
                    item.complete(|| {
                        let first = positions.next().expect("a position for each written batch");
                        Appended::Durable { first }
                    });
                }
            }
            Err(answer) => {
                for item in items {
                    item.complete(|| answer.clone());
                }
            }
        }
    }

    /// Writes one block; returns the position of each batch, or the answer to all of them.
    fn write_block(&mut self, items: &[Item], bound: u64) -> Result<Vec<Position>, Appended> {
        self.make_ready(items, bound)?;
        self.cursor.begin();
        let start = self.cursor.position();
        let (mut positions, mut records) = (Vec::new(), 0);
        for batch in items.iter().flat_map(Item::batches) {
            positions.push(Position(start + encode_entry(&mut self.cursor.block, batch)));
            records += batch.ends.len() as u64;
        }
        let begun = Instant::now();
        if let Err(error) = self.commit() {
            let why = error.to_string();
            self.die(&why);
            return Err(Appended::Unknown { why });
        }
        let bytes = self.cursor.block.len() as u64;
        let batches = positions.len() as u64;
        let synced = Synced { took: begun.elapsed(), bytes, batches, records };
        self.counters.count(&synced);
        if let Some(observer) = &self.observer {
            observer(&synced);
        }
        Ok(positions)
    }

    /// What must be done before a block is written. If it fails, nothing was written.
    fn make_ready(&mut self, items: &[Item], bound: u64) -> Result<(), Appended> {
        if self.dead.is_none()
            && let Err(error) = self.make_room(bound).and_then(|()| self.know_shards(items))
        {
            self.die(&error.to_string());
        }
        match &self.dead {
            Some(why) => Err(Appended::Rejected { why: format!("the log stopped: {why}") }),
            None => Ok(()),
        }
    }

    fn know_shards(&mut self, items: &[Item]) -> Result<(), LogError> {
        let shards = items.iter().flat_map(Item::batches).map(|batch| batch.shard);
        let new: BTreeSet<ShardId> =
            shards.filter(|shard| !self.known_shards.contains(shard)).collect();
        if new.is_empty() {
            return Ok(());
        }
        let list: Vec<ShardId> = new.iter().copied().collect();
        self.folder.know_shards(&list)?;
        self.known_shards.extend(new);
        Ok(())
    }

    /// Moves to the next segment if this one has no room for a block with so much content.
    fn make_room(&mut self, content: u64) -> Result<(), LogError> {
        while self.cursor.room().is_none_or(|room| content > room) {
            if self.cursor.is_first_in_segment() {
                // Made for smaller segments, before the settings changed. Invariant: every segment
                // before the last block holds a block, or a replay could not tell it from a lost one.
                self.cursor.begin();
                self.commit()?;
            }
            self.next_segment()?;
        }
        if self.folder.segment(self.cursor.segment.header.number + 1).is_none() {
            self.preparer.ask();
        }
        Ok(())
    }

    fn next_segment(&mut self) -> Result<(), LogError> {
        let number = self.cursor.segment.header.number + 1;
        self.preparer.wait();
        if self.folder.segment(number).is_none() {
            // It failed before, or was never asked for: now it is needed.
            self.folder.prepare_next()?;
        }
        let next = self.folder.segment(number);
        self.cursor.segment = next.expect("it was just prepared");
        Ok(())
    }
}

fn name(segment: &Segment) -> String {
    segment_name(segment.header.number)
}

/// A thread that makes the next segment ready while the current one is being filled.
struct Preparer {
    ask: Option<mpsc::Sender<()>>,
    ready: mpsc::Receiver<()>,
    asked: bool,
    thread: Option<JoinHandle<()>>,
}

impl Preparer {
    fn start(folder: Arc<Folder>) -> Result<Self, LogError> {
        let (ask, asked) = mpsc::channel();
        let (done, ready) = mpsc::channel();
        let work = move || {
            for () in asked {
                if let Err(error) = folder.prepare_next() {
                    tracing::warn!(%error, "the next segment of the log is not ready yet");
                }
                if done.send(()).is_err() {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("log-prepare".into()).spawn(work);
        let thread = thread.map_err(|error| io_error("start a thread", error))?;
        Ok(Self { ask: Some(ask), ready, asked: false, thread: Some(thread) })
    }

    fn ask(&mut self) {
        if let Some(ask) = self.ask.as_ref().filter(|_| !self.asked) {
            self.asked = ask.send(()).is_ok();
        }
    }

    /// Waits for what was asked for, if anything was.
    fn wait(&mut self) {
        if self.asked {
            // An error means that the thread is gone: whoever needs the segment makes it then.
            let _ = self.ready.recv();
            self.asked = false;
        }
    }
}

impl Drop for Preparer {
    fn drop(&mut self) {
        self.ask = None;
        if let Some(thread) = self.thread.take() {
            // A panic in it was reported by its own thread; there is nothing left to undo.
            let _ = thread.join();
        }
    }
}
