//! How long to wait, and how often to try again.

use std::time::Duration;

use handfast_proto::v1;

/// How far a transaction must have come before a call answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// Its intent is durable: it will be driven to an outcome, whoever dies.
    Logged,
    /// It is decided.
    #[default]
    Committed,
    /// It is decided and visible in every table store.
    Applied,
}

impl From<Level> for v1::Level {
    fn from(level: Level) -> Self {
        match level {
            Level::Logged => Self::Logged,
            Level::Committed => Self::Committed,
            Level::Applied => Self::Applied,
        }
    }
}

/// How a call is tried again: after a pause that doubles from `first_pause` to `longest_pause`, drawn
/// at random up to that (or what the server asks for, if that is longer).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// No new try is begun after this time.
    pub give_up_after: Duration,
    /// The first pause, at most.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            give_up_after: Duration::from_secs(30),
            first_pause: Duration::from_millis(10),
            longest_pause: Duration::from_secs(1),
        }
    }
}

impl RetryPolicy {
    /// Tries once only.
    pub const NEVER: Self = Self {
        give_up_after: Duration::ZERO,
        first_pause: Duration::ZERO,
        longest_pause: Duration::ZERO,
    };

    /// The pause before try number `tries + 1`; `asked` is the server's wish.
    pub(crate) fn pause(&self, tries: u32, asked: Option<Duration>) -> Duration {
        let ceiling = self.first_pause.saturating_mul(1 << tries.min(16)).min(self.longest_pause);
        let drawn = ceiling.mul_f64(rand::random_range(0.5..=1.0));
        // What the server asks for is a least: spread the callers that it turned away together.
        asked.map_or(drawn, |asked| asked.mul_f64(rand::random_range(1.0..=1.5)).max(drawn))
    }
}

/// How a client behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// When `submit` answers.
    pub level: Level,
    /// How long one call waits for its level before it answers unknown; 1 ms to 10 minutes.
    pub wait: Duration,
    /// How calls are tried again.
    pub retry: RetryPolicy,
    /// How often a closure transaction is run at most.
    pub max_attempts: u32,
    /// How long connecting may take.
    pub connect_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            level: Level::Committed,
            wait: Duration::from_secs(10),
            retry: RetryPolicy::default(),
            max_attempts: 20,
            connect_timeout: Duration::from_secs(5),
        }
    }
}

impl Options {
    /// The wait as the wire has it, never 0 (which would mean the server's default).
    pub(crate) fn wait_ms(&self) -> u32 {
        u32::try_from(self.wait.as_millis()).unwrap_or(u32::MAX).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_and_are_never_shorter_than_asked() {
        let policy = RetryPolicy::default();
        for tries in [0, 3, 40] {
            let pause = policy.pause(tries, None);
            assert!(pause <= policy.longest_pause && pause >= policy.first_pause / 2);
        }
        assert!(policy.pause(0, Some(Duration::from_secs(2))) >= Duration::from_secs(2));
    }
}
