//! Where each shard's newest checkpoint starts: kept outside the topic, which is never compacted.
//! A lost hint costs the time to scan the log, never correctness (clause 11).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::{fs, io};

use crate::id::{Position, ShardId};
use crate::log::LogError;

/// Keeps hints for one log. All calls may come from any thread, and may block shortly.
pub trait HintStore: Send + Sync {
    /// Stores a hint; of two for one shard the greater stays.
    ///
    /// # Errors
    /// [`LogError::Io`] if it could not be stored.
    fn store(&self, shard: ShardId, checkpoint: Position) -> Result<(), LogError>;

    /// The stored hint, if any.
    ///
    /// # Errors
    /// [`LogError::Io`] if it could not be read.
    fn load(&self, shard: ShardId) -> Result<Option<Position>, LogError>;
}

/// Hints in memory: gone with the process.
#[derive(Debug, Default)]
pub struct MemoryHints {
    hints: Mutex<BTreeMap<ShardId, Position>>,
}

impl HintStore for MemoryHints {
    fn store(&self, shard: ShardId, checkpoint: Position) -> Result<(), LogError> {
        let mut hints = self.hints.lock().unwrap_or_else(PoisonError::into_inner);
        let hint = hints.entry(shard).or_default();
        *hint = checkpoint.max(*hint);
        Ok(())
    }

    fn load(&self, shard: ShardId) -> Result<Option<Position>, LogError> {
        let hints = self.hints.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(hints.get(&shard).copied())
    }
}

/// Hints in one small file of this server, replaced as a whole.
#[derive(Debug)]
pub struct FileHints {
    path: PathBuf,
    hints: Mutex<BTreeMap<ShardId, Position>>,
}

impl FileHints {
    /// Reads the file, if it is there; one that cannot be understood counts as empty.
    ///
    /// # Errors
    /// [`LogError::Io`] if it is there and cannot be read.
    pub fn open(path: &Path) -> Result<Self, LogError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(source) => {
                let action = format!("read the hints in {}", path.display());
                return Err(LogError::Io { action, source });
            }
        };
        let line = |line: &str| -> Option<(ShardId, Position)> {
            let (shard, position) = line.split_once(' ')?;
            Some((ShardId(shard.parse().ok()?), Position(position.parse().ok()?)))
        };
        let hints = text.lines().filter_map(line).collect();
        Ok(Self { path: path.to_owned(), hints: Mutex::new(hints) })
    }

    fn hints(&self) -> MutexGuard<'_, BTreeMap<ShardId, Position>> {
        self.hints.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HintStore for FileHints {
    fn store(&self, shard: ShardId, checkpoint: Position) -> Result<(), LogError> {
        let mut hints = self.hints();
        let hint = hints.entry(shard).or_default();
        *hint = checkpoint.max(*hint);
        let mut text = String::new();
        for (shard, position) in hints.iter() {
            writeln!(text, "{shard} {position}").expect("a string takes all");
        }
        let new = self.path.with_extension("new");
        let written = fs::write(&new, text).and_then(|()| fs::rename(&new, &self.path));
        written.map_err(|source| {
            let action = format!("write the hints to {}", self.path.display());
            LogError::Io { action, source }
        })
    }

    fn load(&self, shard: ShardId) -> Result<Option<Position>, LogError> {
        Ok(self.hints().get(&shard).copied())
    }
}
