//! `handfast target` and `handfast dead-letters`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use handfast_client::{Client, v1};
use serde_json::{Value as Json, json};
use wal_core::json::message_to_json;
use wal_core::message::Message;

use super::connect;
use super::redrive::Redrive;
use crate::cli::{DeadLettersVerb, Global, TargetVerb, WhichLetters};
use crate::exit::Failure;
use crate::output;

/// Letters that are asked for at a time.
const PAGE: u32 = 1_000;

pub(crate) async fn target(global: &Global, verb: TargetVerb) -> Result<(), Failure> {
    let client = connect(global).await?;
    match verb {
        TargetVerb::List { namespace } => {
            let found = client.admin().list_targets(&namespace).await?;
            let table = output::is_table(global);
            let targets = found.into_iter().map(|it| target_status(it, table)).collect();
            let headers = [
                "name",
                "kind",
                "paused",
                "retired",
                "dead_letters",
                "redriving",
                "held",
                "shards",
                "problem",
            ];
            output::many(global, &headers, targets)
        }
        TargetVerb::Retry { namespace, target } => {
            client.admin().retry_target(&namespace, &target).await?;
            output::one(global, json!({"namespace": namespace, "target": target, "retried": true}))
        }
    }
}

pub(crate) async fn dead_letters(global: &Global, verb: DeadLettersVerb) -> Result<(), Failure> {
    let client = connect(global).await?;
    match verb {
        DeadLettersVerb::List { which, limit } => {
            let (namespace, selection) = (&which.namespace, selection(&which));
            let found = outlines(&client, namespace, selection, Some(limit)).await?;
            let rows = found.iter().map(summary).collect();
            let headers = ["name", "target", "key", "cause", "tries", "redriving", "last_error"];
            output::many(global, &headers, rows)
        }
        DeadLettersVerb::Show { namespace, name } => {
            let selection =
                v1::DeadLetterSelection { names: vec![name.clone()], ..Default::default() };
            let found = client.admin().list_dead_letters(&namespace, selection, PAGE, "").await?;
            if found.letters.is_empty() {
                return Err(Failure::error(format!(
                    "there is no dead letter {name:?}: it was delivered or discarded, or never one"
                )));
            }
            // One message may be a dead letter of several targets.
            for letter in &found.letters {
                output::one(global, whole(letter))?;
            }
            Ok(())
        }
        DeadLettersVerb::Export { which } => {
            let (mut after, selection) = (String::new(), selection(&which));
            loop {
                let page = client.admin();
                let page =
                    page.list_dead_letters(&which.namespace, selection.clone(), PAGE, &after);
                let page = page.await?;
                for letter in &page.letters {
                    output::text(&whole(letter).to_string())?;
                }
                if page.next.is_empty() {
                    return Ok(());
                }
                after = page.next;
            }
        }
        DeadLettersVerb::Redrive { which, dry_run, wait, rate } => {
            let (namespace, selection) = (&*which.namespace, selection(&which));
            let redrive = Redrive { client: &client, namespace, selection };
            match dry_run {
                true => redrive.dry_run(global).await,
                false => redrive.run(global, rate, wait).await,
            }
        }
        DeadLettersVerb::Cancel { which } => {
            let count = change(&client, &which, v1::DeadLetterWish::Cancel).await?;
            output::one(global, json!({"cancelled": count}))
        }
        DeadLettersVerb::Discard { which, dry_run: true } => {
            let admin = client.admin();
            let found = admin.count_dead_letters(&which.namespace, selection(&which)).await?;
            let count = found.dead + found.redriving;
            output::one(global, json!({"discarded": 0, "would_be": count}))
        }
        DeadLettersVerb::Discard { which, .. } => {
            let count = change(&client, &which, v1::DeadLetterWish::Discard).await?;
            output::one(global, json!({"discarded": count}))
        }
    }
}

async fn change(
    client: &Client,
    which: &WhichLetters,
    wish: v1::DeadLetterWish,
) -> Result<u64, Failure> {
    Ok(client.admin().change_dead_letters(&which.namespace, selection(which), wish).await?)
}

