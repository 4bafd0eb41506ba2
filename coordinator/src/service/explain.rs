//! The life of a transaction, from the records of its shards.

use std::sync::Arc;

use handfast_proto::v1::{self, EventKind};
use wal_core::namespace::Namespace;
use wal_core::record::{Body, CommitSingle, Prepare};
use wal_core::txn::Part;
use wal_core::{AbortReason, Timestamp, TxnId};

use super::backend::{Backend, BackendError, LoggedRecord};
use super::errors::ServiceError;
use super::names;
use super::shared::Shared;

/// Runs a question that may block on a thread made for that.
pub(super) async fn blocking<T: Send + 'static>(
    shared: &Shared,
    question: impl FnOnce(&dyn Backend) -> Result<T, BackendError> + Send + 'static,
) -> Result<T, ServiceError> {
    let backend = Arc::clone(&shared.backend);
    match tokio::task::spawn_blocking(move || question(&*backend)).await {
        Ok(answer) => answer.map_err(ServiceError::from),
        Err(error) => Err(ServiceError::Internal(format!("a question was cut off: {error}"))),
    }
}

/// Every record about a transaction, as the wire says it.
pub(super) async fn events(
    shared: &Shared,
    namespace: &Arc<Namespace>,
    id: TxnId,
) -> Result<Vec<v1::Event>, ServiceError> {
    let of = Arc::clone(namespace);
    let records = blocking(shared, move |backend| backend.explain(&of, id)).await?;
    if records.is_empty() {
        return Err(ServiceError::TransactionNotFound { id });
    }
    Ok(records.iter().filter_map(|logged| event(namespace, logged)).collect())
}

/// What a record says of its transaction; `None` if it is about none.
fn event(namespace: &Namespace, logged: &LoggedRecord) -> Option<v1::Event> {
    let Told { kind, attempt, timestamp, rows, text } = told(&logged.record.body)?;
    let rows = rows.iter().flat_map(|part| part.iter());
    Some(v1::Event {
        shard: u32::from(logged.shard.0),
        epoch: logged.record.header.epoch.0,
        sequence: logged.record.header.seq.0,
        position: logged.position.0,
        accepted: logged.accepted,
        kind: kind.into(),
        attempt,
        timestamp_us: timestamp.0,
        rows: rows.map(|row| names::row_key(namespace, &row.key)).collect(),
        text,
    })
}

/// A record in plain words.
struct Told<'a> {
    kind: EventKind,
    attempt: u32,
    timestamp: Timestamp,
    rows: Vec<&'a Part>,
    text: String,
}

impl Told<'_> {
    fn brief(kind: EventKind, attempt: u32, text: impl Into<String>) -> Self {
        Self { kind, attempt, timestamp: Timestamp(0), rows: Vec::new(), text: text.into() }
    }
}

fn told(body: &Body) -> Option<Told<'_>> {
    Some(match body {
        Body::Intent { transaction, .. } => Told {
            rows: transaction.parts.iter().map(|(_, part)| &**part).collect(),
            ..Told::brief(
                EventKind::Intent,
                0,
                "the home holds the whole transaction and will drive it",
            )
        },
        Body::Prepare(prepare) => told_prepare(prepare),
        Body::Commit { attempt, timestamp, .. } => Told {
            timestamp: *timestamp,
            ..Told::brief(
                EventKind::Commit,
                attempt.number,
                "every participant had promised: committed",
            )
        },
        Body::CommitSingle(commit) => told_single(commit),
        Body::Abort { attempt, .. } => Told::brief(
            EventKind::Abort,
            attempt.number,
            "this attempt ended without a commit; its locks were freed",
        ),
        Body::Refuse { attempt, .. } => Told::brief(
            EventKind::Refuse,
            attempt.number,
            "recovery asked before the shard had promised: it never will in this attempt",
        ),
        Body::Close { reason, .. } => {
            Told::brief(EventKind::Close, 0, format!("aborted for good: {}", why(reason)))
        }
        Body::Epoch { .. }
        | Body::Finished { .. }
        | Body::Floor { .. }
        | Body::Checkpoint { .. }
        | Body::Discard { .. }
        | Body::Resign
        | Body::Barrier => return None,
    })
}

fn told_prepare(prepare: &Prepare) -> Told<'_> {
    let holds = if prepare.others.is_empty() { "" } else { "; as the home it holds the whole" };
    let shards = prepare.participants.len();
    Told {
        timestamp: prepare.proposal,
        rows: vec![&prepare.part],
        ..Told::brief(
            EventKind::Prepare,
            prepare.attempt.number,
            format!("locked, checked and promised, one of {shards} participants{holds}"),
        )
    }
}

fn told_single(commit: &CommitSingle) -> Told<'_> {
    Told {
        timestamp: commit.timestamp,
        rows: vec![&commit.part],
        ..Told::brief(
            EventKind::CommitSingle,
            0,
            "all rows are of this shard: checked and committed",
        )
    }
}

fn why(reason: &AbortReason) -> String {
    match reason {
        AbortReason::ConditionFailed { index, .. } => format!("condition {index} did not hold"),
        AbortReason::Overflow { .. } => "an add left the range of its type".to_owned(),
        AbortReason::TimestampInFuture { .. } => {
            "a row was written with a time in the future".to_owned()
        }
        AbortReason::Schema { what } => format!("the namespace changed: {what}"),
        AbortReason::Fenced => "it was barred by request".to_owned(),
        AbortReason::IdReused => "its id had been used for other content".to_owned(),
    }
}
