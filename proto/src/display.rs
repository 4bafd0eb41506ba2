//! Rows and values for messages to people. Not a format: programs read the fields.

use std::fmt;

use crate::v1::value::Kind;
use crate::v1::{RowKey, Value};

/// Characters of a text, or bytes, that are shown.
const MAX_SHOWN: usize = 64;

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            None | Some(Kind::Null(_)) => f.write_str("null"),
            Some(Kind::Text(text)) => match text.char_indices().nth(MAX_SHOWN) {
                Some((end, _)) => write!(f, "{:?}…", &text[..end]),
                None => write!(f, "{text:?}"),
            },
            Some(Kind::Boolean(value)) => value.fmt(f),
            Some(Kind::Integer(number)) => number.fmt(f),
            Some(Kind::Float(number)) => number.fmt(f),
            Some(Kind::Double(number)) => number.fmt(f),
            Some(Kind::Varint(bytes)) => whole(bytes, f),
            Some(Kind::Decimal(decimal)) => {
                whole(&decimal.unscaled, f)?;
                write!(f, "e{}", -i64::from(decimal.scale))
            }
            Some(Kind::Date(days)) => write!(f, "1970-01-01 + {days} d"),
            Some(Kind::Time(nanos)) => write!(f, "{nanos} ns"),
            Some(Kind::Timestamp(millis)) => write!(f, "{millis} ms"),
            Some(Kind::Uuid(bytes)) => match uuid::Uuid::from_slice(bytes) {
                Ok(uuid) => uuid.fmt(f),
                Err(_) => hex(bytes, f),
            },
            Some(Kind::Inet(bytes)) => match (<[u8; 4]>::try_from(&bytes[..]), &bytes[..]) {
                (Ok(octets), _) => std::net::Ipv4Addr::from(octets).fmt(f),
                (Err(_), bytes) => match <[u8; 16]>::try_from(bytes) {
                    Ok(octets) => std::net::Ipv6Addr::from(octets).fmt(f),
                    Err(_) => hex(bytes, f),
                },
            },
            Some(Kind::Blob(bytes)) => hex(bytes, f),
        }
    }
}

/// A two's complement number, in digits if it is not too long.
fn whole(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if bytes.is_empty() || bytes.len() > 16 {
        return hex(bytes, f);
    }
    let sign = if bytes[0] >= 0x80 { -1i128 } else { 0 };
    let number = bytes.iter().fold(sign, |number, byte| (number << 8) | i128::from(*byte));
    write!(f, "{number}")
}

fn hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("0x")?;
    bytes.iter().take(MAX_SHOWN).try_for_each(|byte| write!(f, "{byte:02x}"))?;
    if bytes.len() > MAX_SHOWN { f.write_str("…") } else { Ok(()) }
}

impl fmt::Display for RowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[", self.table)?;
        for (index, value) in self.key.iter().enumerate() {
            write!(f, "{}{value}", if index == 0 { "" } else { ", " })?;
        }
        f.write_str("]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_shown_as_people_write_them() {
        let key = vec!["alice".into(), 7.into(), Value::null(), Value::varint(vec![0xff, 0x38])];
        let row = RowKey { table: "accounts".into(), key };
        assert_eq!(row.to_string(), "accounts[\"alice\", 7, null, -200]");
        assert_eq!(Value::decimal(vec![0x7d], 2).to_string(), "125e-2");
    }
}
