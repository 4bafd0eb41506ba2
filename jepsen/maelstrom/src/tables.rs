//! The tables over `lin-kv`: key `row/<key>`, value the merged row, both in base64 of their record encoding.
//!
//! A store in each node's memory would not do: an engine's checkpoint leaves out what the table store has
//! acknowledged, so whoever takes a shard over must find those rows. Here, as with Cassandra, the store is
//! shared and outlives every node. A mutation is merged by reading the row and setting it if it is still what
//! was read; merging again changes nothing, so a deposed leader's late flush does no harm, and a lost answer
//! is simply tried again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use participant::store::{StoreError, TableStore};
use wal_core::record::{Piece, Reader, Writer};
use wal_core::{Row, RowKey, RowMutation};

use crate::kv::{Answer, Kv, Request, call_all};

/// Requests in flight at once for one call.
const WINDOW: usize = 64;

/// Rows kept in a `lin-kv` service.
pub struct LinKvStore {
    kv: Arc<dyn Kv>,
    patience: Duration,
}

fn encode<T: Piece>(piece: &T) -> String {
    let mut bytes = Vec::new();
    Writer::new(&mut bytes).piece(piece);
    STANDARD_NO_PAD.encode(bytes)
}

fn decode(text: &str) -> Result<Row, StoreError> {
    let damaged = |why: String| StoreError::Transient { action: "read a row", why };
    let bytes = STANDARD_NO_PAD.decode(text).map_err(|error| damaged(error.to_string()))?;
    let mut reader = Reader::new(Bytes::from(bytes));
    let row = reader.piece().and_then(|row| reader.finish().map(|()| row));
    row.map_err(|error| damaged(error.to_string()))
}

fn row_key(key: &RowKey) -> String {
    format!("row/{}", encode(key))
}

fn transient(action: &'static str, answer: &Answer) -> StoreError {
    StoreError::Transient { action, why: format!("lin-kv: {answer:?}") }
}

impl LinKvStore {
    /// A store that tries for so long before a call fails.
    pub const fn new(kv: Arc<dyn Kv>, patience: Duration) -> Self {
        Self { kv, patience }
    }

    /// What stands under each key.
    fn fetch(&self, keys: &[String]) -> Result<Vec<Option<String>>, StoreError> {
        let read = |key: &String| Request::Read { key: key.clone() };
        let mut found = Vec::with_capacity(keys.len());
        for answer in call_all(&*self.kv, keys.iter().map(read).collect()) {
            match answer {
                Answer::Value(text) => found.push(Some(text)),
                Answer::Missing => found.push(None),
                other => return Err(transient("read rows", &other)),
            }
        }
        Ok(found)
    }

    /// Merges what is still to be merged; removes what was.
    fn merge(&self, deltas: &mut BTreeMap<String, Row>) -> Result<(), StoreError> {
        let keys: Vec<String> = deltas.keys().take(WINDOW).cloned().collect();
        let mut requests = Vec::new();
        for (key, old) in keys.iter().zip(self.fetch(&keys)?) {
            let mut row = old.as_deref().map(decode).transpose()?.unwrap_or_default();
            row.merge(&deltas[key]);
            let to = encode(&row);
            if old.as_ref() == Some(&to) {
                deltas.remove(key);
            } else {
                requests.push(Request::Cas {
                    key: key.clone(),
                    create: old.is_none(),
                    from: old,
                    to,
                });
            }
        }
        let asked: Vec<String> = requests
            .iter()
            .map(|request| match request {
                Request::Cas { key, .. } | Request::Read { key } | Request::Write { key, .. } => {
                    key.clone()
                }
            })
            .collect();
        let mut result = Ok(());
        for (key, answer) in asked.into_iter().zip(call_all(&*self.kv, requests)) {
            match answer {
                Answer::Done => {
                    deltas.remove(&key);
                }
                Answer::Mismatch => {} // somebody else has merged meanwhile: once more
                other => result = Err(transient("apply rows", &other)),
            }
        }
        result
    }
}

impl TableStore for LinKvStore {
    fn read(&self, keys: &[RowKey]) -> Result<Vec<Row>, StoreError> {
        let mut rows = Vec::with_capacity(keys.len());
        for keys in keys.chunks(WINDOW) {
            let keys: Vec<String> = keys.iter().map(row_key).collect();
            for found in self.fetch(&keys)? {
                rows.push(found.as_deref().map(decode).transpose()?.unwrap_or_default());
            }
        }
        Ok(rows)
    }

    fn apply(&self, mutations: &[RowMutation]) -> Result<(), StoreError> {
        let mut deltas: BTreeMap<String, Row> = BTreeMap::new();
        for RowMutation { key, delta } in mutations {
            deltas.entry(row_key(key)).or_default().merge(delta);
        }
        let end = Instant::now() + self.patience;
        while !deltas.is_empty() {
            if let Err(error) = self.merge(&mut deltas)
                && Instant::now() >= end
            {
                return Err(error);
            }
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), StoreError> {
        Ok(()) // what the service has answered, it keeps
    }
}
