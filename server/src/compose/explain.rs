//! The life of one transaction, from the log.

use std::collections::BTreeMap;

use coordinator::service::LoggedRecord;
use wal_core::log::{IntentLog, LogError};
use wal_core::record::{Acceptor, Verdict, decode};
use wal_core::{Position, ShardId, TxnId};

/// Every record about a transaction that is left in the log, by shard, in log order.
pub(super) fn explain(
    log: &dyn IntentLog,
    shards: u16,
    id: TxnId,
) -> Result<Vec<LoggedRecord>, LogError> {
    let from = (0..shards).map(|shard| (ShardId(shard), Position(0))).collect();
    let mut acceptors: BTreeMap<ShardId, Acceptor> = BTreeMap::new();
    let mut found = Vec::new();
    log.replay(&from, &mut |shard, position, bytes| {
        let (record, hash) = decode(bytes).map_err(|error| LogError::Stopped(error.to_string()))?;
        let acceptor = acceptors.entry(shard).or_insert_with(|| Acceptor::first_left(&record));
        let accepted = acceptor.judge(&record, hash) == Verdict::Accepted;
        if record.body.txn() == Some(id) {
            found.push(LoggedRecord { shard, position, accepted, record });
        }
        Ok(())
    })?;
    found.sort_by_key(|logged| (logged.shard, logged.position));
    Ok(found)
}
