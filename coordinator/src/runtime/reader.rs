//! Reads a shard's log for an engine that is to lead it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, bounded};
use wal_core::Position;
use wal_core::log::{IntentLog, LogError};

use super::handle::Input;
use super::seat::SeatId;

/// Bytes of records handed over at a time, roughly.
const CHUNK_BYTES: usize = 1 << 20;
/// Chunks handed over and not yet taken in: so much of a log is in memory.
const CHUNKS_AHEAD: usize = 4;

/// A part of the log, in order.
pub(super) struct Chunk {
    records: Vec<(Position, Bytes)>,
    /// Gives the reader leave to go on once the chunk is dropped.
    _leave: Leave,
}

impl Chunk {
    /// The records. The reader goes on at once: what it reads next waits behind these.
    pub(super) fn into_records(self) -> Vec<(Position, Bytes)> {
        self.records
    }
}

struct Leave(Sender<()>);

impl Drop for Leave {
    fn drop(&mut self) {
        let _ = self.0.try_send(()); // the reader may be gone
    }
}

/// Hands over a shard's log, from a thread of its own: from `from`, or from where the newest checkpoint
/// starts, to its end as it is now. Then says where it ended.
pub(super) fn read(
    log: Arc<dyn IntentLog>,
    seat: SeatId,
    from: Option<Position>,
    core: Sender<Input>,
) -> std::io::Result<()> {
    let job = move || {
        let end = visit(&*log, seat, from, &core);
        let _ = core.send(Input::ReadTo { seat, end }); // the core may be gone
    };
    std::thread::Builder::new().name(format!("log-reader-{}", seat.shard)).spawn(job)?;
    Ok(())
}

fn visit(
    log: &dyn IntentLog,
    seat: SeatId,
    from: Option<Position>,
    core: &Sender<Input>,
) -> Result<Position, LogError> {
    let from = match from {
        Some(from) => from,
        None => log.hint(seat.shard)?.unwrap_or_default(),
    };
    let (leave, may_go): (Sender<()>, Receiver<()>) = bounded(CHUNKS_AHEAD);
    for _ in 0..CHUNKS_AHEAD {
        let _ = leave.try_send(()); // there is room for so many
    }
    let mut records = Vec::new();
    let mut bytes = 0;
    let hand_over = |records: Vec<(Position, Bytes)>| {
        let gone = || LogError::Stopped("the namespace is being stopped".to_owned());
        may_go.recv().map_err(|_| gone())?;
        let chunk = Chunk { records, _leave: Leave(leave.clone()) };
        core.send(Input::Logged { seat, chunk }).map_err(|_| gone())
    };
    let next = log.replay(&BTreeMap::from([(seat.shard, from)]), &mut |_, position, record| {
        bytes += record.len();
        records.push((position, record));
        if bytes >= CHUNK_BYTES {
            bytes = 0;
            hand_over(std::mem::take(&mut records))?;
        }
        Ok(())
    })?;
    if !records.is_empty() {
        hand_over(records)?;
    }
    Ok(next.get(&seat.shard).copied().unwrap_or(from))
}