/// Letters without their messages, at most `limit`.
pub(super) async fn outlines(
    client: &Client,
    namespace: &str,
    selection: v1::DeadLetterSelection,
    limit: Option<u32>,
) -> Result<Vec<v1::DeadLetter>, Failure> {
    let mut all = Vec::new();
    let mut after = String::new();
    loop {
        let left =
            limit.map(|limit| limit.saturating_sub(u32::try_from(all.len()).unwrap_or(limit)));
        if left == Some(0) {
            return Ok(all);
        }
        let page = left.unwrap_or(PAGE).min(PAGE);
        let admin = client.admin();
        let found = admin.outline_dead_letters(namespace, selection.clone(), page, &after).await?;
        all.extend(found.letters);
        if found.next.is_empty() {
            return Ok(all);
        }
        after = found.next;
    }
}

fn selection(which: &WhichLetters) -> v1::DeadLetterSelection {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let ago = |since: Duration| {
        u64::try_from(now.saturating_sub(since).as_millis()).unwrap_or(u64::MAX).max(1)
    };
    v1::DeadLetterSelection {
        target: which.target.clone().unwrap_or_default(),
        key: which.key.clone().map(Into::into),
        names: which.names.clone(),
        redriving: None,
        since_ms: which.since.map_or(0, ago),
        before_ms: which.before.map_or(0, ago),
    }
}

fn target_status(status: v1::TargetStatus, short: bool) -> Json {
    let held: u64 = status.shards.iter().map(|it| it.held).sum();
    let shards = if short {
        let delivered = status.shards.iter().filter(|it| !it.process.is_empty()).count();
        json!(delivered)
    } else {
        status.shards.iter().map(shard_delivery).collect()
    };
    json!({
        "name": status.name,
        "kind": status.kind,
        "paused": status.paused,
        "retired": status.retired,
        "dead_letters": status.dead_letters,
        "redriving": status.redriving,
        "held": held,
        "shards": shards,
        "problem": status.problem,
    })
}

fn shard_delivery(shard: &v1::ShardDelivery) -> Json {
    let mut told = json!({
        "shard": shard.shard,
        "process": shard.process,
        "dealt_with": shard.dealt_with,
        "here": shard.here,
    });
    if shard.here {
        told["held"] = json!(shard.held);
        told["in_flight"] = json!(shard.in_flight);
        told["waiting_for_retry"] = json!(shard.waiting_for_retry);
        told["parked"] = json!(shard.parked);
        told["oldest_us"] = json!(shard.oldest_us);
        told["window"] = json!(shard.window);
        told["held_up_by"] = json!(shard.held_up_by);
        told["unread"] = json!(shard.unread);
    }
    told
}

fn message(letter: &v1::DeadLetter) -> Json {
    message_of(letter.message.clone().unwrap_or_default())
}

/// A message as a batch of JSON has it.
pub(super) fn message_of(message: v1::Message) -> Json {
    let v1::Message { key, content_type, headers, payload, targets } = message;
    let headers = headers.into_iter().map(|header| (header.name, header.value)).collect();
    message_to_json(&Message { key, content_type, headers, payload, targets })
}

fn summary(letter: &v1::DeadLetter) -> Json {
    json!({
        "name": letter.name,
        "target": letter.target,
        "key": message(letter).get("key"),
        "cause": letter.cause,
        "tries": letter.tries,
        "redriving": letter.redriving,
        "buried_at_ms": letter.buried_at_ms,
        "last_error": letter.history.last().map(|it| &it.text),
    })
}

fn whole(letter: &v1::DeadLetter) -> Json {
    let one = |it: &v1::DeliveryTry| json!({"number": it.number, "at_ms": it.at_ms, "class": it.class, "text": it.text});
    json!({
        "name": letter.name,
        "target": letter.target,
        "shard": letter.shard,
        "commit_timestamp_us": letter.commit_timestamp_us,
        "buried_at_ms": letter.buried_at_ms,
        "cause": letter.cause,
        "tries": letter.tries,
        "history": letter.history.iter().map(one).collect::<Vec<_>>(),
        "redriving": letter.redriving,
        "message": message(letter),
    })
}
