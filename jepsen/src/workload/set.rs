//! Insertions of elements, each as a pair of rows in two tables and two partitions.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};

use handfast_client::{Key, Row, Transaction, not_exists};
use rand::RngExt as _;
use rand::rngs::StdRng;

use super::{Detail, Done, Task, Workload};
use handfast_checker::Value;

/// Elements of one read.
const ELEMENTS_PER_READ: i64 = 20;
/// Elements of one read at the end.
const ELEMENTS_PER_LAST_READ: i64 = 400;

pub(crate) struct Set {
    namespace: String,
    next: AtomicI64,
}

impl Set {
    pub(crate) fn new(namespace: String) -> Self {
        Self { namespace, next: AtomicI64::new(0) }
    }
}

/// The two rows of an element.
fn pair(element: i64) -> [(&'static str, Key); 2] {
    [("left", element.into()), ("right", format!("element {element}").into())]
}

fn read(elements: std::ops::Range<i64>) -> Task {
    let rows = elements.clone().flat_map(pair).collect();
    Task { f: "read", detail: Detail::Elements(elements.collect()), rows, transaction: None }
}

impl Workload for Set {
    fn namespace(&self) -> &str {
        &self.namespace
    }

    fn tables(&self) -> &'static str {
        "[[table]]\ncql = 'CREATE TABLE left (element bigint PRIMARY KEY, note text)'\n[[table]]\n\
         cql = 'CREATE TABLE right (element text PRIMARY KEY, note text)'"
    }

    fn next(&self, rng: &mut StdRng) -> Task {
        let newest = self.next.load(Ordering::Relaxed);
        if newest > 0 && rng.random_range(0..5) == 0 {
            let from = rng.random_range((newest - 2 * ELEMENTS_PER_READ).max(0)..newest);
            return read(from..from + ELEMENTS_PER_READ);
        }
        let element = self.next.fetch_add(1, Ordering::Relaxed);
        let transaction = pair(element).into_iter().fold(
            Transaction::new(&self.namespace),
            |transaction, (table, key)| {
                transaction.require(table, key.clone(), not_exists()).insert(
                    table,
                    key,
                    ("note", "here"),
                )
            },
        );
        let detail = Detail::Elements(vec![element]);
        Task { f: "add", detail, rows: Vec::new(), transaction: Some(transaction) }
    }

    fn last(&self, _ran: &[Done]) -> Vec<Task> {
        let newest = self.next.load(Ordering::Relaxed);
        let starts = (0..newest).step_by(ELEMENTS_PER_LAST_READ as usize);
        starts.map(|from| read(from..(from + ELEMENTS_PER_LAST_READ).min(newest))).collect()
    }

    fn shown(&self, task: &Task, rows: Option<&[Row]>) -> Value {
        let Detail::Elements(elements) = &task.detail else { return Value::Nil };
        match rows {
            _ if task.f == "add" => elements.first().copied().into(),
            Some(rows) => {
                let there = elements.iter().zip(rows.chunks(2)).filter(|(_, pair)| pair[0].exists);
                Value::List(there.map(|(element, _)| (*element).into()).collect())
            }
            None => Value::Nil,
        }
    }

    fn check(&self, ran: &[Done], last: &[Done]) -> Vec<String> {
        let mut added: BTreeMap<i64, &Done> = BTreeMap::new();
        for done in ran.iter().filter(|done| done.task.f == "add") {
            if let Detail::Elements(elements) = &done.task.detail {
                added.extend(elements.iter().map(|element| (*element, done)));
            }
        }
        let mut wrong = Vec::new();
        for done in
            ran.iter().chain(last).filter(|done| done.task.f == "read" && done.has_happened())
        {
            let Detail::Elements(elements) = &done.task.detail else { continue };
            for (element, pair) in elements.iter().zip(done.rows.chunks(2)) {
                wrong.extend(pair_is_wrong(*element, pair, added.get(element).copied(), done));
            }
        }
        let read: usize = last.iter().map(|done| done.rows.len() / 2).sum();
        if read < added.len() {
            wrong.push(format!("of {} elements {read} were read at the end", added.len()));
        }
        wrong
    }
}

fn pair_is_wrong(element: i64, pair: &[Row], add: Option<&Done>, read: &Done) -> Option<String> {
    let when = read.completed;
    if pair[0].exists != pair[1].exists {
        return Some(format!("a read at {when} ns found half of element {element}"));
    }
    let (may, must) = add.map_or((false, false), |add| {
        let committed = add.has_committed();
        (committed && add.invoked < read.completed, committed && add.completed < read.invoked)
    });
    match pair[0].exists {
        true if !may => {
            Some(format!("a read at {when} ns found element {element}, which was not inserted"))
        }
        false if must => Some(format!("a read at {when} ns missed element {element}, which was")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::End;
    use handfast_client::RowVersion;
    use rand::SeedableRng as _;

    #[test]
    fn a_lost_element_half_of_one_and_an_aborted_one_are_found() {
        let row = |exists| Row { exists, version: RowVersion([0; 16]), columns: Vec::new() };
        let check = |end: End, found: [bool; 2]| {
            let set = Set::new("jepsen".to_owned());
            let task = set.next(&mut StdRng::seed_from_u64(1));
            assert_eq!(task.f, "add", "there is nothing to read yet");
            let add = Done {
                task,
                invoked: 0,
                completed: 1,
                rows: vec![],
                arrived: vec![],
                transaction: None,
                end,
            };
            let task = set.last(&[]).remove(0);
            let rows = found.map(row).to_vec();
            let read = Done {
                task,
                invoked: 2,
                completed: 3,
                rows,
                arrived: vec![],
                transaction: None,
                end: End::Read,
            };
            set.check(&[add], &[read]).is_empty()
        };
        assert!(check(End::Committed(1), [true, true]) && check(End::Failed, [false, false]));
        assert!(!check(End::Committed(1), [false, false]), "lost");
        assert!(!check(End::Committed(1), [true, false]), "torn");
        assert!(!check(End::Failed, [true, true]), "aborted, and there");
    }
}
