//! Strict serializability of list transactions, by the checker of histories.

use handfast_checker::{Event, History, Model, Options, TXN, Type, Value};

use crate::workload::{Detail, Done, End, Micro, append};

/// What does not hold of list transactions; `last` reads every list at the end.
///
/// The history that is checked has more reads than the one that is written: of every list of a transaction
/// what it held when the transaction committed, also where that only appends.
pub(crate) fn lists(ran: &[Done], last: &[Done]) -> Vec<String> {
    let mut events: Vec<(u64, Event)> = Vec::new();
    for (process, done) in (0..).zip(ran.iter().chain(last)) {
        let Detail::Micros(micros) = &done.task.detail else { continue };
        let (kind, ts) = match done.end {
            End::Committed(at) => (Type::Ok, Some(at)),
            End::Read => (Type::Ok, None),
            End::Failed => (Type::Fail, None),
        };
        // A process each: what was over before is known by the times.
        let event = |kind, rows| Event::new(kind, process, TXN, parts(micros, rows));
        events.push((done.invoked, event(Type::Invoke, None)));
        let answer = if kind == Type::Ok { Some(done) } else { None };
        events.push((done.completed, Event { ts, ..event(kind, answer) }));
    }
    // Of two at one time the beginning comes first: then they overlap, which is the weaker claim.
    events.sort_by_key(|(time, event)| (*time, event.kind != Type::Invoke));
    let history = match History::from_events(events.iter().map(|it| &it.1)) {
        Ok(history) => history,
        Err(problem) => return vec![format!("the history cannot be checked: {problem}")],
    };
    let options = Options { model: Some(Model::Append), durability: true, ..Options::default() };
    let verdict = handfast_checker::check(&history, &options);
    let told = verdict.anomalies.iter().map(ToString::to_string);
    told.chain(verdict.undecided.iter().cloned()).collect()
}

/// The lists of a transaction as it found them, then what it did.
fn parts(micros: &[Micro], answer: Option<&Done>) -> Value {
    let part =
        |name: &str, list: i64, value| Value::List(vec![Value::keyword(name), list.into(), value]);
    let found =
        |elements: Vec<i64>| Value::List(elements.into_iter().map(Value::Int).collect::<Vec<_>>());
    let lists = append::lists_of(micros).into_iter().enumerate();
    let mut parts: Vec<Value> = lists
        .map(|(place, list)| {
            let row = answer.map(|done| found(append::elements(&done.rows[place])));
            part("r", list, row.unwrap_or(Value::Nil))
        })
        .collect();
    for micro in micros {
        if let Micro::Append(list, element) = micro {
            parts.push(part("append", *list, (*element).into()));
        }
    }
    Value::List(parts)
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
        found(&[one()], "", "lost-write");
        found(&[one()], "1 1", "duplicate-elements");
        found(&[one()], "1 2", "thin-air-read");
        found(&[one(), two("1")], "2 1", "incompatible-order");
        found(&[one(), two("")], "1 2", "lost-update");
        let mut failed = two("1");
        failed.end = End::Failed;
        found(&[one(), failed], "1 2", "G1a");
        let late = txn((6, 9), 4, &[A(1, 2)], &["1"]);
        found(&[one(), late], "1 2", "timestamp-order");
    }

    #[test]
    fn a_stale_read_a_fractured_read_and_a_write_skew_are_cycles() {
        let one = || txn((0, 5), 8, &[A(1, 1), A(2, 1)], &["", ""]);
        let stale = check(&[one(), txn((6, 7), 0, &[R(1)], &[""])], &["1", "1"]);
        assert!(stale[0].contains("it was over before"), "{stale:?}");
        let torn = check(&[one(), txn((1, 7), 0, &[R(1), R(2)], &["1", ""])], &["1", "1"]);
        assert!(torn[0].contains("G-single"), "{torn:?}");
        let skew = [
            txn((0, 9), 8, &[A(1, 1), R(2)], &["", ""]),
            txn((0, 9), 16, &[R(1), A(2, 1)], &["", ""]),
        ];
        let skew = check(&skew, &["1", "1"]);
        assert!(skew[0].contains("G2"), "{skew:?}");
    }
}
