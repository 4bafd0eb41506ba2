//! The binary form of values: Cassandra's native protocol.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bytes::Bytes;
use num_bigint::BigInt;
use uuid::Uuid;

use super::decimal::fits;
use super::{ColumnType, Decimal, MAX_NUMBER_BYTES, Value};

/// Nanoseconds of a day: one more than the largest `time`.
pub(super) const NANOS_PER_DAY: i64 = 86_400 * 1_000_000_000;

/// Why the bytes of a checked value cannot be too few or too many.
const CHECKED: &str = "the length was checked";

const NUMBER_TOO_LONG: &str = ": a number has at most 64 KiB of digits";
const _: () = assert!(MAX_NUMBER_BYTES == 64 << 10);

/// Bytes that are not a value of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("these bytes are no {ty}: {why}")]
pub struct NotOfType {
    /// The type.
    pub ty: ColumnType,
    /// What is wrong with them.
    pub why: &'static str,
}

/// A value that a column cannot take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, got {got}{hint}")]
pub struct WrongType {
    /// The column's type.
    pub expected: ColumnType,
    /// The value's type.
    pub got: ColumnType,
    /// What to do, empty or beginning with a colon.
    pub hint: &'static str,
}

impl Value {
    /// The value in CQL's binary form.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        self.encode_into(&mut out);
        out.into()
    }

    /// Appends the value's binary form.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        match self {
            Self::Ascii(text) | Self::Text(text) => out.extend_from_slice(text.as_bytes()),
            Self::Blob(bytes) => out.extend_from_slice(bytes),
            Self::Boolean(value) => out.push(u8::from(*value)),
            Self::TinyInt(value) => out.extend_from_slice(&value.to_be_bytes()),
            Self::SmallInt(value) => out.extend_from_slice(&value.to_be_bytes()),
            Self::Int(value) => out.extend_from_slice(&value.to_be_bytes()),
            Self::BigInt(value) | Self::Timestamp(value) | Self::Time(value) => {
                out.extend_from_slice(&value.to_be_bytes());
            }
            Self::Float(value) => out.extend_from_slice(&value.to_be_bytes()),
            Self::Double(value) => out.extend_from_slice(&value.to_be_bytes()),
            Self::Date(days) => out.extend_from_slice(&date_to_wire(*days)),
            Self::Uuid(uuid) | Self::TimeUuid(uuid) => out.extend_from_slice(uuid.as_bytes()),
            Self::Inet(IpAddr::V4(address)) => out.extend_from_slice(&address.octets()),
            Self::Inet(IpAddr::V6(address)) => out.extend_from_slice(&address.octets()),
            Self::Varint(number) => out.extend_from_slice(&number.to_signed_bytes_be()),
            Self::Decimal(decimal) => decimal.encode_into(out),
        }
    }

    /// Appends the value's binary form as a column of type `ty` holds it.
    ///
    /// The types need not be the same where nothing can be lost: a whole number goes into any column
    /// of whole numbers that has room for it, and into `decimal`; a `float` into `double`; `text` and
    /// `ascii`, `uuid` and `timeuuid` into each other if the value allows it. Nothing is appended on
    /// error.
    pub fn encode_as(&self, ty: ColumnType, out: &mut Vec<u8>) -> Result<(), WrongType> {
        let refuse = |hint| Err(WrongType { expected: ty, got: self.column_type(), hint });
        match (self, ty) {
            (Self::Varint(digits), _) if !fits(digits, MAX_NUMBER_BYTES) => {
                return refuse(NUMBER_TOO_LONG);
            }
            (Self::Decimal(decimal), _) if !fits(decimal.unscaled(), MAX_NUMBER_BYTES) => {
                return refuse(NUMBER_TOO_LONG);
            }
            (Self::Text(text) | Self::Ascii(text), ColumnType::Ascii) if !text.is_ascii() => {
                return refuse(": ascii takes characters up to 127 only");
            }
            (Self::Ascii(text), ColumnType::Text) | (Self::Text(text), ColumnType::Ascii) => {
                out.extend_from_slice(text.as_bytes());
            }
            (Self::Uuid(uuid) | Self::TimeUuid(uuid), ColumnType::TimeUuid)
                if uuid.get_version_num() != 1 =>
            {
                return refuse(": timeuuid takes UUIDs of version 1 only");
            }
            (Self::Uuid(uuid), ColumnType::TimeUuid) | (Self::TimeUuid(uuid), ColumnType::Uuid) => {
                out.extend_from_slice(uuid.as_bytes());
            }
            (Self::Time(nanos), ColumnType::Time) if !(0..NANOS_PER_DAY).contains(nanos) => {
                return refuse(": a time of the day is under 24 hours");
            }
            (Self::Float(value), ColumnType::Double) => {
                out.extend_from_slice(&f64::from(*value).to_be_bytes());
            }
            (value, ty) if value.column_type() == ty => value.encode_into(out),
            (value, ty) => match value.whole_number() {
                Some(number) => return encode_whole(&number, value, ty, out),
                None => return refuse(""),
            },
        }
        Ok(())
    }

    /// The value as a whole number, if its type is one.
    fn whole_number(&self) -> Option<BigInt> {
        match self {
            Self::TinyInt(value) => Some(BigInt::from(*value)),
            Self::SmallInt(value) => Some(BigInt::from(*value)),
            Self::Int(value) => Some(BigInt::from(*value)),
            Self::BigInt(value) => Some(BigInt::from(*value)),
            Self::Varint(value) => Some(value.clone()),
            Self::Ascii(_)
            | Self::Blob(_)
            | Self::Boolean(_)
            | Self::Decimal(_)
            | Self::Double(_)
            | Self::Float(_)
            | Self::Timestamp(_)
            | Self::Uuid(_)
            | Self::Text(_)
            | Self::TimeUuid(_)
            | Self::Inet(_)
            | Self::Date(_)
            | Self::Time(_) => None,
        }
    }

    /// Reads a value back. Accepts what [`Value::validate`] accepts, and numbers that are longer than
    /// they need be: another writer of a shared table may have written them.
    pub fn decode(ty: ColumnType, bytes: &[u8]) -> Result<Self, NotOfType> {
        check(ty, bytes, Strictness::Readable)?;
        Ok(match ty {
            ColumnType::Ascii => Self::Ascii(utf8(bytes)),
            ColumnType::Text => Self::Text(utf8(bytes)),
            ColumnType::Blob => Self::Blob(Bytes::copy_from_slice(bytes)),
            ColumnType::Boolean => Self::Boolean(bytes[0] != 0),
            ColumnType::TinyInt => Self::TinyInt(i8::from_be_bytes(fixed(bytes).expect(CHECKED))),
            ColumnType::SmallInt => {
                Self::SmallInt(i16::from_be_bytes(fixed(bytes).expect(CHECKED)))
            }
            ColumnType::Int => Self::Int(i32::from_be_bytes(fixed(bytes).expect(CHECKED))),
            ColumnType::BigInt => Self::BigInt(i64::from_be_bytes(fixed(bytes).expect(CHECKED))),
            ColumnType::Timestamp => {
                Self::Timestamp(i64::from_be_bytes(fixed(bytes).expect(CHECKED)))
            }
            ColumnType::Time => Self::Time(i64::from_be_bytes(fixed(bytes).expect(CHECKED))),
            ColumnType::Float => Self::Float(f32::from_be_bytes(fixed(bytes).expect(CHECKED))),
            ColumnType::Double => Self::Double(f64::from_be_bytes(fixed(bytes).expect(CHECKED))),
            ColumnType::Date => Self::Date(date_from_wire(fixed(bytes).expect(CHECKED))),
            ColumnType::Uuid => Self::Uuid(Uuid::from_bytes(fixed(bytes).expect(CHECKED))),
            ColumnType::TimeUuid => Self::TimeUuid(Uuid::from_bytes(fixed(bytes).expect(CHECKED))),
            ColumnType::Inet => Self::Inet(match fixed::<4>(bytes) {
                Some(octets) => IpAddr::V4(Ipv4Addr::from(octets)),
                None => IpAddr::V6(Ipv6Addr::from(fixed::<16>(bytes).expect(CHECKED))),
            }),
            ColumnType::Varint => Self::Varint(BigInt::from_signed_bytes_be(bytes)),
            ColumnType::Decimal => Self::Decimal(Decimal::decode(bytes).expect(CHECKED)),
        })
    }

    /// Whether `bytes` are a value of type `ty` in the one form that Handfast writes. Never allocates.
    pub fn validate(ty: ColumnType, bytes: &[u8]) -> Result<(), NotOfType> {
        check(ty, bytes, Strictness::Canonical)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Strictness {
    /// Anything that has one meaning.
    Readable,
    /// Also the shortest form of numbers: equal values of a key must be equal bytes.
    Canonical,
}

fn check(ty: ColumnType, bytes: &[u8], strictness: Strictness) -> Result<(), NotOfType> {
    let wrong = |why| Err(NotOfType { ty, why });
    let length = |expected: usize, why| if bytes.len() == expected { Ok(()) } else { wrong(why) };
    match ty {
        ColumnType::Blob => Ok(()),
        ColumnType::Text if std::str::from_utf8(bytes).is_err() => wrong("not UTF-8"),
        ColumnType::Ascii if !bytes.is_ascii() => wrong("a byte is above 127"),
        ColumnType::Text | ColumnType::Ascii => Ok(()),
        ColumnType::Boolean | ColumnType::TinyInt => length(1, "it has one byte"),
        ColumnType::SmallInt => length(2, "it has two bytes"),
        ColumnType::Int | ColumnType::Float | ColumnType::Date => length(4, "it has four bytes"),
        ColumnType::BigInt | ColumnType::Double | ColumnType::Timestamp => {
            length(8, "it has eight bytes")
        }
        ColumnType::Time => match fixed(bytes).map(i64::from_be_bytes) {
            Some(nanos) if (0..NANOS_PER_DAY).contains(&nanos) => Ok(()),
            Some(_) => wrong("a time of the day is under 24 hours"),
            None => wrong("it has eight bytes"),
        },
        ColumnType::Uuid => length(16, "it has sixteen bytes"),
        ColumnType::TimeUuid if bytes.len() == 16 && bytes[6] >> 4 != 1 => {
            wrong("it has version 1")
        }
        ColumnType::TimeUuid => length(16, "it has sixteen bytes"),
        ColumnType::Inet if bytes.len() == 4 => Ok(()),
        ColumnType::Inet => length(16, "it has four or sixteen bytes"),
        ColumnType::Varint => check_varint(bytes, strictness).or_else(wrong),
        ColumnType::Decimal if bytes.len() < 5 => wrong("it has five bytes or more"),
        ColumnType::Decimal => check_varint(&bytes[4..], strictness).or_else(wrong),
    }
}

fn check_varint(bytes: &[u8], strictness: Strictness) -> Result<(), &'static str> {
    match bytes {
        [] => Err("it has one byte or more"),
        _ if strictness == Strictness::Canonical && bytes.len() > MAX_NUMBER_BYTES => {
            Err("a number has at most 64 KiB of digits")
        }
        [first, second, ..]
            if strictness == Strictness::Canonical && repeats_sign(*first, *second) =>
        {
            Err("the number is not in its shortest form")
        }
        _ => Ok(()),
    }
}

