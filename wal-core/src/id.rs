//! Identifiers and positions, each a type of its own so that no two can be confused.

use std::fmt;

use uuid::Uuid;

use crate::time::Millis;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

number!(
    /// One shard of a namespace: `0 .. shards`.
    ShardId(u16)
);
number!(
    /// One term of leadership of one shard; a later one fences all earlier. The first is 1; 0 means none.
    Epoch(u64)
);
number!(
    /// The number of a record within its epoch. The `Epoch` record itself has 0.
    Sequence(u64)
);
number!(
    /// A place in a shard's log: opaque, growing, meaningful only to the log that gave it.
    Position(u64)
);
number!(
    /// A table of a namespace, numbered in the order of the namespace file.
    TableId(u32)
);
number!(
    /// A column of a table, numbered in the order of its `CREATE TABLE`.
    ColumnId(u16)
);

impl Sequence {
    /// The number after this one.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl Epoch {
    /// The epoch after this one.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// A transaction's name: a UUIDv7 that the client chose. Ordered by its time first.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TxnId(pub u128);

/// Why a UUID cannot name a transaction.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a transaction id must be a UUID of version 7 (time-ordered): got {got}")]
pub struct NotVersion7 {
    /// What was given.
    pub got: Uuid,
}

impl TxnId {
    /// Takes a UUID, which must be of version 7.
    pub fn from_uuid(uuid: Uuid) -> Result<Self, NotVersion7> {
        if uuid.get_version_num() == 7 {
            Ok(Self(uuid.as_u128()))
        } else {
            Err(NotVersion7 { got: uuid })
        }
    }

    /// Builds an id from its time and 74 bits of randomness (the rest of `random` is ignored).
    pub fn from_parts(time: Millis, random: u128) -> Self {
        const VERSION: u128 = 0x7 << 76;
        const VARIANT: u128 = 0b10 << 62;
        let high = (random >> 64) & 0xfff;
        let low = random & ((1 << 62) - 1);
        Self(((time.0 as u128 & 0xffff_ffff_ffff) << 80) | VERSION | (high << 64) | VARIANT | low)
    }

    /// The id as a UUID.
    pub fn to_uuid(self) -> Uuid {
        Uuid::from_u128(self.0)
    }

    /// The time at which the client made the id, in milliseconds since the Unix epoch.
    pub const fn time(self) -> Millis {
        Millis((self.0 >> 80) as u64)
    }

    /// Index of the home among `participants` (sorted by shard number): the id's last 8 bytes,
    /// big-endian, modulo their count. The same for every retry. `participants` must not be zero.
    pub const fn home_index(self, participants: usize) -> usize {
        (self.0 as u64 % participants as u64) as usize
    }
}

impl fmt::Display for TxnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_uuid().fmt(f)
    }
}

impl fmt::Debug for TxnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_uuid().fmt(f)
    }
}

/// The first 16 bytes of the BLAKE3 hash of a transaction's canonical content.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub u128);

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Tells two attempts with the same number apart: 48 bits of time, then bits unique to its maker.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nonce(pub u128);

impl Nonce {
    /// The clock of its maker, in milliseconds since the Unix epoch.
    pub const fn time(self) -> Millis {
        Millis((self.0 >> 80) as u64)
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// One try to commit a transaction. Attempts are totally ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempt {
    /// 1 for the first, which a gateway starts; every later one is started by the home alone.
    pub number: u32,
    /// Unique among all attempts of all coordinators.
    pub nonce: Nonce,
}

impl Attempt {
    /// The time that the floor must pass before a shard may forget that it barred this attempt.
    ///
    /// The first attempt is a client's: any gateway may start it again under the same id, so it is
    /// the id's time that bars it. Later ones are told apart by the time of their nonce.
    pub const fn bar(self, id: TxnId) -> Millis {
        if self.number <= 1 { id.time() } else { self.nonce.time() }
    }
}
