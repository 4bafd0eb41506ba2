//! What the engines wrote goes to the log.

use participant::engine::{Leadership, ShardEvent};
use wal_core::log::{Appended, ShardBatch};
use wal_core::{Epoch, Now, Sequence, ShardId};

use super::core::Core;
use super::handle::Input;
use super::seat::{Phase, SeatId};

/// Appends handed to the log and not yet durable: while one syncs, the next fills.
const MAX_APPENDS: usize = 2;
/// Bytes of one append, unless a single shard's batch is larger: what is more waits for the next.
const APPEND_BYTES: usize = 8 << 20;

/// How long records that nobody waits for are kept for company, where an append costs a request to several
/// brokers. A tick may come later still.
const WAIT_US: u64 = 5_000;

/// A batch on its way: whose, its epoch, its first and last sequence.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    seat: SeatId,
    epoch: Epoch,
    first: Sequence,
    last: Sequence,
}

impl Sent {
    fn new(uid: u64, batch: &ShardBatch) -> Self {
        let last = Sequence(batch.first.0 + batch.ends.len() as u64 - 1);
        let seat = SeatId { shard: batch.shard, uid };
        Self { seat, epoch: batch.epoch, first: batch.first, last }
    }
}

impl Core {
    pub(super) fn append(&mut self, now: Now) {
        match self.parts.leadership {
            Leadership::Exclusive => self.append_together(now),
            Leadership::Lease { .. } => self.append_apart(now),
        }
    }

    /// All shards share one physical log: one append takes what all of them wrote, and costs one sync.
    fn append_together(&mut self, now: Now) {
        if self.appends >= MAX_APPENDS {
            return;
        }
        let mut batches: Vec<ShardBatch> = Vec::new();
        let mut room = APPEND_BYTES;
        // Each append goes on with the shard behind the last one's, so that none waits for ever.
        let begin = self.append_from;
        let (first, rest): (Vec<_>, Vec<_>) =
            self.shards.iter_mut().filter(|(_, seat)| seat.dirty).partition(|(s, _)| **s >= begin);
        for (shard, seat) in first.into_iter().chain(rest) {
            if room == 0 {
                break; // it stays dirty until this append is done
            }
            seat.dirty = false;
            self.append_from = ShardId(shard.0 + 1);
            if let Some(batch) = seat.engine.take_batch(now) {
                room = room.saturating_sub(batch.bytes.len());
                batches.push(batch);
            }
        }
        if batches.is_empty() {
            return;
        }
        self.appends += 1;
        let sent = batches.iter().map(|batch| Sent::new(0, batch)).collect();
        self.hand_over(batches, sent);
    }

    /// Each shard's log is written by itself: a slow one holds up no other.
    fn append_apart(&mut self, now: Now) {
        let mut ready = Vec::new();
        for seat in self.shards.values_mut() {
            if seat.dirty && seat.appends < MAX_APPENDS {
                if seat.engine.can_wait() {
                    let since = *seat.waits_since.get_or_insert(now.mono_us);
                    if now.mono_us < since + WAIT_US {
                        continue;
                    }
                }
                seat.waits_since = None;
                seat.dirty = false;
                if let Some(batch) = seat.engine.take_batch(now) {
                    seat.appends += 1;
                    ready.push((seat.uid, batch));
                }
            }
        }
        for (uid, batch) in ready {
            let sent = vec![Sent::new(uid, &batch)];
            self.hand_over(vec![batch], sent);
        }
    }

    fn hand_over(&mut self, batches: Vec<ShardBatch>, sent: Vec<Sent>) {
        let records: usize = batches.iter().map(|batch| batch.ends.len()).sum();
        let bytes: usize = batches.iter().map(|batch| batch.bytes.len()).sum();
        self.metrics.appended(records, bytes);
        self.appended_bytes += bytes as u64;
        let core = self.shared.input.clone();
        let done = move |results| {
            let _ = core.send(Input::Appended { sent, results }); // the core may be gone
        };
        self.parts.log.append(batches, Box::new(done));
    }

    pub(super) fn take_appended(&mut self, now: Now, sent: &[Sent], results: Vec<Appended>) {
        self.appends = self.appends.saturating_sub(1);
        for (Sent { seat: id, epoch, first, last }, result) in sent.iter().zip(results) {
            let Some(seat) = self.seat_mut(*id) else { continue };
            seat.appends = seat.appends.saturating_sub(1);
            seat.dirty = true; // what it wrote meanwhile may go now
            let phase = seat.phase;
            match result {
                Appended::Durable { first: position } => {
                    let (epoch, first, last) = (*epoch, *first, *last);
                    self.step_shard(
                        now,
                        id.shard,
                        ShardEvent::Appended { epoch, first, last, position },
                    );
                    if let Phase::Standing(from) = phase {
                        self.read_log(*id, Some(from)); // to find out whether it won
                    }
                }
                Appended::Unknown { why } | Appended::Rejected { why } => {
                    self.step_shard(now, id.shard, ShardEvent::AppendFailed { why });
                }
            }
        }
    }
}
