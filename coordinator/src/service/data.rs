//! The data service.

use std::sync::Arc;
use std::time::{Duration, Instant};

use handfast_proto::v1;
use handfast_proto::v1::handfast_server::Handfast;
use prost::Message as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use wal_core::namespace::Namespace;
use wal_core::{ShardId, TxnId};

use super::calls::{self, ask};
use super::connections::Aging;
use super::errors::ServiceError;
use super::metrics::ServiceMetrics;
use super::regions::read_with_arrived;
use super::shared::Shared;
use super::submission::{NamespaceCache, Submission, id_or_drawn, parse_id};
use super::wait::{deadline, wait};
use super::{convert, delayed, explain, outcome, stream, subscribe};
use crate::api::{Call, Level, OutcomeQuery};

/// Serves `handfast.v1.Handfast`.
#[derive(Clone)]
pub(super) struct DataService {
    pub(super) shared: Arc<Shared>,
}

/// A transaction that is asked about.
struct Asked {
    namespace: Arc<Namespace>,
    id: TxnId,
    home: Option<ShardId>,
}

impl DataService {
    /// Counts a failure on its way out.
    fn fail(&self, error: impl Into<ServiceError>) -> Status {
        let error = error.into();
        self.shared.metrics.refused(&error);
        error.into()
    }

    async fn submit(
        &self,
        request: v1::SubmitRequest,
        deadline: Option<Duration>,
    ) -> Result<v1::Outcome, ServiceError> {
        let shared = &*self.shared;
        let _room = shared.enter()?;
        let mut cache = NamespaceCache::default();
        let _share = match &request.transaction {
            Some(named) => Some(shared.share(cache.get(shared, &named.namespace)?.0)?),
            None => None,
        };
        let Submission { namespace, txn, level, taken: _taken } =
            Submission::check(shared, &mut cache, request.transaction, request.level)?;
        let wait = wait(&namespace, request.wait_ms, deadline);
        tracing::debug!(id = %txn.id, shards = txn.parts.len(), ?level, "submit");
        let call = Call::Submit { txn: Arc::clone(&txn), level };
        let answer = ask(&*shared.backend, &namespace, call, wait).await?;
        outcome::of_submission(&shared.metrics, &namespace, &txn, answer)
    }

    async fn change_delayed(
        &self,
        request: v1::ChangeDelayedRequest,
        deadline: Option<Duration>,
    ) -> Result<v1::Outcome, ServiceError> {
        let shared = &*self.shared;
        let _room = shared.enter()?;
        let namespace = shared.namespace(&request.namespace, "namespace")?;
        let _share = shared.share(&namespace)?;
        let _taken = shared.tenants.of(&namespace).take(&namespace, request.encoded_len())?;
        let wait = wait(&namespace, request.wait_ms, deadline);
        let id = id_or_drawn(&request.id, "id")?;
        let change = delayed::change(&namespace, id, &request.name, request.change)?;
        let txn = Arc::new(convert::built(&namespace, id, &change)?);
        let call = Call::Submit { txn: Arc::clone(&txn), level: Level::Committed };
        let answer = ask(&*shared.backend, &namespace, call, wait).await?;
        outcome::of_submission(&shared.metrics, &namespace, &txn, answer)
    }

    async fn read(
        &self,
        request: Request<v1::ReadRequest>,
    ) -> Result<v1::ReadResponse, ServiceError> {
        let shared = &*self.shared;
        let _room = shared.enter()?;
        let deadline = deadline(request.metadata());
        let request = request.into_inner();
        let namespace = shared.namespace(&request.namespace, "namespace")?;
        let _share = shared.share(&namespace)?;
        let _taken = shared.tenants.of(&namespace).take(&namespace, request.encoded_len())?;
        let wait = wait(&namespace, request.wait_ms, deadline);
        let keys = convert::keys_to_read(&namespace, request.rows)?;
        let (rows, arrived) = if request.arrived || !request.not_before.is_empty() {
            let not_before = &request.not_before;
            read_with_arrived(shared, &namespace, &keys, not_before, wait).await?
        } else {
            (calls::read(&*shared.backend, &namespace, keys.clone(), wait).await?, Vec::new())
        };
        let named = keys.iter().zip(&rows);
        let rows = named.map(|((_, key), row)| super::names::row(&namespace, key, row)).collect();
        Ok(v1::ReadResponse { rows, arrived })
    }

