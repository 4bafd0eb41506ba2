//! `handfast submit`.

use handfast_client::{Transaction, Uuid};
use serde_json::json;
use wal_core::TxnId;
use wal_core::build::build;
use wal_core::json::{parse, parse_batch};

use super::delayed::due;
use super::{connect, namespace, read_text, render, wire};
use crate::cli::{Global, SubmitArgs};
use crate::exit::{Failure, of_outcome};
use crate::output;

/// Commits a batch and prints its outcome.
pub(crate) async fn run(global: &Global, args: SubmitArgs) -> Result<(), Failure> {
    let json = parse(&read_text(&args.file)?).map_err(Failure::error)?;
    let client = connect(global).await?;
    let namespace = namespace(&client, &args.namespace).await?;
    let parsed = parse_batch(&namespace, &json).map_err(Failure::error)?;
    let id = args.id.or(parsed.id.map(TxnId::to_uuid)).unwrap_or_else(Uuid::now_v7);
    let txn_id = TxnId::from_uuid(id).map_err(Failure::error)?;
    // Checked here too, so that every problem is told with its path in the JSON.
    let built = build(&namespace, txn_id, &parsed.batch).map_err(Failure::error)?;
    if args.dry_run {
        let shards: Vec<u16> = built.participants().map(|shard| shard.0).collect();
        let rows: usize = built.parts.iter().map(|(_, part)| part.len()).sum();
        let plan = json!({
            "valid": true,
            "id": id.to_string(),
            "rows": rows,
            "shards": shards,
            "home_shard": built.home().0,
        });
        return output::one(global, plan);
    }
    let transaction = wire::transaction(&namespace, Some(id), parsed.batch)?;
    let due = due(&args.due)?;
    let transaction = match due {
        None => transaction,
        Some(due) => Transaction::new(namespace.name()).with_id(id).later(due, transaction),
    };
    let outcome = client.at_level(args.wait.into()).submit(&transaction).await?;
    let mut printed = render::outcome(&outcome);
    if due.is_some() {
        printed["delayed"] = json!(format!("{id}/0"));
    }
    output::one(global, printed)?;
    match (&outcome, args.wait) {
        // Durable was all that was asked for.
        (handfast_client::Outcome::Unknown(it), crate::cli::Wait::Logged) if it.logged => Ok(()),
        _ => of_outcome(&outcome),
    }
}
