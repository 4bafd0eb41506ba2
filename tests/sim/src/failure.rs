//! What is wrong with a world, in words.

use std::fmt;

/// Which check found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// An engine panicked.
    Panic,
    /// An engine said that the log contradicts the protocol.
    Corrupt,
    /// A record stands in the log where it must not.
    Log,
    /// A client was told something that the logs did not hold.
    Answer,
    /// The same question had two different answers.
    TwoAnswers,
    /// What a client wanted once took effect twice.
    Twice,
    /// No serial order explains what clients saw.
    Cycle,
    /// A read returned what never was.
    Read,
    /// A transaction committed although a condition was false, or computed something else.
    Verdict,
    /// A transaction was aborted for a reason that was never true.
    Reason,
    /// The tables do not hold what was committed.
    Tables,
    /// Money appeared or disappeared.
    Sum,
    /// A follower of the logs tells something else than what committed.
    Follow,
    /// A region does not have of another what committed there, or the two differ in the end.
    Regions,
    /// A message was lost, or sent when it must not be.
    Delivery,
    /// Something was done before it was due.
    Delay,
    /// Something that must end in time did not.
    Stuck,
    /// The simulator contradicts itself.
    Simulator,
}

/// One thing that is wrong.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Which check found it.
    pub check: Check,
    /// What it found, in sentences.
    pub story: String,
}

impl Failure {
    pub(crate) fn new(check: Check, story: impl Into<String>) -> Self {
        Self { check, story: story.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.check, self.story)
    }
}

/// Returns a failure unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $check:ident, $($story:tt)*) => {
        if !$condition {
            return Err($crate::failure::Failure::new(
                $crate::failure::Check::$check,
                format!($($story)*),
            ));
        }
    };
}
pub(crate) use ensure;
