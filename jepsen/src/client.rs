//! One client: asks, and says what can be concluded from the answer.

use std::time::{Duration, UNIX_EPOCH};

use handfast_client::{ArrivedFrom, Client, Due, Outcome, Row, SubmitError, Transaction};

use crate::workload::{Detail, Task, Workload};

/// What a client can conclude of its task.
pub(crate) enum Told {
    /// It happened: the rows that were read, what had arrived from other regions if that was asked, and when it
    /// committed if it wrote.
    Done {
        rows: Vec<Row>,
        arrived: Vec<ArrivedFrom>,
        transaction: Option<Transaction>,
        timestamp_us: Option<i64>,
    },
    /// It provably did not happen.
    Failed { transaction: Option<Transaction>, why: String },
    /// Nobody knows yet.
    Unknown { rows: Vec<Row>, transaction: Transaction, why: String },
}

/// Reads what the task reads, then submits what it writes.
pub(crate) async fn perform(client: &Client, workload: &dyn Workload, task: &Task) -> Told {
    let (mut rows, mut arrived) = (Vec::new(), Vec::new());
    if !task.rows.is_empty() {
        let (namespace, asked) = (workload.namespace(), task.rows.iter().cloned());
        let found = match workload.not_before(task) {
            None => client.read(namespace, asked).await.map(|rows| (rows, Vec::new())),
            Some(not_before) => client.read_arrived(namespace, asked, &not_before).await,
        };
        match found {
            Ok(found) => (rows, arrived) = found,
            // Whatever the reason, nothing was written.
            Err(error) => return Told::Failed { transaction: None, why: error.to_string() },
        }
    }
    let Some(transaction) = task.transaction.clone().or_else(|| workload.then(task, &rows)) else {
        return Told::Done { rows, arrived, transaction: None, timestamp_us: None };
    };
    match send(client, task, &transaction).await {
        Ok(Outcome::Committed(it)) => Told::Done {
            rows,
            arrived,
            transaction: Some(transaction),
            timestamp_us: Some(it.timestamp_us),
        },
        Ok(Outcome::Aborted(aborted)) => {
            Told::Failed { transaction: Some(transaction), why: aborted.reason.to_string() }
        }
        Ok(Outcome::Unknown(_)) => {
            Told::Unknown { rows, transaction, why: "the answer was lost".to_owned() }
        }
        // The library says so only if no try of it can have been done.
        Err(SubmitError::Unavailable { message }) => {
            Told::Failed { transaction: Some(transaction), why: message }
        }
        Err(error @ SubmitError::TooOld { .. }) => {
            Told::Unknown { rows, transaction, why: error.to_string() }
        }
        Err(
            error @ (SubmitError::Invalid { .. }
            | SubmitError::NamespaceNotFound { .. }
            | SubmitError::IdReused { .. }
            | SubmitError::Refused { .. }),
        ) => Told::Failed { transaction: Some(transaction), why: format!("refused: {error}") },
    }
}

/// Sends what a task writes, or asks for the change that it is.
pub(crate) async fn send(
    client: &Client,
    task: &Task,
    transaction: &Transaction,
) -> Result<Outcome, SubmitError> {
    let Detail::Change(change) = &task.detail else { return client.submit(transaction).await };
    let (namespace, id) = (transaction.namespace(), transaction.id());
    match change.due_ms {
        None => client.cancel_delayed(namespace, id, &change.name).await,
        Some(ms) => {
            let due = Due::at(UNIX_EPOCH + Duration::from_millis(ms));
            client.reschedule_delayed(namespace, id, &change.name, due).await
        }
    }
}
