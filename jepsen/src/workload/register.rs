//! Registers that are read, written, or both, several in one transaction.
//!
//! Every write of a run has a value of its own. Some transactions only read, some only write, blindly, and
//! some read and then write on the condition that nothing which they read has changed: so their reads and
//! writes happen at one point. A history of registers does not show the order of the versions; the commit
//! timestamps do.

use std::sync::atomic::{AtomicI64, Ordering};

use handfast_checker::{Model, Value};
use handfast_client::{Key, Row, Transaction, unchanged};
use rand::RngExt as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;

use super::{Detail, Done, RegisterMicro, Task, Workload};

/// Registers: few, so that transactions meet.
const REGISTERS: i64 = 8;
/// Registers of one transaction, at most.
const MOST: usize = 4;

pub(crate) struct Register {
    namespace: String,
    written: AtomicI64,
}

impl Register {
    pub(crate) fn new(namespace: String) -> Self {
        Self { namespace, written: AtomicI64::new(0) }
    }
}

fn key(register: i64) -> (&'static str, Key) {
    ("registers", register.into())
}

/// The registers that a transaction reads, in order.
fn read_of(micros: &[RegisterMicro]) -> Vec<i64> {
    let read = |micro: &RegisterMicro| match *micro {
        RegisterMicro::Read(register) => Some(register),
        RegisterMicro::Write(..) => None,
    };
    micros.iter().filter_map(read).collect()
}

/// What a row of a register holds.
fn value_of(row: &Row) -> Option<i64> {
    row.integer("value")
}

fn task(micros: Vec<RegisterMicro>) -> Task {
    let rows = read_of(&micros).into_iter().map(key).collect();
    Task { f: "txn", detail: Detail::Registers(micros), rows, transaction: None }
}

impl Workload for Register {
    fn namespace(&self) -> &str {
        &self.namespace
    }

    fn tables(&self) -> &'static str {
        "[[table]]\ncql = 'CREATE TABLE registers (id bigint PRIMARY KEY, value bigint)'"
    }

    fn next(&self, rng: &mut StdRng) -> Task {
        let mut registers: Vec<i64> = (0..REGISTERS).collect();
        registers.shuffle(rng);
        registers.truncate(rng.random_range(1..=MOST));
        // All read, all written, or each as it comes.
        let manner = rng.random_range(0..4);
        let mut micros = Vec::new();
        for register in registers {
            let of_two = rng.random_range(0..3);
            let (read, write) = match manner {
                0 => (true, false),
                1 => (false, true),
                _ => (of_two != 0, of_two != 1),
            };
            if read {
                micros.push(RegisterMicro::Read(register));
            }
            if write {
                let value = 1 + self.written.fetch_add(1, Ordering::Relaxed);
                micros.push(RegisterMicro::Write(register, value));
            }
        }
        task(micros)
    }

    fn last(&self, _ran: &[Done]) -> Vec<Task> {
        vec![task((0..REGISTERS).map(RegisterMicro::Read).collect())]
    }

    fn then(&self, task: &Task, rows: &[Row]) -> Option<Transaction> {
        let Detail::Registers(micros) = &task.detail else { return None };
        let mut transaction = Transaction::new(&self.namespace);
        for ((table, key), row) in task.rows.iter().zip(rows) {
            transaction = transaction.require(*table, key.clone(), unchanged(row.version));
        }
        let mut writes = 0;
        for micro in micros {
            if let RegisterMicro::Write(register, value) = micro {
                let (table, key) = key(*register);
                transaction = transaction.put(table, key, ("value", *value));
                writes += 1;
            }
        }
        (writes > 0).then_some(transaction)
    }

    fn shown(&self, task: &Task, rows: Option<&[Row]>) -> Value {
        let Detail::Registers(micros) = &task.detail else { return Value::Nil };
        let mut rows = rows.map(|rows| rows.iter());
        let show = |micro: &RegisterMicro| match *micro {
            RegisterMicro::Read(register) => {
                let found = rows.as_mut().and_then(Iterator::next).and_then(value_of);
                Value::List(vec![Value::keyword("r"), register.into(), found.into()])
            }
            RegisterMicro::Write(register, value) => {
                Value::List(vec![Value::keyword("w"), register.into(), value.into()])
            }
        };
        Value::List(micros.iter().map(show).collect())
    }

    fn model(&self) -> Option<Model> {
        Some(Model::Register)
    }
}