    /// Finds out which transaction is meant.
    fn locate(&self, locator: Option<v1::Locator>) -> Result<Asked, ServiceError> {
        let locator = locator.ok_or_else(|| ServiceError::invalid("locator", "it is missing"))?;
        let namespace = self.shared.namespace(&locator.namespace, "locator.namespace")?;
        let id = parse_id(&locator.id, "locator.id")?;
        let home = |home| convert::shard(&namespace, home, || "locator.home_shard".to_owned());
        let home = locator.home_shard.map(home).transpose()?;
        Ok(Asked { namespace, id, home })
    }

    async fn question(
        &self,
        asked: &Asked,
        fence: bool,
        level: Option<Level>,
        wait: Duration,
    ) -> Result<v1::Outcome, ServiceError> {
        let Asked { namespace, id, home } = asked;
        let query = OutcomeQuery { id: *id, home: *home, fence, wait: level };
        let answer = ask(&*self.shared.backend, namespace, Call::Outcome(query), wait).await?;
        outcome::of_question(namespace, *id, *home, answer)
    }

    async fn explain(
        &self,
        request: Request<v1::ExplainRequest>,
    ) -> Result<v1::ExplainResponse, ServiceError> {
        let _room = self.shared.enter()?;
        let deadline = deadline(request.metadata());
        let asked = self.locate(request.into_inner().locator)?;
        let _share = self.shared.share(&asked.namespace)?;
        let wait = wait(&asked.namespace, 0, deadline);
        let events = explain::events(&self.shared, &asked.namespace, asked.id).await?;
        // Events without an outcome (below the floor, say) are worth more than an error.
        let outcome = self.question(&asked, false, None, wait).await.ok();
        Ok(v1::ExplainResponse { outcome, events })
    }
}

#[tonic::async_trait]
impl Handfast for DataService {
    async fn submit(
        &self,
        request: Request<v1::SubmitRequest>,
    ) -> Result<Response<v1::SubmitResponse>, Status> {
        let start = Instant::now();
        let deadline = deadline(request.metadata());
        let outcome = Self::submit(self, request.into_inner(), deadline).await;
        let outcome = outcome.map_err(|error| self.fail(error))?;
        ServiceMetrics::took(&self.shared.metrics.submit, start.elapsed());
        Ok(Response::new(v1::SubmitResponse { outcome: Some(outcome) }))
    }

    async fn write_to_log(
        &self,
        request: Request<v1::WriteToLogRequest>,
    ) -> Result<Response<v1::WriteToLogResponse>, Status> {
        let start = Instant::now();
        let deadline = deadline(request.metadata());
        let v1::WriteToLogRequest { namespace, id, message, wait_ms, due } = request.into_inner();
        let missing = || self.fail(ServiceError::invalid("message", "it is missing"));
        let messages = vec![message.ok_or_else(missing)?];
        let transaction = v1::Transaction { messages, ..Default::default() };
        let transaction = match due {
            None => transaction,
            due => {
                let delayed = v1::Delayed { due, transaction: Some(transaction) };
                v1::Transaction { delayed: vec![delayed], ..Default::default() }
            }
        };
        let transaction = v1::Transaction { namespace, id, ..transaction };
        let transaction = Some(transaction);
        let request = v1::SubmitRequest { transaction, level: v1::Level::Logged.into(), wait_ms };
        let outcome = Self::submit(self, request, deadline).await;
        let outcome = outcome.map_err(|error| self.fail(error))?;
        ServiceMetrics::took(&self.shared.metrics.write_to_log, start.elapsed());
        Ok(Response::new(outcome::of_write(outcome)))
    }

