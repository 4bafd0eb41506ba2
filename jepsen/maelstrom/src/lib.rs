//! Handfast under Maelstrom's protocol: a node that runs the engines of production behind it, and a small
//! runner that tests such nodes. `docs/maelstrom.md` says how to run both, and with the real Maelstrom.
//!
//! ```text
//!            clients                       node                           lin-kv
//!  txn · read · write · cas ──▶ job ──▶ commit engine ◀─▶ shard engines ──▶ log/<shard>/<n>
//!                                            ▲                 │            row/<key>
//!                                            └── other nodes ──┘
//! ```
//!
//! The engines are those of `participant` and `coordinator`, unchanged and with all their rules. What is of
//! this crate is what an engine leaves to its runtime: the log ([`log`]) and the tables ([`tables`]) over
//! Maelstrom's `lin-kv` service, the messages between nodes ([`wire`]), and who stands for a shard when.

pub mod kv;
pub mod log;
pub mod node;
pub mod protocol;
pub mod runner;
pub mod tables;
pub mod wire;
