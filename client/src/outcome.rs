//! Outcomes: committed, aborted, unknown.

use std::fmt;

use bytes::Bytes;
use handfast_proto::v1;
use handfast_proto::v1::outcome::State;
use uuid::Uuid;

use crate::aborted::Aborted;

/// Where a transaction can be asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locator {
    /// The namespace.
    pub namespace: String,
    /// The transaction's id.
    pub id: Uuid,
    /// The shard that knows the outcome; without it every shard is asked.
    pub home_shard: Option<u32>,
}

impl fmt::Display for Locator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in namespace {}", self.id, self.namespace)
    }
}

impl Locator {
    /// A locator of a transaction of which only the id is known.
    pub fn new(namespace: impl Into<String>, id: Uuid) -> Self {
        Self { namespace: namespace.into(), id, home_shard: None }
    }

    pub(crate) fn to_wire(&self) -> v1::Locator {
        v1::Locator {
            namespace: self.namespace.clone(),
            id: Bytes::copy_from_slice(self.id.as_bytes()),
            home_shard: self.home_shard,
        }
    }

    fn from_wire(wire: v1::Locator) -> Result<Self, &'static str> {
        let id = Uuid::from_slice(&wire.id).map_err(|_| "a locator's id is not 16 bytes")?;
        Ok(Self { namespace: wire.namespace, id, home_shard: wire.home_shard })
    }
}

/// Proof that an intent was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The transaction's id.
    pub id: Uuid,
    /// The shard that logged it.
    pub home_shard: u32,
    /// That shard's term of leadership.
    pub epoch: u64,
    /// The record's number in it; 0 if it was not learned.
    pub sequence: u64,
}

/// All of it is committed.
#[derive(Clone, Debug, PartialEq)]
pub struct Committed {
    /// Where to ask about it.
    pub locator: Locator,
    /// Its receipt.
    pub receipt: Option<Receipt>,
    /// The write time of everything that it wrote: microseconds since 1970.
    pub timestamp_us: i64,
    /// Whether it is known to be visible in every table store.
    pub applied: bool,
}

/// Neither may be concluded yet. Never treat it as aborted.
#[derive(Clone, Debug, PartialEq)]
pub struct Unknown {
    /// Where to ask about it.
    pub locator: Locator,
    /// Its receipt, if its intent is known to be durable.
    pub receipt: Option<Receipt>,
    /// Whether its intent is known to be durable: then it will be driven to an outcome by itself.
    pub logged: bool,
}

/// What may be concluded about a transaction. Committed and aborted are final.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// All of it is committed.
    Committed(Committed),
    /// None of it is, or ever will be.
    Aborted(Aborted),
    /// Neither may be concluded: submit the same transaction again, or ask with
    /// [`crate::Client::outcome`] or [`crate::Client::wait_for`].
    Unknown(Unknown),
}

impl Outcome {
    /// Where to ask about it.
    pub const fn locator(&self) -> &Locator {
        match self {
            Self::Committed(Committed { locator, .. })
            | Self::Aborted(Aborted { locator, .. })
            | Self::Unknown(Unknown { locator, .. }) => locator,
        }
    }

    /// Whether it is committed.
    pub const fn is_committed(&self) -> bool {
        matches!(self, Self::Committed(_))
    }

    /// Nothing was learned of this transaction.
    pub(crate) const fn unknown(locator: Locator) -> Self {
        Self::Unknown(Unknown { locator, receipt: None, logged: false })
    }
}

impl TryFrom<v1::Outcome> for Outcome {
    type Error = &'static str;

    fn try_from(wire: v1::Outcome) -> Result<Self, Self::Error> {
        let locator = Locator::from_wire(wire.locator.ok_or("an outcome has no locator")?)?;
        let receipt = wire.receipt.map(|receipt| Receipt {
            id: Uuid::from_slice(&receipt.id).unwrap_or(locator.id),
            home_shard: receipt.home_shard,
            epoch: receipt.epoch,
            sequence: receipt.sequence,
        });
        Ok(match wire.state.ok_or("an outcome has no state")? {
            State::Committed(committed) => Self::Committed(Committed {
                locator,
                receipt,
                timestamp_us: committed.commit_timestamp_us,
                applied: committed.applied,
            }),
            State::Aborted(aborted) => Self::Aborted(Aborted {
                locator,
                reason: aborted.reason.ok_or("an abort has no reason")?.into(),
            }),
            State::Unknown(unknown) => {
                Self::Unknown(Unknown { locator, receipt, logged: unknown.logged })
            }
        })
    }
}
