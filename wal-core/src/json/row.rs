//! A row as a reader sees it.

use serde_json::{Value as Json, json};

use super::object::Object;
use super::read::{read_columns, read_row, read_version};
use super::write::{columns_to_json, version_to_json};
use crate::build::{BuildError, Columns, Problems};
use crate::namespace::Namespace;
use crate::row::{Row, RowKey, RowVersion};
use crate::schema::{ColumnKind, KeyError, Table};
use crate::value::Value;

/// A row in names and typed values.
///
/// ```json
/// {"table": "accounts", "key": {"id": "alice"}, "exists": true,
///  "columns": {"balance": 100, "note": null}, "version": "0123456789abcdef0123456789abcdef"}
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct RowView {
    /// The table's full name.
    pub table: String,
    /// Every column of the primary key.
    pub key: Columns,
    /// Whether the row exists.
    pub exists: bool,
    /// Every column that is not part of the key, in the table's order; nothing if the row does not
    /// exist.
    pub columns: Columns,
    /// The row's version; an absent row has one too.
    pub version: RowVersion,
}

impl RowView {
    /// The row as a reader of its table sees it. `table` must be the key's. Columns that this version
    /// of the table does not have are left out.
    pub fn new(table: &Table, key: &RowKey, row: &Row) -> Result<Self, KeyError> {
        let exists = row.exists();
        let key = table.key_values(key)?;
        let mut columns = Columns::new();
        for column in table.columns() {
            if exists && column.kind == ColumnKind::Regular {
                let value = row.get(column.id).map(|bytes| Value::decode(column.ty, bytes));
                let value = value.transpose().map_err(|error| KeyError {
                    column: Some(column.name.clone()),
                    problem: error.into(),
                })?;
                columns.push((column.name.clone(), value));
            }
        }
        Ok(Self {
            table: table.full_name().to_owned(),
            key: key.into_iter().map(|(name, value)| (name.to_owned(), Some(value))).collect(),
            exists,
            columns,
            version: row.version(),
        })
    }

    /// The row as JSON.
    pub fn to_json(&self) -> Json {
        json!({
            "table": self.table,
            "key": columns_to_json(&self.key),
            "exists": self.exists,
            "columns": columns_to_json(&self.columns),
            "version": version_to_json(self.version),
        })
    }

    /// Reads [`Self::to_json`]'s form back.
    pub fn from_json(namespace: &Namespace, json: &Json) -> Result<Self, BuildError> {
        let mut problems = Problems::default();
        let view = Self::read(namespace, json, &mut problems);
        problems.into_result()?;
        Ok(view.expect("a row without a problem"))
    }

    fn read(namespace: &Namespace, json: &Json, problems: &mut Problems) -> Option<Self> {
        let mut object = Object::new(String::new(), json, problems)?;
        let row = read_row(namespace, &mut object, problems);
        let exists = object.need("exists", problems).and_then(|exists| {
            if exists.as_bool().is_none() {
                object.problem("exists", "expected true or false".to_owned(), problems);
            }
            exists.as_bool()
        });
        let columns = object.need("columns", problems);
        let version = object.need("version", problems);
        let version = version.and_then(|json| read_version(&object, json, problems));
        let path = object.path_of("columns");
        object.finish(problems);
        let (table, key) = row?;
        let columns = read_columns(table, path, columns?, problems)?;
        Some(Self {
            table: table.full_name().to_owned(),
            key,
            exists: exists?,
            columns,
            version: version?,
        })
    }
}
