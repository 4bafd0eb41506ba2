//! The statements of one table: their text, and what has been prepared of it.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use rustc_hash::FxBuildHasher;
use scylla::client::session::Session;
use scylla::errors::PrepareError;
use scylla::statement::prepared::PreparedStatement;
use smallvec::SmallVec;
use wal_core::cql::quoted;
use wal_core::schema::Table;
use wal_core::{ColumnId, Row, RowKey, Timestamp};

use super::values::{Bind, Bound, KeyParts, key_parts};

/// Sets of columns of a table that have statements of their own. Beyond it one statement that names every
/// column serves, with the others unset: so the server's cache of prepared statements stays bounded.
const MAX_SHAPES: usize = 256;

/// What a statement does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Verb {
    /// `INSERT`: writes a row marker too.
    Insert,
    /// `UPDATE`: writes cells only, tombstones among them.
    Update,
    /// `DELETE` of the row.
    Delete,
}

/// One statement of a mutation: all that it writes at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) verb: Verb,
    pub(super) at: Timestamp,
    /// Sorted by column; `None` is a tombstone.
    pub(super) cells: SmallVec<[(ColumnId, Option<Bytes>); 4]>,
}

/// Takes a change of a row apart: its deletion, then its marker with the cells of that time, then the
/// other cells, one statement for each time. In one batch they are one change.
pub(super) fn steps(delta: &Row) -> SmallVec<[Step; 2]> {
    let mut steps: SmallVec<[Step; 2]> = SmallVec::new();
    if let Some(at) = delta.deleted_at {
        steps.push(Step { verb: Verb::Delete, at, cells: SmallVec::new() });
    }
    if let Some(at) = delta.marker_at {
        steps.push(Step { verb: Verb::Insert, at, cells: SmallVec::new() });
    }
    for cell in &delta.cells {
        let value = (cell.column, cell.value.clone());
        let of_its_time = |step: &&mut Step| step.at == cell.timestamp && step.verb != Verb::Delete;
        match steps.iter_mut().find(of_its_time) {
            Some(step) => step.cells.push(value),
            None => steps.push(Step {
                verb: Verb::Update,
                at: cell.timestamp,
                cells: SmallVec::from_iter([value]),
            }),
        }
    }
    steps
}

type Shape = (Verb, SmallVec<[ColumnId; 8]>);

/// How rows of the table are read.
#[derive(Clone, Debug)]
pub(super) struct Select {
    pub(super) statement: PreparedStatement,
    /// The columns read: for each, its value and then its write time.
    pub(super) columns: Arc<[ColumnId]>,
}

/// A table of the cluster.
#[derive(Debug)]
pub(super) struct ClusterTable {
    pub(super) table: Arc<Table>,
    pub(super) keyspace: String,
    /// The full name, quoted where it must be.
    pub(super) name: String,
    select: RwLock<Option<Select>>,
    shapes: RwLock<HashMap<Shape, PreparedStatement, FxBuildHasher>>,
}

impl ClusterTable {
    pub(super) fn new(keyspace: &str, table: Arc<Table>) -> Self {
        Self {
            name: format!("{}.{}", quoted(keyspace), quoted(table.name())),
            keyspace: keyspace.to_owned(),
            table,
            select: RwLock::default(),
            shapes: RwLock::default(),
        }
    }

    /// The values of a key's columns, or `None` if it is not a key of this table.
    pub(super) fn key_parts(&self, key: &RowKey) -> Option<KeyParts> {
        key_parts(key, self.table.partition_key().len(), self.table.clustering_key().len())
    }

    /// The columns that are not part of the key.
    pub(super) fn regular(&self) -> impl Iterator<Item = ColumnId> {
        self.table.columns().iter().filter(|column| !column.kind.is_key()).map(|column| column.id)
    }

    /// Name of a column, quoted where it must be; `None` if the table has no such column.
    fn column(&self, id: ColumnId) -> Option<String> {
        self.table.column(id).filter(|column| !column.kind.is_key()).map(|c| quoted(&c.name))
    }

