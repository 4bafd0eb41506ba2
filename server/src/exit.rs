//! Exit codes: 0 ok, 1 error, 2 usage, 3 not found, 4 conflict, 5 try again.

use handfast_client::{
    AdminError, ConnectError, ExplainError, Outcome, OutcomeError, ReadError, SubmitError,
    SubscribeError,
};

/// Something went wrong and asking again will not help.
pub(crate) const ERROR: u8 = 1;
/// The command line is wrong (clap's own code).
pub(crate) const USAGE: u8 = 2;
/// There is no such thing.
pub(crate) const NOT_FOUND: u8 = 3;
/// Aborted, or it exists already.
pub(crate) const CONFLICT: u8 = 4;
/// Unavailable, overloaded, or unknown: the same may be asked again.
pub(crate) const TRY_AGAIN: u8 = 5;

/// Why a command did not succeed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: u8,
    /// What to say on stderr; empty if stdout has said it.
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn error(message: impl ToString) -> Self {
        Self { code: ERROR, message: message.to_string() }
    }

    pub(crate) fn usage(message: impl ToString) -> Self {
        Self { code: USAGE, message: message.to_string() }
    }

    pub(crate) fn not_found(message: impl ToString) -> Self {
        Self::coded(NOT_FOUND, message)
    }

    pub(crate) fn try_again(message: impl ToString) -> Self {
        Self::coded(TRY_AGAIN, message)
    }

    fn coded(code: u8, message: impl ToString) -> Self {
        Self { code, message: message.to_string() }
    }
}

/// What the exit code says of an outcome that was printed.
pub(crate) fn of_outcome(outcome: &Outcome) -> Result<(), Failure> {
    match outcome {
        Outcome::Committed(_) => Ok(()),
        Outcome::Aborted(aborted) => {
            Err(Failure::coded(CONFLICT, format!("aborted: {}", aborted.reason)))
        }
        Outcome::Unknown(unknown) => Err(Failure::coded(
            TRY_AGAIN,
            format!(
                "the outcome is not known yet; ask again: handfast outcome {} --namespace {}",
                unknown.locator.id, unknown.locator.namespace
            ),
        )),
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::error(format!("{error:#}"))
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        let code = match &error {
            ConnectError::NoEndpoint | ConnectError::BadEndpoint { .. } => USAGE,
            ConnectError::Unreachable { .. } => TRY_AGAIN,
        };
        Self::coded(code, error)
    }
}

impl From<SubmitError> for Failure {
    fn from(error: SubmitError) -> Self {
        let code = match &error {
            SubmitError::Invalid { .. }
            | SubmitError::TooOld { .. }
            | SubmitError::Refused { .. } => ERROR,
            SubmitError::NamespaceNotFound { .. } => NOT_FOUND,
            SubmitError::IdReused { .. } => CONFLICT,
            SubmitError::Unavailable { .. } => TRY_AGAIN,
        };
        Self::coded(code, error)
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        let code = match &error {
            ReadError::Invalid { .. } | ReadError::Refused { .. } => ERROR,
            ReadError::NamespaceNotFound { .. } => NOT_FOUND,
            ReadError::Unavailable { .. } => TRY_AGAIN,
        };
        Self::coded(code, error)
    }
}

impl From<OutcomeError> for Failure {
    fn from(error: OutcomeError) -> Self {
        let code = match &error {
            OutcomeError::Invalid { .. }
            | OutcomeError::TooOld { .. }
            | OutcomeError::Refused { .. } => ERROR,
            OutcomeError::NamespaceNotFound { .. } => NOT_FOUND,
            OutcomeError::Unavailable { .. } => TRY_AGAIN,
        };
        Self::coded(code, error)
    }
}

impl From<ExplainError> for Failure {
    fn from(error: ExplainError) -> Self {
        match error {
            ExplainError::NotFound { message } => Self::coded(NOT_FOUND, message),
            ExplainError::Question(error) => error.into(),
        }
    }
}

impl From<SubscribeError> for Failure {
    fn from(error: SubscribeError) -> Self {
        let code = match &error {
            SubscribeError::Invalid { .. } | SubscribeError::Refused { .. } => ERROR,
            SubscribeError::NamespaceNotFound { .. } | SubscribeError::Missed { .. } => NOT_FOUND,
            SubscribeError::Unavailable { .. } => TRY_AGAIN,
        };
        Self::coded(code, error)
    }
}

impl From<AdminError> for Failure {
    fn from(error: AdminError) -> Self {
        let code = match &error {
            AdminError::Invalid(_) | AdminError::NotServedYet(_) | AdminError::Refused(..) => ERROR,
            AdminError::NotFound(_) => NOT_FOUND,
            AdminError::Conflict(_) => CONFLICT,
            AdminError::Unavailable(_) => TRY_AGAIN,
        };
        Self::coded(code, error)
    }
}
