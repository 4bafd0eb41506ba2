//! Scripts on tables.
//!
//! Rows are named by a letter: `a` and `b` are in one data partition, `c` and `d` in another, all in the table
//! `stays`; `goes.a` is in the other table. What is written is `x=text@7`, `z=5@7`, `x=null@7`, `insert@7` (a row
//! marker) and `delete@7` (the row), `@` before the write time.
//!
//! | step | answer |
//! |---|---|
//! | `apply a x=1@7 insert@7; b delete@9` | `ok`; or `refused 2`, by place, when the rest has been applied |
//! | `again`: the last apply once more | the same |
//! | `others a x=1@7`: one who knows nothing of Handfast | `ok` |
//! | `read a b a` | live cells with their times, `key only`, `absent`; or `refused` |
//! | `keep a`: reads, and keeps in memory, where what is applied later is merged in | as `read` |
//! | `kept a`: what memory says | as `read`, or `undecided` |
//! | `mark a old`, `same a old`: the row's version | `ok`; `yes` or `no` |
//! | `drop goes`: the table | `ok` |

mod random;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use participant::store::{Refusal, StoreError, TableStore};
use wal_core::schema::{Ownership, Table};
use wal_core::value::Value;
use wal_core::{Cell, ColumnId, Row, RowKey, RowMutation, RowVersion, TableId, Timestamp};

use crate::script::{Player, Script, read};

pub use random::{random, rising};

/// The scripts that are written down.
pub fn scripts() -> Vec<Script> {
    read(include_str!("../../scripts/tables.txt"))
}

/// Whether a script drops a table, which not every engine can.
pub fn drops(script: &Script) -> bool {
    script.lines.iter().any(|line| line.step.starts_with("drop "))
}

/// The table that stays, and the one that goes.
pub const STAYS: TableId = TableId(0);
/// See [`STAYS`].
pub const GOES: TableId = TableId(1);

/// The two tables.
///
/// # Panics
/// Never: their statements are CQL.
pub fn tables() -> Vec<Arc<Table>> {
    let table = |(id, name)| {
        let columns = "p text, c text, x text, y text, z bigint, PRIMARY KEY (p, c)";
        let cql = format!("CREATE TABLE {name} ({columns})").parse().expect("CQL");
        Arc::new(Table::new(id, cql, Ownership::Owned))
    };
    [(STAYS, "stays"), (GOES, "goes")].map(table).into()
}

/// The columns that are written: name, and number.
pub const COLUMNS: [(&str, ColumnId); 3] =
    [("x", ColumnId(2)), ("y", ColumnId(3)), ("z", ColumnId(4))];

/// An engine that keeps tables.
pub trait Engine {
    /// The port of production.
    fn store(&self) -> &dyn TableStore;

    /// Writes as one who knows nothing of Handfast; the port itself, if there is nobody else.
    fn others(&self, mutation: &RowMutation) {
        self.store().apply(std::slice::from_ref(mutation)).expect("an apply");
    }

    /// Drops a table.
    fn drop_table(&self, table: TableId);
}

/// One script on an engine, in data partitions of its own.
pub struct Rows<'a> {
    engine: &'a dyn Engine,
    /// What its partition keys begin with.
    prefix: String,
    last: Vec<RowMutation>,
    kept: BTreeMap<RowKey, Row>,
    marks: BTreeMap<String, RowVersion>,
}

impl<'a> Rows<'a> {
    /// Rows whose data partitions nobody else uses.
    pub fn new(engine: &'a dyn Engine, prefix: String) -> Self {
        Self { engine, prefix, last: Vec::new(), kept: BTreeMap::new(), marks: BTreeMap::new() }
    }

    fn key(&self, name: &str) -> RowKey {
        let (table, row) = name.strip_prefix("goes.").map_or((STAYS, name), |row| (GOES, row));
        let (partition, clustering) = match row {
            "a" => ("p1", "c1"),
            "b" => ("p1", "c2"),
            "c" => ("p2", "c1"),
            "d" => ("p2", "c2"),
            other => panic!("no row is called {other:?}"),
        };
        let length = u32::try_from(clustering.len()).expect("two letters");
        RowKey {
            table,
            partition: format!("{}{partition}", self.prefix).into(),
            clustering: [&length.to_be_bytes()[..], clustering.as_bytes()].concat().into(),
        }
    }

    fn mutation(&self, text: &str) -> RowMutation {
        let (name, changes) = text.trim().split_once(' ').expect("a row and what changes");
        let mut delta = Row::default();
        changes.split_whitespace().for_each(|change| delta.merge(&row_of(change)));
        RowMutation { key: self.key(name), delta }
    }

    fn read(&self, keys: &[RowKey]) -> Result<Vec<Row>, Vec<Refusal>> {
        patiently(|| self.engine.store().read(keys))
    }

    fn read_one(&self, name: &str) -> Row {
        self.read(&[self.key(name)]).expect("a row that can be read").remove(0)
    }

    fn apply(&mut self) -> String {
        let mut rest = self.last.clone();
        let mut places: Vec<usize> = (1..=rest.len()).collect();
        let mut refused_at = Vec::new();
        // Clause 5: what is refused is taken out, and the rest is applied.
        while let Err(refused) = patiently(|| self.engine.store().apply(&rest)) {
            assert!(!refused.is_empty(), "a refusal names what is refused");
            for refusal in refused.iter().rev() {
                refused_at.push(places.remove(refusal.index));
                rest.remove(refusal.index);
            }
        }
        rest.iter().for_each(|mutation| self.remember(mutation));
        refused_at.sort_unstable();
        match refused_at.is_empty() {
            true => "ok".to_owned(),
            false => refused_at.iter().fold("refused".to_owned(), |all, at| format!("{all} {at}")),
        }
    }

