//! Rows as cells with write times, and the one place that knows Cassandra's rules for merging them.
//!
//! A row is the set of its cells, a row marker (written by `INSERT`) and a row tombstone. Merging is
//! commutative, associative and idempotent: that is what makes reapplying a commit harmless.

use bytes::Bytes;
use xxhash_rust::xxh3::Xxh3;

use crate::id::{ColumnId, TableId};
use crate::time::Timestamp;

/// The full name of a row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowKey {
    /// The table.
    pub table: TableId,
    /// The partition key as Cassandra serialises it (its token is the hash of these bytes): the value
    /// itself if it is one column, else for each column two bytes of length, the value, a zero byte.
    pub partition: Bytes,
    /// The clustering columns, each as four bytes of length and the value; empty if there are none.
    pub clustering: Bytes,
}

impl RowKey {
    /// Memory and log bytes that the key takes, roughly.
    pub fn size_bytes(&self) -> usize {
        4 + self.partition.len() + self.clustering.len()
    }
}

/// One cell: a value or, without one, a tombstone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// Which column.
    pub column: ColumnId,
    /// When it was written.
    pub timestamp: Timestamp,
    /// The value in CQL's binary form; `None` is a tombstone.
    pub value: Option<Bytes>,
}

impl Cell {
    /// Whether this cell wins over `other` of the same column: the later time; at equal times a
    /// tombstone, then the greater bytes.
    fn wins_over(&self, other: &Self) -> bool {
        if self.timestamp != other.timestamp {
            return self.timestamp > other.timestamp;
        }
        match (&self.value, &other.value) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(a), Some(b)) => a >= b,
        }
    }
}

/// A cell of a [`RowMutation`].
pub type CellMutation = Cell;

/// What a committed transaction does to one row. The same shape as a row, and merged like one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowMutation {
    /// Which row.
    pub key: RowKey,
    /// The cells, marker and tombstone to merge in.
    pub delta: Row,
}

/// An opaque version of a row: equal versions mean equal content and write times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowVersion(pub u128);

/// The merged state of one row. Absent rows are the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Time of the row tombstone: it covers the marker and every cell of its time or earlier.
    pub deleted_at: Option<Timestamp>,
    /// Time of the row marker: the row exists even without cells.
    pub marker_at: Option<Timestamp>,
    /// Cells sorted by column, at most one each, tombstones included.
    pub cells: Vec<Cell>,
    /// Whether the store that this was read from cannot tell if there is a marker: CQL shows none, and
    /// a row with live cells is returned with or without one. See [`Self::is_decided`].
    pub marker_unknown: bool,
}

impl Row {
    /// The write time of a marker that is known to be there, but not since when: before every other.
    pub const SOME_TIME: Timestamp = Timestamp(i64::MIN);

    /// Merges `delta` in, by Cassandra's rules. What `delta` does not know of its marker is not taken
    /// over: the row that was read is merged into, never in.
    pub fn merge(&mut self, delta: &Row) {
        if delta.deleted_at > self.deleted_at {
            self.deleted_at = delta.deleted_at;
            let covered = self.deleted_at;
            self.cells.retain(|cell| Some(cell.timestamp) > covered);
            if self.marker_at <= covered {
                self.marker_at = None;
            }
            self.marker_unknown = false;
        }
        if delta.marker_at > self.marker_at && delta.marker_at > self.deleted_at {
            self.marker_at = delta.marker_at;
        }
        for cell in &delta.cells {
            if Some(cell.timestamp) > self.deleted_at {
                self.merge_cell(cell);
            }
        }
    }

    fn merge_cell(&mut self, cell: &Cell) {
        match self.cells.binary_search_by_key(&cell.column, |c| c.column) {
            Ok(index) => {
                if cell.wins_over(&self.cells[index]) {
                    self.cells[index] = cell.clone();
                }
            }
            Err(index) => self.cells.insert(index, cell.clone()),
        }
    }

