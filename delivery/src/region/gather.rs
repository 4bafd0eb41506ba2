//! Puts what the shards of a namespace commit together to whole transactions, in the order of their timestamps.
//! Pure.

use std::collections::{BTreeMap, VecDeque};

use participant::follow::Place;
use smallvec::SmallVec;
use wal_core::{RowMutation, ShardId, Timestamp, TxnId};

use crate::rules::{Rule, Rules, Strict};

/// Places of one shard that are remembered at most; beyond it the newest takes the place of the one before it.
const PLACES: usize = 256;
/// Timestamps that are looked at for the oldest of each shard.
const LOOKS: usize = 4_096;

/// A shard's part of a committed transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The transaction.
    pub id: TxnId,
    /// When the transaction committed.
    pub timestamp: Timestamp,
    /// What it writes, in this shard.
    pub rows: Vec<RowMutation>,
    /// Bytes of its rows.
    pub bytes: usize,
}

/// Whole transactions that are to be applied together in another region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Everything at or before this time is there already.
    pub after: Timestamp,
    /// With this batch everything is that committed at or before this time.
    pub until: Timestamp,
    /// What is written.
    pub rows: Vec<RowMutation>,
    /// How many transactions these are.
    pub transactions: u64,
    /// Bytes of the rows.
    pub bytes: usize,
}

/// What waits at one timestamp: mostly one transaction.
#[derive(Debug, Default)]
struct Waiting {
    rows: Vec<RowMutation>,
    ids: SmallVec<[TxnId; 1]>,
    bytes: usize,
    shards: SmallVec<[ShardId; 2]>,
    since_us: u64,
}

#[derive(Debug, Default)]
struct Source {
    closed: Timestamp,
    /// The latest of what was handed in.
    newest: Timestamp,
    /// Where the log may be read from again, each with the latest of what was handed in before.
    places: VecDeque<(Timestamp, Place)>,
    /// The newest of them before which everything has been applied.
    resume: Option<Place>,
}

/// Gathers the parts of transactions. `R` names the rules that it keeps: all of them, outside tests.
#[derive(Debug)]
pub struct Gather<R: Rules = Strict> {
    rules: R,
    sources: BTreeMap<ShardId, Source>,
    waiting: BTreeMap<Timestamp, Waiting>,
    bytes: usize,
    watermark: Timestamp,
}

impl<R: Rules> Gather<R> {
    /// For a namespace of so many shards, of which the other region has everything up to `watermark`.
    pub fn new(shards: u16, watermark: Timestamp) -> Self {
        Self::with_rules(shards, watermark, R::default())
    }

    /// The same with some rules.
    pub fn with_rules(shards: u16, watermark: Timestamp, rules: R) -> Self {
        let sources = (0..shards).map(|shard| (ShardId(shard), Source::default())).collect();
        Self { rules, sources, waiting: BTreeMap::new(), bytes: 0, watermark }
    }

    /// What was read of a shard, in the order of its log: some parts; where reading would go on behind them; and
    /// that whatever comes behind them committed later than `closed`. `now_us` is of a clock that only goes on.
    pub fn take(
        &mut self,
        now_us: u64,
        shard: ShardId,
        pieces: Vec<Piece>,
        place: Place,
        closed: Timestamp,
    ) {
        let Some(source) = self.sources.get_mut(&shard) else { return };
        source.closed = source.closed.max(closed);
        for piece in pieces {
            source.newest = source.newest.max(piece.timestamp);
            if piece.timestamp <= self.watermark && self.rules.holds(Rule::AppliedIsSkipped) {
                continue; // it is there: the log is read again from before it
            }
            let waiting = self
                .waiting
                .entry(piece.timestamp)
                .or_insert_with(|| Waiting { since_us: now_us, ..Waiting::default() });
            self.bytes += piece.bytes;
            waiting.bytes += piece.bytes;
            waiting.rows.extend(piece.rows);
            if !waiting.ids.contains(&piece.id) {
                waiting.ids.push(piece.id);
            }
            waiting.shards.push(shard);
        }
        if source.newest <= self.watermark || !self.rules.holds(Rule::ResumesBehindApplied) {
            source.places.clear();
            source.resume = Some(place);
            return;
        }
        if source.places.len() >= PLACES {
            source.places.pop_back();
        }
        source.places.push_back((source.newest, place));
    }