    fn remember(&mut self, mutation: &RowMutation) {
        if let Some(row) = self.kept.get_mut(&mutation.key) {
            row.merge(&mutation.delta);
        }
    }

    fn read_all(&self, names: &str) -> String {
        let names: Vec<&str> = names.split_whitespace().collect();
        let keys: Vec<RowKey> = names.iter().map(|name| self.key(name)).collect();
        let rows: Vec<Option<Row>> = match self.read(&keys) {
            Ok(rows) => rows.into_iter().map(Some).collect(),
            // What can be read is read without the rest.
            Err(refused) => {
                let is_refused = |index| refused.iter().any(|refusal| refusal.index == index);
                let alone = |(index, key): (usize, &RowKey)| {
                    (!is_refused(index)).then(|| {
                        let row = self.read(std::slice::from_ref(key));
                        row.expect("it was not refused").remove(0)
                    })
                };
                keys.iter().enumerate().map(alone).collect()
            }
        };
        assert_eq!(rows.len(), keys.len(), "one row for every key");
        let shown = |(name, row): (&&str, &Option<Row>)| match row {
            None => format!("{name} refused"),
            Some(row) => format!("{name} {}", text_of(&row.shown())),
        };
        names.iter().zip(&rows).map(shown).collect::<Vec<_>>().join("; ")
    }
}

impl Player for Rows<'_> {
    fn play(&mut self, step: &str) -> String {
        let (verb, rest) = step.split_once(' ').unwrap_or((step, ""));
        match verb {
            "apply" => {
                self.last = rest.split(';').map(|text| self.mutation(text)).collect();
                self.apply()
            }
            "again" => self.apply(),
            "others" => {
                let mutation = self.mutation(rest);
                self.engine.others(&mutation);
                self.remember(&mutation);
                "ok".to_owned()
            }
            "read" => self.read_all(rest),
            "keep" => {
                let row = self.read_one(rest).shown();
                let text = text_of(&row);
                self.kept.insert(self.key(rest), row);
                format!("{rest} {text}")
            }
            "kept" => match &self.kept[&self.key(rest)] {
                row if !row.is_decided() => format!("{rest} undecided"),
                row => format!("{rest} {}", text_of(&row.shown())),
            },
            "mark" => {
                let (row, name) = rest.split_once(' ').expect("a row and a name");
                self.marks.insert(name.to_owned(), self.read_one(row).version());
                "ok".to_owned()
            }
            "same" => {
                let (row, name) = rest.split_once(' ').expect("a row and a name");
                let same = self.read_one(row).version() == self.marks[name];
                if same { "yes" } else { "no" }.to_owned()
            }
            "drop" => {
                assert_eq!(rest, "goes", "the other table stays");
                self.engine.drop_table(GOES);
                "ok".to_owned()
            }
            other => panic!("no step is called {other:?}"),
        }
    }
}

/// Clause 5: what fails for now is tried again; what is refused is told.
fn patiently<T>(mut call: impl FnMut() -> Result<T, StoreError>) -> Result<T, Vec<Refusal>> {
    const MAX_TRIES: usize = 100;
    for _ in 0..MAX_TRIES {
        match call() {
            Ok(answer) => return Ok(answer),
            Err(StoreError::Refused(refused)) => return Err(refused),
            Err(StoreError::Transient { .. } | StoreError::Overloaded { .. }) => {
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
    panic!("it still fails after {MAX_TRIES} tries");
}

/// One change of a row.
fn row_of(change: &str) -> Row {
    let (what, at) = change.rsplit_once('@').expect("a write time");
    let at = Timestamp(at.parse().expect("a write time"));
    match what {
        "insert" => Row { marker_at: Some(at), ..Row::default() },
        "delete" => Row { deleted_at: Some(at), ..Row::default() },
        _ => {
            let (name, value) = what.split_once('=').expect("a column and its value");
            let (_, column) = COLUMNS.iter().find(|(it, _)| *it == name).expect("a column");
            let value = match (name, value) {
                (_, "null") => None,
                ("z", number) => Some(Value::BigInt(number.parse().expect("a number"))),
                (_, "''") => Some(Value::from("")),
                (_, text) => Some(Value::from(text)),
            };
            let value = value.map(|value| value.encode());
            let cell = Cell { column: *column, timestamp: at, value };
            Row { cells: vec![cell], ..Row::default() }
        }
    }
}

/// A row as every reader sees it.
fn text_of(shown: &Row) -> String {
    if shown.cells.is_empty() {
        return if shown.exists() { "key only" } else { "absent" }.to_owned();
    }
    let cell = |cell: &Cell| {
        let value = cell.value.as_ref().expect("only live cells are shown");
        let (name, _) = COLUMNS.iter().find(|(_, it)| *it == cell.column).expect("a column");
        format!("{name}={}@{}", value_text(name, value), cell.timestamp.0)
    };
    shown.cells.iter().map(cell).collect::<Vec<_>>().join(" ")
}

fn value_text(column: &str, value: &Bytes) -> String {
    match (column, std::str::from_utf8(value)) {
        ("z", _) => {
            let bytes = value.as_ref().try_into().expect("a bigint has eight bytes");
            i64::from_be_bytes(bytes).to_string()
        }
        (_, Ok("")) => "''".to_owned(),
        (_, Ok(text)) => text.to_owned(),
        (_, Err(_)) => panic!("a text is not UTF-8"),
    }
}
