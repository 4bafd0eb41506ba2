//! A segment of the log as text: `<owner>.<number>.<epoch>.<checksum>.<records>`.
//!
//! Owner, number, epoch and checksum are hexadecimal; the number counts what the owner has written, so that
//! no two segments are equal. The records, each behind its length in 4 bytes, are in base64; the checksum is
//! their CRC-32.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use wal_core::Epoch;

/// Records of one segment at most.
pub(super) const MAX_RECORDS: u64 = 1 << 20;
/// What a trimmed segment was overwritten with.
pub(super) const TRIMMED: &str = "trimmed";

const LENGTH_BYTES: usize = 4;

/// A segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) owner: u64,
    pub(super) number: u64,
    pub(super) epoch: Epoch,
    pub(super) records: Vec<Bytes>,
}

impl Segment {
    pub(super) fn to_text(&self) -> String {
        let size = self.records.iter().map(|record| LENGTH_BYTES + record.len()).sum();
        let mut bytes = Vec::with_capacity(size);
        for record in &self.records {
            let length = u32::try_from(record.len()).expect("a record is below 16 MiB");
            bytes.extend_from_slice(&length.to_le_bytes());
            bytes.extend_from_slice(record);
        }
        let (owner, number, epoch) = (self.owner, self.number, self.epoch.0);
        let mut text = format!("{owner:x}.{number:x}.{epoch:x}.{:x}.", crc32fast::hash(&bytes));
        STANDARD_NO_PAD.encode_string(bytes, &mut text);
        text
    }

    /// Reads a segment; what is wrong with it if it is none.
    pub(super) fn from_text(text: &str) -> Result<Self, String> {
        let mut fields = text.splitn(5, '.');
        let mut number = |what| {
            let field = fields.next().unwrap_or_default();
            u64::from_str_radix(field, 16).map_err(|_| format!("{what} is {field:?}"))
        };
        let (owner, count) = (number("the owner")?, number("the number")?);
        let (epoch, checksum) = (Epoch(number("the epoch")?), number("the checksum")?);
        let encoded = fields.next().ok_or("there are no records")?;
        let bytes: Bytes =
            STANDARD_NO_PAD.decode(encoded).map_err(|error| error.to_string())?.into();
        if u64::from(crc32fast::hash(&bytes)) != checksum {
            return Err("the checksum is wrong".into());
        }
        let (mut rest, mut records) = (bytes, Vec::new());
        while !rest.is_empty() {
            let (length, _) = rest.split_first_chunk().ok_or("a record's length is cut off")?;
            let length = u32::from_le_bytes(*length) as usize;
            if rest.len() < LENGTH_BYTES + length {
                return Err("a record is cut off".into());
            }
            records.push(rest.slice(LENGTH_BYTES..LENGTH_BYTES + length));
            rest = rest.slice(LENGTH_BYTES + length..);
        }
        Ok(Self { owner, number: count, epoch, records })
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_segment_is_read_as_it_was_written(
            owner in any::<u64>(),
            number in any::<u64>(),
            epoch in any::<u64>(),
            records in vec(vec(any::<u8>(), 0..40), 0..5),
        ) {
            let records = records.into_iter().map(Bytes::from).collect();
            let segment = Segment { owner, number, epoch: Epoch(epoch), records };
            prop_assert_eq!(Segment::from_text(&segment.to_text()), Ok(segment));
        }

        #[test]
        fn no_text_is_read_with_a_panic(text in "[0-9a-f.A-Z+/]{0,60}") {
            let _ = Segment::from_text(&text); // that it returns is what is tested
        }
    }

    #[test]
    fn a_segment_has_its_golden_text() {
        let records = vec![Bytes::from_static(b"ab"), Bytes::new()];
        let segment = Segment { owner: 0xfe, number: 3, epoch: Epoch(16), records };
        assert_eq!(segment.to_text(), "fe.3.10.c7254099.AgAAAGFiAAAAAA");
    }

    #[test]
    fn damage_is_noticed() {
        let good = Segment {
            owner: 1,
            number: 1,
            epoch: Epoch(1),
            records: vec![Bytes::from_static(b"record")],
        }
        .to_text();
        assert!(Segment::from_text(&good).is_ok());
        for bad in [
            "",
            "1.1.1",
            "x.1.1.0.",
            "1.1.1.1.",
            TRIMMED,
            &good.replace("Y", "Z"),
            &good[..good.len() - 1],
        ] {
            assert!(Segment::from_text(bad).is_err(), "{bad}");
        }
    }
}
