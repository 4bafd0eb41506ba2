//! What a server runs in: the machine's own disk and clock, or ones that a test can spoil.

use std::ffi::OsString;
use std::path::Path;

use tokio::process::Command;

use crate::offset_clock::OffsetClock;
use crate::small_disk::SmallDisk;

/// What a server runs in; by default nothing special.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// Words before the binary. What they start becomes the binary, so that its process id is theirs.
    through: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
}

impl Surroundings {
    /// With a clock that can be set.
    #[must_use]
    pub fn with_clock(mut self, clock: &OffsetClock) -> Self {
        let words = clock.environment().map(|(name, path)| (name.into(), path.into()));
        self.environment.extend(words);
        self
    }

    /// With a disk that can be filled.
    #[must_use]
    pub fn with_disk(mut self, disk: &SmallDisk) -> Self {
        self.through = disk.enter();
        self
    }

    /// With a variable of the environment.
    #[must_use]
    pub fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// With words before the binary, such as `setpriv --reuid 65534`; they must `exec` it.
    #[must_use]
    pub fn through(mut self, words: &[&str]) -> Self {
        self.through = words.iter().map(Into::into).collect();
        self
    }

    pub(crate) fn command(&self, binary: &Path) -> Command {
        let mut command = match self.through.split_first() {
            None => Command::new(binary),
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(binary);
                command
            }
        };
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}
