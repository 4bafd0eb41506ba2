//! How long a call may take.

use std::time::Duration;

use tonic::metadata::MetadataMap;
use wal_core::namespace::Namespace;

/// The longest wait.
pub const MAX_WAIT: Duration = Duration::from_secs(3_600);
/// What is kept of gRPC's deadline for the way back, at most: an answer that comes after it is lost.
const MAX_RESERVE: Duration = Duration::from_millis(100);

/// The wait that a request asks for, cut short of the call's own deadline if that is sooner.
pub(super) fn wait(namespace: &Namespace, wait_ms: u32, deadline: Option<Duration>) -> Duration {
    let asked = requested(namespace, wait_ms);
    match deadline {
        Some(deadline) => asked.min(deadline - (deadline / 5).min(MAX_RESERVE)),
        None => asked,
    }
}

/// The wait that a request asks for; 0 is the namespace's.
pub(super) fn requested(namespace: &Namespace, wait_ms: u32) -> Duration {
    let ms = if wait_ms == 0 { namespace.policy().wait_ms } else { u64::from(wait_ms) };
    Duration::from_millis(ms).min(MAX_WAIT)
}

/// gRPC's deadline: up to eight digits and a unit. One that cannot be read counts as none, as the
/// transport treats it.
pub(super) fn deadline(metadata: &MetadataMap) -> Option<Duration> {
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

    fn read(text: &'static str) -> Option<Duration> {
        let mut metadata = MetadataMap::new();
        metadata.insert("grpc-timeout", text.parse().expect("ascii"));
        deadline(&metadata)
    }

    fn namespace() -> Namespace {
        let text = r#"
            name = "n"
            [policy]
            wait_ms = 7000
            [[table]]
            cql = "CREATE TABLE t (id int PRIMARY KEY)"
        "#;
        Namespace::from_toml(text).expect("a namespace")
    }

    #[test]
    fn the_sooner_of_wait_and_deadline_counts() {
        let (namespace, two_seconds) = (namespace(), read("2S"));
        assert_eq!(wait(&namespace, 0, None), Duration::from_millis(7_000));
        assert_eq!(wait(&namespace, 250, two_seconds), Duration::from_millis(250));
        assert_eq!(wait(&namespace, 0, two_seconds), Duration::from_millis(1_900));
        assert_eq!(wait(&namespace, u32::MAX, None), MAX_WAIT);
    }

    #[test]
    fn a_short_deadline_leaves_a_fifth_for_the_way_back() {
        assert_eq!(wait(&namespace(), 0, read("10m")), Duration::from_millis(8));
    }

    #[test]
    fn a_deadline_that_cannot_be_read_counts_as_none() {
        for text in ["", "S", "12", "123456789S", "-1S", "1x"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
