//! `handfast parked`.

use handfast_client::{Client, v1};
use serde_json::{Map, Value as Json, json};
use wal_core::namespace::Namespace;

use super::{connect, namespace, read, render, wire};
use crate::cli::{Format, Global, Parked, ParkedListArgs, ParkedRetryArgs, ParkedRowsArgs};
use crate::exit::Failure;
use crate::output;

/// Lists parked rows, tries them again, or gives them up.
pub(crate) async fn run(global: &Global, verb: Parked) -> Result<(), Failure> {
    let client = connect(global).await?;
    match verb {
        Parked::List(args) => list(global, &client, &args).await,
        Parked::Retry(args) => retry(global, &client, &args).await,
        Parked::Discard(args) => discard(global, &client, &args).await,
    }
}

async fn list(global: &Global, client: &Client, args: &ParkedListArgs) -> Result<(), Failure> {
    let found = client.admin().list_parked(&args.namespace, args.limit).await?;
    let namespace = namespace(client, &args.namespace).await?;
    let rows: Vec<Json> = found.rows.iter().map(|row| parked_row(&namespace, row)).collect();
    if global.output == Some(Format::Json) {
        let elsewhere = elsewhere(&found.elsewhere);
        return output::one(
            global,
            json!({"rows": rows, "total": found.total, "elsewhere": elsewhere}),
        );
    }
    if found.total > rows.len() as u64 {
        eprintln!("{} of {} rows; more with --limit", rows.len(), found.total);
    }
    warn_of(&found.elsewhere);
    output::many(global, &["row", "shard", "commits", "tries", "columns", "reason"], rows)
}

async fn retry(global: &Global, client: &Client, args: &ParkedRetryArgs) -> Result<(), Failure> {
    let ParkedRetryArgs { namespace, target, row, table, all } = args.clone();
    let mut choice =
        choose(client, &ParkedRowsArgs { namespace: namespace.clone(), target, row, table })
            .await?;
    choice.all = all;
    let done = client.admin().retry_parked(&namespace, choice).await?;
    done_with(global, "tried", done.rows, &done.elsewhere)
}

async fn discard(global: &Global, client: &Client, args: &ParkedRowsArgs) -> Result<(), Failure> {
    let choice = choose(client, args).await?;
    let done = client.admin().discard_parked(&args.namespace, choice).await?;
    done_with(global, "discarded", done.rows, &done.elsewhere)
}

async fn choose(client: &Client, args: &ParkedRowsArgs) -> Result<v1::ParkedChoice, Failure> {
    let mut choice = v1::ParkedChoice {
        table: args.table.clone().unwrap_or_default(),
        ..v1::ParkedChoice::default()
    };
    if args.target.is_empty() && args.row.is_empty() {
        return Ok(choice);
    }
    let namespace = namespace(client, &args.namespace).await?;
    for (table, key) in read::named_rows(&namespace, &args.target, &args.row)? {
        choice.rows.push(wire::row(&namespace, &table, key)?);
    }
    Ok(choice)
}

fn done_with(
    global: &Global,
    what: &str,
    rows: u64,
    others: &[v1::ShardElsewhere],
) -> Result<(), Failure> {
    if global.output != Some(Format::Json) {
        warn_of(others);
    }
    output::one(global, json!({what: rows, "elsewhere": elsewhere(others)}))
}

/// In a cluster the asked server may lead only some of the shards.
fn warn_of(others: &[v1::ShardElsewhere]) {
    if !others.is_empty() {
        let shards: Vec<String> = others.iter().map(|other| other.shard.to_string()).collect();
        eprintln!(
            "the asked server does not lead shards {}: ask their leaders too, see -o json",
            shards.join(", ")
        );
    }
}

fn elsewhere(others: &[v1::ShardElsewhere]) -> Vec<Json> {
    let other = |other: &v1::ShardElsewhere| json!({"shard": other.shard, "leader": other.leader});
    others.iter().map(other).collect()
}

/// The row as `--row` takes it. A table that the namespace no longer knows has no names for its key.
fn named(namespace: &Namespace, row: &v1::RowKey) -> Json {
    let Ok(table) = namespace.table_named(&row.table) else { return render::row(Some(row)) };
    let columns = table.partition_key().chain(table.clustering_key());
    let key: Map<String, Json> = columns
        .zip(&row.key)
        .map(|(column, value)| (column.name.clone(), render::value(value)))
        .collect();
    json!({"table": row.table, "key": key})
}

fn parked_row(namespace: &Namespace, row: &v1::ParkedRow) -> Json {
    let value = |column: &v1::Column| {
        let value = column.value.clone().unwrap_or_default();
        (column.name.clone(), render::value(&value))
    };
    let columns: Map<String, Json> = row.columns.iter().map(value).collect();
    json!({
        "row": row.row.as_ref().map(|row| named(namespace, row)),
        "shard": row.shard,
        "commits": row.commits,
        "tries": row.tries,
        "deleted": row.deleted,
        "columns": columns,
        "first_timestamp_us": row.first_timestamp_us,
        "last_timestamp_us": row.last_timestamp_us,
        "reason": row.reason,
    })
}
