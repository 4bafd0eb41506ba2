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

mod check;
mod client;
mod fault;
mod history;
mod run;
mod verdict;
mod workload;

pub use fault::Fault;
pub use run::{Options, run};
pub use verdict::{Validity, Verdict};
pub use workload::Kind;
