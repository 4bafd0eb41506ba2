//! Reading blocks: where the log ends, and what it holds.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::block::{ALIGN, BlockHeader, HEADER, decode_entries};
use super::folder::{Route, Segment, segment_name};
use super::io_error;
use crate::id::{Nonce, Position, ShardId};
use crate::log::{LogError, Visit};

/// Segments are read in chunks of this many bytes.
const CHUNK_BYTES: usize = 1 << 20;

/// A moving view of one segment.
pub(super) struct View<'a> {
    segment: &'a Segment,
    identity: Nonce,
    /// Nothing at or behind this position is looked at.
    end: u64,
    buffer: Vec<u8>,
    filled: usize,
    /// The offset of the buffer in the file.
    start: u64,
}

impl<'a> View<'a> {
    pub(super) fn new(segment: &'a Segment, identity: Nonce) -> Self {
        Self::until(segment.end(), segment, identity)
    }

    /// Up to a position within the segment or behind it.
    fn until(end: u64, segment: &'a Segment, identity: Nonce) -> Self {
        let end = end.min(segment.end());
        Self { segment, identity, end, buffer: Vec::new(), filled: 0, start: 0 }
    }

    /// `length` bytes at a position of the segment; fewer if the file ends before.
    fn bytes(&mut self, position: u64, length: usize) -> Result<&[u8], LogError> {
        let offset = position - self.segment.header.base;
        let held =
            offset >= self.start && offset + length as u64 <= self.start + self.filled as u64;
        if !held {
            let left = self.end - position;
            let wanted = (length.max(CHUNK_BYTES) as u64).min(left) as usize;
            self.buffer.resize(wanted.max(self.buffer.len()), 0);
            let read = self.segment.file.read_at(&mut self.buffer[..wanted], offset);
            self.filled = read.map_err(|error| self.failed(error))?;
            self.start = offset;
        }
        let from = (offset - self.start) as usize;
        Ok(&self.buffer[from..self.filled.min(from + length)])
    }

    fn failed(&self, error: io::Error) -> LogError {
        io_error(&format!("read {}", segment_name(self.segment.header.number)), error)
    }

    /// The header of a block that starts here and ends within the view.
    pub(super) fn header(&mut self, position: u64) -> Result<Option<BlockHeader>, LogError> {
        if position + ALIGN > self.end {
            return Ok(None);
        }
        let identity = self.identity;
        let header = BlockHeader::decode(self.bytes(position, HEADER)?, identity, position);
        Ok(header.filter(|header| header.end() <= self.end))
    }

    /// The content of a block, if it is undamaged.
    pub(super) fn content(&mut self, header: &BlockHeader) -> Result<Option<&[u8]>, LogError> {
        let bytes = self.bytes(header.position + HEADER as u64, header.length as usize)?;
        let whole = bytes.len() == header.length as usize;
        Ok((whole && crc32fast::hash(bytes) == header.content).then_some(bytes))
    }
}

/// Where the log ends.
pub(super) struct Tail {
    /// The segment of the last block.
    pub(super) segment: Arc<Segment>,
    /// The last block; none in a log that was just created.
    pub(super) last: Option<BlockHeader>,
    /// Whether bytes were found behind it that are the beginning of a block which was never acknowledged.
    pub(super) torn: bool,
}

/// Finds the last block. See "The end of the log" in [`super`].
///
/// # Errors
/// [`LogError::Damaged`] if a later block proves that one which cannot be read was durable.
pub(super) fn find_tail(segments: &[Arc<Segment>], identity: Nonce) -> Result<Tail, LogError> {
    let mut behind: Option<BlockHeader> = None;
    for segment in segments.iter().rev() {
        let mut view = View::new(segment, identity);
        let last = last_block(&mut view)?;
        let from = last.map_or(segment.first(), |last| last.end());
        for position in (from..segment.end()).step_by(ALIGN as usize) {
            let found = view.header(position)?;
            let later = |header: &BlockHeader| behind.is_none_or(|b| header.number > b.number);
            behind = found.filter(later).or(behind);
        }
        if last.is_some() {
            return decide(Arc::clone(segment), last, behind, from);
        }
    }
    match segments.first() {
        Some(first) if first.header.number == 1 => {
            decide(Arc::clone(first), None, behind, first.first())
        }
        _ => Err(LogError::Damaged { what: "no block can be read".into() }),
    }
}

