//! Deliveries from a log to a target, as they run.

mod backlog;
mod ledger;
mod panics;
mod unread;
mod world;

use crate::message::{Answer, ErrorClass, Failure};

pub(crate) use ledger::Ledger;

/// The target never takes it.
fn refused() -> Answer {
    Answer::Failed(Failure { class: ErrorClass::Permanent, text: "no".into() })
}
