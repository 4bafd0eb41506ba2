//! Records as bytes.
//!
//! ```text
//! version   kind     epoch    seq      previous   body                 checksum
//! 1 byte    1 byte   varint   varint   8 bytes    by kind, see below   4 bytes: CRC-32 of all before it
//! ```
//!
//! The version byte comes first and the checksum last in every version, so that a record of another
//! version can be told from a damaged one. A record's *hash*, which the next one names as `previous`, is
//! the XXH3-64 of all its bytes. How the fields are written is pinned in [`super::pieces`] and beside
//! each type in [`super::vocabulary`].
//!
//! | kind | record | fields, in order |
//! |---|---|---|
//! | 1 | `Epoch` | log, owner, address, wall clock (8 bytes) |
//! | 2 | `Intent` | transaction, start |
//! | 3 | `Prepare` | id, fingerprint, namespace version, attempt, start, proposal, participants, part, adds, others, depends_on |
//! | 4 | `Commit` | id, attempt, timestamp |
//! | 5 | `CommitSingle` | id, fingerprint, timestamp, part (its conditions left out), adds |
//! | 6 | `Abort` | id, attempt |
//! | 7 | `Refuse` | id, attempt |
//! | 8 | `Close` | id, optional fingerprint, participants, reason |
//! | 9 | `Finished` | ids |
//! | 10 | `Floor` | floor |
//! | 11 | `Checkpoint` | chunk, last, payload |
//! | 12 | `Resign` | |
//! | 13 | `Barrier` | |
//! | 14 | `Discard` | rows, each: key, oldest and newest time |
//!
//! A number is never used again for something else. Golden bytes of every kind are kept in
//! `wal-core/tests/golden`.

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use super::pieces::{Reader, Writer};
use super::vocabulary::write_part_without_conditions;
use super::{Body, CommitSingle, Header, Prepare, Record};

/// The version that is written and read.
pub const RECORD_VERSION: u8 = 1;

const CHECKSUM_BYTES: usize = 4;

/// Why bytes are not a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// An undamaged record of another version.
    #[error(
        "the record has version {found}, this server reads {expected}; use the version that wrote it"
    )]
    Version {
        /// The record's version.
        found: u8,
        /// The version that is read.
        expected: u8,
    },
    /// An undamaged record of a kind that a later program writes.
    #[error(
        "the record is of a kind ({found}) that this server does not know: a newer one has written it, and \
         the namespace's write version allows it; run that version here too"
    )]
    Kind {
        /// The record's kind.
        found: u8,
    },
    /// Not what was written.
    #[error("the record is damaged: {what} at byte {at}; restore the log from a copy")]
    Damaged {
        /// What was wrong.
        what: &'static str,
        /// Where it was noticed, in bytes from the start.
        at: usize,
    },
}

/// Appends a record to `out` and returns its hash: the `previous` of the next.
pub fn encode_into(out: &mut Vec<u8>, header: &Header, body: &Body) -> u64 {
    let start = out.len();
    let mut writer = Writer::new(out);
    writer.byte(RECORD_VERSION);
    writer.byte(kind(body));
    writer.piece(&header.epoch);
    writer.piece(&header.seq);
    writer.fixed64(header.previous);
    write_body(body, &mut writer);
    let checksum = crc32fast::hash(&out[start..]);
    out.extend_from_slice(&checksum.to_le_bytes());
    xxh3_64(&out[start..])
}

/// Reads one record, which must take all of `bytes`, and returns it with its hash.
/// Values are slices of `bytes`.
///
/// # Errors
/// See [`DecodeError`]. No input makes it panic or reserve more memory than the input's size justifies.
pub fn decode(bytes: Bytes) -> Result<(Record, u64), DecodeError> {
    let content = check(&bytes)?;
    let hash = xxh3_64(&bytes);
    let mut input = Reader::new(bytes.slice(..content));
    let (header, kind) = read_header(&mut input)?;
    let body = read_body(kind, &mut input)?;
    input.finish()?;
    Ok((Record { header, body }, hash))
}

/// Reads only the header of a record, once its checksum was found right.
///
/// # Errors
/// See [`DecodeError`].
pub fn decode_header(bytes: &[u8]) -> Result<Header, DecodeError> {
    /// Version, kind, two varints of at most 10 bytes, 8 bytes.
    const MAX_HEADER_BYTES: usize = 30;
    let content = check(bytes)?;
    let head = Bytes::copy_from_slice(&bytes[..content.min(MAX_HEADER_BYTES)]);
    Ok(read_header(&mut Reader::new(head))?.0)
}

/// Checks checksum and version; returns how many bytes come before the checksum.
fn check(bytes: &[u8]) -> Result<usize, DecodeError> {
    let short = DecodeError::Damaged { what: "ends too early", at: bytes.len() };
    let (content, checksum) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or(short.clone())?;
    let found = *content.first().ok_or(short)?;
    if crc32fast::hash(content) != u32::from_le_bytes(*checksum) {
        return Err(DecodeError::Damaged { what: "a wrong checksum", at: content.len() });
    }
    if found != RECORD_VERSION {
        return Err(DecodeError::Version { found, expected: RECORD_VERSION });
    }
    Ok(content.len())
}

