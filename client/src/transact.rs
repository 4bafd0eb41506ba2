//! The closure transaction: read, decide, write; run again if somebody else came between.

use std::fmt;

use handfast_proto::v1;

use crate::aborted::{AbortReason, Aborted};
use crate::client::Client;
use crate::condition::{Condition, unchanged};
use crate::errors::{ReadError, SubmitError};
use crate::key::{Columns, Key};
use crate::outcome::{Committed, Outcome, Unknown};
use crate::row::{Row, RowVersion};
use crate::transaction::{Transaction, row};

/// What a closure transaction reads and writes. Reads go to the server at once and do not see the
/// closure's own writes; writes are sent when the closure returns, together with the versions of every
/// row that was read as conditions.
#[derive(Debug)]
pub struct Scope {
    client: Client,
    transaction: Option<Transaction>,
    /// Every row read, with its version, in the order of reading.
    reads: Vec<(v1::RowKey, RowVersion)>,
    /// How often rows were asked for: one question alone needs no check.
    questions: u32,
    /// Whether a row was seen in two versions: this run cannot commit.
    torn: bool,
}

impl Scope {
    fn new(client: &Client, namespace: &str) -> Self {
        Self {
            client: client.clone(),
            transaction: Some(Transaction::new(namespace)),
            reads: Vec::new(),
            questions: 0,
            torn: false,
        }
    }

    /// Reads rows, all at one point of the serial order, in the order asked.
    pub async fn read<T: Into<String>, K: Into<Key>>(
        &mut self,
        rows: impl IntoIterator<Item = (T, K)>,
    ) -> Result<Vec<Row>, ReadError> {
        let asked: Vec<v1::RowKey> = rows.into_iter().map(|(table, key)| row(table, key)).collect();
        let keys = asked.iter().map(|row| (row.table.clone(), Key(row.key.clone())));
        let namespace = self.transaction().namespace().to_owned();
        let found = self.client.read(&namespace, keys).await?;
        self.questions += 1;
        for (key, row) in asked.into_iter().zip(&found) {
            match self.reads.iter().find(|(other, _)| *other == key) {
                Some((_, version)) => self.torn |= *version != row.version,
                None => self.reads.push((key, row.version)),
            }
        }
        Ok(found)
    }

    /// Reads one row.
    pub async fn read_row(
        &mut self,
        table: impl Into<String>,
        key: impl Into<Key>,
    ) -> Result<Row, ReadError> {
        let rows = self.read([(table, key)]).await?;
        Ok(rows.into_iter().next().expect("as many rows as were asked"))
    }

    /// See [`Transaction::put`].
    pub fn put(
        &mut self,
        table: impl Into<String>,
        key: impl Into<Key>,
        columns: impl Into<Columns>,
    ) {
        self.change(|transaction| transaction.put(table, key, columns));
    }

    /// See [`Transaction::insert`].
    pub fn insert(
        &mut self,
        table: impl Into<String>,
        key: impl Into<Key>,
        columns: impl Into<Columns>,
    ) {
        self.change(|transaction| transaction.insert(table, key, columns));
    }

    /// See [`Transaction::add`].
    pub fn add(
        &mut self,
        table: impl Into<String>,
        key: impl Into<Key>,
        columns: impl Into<Columns>,
    ) {
        self.change(|transaction| transaction.add(table, key, columns));
    }

    /// See [`Transaction::delete_row`].
    pub fn delete_row(&mut self, table: impl Into<String>, key: impl Into<Key>) {
        self.change(|transaction| transaction.delete_row(table, key));
    }

    /// See [`Transaction::delete_columns`].
    pub fn delete_columns<'a>(
        &mut self,
        table: impl Into<String>,
        key: impl Into<Key>,
        columns: impl IntoIterator<Item = &'a str>,
    ) {
        self.change(|transaction| transaction.delete_columns(table, key, columns));
    }

    /// A condition beyond those that reading gives. If it fails the closure is not run again.
    pub fn require(&mut self, table: impl Into<String>, key: impl Into<Key>, condition: Condition) {
        self.change(|transaction| transaction.require(table, key, condition));
    }

    fn transaction(&self) -> &Transaction {
        self.transaction.as_ref().expect("it is taken out only while it is changed")
    }

    fn change(&mut self, change: impl FnOnce(Transaction) -> Transaction) {
        self.transaction = self.transaction.take().map(change);
    }

    /// The transaction, the closure's own conditions first, and how many these are. `None` if there is
    /// nothing to commit: one read alone is of one point of the serial order by itself.
    fn finish(mut self) -> Option<(Transaction, u32)> {
        let mut transaction = self.transaction.take().expect("the closure is over");
        let own = transaction.wire.conditions.len();
        if transaction.is_empty() && self.questions <= 1 {
            return None;
        }
        for (key, version) in self.reads {
            transaction = transaction.require(key.table, Key(key.key), unchanged(version));
        }
        Some((transaction, u32::try_from(own).unwrap_or(u32::MAX)))
    }
}

