//! The files of the log: which there are, and how they come and go.
//!
//! A segment is made under another name, and renamed once its header and all its space are on the disk; then
//! the state file says that it exists. It is removed in the opposite order. So the state file never names
//! a segment that is missing, unless somebody took it away.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use super::block::{ALIGN, BlockHeader, HEADER, SegmentHeader};
use super::io_error;
use super::state::{STATE_FILE, State};
use crate::id::{Nonce, Position, ShardId};
use crate::log::LogError;
use crate::log::file::{Disk, DiskFile, DiskLock};

const LOCK_FILE: &str = "log.lock";
/// A segment that is not ready yet.
const NEXT_FILE: &str = "next.log";
/// A segment that was trimmed and is kept to be written again: its space need not be zeroed.
const SPARE_FILE: &str = "spare.log";

/// One segment file, open.
pub(super) struct Segment {
    pub(super) header: SegmentHeader,
    pub(super) file: Arc<dyn DiskFile>,
}

impl Segment {
    /// The position of the first block.
    pub(super) const fn first(&self) -> u64 {
        self.header.base + ALIGN
    }

    /// The position behind the file.
    pub(super) const fn end(&self) -> u64 {
        self.header.base + self.header.length
    }
}

/// The name of a segment's file.
pub(super) fn segment_name(number: u64) -> String {
    format!("segment-{number:012}.log")
}

fn segment_number(name: &str) -> Option<u64> {
    name.strip_prefix("segment-")?.strip_suffix(".log")?.parse().ok()
}

/// The folder of one log.
pub(super) struct Folder {
    disk: Arc<dyn Disk>,
    segment_bytes: u64,
    identity: Nonce,
    /// Everything before this position is durable; blocks end here.
    end: AtomicU64,
    files: Mutex<Files>,
    _lock: Box<dyn DiskLock>,
}

struct Files {
    state: State,
    segments: VecDeque<Arc<Segment>>,
    spare: bool,
}

/// Where a replay goes.
pub(super) struct Route {
    /// The segments that hold anything from the smallest start on.
    pub(super) segments: Vec<Arc<Segment>>,
    /// Where each asked shard starts.
    pub(super) starts: Vec<(ShardId, Position)>,
    /// Where the replay ends.
    pub(super) end: u64,
}

