//! CQL's `decimal`: a whole number and how many of its digits stand behind the point.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use num_bigint::{BigInt, Sign};

use super::MAX_NUMBER_DIGITS;
use super::binary::fixed;

/// `unscaled · 10^−scale`. 1.0 and 1.00 are equal in value, yet two decimals: Cassandra keeps the scale.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Decimal {
    unscaled: BigInt,
    scale: i32,
}

/// Whole numbers of up to this many digits are kept without an exponent by [`Decimal::canonical`].
const PLAIN_DIGITS: i32 = 38;

/// A text that is no decimal number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a decimal number: write digits with at most one point and an exponent, as in -12.50 or 1e6"
)]
pub struct NotADecimal;

impl Decimal {
    /// `unscaled · 10^−scale`.
    pub const fn new(unscaled: BigInt, scale: i32) -> Self {
        Self { unscaled, scale }
    }

    /// The digits, as a whole number.
    pub const fn unscaled(&self) -> &BigInt {
        &self.unscaled
    }

    /// How many digits stand behind the point; negative for trailing zeros that are not written.
    pub const fn scale(&self) -> i32 {
        self.scale
    }

    /// Four bytes of scale, then the digits in two's complement.
    pub(super) fn encode_into(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.scale.to_be_bytes());
        out.extend_from_slice(&self.unscaled.to_signed_bytes_be());
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (scale, digits) = bytes.split_at_checked(4)?;
        if digits.is_empty() {
            return None;
        }
        let scale = i32::from_be_bytes(fixed(scale)?);
        Some(Self { unscaled: BigInt::from_signed_bytes_be(digits), scale })
    }

    /// Compares by value.
    pub fn compare(&self, other: &Self) -> Ordering {
        let (a, b) = (self.unscaled.sign(), other.unscaled.sign());
        if a != b || a == Sign::NoSign {
            return a.cmp(&b);
        }
        match self.compare_sizes(other) {
            order if a == Sign::Minus => order.reverse(),
            order => order,
        }
    }

    /// Compares what is left without the signs, of two numbers that are not zero.
    fn compare_sizes(&self, other: &Self) -> Ordering {
        // Numbers far apart are told apart by their magnitudes: lining up 1e2000000000 with 1 digit
        // by digit would fill the memory.
        let (low_a, high_a) = self.magnitude();
        let (low_b, high_b) = other.magnitude();
        if high_a < low_b {
            return Ordering::Less;
        }
        if high_b < low_a {
            return Ordering::Greater;
        }
        let (a, b) = (self.unscaled.magnitude(), other.unscaled.magnitude());
        let apart = i64::from(self.scale) - i64::from(other.scale);
        match u32::try_from(apart.unsigned_abs()) {
            Ok(0) => a.cmp(b),
            Ok(digits) if apart > 0 => a.cmp(&(b * num_bigint::BigUint::from(10u8).pow(digits))),
            Ok(digits) => (a * num_bigint::BigUint::from(10u8).pow(digits)).cmp(b),
            Err(_) => unreachable!("overlapping magnitudes bound the difference of the scales"),
        }
    }

    /// Bounds of the decimal logarithm of the absolute value, in digits. Not for zero.
    fn magnitude(&self) -> (i64, i64) {
        let bits = i64::try_from(self.unscaled.bits()).expect("a number in memory");
        let scale = i64::from(self.scale);
        // log10(2) lies between 30102/100000 and 30103/100000.
        ((bits - 1) * 30_102 / 100_000 - scale, bits * 30_103 / 100_000 + 1 - scale)
    }

    /// The sum, at the larger of the scales; `None` if it needs more than `max_bytes` of digits.
    pub fn checked_add(&self, other: &Self, max_bytes: usize) -> Option<Self> {
        let scale = self.scale.max(other.scale);
        let a = self.at_scale(scale, max_bytes)?;
        let b = other.at_scale(scale, max_bytes)?;
        let unscaled = a + b;
        fits(&unscaled, max_bytes).then_some(Self { unscaled, scale })
    }

    /// The digits at a scale that is not smaller than its own, unless they need more than `max_bytes`.
    fn at_scale(&self, scale: i32, max_bytes: usize) -> Option<BigInt> {
        let more = u32::try_from(i64::from(scale) - i64::from(self.scale)).ok()?;
        if more == 0 || self.unscaled.sign() == Sign::NoSign {
            return Some(self.unscaled.clone());
        }
        // Three bits and a bit for each digit: refuse before computing what cannot fit.
        if u64::from(more) * 3 > max_bytes as u64 * 8 {
            return None;
        }
        Some(&self.unscaled * BigInt::from(10u8).pow(more))
    }

    /// The one decimal that stands for all of equal value: no zeros at the end behind the point, and
    /// no exponent on whole numbers of up to 38 digits.
    pub fn canonical(&self) -> Self {
        if self.unscaled.sign() == Sign::NoSign {
            return Self::new(BigInt::ZERO, 0);
        }
        let digits = self.unscaled.magnitude().to_str_radix(10);
        let kept = digits.trim_end_matches('0').len();
        let zeros = i32::try_from(digits.len() - kept).unwrap_or(i32::MAX);
        let zeros = zeros.min(self.scale.saturating_sub(i32::MIN));
        let unscaled = &self.unscaled / BigInt::from(10u8).pow(zeros.unsigned_abs());
        let scale = self.scale - zeros;
        if (-PLAIN_DIGITS..0).contains(&scale) {
            return Self::new(unscaled * BigInt::from(10u8).pow(scale.unsigned_abs()), 0);
        }
        Self::new(unscaled, scale)
    }
}

