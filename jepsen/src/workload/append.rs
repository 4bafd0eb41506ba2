//! Lists that are read and appended to, several in one transaction.
//!
//! A list is a row with its elements as text. A transaction reads all its lists at one point and, if it
//! appends, writes them on the condition that none of them has changed: so its reads and its appends
//! happen at one point, and the history is one that Elle's list-append checker reads.

use std::collections::BTreeMap;
use std::sync::Mutex;

use handfast_checker::{Model, Value};
use handfast_client::{Key, Row, Transaction, unchanged};
use rand::RngExt as _;
use rand::rngs::StdRng;

use super::{Detail, Done, Micro, Task, Workload};

/// Lists in use at the same time.
const LISTS: i64 = 6;
/// After so many appends were asked for, a list makes room for the next.
const APPENDS_PER_LIST: i64 = 60;
/// Lists of one read at the end.
const LISTS_PER_READ: usize = 200;

pub(crate) struct Append {
    namespace: String,
    lists: Mutex<Lists>,
}

impl Append {
    pub(crate) fn new(namespace: String) -> Self {
        Self { namespace, lists: Mutex::default() }
    }
}

/// Which lists there are, and how often each was appended to.
#[derive(Default)]
struct Lists {
    appends: BTreeMap<i64, i64>,
    /// The list in use of each slot.
    current: BTreeMap<i64, i64>,
}

impl Lists {
    /// The list that a slot uses now. Lists of a slot are `LISTS` apart.
    fn list(&mut self, slot: i64) -> i64 {
        let list = *self.current.entry(slot).or_insert(slot);
        self.appends.entry(list).or_insert(0);
        list
    }

    /// The next element of a list; full lists are left behind.
    fn element(&mut self, slot: i64, list: i64) -> i64 {
        let count = self.appends.entry(list).or_insert(0);
        *count += 1;
        let element = *count;
        if element == APPENDS_PER_LIST {
            self.current.insert(slot, list + LISTS);
        }
        element
    }
}

fn key(list: i64) -> (&'static str, Key) {
    ("lists", list.into())
}

/// The lists of a transaction, each once, in order.
fn lists_of(micros: &[Micro]) -> Vec<i64> {
    let mut lists: Vec<i64> = micros.iter().map(list_of).collect();
    lists.sort_unstable();
    lists.dedup();
    lists
}

const fn list_of(micro: &Micro) -> i64 {
    match *micro {
        Micro::Read(list) | Micro::Append(list, _) => list,
    }
}

fn task(micros: Vec<Micro>) -> Task {
    let rows = lists_of(&micros).into_iter().map(key).collect();
    Task { f: "txn", detail: Detail::Micros(micros), rows, transaction: None }
}

fn elements(row: &Row) -> Vec<i64> {
    let text = row.text("elements").unwrap_or_default();
    text.split_whitespace().map(|it| it.parse().expect("only numbers are appended")).collect()
}

/// What a transaction's lists hold as it goes: each micro-operation with what it saw or left.
fn play(micros: &[Micro], rows: &[Row]) -> Vec<(Micro, Vec<i64>)> {
    let mut lists: BTreeMap<i64, Vec<i64>> =
        lists_of(micros).into_iter().zip(rows.iter().map(elements)).collect();
    let step = |micro: &Micro| {
        let list = lists.entry(list_of(micro)).or_default();
        if let Micro::Append(_, element) = micro {
            list.push(*element);
        }
        (*micro, list.clone())
    };
    micros.iter().map(step).collect()
}

impl Workload for Append {
    fn namespace(&self) -> &str {
        &self.namespace
    }

    fn tables(&self) -> &'static str {
        "[[table]]\ncql = 'CREATE TABLE lists (id bigint PRIMARY KEY, elements text)'"
    }

    fn next(&self, rng: &mut StdRng) -> Task {
        let mut lists = self.lists.lock().expect("no holder of this lock panics");
        let count = rng.random_range(1..=4);
        let mut micros = Vec::with_capacity(count);
        for _ in 0..count {
            let slot = rng.random_range(0..LISTS);
            let list = lists.list(slot);
            micros.push(match rng.random_range(0..2) {
                0 => Micro::Read(list),
                _ => Micro::Append(list, lists.element(slot, list)),
            });
        }
        task(micros)
    }

    fn last(&self, _ran: &[Done]) -> Vec<Task> {
        let lists = self.lists.lock().expect("no holder of this lock panics");
        let all: Vec<Micro> = lists.appends.keys().map(|list| Micro::Read(*list)).collect();
        all.chunks(LISTS_PER_READ).map(|micros| task(micros.to_vec())).collect()
    }

    fn then(&self, task: &Task, rows: &[Row]) -> Option<Transaction> {
        let Detail::Micros(micros) = &task.detail else { return None };
        let mut written: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        for (micro, after) in play(micros, rows) {
            if let Micro::Append(list, _) = micro {
                written.insert(list, after);
            }
        }
        if written.is_empty() {
            return None;
        }
        let mut transaction = Transaction::new(&self.namespace);
        for ((table, key), row) in task.rows.iter().zip(rows) {
            transaction = transaction.require(*table, key.clone(), unchanged(row.version));
        }
        for (list, after) in written {
            let text: Vec<String> = after.iter().map(ToString::to_string).collect();
            let (table, key) = key(list);
            transaction = transaction.insert(table, key, ("elements", text.join(" ")));
        }
        Some(transaction)
    }

    fn shown(&self, task: &Task, rows: Option<&[Row]>) -> Value {
        let Detail::Micros(micros) = &task.detail else { return Value::Nil };
        let read =
            |list: i64, seen: Value| Value::List(vec![Value::keyword("r"), list.into(), seen]);
        let append = |list: i64, element: i64| {
            Value::List(vec![Value::keyword("append"), list.into(), element.into()])
        };
        Value::List(match rows {
            Some(rows) => play(micros, rows)
                .into_iter()
                .map(|(micro, seen)| match micro {
                    Micro::Read(list) => {
                        read(list, Value::List(seen.into_iter().map(Value::Int).collect()))
                    }
                    Micro::Append(list, element) => append(list, element),
                })
                .collect(),
            None => micros
                .iter()
                .map(|micro| match *micro {
                    Micro::Read(list) => read(list, Value::Nil),
                    Micro::Append(list, element) => append(list, element),
                })
                .collect(),
        })
    }

    fn model(&self) -> Option<Model> {
        Some(Model::Append)
    }
}
