//! Days and instants as people write them.
//!
//! `jiff` parses and prints everything within its years −9999 to 9999. A `date` of Cassandra reaches
//! five million years either way, and another writer of a shared table may have stored one, so the
//! conversion between days and the (proleptic Gregorian) calendar is here for all of them.

use jiff::civil;
use jiff::tz::TimeZone;

/// A date as `YYYY-MM-DD`, with more digits or a minus where the year needs them.
pub(super) fn date_to_text(days: i32) -> String {
    let (year, month, day) = civil_from_days(i64::from(days));
    let sign = if year < 0 { "-" } else { "" };
    format!("{sign}{:04}-{month:02}-{day:02}", year.abs())
}

/// Reads [`date_to_text`]'s form; `None` if it is not one, or out of range.
pub(super) fn date_from_text(text: &str) -> Option<i32> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut parts = digits.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    let plain = |part: &str, least: usize, most: usize| {
        (least..=most).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    if parts.next().is_some() || !plain(year, 4, 7) || !plain(month, 2, 2) || !plain(day, 2, 2) {
        return None;
    }
    let year: i64 = year.parse().ok()?;
    let year = if negative { -year } else { year };
    let (month, day) = (month.parse().ok()?, day.parse().ok()?);
    let days = days_from_civil(year, month, day);
    // A day that does not exist (30 February) comes back as another one.
    (civil_from_days(days) == (year, month, day)).then_some(days)?.try_into().ok()
}

/// An instant as RFC 3339 in UTC with milliseconds; `None` outside of jiff's years.
pub(super) fn timestamp_to_text(millis: i64) -> Option<String> {
    let instant = jiff::Timestamp::from_millisecond(millis).ok()?;
    Some(format!("{instant:.3}"))
}

/// Reads RFC 3339, `YYYY-MM-DD`, or `YYYY-MM-DD HH:MM[:SS[.mmm]]` with or without an offset. Without
/// one it is UTC. The error says what is wrong.
pub(super) fn timestamp_from_text(text: &str) -> Result<i64, &'static str> {
    const SHAPE: &str = "write it as 2026-01-31T12:00:00Z, 2026-01-31 12:00:00 (UTC) or 2026-01-31";
    let instant = match text.parse::<jiff::Timestamp>() {
        Ok(instant) => instant,
        Err(_) => {
            let local = text.parse::<civil::DateTime>().map_err(|_| SHAPE)?;
            local.to_zoned(TimeZone::UTC).map_err(|_| SHAPE)?.timestamp()
        }
    };
    if instant.subsec_nanosecond() % 1_000_000 != 0 {
        return Err("a timestamp holds milliseconds: leave out the finer digits");
    }
    Ok(instant.as_millisecond())
}

/// A time of the day as `HH:MM:SS`, with nine digits more where there are any.
pub(super) fn time_to_text(nanos: i64) -> String {
    let (seconds, nanos) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    let text = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    if nanos == 0 { text } else { format!("{text}.{nanos:09}") }
}

/// Reads `HH:MM[:SS[.n]]`, up to nine digits.
pub(super) fn time_from_text(text: &str) -> Option<i64> {
    // jiff also reads a date with a time, a bare hour, and 60 as a second: none is meant here.
    let plain = |byte: u8| byte.is_ascii_digit() || byte == b':' || byte == b'.';
    if !text.bytes().all(plain) || !text.contains(':') || text.get(6..8) == Some("60") {
        return None;
    }
    let time: civil::Time = text.parse().ok()?;
    let seconds =
        i64::from(time.hour()) * 3600 + i64::from(time.minute()) * 60 + i64::from(time.second());
    Some(seconds * 1_000_000_000 + i64::from(time.subsec_nanosecond()))
}

/// Days since 1970-01-01. Counts years from March, so that the leap day is the last of its year.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year, month and day of a number of days since 1970-01-01.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_date_is_written_and_read_back(days: i32) {
            prop_assert_eq!(date_from_text(&date_to_text(days)), Some(days));
        }

        #[test]
        fn dates_are_those_of_jiff(days in -4_000_000i32..2_900_000) {
            let epoch = civil::date(1970, 1, 1);
            let date = epoch.checked_add(jiff::Span::new().days(days)).expect("in jiff's years");
            let (year, month, day) = civil_from_days(i64::from(days));
            prop_assert_eq!(
                (i64::from(date.year()), i64::from(date.month()), i64::from(date.day())),
                (year, month, day)
            );
        }

        #[test]
        fn times_are_written_and_read_back(nanos in 0i64..86_400_000_000_000) {
            prop_assert_eq!(time_from_text(&time_to_text(nanos)), Some(nanos));
        }

        #[test]
        fn instants_are_written_and_read_back(millis in -62_000_000_000_000i64..200_000_000_000_000) {
            let text = timestamp_to_text(millis).expect("in jiff's years");
            prop_assert_eq!(timestamp_from_text(&text), Ok(millis));
        }
    }

    #[test]
    fn instants_are_read_in_the_forms_that_people_write() {
        let expected = Ok(1_735_689_600_000);
        for text in [
            "2025-01-01T00:00:00Z",
            "2025-01-01 00:00:00",
            "2025-01-01 00:00",
            "2025-01-01",
            "2025-01-01T00:00:00.000Z",
            "2025-01-01 01:00:00+0100",
            "2025-01-01T01:00:00+01:00",
        ] {
            assert_eq!(timestamp_from_text(text), expected, "{text}");
        }
        assert!(timestamp_from_text("2025-01-01T00:00:00.0001Z").is_err());
        assert!(timestamp_from_text("yesterday").is_err());
    }

    #[test]
    fn days_that_do_not_exist_are_refused() {
        for text in ["2025-02-29", "2025-13-01", "2025-00-01", "2025-01-00", "2025-1-1", "20250101"]
        {
            assert_eq!(date_from_text(text), None, "{text}");
        }
        assert_eq!(date_from_text("2024-02-29"), Some(19_782));
        for text in ["24:00:00", "12:00:60", "12", "12:00:00Z", "2025-01-01 12:00:00"] {
            assert_eq!(time_from_text(text), None, "{text}");
        }
    }
}
