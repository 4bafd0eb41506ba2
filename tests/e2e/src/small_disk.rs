//! A disk of a few megabytes that can be filled up.
//!
//! It is a tmpfs in a mount namespace of its own, so nothing else on the machine sees it, and it is gone
//! with the last process inside. Root may make one; so may users, where the kernel lets them have user
//! namespaces.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, bail};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// The file that takes the room.
const FILLER: &str = "filler";
/// What is written of it at once; the rest of the room byte by byte.
const CHUNKS: [usize; 3] = [1 << 20, 4_096, 1];
/// Mounts, says so, and then lives as long as the pipe to this process.
const MOUNT: &str = "mount -t tmpfs -o size=$2 handfast-small \"$1\" && echo mounted && exec cat";

/// A small disk.
#[derive(Debug)]
pub struct SmallDisk {
    /// Whoever keeps the namespace. It ends when its input does, however this process ends.
    holder: Child,
    id: u32,
    user: bool,
    place: PathBuf,
}

impl SmallDisk {
    /// Mounts a disk of so many bytes at a folder, which is made.
    ///
    /// # Errors
    /// If this machine lets us have no mount namespace: the message says what was tried.
    pub async fn mount(place: &Path, bytes: u64) -> anyhow::Result<Self> {
        let place = std::path::absolute(place)?;
        std::fs::create_dir_all(&place)?;
        let mut tried = Vec::new();
        for user in [false, true] {
            match Self::hold(&place, bytes, user).await {
                Ok(disk) => return Ok(disk),
                Err(error) => tried.push(format!("{error:#}")),
            }
        }
        bail!("no disk can be mounted here, neither as root nor as a user: {}", tried.join("; "))
    }

    async fn hold(place: &Path, bytes: u64, user: bool) -> anyhow::Result<Self> {
        let mut command = Command::new("unshare");
        command.arg("--mount");
        if user {
            command.args(["--user", "--map-root-user"]);
        }
        command.args(["sh", "-c", MOUNT, "sh"]).arg(place).arg(bytes.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut holder = command.kill_on_drop(true).spawn().context("cannot run unshare")?;
        let out = holder.stdout.take().context("its output is a pipe")?;
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line).await?;
        if line.trim() != "mounted" {
            let said = holder.wait_with_output().await?.stderr;
            bail!("{}", String::from_utf8_lossy(&said).trim());
        }
        let id = holder.id().context("it runs")?;
        Ok(Self { holder, id, user, place: place.to_owned() })
    }

    /// Makes it read-only, for everybody.
    pub async fn make_read_only(&self) -> anyhow::Result<()> {
        let words = self.enter();
        let (first, rest) = words.split_first().context("it is entered by some program")?;
        let mut command = Command::new(first);
        command.args(rest).args(["mount", "-o", "remount,ro"]).arg(&self.place);
        anyhow::ensure!(command.status().await?.success(), "it cannot be made read-only");
        Ok(())
    }

    /// What starts a server where it sees the disk: in the holder's namespace.
    pub(crate) fn enter(&self) -> Vec<OsString> {
        let mut words: Vec<OsString> = vec!["nsenter".into(), "--target".into()];
        words.extend([self.id.to_string().into(), "--mount".into()]);
        if self.user {
            words.extend(["--user".into(), "--preserve-credentials".into()]);
        }
        words
    }

    /// Where it is for processes that are not on it, such as this one.
    pub fn seen_from_outside(&self) -> PathBuf {
        let below = self.place.strip_prefix("/").unwrap_or(&self.place);
        Path::new("/proc").join(self.id.to_string()).join("root").join(below)
    }

    /// Takes all the room that is left, to the last byte. How many bytes that were.
    pub fn fill(&self) -> anyhow::Result<u64> {
        let path = self.seen_from_outside().join(FILLER);
        let mut file = std::fs::File::options().create(true).append(true).open(path)?;
        let mut filled = 0;
        for chunk in CHUNKS {
            let bytes = vec![0xff; chunk];
            loop {
                match file.write(&bytes) {
                    Ok(count) => filled += count as u64,
                    Err(error) if error.kind() == io::ErrorKind::StorageFull => break,
                    Err(error) => return Err(error).context("cannot fill the small disk"),
                }
            }
        }
        Ok(filled)
    }

    /// Gives the room back.
    pub fn free(&self) -> anyhow::Result<()> {
        match std::fs::remove_file(self.seen_from_outside().join(FILLER)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Copies a file or folder of it to a place that outlives it.
    pub async fn copy_out(&self, name: &str, to: &Path) -> anyhow::Result<()> {
        let from = self.seen_from_outside().join(name);
        let copied = Command::new("cp").arg("-a").arg(from).arg(to).status().await?;
        anyhow::ensure!(copied.success(), "cannot copy {name} from the small disk");
        Ok(())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Best effort: it also ends by itself when its input is closed.
        let _ = self.holder.start_kill();
    }
}
