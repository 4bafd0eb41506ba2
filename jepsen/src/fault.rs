//! What may happen to the server while the clients work.

/// What happens to the server while the clients work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// The process is killed as by `kill -9`, and started again.
    Kill,
    /// The process is stopped for a while (SIGSTOP) and goes on (SIGCONT).
    Pause,
    /// Its wall clock jumps, forward and back.
    Clock,
    /// The process is asked to stop in order (SIGTERM), must exit with 0, and is started again.
    Drain,
    /// Its disk is full for a while; then there is room again, and it is started again.
    Disk,
    /// All of these, also several at the same time.
    Everything,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::None,
        Self::Kill,
        Self::Pause,
        Self::Clock,
        Self::Drain,
        Self::Disk,
        Self::Everything,
    ];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::Clock => "clock",
            Self::Drain => "drain",
            Self::Disk => "disk",
            Self::Everything => "everything",
        }
    }

    /// What it does, for `--help`.
    pub const fn help(self) -> &'static str {
        match self {
            Self::None => "nothing",
            Self::Kill => "kill -9, and a restart",
            Self::Pause => "SIGSTOP for up to 2.5 s, then SIGCONT",
            Self::Clock => "the server's wall clock jumps, forward and back",
            Self::Drain => "SIGTERM, which must end with exit code 0, and a restart",
            Self::Disk => "the disk is full for a while, then a restart",
            Self::Everything => "all of these, also several at the same time",
        }
    }

    /// Whether the server needs a clock that can be set.
    pub(crate) const fn needs_clock(self) -> bool {
        matches!(self, Self::Clock | Self::Everything)
    }

    /// Whether it needs a disk that can be filled.
    pub(crate) const fn needs_disk(self) -> bool {
        matches!(self, Self::Disk | Self::Everything)
    }
}
