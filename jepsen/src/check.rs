//! Strict serializability of list transactions whose version order is known: the final lists show it.

use std::collections::BTreeMap;

use crate::graph::{Edge, Graph};
use crate::workload::{Detail, Done, End, Micro, append};

/// At most so many anomalies of one kind are told.
const TOLD: usize = 10;

/// A transaction that happened.
struct Txn<'a> {
    done: &'a Done,
    /// What it read of each list before its own appends; `None` if it did not look.
    read: BTreeMap<i64, Vec<i64>>,
    appended: BTreeMap<i64, Vec<i64>>,
}

impl<'a> Txn<'a> {
    fn new(done: &'a Done) -> Option<Self> {
        let Detail::Micros(micros) = &done.task.detail else { return None };
        // Every list of a transaction is read at its point, also where it only appends.
        let read = append::lists_of(micros).into_iter().zip(done.rows.iter().map(append::elements));
        let mut appended: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        for micro in micros {
            if let Micro::Append(list, element) = micro {
                appended.entry(*list).or_default().push(*element);
            }
        }
        Some(Self { done, read: read.collect(), appended })
    }

    fn named(&self) -> String {
        match (&self.done.transaction, self.done.end) {
            (Some(it), End::Committed(at)) => format!("{} (committed at {at} µs)", it.id()),
            _ => format!("the read from {} to {} ns", self.done.invoked, self.done.completed),
        }
    }
}

/// What does not hold of list transactions; `last` reads every list at the end.
pub(crate) fn lists(ran: &[Done], last: &[Done]) -> Vec<String> {
    let all = ran.iter().chain(last);
    let happened: Vec<Txn<'_>> =
        all.clone().filter(|done| done.has_happened()).filter_map(Txn::new).collect();
    let mut finals: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for txn in last.iter().filter_map(Txn::new) {
        finals.extend(txn.read);
    }
    // Who appended what. Elements of a list are drawn once each.
    let mut writers: BTreeMap<(i64, i64), usize> = BTreeMap::new();
    for (number, txn) in happened.iter().enumerate() {
        for (list, elements) in &txn.appended {
            writers.extend(elements.iter().map(|element| ((*list, *element), number)));
        }
    }
    let mut wrong = appends_are_there(&happened, &finals, &writers);
    wrong.extend(reads_are_prefixes(&happened, &finals));
    if !wrong.is_empty() {
        return wrong; // without a version order there is no graph
    }
    wrong.extend(versions_are_in_time_order(&happened, &finals, &writers));
    wrong.extend(no_cycle(&happened, &finals, &writers));
    wrong
}

