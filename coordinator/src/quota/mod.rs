//! What one namespace may take of a server: a pure state machine, one for each namespace of a process.
//!
//! Two token buckets, of transactions and of bytes, and a count of what is in flight. A bucket fills at its
//! rate until it holds what that gives in `burst_ms`; whatever is taken comes out of it. A call is taken
//! whole or not at all: what was refused has used nothing, and is told when it would have been taken had
//! nobody else come meanwhile.

mod bucket;

use wal_core::namespace::QuotaSettings;

use bucket::{Bucket, Flow};

/// How much one namespace has used lately, and uses now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    transactions: Bucket,
    bytes: Bucket,
    in_flight: u64,
}

/// Which quota is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exhausted {
    /// `transactions_per_second`.
    Transactions {
        /// When there will be room for this call, microseconds from now; at least 1.
        after_us: u64,
    },
    /// `bytes_per_second`.
    Bytes {
        /// When there will be room for this call, microseconds from now; at least 1.
        after_us: u64,
    },
    /// `in_flight`: there will be room when one of them is answered.
    InFlight,
}

impl Quota {
    /// Takes one transaction of so many bytes, or says why not. `now_us` is a clock that never goes back; the
    /// settings may differ from one call to the next, and hold at once.
    pub fn take(
        &mut self,
        settings: &QuotaSettings,
        now_us: u64,
        bytes: u64,
    ) -> Result<(), Exhausted> {
        let flow = |per_second| Flow { per_second, burst_ms: settings.burst_ms };
        let flows = (flow(settings.transactions_per_second), flow(settings.bytes_per_second));
        self.transactions.fill(flows.0, now_us);
        self.bytes.fill(flows.1, now_us);
        if self.in_flight >= settings.in_flight {
            return Err(Exhausted::InFlight);
        }
        let waits = (self.transactions.lacks(flows.0, 1), self.bytes.lacks(flows.1, bytes));
        match waits {
            (0, 0) => {
                self.transactions.pay(1);
                self.bytes.pay(bytes);
                self.in_flight += 1;
                Ok(())
            }
            // The longer wait is the one that counts.
            (after_us, other) if after_us >= other => Err(Exhausted::Transactions { after_us }),
            (_, after_us) => Err(Exhausted::Bytes { after_us }),
        }
    }

    /// One that was taken is in flight no more.
    pub fn end(&mut self) {
        self.in_flight = self.in_flight.checked_sub(1).expect("what ends was taken");
    }

    /// Taken, and not ended.
    pub const fn in_flight(&self) -> u64 {
        self.in_flight
    }
}

#[cfg(test)]
mod tests;
