//! The threads that wait for the table store and for the log's folder, so that the core thread does not.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use participant::engine::IoId;
use participant::store::{StoreError, TableStore};
use wal_core::log::IntentLog;
use wal_core::{Position, RowKey, RowMutation, ShardId};

use super::handle::Input;
use super::seat::SeatId;

/// How much of the log is kept beyond what a restart needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retention {
    /// A log that is larger is trimmed.
    pub(super) bytes: u64,
    /// What has been kept for so long is trimmed, however small the log.
    pub(super) time: Duration,
    /// What has not been kept for so long is not trimmed, however large the log.
    pub(super) least: Duration,
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
        let writer = Writer {
            store: store.clone(),
            log,
            retention,
            covered: VecDeque::new(),
            apply_failures: Failures::default(),
            sync_failures: Failures::default(),
            core: core.clone(),
        };
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
    let mut failures = Failures::default();
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
        failures.note(&rows, "reading rows failed; trying again");
        let mut rows = rows.ok().map(Vec::into_iter);
        for (seat, io, count) in asked {
            let rows = rows.as_mut().map(|rows| rows.take(count).collect());
            if core.send(Input::RowsRead { seat, io, rows }).is_err() {
                return; // the core is gone
            }
        }
    }
}

/// Calls of one kind that failed since the last that did not. Everything that fails is tried again at
/// once; so each failure takes a while longer to be told, and not every one is written to the log.
#[derive(Debug, Default)]
struct Failures {
    count: u32,
}

impl Failures {
    const FIRST: Duration = Duration::from_millis(5);
    const LONGEST: Duration = Duration::from_secs(1);

    /// Sleeps after a failure.
    fn note<T>(&mut self, result: &Result<T, StoreError>, what: &str) {
        let Err(error) = result else {
            if self.count > 0 {
                tracing::info!(failures = self.count, "it works again, after: {what}");
            }
            self.count = 0;
            return;
        };
        let pause = Self::FIRST * 2_u32.saturating_pow(self.count.min(16));
        self.count += 1;
        if self.count.is_power_of_two() {
            tracing::warn!(%error, failures = self.count, "{what}");
        }
        std::thread::sleep(pause.min(Self::LONGEST));
    }
}

struct Writer {
    store: Arc<dyn TableStore>,
    log: Arc<dyn IntentLog>,
    retention: Retention,
    /// What checkpoints cover and is still in the log, and since when, oldest first.
    covered: VecDeque<(Instant, ShardId, Position)>,
    apply_failures: Failures,
    sync_failures: Failures,
    core: Sender<Input>,
}

/// How often the log is looked at, whether some of it may go.
const TRIM_EVERY: Duration = Duration::from_secs(5);

impl Writer {
    fn run(mut self, to_write: &Receiver<Write>) {
        loop {
            let first = match to_write.recv_timeout(TRIM_EVERY) {
                Ok(first) => first,
                Err(RecvTimeoutError::Timeout) => {
                    self.trim();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            };
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
                        self.checkpointed(shard, checkpoint, trim);
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

    /// Lets go what no restart needs and the settings do not keep.
    fn trim(&mut self) {
        while let Some((since, shard, before)) = self.covered.front().copied() {
            let age = since.elapsed();
            let Retention { bytes, time, least } = self.retention;
            if age < least || (age < time && self.log.size_bytes() <= bytes) {
                return;
            }
            self.covered.pop_front();
            if let Err(error) = self.log.trim(shard, before) {
                // A log that is longer than it need be loses nothing.
                tracing::warn!(%shard, %error, "trimming the log failed");
            }
        }
    }

    fn flush(&mut self, mut flushes: Vec<Flush>) {
        let result = match &flushes[..] {
            [only] => self.store.apply(&only.mutations),
            all => {
                let rows: Vec<_> = all.iter().flat_map(|f| f.mutations.iter().cloned()).collect();
                self.store.apply(&rows)
            }
        };
        self.apply_failures.note(&result, "applying rows failed; trying again");
        for Flush { seat, io, .. } in flushes.drain(..) {
            let _ = self.core.send(Input::Flushed { seat, io, ok: result.is_ok() }); // it may be gone
        }
    }

    fn sync(&mut self, syncs: Vec<(SeatId, IoId)>) {
        let result = self.store.sync();
        self.sync_failures.note(&result, "syncing the table store failed; trying again");
        for (seat, io) in syncs {
            let _ = self.core.send(Input::Synced { seat, io, ok: result.is_ok() }); // it may be gone
        }
    }

    /// The hint first; then what it makes superfluous may go.
    fn checkpointed(&mut self, shard: ShardId, checkpoint: Position, trim: Position) {
        match self.log.store_hint(shard, checkpoint) {
            Ok(()) => {
                self.covered.push_back((Instant::now(), shard, trim));
                self.trim();
            }
            // A lost hint costs a restart time, and loses nothing.
            Err(error) => tracing::warn!(%shard, %error, "recording a checkpoint failed"),
        }
    }
}
