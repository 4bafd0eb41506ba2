//! Sending dead letters again: apart from the lanes, one at a time for each shard.

use std::sync::Arc;
use std::time::Duration;

use wal_core::Millis;
use wal_core::message::Message;

use crate::history::Try;
use crate::message::{Answer, ErrorClass, Failure};
use crate::outgoing::Outgoing;
use crate::store::{DeadLetter, Redriven};
use crate::target::Target;

/// What is to be said of a letter that was sent again; `None` if it is to be sent once more later, as the
/// target as a whole takes nothing.
pub(super) async fn redrive(
    target: &dyn Target,
    letter: &DeadLetter,
    timeout: Duration,
    now: impl FnOnce() -> Millis,
) -> Option<Redriven> {
    let failure = match Message::decode(letter.key.clone(), letter.message.clone()) {
        Ok(message) => {
            let outgoing = Outgoing {
                namespace: Arc::clone(&letter.course.namespace),
                shard: letter.course.shard,
                name: letter.name,
                timestamp: letter.timestamp,
                message: Arc::new(message),
            };
            match send(target, outgoing, timeout).await {
                Answer::Delivered => return Some(Redriven::Delivered),
                Answer::Failed(Failure { class: ErrorClass::Overloaded { .. }, .. }) => {
                    return None;
                }
                Answer::Failed(failure) => failure,
            }
        }
        Err(error) => Failure { class: ErrorClass::Ours, text: error.to_string().into() },
    };
    let number = letter.tries.saturating_add(1);
    Some(Redriven::Failed(Try { number, at: now(), class: failure.class, text: failure.text }))
}

/// A try with its deadline.
pub(super) async fn send(target: &dyn Target, outgoing: Outgoing, timeout: Duration) -> Answer {
    match tokio::time::timeout(timeout, target.send(outgoing)).await {
        Ok(answer) => answer,
        Err(_) => Answer::Failed(Failure {
            class: ErrorClass::Transient,
            text: format!("no answer within {timeout:?}").into(),
        }),
    }
}
