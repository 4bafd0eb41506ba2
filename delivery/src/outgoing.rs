//! A message on its way to a target.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use uuid::Uuid;
use wal_core::message::Message;
use wal_core::{ShardId, Timestamp, TxnId};

/// A committed message, as a target is sent it. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Of which namespace.
    pub namespace: Arc<str>,
    /// The shard whose log it stands in.
    pub shard: ShardId,
    /// What it is called.
    pub name: Name,
    /// When its transaction committed.
    pub timestamp: Timestamp,
    /// Key, content type, headers, payload.
    pub message: Arc<Message>,
}

/// What a message is called, the same at every try and for ever: its transaction, and its place among the
/// messages of that transaction. Targets recognise a repeat by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// The transaction.
    pub id: TxnId,
    /// Its place in the request, from 0.
    pub index: u16,
}

impl Name {
    /// The least of all.
    pub(crate) const FIRST: Self = Self { id: TxnId(0), index: 0 };
}

/// `018f2c5e-…-7d/0`: the transaction's id and the place.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.id, self.index)
    }
}

/// A text that is no message's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the name of a message: ID/INDEX, with a UUID of version 7")]
pub struct NotAName(String);

/// Reads what is displayed.
impl FromStr for Name {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        let read = || {
            let (id, index) = text.split_once('/')?;
            let id = TxnId::from_uuid(Uuid::try_parse(id).ok()?).ok()?;
            Some(Self { id, index: index.parse().ok()? })
        };
        read().ok_or_else(|| NotAName(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_is_written() {
        let name: Name = "018f2c5e-0000-7000-8000-00000000007d/3".parse().expect("a good name");
        assert_eq!(name.index, 3);
        assert_eq!(name.to_string(), "018f2c5e-0000-7000-8000-00000000007d/3");
        for wrong in [
            "",
            "018f2c5e-0000-7000-8000-00000000007d",
            "x/3",
            "018f2c5e-0000-7000-8000-00000000007d/-1",
        ] {
            assert!(wrong.parse::<Name>().is_err(), "{wrong}");
        }
    }
}
