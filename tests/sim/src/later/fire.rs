//! Doing what is due, as a server does: by way of its own commit engine, like any client.

use coordinator::api::{Answer, Call, CallAnswer, Level, ReadAnswer};
use delivery::Name;
use delivery::schedule::{Change, DelayedTable, Ended, Fired, Noted};
use wal_core::{
    AbortReason, CellOp, ColumnId, Condition, ConditionKind, Millis, Row, RowKey, RowOp, ShardId,
    Timestamp, TxnId, WriteOp,
};

use crate::client::{About, Pending};
use crate::clock::EPOCH_US;
use crate::deliver::Heard;
use crate::failure::{Failure, ensure};
use crate::message::{Event as Happens, Message};
use crate::workload::{Kind, as_number, number};
use crate::world::{World, trace};

/// Calls of a process on this slot are those of the client of this number, and so on down.
pub(crate) const FIRES_FROM: usize = usize::MAX;
/// A wall clock that goes ahead by more is doubted for sure.
const STEP_US: i64 = 1_050_000;
/// By so much what is believed meanwhile may be wrong: clocks run at other rates.
const SLACK_US: i64 = 250_000;
/// For so long a jump is doubted, less a little.
const DOUBTED_US: u64 = 9_500_000;

/// How far the doing of a part is.
#[derive(Clone, Debug)]
pub(crate) struct Firing {
    shard: ShardId,
    name: Name,
    time: Millis,
    stage: Stage,
}

#[derive(Clone, Debug)]
enum Stage {
    /// Its row is being read.
    Reading,
    /// It is being done; its row as it was read.
    Doing(Row),
    /// It is being refused.
    Refusing,
}

impl World {
    /// Begins to do a part that is due by this time.
    pub(super) fn fire(&mut self, slot: usize, shard: ShardId, name: Name, time: Millis) {
        let now = self.clock(slot);
        if let Some(keeper) = self.keeper(slot) {
            keeper.behind.fires(now, shard, name);
        }
        trace!(self, "n{slot} s{shard} does {name}, which is due by {time}");
        let key = self.row_of(name);
        let what = Call::Read { keys: vec![(shard, key.clone())] };
        let firing = Firing { shard, name, time, stage: Stage::Reading };
        self.call_own(slot, firing, About::Read { keys: vec![key] }, what);
    }

    fn row_of(&self, name: Name) -> RowKey {
        self.parts().table().row_of(name)
    }

    fn parts(&self) -> &super::Parts {
        self.space.workload.later.as_ref().expect("something is due only where it is scheduled")
    }

    /// Calls the commit engine of the same process.
    fn call_own(&mut self, slot: usize, firing: Firing, about: About, what: Call) {
        let call = self.number();
        let patience_us = self.parts().plan().patience_us;
        let Some((process, _)) = self.deliverer(slot) else { return };
        let Some(keeper) = self.keeper(slot) else { return };
        keeper.firings.insert(call, firing);
        let (client, sent_us) = (FIRES_FROM - slot, self.now_us);
        self.space.calls.insert(call, Pending { client, about, sent_us, answered: false });
        let delay = self.rng.below(200);
        let message = Box::new(Message::Call { call, what });
        self.schedule(delay, Happens::Deliver { slot, message });
        let what = Box::new(Heard::Impatient { call });
        self.schedule(patience_us, Happens::Heard { slot, process, what });
    }

    /// What was begun was not answered in time. If it is done after all, its row is gone when it is looked at again.
    pub(crate) fn on_impatient(&mut self, slot: usize, call: u64) -> Result<(), Failure> {
        match self.keeper(slot).and_then(|keeper| keeper.firings.remove(&call)) {
            Some(firing) => self.on_fired(slot, &firing, Fired::Again { why: String::new() }),
            None => Ok(()),
        }
    }

