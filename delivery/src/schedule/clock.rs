//! A wall clock that is not believed at once when it jumps ahead.

use wal_core::{Millis, Now};

/// A step ahead of more than this is a jump, microseconds.
const JUMP_US: i64 = 1_000_000;
/// A jump ahead is believed once it has lasted for so long, microseconds.
const BELIEVED_AFTER_US: u64 = 10_000_000;

/// Says what time it is to what must not be done early.
///
/// A clock that is set back is believed at once: what is due waits. One that jumps ahead, by more than a
/// second beyond what has passed, is believed only after ten seconds: until then time goes on as it did. So a
/// clock that is set wrongly and put right again makes nothing early. (One that stays wrong does: nobody here
/// could know.) A machine that slept is ten seconds late.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    last: Option<Now>,
    /// By how much the wall clock is ahead of what is believed, and since when.
    ahead: Option<(i64, u64)>,
}

impl Clock {
    /// What time it is.
    pub(crate) fn read(&mut self, now: Now) -> Millis {
        if let Some(last) = self.last.replace(now) {
            let passed =
                i64::try_from(now.mono_us.saturating_sub(last.mono_us)).unwrap_or(i64::MAX);
            let step = now.wall_us.saturating_sub(last.wall_us).saturating_sub(passed);
            let so_far = self.ahead.map_or(0, |(by, _)| by);
            let by = so_far.saturating_add(step);
            self.ahead = if by <= JUMP_US {
                None
            } else if step > JUMP_US {
                Some((by, now.mono_us))
            } else {
                self.ahead.map(|(_, since)| (by, since))
            };
        }
        if let Some((_, since)) = self.ahead
            && now.mono_us.saturating_sub(since) >= BELIEVED_AFTER_US
        {
            self.ahead = None;
        }
        let by = self.ahead.map_or(0, |(by, _)| by);
        Now { wall_us: now.wall_us.saturating_sub(by), ..now }.millis()
    }

    /// When a jump is believed, if there was one: microseconds of the monotonic clock.
    pub(crate) fn believes_at(&self) -> Option<u64> {
        self.ahead.map(|(_, since)| since.saturating_add(BELIEVED_AFTER_US))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000;

    fn at(mono_s: u64, wall_s: u64) -> Now {
        Now { mono_us: mono_s * S, wall_us: (wall_s * S) as i64 }
    }

    #[test]
    fn a_jump_ahead_is_believed_late_and_one_back_at_once() {
        let mut clock = Clock::default();
        assert_eq!(clock.read(at(0, 1_000)), Millis(1_000_000));
        assert_eq!(clock.read(at(5, 1_005)), Millis(1_005_000));
        // An hour ahead.
        assert_eq!(clock.read(at(6, 4_606)), Millis(1_006_000));
        assert_eq!(clock.read(at(15, 4_615)), Millis(1_015_000));
        // And back.
        assert_eq!(clock.read(at(16, 1_016)), Millis(1_016_000));
        assert_eq!(clock.believes_at(), None);
        // An hour ahead, and it stays so.
        assert_eq!(clock.read(at(17, 4_617)), Millis(1_017_000));
        assert_eq!(clock.believes_at(), Some(27 * S));
        assert_eq!(clock.read(at(27, 4_627)), Millis(4_627_000));
        // Set back by ten minutes.
        assert_eq!(clock.read(at(28, 4_028)), Millis(4_028_000));
        assert_eq!(clock.read(at(29, 4_029)), Millis(4_029_000));
    }
}
