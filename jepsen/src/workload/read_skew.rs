//! Pairs of rows in two tables and two partitions that every write makes equal: whoever reads both at one
//! point sees the same in both, and nothing that was overwritten before the read began.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};

use handfast_client::{Key, Row, Transaction};
use rand::RngExt as _;
use rand::rngs::StdRng;

use super::{Detail, Done, End, Task, Workload};
use handfast_checker::Value;

const PAIRS: i64 = 6;

pub(crate) struct ReadSkew {
    namespace: String,
    written: AtomicI64,
}

impl ReadSkew {
    pub(crate) fn new(namespace: String) -> Self {
        Self { namespace, written: AtomicI64::new(0) }
    }
}

fn rows_of(pair: i64) -> [(&'static str, Key); 2] {
    [("left", pair.into()), ("right", format!("pair {pair}").into())]
}

fn read(pairs: Vec<i64>) -> Task {
    let rows = pairs.iter().copied().flat_map(rows_of).collect();
    Task { f: "read", detail: Detail::Pairs(pairs), rows, transaction: None }
}

impl Workload for ReadSkew {
    fn namespace(&self) -> &str {
        &self.namespace
    }

    fn tables(&self) -> &'static str {
        "[[table]]\ncql = 'CREATE TABLE left (id bigint PRIMARY KEY, value bigint)'\n[[table]]\n\
         cql = 'CREATE TABLE right (id text PRIMARY KEY, value bigint)'"
    }

    fn next(&self, rng: &mut StdRng) -> Task {
        let first = rng.random_range(0..PAIRS);
        let second = (first + rng.random_range(0..PAIRS)) % PAIRS;
        let mut pairs = vec![first, second];
        pairs.dedup();
        if rng.random_range(0..2) == 0 {
            return read(pairs);
        }
        let value = 1 + self.written.fetch_add(1, Ordering::Relaxed);
        let mut transaction = Transaction::new(&self.namespace);
        for (table, key) in pairs.iter().copied().flat_map(rows_of) {
            transaction = transaction.put(table, key, ("value", value));
        }
        let detail = Detail::WritePairs(pairs, value);
        Task { f: "write", detail, rows: Vec::new(), transaction: Some(transaction) }
    }

    fn last(&self, _ran: &[Done]) -> Vec<Task> {
        vec![read((0..PAIRS).collect())]
    }

    fn shown(&self, task: &Task, rows: Option<&[Row]>) -> Value {
        match (&task.detail, rows) {
            (Detail::WritePairs(pairs, value), _) => {
                let pairs = pairs.iter().map(|pair| (*pair).into()).collect();
                Value::List(vec![Value::List(pairs), (*value).into()])
            }
            (Detail::Pairs(pairs), Some(rows)) => {
                let both = |rows: &[Row]| rows.iter().map(|row| found(row).into()).collect();
                let shown = pairs.iter().zip(rows.chunks(2));
                Value::Map(
                    shown.map(|(pair, two)| ((*pair).into(), Value::List(both(two)))).collect(),
                )
            }
            (_, _) => Value::Nil,
        }
    }

    fn check(&self, ran: &[Done], last: &[Done]) -> Vec<String> {
        let mut wrong = Vec::new();
        for pair in 0..PAIRS {
            wrong.extend(Pair::new(pair, ran).check(ran.iter().chain(last)));
        }
        let read = |done: &Done| matches!(&done.task.detail, Detail::Pairs(pairs) if pairs.len() == PAIRS as usize);
        if !last.iter().any(read) {
            wrong.push("the pairs were not read at the end".to_owned());
        }
        wrong
    }
}

fn found(row: &Row) -> Option<i64> {
    row.integer("value")
}

/// The writes of one pair; timestamps are their order.
struct Pair<'a> {
    pair: i64,
    /// When each value was committed, and by whom.
    writes: BTreeMap<i64, (i64, &'a Done)>,
}

/// A point in time from which on a pair has at least the version of this timestamp.
type Certain = (u64, i64);

