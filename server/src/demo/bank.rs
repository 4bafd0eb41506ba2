//! The demo's bank: accounts, and transfers between them.

use std::sync::Arc;

use anyhow::{Context, ensure};
use handfast_client::{Client, Outcome, Transaction, Uuid, column, exists};

/// The namespace file; the same as in `examples/`.
pub(super) const DEFINITION: &str = include_str!("../../../examples/bank.toml");
/// How many accounts there are.
const ACCOUNTS: usize = 20;
/// What each holds at first.
const OPENING_BALANCE: i64 = 1_000;
/// What all hold together, for ever.
pub(super) const TOTAL: i64 = ACCOUNTS as i64 * OPENING_BALANCE;

/// The name of an account.
pub(super) fn account(number: usize) -> String {
    const FIRST: [&str; 4] = ["alice", "bob", "carol", "dave"];
    match FIRST.get(number % ACCOUNTS) {
        Some(name) => (*name).to_owned(),
        None => format!("account-{:02}", number % ACCOUNTS),
    }
}

/// The bank of one namespace.
#[derive(Clone, Debug)]
pub(super) struct Bank {
    pub(super) namespace: Arc<str>,
}

/// A transfer, and what it writes.
#[derive(Clone, Debug)]
pub(super) struct Transfer {
    pub(super) transaction: Transaction,
    from: String,
    row: Uuid,
}

impl Bank {
    /// Moves an amount if it is there, and writes a row about it in another table.
    pub(super) fn transfer(&self, from: &str, to: &str, amount: i64) -> Transfer {
        let row = Uuid::now_v7();
        let transaction = Transaction::new(&*self.namespace)
            .require("accounts", from, column("balance").at_least(amount))
            .require("accounts", to, exists())
            .add("accounts", from, ("balance", -amount))
            .add("accounts", to, ("balance", amount))
            .insert(
                "transfers",
                (from, row),
                [("recipient", to.into()), ("amount", handfast_client::Value::from(amount))],
            );
        Transfer { transaction, from: from.to_owned(), row }
    }

    /// Between two accounts drawn at random.
    pub(super) fn random_transfer(&self) -> Transfer {
        let from = rand::random_range(0..ACCOUNTS);
        let to = from + rand::random_range(1..ACCOUNTS);
        self.transfer(&account(from), &account(to), rand::random_range(1..=20))
    }

    /// Opens every account in one transaction.
    pub(super) async fn open_accounts(&self, client: &Client) -> anyhow::Result<()> {
        let mut opening = Transaction::new(&*self.namespace);
        for number in 0..ACCOUNTS {
            opening = opening.insert("accounts", account(number), ("balance", OPENING_BALANCE));
        }
        let outcome = client.submit(&opening).await?;
        ensure!(outcome.is_committed(), "the accounts were not opened: {outcome:?}");
        Ok(())
    }

    /// What all accounts hold together, at one point of the serial order.
    pub(super) async fn total(&self, client: &Client) -> anyhow::Result<i64> {
        let all = (0..ACCOUNTS).map(|number| ("accounts", account(number)));
        let rows = client.read(&self.namespace, all).await?;
        let mut total = 0;
        for row in &rows {
            total += row.integer("balance").context("an account has no balance")?;
        }
        Ok(total)
    }

    /// Whether exactly the committed transfers have their rows.
    pub(super) async fn check_rows(
        &self,
        client: &Client,
        ended: &[(Transfer, Outcome)],
    ) -> anyhow::Result<()> {
        for chunk in ended.chunks(1_000) {
            let keys = chunk
                .iter()
                .map(|(transfer, _)| ("transfers", (transfer.from.as_str(), transfer.row)));
            let rows = client.read(&self.namespace, keys).await?;
            for ((transfer, outcome), row) in chunk.iter().zip(rows) {
                let id = transfer.transaction.id();
                let committed = outcome.is_committed();
                ensure!(
                    row.exists == committed,
                    "transfer {id} is {}committed, and its row is {}there",
                    if committed { "" } else { "not " },
                    if row.exists { "" } else { "not " }
                );
            }
        }
        Ok(())
    }
}
