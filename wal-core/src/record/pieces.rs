//! How the shared pieces of records and checkpoints are written as bytes.
//!
//! | piece | bytes |
//! |---|---|
//! | count, length, small number | LEB128 varint of at most 10 bytes, in its shortest form only |
//! | time, timestamp, hash | 8 bytes, little-endian |
//! | id, fingerprint, nonce, row version | 16 bytes, little-endian |
//! | flag | one byte, 0 or 1 |
//! | bytes, text (UTF-8) | length, then the bytes |
//! | list | count, then the items |
//! | optional | a flag, then the item if it is 1 |
//! | pair | the first, then the second |
//! | variant of an enum | one byte, pinned beside each `impl`, then its fields in order |
//!
//! Each value has exactly one encoding, and whatever else is met is refused. A [`Reader`] hands out
//! slices of the bytes it was given: reading copies no value.

use std::sync::Arc;

use bytes::Bytes;

use super::codec::DecodeError;

/// Slots reserved for a list before any of its items was read: a lying count costs no more than this.
const RESERVED_ITEMS: usize = 64;
/// The longest varint.
const MAX_VARINT_BYTES: u32 = 10;

/// Appends pieces to a buffer.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Writer<'a> {
    /// Appends to `out`, which keeps what it holds.
    pub const fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out }
    }

    /// Appends one byte.
    pub fn byte(&mut self, value: u8) {
        self.out.push(value);
    }

    /// Appends a number as a varint.
    pub fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.out.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.out.push(value as u8);
    }

    /// Appends 8 bytes.
    pub fn fixed64(&mut self, value: u64) {
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    /// Appends 16 bytes.
    pub fn fixed128(&mut self, value: u128) {
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    /// Appends a length and bytes.
    pub fn bytes(&mut self, value: &[u8]) {
        self.varint(value.len() as u64);
        self.out.extend_from_slice(value);
    }

    /// Appends one piece.
    pub fn piece<T: Piece>(&mut self, value: &T) {
        value.write(self);
    }

    /// Appends a count and that many pieces.
    pub fn list<T: Piece>(&mut self, items: &[T]) {
        self.varint(items.len() as u64);
        for item in items {
            item.write(self);
        }
    }
}

/// Reads pieces from a buffer, as slices of it.
#[derive(Clone, Debug)]
pub struct Reader {
    bytes: Bytes,
    at: usize,
}

impl Reader {
    /// Reads from the start of `bytes`.
    pub const fn new(bytes: Bytes) -> Self {
        Self { bytes, at: 0 }
    }

    /// Where the next piece starts.
    pub const fn at(&self) -> usize {
        self.at
    }

    /// How many bytes are left.
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Says that what was just read cannot be right.
    pub const fn damaged(&self, what: &'static str) -> DecodeError {
        DecodeError::Damaged { what, at: self.at }
    }

    /// Succeeds if nothing is left.
    pub fn finish(&self) -> Result<(), DecodeError> {
        if self.remaining() == 0 { Ok(()) } else { Err(self.damaged("bytes behind the end")) }
    }

    /// Reads one byte.
    pub fn byte(&mut self) -> Result<u8, DecodeError> {
        let value = *self.bytes.get(self.at).ok_or_else(|| self.damaged("ends too early"))?;
        self.at += 1;
        Ok(value)
    }

    /// Reads a varint.
    pub fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for index in 0..MAX_VARINT_BYTES {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if index == MAX_VARINT_BYTES - 1 && bits > 1 {
                return Err(self.damaged("a number beyond 64 bits"));
            }
            value |= bits << (7 * index);
            if byte & 0x80 == 0 {
                if byte == 0 && index > 0 {
                    return Err(self.damaged("a number not in its shortest form"));
                }
                return Ok(value);
            }
        }
        Err(self.damaged("a number beyond 64 bits"))
    }

    /// Reads a varint that must fit a smaller type.
    pub fn small<T: TryFrom<u64>>(&mut self) -> Result<T, DecodeError> {
        let value = self.varint()?;
        T::try_from(value).map_err(|_| self.damaged("a number beyond its range"))
    }

    /// Reads 8 bytes.
    pub fn fixed64(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// Reads 16 bytes.
    pub fn fixed128(&mut self) -> Result<u128, DecodeError> {
        Ok(u128::from_le_bytes(self.array()?))
    }

    /// Reads a length and bytes: a slice of the input.
    pub fn bytes(&mut self) -> Result<Bytes, DecodeError> {
        let length = self.length()?;
        let value = self.bytes.slice(self.at..self.at + length);
        self.at += length;
        Ok(value)
    }

    /// Reads one piece.
    pub fn piece<T: Piece>(&mut self) -> Result<T, DecodeError> {
        T::read(self)
    }

    /// Reads a count and that many pieces.
    pub fn list<T: Piece>(&mut self) -> Result<Vec<T>, DecodeError> {
        let count = self.length()?; // a piece takes a byte at least
        let mut items = Vec::with_capacity(count.min(RESERVED_ITEMS));
        for _ in 0..count {
            items.push(T::read(self)?);
        }
        Ok(items)
    }

    fn length(&mut self) -> Result<usize, DecodeError> {
        let length = self.small::<usize>()?;
        if length > self.remaining() { Err(self.damaged("ends too early")) } else { Ok(length) }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let slice = self.bytes.get(self.at..self.at + N);
        let array = slice.and_then(|slice| slice.try_into().ok());
        let array = array.ok_or_else(|| self.damaged("ends too early"))?;
        self.at += N;
        Ok(array)
    }
}

/// Something with one encoding, which takes at least one byte.
pub trait Piece: Sized {
    /// Appends the encoding.
    fn write(&self, out: &mut Writer<'_>);

    /// Reads it back.
    ///
    /// # Errors
    /// [`DecodeError::Damaged`] if the bytes are no encoding of such a piece.
    fn read(input: &mut Reader) -> Result<Self, DecodeError>;
}

impl Piece for bool {
    fn write(&self, out: &mut Writer<'_>) {
        out.byte(u8::from(*self));
    }

    fn read(input: &mut Reader) -> Result<Self, DecodeError> {
        match input.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(input.damaged("a flag that is neither 0 nor 1")),
        }
    }
}

impl Piece for Bytes {
    fn write(&self, out: &mut Writer<'_>) {
        out.bytes(self);
    }

    fn read(input: &mut Reader) -> Result<Self, DecodeError> {
        input.bytes()
    }
}

impl Piece for String {
    fn write(&self, out: &mut Writer<'_>) {
        out.bytes(self.as_bytes());
    }

    fn read(input: &mut Reader) -> Result<Self, DecodeError> {
        let bytes = input.bytes()?;
        let text = std::str::from_utf8(&bytes).map_err(|_| input.damaged("text not in UTF-8"))?;
        Ok(text.to_owned())
    }
}

impl<T: Piece> Piece for Option<T> {
    fn write(&self, out: &mut Writer<'_>) {
        out.piece(&self.is_some());
        if let Some(value) = self {
            out.piece(value);
        }
    }

    fn read(input: &mut Reader) -> Result<Self, DecodeError> {
        if bool::read(input)? { T::read(input).map(Some) } else { Ok(None) }
    }
}

impl<T: Piece> Piece for Vec<T> {
    fn write(&self, out: &mut Writer<'_>) {
        out.list(self);
    }

    fn read(input: &mut Reader) -> Result<Self, DecodeError> {
        input.list()
    }
}

impl<T: Piece> Piece for Arc<T> {
    fn write(&self, out: &mut Writer<'_>) {
        out.piece(&**self);
    }

    fn read(input: &mut Reader) -> Result<Self, DecodeError> {
        T::read(input).map(Self::new)
    }
}

impl<A: Piece, B: Piece> Piece for (A, B) {
    fn write(&self, out: &mut Writer<'_>) {
        out.piece(&self.0);
        out.piece(&self.1);
    }

    fn read(input: &mut Reader) -> Result<Self, DecodeError> {
        Ok((A::read(input)?, B::read(input)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_varint(bytes: &'static [u8]) -> Result<u64, DecodeError> {
        let mut reader = Reader::new(Bytes::from_static(bytes));
        let value = reader.varint()?;
        reader.finish()?;
        Ok(value)
    }

    #[test]
    fn varints_have_one_form() {
        for value in [0, 1, 0x7f, 0x80, 0x3fff, 0x4000, u64::MAX >> 1, u64::MAX] {
            let mut out = Vec::new();
            Writer::new(&mut out).varint(value);
            let read = Reader::new(Bytes::from(out)).varint();
            assert_eq!(read, Ok(value));
        }
        assert!(read_varint(&[0x80, 0x00]).is_err());
        assert!(read_varint(&[0x80]).is_err());
        assert!(read_varint(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]).is_err());
        assert!(read_varint(&[0xff; 11]).is_err());
    }

    #[test]
    fn a_lying_count_is_refused_before_anything_is_reserved() {
        let mut out = Vec::new();
        Writer::new(&mut out).varint(u64::from(u32::MAX));
        out.extend([0; 100]);
        assert!(Reader::new(Bytes::from(out)).list::<Bytes>().is_err());
    }

    #[test]
    fn values_are_slices_of_the_input() {
        let mut out = Vec::new();
        Writer::new(&mut out).bytes(b"value");
        let input = Bytes::from(out);
        let value = Reader::new(input.clone()).bytes().expect("it was just written");
        assert_eq!(value.as_ptr(), input[1..].as_ptr());
    }
}
