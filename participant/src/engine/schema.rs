//! What the engine must know of a namespace's tables.

use wal_core::message::MESSAGES;
use wal_core::record::NEWEST_WRITE_VERSION;
use wal_core::value::ColumnType;
use wal_core::{ColumnId, TableId};

/// The tables of a namespace, by number.
#[derive(Clone, Debug)]
pub struct EngineSchema {
    /// The version of the namespace that this is. What was validated under a later one is refused for now.
    pub version: u32,
    /// Which kinds of records may be written.
    pub write_version: u32,
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
}

impl Default for EngineSchema {
    /// No tables.
    fn default() -> Self {
        Self { version: 1, write_version: NEWEST_WRITE_VERSION, tables: Vec::new() }
    }
}

impl EngineSchema {
    /// The type of a column.
    pub fn column(&self, table: TableId, column: ColumnId) -> Option<ColumnType> {
        self.tables.get(table.0 as usize)?.columns.get(column.0 as usize).copied()
    }

    /// Whether Handfast alone writes the table.
    pub fn is_owned(&self, table: TableId) -> bool {
        // Messages are nobody else's, and are never read.
        table == MESSAGES || self.tables.get(table.0 as usize).is_some_and(|table| table.owned)
    }
}
