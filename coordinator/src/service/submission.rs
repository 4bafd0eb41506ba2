//! A submission from the wire, checked: what both `Submit` and `SubmitStream` do first.

use std::sync::Arc;

use bytes::Bytes;
use handfast_proto::v1;
use prost::Message as _;
use uuid::Uuid;
use wal_core::namespace::Namespace;
use wal_core::{Transaction, TxnId};

use super::convert;
use super::errors::ServiceError;
use super::shared::Shared;
use super::tenants::{Taken, Tenant};
use crate::api::Level;

/// A validated, hashed, routed transaction and what was asked of it. It counts as in flight in its
/// namespace's quota as long as `taken` is kept.
pub(super) struct Submission {
    pub(super) namespace: Arc<Namespace>,
    pub(super) txn: Arc<Transaction>,
    pub(super) level: Level,
    pub(super) taken: Taken,
}

/// Remembers the last namespace looked up, for the length of one message.
#[derive(Default)]
pub(super) struct NamespaceCache(Option<(Arc<Namespace>, Arc<Tenant>)>);

impl NamespaceCache {
    /// The namespace that a submission names, and what it takes of this server.
    pub(super) fn get(
        &mut self,
        shared: &Shared,
        name: &str,
    ) -> Result<(&Arc<Namespace>, &Arc<Tenant>), ServiceError> {
        if self.0.as_ref().is_none_or(|(last, _)| last.name() != name) {
            let namespace = shared.namespace(name, "transaction.namespace")?;
            let tenant = shared.tenants.of(&namespace);
            self.0 = Some((namespace, tenant));
        }
        let (namespace, tenant) = self.0.as_ref().expect("it was just set");
        Ok((namespace, tenant))
    }
}

impl Submission {
    /// Takes it out of its namespace's quota, which is cheap, then validates, hashes and routes. Nothing has
    /// left for the engine when this fails; what is wrong was taken all the same.
    pub(super) fn check(
        shared: &Shared,
        cache: &mut NamespaceCache,
        transaction: Option<v1::Transaction>,
        level: i32,
    ) -> Result<Self, ServiceError> {
        let Some(transaction) = transaction else {
            return Err(ServiceError::invalid("transaction", "it is missing"));
        };
        let (namespace, tenant) = cache.get(shared, &transaction.namespace)?;
        let taken = tenant.take(namespace, transaction.encoded_len())?;
        let namespace = Arc::clone(namespace);
        let level = convert::level(&namespace, level)?;
        let id = id_or_drawn(&transaction.id, "transaction.id")?;
        let txn = convert::transaction(&namespace, id, transaction)?;
        Ok(Self { namespace, txn: Arc::new(txn), level, taken })
    }
}

/// The id of a request, or one for a client that brought none.
pub(super) fn id_or_drawn(bytes: &Bytes, field: &str) -> Result<TxnId, ServiceError> {
    if bytes.is_empty() { Ok(draw_id()) } else { parse_id(bytes, field) }
}

/// A new id.
pub(super) fn draw_id() -> TxnId {
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
