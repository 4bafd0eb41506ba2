//! Settings of a delivery. Durations are microseconds.

/// Pauses that grow: the n-th is drawn from between the first and the first doubled n times, and none is longer
/// than the longest. (Full jitter, so that what failed together is not tried together.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pauses {
    /// The shortest pause; at least 1.
    pub first_us: u64,
    /// The longest; below `first_us` it counts as `first_us`.
    pub longest_us: u64,
}

/// When latency is a reason to shrink the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LatencyConfig {
    /// Too slow is a short average of more than so many percent of the long one; above 100.
    pub tolerance_percent: u64,
    /// Short averages below it are never too slow.
    pub ignore_below_us: u64,
}

/// How many tries may be in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowConfig {
    /// The window at the start: `1 ..= ceiling`.
    pub initial: u32,
    /// The largest window, which is never exceeded; at least 1.
    pub ceiling: u32,
    /// What is left of a window that overloaded the target, in percent: `1 ..= 99`. Never less than one try.
    pub kept_percent: u32,
    /// Pauses after an overload, for the whole target; the n-th for the n-th overload in a row.
    pub pauses: Pauses,
    /// The longest pause that a target may ask for.
    pub longest_retry_after_us: u64,
    /// For how long the size that overloaded the target is not reached again.
    pub doubt_us: u64,
    /// `None`: latency does not matter.
    pub latency: Option<LatencyConfig>,
}

/// What is done about failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryConfig {
    /// Pauses of a message after transient failures and overloads; the n-th for the n-th of each.
    pub pauses: Pauses,
    /// With so many transient failures a message is given up; at least 1.
    pub max_tries: u32,
    /// A message whose first try is so long ago is given up at the next transient failure. `None`: never.
    /// Pauses of the target count too.
    pub max_age_us: Option<u64>,
    /// The same, at the next overload.
    pub max_overloaded_age_us: Option<u64>,
    /// How long a message waits after a failure of [`ErrorClass::Ours`](crate::ErrorClass::Ours), unless
    /// it is asked for.
    pub ours_pause_us: u64,
}

/// How dead letters are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BurialConfig {
    /// How many may be on their way to the store at once; at least 1.
    pub most_at_once: usize,
    /// Pauses after the store has refused; the n-th for the n-th refusal in a row.
    pub pauses: Pauses,
}

/// When the mark is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkConfig {
    /// When so many messages were dealt with since the last; at least 1.
    pub every_messages: u64,
    /// Or so long after the last, if it has moved.
    pub interval_us: u64,
}

/// Settings of one delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeliveryConfig {
    /// What jitter is drawn from: different in each engine, so that they do not retry in step.
    pub seed: u64,
    /// How many messages are held at once; at least 1.
    pub max_messages: usize,
    /// Nothing more is read once so many bytes are held; the last message may exceed it. At least 1.
    pub max_bytes: u64,
    /// How many tries may be in flight.
    pub window: WindowConfig,
    /// What is done about failures.
    pub retry: RetryConfig,
    /// How dead letters are stored.
    pub burial: BurialConfig,
    /// When the mark is said.
    pub mark: MarkConfig,
}

impl DeliveryConfig {
    /// Sensible settings: 10,000 messages and 64 MiB held; a window from 8 up to 256, halved by an overload,
    /// with pauses of 100 ms to 30 s and doubt for 30 s; retries after 100 ms to 60 s, up to 20 or a
    /// day; one hour after a fault of ours; 64 dead letters at once, with pauses of 1 s to 60 s; a mark every
    /// 1,000 messages or second.
    pub const fn new(seed: u64) -> Self {
        const MS: u64 = 1_000;
        const S: u64 = 1_000_000;
        Self {
            seed,
            max_messages: 10_000,
            max_bytes: 64 << 20,
            window: WindowConfig {
                initial: 8,
                ceiling: 256,
                kept_percent: 50,
                pauses: Pauses { first_us: 100 * MS, longest_us: 30 * S },
                longest_retry_after_us: 600 * S,
                doubt_us: 30 * S,
                latency: Some(LatencyConfig { tolerance_percent: 200, ignore_below_us: 50 * MS }),
            },
            retry: RetryConfig {
                pauses: Pauses { first_us: 100 * MS, longest_us: 60 * S },
                max_tries: 20,
                max_age_us: Some(86_400 * S),
                max_overloaded_age_us: None,
                ours_pause_us: 3_600 * S,
            },
            burial: BurialConfig {
                most_at_once: 64,
                pauses: Pauses { first_us: S, longest_us: 60 * S },
            },
            mark: MarkConfig { every_messages: 1_000, interval_us: S },
        }
    }
}
