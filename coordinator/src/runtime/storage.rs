//! The threads that wait for the table store and for the log's folder, so that the core thread does not.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use participant::engine::IoId;
use participant::store::TableStore;
use wal_core::log::IntentLog;
use wal_core::{Position, RowKey, RowMutation, ShardId};

use super::handle::Input;
use super::seat::SeatId;

/// How much of the log is kept beyond what a restart needs: whichever is less.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retention {
    pub(super) bytes: u64,
    pub(super) time: Duration,
}

/// What the writing thread is asked.
enum Write {
    Flush(Flush),
    Sync { seat: SeatId, io: IoId },
    Checkpointed { shard: ShardId, checkpoint: Position, trim: Position },
}

struct Flush {
    seat: SeatId,
    io: IoId,
    mutations: Arc<[RowMutation]>,
}

/// What a reading thread is asked.
struct Read {
    seat: SeatId,
    io: IoId,
    keys: Vec<RowKey>,
}

/// Rows that one call to the store reads or applies, of as many shards as asked meanwhile.
const ROWS_AT_ONCE: usize = 4_096;

/// Hands reads and writes to their threads, which end when this is dropped. Each shard has at most one
/// flush and one sync outstanding, and a bounded number of reads: that bounds the queues.
pub(super) struct Storage {
    writes: Sender<Write>,
    reads: Sender<Read>,
}

impl Storage {
    pub(super) fn start(
        store: Arc<dyn TableStore>,
        log: Arc<dyn IntentLog>,
        readers: usize,
        retention: Retention,
        core: Sender<Input>,
    ) -> io::Result<Self> {
        let (writes, to_write) = unbounded();
        let (reads, to_read) = unbounded();
        let Retention { bytes: retain_bytes, time: retain } = retention;
        let writer = Writer { store: store.clone(), log, retain_bytes, retain, core: core.clone() };
        std::thread::Builder::new()
            .name("table-writer".into())
            .spawn(move || writer.run(&to_write))?;
        for _ in 0..readers {
            let (store, to_read, core) = (store.clone(), to_read.clone(), core.clone());
            std::thread::Builder::new()
                .name("table-reader".into())
                .spawn(move || read(&*store, &to_read, &core))?;
        }
        Ok(Self { writes, reads })
    }

    pub(super) fn read(&self, seat: SeatId, io: IoId, keys: Vec<RowKey>) {
        self.reads.send(Read { seat, io, keys }).expect("the reading threads outlive this");
    }

    pub(super) fn flush(&self, seat: SeatId, io: IoId, mutations: Arc<[RowMutation]>) {
        let write = Write::Flush(Flush { seat, io, mutations });
        self.writes.send(write).expect("the writing thread outlives this");
    }

    pub(super) fn sync(&self, seat: SeatId, io: IoId) {
        self.writes.send(Write::Sync { seat, io }).expect("the writing thread outlives this");
    }

    pub(super) fn checkpointed(&self, shard: ShardId, checkpoint: Position, trim: Position) {
        let write = Write::Checkpointed { shard, checkpoint, trim };
        self.writes.send(write).expect("the writing thread outlives this");
    }
}

fn read(store: &dyn TableStore, to_read: &Receiver<Read>, core: &Sender<Input>) {
    while let Ok(first) = to_read.recv() {
        let mut keys = Vec::new();
        let mut asked = Vec::new();
        for Read { seat, io, keys: more } in std::iter::once(first).chain(to_read.try_iter()) {
            asked.push((seat, io, more.len()));
            keys.extend(more);
            if keys.len() >= ROWS_AT_ONCE {
                break;
            }
        }
        let rows = store.read(&keys);
        if let Err(error) = &rows {
            tracing::warn!(%error, "reading rows failed; trying again");
        }
        let mut rows = rows.ok().map(Vec::into_iter);
        for (seat, io, count) in asked {
            let rows = rows.as_mut().map(|rows| rows.take(count).collect());
            if core.send(Input::RowsRead { seat, io, rows }).is_err() {
                return; // the core is gone
            }
        }
    }
}

struct Writer {
    store: Arc<dyn TableStore>,
    log: Arc<dyn IntentLog>,
    retain_bytes: u64,
    retain: Duration,
    core: Sender<Input>,
}

impl Writer {
    fn run(&self, to_write: &Receiver<Write>) {
        let mut trims = BTreeMap::new();
        // When what could be trimmed: it may go once it is old, even from a small log.
        let mut aging: VecDeque<(Instant, ShardId, Position)> = VecDeque::new();
        while let Ok(first) = to_write.recv() {
            let mut flushes = Vec::new();
            let mut rows = 0;
            let mut syncs = Vec::new();
            for write in std::iter::once(first).chain(to_write.try_iter()) {
                match write {
                    Write::Flush(flush) => {
                        rows += flush.mutations.len();
                        flushes.push(flush);
                    }
                    Write::Sync { seat, io } => syncs.push((seat, io)),
                    Write::Checkpointed { shard, checkpoint, trim } => {
                        trims.insert(shard, trim);
                        aging.push_back((Instant::now(), shard, trim));
                        self.checkpointed(shard, checkpoint, &trims);
                        self.trim_old(&mut aging);
                    }
                }
                if rows >= ROWS_AT_ONCE {
                    break;
                }
            }
            if !flushes.is_empty() {
                self.flush(flushes);
            }
            // One sync covers all that asked for one since the last.
            if !syncs.is_empty() {
                self.sync(syncs);
            }
        }
    }

    fn trim_old(&self, aging: &mut VecDeque<(Instant, ShardId, Position)>) {
        while let Some((since, shard, trim)) = aging.front().copied() {
            if since.elapsed() < self.retain {
                return;
            }
            aging.pop_front();
            if let Err(error) = self.log.trim(shard, trim) {
                tracing::warn!(%shard, %error, "trimming the log failed");
            }
        }
    }

    fn flush(&self, mut flushes: Vec<Flush>) {
        let result = match &flushes[..] {
            [only] => self.store.apply(&only.mutations),
            all => {
                let rows: Vec<_> = all.iter().flat_map(|f| f.mutations.iter().cloned()).collect();
                self.store.apply(&rows)
            }
        };
        if let Err(error) = &result {
            tracing::warn!(%error, "applying rows failed; trying again");
            std::thread::sleep(Duration::from_millis(5));
        }
        for Flush { seat, io, .. } in flushes.drain(..) {
            let _ = self.core.send(Input::Flushed { seat, io, ok: result.is_ok() }); // it may be gone
        }
    }

    fn sync(&self, syncs: Vec<(SeatId, IoId)>) {
        let result = self.store.sync();
        if let Err(error) = &result {
            tracing::warn!(%error, "syncing the table store failed; trying again");
            std::thread::sleep(Duration::from_millis(100));
        }
        for (seat, io) in syncs {
            let _ = self.core.send(Input::Synced { seat, io, ok: result.is_ok() }); // it may be gone
        }
    }

    /// The hint first; then, if the log is larger than it should be, what no restart needs may go.
    fn checkpointed(
        &self,
        shard: ShardId,
        checkpoint: Position,
        trims: &BTreeMap<ShardId, Position>,
    ) {
        let mut result = self.log.store_hint(shard, checkpoint);
        if result.is_ok() && self.log.size_bytes() > self.retain_bytes {
            result = trims.iter().try_for_each(|(shard, trim)| self.log.trim(*shard, *trim));
        }
        if let Err(error) = result {
            // Neither a lost hint nor a log that is longer than it need be loses anything.
            tracing::warn!(%shard, %error, "recording a checkpoint failed");
        }
    }
}
