//! Values on their way to the server and back, in CQL's binary form as rows hold them. They were checked
//! against their types when the transaction was built, so that nothing is decoded here.

use bytes::Bytes;
use scylla::serialize::SerializationError;
use scylla::serialize::row::{RowSerializationContext, SerializeRow};
use scylla::serialize::writers::RowWriter;
use smallvec::SmallVec;
use wal_core::RowKey;

/// One bound value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Bind {
    /// A value, which may be empty.
    Value(Bytes),
    /// A tombstone.
    Null,
    /// Nothing is written.
    Unset,
}

/// The values of one statement, in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bound(pub(super) SmallVec<[Bind; 8]>);

impl Bound {
    pub(super) fn push_time(&mut self, at: wal_core::Timestamp) {
        self.0.push(Bind::Value(Bytes::copy_from_slice(&at.0.to_be_bytes())));
    }

    pub(super) fn push_key(&mut self, key: &KeyParts) {
        self.0.extend(key.iter().cloned().map(Bind::Value));
    }
}

impl SerializeRow for Bound {
    fn serialize(
        &self,
        context: &RowSerializationContext<'_>,
        writer: &mut RowWriter<'_>,
    ) -> Result<(), SerializationError> {
        debug_assert_eq!(context.columns().len(), self.0.len(), "one value for each marker");
        for bind in &self.0 {
            let cell = writer.make_cell_writer();
            match bind {
                Bind::Value(bytes) => {
                    cell.set_value(bytes).map_err(SerializationError::new)?;
                }
                Bind::Null => {
                    cell.set_null();
                }
                Bind::Unset => {
                    cell.set_unset();
                }
            }
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The values of a key's columns: partition, then clustering.
pub(super) type KeyParts = SmallVec<[Bytes; 4]>;

/// Takes an encoded key apart; `None` if it has not that many columns.
pub(super) fn key_parts(key: &RowKey, partition: usize, clustering: usize) -> Option<KeyParts> {
    let mut parts = KeyParts::new();
    if partition == 1 {
        parts.push(key.partition.clone());
    } else {
        let mut rest = key.partition.clone();
        for _ in 0..partition {
            let length = usize::from(u16::from_be_bytes(*rest.first_chunk()?));
            if rest.len() < length + 3 {
                return None;
            }
            parts.push(rest.slice(2..2 + length));
            rest = rest.slice(length + 3..);
        }
        if !rest.is_empty() {
            return None;
        }
    }
    let mut rest = key.clustering.clone();
    for _ in 0..clustering {
        let length = u32::from_be_bytes(*rest.first_chunk()?) as usize;
        if rest.len() < length + 4 {
            return None;
        }
        parts.push(rest.slice(4..4 + length));
        rest = rest.slice(length + 4..);
    }
    rest.is_empty().then_some(parts)
}

#[cfg(test)]
mod tests {
    use wal_core::TableId;

    use super::*;

    fn key(partition: &[u8], clustering: &[u8]) -> RowKey {
        RowKey {
            table: TableId(0),
            partition: Bytes::copy_from_slice(partition),
            clustering: Bytes::copy_from_slice(clustering),
        }
    }

    #[test]
    fn keys_are_taken_apart_into_their_columns() {
        let parts = |key: &RowKey, p, c| {
            key_parts(key, p, c).map(|parts| parts.iter().map(|part| part.to_vec()).collect())
        };
        let found: Option<Vec<Vec<u8>>> = parts(&key(b"ab", b""), 1, 0);
        assert_eq!(found, Some(vec![b"ab".to_vec()]));
        let two = key(b"\0\x01a\0\0\0\0", b"\0\0\0\x02xy\0\0\0\0");
        let expected = [&b"a"[..], b"", b"xy", b""].map(<[u8]>::to_vec).to_vec();
        assert_eq!(parts(&two, 2, 2), Some(expected));
        for (partition, clustering) in [(1, 1), (2, 1), (3, 2), (2, 3)] {
            assert_eq!(key_parts(&two, partition, clustering), None);
        }
        assert_eq!(key_parts(&key(b"\0\x05a\0", b""), 2, 0), None);
        assert_eq!(key_parts(&key(b"a", b"\0\0\0\x09x"), 1, 1), None);
    }
}
