//! The administration service.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use handfast_proto::v1;
use handfast_proto::v1::handfast_admin_server::HandfastAdmin;
use participant::engine::ShardStatus;
use tonic::{Request, Response, Status};
use wal_core::namespace::Namespace;

use super::control::{Control, Definition, Pool};
use super::errors::ServiceError;
use super::explain::blocking;
use super::shared::Shared;
use super::{names, outcome};
use crate::runtime::NamespaceSnapshot;

/// Bytes of a namespace definition.
const MAX_DEFINITION_BYTES: usize = 1 << 20;
/// Unresolved transactions listed if the request names no limit, and at most.
const DEFAULT_UNRESOLVED: usize = 1_000;
const MAX_UNRESOLVED: usize = 10_000;
const _: () = assert!(DEFAULT_UNRESOLVED <= MAX_UNRESOLVED);

/// Serves `handfast.v1.HandfastAdmin`.
#[derive(Clone)]
pub(super) struct AdminService {
    pub(super) shared: Arc<Shared>,
    pub(super) control: Arc<dyn Control>,
}

impl AdminService {
    fn fail(&self, error: impl Into<ServiceError>) -> Status {
        let error = error.into();
        self.shared.metrics.refused(&error);
        error.into()
    }

    async fn look(
        &self,
        namespace: &Arc<Namespace>,
        limit: usize,
    ) -> Result<NamespaceSnapshot, ServiceError> {
        let of = Arc::clone(namespace);
        blocking(&self.shared, move |backend| backend.look(&of, limit)).await
    }

    async fn status(&self, name: &str) -> Result<v1::GetStatusResponse, ServiceError> {
        let namespace = self.shared.namespace(name, "namespace")?;
        let snapshot = self.look(&namespace, 0).await?;
        let address = self.shared.backend.address();
        let here = snapshot.shards.into_iter().map(|shard| shard_status(shard, address));
        let elsewhere =
            snapshot.elsewhere.into_iter().map(|(shard, epoch, leader)| v1::ShardStatus {
                shard: u32::from(shard.0),
                leader: leader.as_ref().to_owned(),
                role: "elsewhere".to_owned(),
                epoch: epoch.0,
                ..v1::ShardStatus::default()
            });
        let mut shards: Vec<v1::ShardStatus> = here.chain(elsewhere).collect();
        shards.sort_by_key(|shard| shard.shard);
        Ok(v1::GetStatusResponse {
            shards,
            log_bytes: snapshot.log_bytes,
            in_flight: snapshot.in_flight as u64,
        })
    }

    async fn unresolved(
        &self,
        request: v1::ListUnresolvedRequest,
    ) -> Result<v1::ListUnresolvedResponse, ServiceError> {
        let namespace = self.shared.namespace(&request.namespace, "namespace")?;
        let limit = match request.limit as usize {
            0 => DEFAULT_UNRESOLVED,
            limit => limit.min(MAX_UNRESOLVED),
        };
        let snapshot = self.look(&namespace, limit).await?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let now = u64::try_from(now).unwrap_or(u64::MAX);
        let unresolved = snapshot.unresolved.into_iter().map(|txn| {
            let home = match txn.participants.as_slice() {
                [] => txn.shard, // it waits in its only shard
                participants => participants[txn.id.home_index(participants.len())],
            };
            v1::Unresolved {
                locator: Some(outcome::locator(&namespace, txn.id, Some(home))),
                participants: txn.participants.iter().map(|shard| u32::from(shard.0)).collect(),
                age_ms: now.saturating_sub(txn.id.time().0),
                state: txn.state.to_owned(),
                shard: u32::from(txn.shard.0),
            }
        });
        let transactions = unresolved.filter(|txn| txn.age_ms >= request.min_age_ms).collect();
        Ok(v1::ListUnresolvedResponse { transactions })
    }
}

fn shard_status(status: ShardStatus, address: &str) -> v1::ShardStatus {
    let leads = status.role == "leading";
    v1::ShardStatus {
        shard: u32::from(status.shard.0),
        leader: if leads { address.to_owned() } else { String::new() },
        role: status.role.to_owned(),
        epoch: status.epoch.0,
        sequence: status.durable.0,
        waiting: status.waiting as u64,
        prepared: status.prepared as u64,
        open: status.open as u64,
        overlay_bytes: status.overlay_bytes as u64,
        remembered: status.remembered as u64,
        floor_ms: status.floor.0,
        parked_rows: status.parked_rows as u64,
    }
}