/// Whether a number's two's complement takes at most `max_bytes`.
pub(super) fn fits(number: &BigInt, max_bytes: usize) -> bool {
    number.bits() < max_bytes as u64 * 8
}

/// As Java's `BigDecimal` prints: without an exponent unless there are unwritten zeros.
impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.unscaled.magnitude().to_str_radix(10);
        if self.unscaled.sign() == Sign::Minus {
            f.write_str("-")?;
        }
        let scale = i64::from(self.scale);
        let exponent = digits.len() as i64 - 1 - scale;
        if scale == 0 {
            f.write_str(&digits)
        } else if scale > 0 && exponent >= -6 {
            match usize::try_from(exponent) {
                Ok(last) => write!(f, "{}.{}", &digits[..=last], &digits[last + 1..]),
                Err(_) => write!(f, "0.{digits:0>width$}", width = scale as usize),
            }
        } else {
            let (first, rest) = digits.split_at(1);
            let point = if rest.is_empty() { "" } else { "." };
            write!(f, "{first}{point}{rest}E{exponent:+}")
        }
    }
}

impl FromStr for Decimal {
    type Err = NotADecimal;

    fn from_str(text: &str) -> Result<Self, NotADecimal> {
        let (number, exponent) = match text.split_once(['e', 'E']) {
            Some((number, exponent)) => (number, whole(exponent).ok_or(NotADecimal)?),
            None => (text, 0),
        };
        let (sign, number) = match number.as_bytes().first() {
            Some(b'-') => ("-", &number[1..]),
            Some(b'+') => ("", &number[1..]),
            _ => ("", number),
        };
        let (before, behind) = number.split_once('.').unwrap_or((number, ""));
        let count = before.len() + behind.len();
        let plain = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
        if count == 0 || count > MAX_NUMBER_DIGITS || !plain(before) || !plain(behind) {
            return Err(NotADecimal);
        }
        let digits = format!("{sign}{before}{behind}");
        let unscaled = digits.parse().map_err(|_| NotADecimal)?;
        let scale = i32::try_from(behind.len() as i64 - exponent).map_err(|_| NotADecimal)?;
        Ok(Self { unscaled, scale })
    }
}

/// An exponent: a whole number with or without a sign.
fn whole(text: &str) -> Option<i64> {
    let number: i64 = text.parse().ok()?;
    (number.unsigned_abs() <= u64::from(u32::MAX)).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Decimal {
        text.parse().expect(text)
    }

    #[test]
    fn decimals_print_as_java_does() {
        for text in ["0", "1.50", "-0.05", "1E+3", "1.2E-10", "0.000001", "-12345678901234567890.1"]
        {
            assert_eq!(decimal(text).to_string(), text);
        }
        assert_eq!(decimal("1e6").to_string(), "1E+6");
        assert_eq!(decimal(".5").to_string(), "0.5");
        assert_eq!(decimal("0.00").to_string(), "0.00");
        for text in ["", "-", ".", "1.2.3", "1e", "0x1", "1e99999999999", "½", "--1", "+-1"] {
            assert!(text.parse::<Decimal>().is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_far_apart_compare_at_once() {
        let cases = [
            ("1e2000000000", "1", Ordering::Greater),
            ("1e-2000000000", "1", Ordering::Less),
            ("-1e2000000000", "-1e-2000000000", Ordering::Less),
            ("0e2000000000", "0e-2000000000", Ordering::Equal),
            ("1.0", "1.00", Ordering::Equal),
            ("1E+2", "100", Ordering::Equal),
            ("-1.1", "-1.10001", Ordering::Greater),
        ];
        for (a, b, order) in cases {
            assert_eq!(decimal(a).compare(&decimal(b)), order, "{a} {b}");
        }
    }

    #[test]
    fn equal_values_have_one_canonical_form() {
        for group in
            [&["1", "1.0", "1.000", "10E-1"][..], &["100", "1E2", "1.00E+2"], &["0", "0E9"]]
        {
            for text in group {
                assert_eq!(decimal(text).canonical(), decimal(group[0]), "{text}");
            }
        }
        assert_eq!(decimal("1e2147483647").canonical(), decimal("1e2147483647"));
        assert_eq!(decimal("10e2147483648").canonical(), decimal("10e2147483648"));
    }
}
