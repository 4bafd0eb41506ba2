//! Values as JSON, in the forms that `INSERT JSON` and `SELECT JSON` use.
//!
//! | type | JSON |
//! |---|---|
//! | text, ascii | a string |
//! | tinyint … bigint | a number, or a string of digits |
//! | varint, decimal | a number if it survives as one, else a string |
//! | float, double | a number, or `"NaN"`, `"Infinity"`, `"-Infinity"` |
//! | boolean | `true`, `false` |
//! | blob | `"0x…"` |
//! | uuid, timeuuid, inet | a string |
//! | date, time | `"2026-01-31"`, `"23:59:59.5"` |
//! | timestamp | `"2026-01-31T12:00:00.000Z"`, or a number of milliseconds |

use std::net::IpAddr;

use num_bigint::BigInt;
use serde_json::{Number, Value as Json};
use uuid::Uuid;

use super::text::{from_hex, to_hex};
use super::{ColumnType, Decimal, MAX_NUMBER_DIGITS, Value, calendar};

/// JSON that is not a value of a type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}: {how}; got {got}")]
pub struct JsonValueError {
    /// The type.
    pub expected: ColumnType,
    /// How such a value is written.
    pub how: &'static str,
    /// What was there, shortened.
    pub got: String,
}

/// The largest whole number that every JSON reader keeps exactly.
const MAX_EXACT: i64 = 1 << 53;
/// Significant digits of a decimal that survive being a JSON number.
const MAX_EXACT_DIGITS: usize = 15;
/// Characters of an unexpected value that an error shows.
const MAX_SHOWN: usize = 60;

impl Value {
    /// The value as JSON.
    pub fn to_json(&self) -> Json {
        match self {
            Self::Ascii(text) | Self::Text(text) => Json::from(text.as_str()),
            Self::Blob(bytes) => Json::from(to_hex(bytes)),
            Self::Boolean(value) => Json::from(*value),
            Self::TinyInt(value) => Json::from(*value),
            Self::SmallInt(value) => Json::from(*value),
            Self::Int(value) => Json::from(*value),
            Self::BigInt(value) => Json::from(*value),
            Self::Varint(value) => match i64::try_from(value) {
                Ok(small) if (-MAX_EXACT..=MAX_EXACT).contains(&small) => Json::from(small),
                _ => Json::from(value.to_string()),
            },
            Self::Decimal(value) => decimal_to_json(value),
            // Through its digits: 0.1 of 32 bits is "0.1", not the double next to it.
            Self::Float(value) => {
                float_to_json(value.to_string().parse().unwrap_or(f64::NAN), self)
            }
            Self::Double(value) => float_to_json(*value, self),
            Self::Uuid(uuid) | Self::TimeUuid(uuid) => Json::from(uuid.to_string()),
            Self::Inet(address) => Json::from(address.to_string()),
            Self::Date(days) => Json::from(calendar::date_to_text(*days)),
            Self::Time(nanos) => Json::from(calendar::time_to_text(*nanos)),
            Self::Timestamp(millis) => match calendar::timestamp_to_text(*millis) {
                Some(text) => Json::from(text),
                None => Json::from(*millis),
            },
        }
    }

    /// Reads a value of type `ty`. Null is not a value: the caller decides what it means.
    pub fn from_json(ty: ColumnType, json: &Json) -> Result<Self, JsonValueError> {
        let read = match json {
            Json::String(text) => from_text(ty, text),
            Json::Number(number) => from_number(ty, number),
            Json::Bool(value) if ty == ColumnType::Boolean => Ok(Self::Boolean(*value)),
            Json::Bool(_) | Json::Null | Json::Array(_) | Json::Object(_) => Err(how(ty)),
        };
        read.map_err(|how| JsonValueError { expected: ty, how, got: shorten(json) })
    }
}

/// How a value of a type is written.
const fn how(ty: ColumnType) -> &'static str {
    match ty {
        ColumnType::Ascii => "write a string of characters up to 127",
        ColumnType::Text => "write a string",
        ColumnType::Blob => "write a string of 0x and two hexadecimal digits for each byte",
        ColumnType::Boolean => "write true or false",
        ColumnType::TinyInt => "write a whole number from -128 to 127",
        ColumnType::SmallInt => "write a whole number from -32768 to 32767",
        ColumnType::Int => "write a whole number from -2147483648 to 2147483647",
        ColumnType::BigInt => {
            "write a whole number from -9223372036854775808 to 9223372036854775807"
        }
        ColumnType::Varint => "write a whole number, as a string if it has more than 18 digits",
        ColumnType::Decimal => "write a number, as a string if it has more than 15 digits",
        ColumnType::Float => "write a number within the range of 32 bits, \"NaN\" or \"Infinity\"",
        ColumnType::Double => "write a number, \"NaN\" or \"Infinity\"",
        ColumnType::Timestamp => {
            "write \"2026-01-31T12:00:00.000Z\", \"2026-01-31 12:00:00\" (UTC) or milliseconds"
        }
        ColumnType::Uuid => "write a string like \"5132b130-ae79-11e4-ab27-0800200c9a66\"",
        ColumnType::TimeUuid => {
            "write a UUID of version 1, like \"5132b130-ae79-11e4-ab27-0800200c9a66\""
        }
        ColumnType::Inet => "write a string like \"192.0.2.1\" or \"2001:db8::1\"",
        ColumnType::Date => "write a string like \"2026-01-31\"",
        ColumnType::Time => "write a string like \"23:59:59.123456789\"",
    }
}

