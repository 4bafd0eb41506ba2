use proptest::prelude::*;

use super::*;

fn settings(transactions: u64, bytes: u64, burst_ms: u64, in_flight: u64) -> QuotaSettings {
    QuotaSettings {
        transactions_per_second: transactions,
        bytes_per_second: bytes,
        burst_ms,
        in_flight,
    }
}

const MANY: u64 = 1 << 20;

/// Takes as many as it can at one instant.
fn drain(quota: &mut Quota, settings: &QuotaSettings, now_us: u64, bytes: u64) -> u64 {
    let taken = std::iter::from_fn(|| quota.take(settings, now_us, bytes).ok());
    taken.count() as u64
}

#[test]
fn a_burst_is_taken_at_once_and_then_the_rate() {
    let (settings, mut quota) = (settings(100, 1 << 30, 500, MANY), Quota::default());
    assert_eq!(drain(&mut quota, &settings, 7_000_000, 1), 50);
    let refused = Err(Exhausted::Transactions { after_us: 10_000 });
    assert_eq!(quota.take(&settings, 7_000_000, 1), refused);
    assert_eq!(drain(&mut quota, &settings, 7_009_999, 1), 0);
    assert_eq!(drain(&mut quota, &settings, 7_010_000, 1), 1);
    assert_eq!(drain(&mut quota, &settings, 8_010_000, 1), 50, "no more than a burst is saved up");
}

#[test]
fn bytes_have_a_bucket_of_their_own_and_the_longer_wait_is_told() {
    let (settings, mut quota) = (settings(10, 10_000, 1_000, MANY), Quota::default());
    assert_eq!(drain(&mut quota, &settings, 0, 2_000), 5);
    assert_eq!(quota.take(&settings, 0, 2_000), Err(Exhausted::Bytes { after_us: 200_000 }));
    assert_eq!(quota.take(&settings, 0, 0), Ok(()), "what has no bytes is not held up by them");
    assert_eq!(drain(&mut quota, &settings, 0, 0), 4);
    assert_eq!(quota.take(&settings, 0, 1), Err(Exhausted::Transactions { after_us: 100_000 }));
    assert_eq!(quota.take(&settings, 0, 5_000), Err(Exhausted::Bytes { after_us: 500_000 }));
}

#[test]
fn what_is_larger_than_the_bucket_is_taken_of_a_full_one_and_owed() {
    let (settings, mut quota) = (settings(MANY, 1_000, 100, MANY), Quota::default());
    assert_eq!(quota.take(&settings, 0, 1_000), Ok(()));
    // It owes 900: as long as these take to flow in, and then for the next to be there.
    assert_eq!(quota.take(&settings, 0, 1), Err(Exhausted::Bytes { after_us: 901_000 }));
    assert_eq!(quota.take(&settings, 900_000, 1_000), Err(Exhausted::Bytes { after_us: 100_000 }));
    assert_eq!(quota.take(&settings, 1_000_000, 1_000), Ok(()));
}

#[test]
fn what_is_in_flight_is_bounded_until_it_ends() {
    let (settings, mut quota) = (settings(MANY, 1 << 30, 1_000, 3), Quota::default());
    assert_eq!(drain(&mut quota, &settings, 0, 1), 3);
    assert_eq!(quota.take(&settings, 0, 1), Err(Exhausted::InFlight));
    quota.end();
    assert_eq!((quota.in_flight(), drain(&mut quota, &settings, 0, 1)), (2, 1));
}

#[test]
fn new_settings_hold_at_once() {
    let mut quota = Quota::default();
    assert_eq!(drain(&mut quota, &settings(1_000, 1 << 30, 1_000, MANY), 0, 1), 1_000);
    let more = settings(10_000, 1 << 30, 1_000, MANY);
    assert_eq!(drain(&mut quota, &more, 1_000_000, 1), 10_000);
    let less = settings(10, 1 << 30, 1_000, MANY);
    assert_eq!(drain(&mut quota, &less, 2_000_000, 1), 10, "what was saved up is not kept");
}

