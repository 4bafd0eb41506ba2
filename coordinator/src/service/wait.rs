//! How long a call may take.

use std::time::Duration;

use tonic::metadata::MetadataMap;

/// The wait of a request that names none.
pub const DEFAULT_WAIT: Duration = Duration::from_secs(10);
/// The longest wait.
pub const MAX_WAIT: Duration = Duration::from_secs(600);
/// What is kept of gRPC's deadline for the way back, at most: an answer that comes after it is lost.
const MAX_RESERVE: Duration = Duration::from_millis(100);

/// The wait that a request asks for, cut short of the call's own deadline if that is sooner.
pub(super) fn wait(wait_ms: u32, metadata: &MetadataMap) -> Duration {
    let asked = requested(wait_ms);
    match deadline(metadata) {
        Some(deadline) => asked.min(deadline - (deadline / 5).min(MAX_RESERVE)),
        None => asked,
    }
}

/// The wait that a request asks for.
pub(super) fn requested(wait_ms: u32) -> Duration {
    match wait_ms {
        0 => DEFAULT_WAIT,
        ms => Duration::from_millis(u64::from(ms)).min(MAX_WAIT),
    }
}

/// gRPC's deadline: up to eight digits and a unit. One that cannot be read counts as none, as the
/// transport treats it.
fn deadline(metadata: &MetadataMap) -> Option<Duration> {
    let text = metadata.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_deadline(text: &'static str) -> MetadataMap {
        let mut metadata = MetadataMap::new();
        metadata.insert("grpc-timeout", text.parse().expect("ascii"));
        metadata
    }

    #[test]
    fn the_sooner_of_wait_and_deadline_counts() {
        assert_eq!(wait(0, &MetadataMap::new()), DEFAULT_WAIT);
        assert_eq!(wait(250, &with_deadline("2S")), Duration::from_millis(250));
        assert_eq!(wait(0, &with_deadline("2S")), Duration::from_millis(1900));
        assert_eq!(wait(u32::MAX, &MetadataMap::new()), MAX_WAIT);
    }

    #[test]
    fn a_short_deadline_leaves_a_fifth_for_the_way_back() {
        assert_eq!(wait(0, &with_deadline("10m")), Duration::from_millis(8));
    }

    #[test]
    fn a_deadline_that_cannot_be_read_counts_as_none() {
        for text in ["", "S", "12", "123456789S", "-1S", "1x"] {
            assert_eq!(wait(0, &with_deadline(text)), DEFAULT_WAIT, "{text}");
        }
    }
}
