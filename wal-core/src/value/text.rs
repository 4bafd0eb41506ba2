//! Values as CQL literals.

use std::fmt;

use super::{Value, calendar};

/// As a CQL literal: what a statement would say.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ascii(text) | Self::Text(text) => write!(f, "'{}'", text.replace('\'', "''")),
            Self::Blob(bytes) => f.write_str(&to_hex(bytes)),
            Self::Boolean(value) => value.fmt(f),
            Self::TinyInt(value) => value.fmt(f),
            Self::SmallInt(value) => value.fmt(f),
            Self::Int(value) => value.fmt(f),
            Self::BigInt(value) => value.fmt(f),
            Self::Varint(value) => value.fmt(f),
            Self::Decimal(value) => value.fmt(f),
            Self::Float(value) => f.write_str(&float_to_text(*value, value.is_nan(), *value > 0.0)),
            Self::Double(value) => {
                f.write_str(&float_to_text(*value, value.is_nan(), *value > 0.0))
            }
            Self::Uuid(uuid) | Self::TimeUuid(uuid) => uuid.fmt(f),
            Self::Inet(address) => write!(f, "'{address}'"),
            Self::Date(days) => write!(f, "'{}'", calendar::date_to_text(*days)),
            Self::Time(nanos) => write!(f, "'{}'", calendar::time_to_text(*nanos)),
            Self::Timestamp(millis) => match calendar::timestamp_to_text(*millis) {
                Some(text) => write!(f, "'{text}'"),
                None => millis.fmt(f),
            },
        }
    }
}

/// The shortest digits that read back as the same number, with Java's words for what is none.
fn float_to_text(value: impl fmt::Debug, is_nan: bool, is_positive: bool) -> String {
    let text = format!("{value:?}");
    match text.ends_with("inf") || is_nan {
        false => text,
        true if is_nan => "NaN".to_owned(),
        true if is_positive => "Infinity".to_owned(),
        true => "-Infinity".to_owned(),
    }
}

/// Bytes as `0x` and two digits each.
pub(super) fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits =
        bytes.iter().flat_map(|byte| [DIGITS[(byte >> 4) as usize], DIGITS[(byte & 15) as usize]]);
    "0x".chars().chain(digits.map(char::from)).collect()
}

/// Reads [`to_hex`]'s form, in either case.
pub(super) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"))?.as_bytes();
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    if digits.len() % 2 != 0 {
        return None;
    }
    digits.chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}
