//! Messages: bytes for somebody else than the tables, that commit with a transaction (a transactional outbox)
//! or alone.
//!
//! In a transaction they are rows of a table that no namespace declares and no store is given. So they take
//! part in everything that rows take part in: shards, locks, promises, records, checkpoints. All messages
//! of one key in one transaction are one row, written blindly, each a cell whose column is the message's
//! place in the request:
//!
//! | message | partition | clustering | shard |
//! |---|---|---|---|
//! | with a key | the key | empty | that of the key's token |
//! | without | empty | the transaction's id | the transaction's home, or by the id's token if there is none |
//!
//! The row of a key is locked until its transaction is decided. So the messages of a key stand in the log of
//! its shard in the order in which their transactions committed. Those without a key hold up nobody.

use bytes::Bytes;

use crate::id::{ColumnId, TableId, TxnId};
use crate::record::{DecodeError, Piece, Reader, Writer};
use crate::row::RowKey;
use crate::txn::{CellOp, RowOp, WriteOp};

/// The table that messages are rows of.
pub const MESSAGES: TableId = TableId(u32::MAX);
/// The form of a message in a record.
const FORMAT: u8 = 1;
/// Headers of one message.
pub const MAX_HEADERS: usize = 64;
/// Messages of one transaction.
pub const MAX_MESSAGES: usize = 10_000;

/// Bytes for somebody else than the tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Messages of one key keep their order. The same bytes as a row's partition key, in its binary form, lie
    /// on the same shard: then nothing is added to what the transaction costs.
    pub key: Option<Bytes>,
    /// What the payload is, such as `application/json`; may be empty.
    pub content_type: String,
    /// Named bytes beside the payload, in order; a name may come again.
    pub headers: Vec<(String, Bytes)>,
    /// The message itself, opaque.
    pub payload: Bytes,
    /// To which targets of the namespace it is delivered, by name. Whoever subscribes is told of it anyway.
    pub targets: Vec<String>,
}

impl Message {
    /// The cell that holds it: `index` is its place in the request.
    pub(crate) fn cell(&self, index: u16) -> CellOp {
        CellOp::Put { column: ColumnId(index), value: self.encode() }
    }

    /// Format, content type, headers, payload, targets. The key is that of the row, and kept apart.
    pub fn encode(&self) -> Bytes {
        let mut bytes = Vec::with_capacity(self.payload.len() + 64);
        let mut out = Writer::new(&mut bytes);
        out.byte(FORMAT);
        out.piece(&self.content_type);
        out.list(&self.headers);
        out.bytes(&self.payload);
        out.list(&self.targets);
        bytes.into()
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// [`DecodeError`] if it is damaged, or of another format.
    pub fn decode(key: Option<Bytes>, value: Bytes) -> Result<Self, DecodeError> {
        let mut input = Reader::new(value);
        let found = input.byte()?;
        if found != FORMAT {
            return Err(DecodeError::Version { found, expected: FORMAT });
        }
        let message = Self {
            key,
            content_type: String::read(&mut input)?,
            headers: input.list()?,
            payload: input.bytes()?,
            targets: input.list()?,
        };
        input.finish()?;
        Ok(message)
    }
}

/// The row of the messages that have this key.
pub(crate) const fn row_of_key(key: Bytes) -> RowKey {
    RowKey { table: MESSAGES, partition: key, clustering: Bytes::new() }
}

/// The row of a transaction's messages without a key.
pub(crate) fn row_without_key(id: TxnId) -> RowKey {
    let clustering = Bytes::copy_from_slice(id.to_uuid().as_bytes());
    RowKey { table: MESSAGES, partition: Bytes::new(), clustering }
}

/// The key that the messages of a row have.
pub fn key_of(row: &RowKey) -> Option<Bytes> {
    row.clustering.is_empty().then(|| row.partition.clone())
}

/// The messages of some rows with their places in the request, in the order of the rows.
///
/// # Errors
/// [`DecodeError`], each in its message's place.
pub fn messages_of<'a>(
    rows: impl IntoIterator<Item = &'a RowOp>,
) -> impl Iterator<Item = Result<(u16, Message), DecodeError>> {
    let rows = rows.into_iter().filter(|op| op.key.table == MESSAGES);
    rows.flat_map(|op| {
        let cells = match &op.write {
            WriteOp::Cells { cells, .. } => &cells[..],
            WriteOp::None | WriteOp::DeleteRow | WriteOp::Merge(_) => &[],
        };
        let key = key_of(&op.key);
        cells.iter().filter_map(move |cell| match cell {
            CellOp::Put { column, value } => {
                let message = Message::decode(key.clone(), value.clone());
                Some(message.map(|message| (column.0, message)))
            }
            CellOp::Delete { .. } | CellOp::Add { .. } => None,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_as_it_was_written() {
        let message = Message {
            key: Some(Bytes::from_static(b"order-7")),
            content_type: "application/json".into(),
            headers: vec![("a".into(), Bytes::from_static(b"1")), ("a".into(), Bytes::new())],
            payload: Bytes::from_static(b"{}"),
            targets: vec!["shipping".into(), "audit".into()],
        };
        let CellOp::Put { value, .. } = message.cell(3) else { panic!("a put") };
        assert_eq!(Message::decode(message.key.clone(), value.clone()), Ok(message));
        let mut other = value.to_vec();
        other[0] = 9;
        let refused = Message::decode(None, other.into());
        assert_eq!(refused, Err(DecodeError::Version { found: 9, expected: FORMAT }));
        assert!(Message::decode(None, value.slice(..value.len() - 1)).is_err());
    }
}
