//! What the benchmark submits, and what must hold afterwards.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use wal_core::ShardId;
use wal_core::build::{Batch, Check, Columns, Mutation, RowCondition, Write};
use wal_core::message::Message;
use wal_core::token::Token;
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
    /// Of so many shards, two rows are on two.
    apart: Option<u16>,
}

impl Source {
    pub(super) fn new(workload: Workload, rows: u64, value_bytes: usize, seed: u64) -> Self {
        let rows = i64::try_from(rows / 2).unwrap_or(i64::MAX).max(10);
        let random = SmallRng::seed_from_u64(seed);
        let value = bytes::Bytes::from(vec![7; value_bytes]);
        Self { workload, random, rows, value, apart: None }
    }

    /// Draws two rows from two shards of so many, never from one.
    pub(super) fn apart(self, shards: u16) -> Self {
        Self { apart: Some(shards), ..self }
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
            Workload::Blind2 => {
                let rows = self.two_rows();
                Request::Submit(batch(rows.into_iter().map(|row| self.put(row)).collect()))
            }
            Workload::Transfer => Request::Submit(self.transfer()),
            Workload::Read2 => Request::Read(self.two_rows()),
            Workload::Log => Request::Submit(self.message()),
        }
    }

    /// A message of one of as many keys as there are rows.
    fn message(&mut self) -> Batch {
        let key = Some(self.id().to_be_bytes().to_vec().into());
        let message = Message { key, payload: self.value.clone(), ..Message::default() };
        Batch { messages: vec![message], ..Batch::default() }
    }

    fn transfer(&mut self) -> Batch {
        let amount = self.random.random_range(1..=10);
        let mut rows = self.two_rows();
        if self.random.random() {
            rows.swap(0, 1);
        }
        let [from, to] = rows;
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
            ..Batch::default()
        }
    }

    pub(super) fn id(&mut self) -> i64 {
        self.random.random_range(0..self.rows)
    }

    /// Two rows of the two tables, on two shards where that is asked for and there are two.
    pub(super) fn two_rows(&mut self) -> [(&'static str, i64); 2] {
        loop {
            let (left, right) = (self.id(), self.id());
            let apart = |shards| shard(left, shards) != shard(right, shards);
            if self.apart.is_none_or(|shards| shards < 2 || apart(shards)) {
                return [(TABLES[0], left), (TABLES[1], right)];
            }
        }
    }

    fn row(&mut self) -> (&'static str, i64) {
        (TABLES[self.random.random_range(0..TABLES.len())], self.id())
    }

    /// Ten different rows on ten partitions.
    pub(super) fn ten_rows(&mut self) -> Vec<(&'static str, i64)> {
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

/// One transaction that writes a value to each of these rows of the first table.
pub(super) fn values_of(ids: impl Iterator<Item = i64>) -> Batch {
    let value = || Some(Value::Blob(bytes::Bytes::from_static(b"applied")));
    let put = |id| Mutation {
        table: TABLES[0].to_owned(),
        key: key(id),
        write: Write::Put(vec![("value".to_owned(), value())]),
    };
    batch(ids.map(put).collect())
}

/// Every row, for the sum.
pub(super) fn all_rows(rows: u64) -> Vec<(&'static str, i64)> {
    let each = (rows / 2).max(10) as i64;
    TABLES.iter().flat_map(|table| (0..each).map(|id| (*table, id))).collect()
}

/// The shard of a row, of so many.
pub(super) fn shard(id: i64, shards: u16) -> ShardId {
    Token::of(&id.to_be_bytes()).shard(shards)
}

pub(super) fn key(id: i64) -> Columns {
    vec![("id".to_owned(), Some(Value::BigInt(id)))]
}

fn add((table, id): (&str, i64), amount: i64) -> Mutation {
    let write = Write::Add(vec![("balance".to_owned(), Some(Value::BigInt(amount)))]);
    Mutation { table: table.to_owned(), key: key(id), write }
}

fn batch(mutations: Vec<Mutation>) -> Batch {
    Batch { mutations, ..Batch::default() }
}
