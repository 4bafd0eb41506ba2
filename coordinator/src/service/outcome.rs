//! The engine's answers in the words of the wire.

use bytes::Bytes;
use handfast_proto::v1::{self, aborted, condition_failed, outcome::State};
use wal_core::namespace::Namespace;
use wal_core::{AbortReason, FoundValue, RowKey, ShardId, Transaction, TxnId};

use super::errors::ServiceError;
use super::metrics::ServiceMetrics;
use super::names;
use crate::api::{Answer, CallAnswer, OutcomeAnswer, Receipt};

/// The answer to a submission; `None` is a wait that ended first.
pub(super) fn of_submission(
    metrics: &ServiceMetrics,
    namespace: &Namespace,
    txn: &Transaction,
    answer: Option<CallAnswer>,
) -> Result<v1::Outcome, ServiceError> {
    let id = txn.id;
    let answer = match answer {
        Some(CallAnswer::Submit(answer)) => answer,
        Some(CallAnswer::Read(_) | CallAnswer::Outcome(_)) => return Err(mismatch("a submission")),
        None => {
            metrics.wait_ended();
            return Ok(unknown(namespace, txn));
        }
    };
    metrics.answered(&answer);
    let located = |state| v1::Outcome {
        locator: Some(locator(namespace, id, Some(txn.home()))),
        receipt: None,
        state: Some(state),
    };
    Ok(match answer {
        Answer::Logged(it) => v1::Outcome {
            receipt: Some(receipt(&it)),
            ..located(State::Unknown(v1::Unknown { logged: true }))
        },
        Answer::Committed { receipt: it, timestamp, applied } => v1::Outcome {
            receipt: Some(receipt(&it)),
            ..located(State::Committed(v1::Committed { commit_timestamp_us: timestamp.0, applied }))
        },
        Answer::Aborted { reason: AbortReason::IdReused, .. } | Answer::IdReused => {
            return Err(ServiceError::IdReused { id });
        }
        Answer::Aborted { reason, .. } => located(State::Aborted(aborted(namespace, &reason))),
        Answer::TooOld { floor } => return Err(ServiceError::TooOld { id, floor }),
        Answer::FromFuture => return Err(ServiceError::FromFuture { id }),
        Answer::Overloaded { what, retry_after_ms } => {
            return Err(ServiceError::Overloaded { what, retry_after_ms });
        }
        Answer::Unavailable { shard } => return Err(ServiceError::ShardUnavailable { shard }),
        Answer::ClocksApart { shard } => return Err(ServiceError::ClocksApart { shard }),
    })
}

/// What the outcome of a transaction of one message says of the message.
pub(super) fn of_write(outcome: v1::Outcome) -> v1::WriteToLogResponse {
    let durable = match outcome.state {
        Some(State::Committed(_) | State::Unknown(v1::Unknown { logged: true })) => {
            v1::Durable::True
        }
        Some(State::Aborted(_)) => v1::Durable::False,
        Some(State::Unknown(v1::Unknown { logged: false })) | None => v1::Durable::Unknown,
    };
    let v1::Outcome { locator, receipt, .. } = outcome;
    v1::WriteToLogResponse { durable: durable.into(), locator, receipt }
}