impl Folder {
    /// Locks the folder, reads the state file and opens the segments; creates the log if there is none.
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        segment_bytes: u64,
        fresh_identity: Nonce,
    ) -> Result<Self, LogError> {
        let lock = disk.lock(LOCK_FILE).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => LogError::Locked { what: disk.describe() },
            _ => io_error(&format!("lock {}", disk.describe()), error),
        })?;
        let names = disk.list().map_err(|error| io_error("list the log's folder", error))?;
        let state = match State::load(&*disk)? {
            Some(state) => state,
            None => create(&*disk, &names, fresh_identity)?,
        };
        // What was read may be in memory only: an earlier process may have ended, or failed, before it was
        // durable. Everything from here on relies on it.
        state.save(&*disk)?;
        check_names(&*disk, &names, &state)?;
        let opened: Result<_, LogError> = (state.oldest..=state.newest)
            .map(|number| open_segment(&*disk, &state, number))
            .collect();
        let segments: VecDeque<Arc<Segment>> = opened?;
        for pair in segments.iter().zip(segments.iter().skip(1)) {
            if pair.0.end() != pair.1.header.base {
                let what = format!("{} does not follow", segment_name(pair.1.header.number));
                return Err(LogError::Damaged { what });
            }
        }
        Ok(Self {
            disk,
            segment_bytes,
            identity: state.identity,
            end: AtomicU64::new(0),
            files: Mutex::new(Files { state, segments, spare: false }),
            _lock: lock,
        })
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().expect("no holder of this lock panics")
    }

    pub(super) const fn identity(&self) -> Nonce {
        self.identity
    }

    /// Everything before this is durable.
    pub(super) fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    /// Says that everything before `end` is durable.
    pub(super) fn set_end(&self, end: u64) {
        self.end.store(end, Ordering::Release);
    }

    /// Bytes of content that a block in an otherwise empty segment can have.
    pub(super) const fn capacity(&self) -> u64 {
        self.segment_bytes - ALIGN - HEADER as u64
    }

    /// All segments, oldest first.
    pub(super) fn segments(&self) -> Vec<Arc<Segment>> {
        self.files().segments.iter().cloned().collect()
    }

    /// The segment of that number, if it is ready.
    pub(super) fn segment(&self, number: u64) -> Option<Arc<Segment>> {
        let files = self.files();
        files.segments.iter().find(|segment| segment.header.number == number).cloned()
    }

    pub(super) fn size_bytes(&self) -> u64 {
        let files = self.files();
        let spare = if files.spare { self.segment_bytes } else { 0 };
        files.segments.iter().map(|segment| segment.header.length).sum::<u64>() + spare
    }

    /// Makes the segment behind the last one ready. Blocks for as long as writing it takes.
    pub(super) fn prepare_next(&self) -> Result<(), LogError> {
        let (header, spare) = {
            let mut files = self.files();
            let last = files.segments.back();
            let number = last.map_or(1, |segment| segment.header.number + 1);
            let base = last.map_or(0, |segment| segment.end());
            let length = self.segment_bytes;
            let header = SegmentHeader { identity: self.identity, number, base, length };
            (header, std::mem::take(&mut files.spare))
        };
        let name = segment_name(header.number);
        let made = self.make_next(&header, spare);
        let file = made.map_err(|error| {
            // Gives back the space of a half-made file; if that fails too, the next opening does it.
            let _ = self.disk.remove(NEXT_FILE);
            io_error(&format!("prepare {name} of {} bytes", header.length), error)
        })?;
        let mut files = self.files();
        let mut state = files.state.clone();
        state.newest = header.number;
        state.save(&*self.disk)?;
        files.state = state;
        files.segments.push_back(Arc::new(Segment { header, file }));
        Ok(())
    }

    fn make_next(&self, header: &SegmentHeader, spare: bool) -> io::Result<Arc<dyn DiskFile>> {
        let file = if spare {
            self.disk.rename(SPARE_FILE, NEXT_FILE)?;
            self.disk.open(NEXT_FILE)?
        } else {
            let file = self.disk.create(NEXT_FILE)?;
            file.allocate(header.length)?;
            file
        };
        file.write_at(&header.encode(), 0)?;
        file.sync_data()?;
        self.disk.rename(NEXT_FILE, &segment_name(header.number))?;
        self.disk.sync_dir()?;
        Ok(file)
    }

    /// Makes durable that these shards have records: from now on they hold segments until they trim.
    pub(super) fn know_shards(&self, shards: &[ShardId]) -> Result<(), LogError> {
        self.update(|state| {
            for shard in shards {
                state.trims.entry(*shard).or_default();
            }
        })
    }

    /// The shards that have records.
    pub(super) fn known_shards(&self) -> Vec<ShardId> {
        self.files().state.trims.keys().copied().collect()
    }

    pub(super) fn store_hint(&self, shard: ShardId, at: Position) -> Result<(), LogError> {
        self.update(|state| {
            state.hints.insert(shard, at);
        })
    }

    pub(super) fn hint(&self, shard: ShardId) -> Option<Position> {
        self.files().state.hints.get(&shard).copied()
    }

    /// Raises a shard's trim position and removes the segments that nobody needs any more.
    pub(super) fn trim(&self, shard: ShardId, before: Position) -> Result<(), LogError> {
        let before = before.min(Position(self.end()));
        self.update(|state| {
            if let Some(position) = state.trims.get_mut(&shard) {
                *position = before.max(*position);
            }
        })?;
        self.retire()
    }

    fn update(&self, change: impl FnOnce(&mut State)) -> Result<(), LogError> {
        let mut files = self.files();
        let mut state = files.state.clone();
        change(&mut state);
        if state != files.state {
            state.save(&*self.disk)?;
            files.state = state;
        }
        Ok(())
    }

    fn retire(&self) -> Result<(), LogError> {
        let mut files = self.files();
        let end = self.end();
        let low = files.state.trims.values().min().map_or(0, |position| position.0);
        // Invariant: the segment with the last durable block stays, and so does everything behind it.
        let unused = |segment: &&Arc<Segment>| segment.end() <= low && segment.end() < end;
        let count = files.segments.iter().take_while(unused).count();
        if count == 0 {
            return Ok(());
        }
        let mut state = files.state.clone();
        state.oldest = files.segments[count].header.number;
        state.save(&*self.disk)?;
        files.state = state;
        let retired: Vec<Arc<Segment>> = files.segments.drain(..count).collect();
        for segment in retired {
            let name = segment_name(segment.header.number);
            // A replay that still reads the file keeps it from being written again.
            let free = Arc::strong_count(&segment) == 1;
            let removed = if free && !files.spare && segment.header.length == self.segment_bytes {
                files.spare = true;
                self.disk.rename(&name, SPARE_FILE)
            } else {
                self.disk.remove(&name)
            };
            removed.map_err(|error| io_error(&format!("remove {name}"), error))?;
        }
        Ok(())
    }

    /// Finds where to read for a replay: see [`crate::log::IntentLog::replay`].
    pub(super) fn route<'a>(
        &self,
        from: impl IntoIterator<Item = (&'a ShardId, &'a Position)>,
    ) -> Result<Route, LogError> {
        let files = self.files();
        let end = self.end();
        let mut starts = Vec::new();
        for (&shard, &asked) in from {
            if asked.0 > end {
                let what = format!("position {asked} of shard {shard} lies behind its end, {end}");
                return Err(LogError::Damaged { what });
            }
            let Some(&first) = files.state.trims.get(&shard) else {
                continue; // it has no records
            };
            if asked != Position(0) && asked < first {
                return Err(LogError::Trimmed { shard, asked, first });
            }
            starts.push((shard, asked.max(first)));
        }
        let low = starts.iter().map(|(_, start)| start.0).min().unwrap_or(end);
        let needed = files.segments.iter().filter(|s| s.end() > low && s.header.base < end);
        Ok(Route { segments: needed.cloned().collect(), starts, end })
    }
}

