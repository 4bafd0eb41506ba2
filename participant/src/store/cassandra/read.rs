//! Reads by full primary key: every column with its write time.

use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use scylla::deserialize::row::ColumnIterator;
use scylla::errors::{ExecutionError, PrepareError};
use wal_core::{Cell, ColumnId, Row, RowKey, Timestamp};

use super::failure::{is_invalid, is_stale, transient};
use super::statements::{ClusterTable, Select};
use super::values::{Bound, KeyParts};
use super::{CassandraStore, add, schema};
use crate::store::StoreError;

const ACTION: &str = "read a row";

impl CassandraStore {
    pub(super) async fn read_rows(&self, keys: &[RowKey]) -> Result<Vec<Row>, StoreError> {
        stream::iter(keys)
            .map(|key| self.read_row(key))
            .buffered(self.concurrency)
            .try_collect()
            .await
    }

    async fn read_row(&self, key: &RowKey) -> Result<Row, StoreError> {
        let _permit = self.reading.acquire().await.expect("the semaphore is never closed");
        let not_a_key =
            || StoreError::Transient { action: ACTION, why: "it is of no table here".to_owned() };
        let table = self.table(key.table).ok_or_else(not_a_key)?;
        let parts = table.key_parts(key).ok_or_else(not_a_key)?;
        add(&self.counters.reads, 1);
        let result = match self.select(&table, &parts).await {
            Err(error) if is_invalid(&error) || is_stale(&error) => {
                self.select_what_is_left(&table, &parts).await
            }
            other => other.map_err(|error| transient(ACTION, &error)),
        };
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
    ) -> Result<Row, StoreError> {
        let failed = |error: ExecutionError| transient(ACTION, &error);
        let session = self.cluster.session();
        let left = schema::columns_left(&self.cluster, table).await.map_err(failed)?;
        let Some(left) = left else {
            let why = format!("the table {} is not there any more", table.name);
            return Err(StoreError::Transient { action: ACTION, why });
        };
        let count = table.regular().count();
        if left.len() < count {
            let dropped = count - left.len();
            tracing::warn!(table = %table.name, dropped, "columns were dropped, and read as null");
        }
        table.forget_statements();
        let prepared = |error: PrepareError| failed(error.into());
        let select = table.select_columns(session, left.into()).await.map_err(prepared)?;
        self.select_with(&select, key).await.map_err(failed)
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
