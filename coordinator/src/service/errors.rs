//! The one place where errors become gRPC statuses with `google.rpc` details.
//!
//! `ErrorInfo` always, with a reason that never changes; `BadRequest` where the request is at fault;
//! `RetryInfo` wherever sending the same again can help; `ResourceInfo` where something is not there.

use std::collections::HashMap;
use std::time::Duration;

use handfast_proto::{ERROR_DOMAIN, reason};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt, pb};
use wal_core::limits::{MAX_CLOCK_DRIFT_US, MAX_ID_AHEAD_MS};
use wal_core::log::LogError;
use wal_core::{Millis, Position, ShardId, Timestamp, TxnId};

use super::backend::{BackendError, Refused};
use super::control::ControlError;

/// When to try again after a shard was found without a leader: about a takeover of an embedded shard.
const RETRY_UNAVAILABLE_MS: u64 = 200;
/// When to try again after a connection became too old: at once, on another one.
const RETRY_AGED_MS: u64 = 1;
/// When to try again after a server said that it stops: about a restart.
const RETRY_SHUTDOWN_MS: u64 = 1_000;

/// Bytes of an error's message. It repeats names that are the client's and may be megabytes; but clients
/// of gRPC accept 8 KiB of headers in all, and drop an answer that has more. There the message stands
/// percent-encoded (up to three bytes for one) and, in base64, with the details.
const MAX_MESSAGE_BYTES: usize = 700;
/// Bytes of all violations in the details.
const MAX_VIOLATION_BYTES: usize = 2_600;
/// Bytes of anything else in the details that the client named.
const MAX_NAME_BYTES: usize = 200;

/// A text, without what exceeds so many bytes.
fn shorten(text: &str, max_bytes: usize) -> String {
    if text.len() <= max_bytes {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(max_bytes.saturating_sub("…".len()));
    format!("{}…", &text[..end])
}

/// A field of a request that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The field's path in the request, such as `transaction.mutations[2].put.columns[0].value`.
    pub field: String,
    /// What is wrong and what would be right.
    pub description: String,
}

impl Violation {
    /// A violation at `field`.
    pub fn new(field: impl Into<String>, description: impl ToString) -> Self {
        Self { field: field.into(), description: description.to_string() }
    }
}

