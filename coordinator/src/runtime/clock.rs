//! The clocks of this machine.

use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, Timespec, clock_gettime};
use wal_core::{Clock, Now};

/// The system's wall clock, and a monotonic clock that also counts while the machine is suspended
/// (CLOCK_BOOTTIME): a lease that ran out meanwhile is seen to have run out.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    started: u64,
}

impl SystemClock {
    /// A clock whose monotonic side starts now.
    pub fn new() -> Self {
        Self { started: since_boot_us() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

/// What the monotonic clock shows at its start: durations can be taken off it.
const START_US: u64 = 60 * 60 * 1_000_000;

fn since_boot_us() -> u64 {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Boottime);
    // Time since boot is not negative, and 2^64 microseconds are 584,000 years.
    tv_sec.unsigned_abs() * 1_000_000 + tv_nsec.unsigned_abs() / 1_000
}

impl Clock for SystemClock {
    fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now {
            wall_us: i64::try_from(wall.as_micros()).unwrap_or(i64::MAX),
            mono_us: START_US + since_boot_us().saturating_sub(self.started),
        }
    }
}
