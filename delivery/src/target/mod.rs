//! Where messages are delivered to: a port, and what implements it.
//!
//! # Clauses
//!
//! 1. **An answer means what it says.** [`Answer::Delivered`] is said only once the target has the message as
//!    durably as it keeps anything, or has recognised a repeat of it.
//! 2. **A failure is classified**, see [`ErrorClass`](crate::ErrorClass): *permanent* is what this message can
//!    never overcome; *overloaded* what concerns the target as a whole (it is away, or asks for a pause);
//!    anything else is *transient*.
//! 3. **Every try carries the message's [`Name`](crate::Name)**, so that whoever receives it can tell a repeat;
//!    unless a repeat changes nothing there.
//! 4. **A future that is dropped ends its try**: as far as the protocol allows, nothing of it reaches the
//!    target any more. The runtime drops it at the deadline.
//! 5. **Nothing of a message is lost**: key, content type, headers in their order, payload, bytes as they are. A
//!    target that has no place for some of it says so where it is described.
//! 6. **No secrets** are in what a failure says.
//!
//! A target that panics breaks all of them, and is dealt with by whoever sends: the try has failed by a fault of
//! ours ([`ErrorClass::Ours`](crate::ErrorClass::Ours)), so the message is parked, and nothing else is touched.

pub mod conformance;
pub mod http;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod memcached;
mod secrets;
pub mod table;

use std::future::Future;
use std::pin::Pin;

use crate::message::Answer;
use crate::outgoing::Outgoing;

pub use self::http::{HttpOptions, HttpTarget};
#[cfg(feature = "kafka")]
pub use self::kafka::{KafkaOptions, KafkaTarget};
pub use self::memcached::{MemcachedOptions, MemcachedTarget};
pub use self::secrets::value_of;
pub use self::table::{OpenTables, TableOptions, TableTarget};

/// What comes later.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where messages are delivered to. See the module's clauses.
pub trait Target: Send + Sync + 'static {
    /// Tries to deliver a message. Tries of different messages run at the same time.
    fn send(&self, outgoing: Outgoing) -> Later<'_, Answer>;

    /// A message was read, and will be sent, unless the shard is let go before. Told of each message of a shard in the
    /// order of the log, as soon as it is read: what is sent waits for its turn. Most targets need not know.
    fn announce(&self, outgoing: &Outgoing) {
        let _ = outgoing; // whoever needs it overrides this
    }
}

/// Why a target cannot be built. None of them shows a value that could be a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// The address is none.
    #[error("the URL cannot be posted to: {why}")]
    Url {
        /// What is wrong with it, and what to write instead.
        why: String,
    },
    /// A header that should go with every request cannot.
    #[error("the header {name:?} cannot go with every request: {why}")]
    Header {
        /// Its name.
        name: String,
        /// What is wrong with it, and what to do.
        why: String,
    },
    /// An option or a setting of the client library cannot be as it is.
    #[error("{name} cannot be as it is: {why}")]
    Setting {
        /// Its name.
        name: String,
        /// What is wrong with it, and what to do.
        why: String,
    },
    /// A value should come from an environment variable, and does not.
    #[error("{name} comes from the environment variable {variable}, which {why}")]
    Variable {
        /// What takes its value from there.
        name: String,
        /// The variable.
        variable: String,
        /// What is wrong with it, and what to do.
        why: String,
    },
    /// The client library does not start with these options.
    #[error("the client does not start: {why}")]
    Client {
        /// What it says.
        why: String,
    },
}
