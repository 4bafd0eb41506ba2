//! Ways to spoil bytes, and the bounds that reading them must keep.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::sample::Index;

/// No input of these tests may keep its reader busy for so long, on however slow a machine.
const LONGEST: Duration = Duration::from_secs(10);
/// All of these tests together, in one process, stay below.
const MOST_MEMORY_KB: u64 = 1 << 20;

/// `HANDFAST_FUZZ_CASES` inputs, or so many.
pub(crate) fn config(cases: u32) -> ProptestConfig {
    let told = std::env::var("HANDFAST_FUZZ_CASES").ok();
    let told = told.map(|it| it.parse().expect("HANDFAST_FUZZ_CASES is a number"));
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(told.unwrap_or(cases))
    }
}

/// Reads something, and holds the reader to its bounds.
pub(crate) fn in_bounds<T>(read: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let result = read();
    let took = begun.elapsed();
    assert!(took < LONGEST, "it took {took:?}");
    if let Some(peak) = peak_memory_kb() {
        assert!(peak < MOST_MEMORY_KB, "{peak} KiB were in use at once");
    }
    result
}

/// The most memory that this process ever had, where the system tells.
fn peak_memory_kb() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// One way to spoil bytes.
#[derive(Clone, Debug)]
pub(crate) enum Mangle {
    Flip(Index, u8),
    Set(Index, u8),
    /// Numbers at the ends of their ranges, little-endian.
    Number(Index, u64, usize),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Repeat(Index, usize, usize),
    Cut(Index),
}

/// A few of them.
pub(crate) fn mangles() -> impl Strategy<Value = Vec<Mangle>> {
    let at = any::<Index>;
    let number = prop_oneof![
        Just(u64::MAX),
        Just(0),
        Just(1 << 63),
        Just(i64::MAX as u64),
        Just(1 << 31),
        any::<u64>()
    ];
    let one = prop_oneof![
        (at(), 0..8_u8).prop_map(|(at, bit)| Mangle::Flip(at, bit)),
        (at(), any::<u8>()).prop_map(|(at, byte)| Mangle::Set(at, byte)),
        (at(), number, prop::sample::select(vec![2, 4, 8_usize]))
            .prop_map(|(at, number, bytes)| Mangle::Number(at, number, bytes)),
        (at(), prop::collection::vec(any::<u8>(), 1..12))
            .prop_map(|(at, bytes)| Mangle::Insert(at, bytes)),
        (at(), 1..20_usize).prop_map(|(at, count)| Mangle::Remove(at, count)),
        (at(), 1..20_usize, 1..40_usize)
            .prop_map(|(at, count, times)| Mangle::Repeat(at, count, times)),
        at().prop_map(Mangle::Cut),
    ];
    prop::collection::vec(one, 1..6)
}

/// Bytes, spoilt.
pub(crate) fn mangled(mut bytes: Vec<u8>, mangles: &[Mangle]) -> Vec<u8> {
    for mangle in mangles {
        if bytes.is_empty() {
            break;
        }
        let length = bytes.len();
        match mangle {
            Mangle::Flip(at, bit) => bytes[at.index(length)] ^= 1 << bit,
            Mangle::Set(at, byte) => bytes[at.index(length)] = *byte,
            Mangle::Number(at, number, width) => {
                let at = at.index(length);
                let end = (at + width).min(length);
                bytes[at..end].copy_from_slice(&number.to_le_bytes()[..end - at]);
            }
            Mangle::Insert(at, more) => {
                let at = at.index(length);
                bytes.splice(at..at, more.iter().copied());
            }
            Mangle::Remove(at, count) => {
                let at = at.index(length);
                bytes.drain(at..(at + count).min(length));
            }
            Mangle::Repeat(at, count, times) => {
                let at = at.index(length);
                let end = (at + count).min(length);
                let again = bytes[at..end].repeat(*times);
                bytes.splice(end..end, again);
            }
            Mangle::Cut(at) => bytes.truncate(at.index(length)),
        }
    }
    bytes
}

/// Text, spoilt. What is no text any more is shown with signs in its place.
pub(crate) fn mangled_text(text: &str, mangles: &[Mangle]) -> String {
    String::from_utf8_lossy(&mangled(text.as_bytes().to_vec(), mangles)).into_owned()
}
