//! The coordinator: the engine that drives one transaction across its participants.

pub mod api;
pub mod interface;
pub mod service;
