//! Records survive the round trip through bytes, and nothing else passes for a record.

mod common;

use bytes::Bytes;
use proptest::prelude::*;
use wal_core::record::{
    Body, DecodeError, Header, Piece, RECORD_VERSION, Reader, Record, Writer, decode,
    decode_header, encode_into,
};

/// What reading a body back gives: a `CommitSingle` keeps no conditions.
fn kept(body: Body) -> Body {
    match body {
        Body::CommitSingle(mut commit) => {
            commit.part = common::without_conditions(&commit.part);
            Body::CommitSingle(commit)
        }
        other => other,
    }
}

fn encoded(header: &Header, body: &Body) -> (Vec<u8>, u64) {
    let mut out = Vec::new();
    let hash = encode_into(&mut out, header, body);
    (out, hash)
}

fn with_checksum(mut content: Vec<u8>) -> Bytes {
    let checksum = crc32fast::hash(&content);
    content.extend_from_slice(&checksum.to_le_bytes());
    Bytes::from(content)
}

fn round_trip<T: Piece + PartialEq + std::fmt::Debug>(piece: &T) -> Result<(), TestCaseError> {
    let mut out = Vec::new();
    Writer::new(&mut out).piece(piece);
    let mut input = Reader::new(Bytes::from(out));
    prop_assert_eq!(&input.piece::<T>().expect("it was just written"), piece);
    prop_assert!(input.finish().is_ok());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn every_record_is_read_back_as_it_was_written(
        header in common::header(),
        body in common::body(),
    ) {
        let mut out = b"before".to_vec();
        let hash = encode_into(&mut out, &header, &body);
        let bytes = Bytes::from(out).slice(6..);
        prop_assert_eq!(decode_header(&bytes), Ok(header));
        let (record, read_hash) = decode(bytes.clone()).expect("it was just written");
        prop_assert_eq!(read_hash, hash);
        let expected = Record { header, body: kept(body) };
        prop_assert_eq!(&record, &expected);
        let again = encoded(&record.header, &record.body);
        prop_assert_eq!((Bytes::from(again.0), again.1), (bytes, hash));
    }

    #[test]
    fn pieces_of_checkpoints_are_read_back_as_they_were_written(
        row in common::row(),
        reason in common::reason(),
    ) {
        round_trip(&row)?;
        round_trip(&reason)?;
    }

    #[test]
    fn random_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let bytes = Bytes::from(bytes);
        prop_assert!(decode_header(&bytes).is_err());
        prop_assert!(decode(bytes).is_err());
    }

    #[test]
    fn a_flipped_bit_is_refused_as_damage(
        body in common::body(),
        place in any::<prop::sample::Index>(),
        bit in 0u8..8,
    ) {
        let (mut bytes, _) = encoded(&Header::default(), &body);
        let place = place.index(bytes.len());
        bytes[place] ^= 1 << bit;
        let answer = decode(Bytes::from(bytes));
        prop_assert!(matches!(answer, Err(DecodeError::Damaged { .. })), "{answer:?}");
    }

    #[test]
    fn a_cut_record_is_refused(body in common::body(), place in any::<prop::sample::Index>()) {
        let (bytes, _) = encoded(&Header::default(), &body);
        prop_assert!(decode(Bytes::from(bytes).slice(..place.index(bytes_len(&body)))).is_err());
    }

    /// Behind a right checksum the parser meets anything: it may read it or refuse it, and what it
    /// reads has no other encoding.
    #[test]
    fn forged_content_is_refused_or_is_the_one_encoding(
        kind in 0u8..16,
        content in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut forged = vec![RECORD_VERSION, kind];
        forged.extend(content);
        let forged = with_checksum(forged);
        if let Ok((record, hash)) = decode(forged.clone()) {
            let again = encoded(&record.header, &record.body);
            if !matches!(record.body, Body::CommitSingle(_)) {
                prop_assert_eq!((Bytes::from(again.0), again.1), (forged, hash));
            }
        }
    }

    /// The same, close to real records: one byte changed, the checksum made right again.
    #[test]
    fn a_changed_byte_behind_a_right_checksum_never_panics(
        body in common::body(),
        place in any::<prop::sample::Index>(),
        value in any::<u8>(),
    ) {
        let (mut bytes, _) = encoded(&Header::default(), &body);
        bytes.truncate(bytes.len() - 4);
        let place = place.index(bytes.len());
        bytes[place] = value;
        let _ = decode(with_checksum(bytes));
    }
}

fn bytes_len(body: &Body) -> usize {
    encoded(&Header::default(), body).0.len()
}

#[test]
fn another_version_is_told_from_damage() {
    let (mut bytes, _) = encoded(&Header::default(), &Body::Barrier);
    bytes.truncate(bytes.len() - 4);
    bytes[0] = RECORD_VERSION + 1;
    let expected = DecodeError::Version { found: RECORD_VERSION + 1, expected: RECORD_VERSION };
    assert_eq!(decode(with_checksum(bytes)), Err(expected));
}

#[test]
fn a_kind_that_a_newer_program_writes_is_told_from_damage() {
    let (mut bytes, _) = encoded(&Header::default(), &Body::Barrier);
    bytes.truncate(bytes.len() - 4);
    bytes[1] = 200;
    assert_eq!(decode(with_checksum(bytes)), Err(DecodeError::Kind { found: 200 }));
}
