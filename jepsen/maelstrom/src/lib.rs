//! Handfast under Maelstrom's protocol.
pub mod kv;
pub mod log;
pub mod node;
pub mod protocol;
pub mod runner;
pub mod tables;
pub mod wire;
