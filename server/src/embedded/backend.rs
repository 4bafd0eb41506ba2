//! The running namespaces, as the service sees them.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use coordinator::api::Call;
use coordinator::runtime::{Answers, Busy, NamespaceSnapshot};
use coordinator::service::{Backend, BackendError, LoggedRecord, Refused};
use memchr::memmem;
use wal_core::log::{IntentLog, LogError};
use wal_core::namespace::Namespace;
use wal_core::record::{decode, decode_header};
use wal_core::{Epoch, Position, ShardId, TxnId};

use super::{Embedded, Served};

/// When a client that was refused should try again.
const RETRY_AFTER_MS: u64 = 50;

impl Embedded {
    fn served(&self, name: &str) -> Option<Arc<Served>> {
        self.served.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    fn known(&self, namespace: &Namespace) -> Result<Arc<Served>, BackendError> {
        let stopped = || BackendError::Broken("the namespace is not served any more".to_owned());
        self.served(namespace.name()).ok_or_else(stopped)
    }
}

impl Backend for Embedded {
    fn address(&self) -> &str {
        &self.address
    }

    fn namespace(&self, name: &str) -> Option<Arc<Namespace>> {
        self.served(name).map(|served| served.namespace())
    }

    fn call(
        &self,
        namespace: &Namespace,
        calls: Vec<(Call, u64)>,
        answers: Arc<dyn Answers>,
    ) -> Result<u64, Refused> {
        let served = self.served(namespace.name()).ok_or(Refused::ShuttingDown)?;
        served.handle.call(calls, answers).map_err(|busy| match busy {
            Busy::Full => {
                Refused::Overloaded { what: "the queue of calls", retry_after_ms: RETRY_AFTER_MS }
            }
            Busy::Stopped(_) => Refused::ShuttingDown,
        })
    }

    fn forget(&self, namespace: &Namespace, call: u64) {
        if let Some(served) = self.served(namespace.name()) {
            served.handle.forget(call);
        }
    }

    fn explain(&self, namespace: &Namespace, id: TxnId) -> Result<Vec<LoggedRecord>, BackendError> {
        let served = self.known(namespace)?;
        explain(&*served.log, served.handle.shards(), id)
            .map_err(|error| BackendError::Broken(error.to_string()))
    }

    fn look(&self, namespace: &Namespace, limit: usize) -> Result<NamespaceSnapshot, BackendError> {
        let served = self.known(namespace)?;
        let stopped = || BackendError::Broken("the namespace is stopping".to_owned());
        served.handle.look(limit).ok_or_else(stopped)
    }
}

/// Every record about a transaction that is left in the log. Records are looked through as bytes first:
/// few of a large log are worth decoding.
fn explain(log: &dyn IntentLog, shards: u16, id: TxnId) -> Result<Vec<LoggedRecord>, LogError> {
    let needle = id.0.to_le_bytes();
    let finder = memmem::Finder::new(&needle);
    let from: BTreeMap<_, _> = (0..shards).map(|shard| (ShardId(shard), Position(0))).collect();
    let mut epochs: BTreeMap<ShardId, Epoch> = BTreeMap::new();
    let mut found = Vec::new();
    log.replay(&from, &mut |shard, position, bytes| {
        let damaged = |error: &dyn std::fmt::Display| LogError::Damaged {
            what: format!("record at position {position}: {error}"),
        };
        let header = decode_header(&bytes).map_err(|error| damaged(&error))?;
        let newest = epochs.entry(shard).or_default();
        *newest = (*newest).max(header.epoch);
        let accepted = header.epoch == *newest;
        if finder.find(&bytes).is_some() {
            let (record, _) = decode(bytes).map_err(|error| damaged(&error))?;
            if record.body.txn() == Some(id) {
                found.push(LoggedRecord { shard, position, accepted, record });
            }
        }
        Ok(())
    })?;
    found.sort_by_key(|logged| (logged.shard, logged.position));
    Ok(found)
}