fn read_header(input: &mut Reader) -> Result<(Header, u8), DecodeError> {
    let _version = input.byte()?;
    let kind = input.byte()?;
    let epoch = input.piece()?;
    Ok((Header { epoch, seq: input.piece()?, previous: input.fixed64()? }, kind))
}

const fn kind(body: &Body) -> u8 {
    match body {
        Body::Epoch { .. } => 1,
        Body::Intent { .. } => 2,
        Body::Prepare(_) => 3,
        Body::Commit { .. } => 4,
        Body::CommitSingle(_) => 5,
        Body::Abort { .. } => 6,
        Body::Refuse { .. } => 7,
        Body::Close { .. } => 8,
        Body::Finished { .. } => 9,
        Body::Floor { .. } => 10,
        Body::Checkpoint { .. } => 11,
        Body::Resign => 12,
        Body::Barrier => 13,
        Body::Discard { .. } => 14,
    }
}

fn write_body(body: &Body, out: &mut Writer<'_>) {
    match body {
        Body::Epoch { log, owner, address, wall_us } => {
            out.piece(log);
            out.piece(owner);
            out.piece(address);
            out.fixed64(*wall_us as u64);
        }
        Body::Intent { transaction, start } => {
            out.piece(transaction);
            out.piece(start);
        }
        Body::Prepare(prepare) => write_prepare(prepare, out),
        Body::CommitSingle(commit) => {
            out.piece(&commit.id);
            out.piece(&commit.fingerprint);
            out.piece(&commit.timestamp);
            write_part_without_conditions(&commit.part, out);
            out.list(&commit.adds);
        }
        Body::Commit { id, attempt, timestamp } => {
            out.piece(id);
            out.piece(attempt);
            out.piece(timestamp);
        }
        Body::Abort { id, attempt } | Body::Refuse { id, attempt } => {
            out.piece(id);
            out.piece(attempt);
        }
        Body::Close { id, fingerprint, participants, reason } => {
            out.piece(id);
            out.piece(fingerprint);
            out.list(participants);
            out.piece(reason);
        }
        Body::Finished { ids } => out.list(ids),
        Body::Floor { floor } => out.piece(floor),
        Body::Checkpoint { chunk, last, payload } => {
            out.varint(u64::from(*chunk));
            out.piece(last);
            out.bytes(payload);
        }
        Body::Discard { rows } => out.list(rows),
        Body::Resign | Body::Barrier => {}
    }
}

fn write_prepare(prepare: &Prepare, out: &mut Writer<'_>) {
    out.piece(&prepare.id);
    out.piece(&prepare.fingerprint);
    out.varint(u64::from(prepare.namespace_version));
    out.piece(&prepare.attempt);
    out.piece(&prepare.start);
    out.piece(&prepare.proposal);
    out.list(&prepare.participants);
    out.piece(&prepare.part);
    out.list(&prepare.adds);
    out.list(&prepare.others);
    out.list(&prepare.depends_on);
}

// Fields of a literal are read in the order in which they stand: the order of the table above.
fn read_body(kind: u8, input: &mut Reader) -> Result<Body, DecodeError> {
    Ok(match kind {
        1 => Body::Epoch {
            log: input.piece()?,
            owner: input.piece()?,
            address: input.piece()?,
            wall_us: input.fixed64()? as i64,
        },
        2 => Body::Intent { transaction: input.piece()?, start: input.piece()? },
        3 => Body::Prepare(Box::new(read_prepare(input)?)),
        4 => {
            Body::Commit { id: input.piece()?, attempt: input.piece()?, timestamp: input.piece()? }
        }
        5 => Body::CommitSingle(Box::new(CommitSingle {
            id: input.piece()?,
            fingerprint: input.piece()?,
            timestamp: input.piece()?,
            part: input.piece()?,
            adds: input.list()?,
        })),
        6 => Body::Abort { id: input.piece()?, attempt: input.piece()? },
        7 => Body::Refuse { id: input.piece()?, attempt: input.piece()? },
        8 => Body::Close {
            id: input.piece()?,
            fingerprint: input.piece()?,
            participants: input.list()?,
            reason: input.piece()?,
        },
        9 => Body::Finished { ids: input.list()? },
        10 => Body::Floor { floor: input.piece()? },
        11 => Body::Checkpoint {
            chunk: input.small()?,
            last: input.piece()?,
            payload: input.bytes()?,
        },
        12 => Body::Resign,
        13 => Body::Barrier,
        14 => Body::Discard { rows: input.list()? },
        found => return Err(DecodeError::Kind { found }),
    })
}

fn read_prepare(input: &mut Reader) -> Result<Prepare, DecodeError> {
    Ok(Prepare {
        id: input.piece()?,
        fingerprint: input.piece()?,
        namespace_version: input.small()?,
        attempt: input.piece()?,
        start: input.piece()?,
        proposal: input.piece()?,
        participants: input.list()?,
        part: input.piece()?,
        adds: input.list()?,
        others: input.list()?,
        depends_on: input.list()?,
    })
}