fn described(definition: &Definition) -> Option<v1::Namespace> {
    Some(names::described(&definition.namespace, &definition.text))
}

fn wire_pool(pool: Pool) -> v1::Pool {
    let Pool { name, note, namespaces } = pool;
    v1::Pool { name, note, namespaces }
}

fn bounded(definition: &str) -> Result<&str, ServiceError> {
    if definition.len() > MAX_DEFINITION_BYTES {
        let got = definition.len();
        return Err(ServiceError::invalid(
            "definition",
            format!("at most {MAX_DEFINITION_BYTES} bytes, got {got}"),
        ));
    }
    Ok(definition)
}

#[tonic::async_trait]
impl HandfastAdmin for AdminService {
    async fn create_namespace(
        &self,
        request: Request<v1::CreateNamespaceRequest>,
    ) -> Result<Response<v1::CreateNamespaceResponse>, Status> {
        let request = request.into_inner();
        let definition = bounded(&request.definition).map_err(|error| self.fail(error))?;
        let created = self.control.create(definition).await.map_err(|error| self.fail(error))?;
        Ok(Response::new(v1::CreateNamespaceResponse { namespace: described(&created) }))
    }

    async fn validate_namespace(
        &self,
        request: Request<v1::ValidateNamespaceRequest>,
    ) -> Result<Response<v1::ValidateNamespaceResponse>, Status> {
        let request = request.into_inner();
        let definition = bounded(&request.definition).map_err(|error| self.fail(error))?;
        let (valid, exists) =
            self.control.validate(definition).await.map_err(|error| self.fail(error))?;
        let namespace = described(&valid);
        Ok(Response::new(v1::ValidateNamespaceResponse { namespace, exists }))
    }

    async fn list_namespaces(
        &self,
        _request: Request<v1::ListNamespacesRequest>,
    ) -> Result<Response<v1::ListNamespacesResponse>, Status> {
        let all = self.control.list().await.map_err(|error| self.fail(error))?;
        let namespaces = all.iter().filter_map(described).collect();
        Ok(Response::new(v1::ListNamespacesResponse { namespaces }))
    }

    async fn describe_namespace(
        &self,
        request: Request<v1::DescribeNamespaceRequest>,
    ) -> Result<Response<v1::DescribeNamespaceResponse>, Status> {
        let name = request.into_inner().name;
        let found = self.control.describe(&name).await.map_err(|error| self.fail(error))?;
        Ok(Response::new(v1::DescribeNamespaceResponse { namespace: described(&found) }))
    }

    async fn change_namespace(
        &self,
        request: Request<v1::ChangeNamespaceRequest>,
    ) -> Result<Response<v1::ChangeNamespaceResponse>, Status> {
        let request = request.into_inner();
        let definition = bounded(&request.definition).map_err(|error| self.fail(error))?;
        if !request.give_up_pending {
            self.refuse_pending(definition).await.map_err(|error| self.fail(error))?;
        }
        let changed = self.control.change(definition, request.expected_version).await;
        let changed = changed.map_err(|error| self.fail(error))?;
        Ok(Response::new(v1::ChangeNamespaceResponse { namespace: described(&changed) }))
    }

    async fn get_status(
        &self,
        request: Request<v1::GetStatusRequest>,
    ) -> Result<Response<v1::GetStatusResponse>, Status> {
        let name = request.into_inner().namespace;
        let status = self.status(&name).await.map_err(|error| self.fail(error))?;
        Ok(Response::new(status))
    }

    async fn list_unresolved(
        &self,
        request: Request<v1::ListUnresolvedRequest>,
    ) -> Result<Response<v1::ListUnresolvedResponse>, Status> {
        let unresolved = self.unresolved(request.into_inner()).await;
        Ok(Response::new(unresolved.map_err(|error| self.fail(error))?))
    }

    async fn list_parked(
        &self,
        request: Request<v1::ListParkedRequest>,
    ) -> Result<Response<v1::ListParkedResponse>, Status> {
        let parked = self.parked(request.into_inner()).await;
        Ok(Response::new(parked.map_err(|error| self.fail(error))?))
    }

    async fn retry_parked(
        &self,
        request: Request<v1::RetryParkedRequest>,
    ) -> Result<Response<v1::RetryParkedResponse>, Status> {
        let done = self.retry(request.into_inner()).await;
        Ok(Response::new(done.map_err(|error| self.fail(error))?))
    }

    async fn discard_parked(
        &self,
        request: Request<v1::DiscardParkedRequest>,
    ) -> Result<Response<v1::DiscardParkedResponse>, Status> {
        let done = self.discard(request.into_inner()).await;
        Ok(Response::new(done.map_err(|error| self.fail(error))?))
    }

