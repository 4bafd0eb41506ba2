//! What a gRPC status means for the call that got it.

use std::error::Error as _;
use std::time::Duration;

use handfast_proto::reason;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::errors::Violation;

/// What may be concluded from a failed call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// The server did nothing; the same may be sent again.
    NotDone,
    /// It may or may not have been done; only the same may be sent again.
    InDoubt,
    /// Sending the same again gives the same answer.
    Final,
}

/// A failed call.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) meaning: Meaning,
    pub(crate) code: Code,
    /// The stable reason; empty if the status did not come from Handfast.
    pub(crate) reason: String,
    pub(crate) message: String,
    /// When the server asks to be asked again.
    pub(crate) retry_after: Option<Duration>,
    pub(crate) violations: Vec<Violation>,
}

impl Failure {
    /// The server answered with something that cannot be understood. It may well have done the work.
    pub(crate) fn malformed(what: &str) -> Self {
        Self {
            meaning: Meaning::InDoubt,
            code: Code::Internal,
            reason: String::new(),
            message: format!(
                "the answer cannot be read: {what}; are client and server of one version?"
            ),
            retry_after: None,
            violations: Vec::new(),
        }
    }

    /// The stream ended before this was answered.
    pub(crate) fn cut_off(why: &str) -> Self {
        Self { message: why.to_owned(), ..Self::malformed("") }
    }

    /// Whether another server may do what this one cannot, now or later.
    pub(crate) fn is_of_this_server(&self) -> bool {
        self.reason == reason::CLOCKS_APART
    }

    /// The error of one answer in a stream.
    pub(crate) fn of_answer(error: tonic_types::pb::Status) -> Self {
        use tonic_types::RpcStatusExt as _;
        let details = error.get_error_details();
        Self::new(Code::from(error.code), error.message, &details, false)
    }

    fn new(
        code: Code,
        message: String,
        details: &tonic_types::ErrorDetails,
        never_sent: bool,
    ) -> Self {
        let reason = details.error_info().map(|info| info.reason.clone()).unwrap_or_default();
        let violations = details.bad_request().map(|bad| bad.field_violations.clone());
        let violation = |v: tonic_types::FieldViolation| Violation {
            field: v.field,
            description: v.description,
        };
        Self {
            meaning: meaning(code, &reason, never_sent),
            code,
            reason,
            message,
            retry_after: details.retry_info().and_then(|info| info.retry_delay),
            violations: violations.unwrap_or_default().into_iter().map(violation).collect(),
        }
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let never_sent = never_sent(&status);
        let details = status.get_error_details();
        Self::new(status.code(), status.message().to_owned(), &details, never_sent)
    }
}

/// Whether the call failed because no connection could be made: then nothing was sent.
fn never_sent(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

fn meaning(code: Code, reason: &str, never_sent: bool) -> Meaning {
    match reason {
        reason::OVERLOADED
        | reason::SHARD_UNAVAILABLE
        | reason::CLOCKS_APART
        | reason::NAMESPACE_UNSERVED
        | reason::CONTROL_UNAVAILABLE
        | reason::SHUTTING_DOWN
        | reason::CONNECTION_AGED
        | reason::LOG_UNAVAILABLE
        | reason::READ_TIMED_OUT => return Meaning::NotDone,
        reason::INTERNAL => return Meaning::InDoubt,
        "" if never_sent => return Meaning::NotDone,
        "" => {}
        // A reason that a newer server gives; where it may be asked again, it is not the end.
        _ if code == Code::Unavailable => return Meaning::InDoubt,
        _ => return Meaning::Final,
    }
    match code {
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::ResourceExhausted
        | Code::Aborted
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => Meaning::InDoubt,
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Unauthenticated => Meaning::Final,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_server_vouches_for_counts_as_not_done() {
        assert_eq!(meaning(Code::ResourceExhausted, reason::OVERLOADED, false), Meaning::NotDone);
        assert_eq!(meaning(Code::ResourceExhausted, "", false), Meaning::InDoubt);
        assert_eq!(meaning(Code::Unavailable, "", false), Meaning::InDoubt);
        assert_eq!(meaning(Code::Unavailable, "", true), Meaning::NotDone);
        assert_eq!(meaning(Code::DeadlineExceeded, "", false), Meaning::InDoubt);
        assert_eq!(meaning(Code::AlreadyExists, reason::ID_REUSED, false), Meaning::Final);
        assert_eq!(meaning(Code::Unavailable, reason::CONNECTION_AGED, false), Meaning::NotDone);
        assert_eq!(meaning(Code::Unavailable, "OF_A_NEWER_SERVER", false), Meaning::InDoubt);
    }
}
