//! From JSON to a batch, with the namespace's types.

use serde_json::Value as Json;
use uuid::Uuid;

use super::message::read_message;
use super::object::{Object, add, describe};
use crate::build::{Batch, BuildError, Check, Columns, Mutation, Problems, RowCondition, Write};
use crate::id::TxnId;
use crate::namespace::Namespace;
use crate::nearest::suggestion;
use crate::problem::Step;
use crate::row::RowVersion;
use crate::schema::{Column, Table};
use crate::txn::CompareOp;
use crate::value::Value;

/// A batch and the transaction id that came with it.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonBatch {
    /// The id, if the JSON names one.
    pub id: Option<TxnId>,
    /// The batch, typed but not yet checked: see [`crate::build::build`].
    pub batch: Batch,
}

/// The mutations by name.
const MUTATIONS: [&str; 4] = ["put", "insert", "delete", "add"];
/// What is said of a mutation that is to expire.
const NO_EXPIRY: &str = "values that expire are not supported yet: leave it out, and delete them when their time \
                         has come, by a transaction that is due later";
/// The operators of conditions.
pub(super) const OPERATORS: [(&str, CompareOp); 6] = [
    ("=", CompareOp::Eq),
    ("!=", CompareOp::Ne),
    ("<", CompareOp::Lt),
    ("<=", CompareOp::Le),
    (">", CompareOp::Gt),
    (">=", CompareOp::Ge),
];

/// Reads a batch: see the module for the format.
pub fn parse_batch(namespace: &Namespace, json: &Json) -> Result<JsonBatch, BuildError> {
    let mut problems = Problems::default();
    let batch = read_batch(namespace, json, &mut problems);
    problems.into_result()?;
    Ok(batch.expect("a batch without a problem"))
}

/// Reads a mutation by itself, `{"put": {"table": …, "key": {…}, "columns": {…}}}`: typed but not yet checked, see
/// [`crate::build::build_row`].
pub fn parse_mutation(namespace: &Namespace, json: &Json) -> Result<Mutation, BuildError> {
    let mut problems = Problems::default();
    let mutation = read_mutation(namespace, String::new(), json, &mut problems);
    problems.into_result()?;
    Ok(mutation.expect("a mutation without a problem"))
}

/// Reads the name of a row, `{"table": …, "key": {…}}`: table and key.
pub fn parse_key(namespace: &Namespace, json: &Json) -> Result<(String, Columns), BuildError> {
    let mut problems = Problems::default();
    let found = Object::new(String::new(), json, &mut problems).and_then(|mut object| {
        let row = read_row(namespace, &mut object, &mut problems);
        object.finish(&mut problems);
        row
    });
    problems.into_result()?;
    let (table, key) = found.expect("a key without a problem");
    Ok((table.full_name().to_owned(), key))
}

fn read_batch(namespace: &Namespace, json: &Json, problems: &mut Problems) -> Option<JsonBatch> {
    let mut root = Object::new(String::new(), json, problems)?;
    let mut batch = Batch::default();
    let id = root.take("id").and_then(|json| read_id(json, problems));
    for (path, json) in list(&mut root, "mutations", problems) {
        if !problems.full() {
            batch.mutations.extend(read_mutation(namespace, path, json, problems));
        }
    }
    for (path, json) in list(&mut root, "conditions", problems) {
        if !problems.full() {
            batch.conditions.extend(read_condition(namespace, path, json, problems));
        }
    }
    for (path, json) in list(&mut root, "messages", problems) {
        if !problems.full() {
            batch.messages.extend(read_message(path, json, problems));
        }
    }
    for (path, json) in list(&mut root, "regions", problems) {
        match json.as_str() {
            Some(region) => batch.regions.push(region.to_owned()),
            None => add(problems, &path, format!("expected a name, got {}", describe(json))),
        }
    }
    root.finish(problems);
    Some(JsonBatch { id, batch })
}

