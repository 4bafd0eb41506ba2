//! What goes to another region.

use participant::follow::Told;
use wal_core::message::MESSAGES;
use wal_core::region::{RegionSet, announces};
use wal_core::{RowMutation, TableId};

use super::gather::Piece;
use crate::runtime::Picks;

/// What goes to another region: what was committed here, but messages, and unless its transaction names others.
#[derive(Clone, Debug)]
pub struct PiecesTo {
    /// The region's number.
    pub region: u8,
    /// The table that says what has arrived here: each region has its own.
    pub arrived: TableId,
}

impl Picks for PiecesTo {
    type Item = Piece;

    fn pick(&self, told: &Told) -> Result<Vec<Piece>, String> {
        let goes = |part: &[_]| RegionSet::of(part).has(self.region);
        if !told.parts.iter().all(|(_, part)| goes(part)) {
            return Ok(Vec::new());
        }
        let rows = told.written_here(|table| table != self.arrived && table != MESSAGES);
        if rows.is_empty() && !told.parts.iter().any(|(_, part)| announces(part)) {
            return Ok(Vec::new());
        }
        let size = |row: &RowMutation| row.key.size_bytes() + row.delta.size_bytes();
        let bytes = rows.iter().map(size).sum();
        Ok(vec![Piece { id: told.id, timestamp: told.timestamp, rows, bytes }])
    }

    fn bytes(&self, piece: &Piece) -> usize {
        piece.bytes
    }
}
