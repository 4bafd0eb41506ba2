//! What of the committed stream is delivered.

use std::sync::Arc;

use participant::follow::Told;
use wal_core::message::messages_of;

use crate::message::Ticket;
use crate::outgoing::{Name, Outgoing};

/// Picks what somebody takes of the committed stream.
pub trait Picks: Send + Sync + 'static {
    /// What is taken.
    type Item: Send;

    /// What is taken of a shard's part of a transaction, in order.
    ///
    /// # Errors
    /// Why it cannot be read: the shard is then read no further.
    fn pick(&self, told: &Told) -> Result<Vec<Self::Item>, String>;

    /// Bytes that an item takes, roughly.
    fn bytes(&self, item: &Self::Item) -> usize;
}

/// Picks messages, each with its ticket, in the order of the tickets.
pub type PicksMessages = dyn Picks<Item = (Ticket, Outgoing)>;

/// The messages that name a target, in the order of the request.
#[derive(Clone, Debug)]
pub struct MessagesTo {
    /// The namespace.
    pub namespace: Arc<str>,
    /// The target's name.
    pub target: Arc<str>,
}

impl Picks for MessagesTo {
    type Item = (Ticket, Outgoing);

    fn bytes(&self, (_, outgoing): &(Ticket, Outgoing)) -> usize {
        outgoing.message.payload.len()
    }

    fn pick(&self, told: &Told) -> Result<Vec<(Ticket, Outgoing)>, String> {
        let rows = told.parts.iter().flat_map(|(_, part)| part.iter());
        let mut found = Vec::new();
        for message in messages_of(rows.filter(|op| !op.is_read_only())) {
            let (index, message) = message
                .map_err(|error| format!("a message of transaction {}: {error}", told.id))?;
            if !message.targets.iter().any(|name| **name == *self.target) {
                continue;
            }
            let ticket = Ticket { position: told.position, index: index.into() };
            let outgoing = Outgoing {
                namespace: Arc::clone(&self.namespace),
                shard: told.shard,
                name: Name { id: told.id, index },
                timestamp: told.timestamp,
                message: Arc::new(message),
            };
            found.push((ticket, outgoing));
        }
        found.sort_by_key(|(ticket, _)| *ticket);
        Ok(found)
    }
}
