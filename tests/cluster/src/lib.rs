//! Handfast's servers on real Kafka, Cassandra and PostgreSQL: gateways and participants as processes of
//! their own, started, killed, paused and stopped, for tests and from a shell.
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! use handfast_cluster::{Cluster, ClusterSpec, Member, Part};
//!
//! let cluster = Cluster::start(&ClusterSpec::default())?;
//! println!("{}", cluster.endpoints().join(","));
//! let second = Part::Member(Member::Participant(1));
//! cluster.kill(second)?;
//! println!("it was back after {:?}", cluster.restart(second)?);
//! # Ok(())
//! # }
//! ```

pub mod apart;
mod cluster;
mod kept;
pub mod load;
mod part;

pub use cluster::{Cluster, ClusterSpec};
pub use part::{Member, Part};
