//! What a check comes to.

use std::fmt;

/// Whether a history is as it must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// Everything was checked and holds.
    Valid,
    /// Something does not hold.
    Invalid,
    /// It cannot be said. Never treat it as valid.
    Unknown,
}

impl Validity {
    /// Its name: `valid`, `invalid` or `unknown`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Invalid => "invalid",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Validity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
