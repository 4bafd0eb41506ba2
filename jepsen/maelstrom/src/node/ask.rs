//! What clients ask, in Maelstrom's words, and what it means in rows.
//!
//! Every key is a row of one table, named by the key's JSON text; its only column holds the JSON text of the
//! value: a list for `txn-list-append`, anything else for the other workloads. A transaction reads what it
//! needs at one point of the serial order, works its result out, and submits its writes on condition that
//! every row it read still has the version that was read. So an append to a list is a read-modify-write that
//! either happened to exactly the list that was read, or not at all.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};
use wal_core::build::{Batch, Check, Columns, Mutation, RowCondition, Write};
use wal_core::namespace::Namespace;
use wal_core::txn::FoundValue;
use wal_core::value::Value;
use wal_core::{ColumnId, CompareOp, Row};

use crate::protocol::{Code, body, error};

const TABLE: &str = "kv";
const KEY: &str = "key";
const VALUE: &str = "value";

/// The namespace: one table.
pub(super) fn namespace(shards: u16) -> Namespace {
    let text = format!(
        "name = \"maelstrom\"\nshards = {shards}\n[[table]]\n\
         cql = \"CREATE TABLE {TABLE} ({KEY} text PRIMARY KEY, {VALUE} text)\"\n"
    );
    Namespace::from_toml(&text).expect("the number of shards was checked, the rest is fixed")
}

/// A step of a transaction.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Micro {
    Read { key: Json },
    Append { key: Json, element: Json },
    Write { key: Json, value: Json },
}

/// A client's request.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Ask {
    Txn(Vec<Micro>),
    Read { key: Json },
    Write { key: Json, value: Json },
    Cas { key: Json, from: Json, to: Json },
}

/// What is to be done once the rows were read.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Plan {
    /// Nothing is written: the answer is this.
    Answer(Map<String, Json>),
    /// This is to be committed; if it was, the answer is that.
    Commit(Batch, Map<String, Json>),
}

fn columns(name: &str, value: &Json) -> Columns {
    vec![(name.to_owned(), Some(Value::Text(value.to_string())))]
}

fn put(key: &Json, value: &Json) -> Mutation {
    let write = Write::Put(columns(VALUE, value));
    Mutation { table: TABLE.into(), key: columns(KEY, key), write }
}

fn condition(key: &Json, check: Check) -> RowCondition {
    RowCondition { table: TABLE.into(), key: columns(KEY, key), check }
}

/// The name of a key's row, for reading it.
pub(super) fn row_name(key: &Json) -> (&'static str, Columns) {
    (TABLE, columns(KEY, key))
}

/// The value that a row holds, as JSON.
fn value_of(row: &Row, column: ColumnId) -> Option<Json> {
    let text = row.get(column)?;
    Some(serde_json::from_slice(text).expect("only JSON is ever written into this column"))
}

impl Ask {
    /// Reads a request's body.
    ///
    /// # Errors
    /// The body of the error to answer.
    pub(super) fn parse(request: &Map<String, Json>) -> Result<Self, Map<String, Json>> {
        let field = |name: &str| {
            let missing = || error(Code::MalformedRequest, &format!("the request has no {name}"));
            request.get(name).cloned().ok_or_else(missing)
        };
        match request.get("type").and_then(Json::as_str).unwrap_or_default() {
            "txn" => match field("txn")? {
                Json::Array(steps) => {
                    let steps = steps.into_iter().map(parse_step);
                    steps.collect::<Result<_, _>>().map(Self::Txn)
                }
                _ => Err(error(Code::MalformedRequest, "txn is not a list")),
            },
            "read" => Ok(Self::Read { key: field("key")? }),
            "write" => Ok(Self::Write { key: field("key")?, value: field("value")? }),
            "cas" => Ok(Self::Cas { key: field("key")?, from: field("from")?, to: field("to")? }),
            other => {
                let text = format!("{other:?} is not supported: txn, read, write and cas are");
                Err(error(Code::NotSupported, &text))
            }
        }
    }

    /// Whether it is a transaction, whose client waits longer.
    pub(super) const fn is_txn(&self) -> bool {
        matches!(self, Self::Txn(_))
    }

    /// The keys whose rows must be read first, each once.
    pub(super) fn reads(&self) -> Vec<Json> {
        let mut keys: Vec<Json> = Vec::new();
        match self {
            Self::Txn(steps) => {
                let mut written: Vec<&Json> = Vec::new();
                for step in steps {
                    let key = match step {
                        Micro::Write { key, .. } => {
                            written.push(key);
                            continue;
                        }
                        Micro::Read { key } | Micro::Append { key, .. } => key,
                    };
                    if !written.contains(&key) && !keys.contains(key) {
                        keys.push(key.clone());
                    }
                }
            }
            Self::Read { key } => keys.push(key.clone()),
            Self::Write { .. } | Self::Cas { .. } => {}
        }
        keys
    }

