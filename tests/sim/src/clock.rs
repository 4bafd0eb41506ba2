//! One node's clocks: a wall clock that may be wrong in every way, and one that only goes forward.

use wal_core::Now;

/// What every wall clock shows at the beginning, microseconds since the Unix epoch.
pub(crate) const EPOCH_US: i64 = 1_700_000_000_000_000;

/// Two clocks, each a straight line from its last change on.
#[derive(Clone, Debug)]
pub(crate) struct NodeClock {
    changed_at: u64,
    wall_then: i64,
    mono_then: u64,
    wall_ppm: i64,
    mono_ppm: i64,
}

impl NodeClock {
    /// Clocks that are right; the boot of the machine was so long ago.
    pub(crate) fn new(at: u64, booted_before_us: u64) -> Self {
        Self {
            changed_at: at,
            wall_then: EPOCH_US + at as i64,
            mono_then: booted_before_us,
            wall_ppm: 0,
            mono_ppm: 0,
        }
    }

    /// What the node sees at this instant.
    pub(crate) fn now(&self, at: u64) -> Now {
        let passed = (at - self.changed_at) as i64;
        let rated = |ppm: i64| passed + passed * ppm / 1_000_000;
        Now {
            wall_us: self.wall_then + rated(self.wall_ppm),
            mono_us: self.mono_then + rated(self.mono_ppm) as u64,
        }
    }

    fn rebase(&mut self, at: u64) {
        let now = self.now(at);
        self.changed_at = at;
        self.wall_then = now.wall_us;
        self.mono_then = now.mono_us;
    }

    /// Moves the wall clock.
    pub(crate) fn jump(&mut self, at: u64, by_us: i64) {
        self.rebase(at);
        self.wall_then += by_us;
    }

    /// Sets the wall clock so far from the true time.
    pub(crate) fn skew(&mut self, at: u64, by_us: i64) {
        self.rebase(at);
        self.wall_then = EPOCH_US + at as i64 + by_us;
    }

    /// Sets how fast the clocks run.
    pub(crate) fn rate(&mut self, at: u64, wall_ppm: i64, mono_ppm: i64) {
        self.rebase(at);
        self.wall_ppm = wall_ppm;
        self.mono_ppm = mono_ppm;
    }
}