/// Starts a new log: its identity is durable before anything else is.
fn create(disk: &dyn Disk, names: &[String], identity: Nonce) -> Result<State, LogError> {
    if names.iter().any(|name| segment_number(name).is_some()) {
        let what = format!("{} has segments but no {STATE_FILE}", disk.describe());
        return Err(LogError::Damaged { what });
    }
    let state = State { identity, oldest: 1, ..State::default() };
    state.save(disk)?;
    Ok(state)
}

/// Removes what an interrupted change left behind, once it is certain that nobody needs it.
fn check_names(disk: &dyn Disk, names: &[String], state: &State) -> Result<(), LogError> {
    for name in names {
        let left = match segment_number(name) {
            Some(number) if number > state.newest => {
                let next = number == state.newest + 1;
                if !next || holds_blocks(disk, name, state.identity)? {
                    let what = format!("{STATE_FILE} is older than {name}");
                    return Err(LogError::Damaged { what });
                }
                true
            }
            Some(number) => number < state.oldest,
            None => name == NEXT_FILE || name == SPARE_FILE,
        };
        if left {
            disk.remove(name).map_err(|error| io_error(&format!("remove {name}"), error))?;
        }
    }
    Ok(())
}

fn holds_blocks(disk: &dyn Disk, name: &str, identity: Nonce) -> Result<bool, LogError> {
    let failed = |error| io_error(&format!("read {name}"), error);
    let file = disk.open(name).map_err(failed)?;
    let mut bytes = [0; HEADER];
    file.read_at(&mut bytes, 0).map_err(failed)?;
    let Ok(header) = SegmentHeader::decode(&bytes, name) else { return Ok(false) };
    file.read_at(&mut bytes, ALIGN).map_err(failed)?;
    Ok(BlockHeader::decode(&bytes, identity, header.base + ALIGN).is_some())
}

fn open_segment(disk: &dyn Disk, state: &State, number: u64) -> Result<Arc<Segment>, LogError> {
    let name = segment_name(number);
    let file = disk.open(&name).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => LogError::Damaged { what: format!("{name} is missing") },
        _ => io_error(&format!("open {name}"), error),
    })?;
    let failed = |error| io_error(&format!("read {name}"), error);
    let mut bytes = [0; HEADER];
    file.read_at(&mut bytes, 0).map_err(failed)?;
    let header = SegmentHeader::decode(&bytes, &name)?;
    if header.identity != state.identity || header.number != number {
        return Err(LogError::Damaged { what: format!("{name} belongs to another log") });
    }
    if file.size_bytes().map_err(failed)? < header.length {
        return Err(LogError::Damaged { what: format!("{name} was shortened") });
    }
    Ok(Arc::new(Segment { header, file }))
}