    /// The commit engine answers.
    pub(crate) fn on_fire_answered(
        &mut self,
        slot: usize,
        call: u64,
        answer: CallAnswer,
    ) -> Result<(), Failure> {
        let until = self.machines[slot].paused_until;
        if until > self.now_us {
            let (client, answer) = (FIRES_FROM - slot, Box::new(answer));
            self.schedule(until - self.now_us, Happens::Answer { client, call, answer });
            return Ok(());
        }
        let Some(firing) = self.keeper(slot).and_then(|keeper| keeper.firings.remove(&call)) else {
            return Ok(());
        };
        let again = Fired::Again { why: String::new() };
        let fired = match (firing.stage.clone(), answer) {
            (Stage::Reading, CallAnswer::Read(ReadAnswer::Rows(mut rows))) => {
                let row = rows.pop().unwrap_or_default();
                match self.look(slot, &firing, row)? {
                    Some(fired) => fired,
                    None => return Ok(()),
                }
            }
            (Stage::Doing(_), CallAnswer::Submit(Answer::Committed { .. })) => Fired::Done,
            (Stage::Doing(row), CallAnswer::Submit(Answer::Aborted { reason, .. }))
                if self.is_for_good(&firing, &reason) =>
            {
                self.refuse(slot, firing, &row);
                return Ok(());
            }
            (Stage::Refusing, CallAnswer::Submit(Answer::Committed { timestamp, .. })) => {
                Fired::Refused { written: timestamp }
            }
            _ => again,
        };
        self.on_fired(slot, &firing, fired)
    }

    /// Looks at the row of a part, and does what it says if it is due.
    fn look(&mut self, slot: usize, firing: &Firing, row: Row) -> Result<Option<Fired>, Failure> {
        let table = self.parts().table().clone();
        if !row.exists() {
            return Ok(Some(Fired::Gone));
        }
        if let Some(written) = written(&row, table.problem()) {
            return Ok(Some(Fired::Refused { written }));
        }
        let due = row.get(table.due()).and_then(|value| DelayedTable::time(value));
        let at = written(&row, table.due());
        let (Some(due), Some(written)) = (due, at) else { return Ok(Some(Fired::Gone)) };
        if due > firing.time {
            return Ok(Some(Fired::Later { due, written }));
        }
        self.check_time(slot, firing.name, due)?;
        let body = row.get(table.body()).map_or(0, |body| as_number(body));
        let mut ops = self.parts().body(body);
        let conditions = ops.iter().map(|op| op.conditions.len() as u32).sum();
        ops.push(RowOp {
            key: table.row_of(firing.name),
            conditions: vec![Condition {
                index: conditions,
                kind: ConditionKind::Version(row.version()),
            }],
            write: WriteOp::DeleteRow,
        });
        ops.sort_by(|a, b| a.key.cmp(&b.key));
        let firing = Firing { stage: Stage::Doing(row), ..firing.clone() };
        self.submit_own(slot, firing, ops);
        Ok(None)
    }

    /// Nothing is done before its time, by a clock that is doubted when it jumps.
    fn check_time(&mut self, slot: usize, name: Name, due: Millis) -> Result<(), Failure> {
        let now = self.clock(slot);
        ensure!(
            due <= now.millis(),
            Delay,
            "n{slot} does {name} at {} by its own clock, and it is due at {due}",
            now.millis()
        );
        // Who was started since believes what the clock says.
        if let Some((at_us, ahead_us)) = self.machines[slot].jumped
            && self.now_us < at_us + DOUBTED_US
            && self.keeper(slot).is_some_and(|keeper| keeper.since_us < at_us)
        {
            let believed = EPOCH_US + self.now_us as i64 + ahead_us + SLACK_US;
            ensure!(
                due.0 as i64 * 1_000 <= believed,
                Delay,
                "n{slot} does {name}, due at {due}, at {believed} us, as its clock has jumped"
            );
        }
        Ok(())
    }

    fn submit_own(&mut self, slot: usize, firing: Firing, ops: Vec<RowOp>) {
        let id = TxnId::from_parts(Millis(self.true_millis()), self.rng.next_u128());
        let fingerprint = self.rng.next_u128();
        let version = self.space.plan.version(self.now_us);
        let txn = self.space.workload.transaction(version, id, fingerprint, ops);
        let index = self.space.history.add(txn, Kind::Blind, None);
        if matches!(firing.stage, Stage::Doing(_))
            && let Some(parts) = &mut self.space.workload.later
        {
            let operation = *parts.tried.entry(firing.name).or_insert(index);
            self.space.history.txns[index].operation = operation;
        }
        let entry = &mut self.space.history.txns[index];
        (entry.first_sent_us, entry.sent) = (self.now_us, 1);
        let txn = std::sync::Arc::clone(&entry.txn);
        let level = Level::Committed;
        let about = About::Submit { txn: index, level };
        self.call_own(slot, firing, about, Call::Submit { txn, level });
    }

