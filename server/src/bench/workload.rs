//! What the benchmark submits, and what must hold afterwards.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use wal_core::build::{Batch, Check, Columns, Mutation, RowCondition, Write};
use wal_core::txn::CompareOp;
use wal_core::value::Value;

use super::Workload;

/// The two tables of the benchmark.
pub(super) const TABLES: [&str; 2] = ["left", "right"];
/// What every row starts with.
pub(super) const BALANCE: i64 = 1_000;
/// The name of the benchmark's namespace.
pub(super) const NAMESPACE: &str = "bench";
/// Rows that one transaction of the preparation writes.
pub(super) const PREPARED_AT_ONCE: u64 = 100;

/// The namespace, whose limits are those of any other.
pub(super) fn namespace_file(retain_bytes: u64) -> String {
    let tables = TABLES.map(|name| {
        format!(
            "[[table]]\ncql = \"CREATE TABLE {name} (id bigint PRIMARY KEY, balance bigint, value blob)\"\n\
             ownership = \"owned\"\n"
        )
    });
    format!(
        "name = \"{NAMESPACE}\"\n\n[log]\nretain_bytes = {retain_bytes}\n\n{}",
        tables.join("\n")
    )
}

/// One request.
pub(super) enum Request {
    /// A transaction.
    Submit(Batch),
    /// A read of two rows at one point.
    Read([(&'static str, i64); 2]),
}

/// Draws requests of one workload.
pub(super) struct Source {
    workload: Workload,
    random: SmallRng,
    rows: i64,
    value: bytes::Bytes,
}

impl Source {
    pub(super) fn new(workload: Workload, rows: u64, value_bytes: usize, seed: u64) -> Self {
        let rows = i64::try_from(rows / 2).unwrap_or(i64::MAX).max(10);
        let random = SmallRng::seed_from_u64(seed);
        Self { workload, random, rows, value: bytes::Bytes::from(vec![7; value_bytes]) }
    }

    pub(super) fn next(&mut self) -> Request {
        match self.workload {
            Workload::Write => {
                let row = self.row();
                Request::Submit(batch(vec![self.put(row)]))
            }
            Workload::Blind10 => {
                let rows: Vec<_> = self.ten_rows();
                Request::Submit(batch(rows.into_iter().map(|row| self.put(row)).collect()))
            }
            Workload::Hot => Request::Submit(batch(vec![add((TABLES[0], 0), 1)])),
            Workload::Transfer => Request::Submit(self.transfer()),
            Workload::Read2 => Request::Read([(TABLES[0], self.id()), (TABLES[1], self.id())]),
        }
    }

    fn transfer(&mut self) -> Batch {
        let amount = self.random.random_range(1..=10);
        let (from, to) = if self.random.random() { (0, 1) } else { (1, 0) };
        let (from, to) = ((TABLES[from], self.id()), (TABLES[to], self.id()));
        let enough = Check::Compare {
            column: "balance".to_owned(),
            op: CompareOp::Ge,
            value: Some(Value::BigInt(amount)),
        };
        Batch {
            mutations: vec![add(from, -amount), add(to, amount)],
            conditions: vec![RowCondition {
                table: from.0.to_owned(),
                key: key(from.1),
                check: enough,
            }],
        }
    }

    fn id(&mut self) -> i64 {
        self.random.random_range(0..self.rows)
    }

    fn row(&mut self) -> (&'static str, i64) {
        (TABLES[self.random.random_range(0..TABLES.len())], self.id())
    }

    /// Ten different rows on ten partitions.
    fn ten_rows(&mut self) -> Vec<(&'static str, i64)> {
        let first = self.id();
        let table = TABLES[self.random.random_range(0..TABLES.len())];
        (0..10).map(|n| (table, (first + n * (self.rows / 10).max(1)) % self.rows)).collect()
    }

    fn put(&self, (table, id): (&str, i64)) -> Mutation {
        let value = Some(Value::Blob(self.value.clone()));
        let write = Write::Put(vec![("value".to_owned(), value)]);
        Mutation { table: table.to_owned(), key: key(id), write }
    }
}

/// The transactions that make the rows.
pub(super) fn preparation(rows: u64) -> impl Iterator<Item = Batch> {
    let each = (rows / 2).max(10);
    let columns = || vec![("balance".to_owned(), Some(Value::BigInt(BALANCE)))];
    (0..each).step_by(PREPARED_AT_ONCE as usize).map(move |first| {
        let ids = first..(first + PREPARED_AT_ONCE).min(each);
        let mutations = ids.flat_map(|id| {
            TABLES.map(|table| Mutation {
                table: table.to_owned(),
                key: key(id as i64),
                write: Write::Insert(columns()),
            })
        });
        batch(mutations.collect())
    })
}

/// Every row, for the sum.
pub(super) fn all_rows(rows: u64) -> Vec<(&'static str, i64)> {
    let each = (rows / 2).max(10) as i64;
    TABLES.iter().flat_map(|table| (0..each).map(|id| (*table, id))).collect()
}

pub(super) fn key(id: i64) -> Columns {
    vec![("id".to_owned(), Some(Value::BigInt(id)))]
}

fn add((table, id): (&str, i64), amount: i64) -> Mutation {
    let write = Write::Add(vec![("balance".to_owned(), Some(Value::BigInt(amount)))]);
    Mutation { table: table.to_owned(), key: key(id), write }
}

fn batch(mutations: Vec<Mutation>) -> Batch {
    Batch { mutations, conditions: Vec::new() }
}
