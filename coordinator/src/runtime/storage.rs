//! The threads that wait for the table store and for the log's folder, so that the core thread does not.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use participant::engine::IoId;
use participant::store::{Refusal, StoreError, TableStore};
use wal_core::log::IntentLog;
use wal_core::{Position, RowKey, RowMutation, ShardId};

use super::handle::Input;
use super::hold::Held;
use super::seat::SeatId;

/// How much of the log is kept beyond what a restart needs.
#[derive(Clone, Debug)]
pub(super) struct Retention {
    /// A log that is larger is trimmed.
    pub(super) bytes: u64,
    /// What has been kept for so long is trimmed, however small the log.
    pub(super) time: Duration,
    /// What has not been kept for so long is not trimmed, however large the log.
    pub(super) least: Duration,
    /// What is kept for others, however large and old.
    pub(super) held: Held,
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
            let to_read = to_read.clone();
            let reader = Reader {
                store: store.clone(),
                core: core.clone(),
                failures: Failures::default(),
                refusals: 0,
                refused: VecDeque::new(),
            };
            std::thread::Builder::new()
                .name("table-reader".into())
                .spawn(move || reader.run(&to_read))?;
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

/// Reads for everybody who asked meanwhile, in one call.
struct Reader {
    store: Arc<dyn TableStore>,
    core: Sender<Input>,
    failures: Failures,
    refusals: u32,
    /// Reads of tables that cannot be read, and when that is told: they are asked again at once.
    refused: VecDeque<(Instant, SeatId, IoId)>,
}

/// How long a read of a table that cannot be read takes at least: whoever waits for it asks again and again.
const REFUSED_READ_TAKES: Duration = Duration::from_millis(500);

impl Reader {
    fn run(mut self, to_read: &Receiver<Read>) {
        loop {
            let first = match self.refused.front() {
                None => to_read.recv().map_err(RecvTimeoutError::from),
                Some((due, ..)) => to_read.recv_deadline(*due),
            };
            let told = match first {
                Ok(first) => {
                    let mut rows = 0;
                    let mut reads = Vec::new();
                    for read in std::iter::once(first).chain(to_read.try_iter()) {
                        rows += read.keys.len();
                        reads.push(read);
                        if rows >= ROWS_AT_ONCE {
                            break;
                        }
                    }
                    self.read(reads)
                }
                Err(RecvTimeoutError::Timeout) => Some(()),
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if told.and_then(|()| self.tell_refused()).is_none() {
                return; // the core is gone
            }
        }
    }

    /// Reads, and tells everybody; those of tables that cannot be read later, and the others without them.
    fn read(&mut self, mut reads: Vec<Read>) -> Option<()> {
        while !reads.is_empty() {
            let keys: Vec<RowKey> = reads.iter().flat_map(|read| &read.keys).cloned().collect();
            match self.store.read(&keys) {
                Err(StoreError::Refused(refused)) if !refused.is_empty() => {
                    reads = self.refuse(reads, &refused);
                }
                rows => {
                    self.failures.note(&rows, "reading rows failed; trying again");
                    let mut rows = rows.ok().map(Vec::into_iter);
                    for Read { seat, io, keys } in reads.drain(..) {
                        let rows = rows.as_mut().map(|rows| rows.take(keys.len()).collect());
                        self.core.send(Input::RowsRead { seat, io, rows }).ok()?;
                    }
                }
            }
        }
        Some(())
    }

    /// Sets aside the reads of which a key is refused; returns the others.
    fn refuse(&mut self, reads: Vec<Read>, refused: &[Refusal]) -> Vec<Read> {
        self.refusals = self.refusals.saturating_add(1);
        if self.refusals.is_power_of_two() {
            let why = &refused[0].why;
            tracing::warn!(why, refusals = self.refusals, "rows cannot be read; trying again");
        }
        let mut before = 0;
        let (held, left): (Vec<Read>, Vec<Read>) = reads.into_iter().partition(|read| {
            let of_it = before..before + read.keys.len();
            before = of_it.end;
            refused.iter().any(|refusal| of_it.contains(&refusal.index))
        });
        let due = Instant::now() + REFUSED_READ_TAKES;
        self.refused.extend(held.into_iter().map(|read| (due, read.seat, read.io)));
        left
    }

    fn tell_refused(&mut self) -> Option<()> {
        while let Some((due, seat, io)) = self.refused.front().copied() {
            if due > Instant::now() {
                break;
            }
            self.refused.pop_front();
            self.core.send(Input::RowsRead { seat, io, rows: None }).ok()?;
        }
        Some(())
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

/// Places in a flush's mutations, each with the reason.
type Refusals = Vec<(usize, String)>;

/// Flushes of which rows are refused, and the others. What is refused is counted through all of them.
fn divide(flushes: Vec<Flush>, refused: Vec<Refusal>) -> (Vec<(Flush, Refusals)>, Vec<Flush>) {
    let mut by_flush: Vec<Refusals> = flushes.iter().map(|_| Vec::new()).collect();
    for Refusal { index, why } in refused {
        let mut before = 0;
        for (flush, rows) in flushes.iter().zip(&mut by_flush) {
            if let Some(index) = index.checked_sub(before)
                && index < flush.mutations.len()
            {
                rows.push((index, why.clone()));
            }
            before += flush.mutations.len();
        }
    }
    let (told, left): (Vec<_>, Vec<_>) =
        flushes.into_iter().zip(by_flush).partition(|(_, rows)| !rows.is_empty());
    (told, left.into_iter().map(|(flush, _)| flush).collect())
}

/// Checkpoints that are remembered because what they cover may not go yet; beyond it every second one of a
/// shard is forgotten, and what it covers goes with the next.
const COVERED: usize = 1 << 14;
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
        let mut index = 0;
        while let Some((since, shard, before)) = self.covered.get(index).copied() {
            let age = since.elapsed();
            let Retention { bytes, time, least, held } = &self.retention;
            if age < *least || (age < *time && self.log.size_bytes() <= *bytes) {
                return;
            }
            if !held.lets_go(shard, before) {
                index += 1; // another shard's may go
                continue;
            }
            self.covered.remove(index);
            if let Err(error) = self.log.trim(shard, before) {
                // A log that is longer than it need be loses nothing.
                tracing::warn!(%shard, %error, "trimming the log failed");
            }
        }
        self.forget_covered();
    }

    /// Of what is held of a shard for long, the oldest few are enough: later ones let go more.
    fn forget_covered(&mut self) {
        if self.covered.len() < COVERED {
            return;
        }
        let mut seen: BTreeMap<ShardId, usize> = BTreeMap::new();
        self.covered.retain(|(_, shard, _)| {
            let count = seen.entry(*shard).or_default();
            *count += 1;
            *count % 2 == 1
        });
    }

    fn flush(&mut self, mut flushes: Vec<Flush>) {
        while !flushes.is_empty() {
            let result = match &flushes[..] {
                [only] => self.store.apply(&only.mutations),
                all => {
                    let rows: Vec<_> =
                        all.iter().flat_map(|f| f.mutations.iter().cloned()).collect();
                    self.store.apply(&rows)
                }
            };
            match result {
                // Shards of which nothing is refused need not wait for those of which something is.
                Err(StoreError::Refused(refused)) if !refused.is_empty() => {
                    flushes = self.refuse(flushes, refused);
                }
                result => {
                    self.apply_failures.note(&result, "applying rows failed; trying again");
                    let ok = result.is_ok();
                    for Flush { seat, io, .. } in flushes.drain(..) {
                        let _ = self.core.send(Input::Flushed { seat, io, ok }); // it may be gone
                    }
                }
            }
        }
    }

    /// Tells each flush which of its rows are refused; returns those of which none is.
    fn refuse(&self, flushes: Vec<Flush>, refused: Vec<Refusal>) -> Vec<Flush> {
        let (told, left) = divide(flushes, refused);
        for (Flush { seat, io, .. }, rows) in told {
            let _ = self.core.send(Input::Refused { seat, io, rows }); // it may be gone
        }
        left
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use wal_core::{Row, TableId};

    use super::*;

    #[test]
    fn what_is_refused_is_told_to_the_flush_that_it_is_of() {
        let mutation = |name: u8| RowMutation {
            key: RowKey {
                table: TableId(0),
                partition: Bytes::copy_from_slice(&[name]),
                clustering: Bytes::new(),
            },
            delta: Row::default(),
        };
        let flush = |io: u64, rows: u8| Flush {
            seat: SeatId { shard: ShardId(io as u16), uid: 0 },
            io: IoId(io),
            mutations: (0..rows).map(mutation).collect(),
        };
        let refused = |index: usize| Refusal { index, why: index.to_string() };
        let flushes = vec![flush(1, 2), flush(2, 3), flush(3, 1), flush(4, 4)];
        let (told, left) = divide(flushes, [0, 1, 5, 7, 9].map(refused).into());
        let told: Vec<_> = told.into_iter().map(|(flush, rows)| (flush.io.0, rows)).collect();
        let rows = |rows: &[(usize, &str)]| -> Refusals {
            rows.iter().map(|(index, why)| (*index, (*why).to_owned())).collect()
        };
        let expected = [
            (1, rows(&[(0, "0"), (1, "1")])),
            (3, rows(&[(0, "5")])),
            (4, rows(&[(1, "7"), (3, "9")])),
        ];
        assert_eq!(told, expected);
        assert_eq!(left.iter().map(|flush| flush.io.0).collect::<Vec<_>>(), [2]);
    }

    /// A store of which one table cannot be read.
    struct WithoutTable(TableId);

    impl TableStore for WithoutTable {
        fn read(&self, keys: &[RowKey]) -> Result<Vec<Row>, StoreError> {
            let gone = |(index, key): (usize, &RowKey)| {
                let why = "the table was dropped".to_owned();
                (key.table == self.0).then_some(Refusal { index, why })
            };
            let refused: Vec<Refusal> = keys.iter().enumerate().filter_map(gone).collect();
            match refused.is_empty() {
                true => Ok(vec![Row::default(); keys.len()]),
                false => Err(StoreError::Refused(refused)),
            }
        }

        fn apply(&self, _: &[RowMutation]) -> Result<(), StoreError> {
            Ok(())
        }

        fn sync(&self) -> Result<(), StoreError> {
            Ok(())
        }
    }

    #[test]
    fn a_table_that_cannot_be_read_holds_up_no_other() {
        let (core, answers) = unbounded();
        let (reads, to_read) = unbounded();
        // All are there before the reader begins: it reads them in one call.
        for (io, table, count) in [(1, 0, 2), (2, 1, 1), (3, 0, 1), (4, 1, 2), (5, 2, 3)] {
            let key = |name: u8| RowKey {
                table: TableId(table),
                partition: Bytes::copy_from_slice(&[name]),
                clustering: Bytes::new(),
            };
            let seat = SeatId { shard: ShardId(0), uid: 0 };
            let keys = (0..count).map(key).collect();
            reads.send(Read { seat, io: IoId(io), keys }).expect("the channel is open");
        }
        let reader = Reader {
            store: Arc::new(WithoutTable(TableId(1))),
            core,
            failures: Failures::default(),
            refusals: 0,
            refused: VecDeque::new(),
        };
        let begun = Instant::now();
        let thread = std::thread::spawn(move || reader.run(&to_read));
        let next = || match answers.recv_timeout(Duration::from_secs(20)).expect("an answer") {
            Input::RowsRead { io, rows, .. } => (io.0, rows.map(|rows| rows.len())),
            _ => panic!("a reader tells of reads"),
        };
        assert_eq!([next(), next(), next()], [(1, Some(2)), (3, Some(1)), (5, Some(3))]);
        assert_eq!([next(), next()], [(2, None), (4, None)]);
        assert!(begun.elapsed() >= REFUSED_READ_TAKES, "they are not asked again without a pause");
        drop(reads);
        thread.join().expect("it ends when nobody asks any more");
    }
}
