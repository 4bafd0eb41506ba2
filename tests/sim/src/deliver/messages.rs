//! Messages of the transactions that clients submit.

use std::collections::BTreeMap;

use bytes::Bytes;
use wal_core::message::{MESSAGES, Message};
use wal_core::{CellOp, ColumnId, RowKey, WriteOp};

use super::plan::DeliveryPlan;
use crate::rng::Rng;
use crate::workload::number;

/// What the targets are called.
pub(super) const TARGETS: [&str; 2] = ["shop", "mail"];

/// How messages are drawn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Messages {
    targets: u8,
    ppm: u32,
}

impl Messages {
    pub(crate) const fn new(plan: &DeliveryPlan) -> Self {
        Self { targets: plan.targets, ppm: plan.messages_ppm }
    }

    /// The rows of a transaction's messages, if it has any. `partitions` are keys that others use, `written` is
    /// how many payloads there were before.
    pub(crate) fn draw(
        self,
        rng: &mut Rng,
        partitions: u64,
        written: &mut i64,
    ) -> Vec<(RowKey, WriteOp)> {
        let mut rows: BTreeMap<RowKey, Vec<CellOp>> = BTreeMap::new();
        let count = if rng.chance(self.ppm) { 1 + rng.below(3) as u16 } else { 0 };
        for index in 0..count {
            *written += 1;
            let key = number(rng.below(partitions) as i64);
            // Those without a key lie beside the others of a shard, each in a row of its own.
            let is_keyed = rng.chance(800_000);
            let clustering = if is_keyed { Bytes::new() } else { number(*written) };
            let row = RowKey { table: MESSAGES, partition: key.clone(), clustering };
            let cell = CellOp::Put {
                column: ColumnId(index),
                value: Message {
                    key: is_keyed.then_some(key),
                    content_type: "number".into(),
                    headers: Vec::new(),
                    payload: number(*written),
                    targets: self.draw_targets(rng),
                }
                .encode(),
            };
            rows.entry(row).or_default().push(cell);
        }
        let write = |cells| WriteOp::Cells { insert: true, cells };
        rows.into_iter().map(|(row, cells)| (row, write(cells))).collect()
    }

    fn draw_targets(self, rng: &mut Rng) -> Vec<String> {
        let all = &TARGETS[..usize::from(self.targets)];
        let first = rng.index(all.len());
        let both = rng.coin();
        let named = all.iter().enumerate().filter(|(index, _)| both || *index == first);
        named.map(|(_, name)| (*name).to_owned()).collect()
    }
}
