//! Tables and columns, and how the keys of their rows are encoded.

mod key;

use std::fmt;

use crate::cql::{CreateTable, Order};
use crate::id::{ColumnId, TableId};
use crate::nearest::suggestion;
use crate::value::ColumnType;

pub use key::{KeyError, KeyProblem, MAX_KEY_BYTES, NO_RANGES};

/// Who writes a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ownership {
    /// Only Handfast: its rows may be cached, and a blind write needs no read.
    #[default]
    Owned,
    /// Others too: nothing is cached, and each written row is read first.
    Shared,
}

impl Ownership {
    /// Its name in a namespace file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Owned => "owned",
            Self::Shared => "shared",
        }
    }
}

/// What a column is to its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    /// The part of the partition key with this number, from 0.
    Partition(u16),
    /// The clustering column with this number, from 0, and its order.
    Clustering(u16, Order),
    /// A column that is not part of the key.
    Regular,
}

impl ColumnKind {
    /// Whether the column is part of the primary key.
    pub const fn is_key(self) -> bool {
        match self {
            Self::Partition(_) | Self::Clustering(..) => true,
            Self::Regular => false,
        }
    }
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its number: its place in the `CREATE TABLE`, from 0.
    pub id: ColumnId,
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: ColumnType,
    /// What it is to the table.
    pub kind: ColumnKind,
}

/// A name that a table or namespace does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownName {
    /// What sort of thing was named, and where it was looked for.
    pub what: String,
    /// The name.
    pub name: String,
    /// Empty, or what may have been meant, beginning with a colon.
    pub suggestion: String,
}

impl std::error::Error for UnknownName {}

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown {} {:?}{}", self.what, self.name, self.suggestion)
    }
}

/// A table: its declaration, indexed. Immutable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    id: TableId,
    full_name: String,
    ownership: Ownership,
    statement: CreateTable,
    /// In the order of their ids.
    columns: Vec<Column>,
    partition: Vec<ColumnId>,
    clustering: Vec<ColumnId>,
    /// Every column, sorted by name.
    by_name: Vec<ColumnId>,
}

impl Table {
    /// A table of the namespace, from its declaration.
    pub fn new(id: TableId, statement: CreateTable, ownership: Ownership) -> Self {
        let column_id = |index: usize| {
            ColumnId(u16::try_from(index).expect("a parsed table has at most MAX_COLUMNS columns"))
        };
        let number = |position: usize| column_id(position).0;
        let kind = |index: usize| {
            if let Some(position) = statement.partition.iter().position(|column| *column == index) {
                return ColumnKind::Partition(number(position));
            }
            let mut clustering = statement.clustering.iter().enumerate();
            match clustering.find(|(_, (column, _))| *column == index) {
                Some((position, (_, order))) => ColumnKind::Clustering(number(position), *order),
                None => ColumnKind::Regular,
            }
        };
        let columns: Vec<Column> = statement
            .columns
            .iter()
            .enumerate()
            .map(|(index, (name, ty))| Column {
                id: column_id(index),
                name: name.clone(),
                ty: *ty,
                kind: kind(index),
            })
            .collect();
        let mut by_name: Vec<ColumnId> = columns.iter().map(|column| column.id).collect();
        by_name.sort_by(|a, b| columns[usize::from(a.0)].name.cmp(&columns[usize::from(b.0)].name));
        let full_name = match &statement.keyspace {
            Some(keyspace) => format!("{keyspace}.{}", statement.name),
            None => statement.name.clone(),
        };
        Self {
            id,
            full_name,
            ownership,
            partition: statement.partition.iter().map(|index| column_id(*index)).collect(),
            clustering: statement.clustering.iter().map(|(index, _)| column_id(*index)).collect(),
            statement,
            columns,
            by_name,
        }
    }

    /// The table's number in its namespace.
    pub const fn id(&self) -> TableId {
        self.id
    }

    /// The name without the keyspace.
    pub fn name(&self) -> &str {
        self.statement.name()
    }

    /// The name with the keyspace, if it has one: `bank.accounts`.
    pub fn full_name(&self) -> &str {
        &self.full_name
    }

    /// The keyspace, if it has one.
    pub fn keyspace(&self) -> Option<&str> {
        self.statement.keyspace()
    }

    /// Who writes the table.
    pub const fn ownership(&self) -> Ownership {
        self.ownership
    }

    /// Its declaration.
    pub const fn statement(&self) -> &CreateTable {
        &self.statement
    }

    /// All columns, in the order of their ids.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The column with this number, if the table has it.
    pub fn column(&self, id: ColumnId) -> Option<&Column> {
        self.columns.get(usize::from(id.0))
    }

    /// The columns of the partition key, in the key's order; at least one.
    pub fn partition_key(&self) -> impl ExactSizeIterator<Item = &Column> + Clone {
        self.partition.iter().map(|id| &self.columns[usize::from(id.0)])
    }

    /// The clustering columns, in their order.
    pub fn clustering_key(&self) -> impl ExactSizeIterator<Item = &Column> + Clone {
        self.clustering.iter().map(|id| &self.columns[usize::from(id.0)])
    }

    /// The column with this name, if the table has it.
    pub fn find_column(&self, name: &str) -> Option<&Column> {
        let name_of = |id: &ColumnId| self.columns[usize::from(id.0)].name.as_str();
        let found = self.by_name.binary_search_by(|id| name_of(id).cmp(name)).ok()?;
        self.column(self.by_name[found])
    }

    /// The column with this name, or what to say if the table has none.
    pub fn column_named(&self, name: &str) -> Result<&Column, UnknownName> {
        self.find_column(name).ok_or_else(|| UnknownName {
            what: format!("column of {}", self.full_name),
            name: name.to_owned(),
            suggestion: suggestion(name, self.columns.iter().map(|column| column.name.as_str())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_found_by_number_and_by_name() {
        let statement = "CREATE TABLE ks.t (b int, a text, z blob, PRIMARY KEY ((a), b)) \
                         WITH CLUSTERING ORDER BY (b DESC)";
        let table = Table::new(TableId(3), statement.parse().expect("CQL"), Ownership::Shared);
        assert_eq!((table.id(), table.full_name(), table.name()), (TableId(3), "ks.t", "t"));
        for (index, (name, kind)) in [
            ("b", ColumnKind::Clustering(0, Order::Descending)),
            ("a", ColumnKind::Partition(0)),
            ("z", ColumnKind::Regular),
        ]
        .into_iter()
        .enumerate()
        {
            let column = table.column_named(name).expect(name);
            assert_eq!((usize::from(column.id.0), column.kind), (index, kind));
            assert_eq!(table.column(column.id), Some(column));
        }
        let error = table.column_named("zz").expect_err("unknown");
        assert_eq!(error.to_string(), "unknown column of ks.t \"zz\": did you mean \"z\"?");
        assert_eq!(table.column(ColumnId(3)), None);
    }
}
