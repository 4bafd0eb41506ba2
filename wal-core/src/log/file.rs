//! The little that the embedded log asks of a file system: one folder of files.
//!
//! [`RealDisk`] is the operating system's; [`test_disk::TestDisk`] is kept in memory and loses power, tears
//! writes, fails and fills up on request, so that what the log promises about durability is tested.

pub mod test_disk;

use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Zeroes are written in chunks of this many bytes, each synced, so that preparing a file does not hold
/// up the syncs of others for long.
const ZERO_CHUNK_BYTES: usize = 1 << 20;

/// A folder of files. Names are plain, without separators.
pub trait Disk: Send + Sync {
    /// Creates an empty file; fails if the name is taken.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens a file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// All names in the folder, sorted.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Removes a name. An open file stays readable.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Renames a file, replacing what had the new name, atomically.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Makes every creation, removal and renaming so far survive the loss of power.
    fn sync_dir(&self) -> io::Result<()>;

    /// Takes the exclusive lock of that name for as long as the answer is kept.
    /// Fails with [`io::ErrorKind::WouldBlock`] if somebody else has it.
    fn lock(&self, name: &str) -> io::Result<Box<dyn DiskLock>>;

    /// What to call the folder in messages.
    fn describe(&self) -> String;
}

/// One open file. After a failed write or sync it must not be written again: what of it is on the disk
/// is unknown, and a later sync may succeed without having written anything.
pub trait DiskFile: Send + Sync {
    /// Its length in bytes.
    fn size_bytes(&self) -> io::Result<u64>;

    /// Fills `buffer` from `offset` on; returns how many bytes there were before the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all of `bytes` at `offset`. Durable only after [`Self::sync_data`].
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Gives an empty file its length, in zeroes that are really written, and syncs it: later writes within
    /// it change no metadata and need no space.
    fn allocate(&self, size_bytes: u64) -> io::Result<()>;

    /// Makes everything written so far survive the loss of power.
    fn sync_data(&self) -> io::Result<()>;
}

/// A lock, freed when dropped.
pub trait DiskLock: Send + Sync {}

/// Writes a small file so that after a crash it has either its old content or all of the new.
pub fn replace(disk: &dyn Disk, name: &str, content: &[u8]) -> io::Result<()> {
    let temporary = format!("{name}.new");
    match disk.remove(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let file = disk.create(&temporary)?;
    file.write_at(content, 0)?;
    file.sync_data()?;
    disk.rename(&temporary, name)?;
    disk.sync_dir()
}

/// A folder of the operating system.
#[derive(Debug)]
pub struct RealDisk {
    folder: PathBuf,
}

impl RealDisk {
    /// The folder, durably created if it is missing (its parents too).
    pub fn new(folder: &Path) -> io::Result<Self> {
        let folder = std::path::absolute(folder)?;
        let missing: Vec<&Path> = folder.ancestors().take_while(|path| !path.exists()).collect();
        fs::create_dir_all(&folder)?;
        for parent in missing.into_iter().filter_map(Path::parent) {
            fs::File::open(parent)?.sync_all()?;
        }
        Ok(Self { folder })
    }
}

impl Disk for RealDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = fs::OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).open(self.folder.join(name))?;
        Ok(Arc::new(RealFile { file }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = fs::OpenOptions::new().read(true).write(true).open(self.folder.join(name))?;
        Ok(Arc::new(RealFile { file }))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let entries: io::Result<Vec<_>> = fs::read_dir(&self.folder)?.collect();
        let names = entries?.into_iter().filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> = names.collect();
        names.sort_unstable();
        Ok(names)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.folder.join(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.folder.join(from), self.folder.join(to))
    }

    fn sync_dir(&self) -> io::Result<()> {
        fs::File::open(&self.folder)?.sync_all()
    }

    fn lock(&self, name: &str) -> io::Result<Box<dyn DiskLock>> {
        let mut options = fs::OpenOptions::new();
        let path = self.folder.join(name);
        let file = options.read(true).write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(RealLock { _file: file })),
            Err(fs::TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

    fn describe(&self) -> String {
        self.folder.display().to_string()
    }
}

#[derive(Debug)]
struct RealFile {
    file: fs::File,
}

impl DiskFile for RealFile {
    fn size_bytes(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.file.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn allocate(&self, size_bytes: u64) -> io::Result<()> {
        let zeroes = vec![0; ZERO_CHUNK_BYTES.min(size_bytes as usize)];
        let mut offset = 0;
        while offset < size_bytes {
            let length = (size_bytes - offset).min(zeroes.len() as u64);
            self.file.write_all_at(&zeroes[..length as usize], offset)?;
            self.file.sync_data()?;
            offset += length;
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// The operating system frees the lock when the file is closed, also when the process is killed.
#[derive(Debug)]
struct RealLock {
    _file: fs::File,
}

impl DiskLock for RealLock {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_real_folder_keeps_what_it_is_given() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let disk = RealDisk::new(&folder.path().join("a/b")).expect("a folder");
        replace(&disk, "small", b"one").expect("a new file");
        replace(&disk, "small", b"two").expect("a replaced file");
        let file = disk.create("big").expect("a new file");
        file.allocate(10_000).expect("space");
        file.write_at(b"here", 5_000).expect("a write");
        file.sync_data().expect("a sync");
        assert_eq!(disk.list().expect("names"), ["big", "small"]);
        let mut buffer = [1; 6];
        let read = disk.open("big").expect("the file").read_at(&mut buffer, 4_999);
        assert_eq!((read.expect("a read"), &buffer), (6, b"\0here\0"));
        let read = disk.open("small").expect("the file").read_at(&mut buffer, 0);
        assert_eq!((read.expect("a read"), &buffer[..3]), (3, b"two".as_slice()));
        assert!(disk.create("big").is_err());
    }

    #[test]
    fn a_lock_is_taken_once_and_freed_when_dropped() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let disk = RealDisk::new(folder.path()).expect("a folder");
        let lock = disk.lock("lock").expect("a free lock");
        let second = disk.lock("lock").err().expect("a taken lock");
        assert_eq!(second.kind(), io::ErrorKind::WouldBlock);
        drop(lock);
        assert!(disk.lock("lock").is_ok());
    }
}
