//! Transfers between accounts, each with a row of its own in another table.

use handfast_client::{Key, Row, Transaction, Uuid, Value as Cell, column};
use rand::RngExt as _;
use rand::rngs::StdRng;

use super::{Detail, Done, Task, Workload};
use handfast_checker::Value;

const ACCOUNTS: usize = 8;
const OPENING: i64 = 100;
const TOTAL: i64 = ACCOUNTS as i64 * OPENING;
/// Rows of one read at the end.
const ROWS_PER_READ: usize = 500;

pub(crate) struct Bank {
    pub(crate) namespace: String,
}

fn account(number: usize) -> Key {
    format!("account-{number}").into()
}

fn all() -> Task {
    let rows = (0..ACCOUNTS).map(|number| ("accounts", account(number))).collect();
    Task { f: "read", detail: Detail::All, rows, transaction: None }
}

/// The key of the row that a transfer writes: the account that pays, and the transaction's own id.
fn transfer_row(from: usize, id: Uuid) -> Key {
    (format!("account-{from}"), id).into()
}

impl Workload for Bank {
    fn namespace(&self) -> &str {
        &self.namespace
    }

    fn tables(&self) -> &'static str {
        "[[table]]\ncql = 'CREATE TABLE accounts (id text PRIMARY KEY, balance bigint)'\n[[table]]\n\
         cql = 'CREATE TABLE transfers (account text, id uuid, amount bigint, PRIMARY KEY (account, id))'"
    }

    fn open(&self) -> Vec<Transaction> {
        let open = |txn: Transaction, number| {
            txn.insert("accounts", account(number), ("balance", OPENING))
        };
        vec![(0..ACCOUNTS).fold(Transaction::new(&self.namespace), open)]
    }

    fn next(&self, rng: &mut StdRng) -> Task {
        if rng.random_range(0..5) == 0 {
            return all();
        }
        let from = rng.random_range(0..ACCOUNTS);
        let to = (from + rng.random_range(1..ACCOUNTS)) % ACCOUNTS;
        let amount = rng.random_range(1..=10);
        let transaction = Transaction::new(&self.namespace);
        let row = transfer_row(from, transaction.id());
        let transaction = transaction
            .require("accounts", account(from), column("balance").at_least(amount))
            .add("accounts", account(from), ("balance", -amount))
            .add("accounts", account(to), ("balance", amount))
            .insert("transfers", row, ("amount", Cell::from(amount)));
        let detail = Detail::Transfer { from, to, amount };
        Task { f: "transfer", detail, rows: Vec::new(), transaction: Some(transaction) }
    }

    fn last(&self, ran: &[Done]) -> Vec<Task> {
        let rows: Vec<(&'static str, Key)> = ran.iter().filter_map(row_of).collect();
        let rows = rows.chunks(ROWS_PER_READ).map(|rows| Task {
            f: "rows",
            detail: Detail::Elements(Vec::new()),
            rows: rows.to_vec(),
            transaction: None,
        });
        std::iter::once(all()).chain(rows).collect()
    }

    fn shown(&self, task: &Task, rows: Option<&[Row]>) -> Value {
        match (&task.detail, rows) {
            (Detail::Transfer { from, to, amount }, _) => Value::Map(vec![
                (Value::keyword("from"), (*from as i64).into()),
                (Value::keyword("to"), (*to as i64).into()),
                (Value::keyword("amount"), (*amount).into()),
            ]),
            (Detail::All, Some(rows)) => {
                let balance = |(number, row): (usize, &Row)| {
                    ((number as i64).into(), row.integer("balance").into())
                };
                Value::Map(rows.iter().enumerate().map(balance).collect())
            }
            (_, Some(rows)) => (rows.iter().filter(|row| row.exists).count() as i64).into(),
            (_, None) => Value::Nil,
        }
    }

    fn check(&self, ran: &[Done], last: &[Done]) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut balances = [OPENING; ACCOUNTS];
        for done in ran.iter().filter(|done| done.has_committed()) {
            if let Detail::Transfer { from, to, amount } = done.task.detail {
                balances[from] -= amount;
                balances[to] += amount;
            }
        }
        for done in ran.iter().chain(last).filter(|done| done.has_happened()) {
            if !matches!(done.task.detail, Detail::All) {
                continue;
            }
            let found: Vec<Option<i64>> =
                done.rows.iter().map(|row| row.integer("balance")).collect();
            let total: i64 = found.iter().flatten().sum();
            if total != TOTAL || found.iter().any(|it| it.is_none_or(|it| it < 0)) {
                let when = done.completed;
                wrong.push(format!(
                    "a read at {when} ns found {found:?}, {total} together, not {TOTAL}"
                ));
            }
        }
        if let Some(end) = last.first() {
            let found: Vec<i64> =
                end.rows.iter().map(|row| row.integer("balance").unwrap_or_default()).collect();
            if found != balances {
                wrong.push(format!(
                    "the accounts hold {found:?}; the committed transfers make {balances:?}"
                ));
            }
        }
        wrong.extend(rows_are_those_of_committed_transfers(ran, last));
        wrong
    }
}

