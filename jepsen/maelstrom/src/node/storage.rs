//! The threads that wait for the log and the tables, so that the core thread does not.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, unbounded};
use participant::engine::IoId;
use participant::store::{StoreError, TableStore};
use wal_core::log::{IntentLog, LogError};
use wal_core::{Position, Row, RowKey, RowMutation, ShardId};

use super::core::Input;
use super::seat::SeatId;
use crate::log::{LinKvLog, Visited, read_shard};
use crate::tables::LinKvStore;

/// Threads that read rows, and as many that merge them.
const THREADS: usize = 4;

/// What a storage thread is asked.
enum Task {
    Read { seat: SeatId, io: IoId, keys: Vec<RowKey> },
    Flush { seat: SeatId, io: IoId, mutations: Arc<[RowMutation]> },
    Checkpointed { shard: ShardId, checkpoint: Position, trim: Position },
}

/// What the storage threads answer.
#[derive(Debug)]
pub(super) enum Stored {
    /// Rows, in the order asked.
    Rows(Result<Vec<Row>, StoreError>),
    /// A flush was applied, or not.
    Flushed(Result<(), StoreError>),
}

/// What a replay answers: the records, and where the next begins.
pub(super) type Replayed = Result<(Visited, Position), LogError>;

/// Hands tasks to threads. Engines bound what they ask: one flush and few reads at a time.
pub(super) struct Storage {
    log: Arc<LinKvLog>,
    reads: Sender<Task>,
    writes: Sender<Task>,
    core: Sender<Input>,
}

impl Storage {
    pub(super) fn start(
        log: Arc<LinKvLog>,
        store: &Arc<LinKvStore>,
        core: Sender<Input>,
    ) -> std::io::Result<Self> {
        let (reads, to_read) = unbounded();
        let (writes, to_write) = unbounded();
        for tasks in
            [to_read, to_write].iter().flat_map(|tasks| std::iter::repeat_n(tasks, THREADS))
        {
            let (tasks, core) = (tasks.clone(), core.clone());
            let (log, store) = (Arc::clone(&log), Arc::clone(store));
            let name = "storage".to_owned();
            std::thread::Builder::new()
                .name(name)
                .spawn(move || work(&tasks, &log, &store, &core))?;
        }
        Ok(Self { log, reads, writes, core })
    }

    pub(super) fn read(&self, seat: SeatId, io: IoId, keys: Vec<RowKey>) {
        self.reads.send(Task::Read { seat, io, keys }).expect("the threads outlive this");
    }

    pub(super) fn flush(&self, seat: SeatId, io: IoId, mutations: Arc<[RowMutation]>) {
        self.writes.send(Task::Flush { seat, io, mutations }).expect("the threads outlive this");
    }

    pub(super) fn checkpointed(&self, shard: ShardId, checkpoint: Position, trim: Position) {
        let task = Task::Checkpointed { shard, checkpoint, trim };
        self.writes.send(task).expect("the threads outlive this");
    }

    /// Reads a shard's log from a position on, or, without one, from its newest known checkpoint.
    pub(super) fn replay(&self, seat: SeatId, from: Option<Position>) {
        let (log, core) = (Arc::clone(&self.log), self.core.clone());
        // Candidacies are rare, and a log may be long: each has a thread of its own.
        std::thread::spawn(move || {
            let replay = || {
                let from = match from {
                    Some(from) => from,
                    None => log.hint(seat.shard)?.unwrap_or_default(),
                };
                read_shard(&*log, seat.shard, from)
            };
            let _ = core.send(Input::Replayed(seat, replay())); // the core may be gone
        });
    }
}

fn work(tasks: &Receiver<Task>, log: &LinKvLog, store: &LinKvStore, core: &Sender<Input>) {
    while let Ok(task) = tasks.recv() {
        let input = match task {
            Task::Read { seat, io, keys } => {
                Input::Stored(seat, io, Stored::Rows(store.read(&keys)))
            }
            Task::Flush { seat, io, mutations } => {
                Input::Stored(seat, io, Stored::Flushed(store.apply(&mutations)))
            }
            Task::Checkpointed { shard, checkpoint, trim } => {
                let done = log.store_hint(shard, checkpoint).and_then(|()| log.trim(shard, trim));
                if let Err(error) = done {
                    eprintln!("shard {shard}: recording a checkpoint failed: {error}");
                }
                continue;
            }
        };
        if core.send(input).is_err() {
            return; // the core is gone
        }
    }
}
