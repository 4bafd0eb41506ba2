//! Values of the wire and values of columns.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bytes::Bytes;
use handfast_proto::v1;
use handfast_proto::v1::value::Kind;
use num_bigint::BigInt;
use uuid::Uuid;
use wal_core::message::Message;
use wal_core::value::{ColumnType, Decimal, Value};

/// A value that cannot be one of any column.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadValue {
    /// Nothing was sent.
    #[error("no value was sent; send one, or null")]
    Missing,
    /// The bytes are too few or too many.
    #[error("{kind} has {expected} bytes, got {got}")]
    Length {
        /// Which kind of value.
        kind: &'static str,
        /// How many it has.
        expected: &'static str,
        /// How many there were.
        got: usize,
    },
}

/// A wire value; `None` is null. Whether it goes into a column is told when it is encoded for it.
pub fn from_wire(value: v1::Value) -> Result<Option<Value>, BadValue> {
    Ok(Some(match value.kind.ok_or(BadValue::Missing)? {
        Kind::Null(_) => return Ok(None),
        Kind::Text(text) => Value::Text(text),
        Kind::Blob(bytes) => Value::Blob(bytes),
        Kind::Boolean(value) => Value::Boolean(value),
        Kind::Integer(number) => Value::BigInt(number),
        Kind::Varint(bytes) => Value::Varint(whole("varint", &bytes)?),
        Kind::Float(number) => Value::Float(number),
        Kind::Double(number) => Value::Double(number),
        Kind::Decimal(decimal) => {
            let unscaled = whole("decimal.unscaled", &decimal.unscaled)?;
            Value::Decimal(Decimal::new(unscaled, decimal.scale))
        }
        Kind::Date(days) => Value::Date(days),
        Kind::Time(nanos) => Value::Time(nanos),
        Kind::Timestamp(millis) => Value::Timestamp(millis),
        Kind::Uuid(bytes) => match <[u8; 16]>::try_from(&bytes[..]) {
            Ok(octets) => Value::Uuid(Uuid::from_bytes(octets)),
            Err(_) => return Err(length("uuid", "16", &bytes)),
        },
        Kind::Inet(bytes) => Value::Inet(address(&bytes)?),
    }))
}

fn whole(kind: &'static str, bytes: &[u8]) -> Result<BigInt, BadValue> {
    if bytes.is_empty() {
        return Err(length(kind, "1 or more", bytes));
    }
    Ok(BigInt::from_signed_bytes_be(bytes))
}

fn address(bytes: &[u8]) -> Result<IpAddr, BadValue> {
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        return Ok(IpAddr::V4(Ipv4Addr::from(octets)));
    }
    match <[u8; 16]>::try_from(bytes) {
        Ok(octets) => Ok(IpAddr::V6(Ipv6Addr::from(octets))),
        Err(_) => Err(length("inet", "4 or 16", bytes)),
    }
}

fn length(kind: &'static str, expected: &'static str, bytes: &[u8]) -> BadValue {
    BadValue::Length { kind, expected, got: bytes.len() }
}

/// A column's value as the wire has it, in the first kind that `types.proto` names for its type.
pub fn to_wire(value: Value) -> v1::Value {
    let kind = match value {
        Value::Ascii(text) | Value::Text(text) => Kind::Text(text),
        Value::Blob(bytes) => Kind::Blob(bytes),
        Value::Boolean(value) => Kind::Boolean(value),
        Value::TinyInt(number) => Kind::Integer(number.into()),
        Value::SmallInt(number) => Kind::Integer(number.into()),
        Value::Int(number) => Kind::Integer(number.into()),
        Value::BigInt(number) => Kind::Integer(number),
        Value::Varint(number) => Kind::Varint(number.to_signed_bytes_be().into()),
        Value::Float(number) => Kind::Float(number),
        Value::Double(number) => Kind::Double(number),
        Value::Decimal(decimal) => Kind::Decimal(v1::Decimal {
            unscaled: decimal.unscaled().to_signed_bytes_be().into(),
            scale: decimal.scale(),
        }),
        Value::Date(days) => Kind::Date(days),
        Value::Time(nanos) => Kind::Time(nanos),
        Value::Timestamp(millis) => Kind::Timestamp(millis),
        Value::Uuid(uuid) | Value::TimeUuid(uuid) => {
            Kind::Uuid(Bytes::copy_from_slice(uuid.as_bytes()))
        }
        Value::Inet(IpAddr::V4(address)) => Kind::Inet(Bytes::copy_from_slice(&address.octets())),
        Value::Inet(IpAddr::V6(address)) => Kind::Inet(Bytes::copy_from_slice(&address.octets())),
    };
    v1::Value { kind: Some(kind) }
}

