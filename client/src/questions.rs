//! Reads, outcomes, explanations.

use std::time::Duration;

use handfast_proto::v1::{self, ArrivedFrom};

use crate::client::Client;
use crate::errors::{ExplainError, OutcomeError, ReadError};
use crate::failure::Failure;
use crate::key::Key;
use crate::options::Level;
use crate::outcome::{Locator, Outcome};
use crate::row::Row;
use crate::transaction::row;

/// The life of a transaction.
#[derive(Clone, Debug, PartialEq)]
pub struct Explained {
    /// What is known of its outcome; `None` if it may have been forgotten.
    pub outcome: Option<Outcome>,
    /// Every record about it that is left, by shard, in log order.
    pub events: Vec<v1::Event>,
}

impl Client {
    /// Reads rows of any tables of a namespace, all at one point of the serial order, in the order
    /// asked. At most 10,000.
    pub async fn read<T: Into<String>, K: Into<Key>>(
        &self,
        namespace: &str,
        rows: impl IntoIterator<Item = (T, K)>,
    ) -> Result<Vec<Row>, ReadError> {
        let rows = rows.into_iter().map(|(table, key)| row(table, key)).collect();
        let request = v1::ReadRequest { rows, ..v1::ReadRequest::default() };
        Ok(self.read_request(namespace, request).await?.0)
    }

    /// The same; and what had arrived from other regions at that point. Waits until everything has arrived that
    /// `not_before` names: a region, and a commit timestamp that a transaction was told there.
    pub async fn read_arrived<T: Into<String>, K: Into<Key>>(
        &self,
        namespace: &str,
        rows: impl IntoIterator<Item = (T, K)>,
        not_before: &[ArrivedFrom],
    ) -> Result<(Vec<Row>, Vec<ArrivedFrom>), ReadError> {
        let rows = rows.into_iter().map(|(table, key)| row(table, key)).collect();
        let not_before = not_before.to_vec();
        let request = v1::ReadRequest { rows, not_before, arrived: true, ..Default::default() };
        self.read_request(namespace, request).await
    }

    async fn read_request(
        &self,
        namespace: &str,
        request: v1::ReadRequest,
    ) -> Result<(Vec<Row>, Vec<ArrivedFrom>), ReadError> {
        let (namespace, wait_ms) = (namespace.to_owned(), self.options.wait_ms());
        let request = v1::ReadRequest { namespace, wait_ms, ..request };
        let asked = request.rows.len();
        let response = self
            .retry(|mut data| {
                let request = Self::request(self.options.wait, request.clone());
                async move { data.read(request).await }
            })
            .await
            .map_err(|given_up| ReadError::from(given_up.failure))?;
        let rows: Result<Vec<Row>, _> = response.rows.into_iter().map(Row::try_from).collect();
        match rows {
            Ok(rows) if rows.len() == asked => Ok((rows, response.arrived)),
            Ok(_) => Err(Failure::malformed("it has not as many rows as were asked").into()),
            Err(what) => Err(Failure::malformed(what).into()),
        }
    }

    /// Reads one row.
    pub async fn read_row(
        &self,
        namespace: &str,
        table: impl Into<String>,
        key: impl Into<Key>,
    ) -> Result<Row, ReadError> {
        let rows = self.read(namespace, [(table, key)]).await?;
        Ok(rows.into_iter().next().expect("as many rows as were asked"))
    }

    /// What became of a transaction, as far as is known now.
    pub async fn outcome(&self, locator: &Locator) -> Result<Outcome, OutcomeError> {
        self.ask(locator, false).await
    }

    /// Bars a transaction from ever committing unless it has committed already. The answer is committed
    /// or aborted, or unknown if the wait ends first: then ask again.
    pub async fn fence(&self, locator: &Locator) -> Result<Outcome, OutcomeError> {
        self.ask(locator, true).await
    }

    async fn ask(&self, locator: &Locator, fence: bool) -> Result<Outcome, OutcomeError> {
        let request = v1::GetOutcomeRequest {
            locator: Some(locator.to_wire()),
            fence,
            wait_ms: self.options.wait_ms(),
        };
        let response = self
            .retry(|mut data| {
                let request = Self::request(self.options.wait, request.clone());
                async move { data.get_outcome(request).await }
            })
            .await
            .map_err(|given_up| given_up.failure)?;
        read_outcome(response.outcome)
    }

    /// Waits until a transaction has reached a level, is aborted, or `wait` has passed: then the answer
    /// is unknown.
    pub async fn wait_for(
        &self,
        locator: &Locator,
        level: Level,
        wait: Duration,
    ) -> Result<Outcome, OutcomeError> {
        let request = v1::WaitForRequest {
            locator: Some(locator.to_wire()),
            level: v1::Level::from(level).into(),
            wait_ms: u32::try_from(wait.as_millis()).unwrap_or(u32::MAX).max(1),
        };
        let response = self
            .retry(|mut data| {
                let request = Self::request(wait, request.clone());
                async move { data.wait_for(request).await }
            })
            .await
            .map_err(|given_up| given_up.failure)?;
        read_outcome(response.outcome)
    }

    /// The life of a transaction, from the logs of its shards.
    pub async fn explain(&self, locator: &Locator) -> Result<Explained, ExplainError> {
        let request = v1::ExplainRequest { locator: Some(locator.to_wire()) };
        let response = self
            .retry(|mut data| {
                let request = Self::request(self.options.wait, request.clone());
                async move { data.explain(request).await }
            })
            .await
            .map_err(|given_up| given_up.failure)?;
        let outcome = response.outcome.map(|outcome| read_outcome(Some(outcome))).transpose()?;
        Ok(Explained { outcome, events: response.events })
    }
}

pub(crate) fn read_outcome(wire: Option<v1::Outcome>) -> Result<Outcome, OutcomeError> {
    let outcome = wire.ok_or("it has no outcome").and_then(Outcome::try_from);
    outcome.map_err(|what| Failure::malformed(what).into())
}
