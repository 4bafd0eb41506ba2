//! `handfast subscribe`.

use std::io::Write;
use std::path::{Path, PathBuf};

use handfast_client::{
    Change, CommittedMessage, CommittedTransaction, Key, Subscription, Told, Value,
};
use serde_json::{Map, Value as Json, json};
use wal_core::json::message_to_json;
use wal_core::message::Message;

use super::read::named_rows;
use super::{connect, namespace, render, wire};
use crate::cli::{Global, SubscribeArgs};
use crate::exit::Failure;
use crate::output;

/// Prints what commits, a line each, until it has printed as many as were asked for.
pub(crate) async fn run(global: &Global, args: SubscribeArgs) -> Result<(), Failure> {
    let client = connect(global).await?;
    let namespace = namespace(&client, &args.namespace).await?;
    let mut subscription = Subscription::new(&args.namespace);
    for (table, key) in named_rows(&namespace, &[], &args.row)? {
        let key = Key::from(wire::row(&namespace, &table, key)?.key);
        subscription = subscription.row(table, key);
    }
    subscription = args.table.iter().fold(subscription, Subscription::table);
    subscription = args.shard.iter().fold(subscription, |it, shard| it.shard(*shard));
    if args.messages {
        subscription = subscription.messages();
    }
    if args.parts {
        subscription = subscription.parts();
    }
    if args.count.is_some() {
        // So that the place behind the last one that is printed is known.
        subscription = subscription.max_batch(1);
    }
    let kept = args.resume.as_deref().map(Kept::read).transpose()?;
    subscription = match kept.as_ref().and_then(|kept| kept.at.clone()) {
        Some(at) => subscription.resume(at),
        None if args.from_beginning => subscription.from_beginning(),
        None => subscription,
    };
    let mut stream = client.subscribe(subscription);
    let mut left = args.count.unwrap_or(u64::MAX);
    while left > 0 {
        let Told { transactions, resume } = tokio::select! {
            told = stream.next() => told?,
            _ = tokio::signal::ctrl_c() => return Ok(()),
        };
        for transaction in &transactions {
            output::text(&line(transaction).to_string())?;
            left -= 1;
        }
        if let Some(kept) = &kept {
            kept.write(&resume)?;
        }
    }
    Ok(())
}

fn line(transaction: &CommittedTransaction) -> Json {
    let mut line = json!({
        "id": transaction.id.to_string(),
        "shard": transaction.shard,
        "epoch": transaction.epoch,
        "sequence": transaction.sequence,
        "commit_timestamp_us": transaction.timestamp_us,
        "participants": transaction.participants,
        "changes": transaction.changes.iter().map(change).collect::<Vec<_>>(),
    });
    if !transaction.messages.is_empty() {
        line["messages"] = transaction.messages.iter().map(message).collect();
    }
    line
}

fn message(message: &CommittedMessage) -> Json {
    let mut json = message_to_json(&Message {
        key: message.key.clone(),
        content_type: message.content_type.clone(),
        headers: message.headers.clone(),
        payload: message.payload.clone(),
        targets: message.targets.clone(),
    });
    json["index"] = json!(message.index);
    json
}

fn change(change: &Change) -> Json {
    let columns = |columns: &[(String, Value)]| {
        let named = columns.iter().map(|(name, value)| (name.clone(), render::value(value)));
        Json::Object(named.collect())
    };
    let mut object = Map::new();
    object.insert("table".to_owned(), json!(change.table));
    object.insert("key".to_owned(), change.key.iter().map(render::value).collect());
    for (name, is_so) in [("deleted", change.deleted), ("inserted", change.inserted)] {
        if is_so {
            object.insert(name.to_owned(), json!(true));
        }
    }
    for (name, of) in [("columns", &change.columns), ("added", &change.added)] {
        if !of.is_empty() {
            object.insert(name.to_owned(), columns(of));
        }
    }
    Json::Object(object)
}

/// A file that says where to go on.
struct Kept {
    path: PathBuf,
    at: Option<Vec<u8>>,
}

impl Kept {
    fn read(path: &Path) -> Result<Self, Failure> {
        let at = match std::fs::read(path) {
            Ok(at) => Some(at),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => {
                return Err(Failure::error(format!("cannot read {}: {error}", path.display())));
            }
        };
        Ok(Self { path: path.to_owned(), at })
    }

    /// As a whole or not at all, also if the power goes.
    fn write(&self, at: &[u8]) -> Result<(), Failure> {
        let written = || {
            let folder = self.path.parent().filter(|it| !it.as_os_str().is_empty());
            let folder = folder.unwrap_or(Path::new("."));
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            file.write_all(at)?;
            file.as_file().sync_all()?;
            file.persist(&self.path).map(drop).map_err(|error| error.error)
        };
        written().map_err(|error| {
            Failure::error(format!("cannot write {}: {error}", self.path.display()))
        })
    }
}
