//! Real servers on loopback, without containers: Kafka, Cassandra and PostgreSQL, fetched once into the
//! user's cache folder or installed, started on free addresses in temporary folders, and gone with the process
//! that started them. Also single memcached servers.
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! use handfast_stack::{Server, Stack, StackSpec};
//!
//! let stack = Stack::start(&StackSpec { kafka: 3, ..StackSpec::default() })?;
//! println!("bootstrap.servers={}", stack.kafka_bootstrap());
//! stack.kill9(Server::Kafka(0))?;
//! println!("a broker was back after {:?}", stack.restart(Server::Kafka(0))?);
//! # Ok(())
//! # }
//! ```

mod cassandra;
mod certificates;
mod fetch;
mod kafka;
mod kept;
mod memcached;
mod network;
mod plan;
mod postgres;
mod process;
mod stack;
mod wire;

pub use certificates::{KEY_STORE_PASSWORD, certificates};
pub use fetch::{CASSANDRA, Engine, KAFKA, cache};
pub use memcached::Memcached;
pub use network::Network;
pub use process::{Launch, Lifetime, Process};
pub use stack::{Jit, Server, ServerState, Stack, StackSpec};