fn from_text(ty: ColumnType, text: &str) -> Result<Value, &'static str> {
    let parsed = match ty {
        ColumnType::Text => Some(Value::Text(text.to_owned())),
        ColumnType::Ascii => text.is_ascii().then(|| Value::Ascii(text.to_owned())),
        ColumnType::Blob => from_hex(text).map(|bytes| Value::Blob(bytes.into())),
        ColumnType::Boolean => text.parse().ok().map(Value::Boolean),
        ColumnType::TinyInt => text.parse().ok().map(Value::TinyInt),
        ColumnType::SmallInt => text.parse().ok().map(Value::SmallInt),
        ColumnType::Int => text.parse().ok().map(Value::Int),
        ColumnType::BigInt => text.parse().ok().map(Value::BigInt),
        ColumnType::Varint => varint_from_text(text),
        ColumnType::Decimal => text.parse().ok().map(Value::Decimal),
        ColumnType::Float => float_from_text(text).map(|number| Value::Float(number as f32)),
        ColumnType::Double => float_from_text(text).map(Value::Double),
        ColumnType::Timestamp => {
            return calendar::timestamp_from_text(text).map(Value::Timestamp);
        }
        ColumnType::Uuid => uuid_from_text(text).map(Value::Uuid),
        ColumnType::TimeUuid => {
            uuid_from_text(text).filter(|uuid| uuid.get_version_num() == 1).map(Value::TimeUuid)
        }
        ColumnType::Inet => text.parse::<IpAddr>().ok().map(Value::Inet),
        ColumnType::Date => calendar::date_from_text(text).map(Value::Date),
        ColumnType::Time => calendar::time_from_text(text).map(Value::Time),
    };
    parsed.filter(|value| !overflowed(value, text)).ok_or(how(ty))
}

/// Whether digits became an infinity.
fn overflowed(value: &Value, text: &str) -> bool {
    match value {
        Value::Float(number) => number.is_infinite() && !text.ends_with("Infinity"),
        Value::Double(number) => number.is_infinite() && !text.ends_with("Infinity"),
        _ => false,
    }
}

fn from_number(ty: ColumnType, number: &Number) -> Result<Value, &'static str> {
    let whole = number.as_i64();
    let parsed = match ty {
        ColumnType::TinyInt => whole.and_then(|n| n.try_into().ok()).map(Value::TinyInt),
        ColumnType::SmallInt => whole.and_then(|n| n.try_into().ok()).map(Value::SmallInt),
        ColumnType::Int => whole.and_then(|n| n.try_into().ok()).map(Value::Int),
        ColumnType::BigInt => whole.map(Value::BigInt),
        ColumnType::Timestamp => whole.map(Value::Timestamp),
        ColumnType::Varint => match (whole, number.as_u64()) {
            (Some(whole), _) => Some(Value::Varint(BigInt::from(whole))),
            (None, Some(whole)) => Some(Value::Varint(BigInt::from(whole))),
            (None, None) => None,
        },
        ColumnType::Decimal => decimal_from_number(number),
        ColumnType::Double => number.as_f64().map(Value::Double),
        ColumnType::Float => {
            number.as_f64().map(|n| n as f32).filter(|n| n.is_finite()).map(Value::Float)
        }
        ColumnType::Ascii
        | ColumnType::Blob
        | ColumnType::Boolean
        | ColumnType::Uuid
        | ColumnType::Text
        | ColumnType::TimeUuid
        | ColumnType::Inet
        | ColumnType::Date
        | ColumnType::Time => None,
    };
    parsed.ok_or(how(ty))
}

fn varint_from_text(text: &str) -> Option<Value> {
    // `BigInt` also reads underscores.
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let plain = (1..=MAX_NUMBER_DIGITS).contains(&digits.len())
        && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok().map(Value::Varint))?
}

fn float_from_text(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ if text.bytes().all(|byte| b"+-.0123456789eE".contains(&byte)) => text.parse().ok(),
        _ => None,
    }
}

/// Only the usual form with hyphens: 32 bare digits are more likely a mistake.
fn uuid_from_text(text: &str) -> Option<Uuid> {
    (text.len() == 36).then(|| Uuid::try_parse(text).ok())?
}

/// A decimal from a JSON number, unless the number may have lost digits when it was read.
fn decimal_from_number(number: &Number) -> Option<Value> {
    let decimal: Decimal = number.to_string().parse().ok()?;
    let exact = number.is_i64() || number.is_u64() || digits(&decimal) <= MAX_EXACT_DIGITS;
    // "100.0" is read as a number and printed as one: keep the scale that a reader would expect.
    exact.then_some(Value::Decimal(decimal))
}

fn digits(decimal: &Decimal) -> usize {
    decimal.unscaled().magnitude().to_str_radix(10).trim_end_matches('0').len()
}

/// A number only if exactly this decimal would be read from it.
fn decimal_to_json(decimal: &Decimal) -> Json {
    let text = decimal.to_string();
    let number = match i64::try_from(decimal.unscaled()) {
        Ok(small) if decimal.scale() == 0 && (-MAX_EXACT..=MAX_EXACT).contains(&small) => {
            Some(Number::from(small))
        }
        _ => text.parse().ok().and_then(Number::from_f64),
    };
    match number {
        Some(number) if decimal_from_number(&number) == Some(Value::Decimal(decimal.clone())) => {
            Json::Number(number)
        }
        _ => Json::from(text),
    }
}

fn float_to_json(number: f64, value: &Value) -> Json {
    Number::from_f64(number).map_or_else(|| Json::from(value.to_string()), Json::Number)
}

fn shorten(json: &Json) -> String {
    let text = json.to_string();
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
