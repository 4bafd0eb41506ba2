//! Clocks, as values. Nothing in this crate reads a clock of its own accord.

use std::fmt;

/// Milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A cell's write time: microseconds since the Unix epoch, as Cassandra counts them.
///
/// Handfast's own have structure in their three low bits: bit 0 is 0 for deletes and 1 for puts
/// (at equal times a tombstone wins), bits 1 and 2 are the region.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The distance between two neighbouring commit timestamps.
    pub const STEP: i64 = 8;

    /// The proposal of a shard in a region (0 to 3): its clock with the low bits cleared, or the step after
    /// the last; and the region, so that no two regions ever write at one time.
    pub const fn propose(region: u8, wall_us: i64, last: Self) -> Self {
        let clock = wall_us & !(Self::STEP - 1);
        let next = (last.0 & !(Self::STEP - 1)) + Self::STEP;
        let time = if clock > next { clock } else { next };
        Self(time | ((region & 3) as i64) << 1)
    }

    /// The time of a value written at this commit timestamp.
    pub const fn of_put(self) -> Self {
        Self(self.0 | 1)
    }

    /// The time of a tombstone written at this commit timestamp.
    pub const fn of_delete(self) -> Self {
        Self(self.0 & !1)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What an engine is told about time with every event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Wall clock, microseconds since the Unix epoch. May jump either way.
    pub wall_us: i64,
    /// A clock that only goes forward and counts suspended time (CLOCK_BOOTTIME), microseconds.
    pub mono_us: u64,
}

impl Now {
    /// The wall clock in milliseconds.
    pub const fn millis(self) -> Millis {
        Millis((self.wall_us / 1000) as u64)
    }
}

/// A source of [`Now`], for runtimes.
pub trait Clock: Send + Sync {
    /// The time at this instant.
    fn now(&self) -> Now;
}
