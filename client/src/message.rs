//! Messages: what is told to others than the tables.

use bytes::Bytes;
use handfast_proto::v1;
use uuid::Uuid;

use crate::client::Client;
use crate::delayed::Due;
use crate::errors::SubmitError;
use crate::options::Level;
use crate::outcome::{Locator, Outcome, Receipt};
use crate::transaction::Transaction;

/// Bytes for somebody else than the tables. In a [`Transaction`] they commit with it or not at all (a
/// transactional outbox); [`Client::write_to_log`] writes them alone. Whoever subscribes is told of them.
#[derive(Clone, Debug, Default, PartialEq)]
#[must_use = "a message does nothing until it is submitted"]
pub struct Message {
    pub(crate) wire: v1::Message,
}

impl Message {
    /// A message without key, content type and headers.
    pub fn new(payload: impl Into<Bytes>) -> Self {
        Self { wire: v1::Message { payload: payload.into(), ..v1::Message::default() } }
    }

    /// Messages of one key are told in the order in which their transactions committed.
    pub fn key(mut self, key: impl Into<Bytes>) -> Self {
        self.wire.key = Some(key.into());
        self
    }

    /// Says what the payload is, such as `application/json`.
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.wire.content_type = content_type.into();
        self
    }

    /// Has it delivered to a target of the namespace, by name; may be said of several.
    pub fn to(mut self, target: impl Into<String>) -> Self {
        self.wire.targets.push(target.into());
        self
    }

    /// Adds a header; a name may come again.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.wire.headers.push(v1::Header { name: name.into(), value: value.into() });
        self
    }
}

/// Whether a message is in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Durable {
    /// It is, and will be told to whoever reads the log.
    True {
        /// Where it is.
        receipt: Option<Receipt>,
    },
    /// It is not, and never will be: somebody has fenced it.
    False,
    /// Nobody may conclude either yet: write the same again under the same id, or ask.
    Unknown {
        /// Where to ask.
        locator: Locator,
    },
}

impl Client {
    /// Writes one message into the log, under an id that makes it safe to repeat: a UUID of version 7.
    ///
    /// # Errors
    /// As of [`Client::submit`]: nothing was written, or its id was used for something else.
    pub async fn write_to_log(
        &self,
        namespace: &str,
        id: Uuid,
        message: Message,
    ) -> Result<Durable, SubmitError> {
        self.write(Transaction::new(namespace).with_id(id).message(message)).await
    }

    /// Writes one message that is told and delivered later. It is called `ID/0` until then.
    ///
    /// # Errors
    /// As of [`Client::write_to_log`].
    pub async fn write_to_log_later(
        &self,
        namespace: &str,
        id: Uuid,
        due: Due,
        message: Message,
    ) -> Result<Durable, SubmitError> {
        let then = Transaction::new(namespace).message(message);
        self.write(Transaction::new(namespace).with_id(id).later(due, then)).await
    }

    /// One message is a transaction of one shard: that is decided once it is durable.
    async fn write(&self, transaction: Transaction) -> Result<Durable, SubmitError> {
        Ok(match self.at_level(Level::Logged).submit(&transaction).await? {
            Outcome::Committed(committed) => Durable::True { receipt: committed.receipt },
            Outcome::Aborted(_) => Durable::False,
            Outcome::Unknown(unknown) if unknown.logged => {
                Durable::True { receipt: unknown.receipt }
            }
            Outcome::Unknown(unknown) => Durable::Unknown { locator: unknown.locator },
        })
    }
}
