//! What commits, as it commits.
//!
//! ```no_run
//! # async fn example(client: handfast_client::Client) -> Result<(), Box<dyn std::error::Error>> {
//! use handfast_client::Subscription;
//!
//! let mut stream = client.subscribe(Subscription::new("bank").from_beginning().table("transfers"));
//! loop {
//!     let told = stream.next().await?;
//!     for transaction in &told.transactions {
//!         println!("{} wrote {} rows", transaction.id, transaction.changes.len());
//!     }
//!     // Keep told.resume with what was done: `Subscription::resume` goes on there.
//! }
//! # }
//! ```

use bytes::Bytes;
use handfast_proto::v1;
use handfast_proto::v1::Value;
use handfast_proto::v1::subscribe_request::From as Begin;
use tokio::time::Instant;
use tonic::Streaming;
use uuid::Uuid;

use crate::client::Client;
use crate::errors::SubscribeError;
use crate::failure::{Failure, Meaning};
use crate::key::Key;
use crate::transaction::row;

/// What to subscribe to: by default every transaction of a namespace that commits from now on, whole.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a subscription does nothing until it is given to Client::subscribe"]
pub struct Subscription {
    wire: v1::SubscribeRequest,
}

impl Subscription {
    /// Every transaction that commits from now on.
    pub fn new(namespace: impl Into<String>) -> Self {
        let namespace = namespace.into();
        Self { wire: v1::SubscribeRequest { namespace, ..v1::SubscribeRequest::default() } }
    }

    /// Begins with the first transaction that is left in the log.
    pub fn from_beginning(mut self) -> Self {
        self.wire.from = Some(Begin::Beginning(v1::FromBeginning {}));
        self
    }

    /// Goes on where another subscription was: with what came behind its [`Told::resume`].
    pub fn resume(mut self, resume: impl Into<Bytes>) -> Self {
        self.wire.from = Some(Begin::Resume(resume.into()));
        self
    }

    /// Each participant tells its own rows, with the results of what was added. What writes a row is told in
    /// the order in which it was written.
    pub fn parts(mut self) -> Self {
        self.wire.scope = v1::SubscribeScope::Parts.into();
        self
    }

    /// Only transactions that carry messages, or write a table or row that is named.
    pub const fn messages(mut self) -> Self {
        self.wire.messages = true;
        self
    }

    /// At most so many transactions at once, 500 at most: with 1, each comes with the place behind it.
    pub const fn max_batch(mut self, transactions: u32) -> Self {
        self.wire.max_batch = transactions;
        self
    }

    /// Only of this shard, and of others that are named.
    pub fn shard(mut self, shard: u16) -> Self {
        self.wire.shards.push(shard.into());
        self
    }

    /// Only transactions that write this table, or another table or row that is named.
    pub fn table(mut self, table: impl Into<String>) -> Self {
        self.wire.tables.push(table.into());
        self
    }

    /// Only transactions that write this row, or another row or table that is named.
    pub fn row(mut self, table: impl Into<String>, key: impl Into<Key>) -> Self {
        self.wire.rows.push(row(table, key));
        self
    }
}

/// Committed transactions, and where to go on behind them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told {
    /// Those of one shard in the order in which they committed. May be empty: then only `resume` is news.
    pub transactions: Vec<CommittedTransaction>,
    /// Where to go on once these have been dealt with: for [`Subscription::resume`].
    pub resume: Bytes,
}

/// A committed transaction, or a shard's part of it.
#[derive(Clone, Debug, PartialEq)]
pub struct CommittedTransaction {
    /// Its id.
    pub id: Uuid,
    /// The shard whose log says so.
    pub shard: u16,
    /// The term of leadership in which the commit was logged.
    pub epoch: u64,
    /// The number of the record in that epoch: (epoch, sequence) grows within a shard.
    pub sequence: u64,
    /// The write time of everything it wrote, microseconds since 1970.
    pub timestamp_us: i64,
    /// The shards that took part.
    pub participants: Vec<u16>,
    /// What it wrote.
    pub changes: Vec<Change>,
    /// Its messages; with [`Subscription::parts`] those of the keys that lie on the shard.
    pub messages: Vec<CommittedMessage>,
}

/// A message of a committed transaction.
#[derive(Clone, Debug, PartialEq)]
pub struct CommittedMessage {
    /// Its place in the transaction. With the transaction's id it is the message's name.
    pub index: u32,
    /// Its key, if it has one.
    pub key: Option<Bytes>,
    /// What the payload is; may be empty.
    pub content_type: String,
    /// Named bytes beside the payload.
    pub headers: Vec<(String, Bytes)>,
    /// The message itself.
    pub payload: Bytes,
    /// The targets that it is delivered to.
    pub targets: Vec<String>,
}