    /// Writes into the row that it cannot be done.
    fn refuse(&mut self, slot: usize, firing: Firing, row: &Row) {
        let key = self.row_of(firing.name);
        let column = self.parts().table().problem();
        let cells = vec![CellOp::Put { column, value: number(0) }];
        let kind = ConditionKind::Version(row.version());
        let conditions = vec![Condition { index: 0, kind }];
        let write = WriteOp::Cells { insert: false, cells };
        let firing = Firing { stage: Stage::Refusing, ..firing };
        self.submit_own(slot, firing, vec![RowOp { key, conditions, write }]);
    }

    /// Whether it can never be done as it is.
    fn is_for_good(&self, firing: &Firing, reason: &AbortReason) -> bool {
        match reason {
            AbortReason::ConditionFailed { key, .. } => *key != self.row_of(firing.name),
            AbortReason::Overflow { .. }
            | AbortReason::Schema { .. }
            | AbortReason::TimestampInFuture { .. } => true,
            AbortReason::Fenced | AbortReason::IdReused => false,
        }
    }

    /// How it ended is told to the engines.
    fn on_fired(&mut self, slot: usize, firing: &Firing, fired: Fired) -> Result<(), Failure> {
        trace!(self, "n{slot} {}: {fired:?}", firing.name);
        let now = self.clock(slot);
        let (shard, name) = (firing.shard, firing.name);
        self.count(match &fired {
            Fired::Done => "part done",
            Fired::Gone => "part gone",
            Fired::Later { .. } => "part due later",
            Fired::Refused { .. } => "part refused",
            Fired::Again { .. } => "part tried again",
        });
        let Some(keeper) = self.keeper(slot) else { return Ok(()) };
        let (change, written) = match fired {
            Fired::Done | Fired::Gone => {
                if fired == Fired::Done {
                    keeper.behind.done(shard, name, &mut keeper.answered);
                } else {
                    keeper.behind.missing(shard, name, &mut keeper.answered);
                }
                keeper.schedule.fired(now, shard, name, Ended::Changed(Change::Gone));
                return self.keep(slot);
            }
            Fired::Again { .. } => {
                keeper.behind.not_done(shard, name);
                keeper.schedule.fired(now, shard, name, Ended::Again);
                return self.keep(slot);
            }
            Fired::Later { due, written } => (Change::Due(due), written),
            Fired::Refused { written } => (Change::Refused, written),
        };
        let noted = Noted { name, shard, written, change };
        keeper.behind.correct(now, noted, &mut keeper.answered);
        keeper.schedule.fired(now, shard, name, Ended::Changed(change));
        self.keep(slot)
    }

    /// A wall clock moves by itself: what is due may be done no earlier for that, while it is doubted.
    pub(crate) fn note_clock(&mut self, slot: usize, before_us: i64) {
        let ahead = |wall_us: i64, now_us: u64| wall_us - EPOCH_US - now_us as i64;
        let (before, after) =
            (ahead(before_us, self.now_us), ahead(self.clock(slot).wall_us, self.now_us));
        // Two moves in a row are not reckoned with: what is believed then is not so simple.
        let is_alone =
            self.machines[slot].jumped.is_none_or(|(at, _)| self.now_us > at + DOUBTED_US);
        let jumps = after - before > STEP_US;
        self.machines[slot].jumped = (jumps && is_alone).then_some((self.now_us, before));
    }

    /// Whether nothing is pending any more.
    pub(crate) fn has_done_all(&self) -> bool {
        let Some(parts) = &self.space.workload.later else { return true };
        let problem = parts.table().problem();
        let mut rows = self.space.store.rows().iter();
        !rows.any(|(key, row)| {
            key.table == super::LATER && row.exists() && row.get(problem).is_none()
        })
    }
}

/// When the transaction committed that wrote the live value of a column.
fn written(row: &Row, column: ColumnId) -> Option<Timestamp> {
    let cell = row.cells.iter().find(|cell| cell.column == column)?;
    cell.value.is_some().then_some(cell.timestamp.of_delete())
}
