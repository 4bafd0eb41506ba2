//! Rust values as wire values. Types with more than one CQL meaning have constructors by name.

use bytes::Bytes;

use crate::v1::{Decimal, NullValue, Value, value::Kind};

impl Value {
    /// No value.
    pub const fn null() -> Self {
        Self { kind: Some(Kind::Null(NullValue::NullValue as i32)) }
    }

    /// A date: days since 1970-01-01.
    pub const fn date(days: i32) -> Self {
        Self { kind: Some(Kind::Date(days)) }
    }

    /// A time of day: nanoseconds since midnight.
    pub const fn time(nanos: i64) -> Self {
        Self { kind: Some(Kind::Time(nanos)) }
    }

    /// An instant: milliseconds since 1970-01-01T00:00:00Z.
    pub const fn timestamp(millis: i64) -> Self {
        Self { kind: Some(Kind::Timestamp(millis)) }
    }

    /// A whole number of any size: two's complement, big-endian, at least one byte.
    pub fn varint(twos_complement: impl Into<Bytes>) -> Self {
        Self { kind: Some(Kind::Varint(twos_complement.into())) }
    }

    /// `unscaled * 10^-scale`; `unscaled` is two's complement, big-endian, at least one byte.
    pub fn decimal(unscaled: impl Into<Bytes>, scale: i32) -> Self {
        Self { kind: Some(Kind::Decimal(Decimal { unscaled: unscaled.into(), scale })) }
    }

    /// Whether it is null, or was left out.
    pub const fn is_null(&self) -> bool {
        matches!(self.kind, None | Some(Kind::Null(_)))
    }

    /// The whole number, if it is one that fits 64 bits and was not sent as a varint.
    pub const fn as_integer(&self) -> Option<i64> {
        match self.kind {
            Some(Kind::Integer(number)) => Some(number),
            _ => None,
        }
    }

    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match &self.kind {
            Some(Kind::Text(text)) => Some(text),
            _ => None,
        }
    }
}

macro_rules! from {
    ($($from:ty => $kind:ident($convert:expr)),* $(,)?) => {$(
        impl From<$from> for Value {
            fn from(value: $from) -> Self {
                Self { kind: Some(Kind::$kind($convert(value))) }
            }
        }
    )*};
}

from! {
    &str => Text(str::to_owned),
    String => Text(std::convert::identity),
    bool => Boolean(std::convert::identity),
    i8 => Integer(i64::from),
    i16 => Integer(i64::from),
    i32 => Integer(i64::from),
    i64 => Integer(std::convert::identity),
    f32 => Float(std::convert::identity),
    f64 => Double(std::convert::identity),
    Bytes => Blob(std::convert::identity),
    Vec<u8> => Blob(Bytes::from),
    &[u8] => Blob(Bytes::copy_from_slice),
    uuid::Uuid => Uuid(|uuid: uuid::Uuid| Bytes::copy_from_slice(uuid.as_bytes())),
}

impl From<std::net::IpAddr> for Value {
    fn from(address: std::net::IpAddr) -> Self {
        let bytes = match address {
            std::net::IpAddr::V4(address) => Bytes::copy_from_slice(&address.octets()),
            std::net::IpAddr::V6(address) => Bytes::copy_from_slice(&address.octets()),
        };
        Self { kind: Some(Kind::Inet(bytes)) }
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::null(), Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_descriptor_set_names_both_services() {
        let text = String::from_utf8_lossy(crate::FILE_DESCRIPTOR_SET);
        assert!(text.contains("HandfastAdmin") && text.contains("SubmitStream"));
    }

    #[test]
    fn an_absent_option_is_null_and_a_present_one_is_its_value() {
        assert!(Value::from(None::<i64>).is_null());
        assert_eq!(Value::from(Some(7i32)).as_integer(), Some(7));
    }
}
