//! The shard engine: a pure state machine. (being written)

mod interface;

pub use interface::*;