/// Everything that a call can fail with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServiceError {
    /// The request is wrong: correct it.
    #[error("{}", describe(.0))]
    Invalid(Vec<Violation>),
    /// There is no such namespace: create it.
    #[error("namespace {name:?} does not exist; create it, or list those that do")]
    NamespaceNotFound {
        /// Its name.
        name: String,
    },
    /// The namespace is there, but this server cannot serve it yet, and goes on trying; nothing was logged.
    #[error("namespace {name:?} is not served by this server yet, nothing was logged: {why}")]
    NamespaceUnserved {
        /// Its name.
        name: String,
        /// What stands in the way, and what to do.
        why: String,
    },
    /// The logs that are left say nothing of the transaction.
    #[error("no record of transaction {id} is left in the log; ask for its outcome instead")]
    TransactionNotFound {
        /// Which.
        id: TxnId,
    },
    /// The id was used for other content: draw a new one.
    #[error("transaction id {id} was already used for other content; draw a new id")]
    IdReused {
        /// Which.
        id: TxnId,
    },
    /// The outcome may have been forgotten.
    #[error(
        "transaction id {id} is too old: outcomes up to {floor} ms since 1970 may have been \
         forgotten, so it may or may not be committed; look at the rows it writes"
    )]
    TooOld {
        /// Which.
        id: TxnId,
        /// The floor.
        floor: Millis,
    },
    /// The id's time is too far ahead of the server's clock.
    #[error(
        "transaction id {id} is from more than {} minutes in the future; set the client's clock",
        MAX_ID_AHEAD_MS / 60_000
    )]
    FromFuture {
        /// Which.
        id: TxnId,
    },
    /// No room; nothing was logged.
    #[error("overloaded: {what} is full; nothing was logged, try again in {retry_after_ms} ms")]
    Overloaded {
        /// What is full.
        what: &'static str,
        /// When to try again.
        retry_after_ms: u64,
    },
    /// A shard is not led; nothing was logged.
    #[error("shard {shard} has no leader just now; nothing was logged, try again")]
    ShardUnavailable {
        /// Which.
        shard: ShardId,
    },
    /// The clocks of this server and of a shard's leader are too far apart; nothing was logged.
    #[error(
        "this server's clock and that of the leader of shard {shard} are more than {} ms apart; nothing was \
         logged, ask another server; synchronize the clocks",
        MAX_CLOCK_DRIFT_US / 1_000
    )]
    ClocksApart {
        /// Which.
        shard: ShardId,
    },
    /// A read waited too long.
    #[error("the rows were not free of undecided transactions within {waited_ms} ms; read again")]
    ReadTimedOut {
        /// How long it waited.
        waited_ms: u64,
    },
    /// A read waited too long for what is on its way from another region.
    #[error(
        "within {waited_ms} ms region {region:?} has arrived up to {arrived} only, microseconds since 1970, and \
         up to {asked} was asked for; wait for longer, or look at `handfast region list`"
    )]
    NotArrived {
        /// From where.
        region: String,
        /// Up to when everything of it is here.
        arrived: Timestamp,
        /// Up to when everything of it was to be here.
        asked: Timestamp,
        /// How long it waited.
        waited_ms: u64,
    },
    /// The server stops.
    #[error("the server is shutting down; send the same to another one, or later")]
    ShuttingDown,
    /// The stream's connection is as old as it may become. What the stream was sent and has not answered was
    /// not read.
    #[error(
        "the connection is as old as it may become; open the stream again, and send there what has no \
         answer: it was not read"
    )]
    ConnectionAged,
    /// The log cannot be read just now.
    #[error("the log cannot be read just now, go on later: {0}")]
    LogUnavailable(String),
    /// What a subscription would go on with is not kept any more.
    #[error(
        "shard {shard} keeps nothing before position {first} any more, which is behind where the \
         subscription was: what it missed is in the tables only; subscribe from now on, then copy them"
    )]
    PositionTrimmed {
        /// Which shard.
        shard: ShardId,
        /// Where its log begins.
        first: Position,
    },
    /// The namespace has another log than the one that a subscription has read.
    #[error("{0}; subscribe from now on, then copy the tables")]
    LogReplaced(String),
    /// A namespace definition is wrong.
    #[error("{0}")]
    InvalidDefinition(String),
    /// The namespace exists already.
    #[error("namespace {name:?} exists already; change it instead")]
    NamespaceExists {
        /// Its name.
        name: String,
    },
    /// The change is not possible.
    #[error("{0}")]
    ChangeRefused(String),
    /// Somebody changed the namespace meanwhile.
    #[error(
        "namespace {name:?} is at version {found}, not {expected}: somebody changed it meanwhile; \
         describe it, and change it again with the version found"
    )]
    VersionConflict {
        /// Its name.
        name: String,
        /// The version that the caller expected.
        expected: u32,
        /// The version found.
        found: u32,
    },
    /// The control plane's database is away; nothing was changed, and transactions go on.
    #[error("the control plane is away, nothing was changed, try again: {0}")]
    ControlUnavailable(String),
    /// A namespace was created or changed, and cannot be served yet.
    #[error("{0}")]
    NotServedYet(String),
    /// Something broke inside.
    #[error("internal: {0}")]
    Internal(String),
}

fn describe(violations: &[Violation]) -> String {
    match violations {
        [] => "the request is invalid".to_owned(),
        [only] => format!("{}: {}", only.field, only.description),
        [first, rest @ ..] => {
            format!("{}: {} (and {} more)", first.field, first.description, rest.len())
        }
    }
}

impl ServiceError {
    /// A request with one wrong field.
    pub fn invalid(field: impl Into<String>, description: impl ToString) -> Self {
        Self::Invalid(vec![Violation::new(field, description)])
    }

