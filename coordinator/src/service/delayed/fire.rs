//! Doing what is due.

use std::sync::Arc;
use std::time::Duration;

use delivery::Name;
use delivery::schedule::{DelayedTable, Fired, Fires};
use delivery::target::Later;
use handfast_proto::v1;
use prost::Message as _;
use wal_core::build::{Batch, Check, Mutation, RowCondition, Write};
use wal_core::namespace::Namespace;
use wal_core::value::Value;
use wal_core::{AbortReason, ColumnId, Millis, Row, RowKey, ShardId, Timestamp, Transaction};

use super::{delayed_table, due_transaction, key_of};
use crate::api::{Answer, Call, CallAnswer, Level, ReadAnswer};
use crate::service::backend::Backend;
use crate::service::calls::ask;
use crate::service::convert;
use crate::service::errors::ServiceError;
use crate::service::submission::draw_id;

/// How long a read or a transaction may take before it is tried again.
const PATIENCE: Duration = Duration::from_secs(10);
/// Characters of a problem that a row keeps.
const MAX_PROBLEM: usize = 1_000;

/// Does what is due in a namespace, by way of the server's own engine, like any client.
pub struct Firing {
    backend: Arc<dyn Backend>,
    namespace: Arc<str>,
}

impl Firing {
    /// For one namespace.
    pub fn new(backend: Arc<dyn Backend>, namespace: Arc<str>) -> Self {
        Self { backend, namespace }
    }

    async fn try_fire(&self, shard: ShardId, name: Name, time: Millis) -> Result<Fired, String> {
        let namespace = self.backend.namespace(&self.namespace).ok_or("it is not served")?;
        let table = delayed_table(&namespace).ok_or("the namespace delays nothing")?;
        let key = table.row_of(name);
        let row = self.read(&namespace, shard, key.clone()).await?;
        if !row.exists() {
            return Ok(Fired::Gone);
        }
        if let Some(written) = written(&row, table.problem()) {
            return Ok(Fired::Refused { written });
        }
        let due = row.get(table.due()).and_then(|value| DelayedTable::time(value));
        let (Some(due), Some(at)) = (due, written(&row, table.due())) else {
            return self.refuse(&namespace, name, &row, "its row does not say when").await;
        };
        if due > time {
            return Ok(Fired::Later { due, written: at });
        }
        let body = row.get(table.body()).cloned().unwrap_or_default();
        let built = match v1::Transaction::decode(body) {
            Ok(body) => due_transaction(&namespace, draw_id(), name, row.version(), body)
                .map_err(|error| described(&error)),
            Err(error) => Err(format!("its body cannot be read: {error}")),
        };
        let txn = match built {
            Ok(txn) => txn,
            Err(why) => return self.refuse(&namespace, name, &row, &why).await,
        };
        match self.submit(&namespace, txn).await? {
            Answer::Committed { .. } => Ok(Fired::Done),
            Answer::Aborted { reason, .. } => match why_refused(&reason, &key) {
                Some(why) => self.refuse(&namespace, name, &row, &why).await,
                None => Err("its row was changed meanwhile".to_owned()),
            },
            other => Err(format!("{other:?}")),
        }
    }

    async fn read(
        &self,
        namespace: &Namespace,
        shard: ShardId,
        key: RowKey,
    ) -> Result<Row, String> {
        let call = Call::Read { keys: vec![(shard, key)] };
        let answer = ask(&*self.backend, namespace, call, PATIENCE).await;
        match answer.map_err(|error| error.to_string())? {
            Some(CallAnswer::Read(ReadAnswer::Rows(mut rows))) => {
                Ok(rows.pop().unwrap_or_default())
            }
            Some(other) => Err(format!("{other:?}")),
            None => Err("its row was not read in time".to_owned()),
        }
    }

