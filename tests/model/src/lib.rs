//! An exhaustive model of the commit protocol, its fencing, and shipping between regions.
//!
//! It is a model of the **protocol**, not of the code: several small machines, each with the part of the
//! state that its rules need. A **rule** ([`Rule`]) is something that the design demands; a **broken**
//! invariant ([`Broken`]) is something that nobody may ever observe. With all rules in force the checker
//! visits every state within a machine's bounds and finds nothing broken; with any one rule taken out it
//! finds something, and tells the shortest **story** that leads there.

pub mod check;
pub mod commit;
pub mod configuration;
pub mod hold;
pub mod invariant;
pub mod lease;
pub mod locks;
pub mod log;
pub mod read;
pub mod region;
pub mod rule;
pub mod single;
pub mod stamps;
pub mod wound;

pub use check::{Aim, Report, Story};
pub use configuration::{CONFIGURATIONS, Configuration};
pub use invariant::Broken;
pub use rule::{Rule, Rules};
