//! Regions: installations that each have the namespace, and send each other what was committed.
//!
//! What concerns regions rides in transactions as rows of a table that no namespace declares and no store is
//! given, as messages do. They are only read, so they lock nobody out:
//!
//! | row | where | what it says |
//! |---|---|---|
//! | `to`, a byte | in every part of a transaction | it goes to these regions only (a bit for each number) |
//! | `pulse`, a byte | in parts of their own | nothing: it raises the shard's last timestamp, and with it what is closed; if the byte is 1 other regions are to be told of it |

use bytes::Bytes;

use crate::id::TableId;
use crate::row::RowKey;
use crate::txn::{RowOp, WriteOp};

/// The table that rows about regions are of.
pub const REGIONS: TableId = TableId(u32::MAX - 1);
/// Regions of one namespace: their numbers take two bits of every write time.
pub const MAX_REGIONS: usize = 4;

const TO: &[u8] = b"to";
const PULSE: &[u8] = b"pulse";

/// Some of the regions of a namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RegionSet(u8);

impl RegionSet {
    /// All of them.
    pub const ALL: Self = Self(u8::MAX);

    /// The same and the region with this number.
    #[must_use]
    pub const fn with(self, number: u8) -> Self {
        Self(self.0 | 1 << number)
    }

    /// Whether the region with this number is one of them.
    pub const fn has(self, number: u8) -> bool {
        self.0 & 1 << number != 0
    }

    /// The row that says so in a part.
    pub fn row(self) -> RowOp {
        row(RowKey {
            table: REGIONS,
            partition: Bytes::from_static(TO),
            clustering: Bytes::copy_from_slice(&[self.0]),
        })
    }

    /// Where the transaction of a part goes to: everywhere, if the part does not say.
    pub fn of(part: &[RowOp]) -> Self {
        let said = part.iter().rev().find(|op| op.key.table == REGIONS && op.key.partition == TO);
        said.and_then(|op| op.key.clustering.first()).map_or(Self::ALL, |bits| Self(*bits))
    }
}

/// The row of a part that only raises a shard's last timestamp. Where other regions are to be told of it, their
/// watermarks pass it.
pub(crate) fn pulse_row(is_told: bool) -> RowOp {
    let partition = Bytes::from_static(PULSE);
    let clustering = Bytes::copy_from_slice(&[u8::from(is_told)]);
    row(RowKey { table: REGIONS, partition, clustering })
}

/// Whether other regions are to be told of a part that has no rows for them.
pub fn announces(part: &[RowOp]) -> bool {
    let is_pulse = |op: &&RowOp| op.key.table == REGIONS && op.key.partition == PULSE;
    part.iter().rev().filter(is_pulse).any(|op| op.key.clustering.first() == Some(&1))
}

const fn row(key: RowKey) -> RowOp {
    RowOp { key, conditions: Vec::new(), write: WriteOp::None }
}