/// Whether the first byte of a two's complement number says only what the second says anyway.
pub(super) fn repeats_sign(first: u8, second: u8) -> bool {
    (first == 0 && second < 0x80) || (first == 0xff && second >= 0x80)
}

/// `bytes` as an array, if they are as many.
pub(super) fn fixed<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.try_into().ok()
}

fn utf8(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("its encoding was checked")
}

/// Cassandra counts days from −2^31 on.
fn date_to_wire(days: i32) -> [u8; 4] {
    ((days as u32) ^ 0x8000_0000).to_be_bytes()
}

fn date_from_wire(bytes: [u8; 4]) -> i32 {
    (u32::from_be_bytes(bytes) ^ 0x8000_0000) as i32
}

/// Writes a whole number into a column of another type that can hold it.
fn encode_whole(
    number: &BigInt,
    value: &Value,
    ty: ColumnType,
    out: &mut Vec<u8>,
) -> Result<(), WrongType> {
    let refuse = |hint| WrongType { expected: ty, got: value.column_type(), hint };
    let too_big = || refuse(": the number is out of range");
    match ty {
        ColumnType::TinyInt => {
            out.extend_from_slice(&i8::try_from(number).map_err(|_| too_big())?.to_be_bytes());
        }
        ColumnType::SmallInt => {
            out.extend_from_slice(&i16::try_from(number).map_err(|_| too_big())?.to_be_bytes());
        }
        ColumnType::Int => {
            out.extend_from_slice(&i32::try_from(number).map_err(|_| too_big())?.to_be_bytes());
        }
        ColumnType::BigInt => {
            out.extend_from_slice(&i64::try_from(number).map_err(|_| too_big())?.to_be_bytes());
        }
        ColumnType::Varint => out.extend_from_slice(&number.to_signed_bytes_be()),
        ColumnType::Decimal => Decimal::new(number.clone(), 0).encode_into(out),
        ColumnType::Float | ColumnType::Double => {
            return Err(refuse(": a floating-point number may not hold it exactly, send one"));
        }
        ColumnType::Ascii
        | ColumnType::Blob
        | ColumnType::Boolean
        | ColumnType::Timestamp
        | ColumnType::Uuid
        | ColumnType::Text
        | ColumnType::TimeUuid
        | ColumnType::Inet
        | ColumnType::Date
        | ColumnType::Time => return Err(refuse("")),
    }
    Ok(())
}
