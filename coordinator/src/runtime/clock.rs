//! The clocks of this machine.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use wal_core::{Clock, Now};

/// The system's wall clock and its monotonic clock.
///
/// The monotonic one is Rust's `Instant`, which on Linux does not count suspended time. That is enough
/// where leadership is exclusive; leases need CLOCK_BOOTTIME.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// A clock whose monotonic side starts now.
    pub fn new() -> Self {
        Self { started: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

/// What the monotonic clock shows at its start: durations can be taken off it.
const START_US: u64 = 60 * 60 * 1_000_000;

impl Clock for SystemClock {
    fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now {
            wall_us: i64::try_from(wall.as_micros()).unwrap_or(i64::MAX),
            mono_us: START_US + u64::try_from(self.started.elapsed().as_micros()).unwrap_or(0),
        }
    }
}
