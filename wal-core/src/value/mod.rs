//! Values: the scalar types of CQL, their binary form, and how people write them.
//!
//! A value's binary form is exactly that of Cassandra's native protocol, so the token of a key, the
//! cell in the log and the cell sent to Cassandra are the same bytes. Engines work on those bytes
//! through [`compare`] and [`add`]; [`Value`] is for the edges: requests, JSON, printing.
//!
//! ```
//! use wal_core::value::{ColumnType, Value};
//!
//! let value = Value::from_json(ColumnType::Int, &serde_json::json!(258))?;
//! assert_eq!(value.encode().as_ref(), &[0, 0, 1, 2]);
//! assert_eq!(Value::decode(ColumnType::Int, &[0, 0, 1, 2])?, value);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod add;
mod binary;
mod calendar;
mod compare;
mod decimal;
mod json;
mod text;

use std::fmt;
use std::net::IpAddr;

use bytes::Bytes;
use num_bigint::BigInt;
use uuid::Uuid;

pub use add::{AddError, add};
pub use binary::{NotOfType, WrongType};
pub use compare::compare;
pub use decimal::{Decimal, NotADecimal};
pub use json::JsonValueError;

/// Bytes of the digits of a `varint` or `decimal`. Reading and printing them takes time that grows with
/// the square of their number.
pub const MAX_NUMBER_BYTES: usize = 64 << 10;
/// Decimal digits that always fit into [`MAX_NUMBER_BYTES`].
const MAX_NUMBER_DIGITS: usize = 157_000;
const _: () = assert!(MAX_NUMBER_DIGITS * 3_322 / 1_000 < MAX_NUMBER_BYTES * 8);