/// What a transaction wrote to one row.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The table.
    pub table: String,
    /// The primary key.
    pub key: Vec<Value>,
    /// The row was deleted.
    pub deleted: bool,
    /// The row was written as CQL's `INSERT` does.
    pub inserted: bool,
    /// The columns that were written; null where one was deleted.
    pub columns: Vec<(String, Value)>,
    /// What was added to columns; with [`Subscription::parts`] none: the results are in `columns`.
    pub added: Vec<(String, Value)>,
}

impl TryFrom<v1::CommittedTransaction> for CommittedTransaction {
    type Error = &'static str;

    fn try_from(wire: v1::CommittedTransaction) -> Result<Self, Self::Error> {
        let shard = |number| u16::try_from(number).map_err(|_| "a shard is beyond 65,535");
        let participants: Result<_, _> = wire.participants.into_iter().map(shard).collect();
        let changes: Result<_, _> = wire.changes.into_iter().map(Change::try_from).collect();
        let messages: Result<_, _> =
            wire.messages.into_iter().map(CommittedMessage::try_from).collect();
        Ok(Self {
            id: Uuid::from_slice(&wire.id).map_err(|_| "an id is not 16 bytes")?,
            shard: shard(wire.shard)?,
            epoch: wire.epoch,
            sequence: wire.sequence,
            timestamp_us: wire.commit_timestamp_us,
            participants: participants?,
            changes: changes?,
            messages: messages?,
        })
    }
}

impl TryFrom<v1::CommittedMessage> for CommittedMessage {
    type Error = &'static str;

    fn try_from(wire: v1::CommittedMessage) -> Result<Self, Self::Error> {
        let v1::Message { key, content_type, headers, payload, targets } =
            wire.message.ok_or("a message is missing")?;
        let headers = headers.into_iter().map(|header| (header.name, header.value)).collect();
        Ok(Self { index: wire.index, key, content_type, headers, payload, targets })
    }
}

impl TryFrom<v1::Change> for Change {
    type Error = &'static str;

    fn try_from(wire: v1::Change) -> Result<Self, Self::Error> {
        let v1::RowKey { table, key } = wire.row.ok_or("a change names no row")?;
        let pair = |column: v1::Column| (column.name, column.value.unwrap_or(Value::null()));
        Ok(Self {
            table,
            key,
            deleted: wire.deleted,
            inserted: wire.inserted,
            columns: wire.columns.into_iter().map(pair).collect(),
            added: wire.added.into_iter().map(pair).collect(),
        })
    }
}

/// A subscription under way. Where a server or the way to it fails, it goes on by itself, for as long as
/// the retry policy allows.
#[derive(Debug)]
pub struct Subscribed {
    client: Client,
    request: v1::SubscribeRequest,
    stream: Option<Streaming<v1::SubscribeResponse>>,
    /// Since when nothing was heard, and how often was tried.
    failing: Option<(Instant, u32)>,
}

impl Client {
    /// Subscribes to what commits. It connects when the first is waited for.
    pub fn subscribe(&self, subscription: Subscription) -> Subscribed {
        let request = subscription.wire;
        Subscribed { client: self.clone(), request, stream: None, failing: None }
    }
}

impl Subscribed {
    /// Waits for what commits next. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`SubscribeError`]; calling it again goes on where it was.
    pub async fn next(&mut self) -> Result<Told, SubscribeError> {
        loop {
            match self.try_next().await {
                Ok(told) => {
                    self.failing = None;
                    // Whoever begins now and is cut off must not miss what commits meanwhile.
                    self.request.from = Some(Begin::Resume(told.resume.clone()));
                    return Ok(told);
                }
                Err(failure) => {
                    self.stream = None;
                    self.pause(failure).await?;
                }
            }
        }
    }

    async fn try_next(&mut self) -> Result<Told, Failure> {
        if self.stream.is_none() {
            let mut data = self.client.servers.data();
            self.stream = Some(data.subscribe(self.request.clone()).await?.into_inner());
        }
        let stream = self.stream.as_mut().expect("it was just opened");
        let message = stream.message().await?;
        let message = message.ok_or_else(|| Failure::cut_off("the stream ended"))?;
        let transactions = message.transactions.into_iter().map(CommittedTransaction::try_from);
        let transactions: Result<_, _> = transactions.collect();
        let transactions = transactions.map_err(Failure::malformed)?;
        Ok(Told { transactions, resume: message.resume })
    }

    /// Waits before the next try, unless there is none.
    async fn pause(&mut self, failure: Failure) -> Result<(), SubscribeError> {
        let retry = self.client.options.retry;
        let (since, tries) = self.failing.unwrap_or((Instant::now(), 0));
        let pause = retry.pause(tries, failure.retry_after);
        let over = since.elapsed() + pause > retry.give_up_after;
        if failure.meaning == Meaning::Final || over {
            self.failing = None;
            return Err(failure.into());
        }
        tracing::debug!(tries, ?pause, reason = failure.message, "subscribing again");
        if failure.retry_after.is_none() || failure.is_of_this_server() {
            self.client.servers.turn();
        }
        self.failing = Some((since, tries + 1));
        tokio::time::sleep(pause).await;
        Ok(())
    }
}
