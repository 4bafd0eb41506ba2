//! What can go wrong, and what to do then.

use std::time::Duration;

use wal_core::namespace::NamespaceError;

use crate::{MAX_FILE_BYTES, MAX_NAMESPACES, MAX_NOTE_BYTES, MAX_POOL_NAME_BYTES, MAX_POOLS};

/// Why the database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The address is not one of a database.
    #[error(
        "{address:?} is not the address of a control database; write sqlite:PATH or \
         postgres://USER:PASSWORD@HOST:PORT/DATABASE"
    )]
    BadAddress {
        /// As it was given, without its password.
        address: String,
    },
    /// Nobody answers there, or not yet.
    #[error(
        "cannot reach the control database {address}: {why}; does `--control` say the right \
         host and port, does it run, and may this machine connect?"
    )]
    Unreachable {
        /// Which database.
        address: String,
        /// Why.
        why: sqlx::Error,
    },
    /// It did not answer in time.
    #[error(
        "the control database {address} did not answer within {} s; does it run, and is the network up?",
        patience.as_secs()
    )]
    TimedOut {
        /// Which database.
        address: String,
        /// How long was waited.
        patience: Duration,
    },
    /// It refuses this user.
    #[error(
        "the control database {address} refuses: {why}; check user and password, and that the user \
         may connect, create tables and write"
    )]
    Denied {
        /// Which database.
        address: String,
        /// What it said.
        why: sqlx::Error,
    },
    /// The server has no database of that name.
    #[error("there is no control database {address}: {why}; create it, it may be empty")]
    NoDatabase {
        /// Which database.
        address: String,
        /// What it said.
        why: sqlx::Error,
    },
    /// It has migrations that this version does not know.
    #[error(
        "the control database {address} was made by a newer version of Handfast (migration {found}, this \
         version knows up to {known}); use that version or a later one"
    )]
    TooNew {
        /// Which database.
        address: String,
        /// The newest migration that it has.
        found: i64,
        /// The newest migration that this version has.
        known: i64,
    },
    /// A migration that it has is not the one of that number here.
    #[error(
        "migration {migration} of the control database {address} is not the released one; restore the \
         database from a copy"
    )]
    Foreign {
        /// Which database.
        address: String,
        /// The migration.
        migration: i64,
    },
    /// It is a file, and there is no room for it.
    #[error(
        "cannot open the control database {address}: {why}; it looks as if the disk is full; free space \
         and start again: nothing is lost"
    )]
    NoRoom {
        /// Which database.
        address: String,
        /// What was said.
        why: sqlx::Error,
    },
    /// It could not be read, written or created.
    #[error(
        "cannot open the control database {address}: {why}; if it is a file, is its folder there and \
         writable?"
    )]
    Storage {
        /// Which database.
        address: String,
        /// Why.
        why: sqlx::Error,
    },
    /// It could not be brought up to date.
    #[error("cannot bring the control database {address} up to date: {why}")]
    Migrate {
        /// Which database.
        address: String,
        /// Why.
        why: sqlx::migrate::MigrateError,
    },
}

/// What SQLite says when there is no room: for the database, for a write, for the file beside it
/// (<https://www.sqlite.org/rescode.html>).
const SQLITE_FULL: &str = "13";
const SQLITE_IOERR_WRITE: &str = "778";
const SQLITE_IOERR_SHMSIZE: &str = "4874";

impl OpenError {
    pub(crate) fn from_database(address: &str, why: sqlx::Error) -> Self {
        let address = address.to_owned();
        if is_unreachable(&why) {
            return Self::Unreachable { address, why };
        }
        match sql_state(&why).as_deref() {
            // Wrong password, no entry in pg_hba.conf, no right to do it.
            Some("28P01" | "28000" | "42501") => Self::Denied { address, why },
            Some("3D000") => Self::NoDatabase { address, why },
            // SQLite, which keeps a file of 32 KiB beside the database while it is open.
            Some(SQLITE_FULL | SQLITE_IOERR_WRITE | SQLITE_IOERR_SHMSIZE) => {
                Self::NoRoom { address, why }
            }
            _ => Self::Storage { address, why },
        }
    }

    /// Whether it may be there later, as it is: nothing is wrong but that it cannot be reached.
    pub const fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::TimedOut { .. })
    }
}

/// Whether a database failed because it is not there now.
pub(crate) fn is_unreachable(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::WorkerCrashed => true,
        // Shutting down, and whatever breaks a connection.
        _ => {
            is_busy(error)
                || sql_state(error).is_some_and(|state| {
                    ["57P01", "57P02"].contains(&&*state) || state.starts_with("08")
                })
        }
    }
}

/// Whether a database is there and cannot serve yet: it is starting, has too many connections, or a
/// statement took too long.
pub(crate) fn is_busy(error: &sqlx::Error) -> bool {
    sql_state(error).is_some_and(|state| ["57P03", "53300", "57014"].contains(&&*state))
}

fn sql_state(error: &sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
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
    /// A pool's name is not one.
    #[error(
        "{name:?} is not the name of a pool: 1 to {MAX_POOL_NAME_BYTES} lower-case letters, digits and \
         hyphens, a letter first"
    )]
    BadPoolName {
        /// What was given.
        name: String,
    },
    /// There is a pool of this name.
    #[error("the pool {name:?} exists")]
    PoolExists {
        /// The name.
        name: String,
    },
    /// There are as many pools as there may be.
    #[error("there are {MAX_POOLS} pools already, and no room for more")]
    TooManyPools,
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

impl ControlError {
    /// Whether the database is not there now; the same call may succeed later.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Storage(source) if is_unreachable(source))
    }
}