#[test]
fn a_clock_that_stands_or_goes_back_gives_nothing() {
    let (settings, mut quota) = (settings(10, 1 << 30, 1_000, MANY), Quota::default());
    assert_eq!(drain(&mut quota, &settings, 5_000_000, 1), 10);
    assert_eq!(drain(&mut quota, &settings, 1_000_000, 1), 0);
    assert_eq!(drain(&mut quota, &settings, 5_100_000, 1), 1);
}

#[test]
fn the_greatest_and_the_least_settings_do_not_overflow() {
    let greatest = settings(1_000_000, 1 << 40, 60_000, MANY);
    let mut quota = Quota::default();
    assert_eq!(quota.take(&greatest, u64::MAX / 2, 16 << 20), Ok(()));
    assert_eq!(quota.take(&greatest, u64::MAX, u64::MAX), Ok(()), "of a full bucket");
    assert!(matches!(quota.take(&greatest, u64::MAX, 1), Err(Exhausted::Bytes { .. })));
    let least = settings(1, 1 << 10, 1, 1);
    assert_eq!(drain(&mut Quota::default(), &least, 0, 16 << 20), 1);
}

/// A call: how long after the one before, and its bytes.
fn calls() -> impl Strategy<Value = Vec<(u64, u64)>> {
    prop::collection::vec((0..50_000_u64, 0..20_000_u64), 1..200)
}

fn any_settings() -> impl Strategy<Value = QuotaSettings> {
    (1..2_000_u64, 1_024..1_000_000_u64, 1..3_000_u64)
        .prop_map(|(transactions, bytes, burst)| settings(transactions, bytes, burst, MANY))
}

proptest! {
    /// In no stretch of time is more taken than a burst and the rate give; of bytes, one call more.
    #[test]
    fn no_stretch_of_time_has_more_than_its_due(settings in any_settings(), calls in calls()) {
        let (mut quota, mut now_us, mut taken) = (Quota::default(), 0, Vec::new());
        for (after_us, bytes) in calls {
            now_us += after_us;
            if quota.take(&settings, now_us, bytes).is_ok() {
                taken.push((now_us, bytes));
            }
        }
        let due = |per_second: u64, us: u64| {
            let burst = (per_second * settings.burst_ms).div_ceil(1_000).max(1);
            burst + (per_second * us).div_ceil(1_000_000)
        };
        for (first, (begin_us, _)) in taken.iter().enumerate() {
            let (mut transactions, mut bytes) = (0, 0);
            for (at_us, size) in &taken[first..] {
                transactions += 1;
                prop_assert!(transactions <= due(settings.transactions_per_second, at_us - begin_us));
                prop_assert!(bytes <= due(settings.bytes_per_second, at_us - begin_us));
                bytes += size;
            }
        }
    }

    /// A refused call uses nothing, is refused until the time that it was told, and taken then.
    #[test]
    fn the_wait_that_is_told_is_exact(settings in any_settings(), calls in calls()) {
        let (mut quota, mut now_us) = (Quota::default(), 0);
        for (after_us, bytes) in calls {
            now_us += after_us;
            let Err(exhausted) = quota.take(&settings, now_us, bytes) else { continue };
            let (Exhausted::Transactions { after_us } | Exhausted::Bytes { after_us }) = exhausted else {
                panic!("{exhausted:?}")
            };
            prop_assert!(after_us > 0);
            prop_assert!(quota.clone().take(&settings, now_us + after_us - 1, bytes).is_err());
            prop_assert_eq!(quota.clone().take(&settings, now_us + after_us, bytes), Ok(()));
        }
    }

    /// However it is asked for, what flows in is given out in the end: refusals lose nothing.
    #[test]
    fn one_that_always_asks_gets_its_rate(per_second in 1..5_000_u64, step_us in 1..2_000_u64) {
        let settings = settings(per_second, 1 << 30, 100, MANY);
        let (mut quota, mut taken) = (Quota::default(), 0);
        for now_us in (0..3_000_000).step_by(step_us as usize) {
            taken += drain(&mut quota, &settings, now_us, 1);
        }
        let least = per_second * (3_000_000 - 2 * step_us) / 1_000_000;
        // A bucket of one token that fills between two questions runs over, if they are far apart.
        let keeps_up = per_second * 100 / 1_000 > per_second * step_us / 1_000_000 + 1;
        prop_assert!(!keeps_up || taken >= least, "{taken} of {least}");
    }
}
