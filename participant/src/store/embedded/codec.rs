//! How keys and rows are laid out in the embedded store. Numbers are pinned: golden bytes below.
//!
//! ```text
//! key   table u32 BE │ partition length u16 BE │ partition │ clustering
//! row   version u8 = 1 │ flags u8 │ [deleted_at i64] │ [marker_at i64] │ cells u16 │ cell …
//! cell  column u16 │ timestamp i64 │ length u32, or !0 for a tombstone │ value
//! ```
//!
//! Keys sort by table, so that a table is a range, and a partition is a range in it. Numbers in rows
//! are little-endian. Checksums are the journal's and the blocks', below this layer.

use std::ops::Range;

use bytes::Bytes;
use wal_core::{Cell, ColumnId, Row, RowKey, Timestamp};

/// The layout of rows that this version writes and reads.
const ROW_VERSION: u8 = 1;
const HAS_DELETED_AT: u8 = 1;
const HAS_MARKER_AT: u8 = 1 << 1;
/// Stands for a value's length in a tombstone.
const TOMBSTONE: u32 = u32::MAX;
/// Bytes of a key besides partition and clustering.
const KEY_OVERHEAD_BYTES: usize = 6;
/// The longest encoded key: fjall's own limit.
pub(super) const MAX_KEY_BYTES: usize = u16::MAX as usize;

/// Why stored bytes are not a row.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum RowDecodeError {
    /// Written by another version.
    #[error("row has layout {found}, this version reads {ROW_VERSION}")]
    Version {
        /// The layout found.
        found: u8,
    },
    /// It ends too early.
    #[error("row ends at byte {length}, inside its {field}")]
    Short {
        /// Where it ends.
        length: usize,
        /// What was being read.
        field: &'static str,
    },
    /// It was not written like this.
    #[error("row is malformed: {what}")]
    Malformed {
        /// What is wrong.
        what: &'static str,
    },
}

/// Length of the encoded key.
pub(super) fn key_bytes(key: &RowKey) -> usize {
    KEY_OVERHEAD_BYTES + key.partition.len() + key.clustering.len()
}

/// Replaces `out` by the encoded key, which must not be longer than [`MAX_KEY_BYTES`].
pub(super) fn encode_key(key: &RowKey, out: &mut Vec<u8>) {
    let partition = u16::try_from(key.partition.len()).expect("the key's length was checked");
    out.clear();
    out.extend_from_slice(&key.table.0.to_be_bytes());
    out.extend_from_slice(&partition.to_be_bytes());
    out.extend_from_slice(&key.partition);
    out.extend_from_slice(&key.clustering);
}

/// Replaces `out` by the encoded row.
pub(super) fn encode_row(row: &Row, out: &mut Vec<u8>) {
    out.clear();
    let flags = if row.deleted_at.is_some() { HAS_DELETED_AT } else { 0 }
        | if row.marker_at.is_some() { HAS_MARKER_AT } else { 0 };
    out.extend_from_slice(&[ROW_VERSION, flags]);
    for at in [row.deleted_at, row.marker_at].into_iter().flatten() {
        out.extend_from_slice(&at.0.to_le_bytes());
    }
    let cells = u16::try_from(row.cells.len()).expect("columns are numbered by u16, each once");
    out.extend_from_slice(&cells.to_le_bytes());
    for cell in &row.cells {
        let length = cell.value.as_ref().map_or(TOMBSTONE, |value| {
            u32::try_from(value.len()).expect("a value fits into a transaction, far below 4 GiB")
        });
        out.extend_from_slice(&cell.column.0.to_le_bytes());
        out.extend_from_slice(&cell.timestamp.0.to_le_bytes());
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(cell.value.as_deref().unwrap_or_default());
    }
}

/// Decodes a row. Its values share one copy of `stored`, so that a row in memory keeps no block of
/// the store alive.
pub(super) fn decode_row(stored: &[u8]) -> Result<Row, RowDecodeError> {
    let shared = Bytes::copy_from_slice(stored);
    let mut reader = Reader { bytes: stored, at: 0 };
    let (deleted_at, marker_at, count) = decode_head(&mut reader)?;
    let mut cells: Vec<Cell> = Vec::with_capacity(count);
    for _ in 0..count {
        let (column, timestamp, value) = decode_cell(&mut reader)?;
        if cells.last().is_some_and(|last| last.column >= column) {
            return Err(RowDecodeError::Malformed { what: "columns out of order" });
        }
        cells.push(Cell { column, timestamp, value: value.map(|range| shared.slice(range)) });
    }
    if reader.at != stored.len() {
        return Err(RowDecodeError::Malformed { what: "bytes behind the last cell" });
    }
    Ok(Row { deleted_at, marker_at, cells, ..Row::default() })
}

/// Whether nothing is left of the row but tombstones older than `before`. Copies nothing.
pub(super) fn is_dead(stored: &[u8], before: Timestamp) -> Result<bool, RowDecodeError> {
    let mut reader = Reader { bytes: stored, at: 0 };
    let (deleted_at, marker_at, count) = decode_head(&mut reader)?;
    if marker_at.is_some() || deleted_at.is_some_and(|at| at >= before) {
        return Ok(false);
    }
    for _ in 0..count {
        let (_, timestamp, value) = decode_cell(&mut reader)?;
        if value.is_some() || timestamp >= before {
            return Ok(false);
        }
    }
    Ok(true)
}