fn read_id(json: &Json, problems: &mut Problems) -> Option<TxnId> {
    let uuid = json.as_str().and_then(|text| Uuid::try_parse(text).ok());
    let Some(uuid) = uuid else {
        add(problems, "id", format!("expected a UUID of version 7, got {}", describe(json)));
        return None;
    };
    TxnId::from_uuid(uuid).map_err(|error| add(problems, "id", error)).ok()
}

fn list<'a>(
    object: &mut Object<'a>,
    key: &'static str,
    problems: &mut Problems,
) -> impl Iterator<Item = (String, &'a Json)> + use<'a> {
    let path = object.path_of(key);
    let items = match object.take(key) {
        None => &[][..],
        Some(Json::Array(items)) => items,
        Some(other) => {
            object.problem(key, format!("expected a list, got {}", describe(other)), problems);
            &[]
        }
    };
    items.iter().enumerate().map(move |(index, item)| (format!("{path}[{index}]"), item))
}

fn read_mutation(
    namespace: &Namespace,
    path: String,
    json: &Json,
    problems: &mut Problems,
) -> Option<Mutation> {
    let Some((kind, body)) =
        json.as_object().filter(|map| map.len() == 1).and_then(|map| map.iter().next())
    else {
        let message = format!("expected one of {}, as in {{\"put\": {{…}}}}", MUTATIONS.join(", "));
        add(problems, &path, message);
        return None;
    };
    let path = format!("{path}{}", Step(kind));
    if !MUTATIONS.contains(&kind.as_str()) {
        let near = suggestion(kind, MUTATIONS);
        let hint =
            if near.is_empty() { format!(": known are {}", MUTATIONS.join(", ")) } else { near };
        add(problems, &path, format!("unknown mutation{hint}"));
        return None;
    }
    let mut object = Object::new(path, body, problems)?;
    let row = read_row(namespace, &mut object, problems);
    let write = if kind == "delete" {
        let names: Vec<_> = list(&mut object, "columns", problems).collect();
        match object.take("columns") {
            None => Some(Write::DeleteRow),
            Some(_) => Some(Write::DeleteColumns(
                names
                    .into_iter()
                    .filter_map(|(path, name)| read_name(&path, name, problems))
                    .collect(),
            )),
        }
    } else {
        let columns = if kind == "insert" {
            object.take("columns")
        } else {
            object.need("columns", problems)
        };
        let path = object.path_of("columns");
        let columns = match (columns, &row) {
            (Some(json), Some((table, _))) => read_columns(table, path, json, problems),
            (_, _) => Some(Columns::new()),
        };
        columns.map(|columns| match kind.as_str() {
            "put" => Write::Put(columns),
            "insert" => Write::Insert(columns),
            _ => Write::Add(columns),
        })
    };
    object.refuse("ttl", NO_EXPIRY, problems);
    object.finish(problems);
    let (table, key) = row?;
    Some(Mutation { table: table.full_name().to_owned(), key, write: write? })
}

fn read_name(path: &str, json: &Json, problems: &mut Problems) -> Option<String> {
    let name = json.as_str().map(str::to_owned);
    if name.is_none() {
        add(problems, path, format!("expected a column's name, got {}", describe(json)));
    }
    name
}

fn read_condition(
    namespace: &Namespace,
    path: String,
    json: &Json,
    problems: &mut Problems,
) -> Option<RowCondition> {
    let mut object = Object::new(path.clone(), json, problems)?;
    let row = read_row(namespace, &mut object, problems);
    let exists = object.take("exists");
    let version = object.take("version");
    let column = object.take("column");
    let check = match (exists, version, column) {
        (Some(Json::Bool(true)), None, None) => Some(Check::Exists),
        (Some(Json::Bool(false)), None, None) => Some(Check::NotExists),
        (Some(other), None, None) => {
            let message = format!("expected true or false, got {}", describe(other));
            object.problem("exists", message, problems);
            None
        }
        (None, Some(version), None) => read_version(&object, version, problems).map(Check::Version),
        (None, None, Some(name)) => {
            let name = read_name(&object.path_of("column"), name, problems);
            let table = row.as_ref().map(|(table, _)| *table);
            name.zip(table)
                .and_then(|(name, table)| read_check(table, &name, &mut object, problems))
        }
        (_, _, _) => {
            let message = "expected one of \"exists\", \"version\" and \"column\" (with \"op\" and \
                           \"value\", or \"in\")";
            add(problems, &path, message);
            None
        }
    };
    // Where the check is wrong already, these would only be reported as unknown besides.
    for key in ["op", "value", "in"] {
        if check.is_none() {
            object.take(key);
        }
    }
    object.finish(problems);
    let (table, key) = row?;
    Some(RowCondition { table: table.full_name().to_owned(), key, check: check? })
}

fn read_check(
    table: &Table,
    name: &str,
    object: &mut Object<'_>,
    problems: &mut Problems,
) -> Option<Check> {
    let column = named(table, name, &object.path_of("column"), problems)?;
    if object.take("in").is_some() {
        let mut values = Vec::new();
        for (path, json) in list(object, "in", problems) {
            values.push(read_value(column, &path, json, problems)?);
        }
        return Some(Check::In { column: name.to_owned(), values });
    }
    let sign = object.text("op", problems);
    let json = object.need("value", problems);
    let op = OPERATORS.iter().find(|(known, _)| Some(*known) == sign).map(|(_, op)| *op);
    if let (Some(sign), None) = (sign, op) {
        let known = OPERATORS.map(|(known, _)| known).join(" ");
        object.problem("op", format!("unknown operator {sign:?}: known are {known}"), problems);
    }
    let value = read_value(column, &object.path_of("value"), json?, problems)?;
    Some(Check::Compare { column: name.to_owned(), op: op?, value })
}

/// A row version as 32 hexadecimal digits.
pub(super) fn read_version(
    object: &Object<'_>,
    json: &Json,
    problems: &mut Problems,
) -> Option<RowVersion> {
    let digits = json
        .as_str()
        .filter(|text| text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let version = digits.and_then(|text| u128::from_str_radix(text, 16).ok()).map(RowVersion);
    if version.is_none() {
        let message = format!("expected a string of 32 hexadecimal digits, got {}", describe(json));
        object.problem("version", message, problems);
    }
    version
}

/// `table` and `key` of an object.
pub(super) fn read_row<'a>(
    namespace: &'a Namespace,
    object: &mut Object<'_>,
    problems: &mut Problems,
) -> Option<(&'a Table, Columns)> {
    let name = object.text("table", problems);
    let key = object.need("key", problems);
    let table = match namespace.table_named(name?) {
        Ok(table) => table.as_ref(),
        Err(error) => {
            object.problem("table", error.to_string(), problems);
            return None;
        }
    };
    let key = read_columns(table, object.path_of("key"), key?, problems)?;
    Some((table, key))
}

/// An object of columns and values.
pub(super) fn read_columns(
    table: &Table,
    path: String,
    json: &Json,
    problems: &mut Problems,
) -> Option<Columns> {
    let Json::Object(map) = json else {
        add(problems, &path, format!("expected an object of columns, got {}", describe(json)));
        return None;
    };
    let mut columns = Columns::with_capacity(map.len());
    for (name, json) in map {
        if problems.full() {
            return None;
        }
        let path = format!("{path}{}", Step(name));
        if let Some(column) = named(table, name, &path, problems)
            && let Some(value) = read_value(column, &path, json, problems)
        {
            columns.push((name.clone(), value));
        }
    }
    Some(columns)
}

fn named<'a>(
    table: &'a Table,
    name: &str,
    path: &str,
    problems: &mut Problems,
) -> Option<&'a Column> {
    table.column_named(name).map_err(|error| add(problems, path, error)).ok()
}

/// A value of a column; the inner `None` is null.
fn read_value(
    column: &Column,
    path: &str,
    json: &Json,
    problems: &mut Problems,
) -> Option<Option<Value>> {
    if json.is_null() {
        return Some(None);
    }
    Value::from_json(column.ty, json).map(Some).map_err(|error| add(problems, path, error)).ok()
}
