//! What waits for the writer: bounded by bytes, refused where a clause says so, completed in order.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::block::entry_bound;
use crate::id::{Epoch, ShardId};
use crate::log::{AppendDone, Appended, ShardBatch};

/// One append: the unit that is written in one block or not at all.
pub(super) struct Item {
    /// Each batch, or why it is refused.
    pub(super) slots: Vec<Result<ShardBatch, String>>,
    pub(super) done: AppendDone,
    /// At most this many bytes of a block's content.
    pub(super) bound: u64,
}

impl Item {
    /// The batches that are to be written.
    pub(super) fn batches(&self) -> impl Iterator<Item = &ShardBatch> {
        self.slots.iter().filter_map(|slot| slot.as_ref().ok())
    }

    /// Answers: `answer` is asked once for each batch that was not refused, in order.
    pub(super) fn complete(self, mut answer: impl FnMut() -> Appended) {
        let results = self.slots.into_iter().map(|slot| match slot {
            Ok(_) => answer(),
            Err(why) => Appended::Rejected { why },
        });
        let (results, done) = (results.collect(), self.done);
        // The panic was reported where it happened; the others must not wait for ever because of it.
        if panic::catch_unwind(AssertUnwindSafe(|| done(results))).is_err() {
            tracing::error!("the callback of an append panicked");
        }
    }
}

/// What the writer does next.
pub(super) enum Work {
    /// Write these.
    Items(Vec<Item>),
    /// Nothing came for a while.
    Idle,
    /// The log is being closed, and everything is done.
    Closed,
}

/// The bounds of a queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Bytes that may wait or be written at any time.
    pub(super) queue_bytes: u64,
    /// Bytes of one append.
    pub(super) append_bytes: u64,
    /// Bytes of one group, unless a single append is larger.
    pub(super) group_bytes: u64,
}

pub(super) struct Queue {
    bounds: Bounds,
    state: Mutex<State>,
    filled: Condvar,
}

#[derive(Default)]
struct State {
    items: VecDeque<Item>,
    /// Bounds of all items that were not completed yet.
    bytes: u64,
    /// Why nothing can be appended any more.
    dead: Option<String>,
    /// For each shard the newest epoch of which a batch was refused (clause 4).
    barred: BTreeMap<ShardId, Epoch>,
    closing: bool,
    waiting: bool,
}

impl Queue {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { bounds, state: Mutex::default(), filled: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    /// Takes an append in. Refused batches wait too: each shard's batches complete in order (clause 5).
    pub(super) fn push(&self, batches: Vec<ShardBatch>, done: AppendDone) {
        let bound: u64 = batches.iter().map(entry_bound).sum();
        let mut state = self.state();
        let refusal = self.refusal(&state, bound);
        let slots: Vec<_> =
            batches.into_iter().map(|batch| state.admit(batch, refusal.as_deref())).collect();
        let bound = slots.iter().flatten().map(entry_bound).sum();
        state.bytes += bound;
        state.items.push_back(Item { slots, done, bound });
        if state.waiting {
            self.filled.notify_one();
        }
    }

    /// Why an append of that size is refused, if it is.
    fn refusal(&self, state: &State, bound: u64) -> Option<String> {
        let Bounds { queue_bytes, append_bytes, .. } = self.bounds;
        if let Some(why) = &state.dead {
            return Some(format!("the log stopped: {why}"));
        }
        if bound > append_bytes {
            return Some(format!(
                "an append of {bound} bytes does not fit a segment; split it, or use segments of \
                 more than {append_bytes} bytes"
            ));
        }
        (state.bytes + bound > queue_bytes).then(|| {
            format!("{} bytes wait for the disk, {queue_bytes} may; send less", state.bytes)
        })
    }

    /// Waits for work. `room` is what the current segment has left for the content of one block; an
    /// append that does not fit is taken with others up to the room of a new segment.
    pub(super) fn next(&self, room: u64, idle_after: Option<Duration>) -> Work {
        let mut state = self.state();
        let deadline = idle_after.map(|after| Instant::now() + after);
        while state.items.is_empty() {
            if state.closing {
                return Work::Closed;
            }
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return Work::Idle;
            }
            state.waiting = true;
            state = match left {
                Some(left) => {
                    let woken = self.filled.wait_timeout(state, left);
                    woken.expect("no holder of this lock panics").0
                }
                None => self.filled.wait(state).expect("no holder of this lock panics"),
            };
            state.waiting = false;
        }
        Work::Items(self.take(&mut state, room))
    }

    fn take(&self, state: &mut State, room: u64) -> Vec<Item> {
        let first = state.items.front().map_or(0, |item| item.bound);
        let room = if first > room { self.bounds.append_bytes } else { room };
        let limit = room.min(self.bounds.group_bytes).max(first);
        let mut bytes = 0;
        let fits = |item: &&Item| {
            bytes += item.bound;
            bytes <= limit
        };
        let count = state.items.iter().take_while(fits).count();
        state.items.drain(..count).collect()
    }

    /// Gives back the room of items that were taken.
    pub(super) fn free(&self, bytes: u64) {
        self.state().bytes -= bytes;
    }

    /// Refuses everything that waits, and all that comes later.
    pub(super) fn die(&self, why: &str) {
        let mut state = self.state();
        if state.dead.is_some() {
            return;
        }
        state.dead = Some(why.to_owned());
        let why = format!("the log stopped: {why}");
        let mut freed = 0;
        for item in &mut state.items {
            for slot in item.slots.iter_mut().filter(|slot| slot.is_ok()) {
                *slot = Err(why.clone());
            }
            freed += std::mem::take(&mut item.bound);
        }
        state.bytes -= freed;
    }

    /// Lets the writer end once everything that waits is done.
    pub(super) fn close(&self) {
        self.state().closing = true;
        self.filled.notify_all();
    }

    /// Bytes and appends that wait.
    pub(super) fn depth(&self) -> (u64, u64) {
        let state = self.state();
        (state.bytes, state.items.len() as u64)
    }
}

impl State {
    fn admit(&mut self, batch: ShardBatch, refusal: Option<&str>) -> Result<ShardBatch, String> {
        let barred = self.barred.get(&batch.shard).is_some_and(|epoch| batch.epoch <= *epoch);
        let why = if let Some(why) = refusal {
            why.to_owned()
        } else if barred {
            format!("an earlier batch of epoch {} was refused; take a new epoch", batch.epoch)
        } else if !is_well_formed(&batch) {
            "the ends of the records do not match their bytes".to_owned()
        } else {
            return Ok(batch);
        };
        let newest = self.barred.entry(batch.shard).or_default();
        *newest = batch.epoch.max(*newest);
        Err(why)
    }
}

fn is_well_formed(batch: &ShardBatch) -> bool {
    batch.ends.is_sorted() && batch.ends.last().map(|end| *end as usize) == Some(batch.bytes.len())
}
