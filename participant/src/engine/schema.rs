//! What the engine must know of a namespace's tables.

use wal_core::message::MESSAGES;
use wal_core::record::{NEWEST_WRITE_VERSION, REGIONS_SINCE};
use wal_core::region::REGIONS;
use wal_core::value::ColumnType;
use wal_core::{ColumnId, TableId};

/// The tables of a namespace, by number.
#[derive(Clone, Debug)]
pub struct EngineSchema {
    /// The version of the namespace that this is. What was validated under a later one is refused for now.
    pub version: u32,
    /// Which kinds of records may be written.
    pub write_version: u32,
    /// The number of the region that the shard is in: every write time says it.
    pub region: u8,
    /// Whether other regions send what they have committed: it may be older than what is here.
    pub merges: bool,
    /// Indexed by [`TableId`].
    pub tables: Vec<TableTypes>,
}

/// One table.
#[derive(Clone, Debug)]
pub struct TableTypes {
    /// Indexed by [`ColumnId`].
    pub columns: Vec<ColumnType>,
    /// Whether Handfast alone writes it: its rows may be cached, blind writes need no read.
    pub owned: bool,
    /// Another region, if the table is written there and not here.
    pub home: Option<String>,
}

impl Default for EngineSchema {
    /// No tables.
    fn default() -> Self {
        let (region, merges, tables) = (0, false, Vec::new());
        Self { version: 1, write_version: NEWEST_WRITE_VERSION, region, merges, tables }
    }
}

impl EngineSchema {
    /// The type of a column.
    pub fn column(&self, table: TableId, column: ColumnId) -> Option<ColumnType> {
        self.tables.get(table.0 as usize)?.columns.get(column.0 as usize).copied()
    }

    /// The other region where a table is written, if it is not written here.
    pub fn home_elsewhere(&self, table: TableId) -> Option<&str> {
        self.tables.get(table.0 as usize)?.home.as_deref()
    }

    /// Whether checkpoints say the newest version of the namespace that stands in the log.
    pub(super) const fn checkpoints_say_version(&self) -> bool {
        self.write_version >= REGIONS_SINCE
    }

    /// Whether Handfast alone writes the table.
    pub fn is_owned(&self, table: TableId) -> bool {
        // What has no table is nobody else's, and is never read.
        table == MESSAGES
            || table == REGIONS
            || self.tables.get(table.0 as usize).is_some_and(|table| table.owned)
    }
}
