//! How many transactions one core builds from typed batches in a second.
//!
//! `cargo run --release -p wal-core --example build_throughput`

use std::hint::black_box;
use std::time::Instant;

use wal_core::build::{Batch, Check, Columns, Mutation, RowCondition, Write, build};
use wal_core::namespace::Namespace;
use wal_core::txn::CompareOp;
use wal_core::value::Value;
use wal_core::{Millis, TxnId};

const ROUNDS: usize = 5;
const BATCHES: usize = 10_000;
const REPEATS: usize = 20;

fn main() {
    let bank = Namespace::from_toml(
        r#"
        name = "bank"
        [[table]]
        cql = "CREATE TABLE accounts (id text PRIMARY KEY, balance bigint, note blob)"
        [[table]]
        cql = "CREATE TABLE ledger (account text, seq bigint, amount bigint, PRIMARY KEY (account, seq))"
        "#,
    )
    .expect("a good namespace");
    measure(&bank, "one row, 100-byte value", one_row);
    measure(&bank, "two rows, two tables, one condition", transfer);
}

fn measure(bank: &Namespace, what: &str, make: fn(usize) -> Batch) {
    let batches: Vec<Batch> = (0..BATCHES).map(make).collect();
    let mut best = 0.0f64;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for repeat in 0..REPEATS {
            for batch in &batches {
                let id = TxnId::from_parts(Millis(1), repeat as u128);
                black_box(build(bank, id, black_box(batch)).expect("a good batch"));
            }
        }
        best = best.max((REPEATS * BATCHES) as f64 / start.elapsed().as_secs_f64());
    }
    println!("{what}: {best:.0} builds/s on one core (best of {ROUNDS} rounds)");
}

fn key(table: &str, name: &str, value: Value) -> (String, Columns) {
    (table.to_owned(), vec![(name.to_owned(), Some(value))])
}

fn one_row(index: usize) -> Batch {
    let (table, key) = key("accounts", "id", Value::Text(format!("account-{index}")));
    let columns = vec![
        ("balance".to_owned(), Some(Value::BigInt(index as i64))),
        ("note".to_owned(), Some(Value::Blob(vec![7; 100].into()))),
    ];
    Batch {
        mutations: vec![Mutation { table, key, write: Write::Put(columns) }],
        ..Batch::default()
    }
}

fn transfer(index: usize) -> Batch {
    let (table, from) = key("accounts", "id", Value::Text(format!("account-{index}")));
    let minus = vec![("balance".to_owned(), Some(Value::BigInt(-5)))];
    let (ledger, mut to) = key("ledger", "account", Value::Text(format!("account-{}", index + 1)));
    to.push(("seq".to_owned(), Some(Value::BigInt(9))));
    let plus = vec![("amount".to_owned(), Some(Value::BigInt(5)))];
    let check = Check::Compare {
        column: "balance".to_owned(),
        op: CompareOp::Ge,
        value: Some(Value::BigInt(5)),
    };
    Batch {
        mutations: vec![
            Mutation { table: table.clone(), key: from.clone(), write: Write::Add(minus) },
            Mutation { table: ledger, key: to, write: Write::Insert(plus) },
        ],
        conditions: vec![RowCondition { table, key: from, check }],
        ..Batch::default()
    }
}