/// A closure transaction that committed.
#[derive(Clone, Debug, PartialEq)]
pub struct Transacted<T> {
    /// What the closure returned in the run that committed.
    pub value: T,
    /// The commit; `None` if there was nothing to commit.
    pub committed: Option<Committed>,
    /// How often the closure was run.
    pub attempts: u32,
}

/// Why a closure transaction did not commit.
#[derive(Clone, Debug, PartialEq)]
pub enum TransactError<E> {
    /// The closure returned this error; nothing was committed.
    Closure(E),
    /// Aborted for a reason that running again does not cure, such as a condition of the closure's own.
    Aborted(Aborted),
    /// Rows that were read changed under every run; nothing was committed. Try again later, or touch
    /// fewer rows.
    Contended {
        /// How often the closure was run.
        attempts: u32,
    },
    /// The last run may or may not be committed. Ask for its outcome before doing anything for the same
    /// purpose.
    Unknown(Unknown),
    /// The last run could not be submitted; nothing was committed.
    Submit(SubmitError),
}

impl<E: fmt::Display> fmt::Display for TransactError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closure(error) => error.fmt(f),
            Self::Aborted(aborted) => write!(f, "aborted: {}", aborted.reason),
            Self::Contended { attempts } => {
                write!(
                    f,
                    "rows that were read changed under each of {attempts} runs; try again later"
                )
            }
            Self::Unknown(unknown) => {
                write!(f, "the outcome is unknown; ask for that of {} first", unknown.locator)
            }
            Self::Submit(error) => error.fmt(f),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for TransactError<E> {}

impl Client {
    /// Runs a closure that reads and writes, and commits what it wrote if nothing that it read has
    /// changed; else runs it again as a new transaction with a new id, only after the old one is
    /// definitely aborted, at most [`crate::Options::max_attempts`] times.
    ///
    /// ```no_run
    /// # use handfast_client::{Client, ReadError, TransactError};
    /// # async fn double(client: Client) -> Result<(), TransactError<ReadError>> {
    /// let doubled = client
    ///     .transact("bank", async |txn| {
    ///         let row = txn.read_row("accounts", "alice").await?;
    ///         let balance = row.integer("balance").unwrap_or(0) * 2;
    ///         txn.put("accounts", "alice", ("balance", balance));
    ///         Ok::<_, ReadError>(balance)
    ///     })
    ///     .await?;
    /// println!("{} after {} runs", doubled.value, doubled.attempts);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn transact<T, E, F>(
        &self,
        namespace: &str,
        closure: F,
    ) -> Result<Transacted<T>, TransactError<E>>
    where
        F: AsyncFn(&mut Scope) -> Result<T, E>,
    {
        let most = self.options.max_attempts.max(1);
        for attempts in 1..=most {
            let mut scope = Scope::new(self, namespace);
            let value = closure(&mut scope).await.map_err(TransactError::Closure)?;
            if !scope.torn {
                let Some((transaction, own)) = scope.finish() else {
                    return Ok(Transacted { value, committed: None, attempts });
                };
                match self.submit(&transaction).await.map_err(TransactError::Submit)? {
                    Outcome::Committed(committed) => {
                        return Ok(Transacted { value, committed: Some(committed), attempts });
                    }
                    Outcome::Aborted(aborted) if !is_conflict(&aborted, own) => {
                        return Err(TransactError::Aborted(aborted));
                    }
                    Outcome::Aborted(_) => {}
                    Outcome::Unknown(unknown) => return Err(TransactError::Unknown(unknown)),
                }
            }
            if attempts < most {
                tokio::time::sleep(self.options.retry.pause(attempts.min(6) - 1, None)).await;
            }
        }
        Err(TransactError::Contended { attempts: most })
    }
}

/// Whether a row that was read had changed: one of the conditions behind the closure's own failed.
const fn is_conflict(aborted: &Aborted, own: u32) -> bool {
    match &aborted.reason {
        AbortReason::ConditionFailed(failed) => failed.index >= own,
        AbortReason::Overflow(_)
        | AbortReason::TimestampInFuture(_)
        | AbortReason::SchemaChanged(_)
        | AbortReason::Fenced
        | AbortReason::IdReused => false,
    }
}
