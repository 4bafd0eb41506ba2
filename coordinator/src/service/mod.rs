//! The client-facing service: `handfast.v1` over gRPC.
//!
//! Everything that a client could get wrong is found here, before anything reaches an engine: the
//! request is validated, its rows are hashed and routed, and errors become statuses with details in one
//! file, [`errors`]. The protocol itself is not here. The service sees the running system as a
//! [`Backend`] and the control plane as [`Control`].
//!
//! ```text
//! wire ──convert──▶ Transaction ──Backend::call──▶ engine
//! wire ◀──outcome── CallAnswer  ◀────Answers────── engine
//! ```

mod admin;
mod backend;
mod calls;
mod chained;
mod connections;
mod control;
mod convert;
mod data;
mod delayed;
mod deliveries;
mod draw;
pub mod errors;
mod explain;
mod listing;
mod metrics;
mod names;
mod outcome;
mod parked;
pub mod peers;
mod pending;
mod regions;
mod router;
mod shared;
mod stream;
mod submission;
mod subscribe;
mod tenants;
#[cfg(test)]
mod tests;
pub mod values;
mod wait;

pub use backend::{Backend, BackendError, Delivering, LoggedRecord, Refused};
pub use chained::Chained;
pub use connections::{ConnectionLimits, connections, serve};
pub use control::{Control, ControlError, Definition, Pool};
pub use delayed::{Firing, delayed_table};
pub use regions::{RegionHome, RegionPeer};
pub use router::{Drain, router};
pub use shared::ServiceLimits;
pub use wait::MAX_WAIT;
