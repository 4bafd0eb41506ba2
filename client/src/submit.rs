//! Submitting one transaction.

use handfast_proto::{reason, v1};

use crate::client::{Client, GivenUp};
use crate::errors::SubmitError;
use crate::failure::Failure;
use crate::outcome::{Locator, Outcome};
use crate::transaction::Transaction;

impl Client {
    /// Commits a transaction, or nothing of it, and answers at the options' level.
    ///
    /// Tries again, under the same id, when the server is overloaded or away, and when an answer was
    /// lost: the id makes that safe. What is then still in doubt is [`Outcome::Unknown`], never an
    /// error; submitting the same value again later is safe too.
    pub async fn submit(&self, transaction: &Transaction) -> Result<Outcome, SubmitError> {
        let request = v1::SubmitRequest {
            transaction: Some(transaction.wire.clone()),
            level: v1::Level::from(self.options.level).into(),
            wait_ms: self.options.wait_ms(),
        };
        let answered = self
            .retry(|mut data| {
                let request = Self::request(self.options.wait, request.clone());
                async move { data.submit(request).await }
            })
            .await;
        match answered {
            Ok(response) => Ok(outcome(response.outcome, || transaction.locator())),
            Err(given_up) => self::given_up(given_up, || transaction.locator()),
        }
    }
}

/// The outcome of an answer. One that cannot be read says nothing about the transaction.
pub(crate) fn outcome(wire: Option<v1::Outcome>, locator: impl FnOnce() -> Locator) -> Outcome {
    let outcome = wire.ok_or("it has no outcome").and_then(Outcome::try_from);
    outcome.unwrap_or_else(|what| {
        let locator = locator();
        tracing::warn!(id = %locator.id, "{}", Failure::malformed(what).message);
        Outcome::unknown(locator)
    })
}

/// What a submission that was given up comes to. Doubt of an earlier try remains, whatever the last one
/// said, unless that spoke of this very id: a namespace that is gone now may have been there before.
pub(crate) fn given_up(
    GivenUp { failure, in_doubt }: GivenUp,
    locator: impl FnOnce() -> Locator,
) -> Result<Outcome, SubmitError> {
    let speaks_of_the_id =
        [reason::ID_REUSED, reason::ID_TOO_OLD].contains(&failure.reason.as_str());
    if in_doubt && !speaks_of_the_id {
        let locator = locator();
        tracing::debug!(id = %locator.id, reason = failure.message, "outcome unknown");
        return Ok(Outcome::unknown(locator));
    }
    Err(SubmitError::from_failure(failure, locator))
}