fn row_of(done: &Done) -> Option<(&'static str, Key)> {
    match (&done.task.detail, &done.transaction) {
        (Detail::Transfer { from, .. }, Some(transaction)) => {
            Some(("transfers", transfer_row(*from, transaction.id())))
        }
        _ => None,
    }
}

fn rows_are_those_of_committed_transfers(ran: &[Done], last: &[Done]) -> Vec<String> {
    let rows = last.iter().skip(1).flat_map(|done| &done.rows);
    let transfers: Vec<&Done> = ran.iter().filter(|done| row_of(done).is_some()).collect();
    let mut wrong = Vec::new();
    let mut read = 0;
    for (done, row) in transfers.iter().zip(rows) {
        read += 1;
        if row.exists != done.has_committed() {
            let (is, id) = (row.exists, done.transaction.as_ref().map(Transaction::id));
            wrong.push(format!(
                "transfer {id:?} ended as {:?}, and that its row exists is {is}",
                done.end
            ));
        }
    }
    if read != transfers.len() {
        wrong.push(format!("of {} rows of transfers {read} were read at the end", transfers.len()));
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::End;
    use handfast_client::RowVersion;
    use rand::SeedableRng as _;

    fn row(balance: Option<i64>) -> Row {
        let columns = balance.map(|it| ("balance".to_owned(), Cell::from(it)));
        Row { exists: true, version: RowVersion([0; 16]), columns: columns.into_iter().collect() }
    }

    fn done(task: Task, rows: Vec<Row>, end: End) -> Done {
        let transaction = task.transaction.clone();
        Done { task, invoked: 0, completed: 1, rows, arrived: vec![], transaction, end }
    }

    fn bank() -> Bank {
        Bank { namespace: "jepsen".to_owned() }
    }

    fn transfer() -> (Task, Vec<Row>) {
        let mut rng = StdRng::seed_from_u64(1);
        loop {
            let task = bank().next(&mut rng);
            if let Detail::Transfer { from, to, amount } = task.detail {
                let mut balances = [OPENING; ACCOUNTS];
                balances[from] -= amount;
                balances[to] += amount;
                return (task, balances.iter().map(|it| row(Some(*it))).collect());
            }
        }
    }

    #[test]
    fn a_whole_transfer_is_valid_and_a_torn_doubled_or_lost_one_is_not() {
        let (task, after) = transfer();
        let ran = [done(task, Vec::new(), End::Committed(8))];
        let before: Vec<Row> = (0..ACCOUNTS).map(|_| row(Some(OPENING))).collect();
        let rows = |exists| {
            let task = bank().last(&ran).pop().expect("the rows");
            done(task, vec![Row { exists, ..row(None) }], End::Read)
        };
        let balances = |rows: &[Row]| done(all(), rows.to_vec(), End::Read);
        assert_eq!(bank().check(&ran, &[balances(&after), rows(true)]), Vec::<String>::new());
        assert!(!bank().check(&ran, &[balances(&before), rows(true)]).is_empty(), "lost");
        assert!(!bank().check(&ran, &[balances(&after), rows(false)]).is_empty(), "torn");
        assert!(!bank().check(&ran, &[balances(&after)]).is_empty(), "not read");
        let mut torn = after.clone();
        torn[0] = row(Some(1));
        assert!(
            !bank().check(&ran, &[balances(&torn), rows(true)]).is_empty(),
            "the total changed"
        );
        let twice = [ran[0].clone(), ran[0].clone()];
        assert!(!bank().check(&twice, &[balances(&after), rows(true)]).is_empty(), "doubled");
    }
}