    /// The gRPC code and the stable reason.
    pub const fn code_and_reason(&self) -> (Code, &'static str) {
        match self {
            Self::Invalid(_) => (Code::InvalidArgument, reason::INVALID_REQUEST),
            Self::NamespaceNotFound { .. } => (Code::NotFound, reason::NAMESPACE_NOT_FOUND),
            Self::TransactionNotFound { .. } => (Code::NotFound, reason::TRANSACTION_NOT_FOUND),
            Self::IdReused { .. } => (Code::AlreadyExists, reason::ID_REUSED),
            Self::TooOld { .. } => (Code::FailedPrecondition, reason::ID_TOO_OLD),
            Self::FromFuture { .. } => (Code::InvalidArgument, reason::ID_FROM_FUTURE),
            Self::Overloaded { .. } => (Code::ResourceExhausted, reason::OVERLOADED),
            Self::ShardUnavailable { .. } => (Code::Unavailable, reason::SHARD_UNAVAILABLE),
            Self::ClocksApart { .. } => (Code::Unavailable, reason::CLOCKS_APART),
            Self::NamespaceUnserved { .. } => (Code::Unavailable, reason::NAMESPACE_UNSERVED),
            Self::ControlUnavailable(_) => (Code::Unavailable, reason::CONTROL_UNAVAILABLE),
            Self::ReadTimedOut { .. } | Self::NotArrived { .. } => {
                (Code::Unavailable, reason::READ_TIMED_OUT)
            }
            Self::ShuttingDown => (Code::Unavailable, reason::SHUTTING_DOWN),
            Self::ConnectionAged => (Code::Unavailable, reason::CONNECTION_AGED),
            Self::LogUnavailable(_) => (Code::Unavailable, reason::LOG_UNAVAILABLE),
            Self::PositionTrimmed { .. } => (Code::OutOfRange, reason::POSITION_TRIMMED),
            Self::LogReplaced(_) => (Code::FailedPrecondition, reason::LOG_REPLACED),
            Self::InvalidDefinition(_) => (Code::InvalidArgument, reason::INVALID_DEFINITION),
            Self::NamespaceExists { .. } => (Code::AlreadyExists, reason::NAMESPACE_EXISTS),
            Self::ChangeRefused(_) => (Code::FailedPrecondition, reason::CHANGE_REFUSED),
            Self::VersionConflict { .. } => (Code::Aborted, reason::NAMESPACE_VERSION_CONFLICT),
            Self::NotServedYet(_) => (Code::FailedPrecondition, reason::NOT_SERVED_YET),
            Self::Internal(_) => (Code::Internal, reason::INTERNAL),
        }
    }

    /// When sending the same again can help.
    const fn retry_after_ms(&self) -> Option<u64> {
        match self {
            Self::Overloaded { retry_after_ms, .. } => Some(*retry_after_ms),
            Self::ShardUnavailable { .. }
            | Self::ClocksApart { .. }
            | Self::ReadTimedOut { .. }
            | Self::NotArrived { .. }
            | Self::LogUnavailable(_)
            | Self::ControlUnavailable(_) => Some(RETRY_UNAVAILABLE_MS),
            Self::ShuttingDown | Self::NamespaceUnserved { .. } => Some(RETRY_SHUTDOWN_MS),
            Self::ConnectionAged => Some(RETRY_AGED_MS),
            Self::Invalid(_)
            | Self::NamespaceNotFound { .. }
            | Self::TransactionNotFound { .. }
            | Self::IdReused { .. }
            | Self::TooOld { .. }
            | Self::FromFuture { .. }
            | Self::PositionTrimmed { .. }
            | Self::LogReplaced(_)
            | Self::InvalidDefinition(_)
            | Self::NamespaceExists { .. }
            | Self::ChangeRefused(_)
            | Self::VersionConflict { .. }
            | Self::NotServedYet(_)
            | Self::Internal(_) => None,
        }
    }