    /// Takes out everything that was written between these times, both included.
    pub fn remove_written(&mut self, from: Timestamp, until: Timestamp) {
        let written = |at: &Timestamp| (from..=until).contains(at);
        self.deleted_at = self.deleted_at.filter(|at| !written(at));
        self.marker_at = self.marker_at.filter(|at| !written(at));
        self.cells.retain(|cell| !written(&cell.timestamp));
    }

    /// Whether a CQL `SELECT` would return the row.
    pub fn exists(&self) -> bool {
        self.marker_at.is_some() || self.cells.iter().any(|cell| cell.value.is_some())
    }

    /// Whether what is here tells if the row exists. If it does not, every live cell that was read has
    /// been deleted since, and the store must be asked again once it knows: it then shows the row if
    /// there is a marker, and nothing if there is none.
    pub fn is_decided(&self) -> bool {
        !self.marker_unknown || self.exists()
    }

    /// What a reader of plain CQL sees of the row: live cells and their write times, and whether there
    /// is a row at all. Tombstones are not shown, nor when a marker was written; a row without live
    /// cells has one, of [`Self::SOME_TIME`].
    #[must_use]
    pub fn shown(&self) -> Self {
        let cells: Vec<Cell> =
            self.cells.iter().filter(|cell| cell.value.is_some()).cloned().collect();
        let only_marker = cells.is_empty() && self.marker_at.is_some();
        Self {
            deleted_at: None,
            marker_at: only_marker.then_some(Self::SOME_TIME),
            marker_unknown: !cells.is_empty(),
            cells,
        }
    }

    /// The live value of a column.
    pub fn get(&self, column: ColumnId) -> Option<&Bytes> {
        let index = self.cells.binary_search_by_key(&column, |c| c.column).ok()?;
        self.cells[index].value.as_ref()
    }

    /// The oldest write time in the row.
    pub fn oldest(&self) -> Option<Timestamp> {
        let cells = self.cells.iter().map(|cell| cell.timestamp);
        cells.chain(self.marker_at).chain(self.deleted_at).min()
    }

    /// The newest write time in the row.
    pub fn newest(&self) -> Option<Timestamp> {
        let cells = self.cells.iter().map(|cell| cell.timestamp).max();
        cells.max(self.marker_at).max(self.deleted_at)
    }

    /// A hash over existence and every live cell's column, value and write time. Only what a CQL
    /// reader can see goes in, so that a row read from the store and one kept in memory agree.
    pub fn version(&self) -> RowVersion {
        let mut hash = Xxh3::new();
        hash.update(&[u8::from(self.exists())]);
        for cell in &self.cells {
            if let Some(value) = &cell.value {
                hash.update(&cell.column.0.to_le_bytes());
                hash.update(&cell.timestamp.0.to_le_bytes());
                hash.update(&(value.len() as u64).to_le_bytes());
                hash.update(value);
            }
        }
        RowVersion(hash.digest128())
    }

    /// Whether merging this row changes nothing anywhere.
    pub fn is_empty(&self) -> bool {
        self.deleted_at.is_none() && self.marker_at.is_none() && self.cells.is_empty()
    }

    /// Memory that the row takes, roughly.
    pub fn size_bytes(&self) -> usize {
        let cells: usize =
            self.cells.iter().map(|cell| 48 + cell.value.as_ref().map_or(0, Bytes::len)).sum();
        48 + cells
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cell() -> impl Strategy<Value = Cell> {
        (0u16..3, 0i64..6, proptest::option::of(0u8..3)).prop_map(|(column, at, value)| Cell {
            column: ColumnId(column),
            timestamp: Timestamp(at),
            value: value.map(|byte| Bytes::copy_from_slice(&[byte])),
        })
    }

    fn delta() -> impl Strategy<Value = Row> {
        (
            proptest::option::of(0i64..6),
            proptest::option::of(0i64..6),
            proptest::collection::vec(cell(), 0..3),
        )
            .prop_map(|(deleted, marker, cells)| {
                let mut row = Row::default();
                row.merge(&Row {
                    deleted_at: deleted.map(Timestamp),
                    marker_at: marker.map(Timestamp),
                    ..Row::default()
                });
                for cell in cells {
                    row.merge(&Row { cells: vec![cell], ..Row::default() });
                }
                row
            })
    }

    fn merged<'a>(deltas: impl IntoIterator<Item = &'a Row>) -> Row {
        let mut row = Row::default();
        deltas.into_iter().for_each(|delta| row.merge(delta));
        row
    }

