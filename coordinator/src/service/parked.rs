//! Parked rows, for administrators: listed, tried again, discarded.

use std::sync::Arc;

use handfast_proto::v1;
use participant::engine::{ParkedChoice, ParkedRow};
use wal_core::ShardId;
use wal_core::namespace::Namespace;
use wal_core::record::DISCARDS_SINCE;

use super::admin::AdminService;
use super::errors::ServiceError;
use super::explain::blocking;
use super::{convert, names};
use crate::runtime::ParkedDone;

/// Rows listed if the request names no limit, and at most.
const DEFAULT_ROWS: usize = 1_000;
const MAX_ROWS: usize = 10_000;
const _: () = assert!(DEFAULT_ROWS <= MAX_ROWS);

impl AdminService {
    pub(super) async fn parked(
        &self,
        request: v1::ListParkedRequest,
    ) -> Result<v1::ListParkedResponse, ServiceError> {
        let namespace = self.shared.namespace(&request.namespace, "namespace")?;
        let limit = match request.limit as usize {
            0 => DEFAULT_ROWS,
            limit => limit.min(MAX_ROWS),
        };
        let of = Arc::clone(&namespace);
        let list = blocking(&self.shared, move |backend| backend.parked(&of, limit)).await?;
        let rows = list.rows.iter().map(|(shard, row)| parked_row(&namespace, *shard, row));
        Ok(v1::ListParkedResponse {
            rows: rows.collect(),
            total: list.total as u64,
            elsewhere: elsewhere(list.elsewhere),
        })
    }

    pub(super) async fn retry(
        &self,
        request: v1::RetryParkedRequest,
    ) -> Result<v1::RetryParkedResponse, ServiceError> {
        let namespace = self.shared.namespace(&request.namespace, "namespace")?;
        let which = choice(&namespace, request.choice)?;
        let done = move |backend: &dyn super::Backend| backend.retry_parked(&namespace, which);
        let ParkedDone { rows, elsewhere: others } = blocking(&self.shared, done).await?;
        Ok(v1::RetryParkedResponse { rows: rows as u64, elsewhere: elsewhere(others) })
    }

    pub(super) async fn discard(
        &self,
        request: v1::DiscardParkedRequest,
    ) -> Result<v1::DiscardParkedResponse, ServiceError> {
        let namespace = self.shared.namespace(&request.namespace, "namespace")?;
        let which = choice(&namespace, request.choice)?;
        if which == ParkedChoice::All {
            return Err(ServiceError::invalid("choice.all", "name the rows, or one table"));
        }
        if namespace.write_version() < DISCARDS_SINCE {
            return Err(ServiceError::ChangeRefused(format!(
                "the namespace {:?} has write version {}, and rows are discarded from {DISCARDS_SINCE} on: once \
                 every server has been upgraded, put `write_version = {DISCARDS_SINCE}` into its file, and \
                 change it",
                namespace.name(),
                namespace.write_version()
            )));
        }
        let done = move |backend: &dyn super::Backend| backend.discard_parked(&namespace, which);
        let ParkedDone { rows, elsewhere: others } = blocking(&self.shared, done).await?;
        Ok(v1::DiscardParkedResponse { rows: rows as u64, elsewhere: elsewhere(others) })
    }
}

fn choice(
    namespace: &Namespace,
    choice: Option<v1::ParkedChoice>,
) -> Result<ParkedChoice, ServiceError> {
    let v1::ParkedChoice { rows, table, all } = choice.unwrap_or_default();
    match (rows.is_empty(), table.is_empty(), all) {
        (false, true, false) => {
            let keys = convert::keys_to_read(namespace, rows)?;
            Ok(ParkedChoice::Rows(keys.into_iter().map(|(_, key)| key).collect()))
        }
        (true, false, false) => match namespace.table_named(&table) {
            Ok(table) => Ok(ParkedChoice::Table(table.id())),
            Err(error) => Err(ServiceError::invalid("choice.table", error)),
        },
        (true, true, true) => Ok(ParkedChoice::All),
        _ => Err(ServiceError::invalid("choice", "name either rows, or a table, or say all")),
    }
}

fn parked_row(namespace: &Namespace, shard: ShardId, row: &ParkedRow) -> v1::ParkedRow {
    let column = |cell: &wal_core::Cell| {
        names::column(namespace, row.key.table, cell.column, cell.value.as_ref())
    };
    v1::ParkedRow {
        row: Some(names::row_key(namespace, &row.key)),
        shard: u32::from(shard.0),
        reason: row.why.to_string(),
        columns: row.delta.cells.iter().map(column).collect(),
        deleted: row.delta.deleted_at.is_some(),
        commits: row.commits,
        first_timestamp_us: row.first.0,
        last_timestamp_us: row.last.0,
        tries: row.tries,
    }
}

fn elsewhere(shards: Vec<(ShardId, Option<Arc<str>>)>) -> Vec<v1::ShardElsewhere> {
    let shard = |(shard, leader): (ShardId, Option<Arc<str>>)| v1::ShardElsewhere {
        shard: u32::from(shard.0),
        leader: leader.as_deref().unwrap_or_default().to_owned(),
    };
    shards.into_iter().map(shard).collect()
}
