//! The models of the tables and of the log behind the ports of production, without a world around them:
//! so the scripts that real engines run can be run on them, and their answers compared.

mod log;
mod tables;

pub use log::{ModelBroker, ModelLog};
pub use tables::ModelTables;