    /// The next batch: transactions of at most `max_bytes` together, but one at least. `None` if none is closed
    /// that is not there yet. The same again until [`Self::applied`].
    pub fn next(&self, max_bytes: usize) -> Option<Batch> {
        let closed = self.closed();
        self.waiting.first_key_value().filter(|(oldest, _)| **oldest <= closed)?;
        let after = self.watermark;
        let mut batch = Batch { after, until: closed, rows: Vec::new(), transactions: 0, bytes: 0 };
        let mut last = after;
        for (timestamp, waiting) in self.waiting.range(..=closed) {
            if batch.bytes > 0 && batch.bytes + waiting.bytes > max_bytes {
                batch.until = last;
                break;
            }
            last = *timestamp;
            batch.bytes += waiting.bytes;
            batch.transactions += waiting.ids.len() as u64;
            batch.rows.extend_from_slice(&waiting.rows);
        }
        Some(batch)
    }

    /// The other region has everything up to `until`.
    pub fn applied(&mut self, until: Timestamp) {
        self.watermark = self.watermark.max(until);
        let later = Timestamp(self.watermark.0.saturating_add(1));
        let left = self.waiting.split_off(&later);
        let gone = std::mem::replace(&mut self.waiting, left);
        self.bytes -= gone.values().map(|waiting| waiting.bytes).sum::<usize>();
        for source in self.sources.values_mut() {
            while source.places.front().is_some_and(|(newest, _)| *newest <= self.watermark) {
                source.resume = source.places.pop_front().map(|(_, place)| place);
            }
        }
    }

    /// Whatever is handed in from now on, of any shard, committed later than this.
    pub fn closed(&self) -> Timestamp {
        let closed = self.sources.values().map(|source| source.closed);
        let of_all =
            if self.rules.holds(Rule::AllShardsAreClosed) { closed.min() } else { closed.max() };
        of_all.unwrap_or_default()
    }

    /// Everything up to here is in the other region.
    pub const fn watermark(&self) -> Timestamp {
        self.watermark
    }

    /// Shards that hold up what has waited since `before_us` or longer: they have said nothing for so long.
    pub fn silent(&self, before_us: u64) -> Vec<ShardId> {
        let Some((oldest, waiting)) = self.waiting.first_key_value() else { return Vec::new() };
        if waiting.since_us > before_us || self.closed() >= *oldest {
            return Vec::new();
        }
        let newest = self.waiting.last_key_value().map_or(*oldest, |(newest, _)| *newest);
        let silent = self.sources.iter().filter(|(_, source)| source.closed < newest);
        silent.map(|(shard, _)| *shard).collect()
    }

    /// Whether more of a shard is to be read, if at most about `max_bytes` are to wait: those that the others
    /// wait for are read on in any case.
    pub fn has_room(&self, shard: ShardId, max_bytes: usize) -> bool {
        self.bytes < max_bytes
            || self.sources.get(&shard).is_some_and(|source| source.closed <= self.closed())
    }

    /// Where a shard's log may be read from again: everything before it has been applied.
    pub fn resume(&self, shard: ShardId) -> Option<&Place> {
        self.sources.get(&shard)?.resume.as_ref()
    }

    /// The oldest that waits of each shard from which something does.
    pub fn oldest(&self) -> BTreeMap<ShardId, Timestamp> {
        let mut oldest = BTreeMap::new();
        for (timestamp, waiting) in self.waiting.iter().take(LOOKS) {
            for shard in &waiting.shards {
                oldest.entry(*shard).or_insert(*timestamp);
            }
        }
        oldest
    }

    /// How many timestamps and bytes wait.
    pub fn waiting(&self) -> (usize, usize) {
        (self.waiting.len(), self.bytes)
    }
}
