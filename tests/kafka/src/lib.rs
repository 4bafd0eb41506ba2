//! What tests of the log in Kafka share: brokers, logs, and an owner of a shard that follows the rules.
//!
//! * [`brokers`]: one broker that all tests of a binary share, and sets of brokers of one's own.
//! * [`fidelity`]: scripts on real brokers, with the answers of the model.
//! * [`owner`]: stands, reads its record back, appends chained records, and remembers what it was told.
//! * [`raw`]: the client library itself, for what a log would not do.

pub mod brokers;
pub mod fidelity;
pub mod raw;

pub use handfast_fidelity::{owner, seed};
