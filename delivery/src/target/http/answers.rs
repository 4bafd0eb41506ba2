//! What an answer means: the table of [`super`], as a function.

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;

use crate::message::ErrorClass;

static DATES: DateTimeParser = DateTimeParser::new();

/// What a status means; `None`: the message was taken. `retry_after_us` is what the answer asks for.
pub(super) fn judge(status: u16, retry_after_us: Option<u64>) -> Option<ErrorClass> {
    match status {
        200..=299 => None,
        429 | 503 => Some(ErrorClass::Overloaded { retry_after_us }),
        // They are about the endpoint, or about us, and so the same for every message.
        401 | 402 | 403 | 404 | 405 | 407 | 410 => {
            Some(ErrorClass::Overloaded { retry_after_us: None })
        }
        408 | 409 | 421 | 425 => Some(ErrorClass::Transient),
        300..=499 => Some(ErrorClass::Permanent),
        _ => Some(ErrorClass::Transient),
    }
}

/// Reads `Retry-After`: seconds, or a date of HTTP, which is compared with the answer's own `Date` if it has
/// one, so that clocks that differ do not matter. Microseconds; `None` if it is neither.
pub(super) fn retry_after_us(
    value: &str,
    date: Option<&str>,
    now: impl FnOnce() -> Timestamp,
) -> Option<u64> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More than fits is longer than anybody waits.
        let seconds: u64 = value.parse().unwrap_or(u64::MAX);
        return Some(seconds.saturating_mul(1_000_000));
    }
    let until = DATES.parse_timestamp(value).ok()?;
    let from = date.and_then(|date| DATES.parse_timestamp(date.trim()).ok()).unwrap_or_else(now);
    let distance_us = until.as_microsecond().saturating_sub(from.as_microsecond());
    Some(u64::try_from(distance_us).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_S: i64 = 784_111_777; // Sun, 06 Nov 1994 08:49:37 GMT

    fn read(value: &str, date: Option<&str>) -> Option<u64> {
        retry_after_us(value, date, || Timestamp::from_second(NOW_S).expect("a time"))
    }

    #[test]
    fn retry_after_has_two_forms() {
        assert_eq!(read("120", None), Some(120_000_000));
        assert_eq!(read(" 0 ", None), Some(0));
        assert_eq!(read("99999999999999999999999", None), Some(u64::MAX));
        assert_eq!(read("Sun, 06 Nov 1994 08:50:37 GMT", None), Some(60_000_000));
        assert_eq!(read("Sun, 06 Nov 1994 08:48:37 GMT", None), Some(0), "it is over");
        // By the server's own clock it is ten seconds.
        let date = Some("Sun, 06 Nov 1994 08:50:27 GMT");
        assert_eq!(read("Sun, 06 Nov 1994 08:50:37 GMT", date), Some(10_000_000));
        assert_eq!(read("Sun, 06 Nov 1994 08:50:37 GMT", Some("nonsense")), Some(60_000_000));
        for neither in ["", "-5", "1.5", "soon", "Sun, 99 Nov 1994 08:49:37 GMT"] {
            assert_eq!(read(neither, None), None, "{neither:?}");
        }
    }

    #[test]
    fn only_who_is_busy_is_asked_how_long() {
        for status in 200..600 {
            let class = judge(status, Some(7));
            let asked = class == Some(ErrorClass::Overloaded { retry_after_us: Some(7) });
            assert_eq!(asked, status == 429 || status == 503, "{status}");
        }
    }
}
