//! What can be wrong with a history, where, and what to do about it.

/// The most bytes that one operation may have, so that a damaged file cannot fill the memory.
pub const MAX_OPERATION_BYTES: usize = 16 * 1024 * 1024;
/// The most that values may be nested.
pub const MAX_DEPTH: usize = 64;

/// A history that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {problem}")]
pub struct HistoryError {
    /// The line, from 1.
    pub line: u64,
    /// The column in bytes, from 1.
    pub column: u64,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong with a history.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// There is no operation of a client in it.
    #[error(
        "the history has no operation of a client; was the right file given, and did the run begin?"
    )]
    Empty,
    /// It ends inside an operation.
    #[error(
        "the file ends in the middle of an operation: it was cut off; copy it again, or remove its \
         last line (the operation then counts as one that never returned)"
    )]
    CutOff,
    /// It is not the format.
    #[error("{0}")]
    Syntax(String),
    /// An operation beyond [`MAX_OPERATION_BYTES`].
    #[error("an operation has more than {MAX_OPERATION_BYTES} bytes; is a bracket not closed?")]
    TooLong,
    /// Values nested beyond [`MAX_DEPTH`].
    #[error("values are nested more than {MAX_DEPTH} deep; no operation needs that")]
    TooDeep,
    /// A field is absent, or not what it must be.
    #[error("{0}")]
    Field(String),
    /// A part of a transaction that no model knows.
    #[error(
        "{0} is no operation that is known here; write [:append key element], [:w key value] or \
         [:r key value]"
    )]
    UnknownKind(String),
    /// A process began an operation before its last one was over.
    #[error(
        "process {process} begins an operation although its last one, of index {open}, has not \
         returned; give every client that works at the same time a process of its own"
    )]
    TwiceAtOnce {
        /// The process.
        process: i64,
        /// The index of the operation that it has not ended.
        open: u64,
    },
    /// An operation ended that never began.
    #[error(
        "process {process} ends an operation that it has not begun; is the beginning of the history \
         missing, or are its lines out of order?"
    )]
    NoInvocation {
        /// The process.
        process: i64,
    },
    /// An operation ended as another than it began.
    #[error("process {process} ends {ended}, but has begun {begun}; are two histories mixed?")]
    OtherOperation {
        /// The process.
        process: i64,
        /// The `:f` of the invocation.
        begun: String,
        /// The `:f` of the completion.
        ended: String,
    },
    /// Indices that do not rise.
    #[error("index {index} comes after {before}; sort the history by index")]
    OutOfOrder {
        /// The index of this operation.
        index: u64,
        /// The index before it.
        before: u64,
    },
    /// More operations or values than 32 bits can number.
    #[error("the history has more than {0}; check it in parts")]
    TooMany(&'static str),
    /// The file cannot be read.
    #[error("it cannot be read: {0}")]
    Io(String),
}

impl Problem {
    /// At a place.
    pub(crate) const fn at(self, line: u64, column: u64) -> HistoryError {
        HistoryError { line, column, problem: self }
    }
}
