//! The engines of production in a simulated world.
//!
//! One seed decides everything: how many nodes and shards there are, what clients do, which faults strike
//! and when. The engines are the very ones that the server runs; the log, the network, the clocks and the
//! tables are models with the faults of the real ones. Everything runs in one thread, in simulated time.
//!
//! ```text
//!  clients ──▶ commit engine ──┐ network ┌──▶ shard engine ──▶ log (a broker's, or one disk)
//!          ◀──  (per process)  ◀─────────┘    (per shard)  ──▶ table store
//! ```
//!
//! Three kinds of checks run in every world:
//!
//! * `truth`: every record is judged as it lands, and every answer is held against the logs at the
//!   instant at which it leaves: nothing may be said before its cause is durable;
//! * `oracle`: the whole history must have one serial order in real time, in which every condition, sum
//!   and row comes out the same on a plain model, and the tables must hold the result cell for cell;
//! * `rest`: once the faults end, everything must come to rest in time.
//!
//! In some worlds two namespaces are `region`s of one another: there what each has at any watermark, and both in
//! the end, is checked too.
//! In some worlds the processes deliver messages, and do what is due later, too: see `deliver` and `later`.

mod answers;
mod append;
mod bug;
mod client;
mod clock;
mod deliver;
mod engines;
mod failure;
mod fault;
pub mod fidelity;
mod focus;
mod follow;
mod graph;
mod history;
mod later;
mod leader;
mod log;
mod message;
mod model;
mod names;
mod network;
mod oracle;
mod placement;
mod plan;
mod plant;
mod process;
mod producer;
mod region;
mod rest;
mod rng;
mod runner;
mod shrink;
mod space;
mod store;
mod strike;
mod timeline;
mod truth;
mod workload;
mod world;

pub use bug::{AdapterBug, BUGS, Bug, Place};
pub use failure::{Check, Failure};
pub use fault::{Fault, FaultCounts, Faults};
pub use focus::Focus;
pub use plan::Options;
pub use plant::{Caught, all_bugs, plant, plant_all, table};
pub use runner::{Outcome, Summary, expected_events, run_seed, run_seeds};
pub use shrink::{Shrunk, command, shrink};
