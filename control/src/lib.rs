//! The control plane: which namespaces there are, what each of their versions says, and who changed
//! what and when.
//!
//! Versions are immutable and kept for ever; a change adds one. Two administrators who change the same
//! version cannot both succeed: a change names the version that it was made from
//! ([`Change::expected_version`]), and the store moves on from that version only.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use control::{Change, ControlPlane};
//! use wal_core::Millis;
//!
//! let control = ControlPlane::open("sqlite:data/control.db").await?; // or postgres://…
//! let file = std::fs::read_to_string("bank.toml")?;
//! let author = Change { by: "ada", note: "first version", at: Millis(1_767_225_600_000), expected_version: None };
//! let bank = control.create(&file, &author).await?;
//! assert_eq!(bank.namespace.version(), 1);
//! # Ok(())
//! # }
//! ```
//!
//! Servers do not ask the database for every transaction: a [`Follower`] asks it once a second whether
//! anything has changed, and keeps what it last saw in a file, so that they serve on, and start again,
//! while the database is away.
//!
//! The same database keeps what deliveries need, dead letters above all, and what is due when: [`ControlPlane`]
//! is a [`delivery::Store`] and a [`delivery::schedule::Index`].
//!
//! This crate is the only one that names SQL. Its statements run on SQLite and PostgreSQL alike: numbered
//! parameters, `ON CONFLICT`, `RETURNING`, and no type that either lacks.

mod copy;
mod deliveries;
mod error;
mod follow;
mod open;
mod plane;
mod pools;
mod read;
mod snapshot;

pub use copy::{Copy, CopyError};
pub use deliveries::MAX_NAMES;
pub use error::{ControlError, OpenError};
pub use follow::{FollowError, FollowOptions, Follower, POLL};
pub use plane::{Change, ControlPlane};
pub use pools::{DEFAULT_POOL, Placement, Pool};
pub use read::{Described, HistoryEntry, Summary};
pub use snapshot::{Placed, Snapshot};

/// Namespaces of one installation.
pub const MAX_NAMESPACES: i64 = 1_000;
/// Pools of one installation.
pub const MAX_POOLS: i64 = 1_000;
/// Bytes of a pool's name.
pub const MAX_POOL_NAME_BYTES: usize = 63;
/// Bytes of a namespace file.
pub const MAX_FILE_BYTES: usize = 1 << 20;
/// Bytes of an author's name, and of a note.
pub const MAX_NOTE_BYTES: usize = 4_096;
/// Entries of a history that one call returns.
pub const MAX_HISTORY: u32 = 1_000;
