//! How CQL orders values of each type, on their binary form.

use std::cmp::Ordering;

use super::binary::{fixed, repeats_sign};
use super::{ColumnType, Decimal};

/// Compares two values of one type as Cassandra does.
///
/// A total order over all bytes: what is not a value of the type (the empty value that Cassandra
/// allows in most columns, for one) comes before every value, and by its bytes among its like.
pub fn compare(ty: ColumnType, a: &[u8], b: &[u8]) -> Ordering {
    match ty {
        ColumnType::Text | ColumnType::Ascii | ColumnType::Blob => a.cmp(b),
        // Unsigned bytes; a `date` has an offset and a `time` no sign.
        ColumnType::Inet | ColumnType::Date | ColumnType::Time => a.cmp(b),
        ColumnType::Boolean => by(a, b, |bytes| fixed::<1>(bytes).map(|[byte]| byte != 0)),
        ColumnType::TinyInt => by(a, b, |bytes| fixed(bytes).map(i8::from_be_bytes)),
        ColumnType::SmallInt => by(a, b, |bytes| fixed(bytes).map(i16::from_be_bytes)),
        ColumnType::Int => by(a, b, |bytes| fixed(bytes).map(i32::from_be_bytes)),
        ColumnType::BigInt | ColumnType::Timestamp => {
            by(a, b, |bytes| fixed(bytes).map(i64::from_be_bytes))
        }
        ColumnType::Float => {
            by(a, b, |bytes| fixed(bytes).map(f32::from_be_bytes).map(float_order))
        }
        ColumnType::Double => {
            by(a, b, |bytes| fixed(bytes).map(f64::from_be_bytes).map(double_order))
        }
        ColumnType::Uuid => by(a, b, |bytes| fixed(bytes).map(uuid_order)),
        ColumnType::TimeUuid => by(a, b, |bytes| fixed(bytes).map(timeuuid_order)),
        ColumnType::Varint => compare_varints(a, b),
        ColumnType::Decimal => compare_decimals(a, b),
    }
}

/// Compares by a key; bytes without one come first.
fn by<K: Ord>(a: &[u8], b: &[u8], key: impl Fn(&[u8]) -> Option<K>) -> Ordering {
    match (key(a), key(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        (None, None) => a.cmp(b),
        (a, b) => a.is_some().cmp(&b.is_some()),
    }
}

/// A number whose order is that of Java's `Float.compare`: −0 before 0, every NaN equal and last.
fn float_order(value: f32) -> i32 {
    let bits = if value.is_nan() { f32::NAN.to_bits() & 0x7fff_ffff } else { value.to_bits() };
    let bits = bits as i32;
    bits ^ (((bits >> 31) as u32) >> 1) as i32
}

/// A number whose order is that of Java's `Double.compare`.
fn double_order(value: f64) -> i64 {
    let bits = if value.is_nan() { f64::NAN.to_bits() & (u64::MAX >> 1) } else { value.to_bits() };
    let bits = bits as i64;
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

/// The version first, then the time of version 1 or else the upper half, then the lower half.
fn uuid_order(bytes: [u8; 16]) -> (u8, u64, u64) {
    let (upper, lower) = halves(bytes);
    let version = (upper >> 12) as u8 & 0xf;
    (version, if version == 1 { time_first(upper) } else { upper }, lower)
}

/// The time, then the lower half byte by byte, *signed*, as Cassandra has it for compatibility.
fn timeuuid_order(bytes: [u8; 16]) -> (i64, u64) {
    let (upper, lower) = halves(bytes);
    (time_first(upper) as i64, lower ^ 0x8080_8080_8080_8080)
}

fn halves(bytes: [u8; 16]) -> (u64, u64) {
    let whole = u128::from_be_bytes(bytes);
    ((whole >> 64) as u64, whole as u64)
}

/// The upper half with the time's high bits (and the version) first.
fn time_first(upper: u64) -> u64 {
    (upper << 48) | ((upper << 16) & 0xffff_0000_0000) | (upper >> 32)
}

/// Compares whole numbers in two's complement without allocating.
fn compare_varints(a: &[u8], b: &[u8]) -> Ordering {
    if a.is_empty() || b.is_empty() {
        return a.len().cmp(&b.len());
    }
    let (a, b) = (shortest(a), shortest(b));
    let (a_negative, b_negative) = (a[0] >= 0x80, b[0] >= 0x80);
    match (a_negative, b_negative) {
        (false, true) => Ordering::Greater,
        (true, false) => Ordering::Less,
        (false, false) => a.len().cmp(&b.len()).then_with(|| a.cmp(b)),
        (true, true) => b.len().cmp(&a.len()).then_with(|| a.cmp(b)),
    }
}

/// The number without bytes that only repeat its sign.
fn shortest(mut bytes: &[u8]) -> &[u8] {
    while let [first, second, ..] = bytes {
        if !repeats_sign(*first, *second) {
            break;
        }
        bytes = &bytes[1..];
    }
    bytes
}

fn compare_decimals(a: &[u8], b: &[u8]) -> Ordering {
    match (Decimal::decode(a), Decimal::decode(b)) {
        (Some(a), Some(b)) => a.compare(&b),
        (None, None) => a.cmp(b),
        (a, b) => a.is_some().cmp(&b.is_some()),
    }
}
