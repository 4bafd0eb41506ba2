//! Answers as JSON.

use coordinator::service::values::from_wire;
use handfast_client::v1::condition_failed::Found;
use handfast_client::{AbortReason, Outcome, Receipt, Value, v1};
use serde_json::{Map, Value as Json, json};

/// A value, as `INSERT JSON` would take it.
pub(super) fn value(value: &Value) -> Json {
    match from_wire(value.clone()) {
        Ok(Some(value)) => value.to_json(),
        Ok(None) | Err(_) => Json::Null,
    }
}

/// A row's name: `accounts["alice"]`.
pub(super) fn row(row: Option<&v1::RowKey>) -> Json {
    row.map_or(
        Json::Null,
        |row| json!({"table": row.table, "key": row.key.iter().map(value).collect::<Vec<_>>()}),
    )
}

/// Adds where it was logged.
pub(super) fn receipt(object: &mut Map<String, Json>, receipt: Option<&Receipt>) {
    if let Some(receipt) = receipt {
        object.insert("epoch".to_owned(), json!(receipt.epoch));
        object.insert("sequence".to_owned(), json!(receipt.sequence));
    }
}

/// An outcome, with everything needed to ask for it again.
pub(super) fn outcome(outcome: &Outcome) -> Json {
    let locator = outcome.locator();
    let mut object = Map::new();
    let state = match outcome {
        Outcome::Committed(_) => "committed",
        Outcome::Aborted(_) => "aborted",
        Outcome::Unknown(_) => "unknown",
    };
    object.insert("outcome".to_owned(), json!(state));
    object.insert("namespace".to_owned(), json!(locator.namespace));
    object.insert("id".to_owned(), json!(locator.id.to_string()));
    if let Some(home) = locator.home_shard {
        object.insert("home_shard".to_owned(), json!(home));
    }
    match outcome {
        Outcome::Committed(committed) => {
            receipt(&mut object, committed.receipt.as_ref());
            object.insert("commit_timestamp_us".to_owned(), json!(committed.timestamp_us));
            object.insert("applied".to_owned(), json!(committed.applied));
        }
        Outcome::Aborted(aborted) => {
            object.insert("reason".to_owned(), reason(&aborted.reason));
        }
        Outcome::Unknown(unknown) => {
            receipt(&mut object, unknown.receipt.as_ref());
            object.insert("logged".to_owned(), json!(unknown.logged));
        }
    }
    Json::Object(object)
}

fn reason(reason: &AbortReason) -> Json {
    match reason {
        AbortReason::ConditionFailed(failed) => json!({
            "condition_failed": failed.index,
            "row": row(failed.row.as_ref()),
            "found": failed.found.as_ref().map_or(Json::Null, found),
        }),
        AbortReason::Overflow(overflow) => {
            json!({"overflow": overflow.column, "row": row(overflow.row.as_ref())})
        }
        AbortReason::TimestampInFuture(it) => {
            json!({"timestamp_in_future": true, "row": row(it.row.as_ref())})
        }
        AbortReason::SchemaChanged(what) => json!({"schema_changed": what}),
        AbortReason::Fenced => json!({"fenced": true}),
        AbortReason::IdReused => json!({"id_reused": true}),
    }
}

fn found(found: &Found) -> Json {
    match found {
        Found::FoundRow(row) => json!({"exists": row.exists, "version": hex(&row.version)}),
        Found::FoundColumn(column) => {
            let found = column.value.as_ref().map_or(Json::Null, value);
            json!({"column": column.name, "value": found})
        }
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
