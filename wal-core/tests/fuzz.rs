//! Hostile input to everything that reads bytes or text: it is read or refused, without a panic, in
//! bounded time and memory. Inputs are arbitrary, or valid ones that were mangled, with their checksums
//! made right again where there are any, so that what lies behind the checksums is reached too.
//!
//! `HANDFAST_FUZZ_CASES` sets how many inputs each test tries.

mod common;
#[path = "fuzz/mangle.rs"]
mod mangle;
#[path = "fuzz/segments.rs"]
mod segments;
#[path = "fuzz/text.rs"]
mod text;

use bytes::Bytes;
use proptest::prelude::*;
use wal_core::record::{Body, Header, decode, decode_header, encode_into};

use mangle::{config, in_bounds, mangled, mangles};

/// A record's bytes without its checksum.
fn content_of(header: &Header, body: &Body) -> Vec<u8> {
    let mut out = Vec::new();
    encode_into(&mut out, header, body);
    out.truncate(out.len() - 4);
    out
}

fn with_checksum(mut content: Vec<u8>) -> Bytes {
    let checksum = crc32fast::hash(&content);
    content.extend_from_slice(&checksum.to_le_bytes());
    Bytes::from(content)
}

/// Decodes; what is read has one encoding only.
fn decode_and_encode(bytes: &Bytes) -> Result<(), TestCaseError> {
    let header = decode_header(bytes);
    if let Ok((record, hash)) = decode(bytes.clone()) {
        prop_assert_eq!(header, Ok(record.header));
        if !matches!(record.body, Body::CommitSingle(_)) {
            let mut again = Vec::new();
            prop_assert_eq!(encode_into(&mut again, &record.header, &record.body), hash);
            prop_assert_eq!(&Bytes::from(again), bytes);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(config(1_000))]

    #[test]
    fn records_of_arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
        in_bounds(|| {
            decode_and_encode(&Bytes::from(bytes.clone()))?;
            decode_and_encode(&with_checksum(bytes))
        })?;
    }

    #[test]
    fn mangled_records(header in common::header(), body in common::body(), mangles in mangles()) {
        in_bounds(|| decode_and_encode(&with_checksum(mangled(content_of(&header, &body), &mangles))))?;
    }
}

/// A list whose count says that it is huge must not be believed before its items are there.
#[test]
fn counts_that_lie_reserve_nothing() {
    for kind in 0..=14_u8 {
        for fill in [0xff, 0x7f, 0x00, 0x80] {
            for length in [0, 1, 24, 40, 100, 1_000] {
                let mut bytes = vec![1, kind];
                bytes.extend(std::iter::repeat_n(fill, length));
                // The largest number that a varint holds, where a count may stand.
                bytes.extend([0xff; 9]);
                bytes.push(0x01);
                in_bounds(|| decode_and_encode(&with_checksum(bytes))).expect("one encoding");
            }
        }
    }
}
