//! `handfast delayed`, and when something is due.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use handfast_client::{Client, Due, Kind, Outcome, Uuid, v1};
use prost::Message as _;
use serde_json::{Value as Json, json};
use wal_core::value::{ColumnType, Value};

use super::{connect, render};
use crate::cli::{DelayedVerb, DueArgs, Global};
use crate::exit::{Failure, of_outcome};
use crate::output;

/// Parts that are asked for at a time.
const PAGE: u32 = 1_000;

/// When something is due; `None` is now.
pub(super) fn due(args: &DueArgs) -> Result<Option<Due>, Failure> {
    let due = match (&args.after, &args.at) {
        (Some(after), _) => Due::after(*after),
        (None, Some(at)) => Due::at(time(at)?),
        (None, None) if args.later => Due::default(),
        (None, None) if args.jitter.is_some() => {
            return Err(Failure::usage("--jitter needs --after, --at or --later"));
        }
        (None, None) => return Ok(None),
    };
    Ok(Some(args.jitter.map_or(due, |jitter| due.jitter(jitter))))
}

pub(super) fn time(text: &str) -> Result<SystemTime, Failure> {
    let wrong = || Failure::usage(format!("{text:?} is not a time: write 2027-01-31T08:00:00Z"));
    match Value::from_json(ColumnType::Timestamp, &json!(text)) {
        Ok(Value::Timestamp(ms)) => {
            let ms = u64::try_from(ms).map_err(|_| wrong())?;
            UNIX_EPOCH.checked_add(Duration::from_millis(ms)).ok_or_else(wrong)
        }
        Ok(_) | Err(_) => Err(wrong()),
    }
}

pub(crate) async fn run(global: &Global, verb: DelayedVerb) -> Result<(), Failure> {
    let client = connect(global).await?;
    match verb {
        DelayedVerb::List { namespace, refused, within, limit } => {
            let due_before_ms = within.map_or(0, |within| (now() + within).as_millis() as u64);
            let request =
                v1::ListDelayedRequest { namespace, refused, due_before_ms, ..Default::default() };
            let parts = list(&client, request, limit).await?;
            let rows = parts.into_iter().map(|part| {
                json!({"name": part.name, "due": shown(part.due_ms), "due_ms": part.due_ms, "shard": part.shard})
            });
            output::many(global, &["name", "due", "shard"], rows.collect())
        }
        DelayedVerb::Count { namespace } => {
            let request =
                v1::ListDelayedRequest { namespace, limit: 1, count: true, ..Default::default() };
            let listed = client.admin().list_delayed(request).await?;
            output::one(global, json!({"pending": listed.pending, "refused": listed.refused}))
        }
        DelayedVerb::Show { namespace, name } => show(global, &client, &namespace, &name).await,
        DelayedVerb::Cancel { namespace, name, id } => {
            let id = id.unwrap_or_else(Uuid::now_v7);
            print(global, &name, &client.cancel_delayed(&namespace, id, &name).await?)
        }
        DelayedVerb::Reschedule { namespace, name, due, id } => {
            let Some(due) = self::due(&due)? else {
                return Err(Failure::usage("say when: --after, --at or --later"));
            };
            let id = id.unwrap_or_else(Uuid::now_v7);
            print(global, &name, &client.reschedule_delayed(&namespace, id, &name, due).await?)
        }
    }
}

fn print(global: &Global, name: &str, outcome: &Outcome) -> Result<(), Failure> {
    let mut printed = render::outcome(outcome);
    printed["delayed"] = json!(name);
    output::one(global, printed)?;
    if matches!(outcome, Outcome::Aborted(_)) {
        eprintln!("{name} was not pending any more: it was done, or cancelled before");
    }
    of_outcome(outcome)
}

async fn list(
    client: &Client,
    request: v1::ListDelayedRequest,
    limit: u32,
) -> Result<Vec<v1::DelayedPart>, Failure> {
    let mut parts = Vec::new();
    let mut after = String::new();
    loop {
        let left = limit.saturating_sub(u32::try_from(parts.len()).unwrap_or(limit));
        if left == 0 {
            return Ok(parts);
        }
        let page = v1::ListDelayedRequest { limit: left.min(PAGE), after, ..request.clone() };
        let found = client.admin().list_delayed(page).await?;
        parts.extend(found.parts);
        if found.next.is_empty() {
            return Ok(parts);
        }
        after = found.next;
    }
}

async fn show(
    global: &Global,
    client: &Client,
    namespace: &str,
    name: &str,
) -> Result<(), Failure> {
    let wrong = || Failure::usage(format!("{name:?} is not a name: write ID/PLACE"));
    let (id, place) = name.split_once('/').ok_or_else(wrong)?;
    let id: Uuid = id.parse().map_err(|_| wrong())?;
    let place: i64 = place.parse().map_err(|_| wrong())?;
    let request =
        v1::ListDelayedRequest { namespace: namespace.to_owned(), limit: 1, ..Default::default() };
    let table = client.admin().list_delayed(request).await?.table;
    let row = client.read_row(namespace, table, (id, place)).await?;
    if !row.exists {
        return Err(Failure::not_found(format!(
            "{name} is not pending: it was done or cancelled, or never was"
        )));
    }
    let mut shown = json!({"name": name, "problem": row.text("problem")});
    if let Some(Kind::Timestamp(due)) = row.get("due").and_then(|value| value.kind.as_ref()) {
        shown["due_ms"] = json!(due);
        shown["due"] = self::shown(u64::try_from(*due).unwrap_or(0));
    }
    if let Some(Kind::Blob(body)) = row.get("body").and_then(|value| value.kind.clone())
        && let Ok(body) = v1::Transaction::decode(body)
    {
        shown["mutations"] = json!(body.mutations.len());
        shown["conditions"] = json!(body.conditions.len());
        shown["messages"] = body.messages.into_iter().map(super::deliveries::message_of).collect();
    }
    output::one(global, shown)
}

/// A time as people read it.
fn shown(ms: u64) -> Json {
    Value::Timestamp(i64::try_from(ms).unwrap_or(i64::MAX)).to_json()
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
