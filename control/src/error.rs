//! What can go wrong, and what to do then.

use std::path::PathBuf;

use wal_core::namespace::NamespaceError;

use crate::{MAX_FILE_BYTES, MAX_NAMESPACES, MAX_NOTE_BYTES};

/// Why the database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It has migrations that this version does not know.
    #[error(
        "the control database {path} was made by a newer version of Handfast (migration {found}, this \
         version knows up to {known}); use that version or a later one"
    )]
    TooNew {
        /// Which database.
        path: PathBuf,
        /// The newest migration that it has.
        found: i64,
        /// The newest migration that this version has.
        known: i64,
    },
    /// A migration that it has is not the one of that number here.
    #[error(
        "migration {migration} of the control database {path} is not the released one; restore the \
         database from a copy"
    )]
    Foreign {
        /// Which database.
        path: PathBuf,
        /// The migration.
        migration: i64,
    },
    /// It could not be read, written or created.
    #[error("cannot open the control database {path}: {source}; is its folder there and writable?")]
    Storage {
        /// Which database.
        path: PathBuf,
        /// Why.
        source: sqlx::Error,
    },
    /// It could not be brought up to date.
    #[error("cannot bring the control database {path} up to date: {source}")]
    Migrate {
        /// Which database.
        path: PathBuf,
        /// Why.
        source: sqlx::migrate::MigrateError,
    },
}

/// Why a call failed. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The file is not a good namespace.
    #[error("{0}")]
    Invalid(NamespaceError),
    /// The file is a good namespace, but may not follow the current version.
    #[error("{0}")]
    ChangeRefused(NamespaceError),
    /// There is one with this name.
    #[error(
        "the namespace {name:?} exists, at version {version}; change it, or choose another name"
    )]
    Exists {
        /// The name.
        name: String,
        /// Its current version.
        version: u32,
    },
    /// There is none with this name or version.
    #[error("there is no {what}{suggestion}")]
    NotFound {
        /// What was asked for: `namespace "bank"`, `version 3 of "bank"`.
        what: String,
        /// Empty, or what may have been meant, beginning with a colon.
        suggestion: String,
    },
    /// Somebody else changed it first.
    #[error(
        "{name:?} is at version {current}, the change was made from version {expected}; look at what \
         changed and try again"
    )]
    Conflict {
        /// The name.
        name: String,
        /// The version that the change was made from.
        expected: u32,
        /// The current version.
        current: u32,
    },
    /// There are as many as there may be.
    #[error("there are {MAX_NAMESPACES} namespaces already, and no room for more")]
    TooMany,
    /// The file is too large.
    #[error("the file has {got} bytes, at most {MAX_FILE_BYTES} are allowed")]
    FileTooLarge {
        /// Its size.
        got: usize,
    },
    /// The author's name or the note is too long.
    #[error("the author and the note have at most {MAX_NOTE_BYTES} bytes each")]
    NoteTooLong,
    /// What is stored is not what this program stores.
    #[error("version {version} of {name:?} in the control database is damaged: {why}")]
    Damaged {
        /// The name.
        name: String,
        /// The version.
        version: i64,
        /// What is wrong with it.
        why: String,
    },
    /// The database failed; the call may be tried again.
    #[error("control database: {0}")]
    Storage(#[from] sqlx::Error),
}
