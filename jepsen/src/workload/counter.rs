//! Increments of one hot row.

use handfast_client::{Row, Transaction};
use rand::RngExt as _;
use rand::rngs::StdRng;

use super::{Detail, Done, Task, Workload};
use handfast_checker::Value;

pub(crate) struct Counter {
    pub(crate) namespace: String,
}

fn read() -> Task {
    Task {
        f: "read",
        detail: Detail::All,
        rows: vec![("counters", "hot".into())],
        transaction: None,
    }
}

impl Workload for Counter {
    fn namespace(&self) -> &str {
        &self.namespace
    }

    fn tables(&self) -> &'static str {
        "[[table]]\ncql = 'CREATE TABLE counters (id text PRIMARY KEY, n bigint)'"
    }

    fn next(&self, rng: &mut StdRng) -> Task {
        if rng.random_range(0..5) == 0 {
            return read();
        }
        let by = rng.random_range(1..=5);
        let transaction = Transaction::new(&self.namespace).add("counters", "hot", ("n", by));
        // Every other one is a transaction over several shards, or may be.
        let transaction = match rng.random_range(0..2) {
            0 => transaction,
            _ => {
                transaction.add("counters", format!("cold-{}", rng.random_range(0..100)), ("n", by))
            }
        };
        Task { f: "add", detail: Detail::Add(by), rows: Vec::new(), transaction: Some(transaction) }
    }

    fn last(&self, _ran: &[Done]) -> Vec<Task> {
        vec![read()]
    }

    fn shown(&self, task: &Task, rows: Option<&[Row]>) -> Value {
        match (&task.detail, rows) {
            (Detail::Add(by), _) => (*by).into(),
            (_, Some(rows)) => found(rows).into(),
            (_, None) => Value::Nil,
        }
    }

    fn check(&self, ran: &[Done], last: &[Done]) -> Vec<String> {
        let adds: Vec<(&Done, i64)> = ran
            .iter()
            .filter_map(|done| match done.task.detail {
                Detail::Add(by) if done.has_committed() => Some((done, by)),
                _ => None,
            })
            .collect();
        let mut wrong = Vec::new();
        // What was certain before a read began must be in it; what began after its end cannot be.
        let mut certain: Vec<(u64, i64)> =
            adds.iter().map(|(done, by)| (done.completed, *by)).collect();
        let mut possible: Vec<(u64, i64)> =
            adds.iter().map(|(done, by)| (done.invoked, *by)).collect();
        for times in [&mut certain, &mut possible] {
            times.sort_unstable();
            let mut sum = 0;
            for (_, by) in times {
                sum += *by;
                *by = sum;
            }
        }
        let before = |sums: &[(u64, i64)], time: u64| {
            let count = sums.partition_point(|(at, _)| *at < time);
            count.checked_sub(1).map_or(0, |index| sums[index].1)
        };
        let reads = ran.iter().chain(last).filter(|done| matches!(done.task.detail, Detail::All));
        for done in reads.filter(|done| done.has_happened()) {
            let (least, most) = (before(&certain, done.invoked), before(&possible, done.completed));
            let found = found(&done.rows);
            if !(least..=most).contains(&found) {
                let when = done.completed;
                wrong.push(format!("a read at {when} ns found {found}, not {least} to {most}"));
            }
        }
        let sum: i64 = adds.iter().map(|(_, by)| by).sum();
        match last.first().map(|done| found(&done.rows)) {
            Some(found) if found == sum => {}
            found => wrong.push(format!("the counter is {found:?} at the end, not {sum}")),
        }
        wrong
    }
}

fn found(rows: &[Row]) -> i64 {
    rows.first().and_then(|row| row.integer("n")).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::End;
    use handfast_client::{RowVersion, Value as Cell};

    fn counter() -> Counter {
        Counter { namespace: "jepsen".to_owned() }
    }

    fn done(detail: Detail, times: (u64, u64), n: i64) -> Done {
        let end = if matches!(detail, Detail::All) { End::Read } else { End::Committed(1) };
        let row = Row {
            exists: true,
            version: RowVersion([0; 16]),
            columns: vec![("n".to_owned(), Cell::from(n))],
        };
        let task = Task { f: "", detail, rows: Vec::new(), transaction: None };
        Done {
            task,
            invoked: times.0,
            completed: times.1,
            rows: vec![row],
            arrived: vec![],
            transaction: None,
            end,
        }
    }

    #[test]
    fn a_read_sees_what_was_certain_and_nothing_that_had_not_begun() {
        let adds = [done(Detail::Add(2), (0, 10), 0), done(Detail::Add(3), (5, 30), 0)];
        let check = |from, to, n| {
            let mut ran = adds.to_vec();
            ran.push(done(Detail::All, (from, to), n));
            counter().check(&ran, &[done(Detail::All, (90, 91), 5)]).is_empty()
        };
        assert!(check(11, 12, 2) && check(11, 12, 5) && check(1, 2, 0));
        assert!(!check(11, 12, 0), "an acknowledged increment is missing");
        assert!(!check(1, 2, 3), "an increment of the future is there");
        assert!(!counter().check(&adds, &[done(Detail::All, (90, 91), 8)]).is_empty(), "doubled");
        assert!(!counter().check(&adds, &[done(Detail::All, (90, 91), 3)]).is_empty(), "lost");
        assert!(!counter().check(&adds, &[]).is_empty(), "not read");
    }
}
