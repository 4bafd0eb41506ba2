//! What clients schedule, cancel, and schedule anew.

use std::collections::BTreeMap;

use delivery::Name;
use delivery::schedule::DelayedTable;
use wal_core::{CellOp, ConditionKind, Millis, RowKey, RowOp, TxnId, WriteOp};

use super::LaterPlan;
use crate::rng::Rng;
use crate::workload::number;

/// Everything that was ever scheduled by a client, whether that committed or not.
pub(crate) struct Parts {
    plan: LaterPlan,
    table: DelayedTable,
    names: Vec<Name>,
    /// What each does, by the number that stands in its row's body.
    bodies: Vec<Vec<RowOp>>,
    /// The first try to do each: all that do it are one operation, which is done once.
    pub(super) tried: BTreeMap<Name, usize>,
    /// What time it is.
    pub(crate) now: Millis,
}

impl Parts {
    pub(crate) fn new(plan: LaterPlan) -> Self {
        let table = super::table();
        let (names, bodies, tried) = (Vec::new(), Vec::new(), BTreeMap::new());
        Self { plan, table, names, bodies, tried, now: Millis(0) }
    }

    pub(crate) const fn plan(&self) -> &LaterPlan {
        &self.plan
    }

    pub(crate) const fn table(&self) -> &DelayedTable {
        &self.table
    }

    /// What a part does.
    pub(crate) fn body(&self, number: i64) -> Vec<RowOp> {
        self.bodies[number as usize].clone()
    }

    /// A row that a transaction writes beside others, if it concerns what is due later at all. `body` draws what is
    /// to be done.
    pub(crate) fn draw(
        &mut self,
        rng: &mut Rng,
        body: impl FnOnce(&mut Rng) -> Vec<RowOp>,
    ) -> Option<(RowKey, Option<ConditionKind>, WriteOp)> {
        if !rng.chance(self.plan.ppm) {
            return None;
        }
        let due = Millis(self.now.0 + rng.scale(1, self.plan.longest_ms));
        let put = CellOp::Put { column: self.table.due(), value: number(due.0 as i64) };
        let known = self.names.len();
        if known == 0 || rng.chance(700_000) {
            let name = Name { id: TxnId::from_parts(self.now, rng.next_u128()), index: 0 };
            let body_of = number(self.bodies.len() as i64);
            self.bodies.push(body(rng));
            self.names.push(name);
            let cells = vec![put, CellOp::Put { column: self.table.body(), value: body_of }];
            let write = WriteOp::Cells { insert: true, cells };
            return Some((self.table.row_of(name), None, write));
        }
        // Of those that were scheduled last.
        let name = self.names[known - 1 - rng.index(known.min(6))];
        let write = if rng.coin() {
            WriteOp::DeleteRow
        } else {
            let cells = vec![put, CellOp::Delete { column: self.table.problem() }];
            WriteOp::Cells { insert: false, cells }
        };
        Some((self.table.row_of(name), Some(ConditionKind::Exists), write))
    }
}