    async fn list_targets(
        &self,
        request: Request<v1::ListTargetsRequest>,
    ) -> Result<Response<v1::ListTargetsResponse>, Status> {
        let targets = self.targets(&request.into_inner().namespace).await;
        Ok(Response::new(targets.map_err(|error| self.fail(error))?))
    }

    async fn retry_target(
        &self,
        request: Request<v1::RetryTargetRequest>,
    ) -> Result<Response<v1::RetryTargetResponse>, Status> {
        let done = self.retry_deliveries(&request.into_inner());
        Ok(Response::new(done.map_err(|error| self.fail(error))?))
    }

    async fn list_dead_letters(
        &self,
        request: Request<v1::ListDeadLettersRequest>,
    ) -> Result<Response<v1::ListDeadLettersResponse>, Status> {
        let letters = self.dead_letters(request.into_inner()).await;
        Ok(Response::new(letters.map_err(|error| self.fail(error))?))
    }

    async fn count_dead_letters(
        &self,
        request: Request<v1::CountDeadLettersRequest>,
    ) -> Result<Response<v1::CountDeadLettersResponse>, Status> {
        let counted = self.count_letters(request.into_inner()).await;
        Ok(Response::new(counted.map_err(|error| self.fail(error))?))
    }

    async fn change_dead_letters(
        &self,
        request: Request<v1::ChangeDeadLettersRequest>,
    ) -> Result<Response<v1::ChangeDeadLettersResponse>, Status> {
        let changed = self.change_letters(request.into_inner()).await;
        Ok(Response::new(changed.map_err(|error| self.fail(error))?))
    }

    async fn create_pool(
        &self,
        request: Request<v1::CreatePoolRequest>,
    ) -> Result<Response<v1::CreatePoolResponse>, Status> {
        let request = request.into_inner();
        let _room = self.shared.enter().map_err(|error| self.fail(error))?;
        let created = self.control.create_pool(&request.name, &request.note).await;
        let pool = Some(wire_pool(created.map_err(|error| self.fail(error))?));
        Ok(Response::new(v1::CreatePoolResponse { pool }))
    }

    async fn list_delayed(
        &self,
        request: Request<v1::ListDelayedRequest>,
    ) -> Result<Response<v1::ListDelayedResponse>, Status> {
        let parts = self.delayed_parts(request.into_inner()).await;
        Ok(Response::new(parts.map_err(|error| self.fail(error))?))
    }

    async fn list_regions(
        &self,
        request: Request<v1::ListRegionsRequest>,
    ) -> Result<Response<v1::ListRegionsResponse>, Status> {
        let found = self.regions(&request.into_inner().namespace).await;
        Ok(Response::new(found.map_err(|error| self.fail(error))?))
    }

    async fn move_homes(
        &self,
        request: Request<v1::MoveHomesRequest>,
    ) -> Result<Response<v1::MoveHomesResponse>, Status> {
        let moved = Self::move_homes(self, request.into_inner()).await;
        Ok(Response::new(moved.map_err(|error| self.fail(error))?))
    }

    async fn set_arrived(
        &self,
        request: Request<v1::SetArrivedRequest>,
    ) -> Result<Response<v1::SetArrivedResponse>, Status> {
        let set = Self::set_arrived(self, request.into_inner()).await;
        Ok(Response::new(set.map_err(|error| self.fail(error))?))
    }

    async fn list_pools(
        &self,
        _: Request<v1::ListPoolsRequest>,
    ) -> Result<Response<v1::ListPoolsResponse>, Status> {
        let _room = self.shared.enter().map_err(|error| self.fail(error))?;
        let pools = self.control.pools().await.map_err(|error| self.fail(error))?;
        let pools = pools.into_iter().map(wire_pool).collect();
        Ok(Response::new(v1::ListPoolsResponse { pools }))
    }

    async fn pin_namespace(
        &self,
        request: Request<v1::PinNamespaceRequest>,
    ) -> Result<Response<v1::PinNamespaceResponse>, Status> {
        let v1::PinNamespaceRequest { namespace, pool, note } = request.into_inner();
        let _room = self.shared.enter().map_err(|error| self.fail(error))?;
        let pinned = self.control.pin(&namespace, &pool, &note).await;
        let version = pinned.map_err(|error| self.fail(error))?;
        Ok(Response::new(v1::PinNamespaceResponse { pool, version }))
    }
}
