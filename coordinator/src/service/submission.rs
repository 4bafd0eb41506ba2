//! A submission from the wire, checked: what both `Submit` and `SubmitStream` do first.

use std::sync::Arc;

use bytes::Bytes;
use handfast_proto::v1;
use uuid::Uuid;
use wal_core::namespace::Namespace;
use wal_core::{Transaction, TxnId};

use super::convert;
use super::errors::ServiceError;
use super::shared::Shared;
use crate::api::Level;

/// A validated, hashed, routed transaction and what was asked of it.
pub(super) struct Submission {
    pub(super) namespace: Arc<Namespace>,
    pub(super) txn: Arc<Transaction>,
    pub(super) level: Level,
}

/// Remembers the last namespace looked up, for the length of one message.
#[derive(Default)]
pub(super) struct NamespaceCache(Option<(String, Arc<Namespace>)>);

impl NamespaceCache {
    fn get(&mut self, shared: &Shared, name: &str) -> Result<Arc<Namespace>, ServiceError> {
        match &self.0 {
            Some((last, namespace)) if last == name => Ok(Arc::clone(namespace)),
            _ => {
                let namespace = shared.namespace(name, "transaction.namespace")?;
                self.0 = Some((name.to_owned(), Arc::clone(&namespace)));
                Ok(namespace)
            }
        }
    }
}

impl Submission {
    /// Validates, hashes and routes. Nothing has left for the engine when this fails.
    pub(super) fn check(
        shared: &Shared,
        cache: &mut NamespaceCache,
        transaction: Option<v1::Transaction>,
        level: i32,
    ) -> Result<Self, ServiceError> {
        let Some(transaction) = transaction else {
            return Err(ServiceError::invalid("transaction", "it is missing"));
        };
        let namespace = cache.get(shared, &transaction.namespace)?;
        let level = convert::level(&namespace, level)?;
        let id = if transaction.id.is_empty() {
            draw_id()
        } else {
            parse_id(&transaction.id, "transaction.id")?
        };
        let txn = convert::transaction(&namespace, id, transaction)?;
        Ok(Self { namespace, txn: Arc::new(txn), level })
    }
}

/// An id for a client that brought none.
fn draw_id() -> TxnId {
    TxnId::from_uuid(Uuid::now_v7()).expect("a UUID of version 7 was drawn")
}

/// A transaction id: 16 bytes, or a UUID's text.
pub(super) fn parse_id(bytes: &Bytes, field: &str) -> Result<TxnId, ServiceError> {
    let uuid = match <[u8; 16]>::try_from(&bytes[..]) {
        Ok(octets) => Uuid::from_bytes(octets),
        Err(_) => Uuid::try_parse_ascii(bytes).map_err(|_| {
            let got = bytes.len();
            ServiceError::invalid(
                field,
                format!("a UUID of version 7, as 16 bytes or as text, expected; got {got} bytes"),
            )
        })?,
    };
    TxnId::from_uuid(uuid).map_err(|error| ServiceError::invalid(field, error))
}