    /// Facts for programs: the metadata of `ErrorInfo`.
    fn metadata(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::NamespaceNotFound { name }
            | Self::NamespaceUnserved { name, .. }
            | Self::NamespaceExists { name } => {
                vec![("namespace", name.clone())]
            }
            Self::TransactionNotFound { id } | Self::IdReused { id } | Self::FromFuture { id } => {
                vec![("id", id.to_string())]
            }
            Self::TooOld { id, floor } => {
                vec![("id", id.to_string()), ("floor_ms", floor.to_string())]
            }
            Self::Overloaded { what, .. } => vec![("full", (*what).to_owned())],
            Self::ShardUnavailable { shard } | Self::ClocksApart { shard } => {
                vec![("shard", shard.to_string())]
            }
            Self::VersionConflict { name, expected, found } => vec![
                ("namespace", name.clone()),
                ("expected_version", expected.to_string()),
                ("version", found.to_string()),
            ],
            Self::PositionTrimmed { shard, first } => {
                vec![("shard", shard.to_string()), ("first", first.to_string())]
            }
            Self::NotArrived { region, arrived, .. } => {
                vec![("region", region.clone()), ("watermark_us", arrived.to_string())]
            }
            Self::Invalid(_)
            | Self::ReadTimedOut { .. }
            | Self::ShuttingDown
            | Self::ConnectionAged
            | Self::LogUnavailable(_)
            | Self::LogReplaced(_)
            | Self::InvalidDefinition(_)
            | Self::ChangeRefused(_)
            | Self::ControlUnavailable(_)
            | Self::NotServedYet(_)
            | Self::Internal(_) => Vec::new(),
        }
    }

    fn details(&self) -> ErrorDetails {
        let mut details = ErrorDetails::new();
        let metadata = self.metadata().into_iter();
        let metadata =
            metadata.map(|(name, value)| (name.to_owned(), shorten(&value, MAX_NAME_BYTES)));
        let metadata: HashMap<String, String> = metadata.collect();
        details.set_error_info(self.code_and_reason().1, ERROR_DOMAIN, metadata);
        if let Some(ms) = self.retry_after_ms() {
            details.set_retry_info(Some(Duration::from_millis(ms)));
        }
        match self {
            Self::Invalid(violations) => {
                // The first has to fit; of the others as many as do.
                let mut left = MAX_VIOLATION_BYTES;
                for Violation { field, description } in violations {
                    let field = shorten(field, MAX_VIOLATION_BYTES / 4);
                    let description = shorten(description, MAX_VIOLATION_BYTES / 4);
                    let Some(rest) = left.checked_sub(field.len() + description.len()) else {
                        break;
                    };
                    left = rest;
                    details.add_bad_request_violation(field, description);
                }
            }
            Self::InvalidDefinition(why) => {
                details.add_bad_request_violation("definition", shorten(why, MAX_VIOLATION_BYTES));
            }
            Self::FromFuture { .. } => {
                details.add_bad_request_violation("transaction.id", self.to_string());
            }
            Self::NamespaceNotFound { name } => {
                let name = shorten(name, MAX_NAME_BYTES);
                details.set_resource_info("namespace", name, "", "it does not exist");
            }
            Self::TransactionNotFound { id } => {
                details.set_resource_info("transaction", id.to_string(), "", "no record is left");
            }
            Self::IdReused { .. }
            | Self::TooOld { .. }
            | Self::Overloaded { .. }
            | Self::ShardUnavailable { .. }
            | Self::ClocksApart { .. }
            | Self::ReadTimedOut { .. }
            | Self::NotArrived { .. }
            | Self::ShuttingDown
            | Self::ConnectionAged
            | Self::LogUnavailable(_)
            | Self::PositionTrimmed { .. }
            | Self::LogReplaced(_)
            | Self::NamespaceUnserved { .. }
            | Self::NamespaceExists { .. }
            | Self::ChangeRefused(_)
            | Self::VersionConflict { .. }
            | Self::ControlUnavailable(_)
            | Self::NotServedYet(_)
            | Self::Internal(_) => {}
        }
        details
    }

    /// The same as a message, for the answers of a stream.
    pub fn to_rpc_status(&self) -> pb::Status {
        let status = Status::from(self.clone());
        prost::Message::decode(status.details()).expect("the details are a status encoded here")
    }
}

impl From<ServiceError> for Status {
    fn from(error: ServiceError) -> Self {
        let code = error.code_and_reason().0;
        let message = shorten(&error.to_string(), MAX_MESSAGE_BYTES);
        Self::with_error_details(code, message, error.details())
    }
}

impl From<Refused> for ServiceError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Overloaded { what, retry_after_ms } => {
                Self::Overloaded { what, retry_after_ms }
            }
            Refused::ShuttingDown => Self::ShuttingDown,
        }
    }
}

impl From<BackendError> for ServiceError {
    fn from(error: BackendError) -> Self {
        match error {
            BackendError::Unavailable { shard } => Self::ShardUnavailable { shard },
            BackendError::Broken(why) => Self::Internal(why),
        }
    }
}

impl From<LogError> for ServiceError {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Trimmed { shard, first, .. } => Self::PositionTrimmed { shard, first },
            LogError::Lost { .. } => Self::LogReplaced(error.to_string()),
            LogError::Unreachable { .. } => Self::LogUnavailable(error.to_string()),
            LogError::Locked { .. }
            | LogError::Damaged { .. }
            | LogError::Format { .. }
            | LogError::Login { .. }
            | LogError::Unsafe { .. }
            | LogError::Stopped(_)
            | LogError::Io { .. } => Self::Internal(error.to_string()),
        }
    }
}

impl From<ControlError> for ServiceError {
    fn from(error: ControlError) -> Self {
        match error {
            ControlError::InvalidDefinition(why) => Self::InvalidDefinition(why),
            ControlError::NotFound { name } => Self::NamespaceNotFound { name },
            ControlError::Exists { name } => Self::NamespaceExists { name },
            ControlError::ChangeRefused(why) => Self::ChangeRefused(why),
            ControlError::VersionConflict { name, expected, found } => {
                Self::VersionConflict { name, expected, found }
            }
            ControlError::Unavailable(why) => Self::ControlUnavailable(why),
            ControlError::Unserved(why) => Self::NotServedYet(why),
            ControlError::Broken(why) => Self::Internal(why),
        }
    }
}