macro_rules! column_types {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $cql:literal;)*) => {
        /// The type of a column. The numbers are pinned; they are those of Cassandra's native protocol.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum ColumnType {
            $($(#[$doc])* $name = $number,)*
        }

        impl ColumnType {
            /// Every type, by its number.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The type's name in CQL.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $cql,)*
                }
            }

            /// The type with this pinned number.
            pub const fn from_number(number: u8) -> Option<Self> {
                match number {
                    $($number => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

column_types! {
    /// Text of the characters 0 to 127.
    Ascii = 0x01, "ascii";
    /// A whole number of 64 bits.
    BigInt = 0x02, "bigint";
    /// Bytes.
    Blob = 0x03, "blob";
    /// True or false.
    Boolean = 0x04, "boolean";
    /// A decimal number of any precision.
    Decimal = 0x06, "decimal";
    /// A floating-point number of 64 bits.
    Double = 0x07, "double";
    /// A floating-point number of 32 bits.
    Float = 0x08, "float";
    /// A whole number of 32 bits.
    Int = 0x09, "int";
    /// An instant, in milliseconds.
    Timestamp = 0x0b, "timestamp";
    /// A UUID of any version.
    Uuid = 0x0c, "uuid";
    /// UTF-8 text.
    Text = 0x0d, "text";
    /// A whole number of any size.
    Varint = 0x0e, "varint";
    /// A UUID of version 1.
    TimeUuid = 0x0f, "timeuuid";
    /// An IPv4 or IPv6 address.
    Inet = 0x10, "inet";
    /// A day.
    Date = 0x11, "date";
    /// A time of the day, in nanoseconds.
    Time = 0x12, "time";
    /// A whole number of 16 bits.
    SmallInt = 0x13, "smallint";
    /// A whole number of 8 bits.
    TinyInt = 0x14, "tinyint";
}

impl ColumnType {
    /// The pinned number.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The type with this CQL name (lower case; `varchar` is another name of `text`).
    pub fn from_name(name: &str) -> Option<Self> {
        if name == "varchar" {
            return Some(Self::Text);
        }
        Self::ALL.iter().copied().find(|ty| ty.name() == name)
    }

    /// Whether `add` works on columns of this type.
    pub const fn is_number(self) -> bool {
        match self {
            Self::TinyInt
            | Self::SmallInt
            | Self::Int
            | Self::BigInt
            | Self::Varint
            | Self::Float
            | Self::Double
            | Self::Decimal => true,
            Self::Ascii
            | Self::Blob
            | Self::Boolean
            | Self::Timestamp
            | Self::Uuid
            | Self::Text
            | Self::TimeUuid
            | Self::Inet
            | Self::Date
            | Self::Time => false,
        }
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One value, typed. Null is the absence of a value, never a value.
///
/// Floating-point values are equal as [`compare`] says: every NaN equals every NaN, and −0 differs
/// from 0.
#[derive(Clone, Debug)]
pub enum Value {
    /// Text of the characters 0 to 127 (others fail when it is encoded for its column).
    Ascii(String),
    /// A `bigint`.
    BigInt(i64),
    /// Bytes.
    Blob(Bytes),
    /// A `boolean`.
    Boolean(bool),
    /// A `decimal`.
    Decimal(Decimal),
    /// A `double`.
    Double(f64),
    /// A `float`.
    Float(f32),
    /// An `int`.
    Int(i32),
    /// Milliseconds since the Unix epoch.
    Timestamp(i64),
    /// A UUID of any version.
    Uuid(Uuid),
    /// UTF-8 text.
    Text(String),
    /// A `varint`.
    Varint(BigInt),
    /// A UUID of version 1.
    TimeUuid(Uuid),
    /// An address.
    Inet(IpAddr),
    /// Days since 1970-01-01 (Cassandra adds 2^31 to it in the binary form).
    Date(i32),
    /// Nanoseconds since midnight, `0 .. 86_400 * 10^9`.
    Time(i64),
    /// A `smallint`.
    SmallInt(i16),
    /// A `tinyint`.
    TinyInt(i8),
}

impl Value {
    /// The type whose value this is.
    pub const fn column_type(&self) -> ColumnType {
        match self {
            Self::Ascii(_) => ColumnType::Ascii,
            Self::BigInt(_) => ColumnType::BigInt,
            Self::Blob(_) => ColumnType::Blob,
            Self::Boolean(_) => ColumnType::Boolean,
            Self::Decimal(_) => ColumnType::Decimal,
            Self::Double(_) => ColumnType::Double,
            Self::Float(_) => ColumnType::Float,
            Self::Int(_) => ColumnType::Int,
            Self::Timestamp(_) => ColumnType::Timestamp,
            Self::Uuid(_) => ColumnType::Uuid,
            Self::Text(_) => ColumnType::Text,
            Self::Varint(_) => ColumnType::Varint,
            Self::TimeUuid(_) => ColumnType::TimeUuid,
            Self::Inet(_) => ColumnType::Inet,
            Self::Date(_) => ColumnType::Date,
            Self::Time(_) => ColumnType::Time,
            Self::SmallInt(_) => ColumnType::SmallInt,
            Self::TinyInt(_) => ColumnType::TinyInt,
        }
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.column_type() == other.column_type()
            && match (self, other) {
                (Self::Double(a), Self::Double(b)) => {
                    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
                }
                (Self::Float(a), Self::Float(b)) => {
                    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
                }
                (a, b) => a.encode() == b.encode(),
            }
    }
}

impl Eq for Value {}

macro_rules! from {
    ($($native:ty => $variant:ident),* $(,)?) => {
        $(impl From<$native> for Value {
            fn from(value: $native) -> Self {
                Self::$variant(value.into())
            }
        })*
    };
}

from! {
    &str => Text, String => Text, bool => Boolean, i8 => TinyInt, i16 => SmallInt, i32 => Int,
    i64 => BigInt, f32 => Float, f64 => Double, Bytes => Blob, Uuid => Uuid, IpAddr => Inet,
    BigInt => Varint, Decimal => Decimal,
}

#[cfg(test)]
pub(crate) mod tests;