type Head = (Option<Timestamp>, Option<Timestamp>, usize);

/// Times of the row tombstone and of the marker, and how many cells follow.
fn decode_head(reader: &mut Reader<'_>) -> Result<Head, RowDecodeError> {
    let [version, flags] = reader.array("header")?;
    if version != ROW_VERSION {
        return Err(RowDecodeError::Version { found: version });
    }
    if flags & !(HAS_DELETED_AT | HAS_MARKER_AT) != 0 {
        return Err(RowDecodeError::Malformed { what: "unknown flags" });
    }
    let mut time = |flag: u8, field| -> Result<Option<Timestamp>, RowDecodeError> {
        if flags & flag == 0 {
            return Ok(None);
        }
        Ok(Some(Timestamp(i64::from_le_bytes(reader.array(field)?))))
    };
    let deleted_at = time(HAS_DELETED_AT, "tombstone")?;
    let marker_at = time(HAS_MARKER_AT, "marker")?;
    let count = u16::from_le_bytes(reader.array("cell count")?);
    Ok((deleted_at, marker_at, usize::from(count)))
}

/// A cell, and where its value is.
fn decode_cell(
    reader: &mut Reader<'_>,
) -> Result<(ColumnId, Timestamp, Option<Range<usize>>), RowDecodeError> {
    let column = ColumnId(u16::from_le_bytes(reader.array("column")?));
    let timestamp = Timestamp(i64::from_le_bytes(reader.array("timestamp")?));
    let value = match u32::from_le_bytes(reader.array("length")?) {
        TOMBSTONE => None,
        length => Some(reader.skip(length as usize)?),
    };
    Ok((column, timestamp, value))
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], RowDecodeError> {
        let Some(found) = self.bytes[self.at..].first_chunk::<N>() else {
            return Err(RowDecodeError::Short { length: self.bytes.len(), field });
        };
        self.at += N;
        Ok(*found)
    }

    fn skip(&mut self, length: usize) -> Result<Range<usize>, RowDecodeError> {
        if length > self.bytes.len() - self.at {
            return Err(RowDecodeError::Short { length: self.bytes.len(), field: "value" });
        }
        let start = self.at;
        self.at += length;
        Ok(start..self.at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wal_core::TableId;

    use super::*;

    fn row() -> impl Strategy<Value = Row> {
        let cell =
            (any::<i64>(), proptest::option::of(proptest::collection::vec(any::<u8>(), 0..9)));
        (
            proptest::option::of(any::<i64>()),
            proptest::option::of(any::<i64>()),
            proptest::collection::btree_map(any::<u16>(), cell, 0..5),
        )
            .prop_map(|(deleted_at, marker_at, cells)| Row {
                deleted_at: deleted_at.map(Timestamp),
                marker_at: marker_at.map(Timestamp),
                cells: cells
                    .into_iter()
                    .map(|(column, (at, value))| Cell {
                        column: ColumnId(column),
                        timestamp: Timestamp(at),
                        value: value.map(Bytes::from),
                    })
                    .collect(),
                ..Row::default()
            })
    }

    fn encoded(row: &Row) -> Vec<u8> {
        let mut out = Vec::new();
        encode_row(row, &mut out);
        out
    }

    proptest! {
        #[test]
        fn a_row_survives_the_round_trip(row in row()) {
            prop_assert_eq!(decode_row(&encoded(&row)), Ok(row));
        }

        #[test]
        fn any_bytes_are_a_row_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(row) = decode_row(&bytes) {
                prop_assert_eq!(encoded(&row), bytes);
            }
        }

        #[test]
        fn a_cut_row_is_an_error(row in row(), cut in any::<prop::sample::Index>()) {
            let bytes = encoded(&row);
            prop_assert!(decode_row(&bytes[..cut.index(bytes.len())]).is_err());
        }
    }

    #[test]
    fn golden_bytes_of_layout_1() {
        let row = Row {
            deleted_at: Some(Timestamp(0x10)),
            marker_at: Some(Timestamp(0x21)),
            cells: vec![
                Cell { column: ColumnId(1), timestamp: Timestamp(0x31), value: Some("ab".into()) },
                Cell { column: ColumnId(2), timestamp: Timestamp(-2), value: None },
            ],
            ..Row::default()
        };
        let golden = [
            &[1, 3][..],
            &[0x10, 0, 0, 0, 0, 0, 0, 0],
            &[0x21, 0, 0, 0, 0, 0, 0, 0],
            &[2, 0],
            &[1, 0, 0x31, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, b'a', b'b'],
            &[2, 0, 0xfe, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255],
        ]
        .concat();
        assert_eq!(encoded(&row), golden);
        assert_eq!(decode_row(&golden), Ok(row));

        let key = RowKey { table: TableId(7), partition: "p\0".into(), clustering: "c".into() };
        let mut out = Vec::new();
        encode_key(&key, &mut out);
        assert_eq!(out, [0, 0, 0, 7, 0, 2, b'p', 0, b'c']);
        assert_eq!(out.len(), key_bytes(&key));
    }

    #[test]
    fn a_row_of_another_layout_is_an_error_that_says_so() {
        let error = decode_row(&[9, 0, 0, 0]).expect_err("layout 9 does not exist");
        assert_eq!(error.to_string(), "row has layout 9, this version reads 1");
    }
}
