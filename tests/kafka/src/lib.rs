//! What tests of the log in Kafka share: brokers, logs, and an owner of a shard that follows the rules.
//!
//! * [`brokers`]: one broker that all tests of a binary share, and sets of brokers of one's own.
//! * [`owner`]: stands, reads its record back, appends chained records, and remembers what it was told.
//! * [`raw`]: the client library itself, for what a log would not do.

pub mod brokers;
pub mod owner;
pub mod raw;

/// A seed for a test, printed so that a failure can be repeated: `HANDFAST_SEED=…`.
pub fn seed(test: &str) -> u64 {
    let given = std::env::var("HANDFAST_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(rand::random);
    println!("{test}: HANDFAST_SEED={seed}");
    seed
}
