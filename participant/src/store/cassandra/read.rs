//! Reads by full primary key: every column with its write time.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use rustc_hash::FxBuildHasher;
use scylla::deserialize::row::ColumnIterator;
use scylla::errors::ExecutionError;
use wal_core::{Cell, ColumnId, Row, RowKey, TableId, Timestamp};

use super::failure::{is_denied, is_final, is_stale, transient, with_grant};
use super::statements::{ClusterTable, Select};
use super::values::{Bound, KeyParts};
use super::{CassandraStore, add, schema};
use crate::store::{Refusal, StoreError};

const ACTION: &str = "read a row";

/// Tables that cannot be read, and why, as was found during one call: so a thousand keys of a table that
/// was dropped cost a few looks at the schema.
type Unreadable = Mutex<HashMap<TableId, String, FxBuildHasher>>;

/// A row, or why its table cannot be read.
type Read = Result<Row, String>;

impl CassandraStore {
    pub(super) async fn read_rows(&self, keys: &[RowKey]) -> Result<Vec<Row>, StoreError> {
        let unreadable = Unreadable::default();
        let read: Vec<Read> = stream::iter(keys)
            .map(|key| self.read_row(key, &unreadable))
            .buffered(self.concurrency)
            .try_collect()
            .await?;
        let mut refused = Vec::new();
        let mut rows = Vec::with_capacity(keys.len());
        for (index, row) in read.into_iter().enumerate() {
            match row {
                Ok(row) => rows.push(row),
                Err(why) => refused.push(Refusal { index, why }),
            }
        }
        if refused.is_empty() { Ok(rows) } else { Err(StoreError::Refused(refused)) }
    }

    async fn read_row(&self, key: &RowKey, unreadable: &Unreadable) -> Result<Read, StoreError> {
        let _permit = self.reading.acquire().await.expect("the semaphore is never closed");
        let not_a_key = || Ok(Err("it is of no table here".to_owned()));
        let Some(table) = self.table(key.table) else { return not_a_key() };
        let Some(parts) = table.key_parts(key) else { return not_a_key() };
        // A panic between two inserts leaves a map that is fit for use.
        let lock = || unreadable.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(why) = lock().get(&key.table) {
            return Ok(Err(why.clone()));
        }
        add(&self.counters.reads, 1);
        let result = match self.select(&table, &parts).await {
            Err(error) if is_final(&error) || is_stale(&error) => {
                self.select_what_is_left(&table, &parts).await
            }
            other => other.map(Ok).map_err(|error| transient(ACTION, &error)),
        };
        if let Ok(Err(why)) = &result {
            lock().insert(key.table, why.clone());
        }
        if result.is_err() {
            add(&self.counters.failures, 1);
        }
        result
    }

    async fn select(&self, table: &ClusterTable, key: &KeyParts) -> Result<Row, ExecutionError> {
        let select = table.select(self.cluster.session()).await?;
        self.select_with(&select, key).await
    }

    async fn select_with(&self, select: &Select, key: &KeyParts) -> Result<Row, ExecutionError> {
        let mut bound = Bound::default();
        bound.push_key(key);
        let answer = self.cluster.session().execute_unpaged(&select.statement, bound).await?;
        let malformed = |error: &dyn std::fmt::Display| {
            // The driver's own checks see to it that this does not happen with an honest server.
            tracing::error!(%error, "the answer to a read cannot be understood");
            ExecutionError::EmptyPlan
        };
        let rows = answer.into_rows_result().map_err(|error| malformed(&error))?;
        let row = rows.maybe_first_row::<ColumnIterator<'_, '_>>().map_err(|e| malformed(&e))?;
        match row {
            None => Ok(Row::default()),
            Some(columns) => row_of(columns, &select.columns).map_err(|error| malformed(&error)),
        }
    }

    /// The table is not what it was: reads the columns that it still has. A dropped one reads as null.
    async fn select_what_is_left(
        &self,
        table: &ClusterTable,
        key: &KeyParts,
    ) -> Result<Read, StoreError> {
        let failed = |error: ExecutionError| transient(ACTION, &error);
        let session = self.cluster.session();
        let left = schema::columns_left(&self.cluster, table).await.map_err(failed)?;
        let Some(left) = left else {
            return Ok(Err(format!("the table {} was dropped; create it again", table.name)));
        };
        let count = table.regular().count();
        if left.len() < count {
            let dropped = count - left.len();
            tracing::warn!(table = %table.name, dropped, "columns were dropped, and read as null");
        }
        table.forget_statements();
        let answer = match table.select_columns(session, left.into()).await {
            Ok(select) => self.select_with(&select, key).await,
            Err(error) => Err(error.into()),
        };
        match answer {
            Err(error) if is_denied(&error) => Ok(Err(with_grant(&error))),
            other => other.map(Ok).map_err(failed),
        }
    }
}

/// A row as CQL shows it: see [`Row::shown`].
fn row_of(columns: ColumnIterator<'_, '_>, named: &[ColumnId]) -> Result<Row, String> {
    let mut columns = columns;
    let mut next = || -> Result<Option<Bytes>, String> {
        let column = columns.next().ok_or("a column is missing")?;
        let column = column.map_err(|error| error.to_string())?;
        Ok(column.slice.map(|slice| Bytes::copy_from_slice(slice.as_slice())))
    };
    let mut row = Row::default();
    for id in named {
        let (value, at) = (next()?, next()?);
        let (Some(value), Some(at)) = (value, at) else { continue };
        let at = at.as_ref().try_into().map_err(|_| "a write time of other than eight bytes")?;
        let timestamp = Timestamp(i64::from_be_bytes(at));
        row.cells.push(Cell { column: *id, timestamp, value: Some(value) });
    }
    row.marker_unknown = !row.cells.is_empty();
    row.marker_at = row.cells.is_empty().then_some(Row::SOME_TIME);
    Ok(row)
}
