//! Handfast under Maelstrom's protocol.
pub mod kv;
pub mod log;
pub mod protocol;
pub mod tables;
