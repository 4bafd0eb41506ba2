//! A token bucket in whole numbers.

/// Parts of a token. At one token a second, one part flows in each microsecond.
const PARTS: i128 = 1_000_000;

/// How a bucket fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flow {
    /// Tokens of one second, at least 1.
    pub(super) per_second: u64,
    /// For how long it fills while nothing is taken, milliseconds.
    pub(super) burst_ms: u64,
}

impl Flow {
    /// What a full bucket holds, in parts: a token at least, or nothing could ever be taken.
    fn capacity(self) -> i128 {
        let burst_us = i128::from(self.burst_ms) * 1_000;
        (i128::from(self.per_second) * burst_us).max(PARTS)
    }

    /// What must be there before so many tokens are taken. More than it can hold are taken of a full bucket,
    /// which then owes the rest: so nothing is too large for ever, and the rate holds in the long run.
    fn needed(self, tokens: u64) -> i128 {
        (i128::from(tokens) * PARTS).min(self.capacity())
    }
}

/// Tokens. A new bucket is full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bucket {
    /// In parts; below zero it owes.
    level: i128,
    filled_us: u64,
}

impl Default for Bucket {
    fn default() -> Self {
        Self { level: i128::MAX, filled_us: 0 }
    }
}

impl Bucket {
    /// Takes in what has flowed since the last time.
    pub(super) fn fill(&mut self, flow: Flow, now_us: u64) {
        let elapsed_us = i128::from(now_us.saturating_sub(self.filled_us));
        let flowed = elapsed_us * i128::from(flow.per_second);
        self.level = self.level.saturating_add(flowed).min(flow.capacity());
        self.filled_us = self.filled_us.max(now_us);
    }

    /// How long until so many tokens can be taken, microseconds; 0 if they can be now.
    pub(super) fn lacks(&self, flow: Flow, tokens: u64) -> u64 {
        let missing = (flow.needed(tokens) - self.level).max(0);
        let rate = i128::from(flow.per_second);
        u64::try_from((missing + rate - 1) / rate).unwrap_or(u64::MAX)
    }

    /// Takes so many tokens, there or not.
    pub(super) fn pay(&mut self, tokens: u64) {
        self.level -= i128::from(tokens) * PARTS;
    }
}