fn appends_are_there(
    happened: &[Txn<'_>],
    finals: &BTreeMap<i64, Vec<i64>>,
    writers: &BTreeMap<(i64, i64), usize>,
) -> Vec<String> {
    let mut wrong = Vec::new();
    for ((list, element), writer) in writers {
        let count = finals.get(list).map_or(0, |it| it.iter().filter(|it| *it == element).count());
        if count != 1 {
            let who = happened[*writer].named();
            wrong.push(format!(
                "{element} of list {list}, by {who}, is there {count} times at the end"
            ));
        }
    }
    for (list, elements) in finals {
        for element in elements.iter().filter(|element| !writers.contains_key(&(*list, **element)))
        {
            wrong.push(format!("{element} of list {list} is there, but nobody committed it (G1a)"));
        }
    }
    wrong.truncate(TOLD);
    wrong
}

fn reads_are_prefixes(happened: &[Txn<'_>], finals: &BTreeMap<i64, Vec<i64>>) -> Vec<String> {
    let mut wrong = Vec::new();
    for txn in happened {
        for (list, read) in &txn.read {
            if !finals.get(list).is_some_and(|elements| elements.starts_with(read)) {
                let (who, end) = (txn.named(), finals.get(list));
                wrong.push(format!(
                    "{who} read list {list} as {read:?}, which never was: it ended as {end:?} \
                     (incompatible order)"
                ));
            }
        }
    }
    wrong.truncate(TOLD);
    wrong
}

/// Commit timestamps of the writers of one list grow along it.
fn versions_are_in_time_order(
    happened: &[Txn<'_>],
    finals: &BTreeMap<i64, Vec<i64>>,
    writers: &BTreeMap<(i64, i64), usize>,
) -> Vec<String> {
    let mut wrong = Vec::new();
    for (list, elements) in finals {
        let order = elements.iter().map(|element| writers[&(*list, *element)]);
        let mut before: Option<usize> = None;
        for writer in order {
            if let Some(before) = before.filter(|before| *before != writer) {
                let at = |number: usize| match happened[number].done.end {
                    End::Committed(at) => at,
                    End::Read | End::Failed => i64::MAX,
                };
                if at(before) >= at(writer) {
                    let (one, other) = (happened[before].named(), happened[writer].named());
                    wrong.push(format!("in list {list} {one} comes before {other}"));
                }
            }
            before = Some(writer);
        }
    }
    wrong.truncate(TOLD);
    wrong
}

fn no_cycle(
    happened: &[Txn<'_>],
    finals: &BTreeMap<i64, Vec<i64>>,
    writers: &BTreeMap<(i64, i64), usize>,
) -> Option<String> {
    let times: Vec<(u64, u64)> =
        happened.iter().map(|txn| (txn.done.invoked, txn.done.completed)).collect();
    let mut graph = Graph::new(&times);
    for (list, elements) in finals {
        for pair in elements.windows(2) {
            let [one, next] = [writers[&(*list, pair[0])], writers[&(*list, pair[1])]];
            graph.add(one, next, Edge::WriteWrite);
        }
    }
    for (number, txn) in happened.iter().enumerate() {
        for (list, read) in &txn.read {
            if let Some(newest) = read.last() {
                graph.add(writers[&(*list, *newest)], number, Edge::WriteRead);
            }
            if let Some(next) = finals[list].get(read.len()) {
                graph.add(number, writers[&(*list, *next)], Edge::ReadWrite);
            }
        }
    }
    let cycle = graph.cycle()?;
    let steps =
        cycle.iter().map(|(txn, edge)| format!("{} {}", happened[*txn].named(), edge.words()));
    let steps: Vec<String> = steps.collect();
    let first = happened[cycle.first()?.0].named();
    Some(format!("a cycle: {}, {first}", steps.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Task;
    use handfast_client::{Row, RowVersion, Transaction, Value as Cell};

    fn row(elements: &str) -> Row {
        let columns = vec![("elements".to_owned(), Cell::from(elements))];
        Row { exists: true, version: RowVersion([0; 16]), columns }
    }

    /// A transaction over lists 1, 2, … in order: what it read of them, and what it appended.
    fn txn(times: (u64, u64), at: i64, micros: &[Micro], read: &[&str]) -> Done {
        let detail = Detail::Micros(micros.to_vec());
        let task = Task { f: "txn", detail, rows: Vec::new(), transaction: None };
        let rows = read.iter().map(|text| row(text)).collect();
        let writes = micros.iter().any(|micro| matches!(micro, Micro::Append(..)));
        let end = if writes { End::Committed(at) } else { End::Read };
        let transaction = writes.then(|| Transaction::new("n"));
        Done { task, invoked: times.0, completed: times.1, rows, transaction, end }
    }

    use Micro::{Append as A, Read as R};

    fn check(ran: &[Done], finals: &[&str]) -> Vec<String> {
        let micros: Vec<Micro> = (1..=finals.len() as i64).map(R).collect();
        lists(ran, &[txn((900, 901), 0, &micros, finals)])
    }

    #[test]
    fn a_serial_history_is_valid() {
        let ran = [
            txn((0, 5), 8, &[A(1, 1)], &[""]),
            txn((3, 9), 16, &[A(1, 2), A(1, 3), R(2)], &["1", ""]),
            txn((6, 8), 0, &[R(1)], &["1"]),
            txn((10, 11), 24, &[A(2, 1), R(1)], &["1 2 3", ""]),
        ];
        assert_eq!(check(&ran, &["1 2 3", "1"]), Vec::<String>::new());
    }

    #[test]
    fn what_is_lost_doubled_made_up_or_out_of_order_is_found() {
        let one = || txn((0, 5), 8, &[A(1, 1)], &[""]);
        let two = |read| txn((6, 9), 16, &[A(1, 2)], &[read]);
        let found = |ran: &[Done], end: &str, words: &str| {
            let wrong = check(ran, &[end]);
            assert!(wrong.iter().any(|it| it.contains(words)), "{words}: {wrong:?}");
        };
        found(&[one()], "", "0 times");
        found(&[one()], "1 1", "2 times");
        found(&[one()], "1 2", "G1a");
        found(&[one(), two("1")], "2 1", "incompatible order");
        found(&[one(), two("")], "1 2", "a cycle");
        let mut failed = two("1");
        failed.end = End::Failed;
        found(&[one(), failed], "1 2", "G1a");
        let late = txn((6, 9), 4, &[A(1, 2)], &["1"]);
        found(&[one(), late], "1 2", "comes before");
    }

    #[test]
    fn a_stale_read_a_fractured_read_and_a_write_skew_are_cycles() {
        let one = || txn((0, 5), 8, &[A(1, 1), A(2, 1)], &["", ""]);
        let stale = check(&[one(), txn((6, 7), 0, &[R(1)], &[""])], &["1", "1"]);
        assert!(stale[0].contains("was over before"), "{stale:?}");
        let torn = check(&[one(), txn((1, 7), 0, &[R(1), R(2)], &["1", ""])], &["1", "1"]);
        assert!(torn[0].contains("a cycle"), "{torn:?}");
        let skew = [
            txn((0, 9), 8, &[A(1, 1), R(2)], &["", ""]),
            txn((0, 9), 16, &[R(1), A(2, 1)], &["", ""]),
        ];
        let skew = check(&skew, &["1", "1"]);
        assert!(skew[0].contains("did not see"), "{skew:?}");
    }
}
