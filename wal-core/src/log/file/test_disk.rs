//! A folder in memory whose power can be cut at any step.
//!
//! What was written but not synced is kept apart, in sectors of 512 bytes. When the power goes, any
//! subset of those sectors survives, drawn from the seed; of the changes of names that were not synced, a
//! beginning survives (file systems journal them in order). A sync that fails forgets what was unsynced,
//! although reading still shows it: that is how Linux behaves, and why a file is dead after it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use super::{Disk, DiskFile, DiskLock};

const SECTOR_BYTES: usize = 512;

/// The disk. Clones are the same disk.
#[derive(Clone, Debug)]
pub struct TestDisk {
    state: Arc<Mutex<State>>,
    boot: u64,
}

#[derive(Clone, Debug)]
struct State {
    random: u64,
    /// Grows with every restart; handles of an earlier boot are dead.
    boot: u64,
    powered: bool,
    steps: u64,
    off_at_step: Option<u64>,
    /// Files whose names begin so; how many of their syncs still succeed.
    fail_sync_after: Option<(String, u64)>,
    free_bytes: Option<u64>,
    misuse: Option<String>,
    files: Vec<Content>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    pending_names: Vec<NameChange>,
    locks: BTreeSet<String>,
}

#[derive(Clone, Debug)]
enum NameChange {
    Link(String, usize),
    Unlink(String),
    Rename(String, String),
}

#[derive(Clone, Debug, Default)]
struct Content {
    current: Vec<u8>,
    durable: Vec<u8>,
    dirty: BTreeSet<usize>,
}

fn off() -> io::Error {
    io::Error::other("the power is off")
}

impl State {
    /// The next number of a fixed sequence (splitmix64).
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn alive(&self, boot: u64) -> io::Result<()> {
        if self.powered && self.boot == boot { Ok(()) } else { Err(off()) }
    }

    /// Counts a step. If it is the one at which the power goes, `Ok(false)`: the step is begun, not ended.
    fn step(&mut self, boot: u64) -> io::Result<bool> {
        self.alive(boot)?;
        self.steps += 1;
        if self.off_at_step.is_some_and(|at| self.steps >= at) {
            self.powered = false;
        }
        Ok(self.powered)
    }

    fn change_names(&mut self, change: NameChange) {
        apply(&mut self.names, &change);
        self.pending_names.push(change);
    }

