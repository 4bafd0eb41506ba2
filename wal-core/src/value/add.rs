//! Adding to a number, on its binary form.

use bytes::Bytes;
use num_bigint::BigInt;

use super::binary::NotOfType;
use super::decimal::fits;
use super::{ColumnType, MAX_NUMBER_BYTES, Value};

/// Why nothing was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddError {
    /// The sum leaves the range of the type, is not a finite number, or is longer than
    /// [`MAX_NUMBER_BYTES`].
    #[error("the sum leaves the range of its type")]
    Overflow,
    /// Only numbers can be added to.
    #[error("cannot add to a {0}: only to numbers")]
    NotANumber(ColumnType),
    /// One of the operands is not a value of the type.
    #[error(transparent)]
    Malformed(#[from] NotOfType),
}

/// Adds `delta` to `current`, null counting as zero. Both and the result are of type `ty`.
pub fn add(ty: ColumnType, current: Option<&[u8]>, delta: &[u8]) -> Result<Bytes, AddError> {
    if !ty.is_number() {
        return Err(AddError::NotANumber(ty));
    }
    let delta = Value::decode(ty, delta)?;
    let Some(current) = current else {
        return finite(delta);
    };
    let sum = match (Value::decode(ty, current)?, delta) {
        (Value::TinyInt(a), Value::TinyInt(b)) => a.checked_add(b).map(Value::TinyInt),
        (Value::SmallInt(a), Value::SmallInt(b)) => a.checked_add(b).map(Value::SmallInt),
        (Value::Int(a), Value::Int(b)) => a.checked_add(b).map(Value::Int),
        (Value::BigInt(a), Value::BigInt(b)) => a.checked_add(b).map(Value::BigInt),
        (Value::Float(a), Value::Float(b)) => Some(Value::Float(a + b)),
        (Value::Double(a), Value::Double(b)) => Some(Value::Double(a + b)),
        (Value::Varint(a), Value::Varint(b)) => Some(Value::Varint(a + b)),
        (Value::Decimal(a), Value::Decimal(b)) => {
            a.checked_add(&b, MAX_NUMBER_BYTES).map(Value::Decimal)
        }
        _ => unreachable!("both were decoded as one type, and it is a number"),
    };
    finite(sum.ok_or(AddError::Overflow)?)
}

/// The binary form of a sum, if it is one that a column may hold.
fn finite(sum: Value) -> Result<Bytes, AddError> {
    let allowed = match &sum {
        Value::Float(number) => number.is_finite(),
        Value::Double(number) => number.is_finite(),
        Value::Varint(number) => fits_column(number),
        Value::Decimal(number) => fits_column(number.unscaled()),
        _ => true,
    };
    if allowed { Ok(sum.encode()) } else { Err(AddError::Overflow) }
}

fn fits_column(number: &BigInt) -> bool {
    fits(number, MAX_NUMBER_BYTES)
}
