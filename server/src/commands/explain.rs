//! `handfast explain`.

use handfast_client::{Event, Explained, Locator};
use serde_json::{Value as Json, json};

use super::{connect, render};
use crate::cli::{ExplainArgs, Format, Global};
use crate::exit::Failure;
use crate::output;

/// Prints the life of a transaction.
pub(crate) async fn run(global: &Global, args: ExplainArgs) -> Result<(), Failure> {
    let client = connect(global).await?;
    let explained = client.explain(&Locator::new(args.namespace, args.id)).await?;
    print(global, &explained)
}

const HEADERS: [&str; 8] =
    ["shard", "epoch", "sequence", "kind", "attempt", "accepted", "rows", "text"];

/// The events, one a row; as JSON, with the outcome above them.
pub(crate) fn print(global: &Global, explained: &Explained) -> Result<(), Failure> {
    let events: Vec<Json> = explained.events.iter().map(event).collect();
    if global.output == Some(Format::Json) {
        let outcome = explained.outcome.as_ref().map(render::outcome);
        return output::one(global, json!({"outcome": outcome, "events": events}));
    }
    output::many(global, &HEADERS, events)
}

fn event(event: &Event) -> Json {
    let kind = event.kind().as_str_name().trim_start_matches("EVENT_KIND_").to_lowercase();
    let rows: Vec<String> = event.rows.iter().map(ToString::to_string).collect();
    json!({
        "shard": event.shard,
        "epoch": event.epoch,
        "sequence": event.sequence,
        "position": event.position,
        "accepted": event.accepted,
        "kind": kind,
        "attempt": event.attempt,
        "timestamp_us": event.timestamp_us,
        "rows": rows.join(" "),
        "text": event.text,
    })
}
