//! Waiting for the engine's answers without ever making the engine wait.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::error::Elapsed;
use wal_core::namespace::Namespace;
use wal_core::{Row, RowKey, ShardId};

use super::backend::{Backend, Refused};
use super::errors::ServiceError;
use super::outcome;
use crate::api::{Call, CallAnswer, ReadAnswer};
use crate::runtime::Answers;

/// Takes the answer of one call.
struct Single(Mutex<Option<oneshot::Sender<Option<CallAnswer>>>>);

impl Answers for Single {
    fn deliver(&self, answers: &mut Vec<(u64, Option<CallAnswer>)>) {
        if let Some((_, answer)) = answers.pop()
            && let Some(waiter) = lock(&self.0).take()
        {
            let _ = waiter.send(answer); // nobody waits any more: the call was forgotten meanwhile
        }
    }
}

/// Takes the answers of many calls until their stream comes to fetch them, all at once. Bounded by the
/// stream's window: there is at most one answer for each call in flight.
#[derive(Default)]
pub(super) struct Inbox {
    answers: Mutex<Vec<(u64, Option<CallAnswer>)>>,
    arrived: Notify,
}

impl Inbox {
    /// Waits until there may be answers.
    pub(super) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// Everything that arrived, in order; `into` gives its room for what arrives next.
    pub(super) fn take(&self, into: &mut Vec<(u64, Option<CallAnswer>)>) {
        into.clear();
        std::mem::swap(&mut *lock(&self.answers), into);
    }
}

impl Answers for Inbox {
    fn deliver(&self, answers: &mut Vec<(u64, Option<CallAnswer>)>) {
        let waiting = {
            let mut arrived = lock(&self.answers);
            let waiting = !arrived.is_empty();
            arrived.append(answers);
            waiting
        };
        // What joins answers that wait already needs no wake: it rides with them.
        if !waiting {
            self.arrived.notify_one();
        }
    }
}

/// A panic elsewhere cannot leave these values half-changed, so a poisoned lock is still good.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Forgets a call when its waiter goes away, whatever the reason.
struct Waiting<'a> {
    backend: &'a dyn Backend,
    namespace: &'a Namespace,
    call: u64,
    answered: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.backend.forget(self.namespace, self.call);
        }
    }
}

/// Asks the engine and waits; `None` if the wait ended first, or the engine failed or went away, which says
/// nothing about what becomes of the call.
pub(super) async fn ask(
    backend: &dyn Backend,
    namespace: &Namespace,
    call: Call,
    wait: Duration,
) -> Result<Option<CallAnswer>, Refused> {
    Ok(ask_within(backend, namespace, call, wait).await?.unwrap_or(None))
}

/// As [`ask`], and tells a wait that ended first from an engine that failed or went away, which is `None`.
async fn ask_within(
    backend: &dyn Backend,
    namespace: &Namespace,
    call: Call,
    wait: Duration,
) -> Result<Result<Option<CallAnswer>, Elapsed>, Refused> {
    let (sender, receiver) = oneshot::channel();
    let sink = Arc::new(Single(Mutex::new(Some(sender))));
    let call = backend.call(namespace, vec![(call, 0)], sink)?;
    let mut waiting = Waiting { backend, namespace, call, answered: false };
    let answer = tokio::time::timeout(wait, receiver).await;
    waiting.answered = matches!(answer, Ok(Ok(_)));
    Ok(answer.map(|answer| answer.unwrap_or(None)))
}

/// Reads rows, in the order of the keys, and waits so long for undecided transactions that cover them.
pub(super) async fn read(
    backend: &dyn Backend,
    namespace: &Namespace,
    keys: Vec<(ShardId, RowKey)>,
    wait: Duration,
) -> Result<Vec<Row>, ServiceError> {
    match ask_within(backend, namespace, Call::Read { keys }, wait).await? {
        Ok(Some(CallAnswer::Read(ReadAnswer::Rows(rows)))) => Ok(rows),
        Ok(Some(CallAnswer::Read(ReadAnswer::Overloaded { retry_after_ms }))) => {
            Err(ServiceError::Overloaded { what: "the queue of reads", retry_after_ms })
        }
        Ok(Some(CallAnswer::Read(ReadAnswer::Unavailable { shard }))) => {
            Err(ServiceError::ShardUnavailable { shard })
        }
        Ok(Some(CallAnswer::Submit(_) | CallAnswer::Outcome(_))) => {
            Err(outcome::mismatch("a read"))
        }
        Ok(None) => Err(ServiceError::ShuttingDown),
        Err(_) => Err(ServiceError::ReadTimedOut { waited_ms: wait.as_millis() as u64 }),
    }
}