/// The last of the unbroken chain of blocks at the start of a segment.
fn last_block(view: &mut View<'_>) -> Result<Option<BlockHeader>, LogError> {
    let mut last: Option<BlockHeader> = None;
    let mut position = view.segment.first();
    while let Some(header) = view.header(position)? {
        if last.is_some_and(|last| !follows(&header, &last)) || view.content(&header)?.is_none() {
            break;
        }
        position = header.end();
        last = Some(header);
    }
    Ok(last)
}

fn follows(header: &BlockHeader, last: &BlockHeader) -> bool {
    header.number == last.number + 1 && header.chain == last.hash()
}

fn decide(
    segment: Arc<Segment>,
    last: Option<BlockHeader>,
    behind: Option<BlockHeader>,
    from: u64,
) -> Result<Tail, LogError> {
    let missing = last.map_or(1, |last| last.number + 1);
    match behind {
        // A block is written only once the one before it is durable: this one is the proof.
        Some(header) if header.number > missing => Err(LogError::Damaged {
            what: format!(
                "block {missing} at position {from} cannot be read, but block {} at {} was \
                 written after it",
                header.number, header.position
            ),
        }),
        Some(_) => Ok(Tail { segment, last, torn: true }),
        None => Ok(Tail { segment, last, torn: false }),
    }
}

/// How far a route was gone.
pub(super) struct Replayed {
    /// The last block before its end; none in a log that has none.
    pub(super) last: Option<BlockHeader>,
    /// The end of the route, or of the block that was enough.
    pub(super) end: u64,
}

/// Visits the records on a route, to its end or to that of the block in which the blocks with anything on it
/// come to `enough` bytes. Blocks up to `behind`, an earlier one's last, are passed over unread: nothing of
/// them is asked for.
pub(super) fn replay(
    route: &Route,
    identity: Nonce,
    behind: Option<BlockHeader>,
    enough: u64,
    visit: Visit<'_>,
) -> Result<Replayed, LogError> {
    let end = route.end;
    let low = route.starts.iter().map(|(_, start)| start.0).min();
    let Some(low) = low.filter(|low| *low < end) else { return Ok(Replayed { last: behind, end }) };
    let oldest = route.segments.first().map_or(0, |segment| segment.header.base);
    let mut last = behind.filter(|behind| behind.position >= oldest);
    let (mut bytes, mut stopped_at) = (0, None);
    for segment in &route.segments {
        let mut view = View::until(end, segment, identity);
        let mut position = last.map_or(0, |last| last.end()).max(segment.first());
        while position < end {
            let header = view.header(position)?;
            let next = |header: &BlockHeader| last.is_none_or(|last| follows(header, &last));
            let Some(header) = header.filter(next) else { break };
            position = header.end();
            last = Some(header);
            if position > low {
                visit_block(&mut view, &header, &route.starts, visit)?;
                bytes += header.span();
                if bytes >= enough {
                    return Ok(Replayed { last, end: position });
                }
            }
        }
        if position >= end {
            return Ok(Replayed { last, end });
        }
        // The end of the segment, unless the next one does not go on where this one stops.
        if position == segment.first() {
            return Err(unreadable(stopped_at.unwrap_or(position)));
        }
        stopped_at = Some(position);
    }
    Err(unreadable(stopped_at.unwrap_or(low)))
}

fn unreadable(position: u64) -> LogError {
    LogError::Damaged { what: format!("the block at position {position} cannot be read") }
}

fn visit_block(
    view: &mut View<'_>,
    header: &BlockHeader,
    starts: &[(ShardId, Position)],
    visit: Visit<'_>,
) -> Result<(), LogError> {
    let content = view.content(header)?.ok_or_else(|| unreadable(header.position))?;
    let entries = decode_entries(content, header).ok_or_else(|| unreadable(header.position))?;
    for entry in entries {
        let Ok(index) = starts.binary_search_by_key(&entry.shard, |(shard, _)| *shard) else {
            continue;
        };
        for (position, record) in entry.records {
            if position >= starts[index].1 {
                // Copied, so that a value that is kept does not keep a whole chunk.
                visit(entry.shard, position, Bytes::copy_from_slice(record))?;
            }
        }
    }
    Ok(())
}