    fn take_space(&mut self, bytes: u64) -> io::Result<()> {
        match &mut self.free_bytes {
            Some(free) if *free < bytes => Err(io::ErrorKind::StorageFull.into()),
            Some(free) => {
                *free -= bytes;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn write(&mut self, file: usize, bytes: &[u8], offset: usize) -> io::Result<()> {
        let end = offset + bytes.len();
        let grown = end.saturating_sub(self.files[file].current.len());
        self.take_space(grown as u64)?;
        let content = &mut self.files[file];
        if grown > 0 {
            content.current.resize(end, 0);
        }
        content.current[offset..end].copy_from_slice(bytes);
        content.dirty.extend(offset / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES));
        Ok(())
    }

    /// Lets some of what was not synced reach the disk, as `keep` chooses, and forgets the rest.
    fn flush(&mut self, file: usize, keep: Keep) {
        for sector in std::mem::take(&mut self.files[file].dirty) {
            if keep == Keep::All || self.draw() & 1 == 0 {
                let content = &mut self.files[file];
                let start = sector * SECTOR_BYTES;
                let end = (start + SECTOR_BYTES).min(content.current.len());
                if content.durable.len() < end {
                    content.durable.resize(end, 0);
                }
                content.durable[start..end].copy_from_slice(&content.current[start..end]);
            }
        }
    }

    fn sync_fails(&mut self, file: usize) -> bool {
        let Some((prefix, left)) = &mut self.fail_sync_after else { return false };
        let mut named = self.names.iter().filter(|(_, named)| **named == file);
        if !named.any(|(name, _)| name.starts_with(prefix.as_str())) {
            return false;
        }
        let fails = *left == 0;
        if fails {
            self.fail_sync_after = None;
        } else {
            *left -= 1;
        }
        fails
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Keep {
    All,
    Some,
}

fn apply(names: &mut BTreeMap<String, usize>, change: &NameChange) {
    match change {
        NameChange::Link(name, file) => {
            names.insert(name.clone(), *file);
        }
        NameChange::Unlink(name) => {
            names.remove(name);
        }
        NameChange::Rename(from, to) => {
            if let Some(file) = names.remove(from) {
                names.insert(to.clone(), file);
            }
        }
    }
}

impl TestDisk {
    /// An empty disk whose misfortunes are drawn from `seed`.
    pub fn new(seed: u64) -> Self {
        let state = State {
            random: seed,
            boot: 0,
            powered: true,
            steps: 0,
            off_at_step: None,
            fail_sync_after: None,
            free_bytes: None,
            misuse: None,
            files: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            pending_names: Vec::new(),
            locks: BTreeSet::new(),
        };
        Self { state: Arc::new(Mutex::new(state)), boot: 0 }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    /// How many steps (creations, writes, syncs, changes of names) were taken since it was made.
    pub fn steps(&self) -> u64 {
        self.state().steps
    }

    /// Cuts the power in the middle of the step after the next `steps`.
    pub fn power_off_after(&self, steps: u64) {
        let mut state = self.state();
        state.off_at_step = Some(state.steps + steps + 1);
    }

    /// Whether the power is on.
    pub fn is_powered(&self) -> bool {
        self.state().powered
    }

    /// Cuts the power if it is on, decides what survived, and switches on again. Old handles stay dead.
    pub fn restart(&self) -> Self {
        let mut state = self.state();
        for file in 0..state.files.len() {
            state.flush(file, Keep::Some);
            let content = &mut state.files[file];
            content.current = content.durable.clone();
        }
        let pending = std::mem::take(&mut state.pending_names);
        let kept = state.draw() as usize % (pending.len() + 1);
        for change in &pending[..kept] {
            apply(&mut state.durable_names, change);
        }
        state.names = state.durable_names.clone();
        self.next_boot(&mut state)
    }

    /// What a process finds whose predecessor was killed, at a step if one was given to
    /// [`Self::power_off_after`]: everything that was written, durable or not. Old handles are dead.
    pub fn restart_process(&self) -> Self {
        self.next_boot(&mut self.state())
    }

    fn next_boot(&self, state: &mut State) -> Self {
        state.boot += 1;
        state.powered = true;
        state.off_at_step = None;
        state.fail_sync_after = None;
        state.locks.clear();
        Self { state: Arc::clone(&self.state), boot: state.boot }
    }

    /// A copy of the disk as it is now: a disk of its own, without open files or locks.
    pub fn fork(&self) -> Self {
        let mut state = self.state().clone();
        state.locks.clear();
        Self { state: Arc::new(Mutex::new(state)), boot: self.boot }
    }

    /// Lets the next `syncs` syncs of files whose names begin with `prefix` succeed and the one after them
    /// fail.
    pub fn fail_sync_after(&self, prefix: &str, syncs: u64) {
        self.state().fail_sync_after = Some((prefix.to_owned(), syncs));
    }

    /// Says how many bytes are free from now on; `None` is any number.
    pub fn set_free_bytes(&self, free: Option<u64>) {
        self.state().free_bytes = free;
    }

    /// Flips one bit on the disk and in memory. The file and the byte must exist.
    pub fn flip_bit(&self, name: &str, offset: usize, bit: u8) {
        let mut state = self.state();
        let file = state.names[name];
        let content = &mut state.files[file];
        content.current[offset] ^= 1 << bit;
        if let Some(byte) = content.durable.get_mut(offset) {
            *byte ^= 1 << bit;
        }
    }

    /// What a file holds now. The file must exist.
    pub fn content(&self, name: &str) -> Vec<u8> {
        let state = self.state();
        state.files[state.names[name]].current.clone()
    }

    /// What the disk's user did that it never may, if it did.
    pub fn misuse(&self) -> Option<String> {
        self.state().misuse.clone()
    }

    fn handle(&self, file: usize) -> Arc<dyn DiskFile> {
        Arc::new(TestFile { disk: self.clone(), file, dead: AtomicBool::new(false) })
    }
}

impl Disk for TestDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state();
        state.alive(self.boot)?;
        if state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let done = state.step(self.boot)?;
        let file = state.files.len();
        state.files.push(Content::default());
        state.change_names(NameChange::Link(name.to_owned(), file));
        if done { Ok(self.handle(file)) } else { Err(off()) }
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let state = self.state();
        state.alive(self.boot)?;
        let file = *state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(self.handle(file))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let state = self.state();
        state.alive(self.boot)?;
        Ok(state.names.keys().cloned().collect())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.alive(self.boot)?;
        if !state.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let done = state.step(self.boot)?;
        state.change_names(NameChange::Unlink(name.to_owned()));
        if done { Ok(()) } else { Err(off()) }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        state.alive(self.boot)?;
        if !state.names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let done = state.step(self.boot)?;
        state.change_names(NameChange::Rename(from.to_owned(), to.to_owned()));
        if done { Ok(()) } else { Err(off()) }
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut state = self.state();
        if !state.step(self.boot)? {
            return Err(off());
        }
        state.durable_names = state.names.clone();
        state.pending_names.clear();
        Ok(())
    }

    fn lock(&self, name: &str) -> io::Result<Box<dyn DiskLock>> {
        let mut state = self.state();
        state.alive(self.boot)?;
        if !state.locks.insert(name.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(TestLock { disk: self.clone(), name: name.to_owned() }))
    }

    fn describe(&self) -> String {
        "the test disk".into()
    }
}

struct TestFile {
    disk: TestDisk,
    file: usize,
    /// A write or sync of this handle failed.
    dead: AtomicBool,
}

impl TestFile {
    fn check_usable(&self, state: &mut State) -> io::Result<()> {
        if self.dead.load(Ordering::Relaxed) {
            state.misuse = Some("a file was used after a failed sync".into());
            return Err(io::Error::other("a sync of this file failed before"));
        }
        Ok(())
    }
}

impl DiskFile for TestFile {
    fn size_bytes(&self) -> io::Result<u64> {
        let state = self.disk.state();
        state.alive(self.disk.boot)?;
        Ok(state.files[self.file].current.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.state();
        state.alive(self.disk.boot)?;
        let content = state.files[self.file].current.get(offset as usize..).unwrap_or_default();
        let count = content.len().min(buffer.len());
        buffer[..count].copy_from_slice(&content[..count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        let done = state.step(self.disk.boot)?;
        self.check_usable(&mut state)?;
        let written = state.write(self.file, bytes, offset as usize);
        self.dead.fetch_or(written.is_err(), Ordering::Relaxed);
        written?;
        if done { Ok(()) } else { Err(off()) }
    }

    fn allocate(&self, size_bytes: u64) -> io::Result<()> {
        self.write_at(&vec![0; size_bytes as usize], 0)?;
        self.sync_data()
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        if !state.step(self.disk.boot)? {
            return Err(off()); // some of it may survive: decided at the restart
        }
        self.check_usable(&mut state)?;
        if state.sync_fails(self.file) {
            state.flush(self.file, Keep::Some);
            self.dead.store(true, Ordering::Relaxed);
            return Err(io::Error::other("the sync failed"));
        }
        state.flush(self.file, Keep::All);
        Ok(())
    }
}

struct TestLock {
    disk: TestDisk,
    name: String,
}

impl DiskLock for TestLock {}

impl Drop for TestLock {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        if state.boot == self.disk.boot {
            state.locks.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(disk: &TestDisk, name: &str) -> Vec<u8> {
        disk.content(name)
    }

    #[test]
    fn what_was_synced_survives_and_the_rest_may_tear() {
        let mut torn = 0;
        for seed in 0..50 {
            let disk = TestDisk::new(seed);
            let file = disk.create("a").expect("a file");
            file.allocate(4 * SECTOR_BYTES as u64).expect("space");
            file.write_at(&[1; SECTOR_BYTES], 0).expect("a write");
            file.sync_data().expect("a sync");
            disk.sync_dir().expect("a sync");
            file.write_at(&[2; 2 * SECTOR_BYTES], SECTOR_BYTES as u64).expect("a write");
            let content = read(&disk.restart(), "a");
            assert_eq!(content[..SECTOR_BYTES], [1; SECTOR_BYTES]);
            torn += usize::from(content[SECTOR_BYTES] != content[2 * SECTOR_BYTES]);
            assert!(file.sync_data().is_err(), "a handle of before the restart");
        }
        assert!(torn > 10, "a write of two sectors was torn {torn} times");
    }

    #[test]
    fn names_survive_only_once_the_folder_was_synced() {
        let lost = (0..50).filter(|seed| {
            let disk = TestDisk::new(*seed);
            disk.create("a").expect("a file");
            disk.restart().open("a").is_err()
        });
        assert!((10..40).contains(&lost.count()));
    }

    #[test]
    fn a_failed_sync_forgets_although_reading_still_shows() {
        let disk = TestDisk::new(1);
        let file = disk.create("a").expect("a file");
        disk.sync_dir().expect("a sync");
        file.allocate(64 * SECTOR_BYTES as u64).expect("space");
        file.write_at(&[1; 64 * SECTOR_BYTES], 0).expect("a write");
        disk.fail_sync_after("", 0);
        assert!(file.sync_data().is_err());
        assert_eq!(read(&disk, "a"), [1; 64 * SECTOR_BYTES]);
        assert_eq!(disk.misuse(), None);
        assert!(file.sync_data().is_err());
        assert!(disk.misuse().is_some());
        assert_ne!(read(&disk.restart(), "a"), [1; 64 * SECTOR_BYTES]);
    }

    #[test]
    fn the_power_goes_at_the_step_asked_for() {
        let disk = TestDisk::new(1);
        let file = disk.create("a").expect("a file");
        disk.power_off_after(1);
        file.write_at(b"a", 0).expect("the last step");
        assert!(file.sync_data().is_err());
        assert!(!disk.is_powered() && disk.list().is_err());
        assert!(disk.restart().list().is_ok());
    }

    #[test]
    fn a_full_disk_refuses_to_grow_and_lets_write_within() {
        let disk = TestDisk::new(1);
        disk.set_free_bytes(Some(100));
        let file = disk.create("a").expect("a file");
        file.allocate(100).expect("space");
        file.write_at(&[1; 100], 0).expect("no more space needed");
        let full = file.write_at(&[1], 100).expect_err("a full disk");
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    }
}
