//! Sending dead letters again: apart from the lanes, one at a time for each shard.

use std::sync::Arc;
use std::time::Duration;

use metrics::Counter;
use wal_core::Millis;
use wal_core::message::Message;

use super::{Clock, Parts};
use crate::caught::{caught_later, stored};
use crate::history::Try;
use crate::message::{Answer, ErrorClass, Failure};
use crate::outgoing::Outgoing;
use crate::store::{Course, DeadLetter, Redriven};
use crate::target::Target;

/// Letters of a shard that are redriven before it is looked again.
const REDRIVEN_AT_ONCE: u32 = 64;

/// Sends letters of a course again, one after the other, under this generation of it.
pub(super) async fn redrive_all(
    parts: &Parts,
    (course, generation): (Course, u64),
    timeout: Duration,
    clock: Clock,
    (delivered, failed): (Counter, Counter),
) {
    let letters = stored(|| parts.store.redriving(course.clone(), REDRIVEN_AT_ONCE)).await;
    for letter in letters.unwrap_or_default() {
        let now = || clock.now().millis();
        let Some(how) = redrive(&*parts.target, &letter, timeout, now).await else { return };
        let counter = if how == Redriven::Delivered { &delivered } else { &failed };
        let said =
            stored(|| parts.store.redriven(course.clone(), generation, letter.name, how)).await;
        if said.is_err() {
            return; // it is sent once more, under the same name
        }
        counter.increment(1);
    }
}

/// What is to be said of a letter that was sent again; `None` if it is to be sent once more later, as the
/// target as a whole takes nothing.
async fn redrive(
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
            match send(target, &letter.course.target, outgoing, timeout).await {
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

/// What is said of a try in which the target panicked; its own words are not: there may be anything in them.
pub(super) const PANICKED: &str = "the target panicked, which is a fault of Handfast's";

/// A try with its deadline. A target that panics has failed by a fault of ours.
pub(super) async fn send(
    target: &dyn Target,
    name: &str,
    outgoing: Outgoing,
    timeout: Duration,
) -> Answer {
    let (namespace, message) = (Arc::clone(&outgoing.namespace), outgoing.name);
    let trying = caught_later(async { tokio::time::timeout(timeout, target.send(outgoing)).await });
    let (class, text) = match trying.await {
        Ok(Ok(answer)) => return answer,
        Ok(Err(_)) => (ErrorClass::Transient, format!("no answer within {timeout:?}").into()),
        Err(panicked) => {
            tracing::error!(
                %namespace, target = name, %message, %panicked,
                "a target panicked: report it, with what was told before this"
            );
            (ErrorClass::Ours, PANICKED.into())
        }
    };
    Answer::Failed(Failure { class, text })
}
