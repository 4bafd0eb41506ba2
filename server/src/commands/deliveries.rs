//! `handfast target` and `handfast dead-letters`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use handfast_client::{Client, v1};
use serde_json::{Value as Json, json};
use wal_core::json::message_to_json;
use wal_core::message::Message;

use super::connect;
use crate::cli::{DeadLettersVerb, Global, TargetVerb, WhichLetters};
use crate::exit::{Failure, TRY_AGAIN};
use crate::output;

/// Letters that are asked for at a time.
const PAGE: u32 = 1_000;
/// How often it is looked whether letters are still on their way.
const LOOK_EVERY: Duration = Duration::from_millis(200);

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
            let found = letters(&client, &which, Some(limit)).await?;
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
            let mut after = String::new();
            loop {
                let page = client.admin();
                let page =
                    page.list_dead_letters(&which.namespace, selection(&which), PAGE, &after);
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
        DeadLettersVerb::Redrive { which, dry_run: true, .. } => {
            dry_run(global, &client, &which, "redriving").await
        }
        DeadLettersVerb::Redrive { which, wait, rate, .. } => {
            let count = match rate {
                None => change(&client, &which, v1::DeadLetterWish::Redrive).await?,
                Some(rate) => redrive_slowly(&client, &which, rate).await?,
            };
            match wait {
                Some(patience) => until_redriven(global, &client, &which, count, patience).await,
                None => output::one(global, json!({"redriving": count})),
            }
        }
        DeadLettersVerb::Cancel { which } => {
            let count = change(&client, &which, v1::DeadLetterWish::Cancel).await?;
            output::one(global, json!({"cancelled": count}))
        }
        DeadLettersVerb::Discard { which, dry_run: true } => {
            dry_run(global, &client, &which, "discarded").await
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

/// Has a second's worth sent again, every second, with progress on stderr.
async fn redrive_slowly(client: &Client, which: &WhichLetters, rate: u32) -> Result<u64, Failure> {
    let chosen = letters(client, which, None).await?;
    let mut names: Vec<String> = chosen.into_iter().map(|letter| letter.name).collect();
    names.dedup(); // one message may be a dead letter of several targets
    let mut every = tokio::time::interval(Duration::from_secs(1));
    let mut count = 0;
    for some in names.chunks(rate as usize) {
        every.tick().await;
        let some = WhichLetters { names: some.to_vec(), ..which.clone() };
        count += change(client, &some, v1::DeadLetterWish::Redrive).await?;
        eprintln!("{count} of {} sent again", names.len());
    }
    Ok(count)
}

async fn dry_run(
    global: &Global,
    client: &Client,
    which: &WhichLetters,
    what: &str,
) -> Result<(), Failure> {
    let count = letters(client, which, None).await?.len();
    output::one(global, json!({what: 0, "would_be": count}))
}

/// Waits until nothing of what was chosen is on its way, with progress on stderr.
async fn until_redriven(
    global: &Global,
    client: &Client,
    which: &WhichLetters,
    count: u64,
    patience: Duration,
) -> Result<(), Failure> {
    let end = tokio::time::Instant::now() + patience;
    let mut told = u64::MAX;
    loop {
        let left = letters(client, which, None).await?;
        let under_way = left.iter().filter(|letter| letter.redriving).count() as u64;
        let delivered = count.saturating_sub(left.len() as u64);
        let printed = json!({
            "redriving": under_way,
            "delivered": delivered,
            "dead": left.len() as u64 - under_way,
        });
        if under_way == 0 {
            return output::one(global, printed);
        }
        if tokio::time::Instant::now() >= end {
            output::one(global, printed)?;
            let message = format!("{under_way} are still on their way after {patience:?}");
            return Err(Failure { code: TRY_AGAIN, message });
        }
        if under_way != told {
            eprintln!("{under_way} of {count} on their way");
            told = under_way;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn letters(
    client: &Client,
    which: &WhichLetters,
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
        let found =
            admin.list_dead_letters(&which.namespace, selection(which), page, &after).await?;
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