/// The answer to a question about an outcome; `None` is a wait that ended first.
pub(super) fn of_question(
    namespace: &Namespace,
    id: TxnId,
    home: Option<ShardId>,
    answer: Option<CallAnswer>,
) -> Result<v1::Outcome, ServiceError> {
    let located = |home, state| v1::Outcome {
        locator: Some(locator(namespace, id, home)),
        receipt: None,
        state: Some(state),
    };
    let undecided = |logged| located(home, State::Unknown(v1::Unknown { logged }));
    let answer = match answer {
        Some(CallAnswer::Outcome(answer)) => answer,
        Some(CallAnswer::Submit(_) | CallAnswer::Read(_)) => return Err(mismatch("an outcome")),
        None => return Ok(undecided(false)),
    };
    Ok(match answer {
        OutcomeAnswer::Committed { receipt: it, timestamp, applied } => {
            let committed = v1::Committed { commit_timestamp_us: timestamp.0, applied };
            v1::Outcome {
                receipt: Some(receipt(&it)),
                ..located(Some(it.home), State::Committed(committed))
            }
        }
        OutcomeAnswer::Aborted { reason } => {
            located(home, State::Aborted(aborted(namespace, &reason)))
        }
        OutcomeAnswer::Open => undecided(true),
        OutcomeAnswer::Unknown => undecided(false),
        OutcomeAnswer::TooOld { floor } => return Err(ServiceError::TooOld { id, floor }),
        OutcomeAnswer::Unavailable { shard } => {
            return Err(ServiceError::ShardUnavailable { shard });
        }
    })
}

/// A submission about which nothing was learned in time.
pub(super) fn unknown(namespace: &Namespace, txn: &Transaction) -> v1::Outcome {
    v1::Outcome {
        locator: Some(locator(namespace, txn.id, Some(txn.home()))),
        receipt: None,
        state: Some(State::Unknown(v1::Unknown { logged: false })),
    }
}

/// Where a transaction can be asked about.
pub(super) fn locator(namespace: &Namespace, id: TxnId, home: Option<ShardId>) -> v1::Locator {
    v1::Locator {
        namespace: namespace.name().to_owned(),
        id: id_bytes(id),
        home_shard: home.map(|shard| u32::from(shard.0)),
    }
}

/// The engine answered something else than was asked: a bug, and nothing may be concluded from it.
pub(super) fn mismatch(asked: &str) -> ServiceError {
    ServiceError::Internal(format!("{asked} was asked about, and something else answered"))
}

/// An id's 16 bytes.
pub(super) fn id_bytes(id: TxnId) -> Bytes {
    Bytes::copy_from_slice(&id.0.to_be_bytes())
}

fn receipt(receipt: &Receipt) -> v1::Receipt {
    v1::Receipt {
        id: id_bytes(receipt.id),
        home_shard: u32::from(receipt.home.0),
        epoch: receipt.epoch.0,
        sequence: receipt.seq.0,
    }
}

/// Why it was aborted.
fn aborted(namespace: &Namespace, reason: &AbortReason) -> v1::Aborted {
    use aborted::Reason;
    let row = |key: &RowKey| Some(names::row_key(namespace, key));
    let reason = match reason {
        AbortReason::ConditionFailed { index, key, found } => {
            Reason::ConditionFailed(v1::ConditionFailed {
                index: *index,
                row: row(key),
                found: Some(self::found(namespace, key, found)),
            })
        }
        AbortReason::Overflow { key, column } => Reason::Overflow(v1::Overflow {
            row: row(key),
            column: names::column_name(namespace, key.table, *column),
        }),
        AbortReason::TimestampInFuture { key } => {
            Reason::TimestampInFuture(v1::TimestampInFuture { row: row(key) })
        }
        AbortReason::Schema { what } => {
            Reason::SchemaChanged(v1::SchemaChanged { what: what.clone() })
        }
        AbortReason::Fenced => Reason::Fenced(v1::Fenced {}),
        AbortReason::IdReused => Reason::IdReused(v1::IdReused {}),
    };
    v1::Aborted { reason: Some(reason) }
}

fn found(namespace: &Namespace, key: &RowKey, found: &FoundValue) -> condition_failed::Found {
    use condition_failed::Found;
    match found {
        FoundValue::Row { exists, version } => Found::FoundRow(v1::FoundRow {
            exists: *exists,
            version: Bytes::copy_from_slice(&version.0.to_be_bytes()),
        }),
        FoundValue::Column { column, value } => {
            Found::FoundColumn(names::column(namespace, key.table, *column, value.as_ref()))
        }
    }
}