    proptest! {
        #[test]
        fn merging_in_any_order_and_any_number_of_times_gives_one_row(
            deltas in proptest::collection::vec(delta(), 0..6),
        ) {
            let once = merged(&deltas);
            prop_assert_eq!(&once, &merged(deltas.iter().rev()));
            prop_assert_eq!(&once, &merged(deltas.iter().chain(&deltas)));
        }
    }

    #[test]
    fn a_row_that_lost_its_last_live_cell_is_undecided_until_it_is_deleted_or_inserted() {
        let put = Cell { column: ColumnId(1), timestamp: Timestamp(8), value: Some(Bytes::new()) };
        let mut read = Row { cells: vec![put.clone()], ..Row::default() }.shown();
        assert!(read.is_decided() && read.exists());
        let late = Cell { timestamp: Timestamp(16), value: None, ..put };
        read.merge(&Row { cells: vec![late], ..Row::default() });
        assert!(!read.is_decided());
        for (delta, exists) in [
            (Row { deleted_at: Some(Timestamp(24)), ..Row::default() }, false),
            (Row { marker_at: Some(Timestamp(24)), ..Row::default() }, true),
        ] {
            let merged = merged([&read, &delta]);
            let mut decided = read.clone();
            decided.merge(&delta);
            assert!(decided.is_decided());
            assert_eq!((decided.exists(), merged.exists()), (exists, exists));
        }
    }

    #[test]
    fn a_row_of_nothing_but_a_marker_is_shown_and_is_covered_by_a_later_deletion() {
        let mut read = Row { marker_at: Some(Timestamp(8)), ..Row::default() }.shown();
        assert!(read.exists() && read.is_decided());
        read.merge(&Row { deleted_at: Some(Timestamp(16)), ..Row::default() });
        assert!(!read.exists());
    }

    #[test]
    fn what_was_written_between_two_times_can_be_taken_out() {
        let cell = |column, at| Cell {
            column: ColumnId(column),
            timestamp: Timestamp(at),
            value: Some(Bytes::new()),
        };
        let mut row = Row {
            deleted_at: Some(Timestamp(8)),
            marker_at: Some(Timestamp(17)),
            cells: vec![cell(1, 17), cell(2, 25), cell(3, 33)],
            ..Row::default()
        };
        assert_eq!((row.oldest(), row.newest()), (Some(Timestamp(8)), Some(Timestamp(33))));
        row.remove_written(Timestamp(16), Timestamp(25));
        let left =
            Row { deleted_at: Some(Timestamp(8)), cells: vec![cell(3, 33)], ..Row::default() };
        assert_eq!(row, left);
        row.remove_written(Timestamp(8), Timestamp(33));
        assert!(row.is_empty() && row.oldest().is_none());
    }

    #[test]
    fn a_tombstone_wins_over_a_value_of_the_same_time() {
        let put = Cell { column: ColumnId(1), timestamp: Timestamp(8), value: Some(Bytes::new()) };
        let delete = Cell { value: None, ..put.clone() };
        let row = merged([
            &Row { cells: vec![put], ..Row::default() },
            &Row { cells: vec![delete], ..Row::default() },
        ]);
        assert!(!row.exists());
    }
}
