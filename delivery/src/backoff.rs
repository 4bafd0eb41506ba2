//! Pauses that grow, and the generator that their jitter is drawn from.

use crate::config::Pauses;

/// A small generator (SplitMix64; Steele, Lea and Flood 2014): the same seed, the same draws.
#[derive(Clone, Debug)]
pub(crate) struct Draw(u64);

impl Draw {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `0 ..= most`. Not exactly uniform, which jitter need not be.
    pub(crate) const fn up_to(&mut self, most: u64) -> u64 {
        match most.checked_add(1) {
            Some(bound) => self.next() % bound,
            None => self.next(),
        }
    }
}

impl Pauses {
    /// How long to wait after so many failures in a row, at least 1 of them; microseconds.
    pub(crate) fn after(&self, failures: u32, draw: &mut Draw) -> u64 {
        let first = self.first_us.max(1);
        let doubled = first.saturating_mul(1_u64.checked_shl(failures).unwrap_or(u64::MAX));
        let most = doubled.min(self.longest_us).max(first);
        first + draw.up_to(most - first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_with_the_failures_and_stay_between_their_bounds() {
        let pauses = Pauses { first_us: 100, longest_us: 10_000 };
        let mut draw = Draw::new(1);
        for failures in [1, 2, 3, 5, 7, 31, 63, 64, u32::MAX] {
            let most = 10_000.min(100_u64.saturating_mul(1 << failures.min(20)));
            let drawn: Vec<u64> = (0..1_000).map(|_| pauses.after(failures, &mut draw)).collect();
            let (least, longest) = (drawn.iter().min(), drawn.iter().max());
            assert!(least.is_some_and(|least| (100..120 + most / 100).contains(least)));
            assert!(longest.is_some_and(|longest| (most * 9 / 10..=most).contains(longest)));
        }
    }

    #[test]
    fn pauses_at_odds_with_themselves_are_the_first() {
        let mut draw = Draw::new(1);
        assert_eq!(Pauses { first_us: 100, longest_us: 10 }.after(9, &mut draw), 100);
        assert_eq!(Pauses { first_us: 0, longest_us: 0 }.after(9, &mut draw), 1);
        assert!(Pauses { first_us: 1, longest_us: u64::MAX }.after(64, &mut draw) >= 1);
    }
}
