//! Histories of concurrent operations, and whether they are as a consistency model promises.
//!
//! ```text
//! file ── EventReader ──▶ Event ── Builder ──▶ History ── check ──▶ Verdict
//! ```
//!
//! Words: an *event* is a line of a history, an *operation* its two events as one; a *transaction* is an
//! operation of several parts on lists or registers. An operation is `Ok` if it happened, `Fail` if it
//! provably did not, else `Info`. An *anomaly* is what no history of the model has, named as Adya and
//! Elle do.

mod check;
mod draw;
mod edn;
mod error;
mod event;
mod files;
pub mod generate;
mod history;
mod json;
mod value;
mod verdict;

pub use check::{Consistency, Model, Options, check, check_with_last};
pub use draw::dot;
pub use error::{HistoryError, MAX_DEPTH, MAX_OPERATION_BYTES, Problem};
pub use event::{Event, NEMESIS, Type};
pub use files::{
    EventReader, Format, Part, read, read_edn, read_jsonl, read_resolved, write, write_edn,
    write_history, write_jsonl,
};
pub use history::{Atom, Builder, History, Micro, Operation, TXN};
pub use value::Value;
pub use verdict::{Anomaly, Kind, Layer, Relation, Step, Validity, Verdict};