    async fn change_delayed(
        &self,
        request: Request<v1::ChangeDelayedRequest>,
    ) -> Result<Response<v1::ChangeDelayedResponse>, Status> {
        let deadline = deadline(request.metadata());
        let outcome = Self::change_delayed(self, request.into_inner(), deadline).await;
        let outcome = outcome.map_err(|error| self.fail(error))?;
        Ok(Response::new(v1::ChangeDelayedResponse { outcome: Some(outcome) }))
    }

    type SubmitStreamStream = ReceiverStream<Result<v1::SubmitStreamResponse, Status>>;

    async fn submit_stream(
        &self,
        request: Request<Streaming<v1::SubmitStreamRequest>>,
    ) -> Result<Response<Self::SubmitStreamStream>, Status> {
        let aging = request.extensions().get::<Aging>().copied();
        let ends = aging.and_then(Aging::of_streams);
        let responses = stream::start(Arc::clone(&self.shared), request.into_inner(), ends)
            .map_err(|error| self.fail(error))?;
        Ok(Response::new(ReceiverStream::new(responses)))
    }

    async fn read(
        &self,
        request: Request<v1::ReadRequest>,
    ) -> Result<Response<v1::ReadResponse>, Status> {
        let start = Instant::now();
        let read = Self::read(self, request).await.map_err(|error| self.fail(error))?;
        ServiceMetrics::took(&self.shared.metrics.read, start.elapsed());
        Ok(Response::new(read))
    }

    async fn get_outcome(
        &self,
        request: Request<v1::GetOutcomeRequest>,
    ) -> Result<Response<v1::GetOutcomeResponse>, Status> {
        let start = Instant::now();
        let deadline = deadline(request.metadata());
        let request = request.into_inner();
        let answered = async {
            let _room = self.shared.enter()?;
            let asked = self.locate(request.locator)?;
            let _share = self.shared.share(&asked.namespace)?;
            let wait = wait(&asked.namespace, request.wait_ms, deadline);
            self.question(&asked, request.fence, None, wait).await
        };
        let outcome = answered.await.map_err(|error| self.fail(error))?;
        ServiceMetrics::took(&self.shared.metrics.outcome, start.elapsed());
        Ok(Response::new(v1::GetOutcomeResponse { outcome: Some(outcome) }))
    }

    async fn wait_for(
        &self,
        request: Request<v1::WaitForRequest>,
    ) -> Result<Response<v1::WaitForResponse>, Status> {
        let deadline = deadline(request.metadata());
        let request = request.into_inner();
        let answered = async {
            let _room = self.shared.enter()?;
            let asked = self.locate(request.locator)?;
            let _share = self.shared.share(&asked.namespace)?;
            let wait = wait(&asked.namespace, request.wait_ms, deadline);
            let level = match convert::level(&asked.namespace, request.level)? {
                Level::Logged => None,
                level @ (Level::Committed | Level::Applied) => Some(level),
            };
            self.question(&asked, false, level, wait).await
        };
        let outcome = answered.await.map_err(|error| self.fail(error))?;
        Ok(Response::new(v1::WaitForResponse { outcome: Some(outcome) }))
    }

    async fn explain(
        &self,
        request: Request<v1::ExplainRequest>,
    ) -> Result<Response<v1::ExplainResponse>, Status> {
        let response = Self::explain(self, request).await.map_err(|error| self.fail(error))?;
        Ok(Response::new(response))
    }

    type SubscribeStream = ReceiverStream<Result<v1::SubscribeResponse, Status>>;

    async fn subscribe(
        &self,
        request: Request<v1::SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let aging = request.extensions().get::<Aging>().copied();
        let ends = aging.and_then(Aging::of_streams);
        let responses = subscribe::start(&self.shared, request.into_inner(), ends)
            .map_err(|error| self.fail(error))?;
        Ok(Response::new(ReceiverStream::new(responses)))
    }
}