    async fn submit(&self, namespace: &Namespace, txn: Transaction) -> Result<Answer, String> {
        let txn = Arc::new(txn);
        let call = Call::Submit { txn, level: Level::Committed };
        let answer = ask(&*self.backend, namespace, call, PATIENCE).await;
        match answer.map_err(|error| error.to_string())? {
            Some(CallAnswer::Submit(answer)) => Ok(answer),
            Some(other) => Err(format!("{other:?}")),
            // If it commits after all, the row is gone when it is looked at again.
            None => Err("its outcome is not known in time".to_owned()),
        }
    }

    /// Writes into the row why it cannot be done.
    async fn refuse(
        &self,
        namespace: &Namespace,
        name: Name,
        row: &Row,
        why: &str,
    ) -> Result<Fired, String> {
        let table = namespace.delayed_table().map_or("", |table| table.full_name()).to_owned();
        tracing::warn!(namespace = namespace.name(), part = %name, why, "what was due is refused");
        let why: String = why.chars().take(MAX_PROBLEM).collect();
        let batch = Batch {
            mutations: vec![Mutation {
                table: table.clone(),
                key: key_of(name),
                write: Write::Put(vec![("problem".to_owned(), Some(Value::Text(why)))]),
            }],
            conditions: vec![RowCondition {
                table,
                key: key_of(name),
                check: Check::Version(row.version()),
            }],
            ..Batch::default()
        };
        let txn =
            convert::built(namespace, draw_id(), &batch).map_err(|error| described(&error))?;
        match self.submit(namespace, txn).await? {
            Answer::Committed { timestamp, .. } => Ok(Fired::Refused { written: timestamp }),
            other => Err(format!("{other:?}")),
        }
    }
}

impl Fires for Firing {
    fn fire(&self, shard: ShardId, name: Name, time: Millis) -> Later<'_, Fired> {
        Box::pin(async move {
            let fired = self.try_fire(shard, name, time).await;
            fired.unwrap_or_else(|why| Fired::Again { why })
        })
    }
}

/// When the transaction committed that wrote the live value of a column: the time by which the stream tells of it.
/// A value's own time is a little later, and what is told twice would look as if it were new.
fn written(row: &Row, column: ColumnId) -> Option<Timestamp> {
    let cell = row.cells.iter().find(|cell| cell.column == column)?;
    cell.value.is_some().then_some(cell.timestamp.of_delete())
}

/// Why a transaction can never commit as it is; `None` if another try may.
fn why_refused(reason: &AbortReason, row: &RowKey) -> Option<String> {
    match reason {
        AbortReason::ConditionFailed { key, .. } if key == row => None,
        AbortReason::ConditionFailed { index, .. } => {
            Some(format!("condition {index} did not hold when it was due"))
        }
        AbortReason::Overflow { .. } => Some("a sum left the range of its type".to_owned()),
        AbortReason::Schema { what } => Some(format!("the namespace has changed: {what}")),
        AbortReason::TimestampInFuture { .. } => Some(
            "a row that it writes has a write time in the future: no later write could win"
                .to_owned(),
        ),
        AbortReason::Fenced | AbortReason::IdReused => None,
    }
}

fn described(error: &ServiceError) -> String {
    match error {
        ServiceError::Invalid(violations) => {
            let lines = violations.iter().map(|it| format!("{}: {}", it.field, it.description));
            lines.collect::<Vec<_>>().join("; ")
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use wal_core::Cell;

    use super::*;

    #[test]
    fn a_row_was_written_when_its_transaction_committed() {
        let committed = Timestamp(1_700_000_000_000_008);
        let cell = |column, value: Option<&'static [u8]>| Cell {
            column: ColumnId(column),
            timestamp: if value.is_some() { committed.of_put() } else { committed.of_delete() },
            value: value.map(Into::into),
        };
        let row = Row { cells: vec![cell(2, Some(b"due")), cell(4, None)], ..Row::default() };
        assert_eq!(written(&row, ColumnId(2)), Some(committed));
        assert_eq!(written(&row, ColumnId(4)), None, "its value is gone");
        assert_eq!(written(&row, ColumnId(3)), None);
    }
}