    /// A read and a write of no row at all: what is done, and the statement.
    pub(super) fn probes(&self) -> [(&'static str, String); 2] {
        let nulls: Vec<String> = self.key_columns().map(|name| format!("{name} = null")).collect();
        let (name, row) = (&self.name, nulls.join(" AND "));
        let first = self.key_columns().next().expect("a table has a key");
        [
            ("read the table", format!("SELECT {first} FROM {name} WHERE {row}")),
            ("write the table", format!("DELETE FROM {name} USING TIMESTAMP 1 WHERE {row}")),
        ]
    }

    fn where_key(&self, text: &mut String) {
        for (index, column) in self.key_columns().enumerate() {
            let word = if index == 0 { "WHERE" } else { "AND" };
            write!(text, " {word} {column} = ?").expect("a string takes all");
        }
    }

    fn key_columns(&self) -> impl Iterator<Item = String> {
        self.table.partition_key().chain(self.table.clustering_key()).map(|c| quoted(&c.name))
    }

    fn write_text(&self, verb: Verb, columns: &[String]) -> String {
        let name = &self.name;
        match verb {
            Verb::Insert => {
                let named: Vec<String> =
                    self.key_columns().chain(columns.iter().cloned()).collect();
                let marks = vec!["?"; named.len()].join(", ");
                format!(
                    "INSERT INTO {name} ({}) VALUES ({marks}) USING TIMESTAMP ?",
                    named.join(", ")
                )
            }
            Verb::Update => {
                let set: Vec<String> =
                    columns.iter().map(|column| format!("{column} = ?")).collect();
                let mut text = format!("UPDATE {name} USING TIMESTAMP ? SET {}", set.join(", "));
                self.where_key(&mut text);
                text
            }
            Verb::Delete => {
                let mut text = format!("DELETE FROM {name} USING TIMESTAMP ?");
                self.where_key(&mut text);
                text
            }
        }
    }

    fn select_text(&self, columns: &[ColumnId]) -> String {
        let mut terms: Vec<String> = Vec::with_capacity(2 * columns.len());
        for column in columns.iter().filter_map(|id| self.column(*id)) {
            terms.push(column.clone());
            terms.push(format!("WRITETIME({column})"));
        }
        if terms.is_empty() {
            terms.extend(self.key_columns().take(1));
        }
        let mut text = format!("SELECT {} FROM {}", terms.join(", "), self.name);
        self.where_key(&mut text);
        text
    }

    /// The statement and values of one step on a row. The inner error is a column that is not there.
    pub(super) async fn bind(
        &self,
        session: &Session,
        key: &KeyParts,
        step: Step,
    ) -> Result<Result<(PreparedStatement, Bound), String>, PrepareError> {
        let mut columns: SmallVec<[ColumnId; 8]> =
            step.cells.iter().map(|(column, _)| *column).collect();
        if let Some(unknown) = columns.iter().find(|column| self.column(**column).is_none()) {
            return Ok(Err(format!("the namespace has no column {unknown} in {}", self.name)));
        }
        let mut statement = self.prepared(&(step.verb, columns.clone()));
        if statement.is_none() && self.shapes_are_full() && !columns.is_empty() {
            columns = self.regular().collect();
            statement = self.prepared(&(step.verb, columns.clone()));
        }
        let statement = match statement {
            Some(statement) => statement,
            None => self.prepare(session, (step.verb, columns.clone())).await?,
        };
        let mut bound = Bound::default();
        let mut cells = step.cells.into_iter().peekable();
        if step.verb == Verb::Insert {
            bound.push_key(key);
        } else {
            bound.push_time(step.at);
        }
        for column in columns {
            bound.0.push(match cells.next_if(|(id, _)| *id == column) {
                Some((_, Some(value))) => Bind::Value(value),
                Some((_, None)) => Bind::Null,
                None => Bind::Unset,
            });
        }
        if step.verb == Verb::Insert {
            bound.push_time(step.at);
        } else {
            bound.push_key(key);
        }
        Ok(Ok((statement, bound)))
    }

    fn prepared(&self, shape: &Shape) -> Option<PreparedStatement> {
        self.shapes.read().unwrap_or_else(PoisonError::into_inner).get(shape).cloned()
    }

    fn shapes_are_full(&self) -> bool {
        self.shapes.read().unwrap_or_else(PoisonError::into_inner).len() >= MAX_SHAPES
    }

    async fn prepare(
        &self,
        session: &Session,
        shape: Shape,
    ) -> Result<PreparedStatement, PrepareError> {
        let columns: Vec<String> = shape.1.iter().filter_map(|id| self.column(*id)).collect();
        let statement = prepare(session, self.write_text(shape.0, &columns)).await?;
        let mut shapes = self.shapes.write().unwrap_or_else(PoisonError::into_inner);
        shapes.insert(shape, statement.clone());
        Ok(statement)
    }

    /// Forgets what was prepared: the table is not what it was.
    pub(super) fn forget_statements(&self) {
        self.shapes.write().unwrap_or_else(PoisonError::into_inner).clear();
        *self.select.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// How rows are read.
    pub(super) async fn select(&self, session: &Session) -> Result<Select, PrepareError> {
        let known = self.select.read().unwrap_or_else(PoisonError::into_inner).clone();
        match known {
            Some(select) => Ok(select),
            None => self.select_columns(session, self.regular().collect()).await,
        }
    }

    /// Reads these columns only from now on: the others have been dropped.
    pub(super) async fn select_columns(
        &self,
        session: &Session,
        columns: Arc<[ColumnId]>,
    ) -> Result<Select, PrepareError> {
        let statement = prepare(session, self.select_text(&columns)).await?;
        let select = Select { statement, columns };
        *self.select.write().unwrap_or_else(PoisonError::into_inner) = Some(select.clone());
        Ok(select)
    }
}

/// Every statement here may be done twice: writes carry their own time.
async fn prepare(session: &Session, text: String) -> Result<PreparedStatement, PrepareError> {
    let mut statement = session.prepare(text).await?;
    statement.set_is_idempotent(true);
    Ok(statement)
}

#[cfg(test)]
mod tests {
    use wal_core::schema::Ownership;
    use wal_core::{Cell, TableId};

    use super::*;

    fn cell(column: u16, at: i64, value: Option<&'static str>) -> Cell {
        let value = value.map(|value| Bytes::from_static(value.as_bytes()));
        Cell { column: ColumnId(column), timestamp: Timestamp(at), value }
    }

    #[test]
    fn a_change_is_one_statement_for_each_time_and_the_marker_takes_the_cells_of_its_own() {
        let delta = Row {
            deleted_at: Some(Timestamp(8)),
            marker_at: Some(Timestamp(17)),
            cells: vec![cell(1, 17, Some("a")), cell(2, 16, None), cell(3, 25, Some("b"))],
            ..Row::default()
        };
        let found: Vec<_> = steps(&delta)
            .into_iter()
            .map(|step| (step.verb, step.at.0, step.cells.iter().map(|(id, _)| id.0).collect()))
            .collect();
        let expected: [(Verb, i64, Vec<u16>); 4] = [
            (Verb::Delete, 8, vec![]),
            (Verb::Insert, 17, vec![1]),
            (Verb::Update, 16, vec![2]),
            (Verb::Update, 25, vec![3]),
        ];
        assert_eq!(found, expected);
        assert!(steps(&Row::default()).is_empty());
    }

    #[test]
    fn names_are_quoted_and_every_statement_carries_its_time() {
        let cql =
            "CREATE TABLE t (\"P\" text, c int, \"Set\" text, b blob, PRIMARY KEY (\"P\", c))";
        let table = Table::new(TableId(0), cql.parse().expect("CQL"), Ownership::Owned);
        let table = ClusterTable::new("Ks", Arc::new(table));
        let columns = ["\"Set\"".to_owned(), "b".to_owned()];
        let text = |verb, columns: &[String]| table.write_text(verb, columns);
        assert_eq!(
            text(Verb::Insert, &columns),
            "INSERT INTO \"Ks\".t (\"P\", c, \"Set\", b) VALUES (?, ?, ?, ?) USING TIMESTAMP ?"
        );
        assert_eq!(
            text(Verb::Update, &columns),
            "UPDATE \"Ks\".t USING TIMESTAMP ? SET \"Set\" = ?, b = ? WHERE \"P\" = ? AND c = ?"
        );
        assert_eq!(
            text(Verb::Delete, &[]),
            "DELETE FROM \"Ks\".t USING TIMESTAMP ? WHERE \"P\" = ? AND c = ?"
        );
        assert_eq!(
            table.select_text(&[ColumnId(3)]),
            "SELECT b, WRITETIME(b) FROM \"Ks\".t WHERE \"P\" = ? AND c = ?"
        );
    }
}
