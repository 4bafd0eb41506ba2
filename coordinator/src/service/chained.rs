//! A namespace as a target of another: chained logs.
//!
//! A message there has key, content type, headers and payload of the one here. Its name there is made from its
//! name here, which is how repeats are told (clause 3 of [`delivery::target`]); where it is from has no place. What
//! was handed to the engine is driven on when nobody waits for it any more (clause 4).

use std::sync::Arc;
use std::time::Duration;

use delivery::target::{Later, Target};
use delivery::{Answer, ErrorClass, Failure, Name, Outgoing};
use wal_core::TxnId;
use wal_core::build::Batch;
use wal_core::message::Message;

use super::backend::{Backend, Refused};
use super::calls::ask;
use super::convert;
use super::draw::{mixed, mixed_bytes};
use super::submission::draw_id;
use crate::api::{self, Call, CallAnswer, Level};

/// Beyond what the runtime allows a try.
const PATIENCE: Duration = Duration::from_secs(600);

/// Writes each message into the log of another namespace of this installation, by way of the server's own engine.
pub struct Chained {
    backend: Arc<dyn Backend>,
    /// Of this namespace.
    namespace: String,
    /// What the message is to be delivered to there.
    to: Vec<String>,
    /// Told apart by it: several targets of one namespace may be one namespace.
    target: String,
}

impl Chained {
    /// The target `target`, which is the namespace `namespace`, whose targets `to` the messages name there.
    pub fn new(
        backend: Arc<dyn Backend>,
        target: String,
        namespace: String,
        to: Vec<String>,
    ) -> Self {
        Self { backend, namespace, to, target }
    }

    /// The id of a message there: always the same for its name, so that it is written once as long as ids are
    /// remembered. It has the time of the id here.
    pub(super) fn id_of(&self, name: Name) -> TxnId {
        const TIME_AND_VERSION: u128 = 0xFFFF_FFFF_FFFF_F000 << 64;
        const VARIANT: u128 = 0b10 << 62;
        let seed = (name.id.0 >> 64) as u64 ^ mixed(name.id.0 as u64) ^ mixed(name.index.into());
        let low = mixed_bytes(seed, self.target.as_bytes());
        let drawn = u128::from(low) & ((1 << 62) - 1);
        let rand_a = u128::from(mixed(low) & 0xFFF) << 64;
        TxnId((name.id.0 & TIME_AND_VERSION) | rand_a | VARIANT | drawn)
    }

    async fn write(&self, outgoing: &Outgoing, id: TxnId) -> Result<api::Answer, Failure> {
        let namespace = self.backend.namespace(&self.namespace).ok_or_else(|| {
            overloaded(format!("the namespace {:?} is not served here", self.namespace), None)
        })?;
        let message = Message { targets: self.to.clone(), ..(*outgoing.message).clone() };
        let batch = Batch { messages: vec![message], ..Batch::default() };
        let txn = convert::built(&namespace, id, &batch).map_err(|error| Failure {
            class: ErrorClass::Permanent,
            text: format!("the namespace {:?} refuses it: {error}", self.namespace).into(),
        })?;
        let call = Call::Submit { txn: Arc::new(txn), level: Level::Committed };
        match ask(&*self.backend, &namespace, call, PATIENCE).await {
            Ok(Some(CallAnswer::Submit(answer))) => Ok(answer),
            Ok(Some(CallAnswer::Read(_) | CallAnswer::Outcome(_)) | None) => {
                Err(transient("it was not answered"))
            }
            Err(Refused::Overloaded { what, retry_after_ms }) => {
                Err(overloaded(format!("{what} is full"), Some(retry_after_ms)))
            }
            Err(Refused::ShuttingDown) => Err(overloaded("it is shutting down".to_owned(), None)),
        }
    }

    async fn deliver(&self, outgoing: &Outgoing) -> Result<(), Failure> {
        let answer = self.write(outgoing, self.id_of(outgoing.name)).await?;
        let answer = match answer {
            // It was never tried, or so long ago that nobody remembers: rather twice than never. Or it was
            // tried when the target named others.
            api::Answer::TooOld { .. } | api::Answer::IdReused => {
                self.write(outgoing, draw_id()).await?
            }
            other => other,
        };
        match answer {
            api::Answer::Committed { .. } => Ok(()),
            api::Answer::Overloaded { what, retry_after_ms } => {
                Err(overloaded(format!("{what} is full"), Some(retry_after_ms)))
            }
            api::Answer::Unavailable { shard } => {
                Err(overloaded(format!("shard {shard} has no leader just now"), None))
            }
            other => Err(transient(&format!("{other:?}"))),
        }
    }
}

fn overloaded(text: String, retry_after_ms: Option<u64>) -> Failure {
    let retry_after_us = retry_after_ms.map(|ms| ms.saturating_mul(1_000));
    Failure { class: ErrorClass::Overloaded { retry_after_us }, text: text.into() }
}

fn transient(text: &str) -> Failure {
    Failure { class: ErrorClass::Transient, text: text.into() }
}

impl Target for Chained {
    fn send(&self, outgoing: Outgoing) -> Later<'_, Answer> {
        Box::pin(async move {
            match self.deliver(&outgoing).await {
                Ok(()) => Answer::Delivered,
                Err(failure) => Answer::Failed(failure),
            }
        })
    }
}
