//! The service over real connections, in front of a scripted engine.

mod admin;
mod chained;
mod connections;
mod fake;
mod fuzz;
mod questions;
mod quota;
mod regions;
mod stream;
mod submit;