    /// What to do, given the rows of [`Self::reads`] in that order.
    pub(super) fn plan(&self, rows: &[Row], column: ColumnId) -> Plan {
        match self {
            Self::Txn(steps) => plan_txn(steps, &self.reads(), rows, column),
            Self::Read { .. } => {
                let value = rows.first().and_then(|row| value_of(row, column));
                Plan::Answer(match value {
                    Some(value) => body(json!({ "type": "read_ok", "value": value })),
                    None => error(Code::KeyDoesNotExist, "the key does not exist"),
                })
            }
            Self::Write { key, value } => {
                let batch = Batch { mutations: vec![put(key, value)], ..Batch::default() };
                Plan::Commit(batch, body(json!({ "type": "write_ok" })))
            }
            Self::Cas { key, from, to } => {
                let value = Some(Value::Text(from.to_string()));
                let check = Check::Compare { column: VALUE.into(), op: CompareOp::Eq, value };
                let conditions = vec![condition(key, check)];
                let batch = Batch { mutations: vec![put(key, to)], conditions, ..Batch::default() };
                Plan::Commit(batch, body(json!({ "type": "cas_ok" })))
            }
        }
    }

    /// The answer if a condition did not hold, or `None` if the client's request may be tried again.
    pub(super) fn on_failed_condition(&self, found: &FoundValue) -> Option<Map<String, Json>> {
        match (self, found) {
            (Self::Cas { .. }, FoundValue::Column { value: None, .. }) => {
                Some(error(Code::KeyDoesNotExist, "the key does not exist"))
            }
            (Self::Cas { from, .. }, FoundValue::Column { value: Some(value), .. }) => {
                let found = String::from_utf8_lossy(value);
                let text = format!("the current value {found} is not {from}");
                Some(error(Code::PreconditionFailed, &text))
            }
            // The rows have changed since they were read.
            _ => None,
        }
    }
}

fn parse_step(step: Json) -> Result<Micro, Map<String, Json>> {
    let malformed = |what: &str| {
        error(
            Code::MalformedRequest,
            &format!(
                "{what}: a step is [\"r\", key, null], [\"append\", key, element] or [\"w\", key, value]"
            ),
        )
    };
    let Json::Array(fields) = step else { return Err(malformed("a step is not a list")) };
    let Ok([function, key, value]) = <[Json; 3]>::try_from(fields) else {
        return Err(malformed("a step does not have three fields"));
    };
    match function.as_str() {
        Some("r") => Ok(Micro::Read { key }),
        Some("append") => Ok(Micro::Append { key, element: value }),
        Some("w") => Ok(Micro::Write { key, value }),
        _ => Err(malformed(&format!("{function} is no function"))),
    }
}

fn plan_txn(steps: &[Micro], keys: &[Json], rows: &[Row], column: ColumnId) -> Plan {
    let name = Json::to_string;
    let mut values: BTreeMap<String, Json> = BTreeMap::new();
    for (key, row) in keys.iter().zip(rows) {
        values.extend(value_of(row, column).map(|value| (name(key), value)));
    }
    let (mut done, mut written) = (Vec::new(), Vec::new());
    for step in steps {
        match step {
            Micro::Read { key } => {
                let value = values.get(&name(key)).cloned().unwrap_or(Json::Null);
                done.push(json!(["r", key, value]));
            }
            Micro::Append { key, element } => {
                let list = values.entry(name(key)).or_insert_with(|| json!([]));
                let Json::Array(list) = list else {
                    let text = format!("the value of {key} is not a list");
                    return Plan::Answer(error(Code::Abort, &text));
                };
                list.push(element.clone());
                written.push(key);
                done.push(json!(["append", key, element]));
            }
            Micro::Write { key, value } => {
                values.insert(name(key), value.clone());
                written.push(key);
                done.push(json!(["w", key, value]));
            }
        }
    }
    let answer = body(json!({ "type": "txn_ok", "txn": done }));
    if written.is_empty() {
        return Plan::Answer(answer);
    }
    written.sort_by_key(|key| name(key));
    written.dedup();
    let unchanged = |(key, row): (&Json, &Row)| condition(key, Check::Version(row.version()));
    let conditions = keys.iter().zip(rows).map(unchanged).collect();
    let mutations = written.into_iter().map(|key| put(key, &values[&name(key)])).collect();
    Plan::Commit(Batch { mutations, conditions, ..Batch::default() }, answer)
}

#[cfg(test)]
mod tests;
