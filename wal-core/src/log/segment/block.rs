//! Blocks and segment headers as bytes. All numbers are little-endian.
//!
//! ```text
//! block header, 64 bytes                       segment header, 64 bytes
//!  0  magic "HFb1"                              0  magic "HFsegmnt"
//!  4  CRC-32 of bytes 8..64                     8  format
//!  8  position of the block                    12  CRC-32 of bytes 0..12 and 16..64
//! 16  number of the block                      16  log identity (16 bytes)
//! 24  chain: XXH3-64 of the header before      32  segment number
//! 32  log identity, its last 8 bytes           40  base position
//! 40  salt of the opening that wrote it        48  length of the segment
//! 48  content length (4 bytes)                 56  zeroes
//! 52  CRC-32 of the content
//! 56  zeroes
//! ```
//!
//! The content of a block is a list of entries, one for each [`ShardBatch`]: shard, epoch, first sequence,
//! count and the length of each record as varints, then the records. A block without content is a *mark*.

use crc32fast::Hasher;
use xxhash_rust::xxh3::xxh3_64;

use crate::id::{Nonce, Position, ShardId};
use crate::log::{LogError, ShardBatch};
use crate::record::pieces::Writer;

/// The version of everything in the folder.
pub(super) const FORMAT: u32 = 1;
/// Blocks start at multiples of this: a page, so that what was acknowledged is never written again.
pub(super) const ALIGN: u64 = 4096;
/// Bytes of a block's header.
pub(super) const HEADER: usize = 64;

const BLOCK_MAGIC: &[u8; 4] = b"HFb1";
const SEGMENT_MAGIC: &[u8; 8] = b"HFsegmnt";

/// The header of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlockHeader {
    /// Where the block starts in the log.
    pub(super) position: u64,
    /// 1 for the log's first block, then one more for each.
    pub(super) number: u64,
    /// Hash of the header of the block before it; 0 for the first.
    pub(super) chain: u64,
    /// The log's identity.
    pub(super) identity: u64,
    /// Drawn at each opening, so that nothing written earlier can carry the right chain.
    pub(super) salt: u64,
    /// Bytes of content.
    pub(super) length: u32,
    /// CRC-32 of the content.
    pub(super) content: u32,
}

impl BlockHeader {
    /// Bytes that the block takes, padding included.
    pub(super) const fn span(&self) -> u64 {
        (HEADER as u64 + self.length as u64).next_multiple_of(ALIGN)
    }

    /// Where the next block starts, if the segment has room.
    pub(super) const fn end(&self) -> u64 {
        self.position + self.span()
    }

    pub(super) fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..4].copy_from_slice(BLOCK_MAGIC);
        bytes[8..16].copy_from_slice(&self.position.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.number.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.chain.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.identity.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.salt.to_le_bytes());
        bytes[48..52].copy_from_slice(&self.length.to_le_bytes());
        bytes[52..56].copy_from_slice(&self.content.to_le_bytes());
        let checksum = crc32fast::hash(&bytes[8..]);
        bytes[4..8].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// The header in `bytes` if they hold one, undamaged, that belongs to this log and to this place.
    pub(super) fn decode(bytes: &[u8], identity: Nonce, position: u64) -> Option<Self> {
        let bytes: &[u8; HEADER] = bytes.first_chunk()?;
        let header = Self {
            position: u64_at(bytes, 8),
            number: u64_at(bytes, 16),
            chain: u64_at(bytes, 24),
            identity: u64_at(bytes, 32),
            salt: u64_at(bytes, 40),
            length: u32_at(bytes, 48),
            content: u32_at(bytes, 52),
        };
        let here = header.position == position && header.identity == identity.0 as u64;
        (here && header.encode() == *bytes).then_some(header)
    }

    /// What the next block names as its chain.
    pub(super) fn hash(&self) -> u64 {
        xxh3_64(&self.encode())
    }
}

/// The header of a segment file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    /// The log's identity.
    pub(super) identity: Nonce,
    /// 1 for the first, then one more for each.
    pub(super) number: u64,
    /// The position of the file's first byte.
    pub(super) base: u64,
    /// Bytes of the file.
    pub(super) length: u64,
}

impl SegmentHeader {
    pub(super) fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..8].copy_from_slice(SEGMENT_MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.identity.0.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.number.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.base.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.length.to_le_bytes());
        let checksum = checksum_around(&bytes);
        bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Reads a header of the file `name`.
    pub(super) fn decode(bytes: &[u8], name: &str) -> Result<Self, LogError> {
        let damaged = || LogError::Damaged { what: format!("the header of {name}") };
        let bytes: &[u8; HEADER] = bytes.first_chunk().ok_or_else(damaged)?;
        check_format(bytes, SEGMENT_MAGIC, name)?;
        let header = Self {
            identity: Nonce(u128::from_le_bytes(
                *bytes[16..32].first_chunk().expect("32 - 16 is 16 bytes"),
            )),
            number: u64_at(bytes, 32),
            base: u64_at(bytes, 40),
            length: u64_at(bytes, 48),
        };
        let whole = header.length >= 2 * ALIGN && header.length.is_multiple_of(ALIGN);
        if whole && header.base.is_multiple_of(ALIGN) { Ok(header) } else { Err(damaged()) }
    }
}

/// Checks what every file of every format starts with: magic, format, checksum of all the rest.
pub(super) fn check_format(bytes: &[u8], magic: &[u8; 8], name: &str) -> Result<(), LogError> {
    let damaged = || LogError::Damaged { what: format!("the header of {name}") };
    if bytes.len() < 16 || !bytes.starts_with(magic) {
        return Err(damaged());
    }
    if checksum_around(bytes) != u32_at(bytes, 12) {
        return Err(damaged());
    }
    match u32_at(bytes, 8) {
        FORMAT => Ok(()),
        found => Err(LogError::Format { found, expected: FORMAT }),
    }
}

