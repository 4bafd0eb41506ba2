//! The participant: the engine that leads one shard, its runtime, and the table stores behind it.

pub mod store;
