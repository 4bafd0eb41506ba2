//! Numbers of tables and columns back into names, and rows back into typed values.

use bytes::Bytes;
use handfast_proto::v1;
use wal_core::message::{self, MESSAGES};
use wal_core::namespace::Namespace;
use wal_core::schema::Table;
use wal_core::{ColumnId, Row, RowKey, TableId};

use super::values::{stored_to_wire, to_wire};

/// A row's full name. Messages are named by their key. A table that the namespace no longer has is named by its number.
pub(super) fn row_key(namespace: &Namespace, key: &RowKey) -> v1::RowKey {
    if key.table == MESSAGES {
        let key = message::key_of(key).map_or(v1::Value::null(), v1::Value::from);
        return v1::RowKey { table: "(messages)".to_owned(), key: vec![key] };
    }
    let Some(table) = namespace.table(key.table) else {
        let raw = [&key.partition, &key.clustering];
        return v1::RowKey {
            table: format!("#{}", key.table),
            key: raw.into_iter().map(|bytes| v1::Value::from(bytes.clone())).collect(),
        };
    };
    let values = match table.key_values(key) {
        Ok(values) => values.into_iter().map(|(_, value)| to_wire(value)).collect(),
        Err(_) => vec![v1::Value::from(key.partition.clone())],
    };
    v1::RowKey { table: table.full_name().to_owned(), key: values }
}

/// A column's name, or its number if it is gone.
pub(super) fn column_name(namespace: &Namespace, table: TableId, column: ColumnId) -> String {
    let found = namespace.table(table).and_then(|table| table.column(column));
    found.map_or_else(|| format!("#{column}"), |column| column.name.clone())
}

/// A column with its stored value, typed.
pub(super) fn column(
    namespace: &Namespace,
    table: TableId,
    column: ColumnId,
    value: Option<&Bytes>,
) -> v1::Column {
    let ty = namespace.table(table).and_then(|table| table.column(column)).map(|column| column.ty);
    let value = match (ty, value) {
        (_, None) => v1::Value::null(),
        (Some(ty), Some(bytes)) => stored_to_wire(ty, bytes),
        (None, Some(bytes)) => v1::Value::from(bytes.clone()),
    };
    v1::Column { name: column_name(namespace, table, column), value: Some(value) }
}

/// A row that was read.
pub(super) fn row(namespace: &Namespace, key: &RowKey, row: &Row) -> v1::Row {
    let live = row.cells.iter().filter_map(|cell| Some((cell.column, cell.value.as_ref()?)));
    v1::Row {
        exists: row.exists(),
        version: Bytes::copy_from_slice(&row.version().0.to_be_bytes()),
        columns: live.map(|(id, value)| column(namespace, key.table, id, Some(value))).collect(),
    }
}

/// A namespace, described.
pub(super) fn described(namespace: &Namespace, definition: &str) -> v1::Namespace {
    v1::Namespace {
        name: namespace.name().to_owned(),
        version: namespace.version(),
        shards: u32::from(namespace.shards()),
        tables: namespace.tables().iter().map(|table| described_table(table)).collect(),
        definition: definition.to_owned(),
    }
}

fn described_table(table: &Table) -> v1::Table {
    let column = |column: &wal_core::schema::Column| v1::TableColumn {
        name: column.name.clone(),
        r#type: column.ty.name().to_owned(),
    };
    let name = |column: &wal_core::schema::Column| column.name.clone();
    v1::Table {
        name: table.full_name().to_owned(),
        columns: table.columns().iter().map(column).collect(),
        partition_key: table.partition_key().map(name).collect(),
        clustering_key: table.clustering_key().map(name).collect(),
    }
}