/// The CRC-32 of everything but the four bytes in which it is kept.
pub(super) fn checksum_around(bytes: &[u8]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(&bytes[..12]);
    hasher.update(&bytes[16..]);
    hasher.finalize()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(*bytes[at..].first_chunk().expect("callers stay within the header"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(*bytes[at..].first_chunk().expect("callers stay within the header"))
}

/// At most this many bytes of content for one batch, varints included.
pub(super) fn entry_bound(batch: &ShardBatch) -> u64 {
    /// Shard, epoch, sequence and count.
    const FIXED_BYTES: u64 = 3 + 10 + 10 + 5;
    const LENGTH_BYTES: u64 = 5;
    FIXED_BYTES + LENGTH_BYTES * batch.ends.len() as u64 + batch.bytes.len() as u64
}

/// Appends a batch to the content of a block; returns where in `out` its first record starts.
pub(super) fn encode_entry(out: &mut Vec<u8>, batch: &ShardBatch) -> u64 {
    let mut writer = Writer::new(out);
    writer.piece(&batch.shard);
    writer.piece(&batch.epoch);
    writer.piece(&batch.first);
    writer.varint(batch.ends.len() as u64);
    let mut start = 0;
    for &end in &batch.ends {
        writer.varint(u64::from(end - start));
        start = end;
    }
    let first = out.len() as u64;
    out.extend_from_slice(&batch.bytes);
    first
}

/// One batch in the content of a block.
pub(super) struct Entry<'a> {
    pub(super) shard: ShardId,
    /// Each record with its position.
    pub(super) records: Vec<(Position, &'a [u8])>,
}

/// The entries of a block whose checksum was right; `None` if they cannot be understood.
pub(super) fn decode_entries<'a>(
    content: &'a [u8],
    header: &BlockHeader,
) -> Option<Vec<Entry<'a>>> {
    let content_position = header.position + HEADER as u64;
    let mut at = 0;
    let mut entries = Vec::new();
    while at < content.len() {
        let shard = ShardId(u16::try_from(varint(content, &mut at)?).ok()?);
        // Epoch and first sequence: the records say so too, these are for whoever looks at the file.
        let _epoch = varint(content, &mut at)?;
        let _first = varint(content, &mut at)?;
        let count = usize::try_from(varint(content, &mut at)?).ok()?;
        if count > content.len() - at {
            return None;
        }
        let lengths: Option<Vec<u64>> = (0..count).map(|_| varint(content, &mut at)).collect();
        let mut records = Vec::with_capacity(count);
        for length in lengths? {
            let end = at.checked_add(usize::try_from(length).ok()?)?;
            let record = content.get(at..end)?;
            records.push((Position(content_position + at as u64), record));
            at = end;
        }
        entries.push(Entry { shard, records });
    }
    Some(entries)
}

fn varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::id::{Epoch, Sequence};

    const IDENTITY: Nonce = Nonce(77);

    fn header() -> BlockHeader {
        BlockHeader {
            position: 8192,
            number: 3,
            chain: 9,
            identity: 77,
            salt: 5,
            length: 100,
            content: 1,
        }
    }

    #[test]
    fn a_block_header_is_read_only_where_it_belongs() {
        let bytes = header().encode();
        assert_eq!(BlockHeader::decode(&bytes, IDENTITY, 8192), Some(header()));
        assert_eq!(BlockHeader::decode(&bytes, IDENTITY, 4096), None);
        assert_eq!(BlockHeader::decode(&bytes, Nonce(78), 8192), None);
        for bit in 0..HEADER * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(BlockHeader::decode(&flipped, IDENTITY, 8192), None, "bit {bit}");
        }
    }

    #[test]
    fn a_segment_header_tells_another_format_from_damage() {
        let header = SegmentHeader { identity: IDENTITY, number: 2, base: 65_536, length: 65_536 };
        let bytes = header.encode();
        assert_eq!(SegmentHeader::decode(&bytes, "s").expect("a header"), header);
        for bit in 0..HEADER * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            let read = SegmentHeader::decode(&flipped, "s");
            assert!(matches!(read, Err(LogError::Damaged { .. })), "bit {bit}");
        }
        let mut newer = bytes;
        newer[8] = 2;
        let checksum = checksum_around(&newer);
        newer[12..16].copy_from_slice(&checksum.to_le_bytes());
        let read = SegmentHeader::decode(&newer, "s");
        assert!(matches!(read, Err(LogError::Format { found: 2, expected: FORMAT })));
    }

    #[test]
    fn entries_are_read_back_and_nonsense_is_not() {
        let batch = ShardBatch {
            shard: ShardId(300),
            epoch: Epoch(4),
            first: Sequence(1000),
            bytes: Bytes::from_static(b"onethree"),
            ends: vec![3, 3, 8],
        };
        let mut content = Vec::new();
        let first = encode_entry(&mut content, &batch);
        assert!(content.len() as u64 <= entry_bound(&batch));
        let entries = decode_entries(&content, &header()).expect("entries");
        let entry = &entries[0];
        assert_eq!(entry.shard, batch.shard);
        let records: Vec<&[u8]> = entry.records.iter().map(|(_, record)| *record).collect();
        assert_eq!(records, [b"one".as_slice(), b"", b"three"]);
        assert_eq!(entry.records[0].0, Position(8192 + HEADER as u64 + first));
        assert!(decode_entries(&content[..content.len() - 1], &header()).is_none());
        assert!(decode_entries(&[0xff; 50], &header()).is_none());
    }
}