/// A stored cell as the wire has it. Bytes that are not of the column's type (another writer's, or an
/// older schema's) are shown as they are.
pub fn stored_to_wire(ty: ColumnType, bytes: &Bytes) -> v1::Value {
    if ty == ColumnType::Blob {
        return v1::Value::from(bytes.clone()); // no copy
    }
    Value::decode(ty, bytes).map_or_else(|_| v1::Value::from(bytes.clone()), to_wire)
}

/// A message; all of it is the client's.
pub fn message_from_wire(wire: v1::Message) -> Message {
    let v1::Message { key, content_type, headers, payload, targets } = wire;
    let headers = headers.into_iter().map(|header| (header.name, header.value)).collect();
    Message { key, content_type, headers, payload, targets }
}

/// A message as the wire has it.
pub fn message_to_wire(message: Message) -> v1::Message {
    let Message { key, content_type, headers, payload, targets } = message;
    let headers = headers.into_iter().map(|(name, value)| v1::Header { name, value }).collect();
    v1::Message { key, content_type, headers, payload, targets }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through_the_wire(ty: ColumnType, json: serde_json::Value) -> Option<Bytes> {
        let value = Value::from_json(ty, &json).expect("a value of the type");
        let wire = to_wire(value.clone());
        let back = from_wire(wire).expect("a value").expect("not null");
        let mut encoded = Vec::new();
        back.encode_as(ty, &mut encoded).expect("it goes back into its column");
        assert_eq!(encoded, value.encode(), "{ty}");
        Some(encoded.into())
    }

    #[test]
    fn a_value_of_every_type_comes_back_as_it_was() {
        use serde_json::json;
        for ty in ColumnType::ALL.iter().copied() {
            let value = match ty {
                ColumnType::Ascii | ColumnType::Text => json!("plain"),
                ColumnType::Blob => json!("0x00ff"),
                ColumnType::Boolean => json!(true),
                ColumnType::TinyInt => json!(-128),
                ColumnType::SmallInt => json!(-32768),
                ColumnType::Int => json!(-2_147_483_648i64),
                ColumnType::BigInt => json!(i64::MIN),
                ColumnType::Varint => json!("-340282366920938463463374607431768211456"),
                ColumnType::Float | ColumnType::Double => json!(-1.5),
                ColumnType::Decimal => json!("-12.500"),
                ColumnType::Date => json!("1969-12-31"),
                ColumnType::Time => json!("23:59:59.999999999"),
                ColumnType::Timestamp => json!("1969-12-31T23:59:59.999Z"),
                ColumnType::Uuid => json!("01890a5d-ac96-774b-bcce-b302099a8057"),
                ColumnType::TimeUuid => json!("50554d6e-29bb-11e5-b345-feff819cdc9f"),
                ColumnType::Inet => json!("2001:db8::1"),
            };
            assert!(through_the_wire(ty, value).is_some());
        }
    }

    #[test]
    fn values_without_a_kind_or_of_a_wrong_length_are_refused() {
        let refused = |kind| from_wire(v1::Value { kind }).expect_err("not a value");
        assert_eq!(refused(None), BadValue::Missing);
        let short = Bytes::from_static(b"short");
        for kind in [Kind::Uuid(short.clone()), Kind::Inet(short), Kind::Varint(Bytes::new())] {
            assert!(matches!(refused(Some(kind)), BadValue::Length { .. }));
        }
    }

    #[test]
    fn stored_bytes_of_another_type_are_shown_as_they_are() {
        let odd = Bytes::from_static(b"odd");
        assert_eq!(stored_to_wire(ColumnType::Int, &odd), v1::Value::from(odd));
    }
}
