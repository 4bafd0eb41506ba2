//! A wall clock of the server's own that a test can set.
//!
//! Setting the machine's clock would hit everything that runs on it, and time namespaces know no wall
//! clock. So a few lines of C are preloaded into the server, which otherwise is the very binary of
//! production: they add an offset to its readings of the wall clock.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, ensure};
use tokio::process::Command;

const SOURCE: &str = include_str!("offset_clock.c");

/// A clock that a server reads if it is started in its [`Surroundings`](crate::Surroundings).
#[derive(Debug)]
pub struct OffsetClock {
    library: PathBuf,
    path: PathBuf,
    file: File,
}

impl OffsetClock {
    /// Builds the clock, with offset 0, in a folder.
    ///
    /// # Errors
    /// If there is no C compiler, or no Linux with a dynamic loader that preloads.
    pub async fn build(folder: &Path) -> anyhow::Result<Self> {
        ensure!(cfg!(target_os = "linux"), "a library is preloaded in this way on Linux only");
        let folder = std::path::absolute(folder)?;
        let (source, library) = (folder.join("offset_clock.c"), folder.join("offset_clock.so"));
        std::fs::write(&source, SOURCE)?;
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source);
        let built = compiler.stdin(Stdio::null()).output().await.context("cannot run cc")?;
        let said = String::from_utf8_lossy(&built.stderr);
        ensure!(built.status.success(), "cc cannot build the clock: {said}");
        let path = folder.join("clock-offset");
        let file =
            File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
        let clock = Self { library, path, file };
        clock.set(0)?;
        Ok(clock)
    }

    /// Sets the offset, in milliseconds; servers read it from now on.
    pub fn set(&self, offset_ms: i64) -> anyhow::Result<()> {
        let nanos = offset_ms.checked_mul(1_000_000).context("an offset of centuries")?;
        Ok(self.file.write_all_at(&nanos.to_ne_bytes(), 0)?)
    }

    /// What a server's environment must have to read it.
    pub fn environment(&self) -> [(&'static str, &Path); 2] {
        [("LD_PRELOAD", &self.library), ("HANDFAST_OFFSET_CLOCK", &self.path)]
    }
}
