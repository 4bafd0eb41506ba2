//! `handfast txn`.

use handfast_client::{Uuid, v1};
use serde_json::{Value as Json, json};

use super::connect;
use crate::cli::{Global, TxnListArgs};
use crate::exit::Failure;
use crate::output;

/// Lists unresolved transactions, oldest first.
pub(crate) async fn list(global: &Global, args: TxnListArgs) -> Result<(), Failure> {
    let client = connect(global).await?;
    let min_age_ms = u64::try_from(args.min_age.as_millis()).unwrap_or(u64::MAX);
    let found = client.admin().list_unresolved(&args.namespace, min_age_ms, args.limit).await?;
    let headers = ["id", "age_ms", "state", "shard", "home_shard", "participants"];
    output::many(global, &headers, found.iter().map(unresolved).collect())
}

fn unresolved(txn: &v1::Unresolved) -> Json {
    let locator = txn.locator.clone().unwrap_or_default();
    json!({
        "id": Uuid::from_slice(&locator.id).map(|id| id.to_string()).unwrap_or_default(),
        "age_ms": txn.age_ms,
        "state": txn.state,
        "shard": txn.shard,
        "home_shard": locator.home_shard,
        "participants": txn.participants,
    })
}
