//! The same small scripts on the models of the log and of the tables, and on real engines: with the same
//! answers.
//!
//! A model that is kinder than the engine it stands for makes the proof worth less than it says. So what
//! the simulator's models, the stores and logs in memory and on disk, and real Kafka and Cassandra answer
//! is written in one form, and compared. Some scripts are written down with their answers
//! (`scripts/*.txt`); others are drawn from a seed, and the answers are those of the simulator's model.
//!
//! * [`script`]: what a script is, and how it is read.
//! * [`tables`]: steps on rows of two tables; [`log`]: steps of several owners of two shards.
//! * [`owner`]: an owner of a shard that follows the rules, and nothing else.

pub mod log;
pub mod owner;
pub mod script;
pub mod tables;

/// A seed for a test, printed so that a failure can be repeated: `HANDFAST_SEED=…`.
pub fn seed(test: &str) -> u64 {
    let given = std::env::var("HANDFAST_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(rand::random);
    println!("{test}: HANDFAST_SEED={seed}");
    seed
}
