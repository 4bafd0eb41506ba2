//! Errors, one enum per operation, each variant saying what to do next.

use handfast_proto::reason;
use tonic::Code;

use crate::failure::{Failure, Meaning};
use crate::outcome::Locator;

/// A field of a request that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The field's path.
    pub field: String,
    /// What is wrong, and what would be right.
    pub description: String,
}

/// Why a submission has no outcome. An *unknown* outcome is not among these: it is
/// [`crate::Outcome::Unknown`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The transaction is wrong; nothing was done. Correct it.
    #[error("{message}")]
    Invalid {
        /// What is wrong.
        message: String,
        /// The fields that are.
        violations: Vec<Violation>,
    },
    /// There is no such namespace; nothing was done. Create it.
    #[error("{message}")]
    NamespaceNotFound {
        /// Which.
        message: String,
    },
    /// The id was used for other content. This content is not committed: make a new transaction.
    #[error("{message}")]
    IdReused {
        /// Which.
        message: String,
    },
    /// The outcome may have been forgotten: this transaction may or may not be committed. Look at the
    /// rows that it writes.
    #[error("{message}")]
    TooOld {
        /// Where it would have been asked about.
        locator: Locator,
        /// Why.
        message: String,
    },
    /// The server, or the way to it, was not there for as long as the retry policy allows. Nothing was
    /// done: submit the same again later.
    #[error("{message} (nothing was done; submit it again later)")]
    Unavailable {
        /// The last reason.
        message: String,
    },
    /// The server refused for a reason of its own, such as a missing permission; nothing was done.
    #[error("{message}")]
    Refused {
        /// gRPC's code.
        code: Code,
        /// Why.
        message: String,
    },
}

impl SubmitError {
    /// The error of a call that is not in doubt.
    pub(crate) fn from_failure(failure: Failure, locator: impl FnOnce() -> Locator) -> Self {
        let Failure { meaning, code, reason, message, violations, .. } = failure;
        match (reason.as_str(), meaning) {
            (_, Meaning::NotDone | Meaning::InDoubt) => Self::Unavailable { message },
            (reason::NAMESPACE_NOT_FOUND, _) => Self::NamespaceNotFound { message },
            (reason::ID_REUSED, _) => Self::IdReused { message },
            (reason::ID_TOO_OLD, _) => Self::TooOld { locator: locator(), message },
            (_, Meaning::Final) if code == Code::InvalidArgument => {
                Self::Invalid { message, violations }
            }
            (_, Meaning::Final) => Self::Refused { code, message },
        }
    }
}

/// Why rows could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The request is wrong. Correct it.
    #[error("{message}")]
    Invalid {
        /// What is wrong.
        message: String,
        /// The fields that are.
        violations: Vec<Violation>,
    },
    /// There is no such namespace. Create it.
    #[error("{message}")]
    NamespaceNotFound {
        /// Which.
        message: String,
    },
    /// The server, or the way to it, was not there for as long as the retry policy allows. Read again
    /// later.
    #[error("{message} (read again later)")]
    Unavailable {
        /// The last reason.
        message: String,
    },
    /// The server refused for a reason of its own.
    #[error("{message}")]
    Refused {
        /// gRPC's code.
        code: Code,
        /// Why.
        message: String,
    },
}

impl From<Failure> for ReadError {
    fn from(failure: Failure) -> Self {
        let Failure { meaning, code, reason, message, violations, .. } = failure;
        match (reason.as_str(), meaning) {
            (_, Meaning::NotDone | Meaning::InDoubt) => Self::Unavailable { message },
            (reason::NAMESPACE_NOT_FOUND, _) => Self::NamespaceNotFound { message },
            (_, Meaning::Final) if code == Code::InvalidArgument => {
                Self::Invalid { message, violations }
            }
            (_, Meaning::Final) => Self::Refused { code, message },
        }
    }
}

/// Why a subscription does not go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubscribeError {
    /// The request is wrong. Correct it.
    #[error("{message}")]
    Invalid {
        /// What is wrong.
        message: String,
        /// The fields that are.
        violations: Vec<Violation>,
    },
    /// There is no such namespace. Create it.
    #[error("{message}")]
    NamespaceNotFound {
        /// Which.
        message: String,
    },
    /// What came next is not to be had any more: it is not kept, or the namespace has another log. Subscribe
    /// from now on, then copy the tables.
    #[error("{message}")]
    Missed {
        /// What happened.
        message: String,
    },
    /// The server, or the way to it, was not there for as long as the retry policy allows. Go on later.
    #[error("{message} (go on later)")]
    Unavailable {
        /// The last reason.
        message: String,
    },
    /// The server refused for a reason of its own.
    #[error("{message}")]
    Refused {
        /// gRPC's code.
        code: Code,
        /// Why.
        message: String,
    },
}

impl From<Failure> for SubscribeError {
    fn from(failure: Failure) -> Self {
        let Failure { meaning, code, reason, message, violations, .. } = failure;
        match (reason.as_str(), meaning) {
            (reason::POSITION_TRIMMED | reason::LOG_REPLACED, _) => Self::Missed { message },
            (_, Meaning::NotDone | Meaning::InDoubt) => Self::Unavailable { message },
            (reason::NAMESPACE_NOT_FOUND, _) => Self::NamespaceNotFound { message },
            (_, Meaning::Final) if code == Code::InvalidArgument => {
                Self::Invalid { message, violations }
            }
            (_, Meaning::Final) => Self::Refused { code, message },
        }
    }
}

/// Why an outcome could not be asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutcomeError {
    /// The question is wrong. Correct it.
    #[error("{message}")]
    Invalid {
        /// What is wrong.
        message: String,
    },
    /// There is no such namespace.
    #[error("{message}")]
    NamespaceNotFound {
        /// Which.
        message: String,
    },
    /// The outcome may have been forgotten: look at the rows that the transaction writes.
    #[error("{message}")]
    TooOld {
        /// Why.
        message: String,
    },
    /// The server, or the way to it, was not there for as long as the retry policy allows. Ask again
    /// later.
    #[error("{message} (ask again later)")]
    Unavailable {
        /// The last reason.
        message: String,
    },
    /// The server refused for a reason of its own.
    #[error("{message}")]
    Refused {
        /// gRPC's code.
        code: Code,
        /// Why.
        message: String,
    },
}

impl From<Failure> for OutcomeError {
    fn from(failure: Failure) -> Self {
        let Failure { meaning, code, reason, message, .. } = failure;
        match (reason.as_str(), meaning) {
            (_, Meaning::NotDone | Meaning::InDoubt) => Self::Unavailable { message },
            (reason::NAMESPACE_NOT_FOUND, _) => Self::NamespaceNotFound { message },
            (reason::ID_TOO_OLD, _) => Self::TooOld { message },
            (_, Meaning::Final) if code == Code::InvalidArgument => Self::Invalid { message },
            (_, Meaning::Final) => Self::Refused { code, message },
        }
    }
}

/// Why the life of a transaction could not be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExplainError {
    /// No record of it is left in any log.
    #[error("{message}")]
    NotFound {
        /// Which.
        message: String,
    },
    /// As for outcomes.
    #[error(transparent)]
    Question(#[from] OutcomeError),
}

impl From<Failure> for ExplainError {
    fn from(failure: Failure) -> Self {
        if failure.reason == reason::TRANSACTION_NOT_FOUND {
            return Self::NotFound { message: failure.message };
        }
        Self::Question(failure.into())
    }
}
