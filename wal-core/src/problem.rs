//! What is wrong with something that somebody wrote, and where.

use std::fmt;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where: `mutations[3].columns.balance`, `table[2].cql`; empty for the whole.
    pub path: String,
    /// What, and what to do; may have several lines.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.path, self.message)
        }
    }
}

/// Writes problems one a line.
pub(crate) fn write_lines(f: &mut fmt::Formatter<'_>, problems: &[Problem]) -> fmt::Result {
    for (index, problem) in problems.iter().enumerate() {
        let newline = if index == 0 { "" } else { "\n" };
        write!(f, "{newline}{problem}")?;
    }
    Ok(())
}

/// A name as a step of a path: `.balance`, or `["odd name"]`.
pub(crate) struct Step<'a>(pub(crate) &'a str);

impl fmt::Display for Step<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(name) = self;
        if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        {
            write!(f, ".{name}")
        } else {
            write!(f, "[{name:?}]")
        }
    }
}
