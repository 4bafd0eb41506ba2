//! Whether the target has become slow: the idea of the `Gradient2` limit of Netflix's concurrency-limits.

use crate::config::LatencyConfig;

/// What the newest sample weighs in the short average: one in so many.
const SHORT: u64 = 8;
/// The same in the long average, once there were so many samples.
const LONG: u64 = 512;

/// Averages of the latency of deliveries, in nanoseconds, so that little is lost to rounding.
#[derive(Clone, Debug, Default)]
pub(crate) struct Latency {
    short_ns: u64,
    long_ns: u64,
    samples: u64,
}

impl Latency {
    /// Takes a sample in. Says whether deliveries have lately been too slow.
    pub(crate) fn is_slow(&mut self, config: &LatencyConfig, sample_us: u64) -> bool {
        let sample_ns = sample_us.saturating_mul(1_000);
        self.samples = (self.samples + 1).min(LONG);
        self.short_ns = towards(self.short_ns, sample_ns, SHORT.min(self.samples));
        self.long_ns = towards(self.long_ns, sample_ns, self.samples);
        // After a slow time the long average is too kind; it is to forget that faster than it learnt it.
        if self.long_ns / 2 > self.short_ns {
            self.long_ns -= self.long_ns / 20;
        }
        let bound_ns = self.long_ns.saturating_mul(config.tolerance_percent) / 100;
        self.short_ns > bound_ns.max(config.ignore_below_us.saturating_mul(1_000))
    }
}

/// A step of one `weight`-th from `average` towards `sample`.
const fn towards(average: u64, sample: u64, weight: u64) -> u64 {
    if sample >= average {
        average + (sample - average) / weight
    } else {
        average - (average - sample) / weight
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: LatencyConfig = LatencyConfig { tolerance_percent: 200, ignore_below_us: 500 };

    fn slow_of(latency: &mut Latency, samples: usize, sample_us: u64) -> usize {
        (0..samples).filter(|_| latency.is_slow(&CONFIG, sample_us)).count()
    }

    #[test]
    fn a_target_that_becomes_slow_is_noticed_soon() {
        let mut latency = Latency::default();
        assert_eq!(slow_of(&mut latency, 1_000, 1_000), 0);
        assert!(slow_of(&mut latency, 10, 10_000) > 5);
    }

    #[test]
    fn a_target_that_stays_slow_is_taken_as_it_is() {
        let mut latency = Latency::default();
        slow_of(&mut latency, 1_000, 1_000);
        slow_of(&mut latency, 2_000, 10_000);
        assert_eq!(slow_of(&mut latency, 1_000, 10_000), 0);
        // And once it is fast again, slowness is noticed as at first.
        slow_of(&mut latency, 200, 1_000);
        assert!(slow_of(&mut latency, 10, 10_000) > 5);
    }

    #[test]
    fn a_fast_target_may_vary() {
        let mut latency = Latency::default();
        slow_of(&mut latency, 1_000, 20);
        assert_eq!(slow_of(&mut latency, 100, 400), 0);
    }

    #[test]
    fn a_target_of_two_speeds_is_seldom_slow() {
        let mut latency = Latency::default();
        let slow = (0..10_000).filter(|n| latency.is_slow(&CONFIG, [1_000, 50_000][n % 2])).count();
        assert!(slow < 100, "{slow}");
    }
}