impl<'a> Pair<'a> {
    fn new(pair: i64, ran: &'a [Done]) -> Self {
        let write = |done: &'a Done| match (&done.task.detail, done.end) {
            (Detail::WritePairs(pairs, value), End::Committed(at)) if pairs.contains(&pair) => {
                Some((*value, (at, done)))
            }
            _ => None,
        };
        Self { pair, writes: ran.iter().filter_map(write).collect() }
    }

    fn check(&self, tasks: impl Iterator<Item = &'a Done>) -> Vec<String> {
        let mut wrong = self.shared_timestamps();
        let reads: Vec<(&Done, Option<i64>, Option<i64>)> = tasks
            .filter(|done| done.has_happened())
            .filter_map(|done| self.read_by(done))
            .collect();
        let certain = self.certain(&reads);
        for (read, left, right) in &reads {
            wrong.extend(self.read_is_wrong(read, *left, *right, &certain));
        }
        wrong
    }

    /// What a task read of this pair.
    fn read_by<'b>(&self, done: &'b Done) -> Option<(&'b Done, Option<i64>, Option<i64>)> {
        let Detail::Pairs(pairs) = &done.task.detail else { return None };
        let at = pairs.iter().position(|pair| *pair == self.pair)?;
        let two = done.rows.get(2 * at..2 * at + 2)?;
        Some((done, found(&two[0]), found(&two[1])))
    }

    fn shared_timestamps(&self) -> Vec<String> {
        let mut times: Vec<i64> = self.writes.values().map(|(at, _)| *at).collect();
        times.sort_unstable();
        let twice = times.windows(2).find(|two| two[0] == two[1]);
        twice
            .map(|two| format!("two writes of pair {} committed at {} µs", self.pair, two[0]))
            .into_iter()
            .collect()
    }

    /// After a write or a read has ended nobody may see anything older.
    fn certain(&self, reads: &[(&Done, Option<i64>, Option<i64>)]) -> Vec<Certain> {
        let written = self.writes.values().map(|(at, done)| (done.completed, *at));
        let seen = reads
            .iter()
            .filter_map(|(read, left, _)| Some((read.completed, self.writes.get(&(*left)?)?.0)));
        let mut certain: Vec<Certain> = written.chain(seen).collect();
        certain.sort_unstable();
        let mut most = i64::MIN;
        for (_, at) in &mut certain {
            most = most.max(*at);
            *at = most;
        }
        certain
    }

    fn read_is_wrong(
        &self,
        read: &Done,
        left: Option<i64>,
        right: Option<i64>,
        certain: &[Certain],
    ) -> Option<String> {
        let (pair, when) = (self.pair, read.completed);
        if left != right {
            return Some(format!(
                "a read at {when} ns found pair {pair} as {left:?} and {right:?}"
            ));
        }
        let version = match left {
            None => i64::MIN,
            Some(value) => match self.writes.get(&value) {
                Some((at, writer)) if writer.invoked < read.completed => *at,
                _ => {
                    return Some(format!(
                        "a read at {when} ns found {value} in pair {pair}, which nobody had committed"
                    ));
                }
            },
        };
        let before = certain.partition_point(|(end, _)| *end < read.invoked);
        let least = before.checked_sub(1).map_or(i64::MIN, |last| certain[last].1);
        (version < least).then(|| {
            format!(
                "a read at {when} ns found {left:?} in pair {pair}, which had been overwritten when it began"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use handfast_client::{RowVersion, Value as Cell};

    fn row(value: i64) -> Row {
        let columns = vec![("value".to_owned(), Cell::from(value))];
        Row { exists: true, version: RowVersion([0; 16]), columns }
    }

    fn done(detail: Detail, times: (u64, u64), rows: Vec<Row>, end: End) -> Done {
        let task = Task { f: "", detail, rows: Vec::new(), transaction: None };
        Done {
            task,
            invoked: times.0,
            completed: times.1,
            rows,
            arrived: vec![],
            transaction: None,
            end,
        }
    }

    fn write(value: i64, times: (u64, u64), end: End) -> Done {
        done(Detail::WritePairs(vec![0], value), times, Vec::new(), end)
    }

    fn reads(times: (u64, u64), left: i64, right: i64) -> Done {
        done(Detail::Pairs(vec![0]), times, vec![row(left), row(right)], End::Read)
    }

    fn wrong(read: Done, end: i64) -> String {
        let ran = [
            write(1, (0, 10), End::Committed(8)),
            write(2, (20, 40), End::Committed(16)),
            write(3, (20, 40), End::Failed),
            read,
        ];
        let rows = (0..2 * PAIRS).map(|n| row(if n < 2 { end } else { 0 })).collect();
        let mut last = done(Detail::Pairs((0..PAIRS).collect()), (90, 91), rows, End::Read);
        // The other pairs were never written.
        for row in &mut last.rows[2..] {
            row.columns.clear();
        }
        ReadSkew::new("jepsen".to_owned()).check(&ran, &[last]).join("; ")
    }

    #[test]
    fn unequal_stale_aborted_and_lost_values_are_found() {
        assert_eq!(wrong(reads((11, 12), 1, 1), 2), "");
        assert_eq!(wrong(reads((30, 35), 2, 2), 2), "");
        assert_eq!(wrong(reads((30, 35), 1, 1), 2), "");
        assert!(wrong(reads((30, 35), 1, 2), 2).contains("as Some(1) and Some(2)"));
        assert!(wrong(reads((41, 42), 1, 1), 2).contains("had been overwritten"));
        assert!(wrong(reads((41, 42), 3, 3), 2).contains("nobody had committed"));
        assert!(wrong(reads((11, 12), 2, 2), 2).contains("nobody had committed"), "of the future");
        assert!(wrong(reads((11, 12), 1, 1), 1).contains("had been overwritten"), "lost");
        let none = ReadSkew::new("jepsen".to_owned()).check(&[], &[]);
        assert!(none.join("").contains("not read"));
    }
}
