//! The participant: the engine that leads one shard, its runtime, and the table stores behind it.

pub mod engine;
pub mod follow;
pub mod message;
pub mod store;
