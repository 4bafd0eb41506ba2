//! The coordinator: the engine that drives one transaction across its participants.

pub mod api;
pub mod engine;
pub mod interface;
pub mod placement;
pub mod quota;
pub mod runtime;
pub mod service;
