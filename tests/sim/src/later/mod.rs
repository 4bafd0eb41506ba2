//! What is due later: in some worlds transactions schedule others, which the processes that deliver do in time.
//!
//! ```text
//!  log ──▶ delivery engine ──▶ write-behind ──▶ index      (simulated, with the failures of the store of deliveries)
//!             (a course like any other)  └──▶ schedule ──▶ read the row, then a transaction, by way of the commit
//!                                                          engine of the same process
//! ```
//!
//! Schedule and write-behind are those of production. What is done is a transaction of the history, so the oracle
//! judges it as any other: nothing is done twice, nor after it was cancelled. Beside that a part that is
//! pending must be done in time, and none before its time.

mod fire;
mod index;
mod keeper;
mod parts;

use std::sync::Arc;

use delivery::schedule::DelayedTable;
use wal_core::TableId;
use wal_core::namespace::{DELAYED_CQL, Namespace};
use wal_core::value::ColumnType;

pub(crate) use fire::FIRES_FROM;
pub(crate) use index::Index;
pub(crate) use keeper::Keeper;
pub(crate) use parts::Parts;

use crate::rng::Rng;

/// The table that keeps what is due later.
pub(crate) const LATER: TableId = TableId(2);
/// Its columns.
pub(crate) const COLUMNS: [ColumnType; 5] =
    [ColumnType::Uuid, ColumnType::Int, ColumnType::Timestamp, ColumnType::Blob, ColumnType::Text];

/// What a seed decides of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LaterPlan {
    /// How many transactions in a million schedule, cancel, or schedule anew.
    ppm: u32,
    /// The longest delay.
    longest_ms: u64,
    /// Parts of a shard in memory at most.
    held: usize,
    /// Those of them that the index does not have.
    held_changes: usize,
    in_flight: usize,
    /// After so long what was begun is begun again.
    patience_us: u64,
}

impl LaterPlan {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        Self {
            ppm: rng.range(100_000..500_000) as u32,
            longest_ms: rng.scale(200, 8_000),
            held: *rng.pick(&[4, 8, 40, 1_000]),
            held_changes: *rng.pick(&[1, 4, 100]),
            in_flight: 1 + rng.index(6),
            patience_us: rng.scale(100_000, 3_000_000),
        }
    }
}

/// The table as the engines of production see it.
pub(crate) fn table() -> DelayedTable {
    let other = "[[table]]\ncql = \"CREATE TABLE NAME (id bigint PRIMARY KEY)\"\n";
    let (first, second) = (other.replace("NAME", "accounts"), other.replace("NAME", "notes"));
    let file = format!(
        "name = \"bank\"\nshards = 1\n[delay]\ntable = \"later\"\n{first}{second}[[table]]\ncql = \"{DELAYED_CQL}\"\n"
    );
    let namespace = Namespace::from_toml(&file).expect("the file is as it should be");
    let table = namespace.delayed_table().expect("it has one");
    assert_eq!(table.id(), LATER, "tables are numbered as they come");
    DelayedTable::new(Arc::clone(table)).expect("it has the columns")
}
