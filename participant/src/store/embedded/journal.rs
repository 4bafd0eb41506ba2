//! The unfinished end of the engine's journal after a loss of power.
//!
//! A batch is written through the operating system's cache, whose pages reach the disk in any order.
//! If power is lost meanwhile, the newest journal can hold a batch whose end is there and whose middle
//! is not. The engine takes that for damage and refuses to open. But a batch that was never synced may
//! be missing: here the journal is cut behind its last whole batch. Whether anything that *was* synced
//! is lost by that, the mark of the last sync tells afterwards; then the cut is undone.
//!
//! The engine's format (fjall 3), numbers little-endian:
//!
//! ```text
//! batch  1 │ items u32 │ sequence u64, then the items, then 3 │ xxh3 of the items u64 │ "FJL" 3
//! item   2 │ type u8 │ compression u8 │ keyspace u64 │ key u16 │ value u32 │ stored u32 │ key │ stored
//!        4 │ keyspace u64
//! ```

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;
const TRAILER: &[u8] = b"FJL\x03";

/// A journal that was cut, and what it was before.
#[derive(Debug)]
pub(super) struct Cut {
    journal: PathBuf,
    copy: PathBuf,
}

impl Cut {
    /// Keeps the cut.
    pub(super) fn keep(self) -> io::Result<()> {
        fs::remove_file(&self.copy)
    }

    /// Puts back what was there.
    pub(super) fn undo(self) -> io::Result<()> {
        fs::rename(&self.copy, &self.journal)
    }
}

/// Cuts the newest journal in the engine's folder behind its last whole batch. `None` if there is no
/// journal or nothing to cut.
pub(super) fn cut_unfinished_end(rows: &Path) -> io::Result<Option<Cut>> {
    let Some(journal) = newest(rows)? else { return Ok(None) };
    let bytes = fs::read(&journal)?;
    let end = whole_batches_end(&bytes);
    if end == bytes.len() {
        return Ok(None);
    }
    let copy = journal.with_extension("torn");
    fs::write(&copy, &bytes)?;
    File::open(&copy)?.sync_all()?;
    let file = File::options().write(true).open(&journal)?;
    file.set_len(end as u64)?;
    file.sync_all()?;
    Ok(Some(Cut { journal, copy }))
}

/// Only the newest journal can have an unfinished end: the engine syncs one before it starts another.
fn newest(rows: &Path) -> io::Result<Option<PathBuf>> {
    let mut newest: Option<(u64, PathBuf)> = None;
    for entry in fs::read_dir(rows)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "jnl") {
            continue;
        }
        let number = path.file_stem().and_then(|stem| stem.to_str()).and_then(|s| s.parse().ok());
        if let Some(number) = number
            && newest.as_ref().is_none_or(|(greatest, _)| number > *greatest)
        {
            newest = Some((number, path));
        }
    }
    Ok(newest.map(|(_, path)| path))
}

/// Where the last of the whole batches that follow each other from the start ends.
fn whole_batches_end(bytes: &[u8]) -> usize {
    let mut end = 0;
    while let Some(length) = batch_length(&bytes[end..]) {
        end += length;
    }
    end
}

/// The length of the batch at the start of `bytes`, if it is whole.
fn batch_length(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    let [START] = take(bytes, &mut at)? else { return None };
    let items = u32::from_le_bytes(take(bytes, &mut at)?);
    let _sequence: [u8; 8] = take(bytes, &mut at)?;
    let first = at;
    for _ in 0..items {
        skip_item(bytes, &mut at)?;
    }
    let content = &bytes[first..at];
    let [END] = take(bytes, &mut at)? else { return None };
    let checksum = u64::from_le_bytes(take(bytes, &mut at)?);
    let trailer: [u8; 4] = take(bytes, &mut at)?;
    (trailer == TRAILER && checksum == xxh3_64(content)).then_some(at)
}

fn skip_item(bytes: &[u8], at: &mut usize) -> Option<()> {
    let [tag] = take(bytes, at)?;
    match tag {
        CLEAR => {
            take::<8>(bytes, at)?;
        }
        ITEM => {
            let _type_compression_keyspace: [u8; 10] = take(bytes, at)?;
            let key = usize::from(u16::from_le_bytes(take(bytes, at)?));
            let _value: [u8; 4] = take(bytes, at)?;
            let stored = u32::from_le_bytes(take(bytes, at)?) as usize;
            if key + stored > bytes.len() - *at {
                return None;
            }
            *at += key + stored;
        }
        _ => return None,
    }
    Some(())
}

fn take<const N: usize>(bytes: &[u8], at: &mut usize) -> Option<[u8; N]> {
    let found = *bytes[*at..].first_chunk::<N>()?;
    *at += N;
    Some(found)
}
