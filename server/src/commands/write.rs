//! `handfast write`.

use std::io::Read;
use std::path::Path;

use handfast_client::{Durable, Message, Uuid};
use serde_json::json;

use super::delayed::due;
use super::{connect, render};
use crate::cli::{Global, WriteArgs};
use crate::exit::{Failure, TRY_AGAIN};
use crate::output;

/// Writes one message into the log, and prints where it is.
pub(crate) async fn run(global: &Global, args: WriteArgs) -> Result<(), Failure> {
    let mut message = Message::new(read(&args.file)?);
    if let Some(key) = args.key {
        message = message.key(key);
    }
    if let Some(content_type) = args.content_type {
        message = message.content_type(content_type);
    }
    for (name, value) in args.header {
        message = message.header(name, value);
    }
    for target in args.to {
        message = message.to(target);
    }
    let id = args.id.unwrap_or_else(Uuid::now_v7);
    let client = connect(global).await?;
    let mut printed = json!({"namespace": args.namespace, "id": id.to_string()});
    let durable = match due(&args.due)? {
        None => client.write_to_log(&args.namespace, id, message).await?,
        Some(due) => {
            printed["delayed"] = json!(format!("{id}/0"));
            client.write_to_log_later(&args.namespace, id, due, message).await?
        }
    };
    let failure = match durable {
        Durable::True { receipt } => {
            printed["durable"] = json!(true);
            render::receipt(printed.as_object_mut().expect("an object"), receipt.as_ref());
            None
        }
        Durable::False => {
            printed["durable"] = json!(false);
            Some(Failure::error("it was fenced: it is not in the log, and never will be"))
        }
        Durable::Unknown { .. } => {
            printed["durable"] = json!("unknown");
            let again = format!("it is not known yet; write the same again with --id {id}");
            Some(Failure { code: TRY_AGAIN, message: again })
        }
    };
    output::one(global, printed)?;
    failure.map_or(Ok(()), Err)
}

/// A file's bytes; - is stdin.
fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = if file == Path::new("-") {
        std::io::stdin().lock().read_to_end(&mut bytes).map(drop)
    } else {
        std::fs::read(file).map(|read| bytes = read)
    };
    read.map_err(|error| Failure::error(format!("cannot read {}: {error}", file.display())))?;
    Ok(bytes)
}
