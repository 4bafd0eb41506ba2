//! Consistency workloads against the real server: clients that write down what they asked and what they
//! were told, a fault that strikes meanwhile, and checks of the whole history afterwards.
//!
//! ```text
//! start ──▶ clients ∥ fault ──▶ resolve every unknown ──▶ kill -9, restart ──▶ read everything ──▶ check
//! ```
//!
//! Words: a *task* is what one client asks for; an *end* is what became of it, once that is certain. A
//! task whose answer was lost stays `:info` in the history, is resolved afterwards under its own id, and
//! only then counts as committed or aborted. A run that cannot resolve one, or that did too little, is
//! never valid.

mod client;
mod common;
mod fault;
mod ground;
mod history;
mod matrix;
mod nemesis;
mod report;
mod resolve;
mod run;
mod timeline;
mod verdict;
mod workload;

pub use fault::Fault;
pub use ground::{Arena, NotRun, Place};
pub use handfast_checker::Validity;
pub use matrix::{Cell, Matrix};
pub use report::Report;
pub use run::{Options, run};
pub use verdict::Verdict;
pub use workload::Kind;
