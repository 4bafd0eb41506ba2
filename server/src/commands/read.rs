//! `handfast read`.

use handfast_client::{ArrivedFrom, Key};
use serde_json::{Map, Value as Json, json};
use wal_core::build::Columns;
use wal_core::json::{key_to_json, parse, parse_key};
use wal_core::namespace::Namespace;
use wal_core::value::Value;

use super::{connect, namespace, render, wire};
use crate::cli::{Global, ReadArgs};
use crate::exit::Failure;
use crate::output;

/// Reads rows at one point and prints them.
pub(crate) async fn run(global: &Global, args: ReadArgs) -> Result<(), Failure> {
    let client = connect(global).await?;
    let namespace = namespace(&client, &args.namespace).await?;
    let rows = named_rows(&namespace, &args.target, &args.row)?;
    let mut asked = Vec::with_capacity(rows.len());
    for (table, key) in &rows {
        asked.push((table.clone(), Key::from(wire::row(&namespace, table, key.clone())?.key)));
    }
    let found = if args.not_before.is_empty() {
        client.read(&args.namespace, asked).await?
    } else {
        let not_before: Result<Vec<_>, _> = args.not_before.iter().map(|it| arrived(it)).collect();
        client.read_arrived(&args.namespace, asked, &not_before?).await?.0
    };
    let printed = rows.iter().zip(found).map(|((table, key), row)| {
        let columns = row.columns.iter().map(|(name, it)| (name.clone(), render::value(it)));
        let columns: Map<String, Json> = columns.collect();
        json!({
            "table": table,
            "key": key_to_json(table, key)["key"],
            "exists": row.exists,
            "columns": columns,
            "version": render::hex(&row.version.0),
        })
    });
    output::many(global, &["table", "key", "exists", "columns", "version"], printed.collect())
}

/// `REGION=MICROSECONDS`.
fn arrived(text: &str) -> Result<ArrivedFrom, Failure> {
    let wrong = || Failure::usage(format!("{text:?} is not REGION=MICROSECONDS"));
    let (region, at) = text.split_once('=').ok_or_else(wrong)?;
    let watermark_us = at.parse().map_err(|_| wrong())?;
    Ok(ArrivedFrom { region: region.to_owned(), watermark_us })
}

/// Rows named on the command line: a table and its key, and rows as JSON.
pub(super) fn named_rows(
    namespace: &Namespace,
    target: &[String],
    json: &[String],
) -> Result<Vec<(String, Columns)>, Failure> {
    let mut rows = Vec::new();
    if let [table, key @ ..] = target {
        rows.push((table.clone(), typed_key(namespace, table, key)?));
    }
    for row in json {
        let json = parse(row).map_err(Failure::usage)?;
        rows.push(parse_key(namespace, &json).map_err(Failure::usage)?);
    }
    Ok(rows)
}

/// A key written as one text for each part.
fn typed_key(namespace: &Namespace, table: &str, key: &[String]) -> Result<Columns, Failure> {
    let found = namespace.table_named(table).map_err(Failure::usage)?;
    let columns: Vec<_> = found.partition_key().chain(found.clustering_key()).collect();
    if columns.len() != key.len() {
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        let (names, got) = (names.join(", "), key.len());
        return Err(Failure::usage(format!("the key of {table} is ({names}), got {got} values")));
    }
    let part = |(column, text): (&&wal_core::schema::Column, &String)| {
        // As JSON has it: text for most types; numbers and booleans as they are.
        let plain = Json::from(text.as_str());
        let value = Value::from_json(column.ty, &plain).or_else(|error| {
            let literal = serde_json::from_str(text).map_err(|_| error.clone())?;
            Value::from_json(column.ty, &literal)
        });
        let value = value.map_err(|error| Failure::usage(format!("{}: {error}", column.name)))?;
        Ok((column.name.clone(), Some(value)))
    };
    columns.iter().zip(key).map(part).collect()
}
