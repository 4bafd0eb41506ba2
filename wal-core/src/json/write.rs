//! From a batch to JSON.

use serde_json::{Map, Value as Json, json};

use super::message::message_to_json;
use super::read::OPERATORS;
use crate::build::{Batch, Check, Columns, Mutation, RowCondition, Write};
use crate::id::TxnId;
use crate::row::RowVersion;
use crate::txn::CompareOp;
use crate::value::Value;

/// A batch as JSON: see the module for the format.
pub fn batch_to_json(id: Option<TxnId>, batch: &Batch) -> Json {
    let mut root = Map::new();
    if let Some(id) = id {
        root.insert("id".to_owned(), Json::from(id.to_string()));
    }
    let mutations = batch.mutations.iter().map(mutation).collect();
    root.insert("mutations".to_owned(), Json::Array(mutations));
    let conditions = batch.conditions.iter().map(condition).collect();
    root.insert("conditions".to_owned(), Json::Array(conditions));
    if !batch.messages.is_empty() {
        let messages = batch.messages.iter().map(message_to_json).collect();
        root.insert("messages".to_owned(), Json::Array(messages));
    }
    if !batch.regions.is_empty() {
        root.insert("regions".to_owned(), json!(batch.regions));
    }
    Json::Object(root)
}

/// The name of a row as JSON.
pub fn key_to_json(table: &str, key: &Columns) -> Json {
    json!({"table": table, "key": columns_to_json(key)})
}

pub(super) fn columns_to_json(columns: &Columns) -> Json {
    let entry = |(name, value): &(String, Option<Value>)| (name.clone(), value_to_json(value));
    Json::Object(columns.iter().map(entry).collect())
}

pub(super) fn version_to_json(version: RowVersion) -> Json {
    Json::from(format!("{:032x}", version.0))
}

fn value_to_json(value: &Option<Value>) -> Json {
    value.as_ref().map_or(Json::Null, Value::to_json)
}

fn mutation(mutation: &Mutation) -> Json {
    let mut body = key_to_json(&mutation.table, &mutation.key);
    let kind = match &mutation.write {
        Write::Put(columns) => {
            body["columns"] = columns_to_json(columns);
            "put"
        }
        Write::Insert(columns) => {
            body["columns"] = columns_to_json(columns);
            "insert"
        }
        Write::Add(columns) => {
            body["columns"] = columns_to_json(columns);
            "add"
        }
        Write::DeleteColumns(names) => {
            body["columns"] = Json::from(names.clone());
            "delete"
        }
        Write::DeleteRow => "delete",
    };
    json!({ kind: body })
}

fn condition(condition: &RowCondition) -> Json {
    let mut body = key_to_json(&condition.table, &condition.key);
    match &condition.check {
        Check::Exists => body["exists"] = Json::Bool(true),
        Check::NotExists => body["exists"] = Json::Bool(false),
        Check::Version(version) => body["version"] = version_to_json(*version),
        Check::Compare { column, op, value } => {
            body["column"] = Json::from(column.as_str());
            body["op"] = Json::from(sign(*op));
            body["value"] = value_to_json(value);
        }
        Check::In { column, values } => {
            body["column"] = Json::from(column.as_str());
            body["in"] = Json::Array(values.iter().map(value_to_json).collect());
        }
    }
    body
}

fn sign(op: CompareOp) -> &'static str {
    let (sign, _) =
        OPERATORS.iter().find(|(_, known)| *known == op).expect("every operator has a sign");
    sign
}
