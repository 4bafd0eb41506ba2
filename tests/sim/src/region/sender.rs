//! One that sends to the other region: the gathering of production behind followers of every shard.

use bytes::Bytes;
use delivery::region::{Gather, PiecesTo};
use delivery::runtime::Picks as _;
use delivery::{Rule, Without};
use participant::follow::{Follower, Place, Scope, Told};
use wal_core::{Cell, CellOp, Position, RowOp, ShardId, Timestamp, WriteOp};

use crate::failure::{Check, Failure, ensure};

/// The pause after the other region has failed, at first, and at most.
const PAUSES_US: (u64, u64) = (20_000, 1_000_000);

/// How far each shard was read when that was last stored, and what had arrived by then.
pub(super) type Marks = Vec<(Timestamp, Place)>;

/// What is read and not there yet.
pub(super) struct Gathering {
    pub(super) gather: Gather<Without>,
    followers: Vec<Follower>,
    /// What is read next of each shard; 0 stands for the first record that is left.
    pub(super) next: Vec<u64>,
}

/// Something that was asked of the other region.
pub(super) struct UnderWay {
    pub(super) tried: u64,
    pub(super) until_us: u64,
    /// How many transactions are there once it has succeeded.
    transactions: u64,
}

/// A term of sending. It ends with its process.
pub(super) struct Sender {
    pub(super) slot: usize,
    pub(super) process: u64,
    /// What was stored when its term began.
    marks: Marks,
    /// None until the other region has said where it is.
    pub(super) gathering: Option<Gathering>,
    pub(super) under_way: Option<UnderWay>,
    tries: u64,
    /// How many transactions are there.
    pub(super) transactions: u64,
    /// Nothing is asked of the other region before.
    pub(super) not_before_us: u64,
    pause_us: u64,
    /// No other pulse is given before.
    pub(super) no_pulse_before_us: u64,
}

impl Sender {
    pub(super) const fn new(slot: usize, process: u64, marks: Marks) -> Self {
        Self {
            slot,
            process,
            marks,
            gathering: None,
            under_way: None,
            tries: 0,
            transactions: 0,
            not_before_us: 0,
            pause_us: PAUSES_US.0,
            no_pulse_before_us: 0,
        }
    }

    /// The other region has everything up to `watermark`: reading begins where that says.
    pub(super) fn begin(&mut self, watermark: Timestamp, rule: Option<Rule>) {
        self.under_way = None;
        let marks = std::mem::take(&mut self.marks);
        // One that was stored when more had arrived there is of no use: all that is left is read.
        let usable = |(stored, place): (Timestamp, Place)| {
            if stored <= watermark { place } else { Place::default() }
        };
        let places: Vec<Place> = marks.into_iter().map(usable).collect();
        self.gathering = Some(Gathering {
            gather: Gather::with_rules(places.len() as u16, watermark, Without(rule)),
            next: places.iter().map(|place| place.from.0).collect(),
            followers: (0..)
                .zip(places)
                .map(|(shard, place)| Follower::new(ShardId(shard), Scope::Parts, place))
                .collect(),
        });
    }

    /// Something is asked, with which so many more transactions are there; its number.
    pub(super) fn ask(&mut self, until_us: u64, transactions: u64) -> u64 {
        self.tries += 1;
        let transactions = self.transactions + transactions;
        self.under_way = Some(UnderWay { tried: self.tries, until_us, transactions });
        self.tries
    }

    /// What was asked has failed, or was not answered.
    pub(super) fn fail(&mut self, now_us: u64, retry_after_us: Option<u64>) {
        self.under_way = None;
        self.not_before_us = now_us + retry_after_us.unwrap_or(self.pause_us);
        self.pause_us = (self.pause_us * 2).min(PAUSES_US.1);
    }

    /// What was under way has been answered: the other region has everything up to `watermark`, so many
    /// transactions; if that is not said, those that were sent.
    pub(super) fn applied(&mut self, watermark: Timestamp, transactions: Option<u64>) {
        let sent = self.under_way.take().map(|it| it.transactions);
        self.transactions = transactions.or(sent).unwrap_or(self.transactions);
        self.pause_us = PAUSES_US.0;
        if let Some(gathering) = &mut self.gathering {
            gathering.gather.applied(watermark);
        }
    }

    /// Whether everything that it has read is there, and nothing is under way.
    pub(super) fn is_done(&self, now_us: u64) -> bool {
        let waits = |gathering: &Gathering| gathering.gather.waiting().0 > 0;
        self.under_way.is_none()
            && self.no_pulse_before_us <= now_us
            && !self.gathering.as_ref().is_none_or(waits)
    }
}

impl Gathering {
    /// Takes in what was read of a shard from its next record on.
    pub(super) fn read(
        &mut self,
        now_us: u64,
        shard: ShardId,
        from: u64,
        records: Vec<Bytes>,
        how: &How,
    ) -> Result<(), Failure> {
        let follower = &mut self.followers[usize::from(shard.0)];
        let next = &mut self.next[usize::from(shard.0)];
        *next = from;
        let mut pieces = Vec::new();
        for record in records {
            let told = follower.take(Position(*next), record);
            *next += 1;
            let told = told.map_err(|error| Failure::new(Check::Follow, error.to_string()))?;
            let Some(mut told) = told else { continue };
            if how.sends_received {
                own_again(&mut told);
            }
            let picked = how.picks.pick(&told);
            pieces.extend(picked.map_err(|why| Failure::new(Check::Follow, why))?);
        }
        let watermark = self.gather.watermark();
        ensure!(
            follower.unseen() <= watermark,
            Regions,
            "the log of shard {shard} begins at {}, and the other region has everything up to {watermark}",
            follower.unseen()
        );
        self.gather.take(now_us, shard, pieces, follower.place(), follower.closed());
        Ok(())
    }
}

/// How a sender reads.
pub(super) struct How {
    pub(super) picks: PiecesTo,
    /// Planted: what came from the other region is sent back.
    pub(super) sends_received: bool,
}

/// Makes what came from the other region look as if it had been written here.
fn own_again(told: &mut Told) {
    for (_, part) in &mut told.parts {
        *part = std::sync::Arc::new(part.iter().map(own_op).collect());
    }
}

/// What came from elsewhere, as if a client had written it here.
fn own_op(op: &RowOp) -> RowOp {
    let WriteOp::Merge(row) = &op.write else { return op.clone() };
    let cell = |cell: &Cell| match &cell.value {
        Some(value) => CellOp::Put { column: cell.column, value: value.clone() },
        None => CellOp::Delete { column: cell.column },
    };
    let write = match row.deleted_at {
        Some(_) => WriteOp::DeleteRow,
        None => WriteOp::Cells {
            insert: row.marker_at.is_some(),
            cells: row.cells.iter().map(cell).collect(),
        },
    };
    RowOp { write, ..op.clone() }
}
