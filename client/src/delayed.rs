//! What is done later.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use handfast_proto::v1::{self, change_delayed_request::Change, due};
use uuid::Uuid;

use crate::client::Client;
use crate::errors::SubmitError;
use crate::outcome::{Locator, Outcome};
use crate::submit::{given_up, outcome};
use crate::transaction::Transaction;

/// When something is due. One that is past is now. The default: as the namespace says in `delay.after_ms`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Due {
    pub(crate) wire: v1::Due,
}

impl Due {
    /// So long after the transaction's id was drawn, to the millisecond.
    pub fn after(delay: Duration) -> Self {
        Self::when(due::When::AfterMs(millis(delay)))
    }

    /// At a time, to the millisecond.
    pub fn at(time: SystemTime) -> Self {
        Self::when(due::When::AtMs(millis(time.duration_since(UNIX_EPOCH).unwrap_or_default())))
    }

    fn when(when: due::When) -> Self {
        Self { wire: v1::Due { when: Some(when), jitter_ms: None } }
    }

    /// Up to so much later, by chance: what is scheduled for one time is then not done all at once.
    #[must_use]
    pub fn jitter(mut self, most: Duration) -> Self {
        self.wire.jitter_ms = Some(millis(most));
        self
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Transaction {
    /// Schedules what another transaction says, if this one commits. Its id and namespace do not matter: it gets
    /// an id when it is done, and is of this namespace. It is called by this one's id and by the number of
    /// earlier calls, `ID/0` for the first: see [`Client::cancel_delayed`].
    pub fn later(mut self, due: Due, then: Transaction) -> Self {
        let then = v1::Transaction { id: Bytes::new(), namespace: String::new(), ..then.wire };
        self.wire.delayed.push(v1::Delayed { due: Some(due.wire), transaction: Some(then) });
        self
    }
}

impl Client {
    /// Cancels what is due later, by its name, `ID/PLACE`. Committed: it is never done. Aborted: it was not
    /// pending any more, as it was done or cancelled before. `id`, a UUID of version 7, names the change: the same
    /// again gives the same answer. What is in doubt is [`Outcome::Unknown`], as for [`Client::submit`].
    pub async fn cancel_delayed(
        &self,
        namespace: &str,
        id: Uuid,
        name: &str,
    ) -> Result<Outcome, SubmitError> {
        self.change_delayed(namespace, id, name, Change::Cancel(v1::CancelDelayed {})).await
    }

    /// Schedules what is due later for another time, also if it was refused when it was due. Answers as
    /// [`Client::cancel_delayed`] does.
    pub async fn reschedule_delayed(
        &self,
        namespace: &str,
        id: Uuid,
        name: &str,
        due: Due,
    ) -> Result<Outcome, SubmitError> {
        self.change_delayed(namespace, id, name, Change::Due(due.wire)).await
    }

    async fn change_delayed(
        &self,
        namespace: &str,
        id: Uuid,
        name: &str,
        change: Change,
    ) -> Result<Outcome, SubmitError> {
        let request = v1::ChangeDelayedRequest {
            namespace: namespace.to_owned(),
            id: Bytes::copy_from_slice(id.as_bytes()),
            name: name.to_owned(),
            change: Some(change),
            wait_ms: self.options.wait_ms(),
        };
        let locator = || Locator::new(namespace, id);
        let answered = self
            .retry(|mut data| {
                let request = Self::request(self.options.wait, request.clone());
                async move { data.change_delayed(request).await }
            })
            .await;
        match answered {
            Ok(response) => Ok(outcome(response.outcome, locator)),
            Err(failed) => given_up(failed, locator),
        }
    }
}
