//! The folder around the engine's files: who owns it, which format it has, and what `sync` promised.
//!
//! ```text
//! <folder>/LOCK      held exclusively while the store is open
//!          FORMAT    one line, written first
//!          SYNCED    the number of the last sync that returned
//!          rows/     the engine's own files
//!          rows.new  the same while they are first made
//! ```
//!
//! Every step of making a store may be the last before a crash: opening again finishes it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::OpenError;

/// The format of the whole folder: layout of files, keys and rows.
pub(super) const FORMAT: u32 = 1;
const FORMAT_PREFIX: &str = "handfast table store, format ";

/// A folder that this process owns.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    synced: File,
    // Held for its exclusive lock, which the system releases however the process ends.
    _lock: File,
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    let path = path.to_owned();
    move |source| OpenError::Io { action, path, source }
}

impl Folder {
    /// Takes the folder, making it if need be, and checks its format. `create` is called if there are
    /// no rows yet; it makes the engine's files in the place given and closes them.
    pub(super) fn take(
        path: &Path,
        create: impl FnOnce(&Path) -> Result<(), OpenError>,
    ) -> Result<Self, OpenError> {
        fs::create_dir_all(path).map_err(io_error("create folder", path))?;
        let lock = lock(path)?;
        let format = path.join("FORMAT");
        match fs::read_to_string(&format) {
            Ok(text) => check_format(path, &text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                check_empty(path)?;
                write_whole(path, "FORMAT", format!("{FORMAT_PREFIX}{FORMAT}\n").as_bytes())?;
            }
            Err(error) => return Err(io_error("read", &format)(error)),
        }
        let synced = path.join("SYNCED");
        if !path.join("rows").exists() {
            if !synced.exists() {
                write_whole(path, "SYNCED", &synced_bytes(0))?;
            }
            make_rows(path, create)?;
        }
        let synced = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&synced)
            .map_err(io_error("open", &synced))?;
        Ok(Self { path: path.to_owned(), synced, _lock: lock })
    }

    /// The folder itself.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the engine's files are.
    pub(super) fn rows(&self) -> PathBuf {
        self.path.join("rows")
    }

    /// The number of the last sync that returned, or `None` if a loss of power tore it.
    pub(super) fn synced(&self) -> io::Result<Option<u64>> {
        let mut bytes = [0; 16];
        self.synced.read_exact_at(&mut bytes, 0)?;
        let (number, check) = bytes.split_at(8);
        let number = u64::from_le_bytes(number.try_into().expect("half of 16 bytes"));
        let check = u64::from_le_bytes(check.try_into().expect("half of 16 bytes"));
        Ok((check == !number).then_some(number))
    }

    /// Remembers durably that a sync returns.
    pub(super) fn store_synced(&self, number: u64) -> io::Result<()> {
        self.synced.write_all_at(&synced_bytes(number), 0)?;
        self.synced.sync_data()
    }
}

fn synced_bytes(number: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes[8..].copy_from_slice(&(!number).to_le_bytes());
    bytes
}

fn lock(folder: &Path) -> Result<File, OpenError> {
    let path = folder.join("LOCK");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(io_error("create", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked { folder: folder.to_owned() }),
        Err(TryLockError::Error(source)) => Err(io_error("lock", &path)(source)),
    }
}

fn check_format(folder: &Path, text: &str) -> Result<(), OpenError> {
    let found = text.trim_end().strip_prefix(FORMAT_PREFIX).unwrap_or(text.trim_end());
    if found == FORMAT.to_string() {
        return Ok(());
    }
    Err(OpenError::Format {
        folder: folder.to_owned(),
        found: found.chars().take(40).collect(),
        expected: FORMAT,
    })
}

/// A folder without `FORMAT` may hold only what a crash left of writing it.
fn check_empty(folder: &Path) -> Result<(), OpenError> {
    for entry in fs::read_dir(folder).map_err(io_error("read folder", folder))? {
        let name = entry.map_err(io_error("read folder", folder))?.file_name();
        if name != "LOCK" && name != "FORMAT.new" {
            let found = name.to_string_lossy().into_owned();
            return Err(OpenError::Foreign { folder: folder.to_owned(), found });
        }
    }
    Ok(())
}

/// Makes the engine's files beside their place and moves them there whole: the engine cannot open
/// what a crash left of its own beginnings.
fn make_rows(
    folder: &Path,
    create: impl FnOnce(&Path) -> Result<(), OpenError>,
) -> Result<(), OpenError> {
    let new = folder.join("rows.new");
    match fs::remove_dir_all(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(io_error("remove unfinished", &new)(error));
        }
        _ => {}
    }
    create(&new)?;
    rename_durably(folder, &new, &folder.join("rows")).map_err(io_error("rename", &new))
}

/// Writes a file so that it is there whole or not at all.
fn write_whole(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), OpenError> {
    let new = folder.join(format!("{name}.new"));
    let write = || {
        let mut file = File::create(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        rename_durably(folder, &new, &folder.join(name))
    };
    write().map_err(io_error("write", &new))
}

fn rename_durably(folder: &Path, from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    File::open(folder)?.sync_all()
}
