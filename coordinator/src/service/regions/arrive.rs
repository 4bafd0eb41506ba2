//! What another region has sent.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use delivery::region::Arrived;
use handfast_proto::region as wire;
use handfast_proto::region::region_server::Region;
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt as _};
use wal_core::build::{Arriving, arrival, arriving};
use wal_core::limits::MAX_CLOCK_DRIFT_US;
use wal_core::namespace::{Namespace, RegionSettings};
use wal_core::{AbortReason, RowMutation, Timestamp};

use super::{PATIENCE, arrived_from, homes_to_wire, region_of, rows};
use crate::api::{Answer, Call, CallAnswer, Level};
use crate::service::calls::ask;
use crate::service::errors::ServiceError;
use crate::service::outcome;
use crate::service::shared::Shared;
use crate::service::submission::draw_id;

/// What is later than this clock by more waits until it is not: a shard whose timestamps run ahead of its clock
/// sheds load.
const MAX_AHEAD_US: i64 = MAX_CLOCK_DRIFT_US / 4;

/// Serves `handfast.region.v1.Region`.
#[derive(Clone)]
pub(in crate::service) struct RegionService {
    pub(in crate::service) shared: Arc<Shared>,
}

impl RegionService {
    /// Checks who asks whom.
    fn between(
        &self,
        between: Option<wire::Between>,
    ) -> Result<(Arc<Namespace>, String), ServiceError> {
        let between = between.ok_or_else(|| ServiceError::invalid("between", "it is missing"))?;
        let namespace = self.shared.namespace(&between.namespace, "between.namespace")?;
        let region = region_of(&namespace)?;
        if between.to != region.here {
            let why = format!(
                "this is region {:?}, not {:?}: correct the servers in [[region.all]]",
                region.here, between.to
            );
            return Err(ServiceError::invalid("between.to", why));
        }
        if between.from == region.here {
            let why =
                format!("this is region {:?} itself: what it sent would go round", region.here);
            return Err(ServiceError::invalid("between.from", why));
        }
        let known = region.member_named(&between.from);
        known.map_err(|error| ServiceError::invalid("between.from", error))?;
        Ok((namespace, between.from))
    }

    async fn where_from(&self, namespace: &Namespace, from: &str) -> Result<Arrived, ServiceError> {
        arrived_from(&*self.shared.backend, namespace, region_of(namespace)?, from).await
    }

    async fn apply(
        &self,
        request: wire::ApplyRequest,
    ) -> Result<wire::ApplyResponse, ServiceError> {
        let _room = self.shared.enter()?;
        let (namespace, from) = self.between(request.between.clone())?;
        let region = region_of(&namespace)?;
        let rows = rows::from_wire(&namespace, &request.tables, &request.rows)
            .map_err(|why| ServiceError::invalid("rows", why))?;
        refuse_ancient(&namespace, region, &rows, now_us())?;
        let what = Arriving {
            from: &from,
            after: Timestamp(request.after_us),
            until: Timestamp(request.until_us),
            term: request.between.as_ref().map_or(0, |between| between.term),
            transactions: request.transactions_before.saturating_add(request.transactions),
        };
        let txn = arrival(&namespace, draw_id(), &arriving(region, what), rows)
            .map_err(|error| ServiceError::Internal(error.to_string()))?;
        let call = Call::Submit { txn: Arc::new(txn), level: Level::Committed };
        let answer = ask(&*self.shared.backend, &namespace, call, PATIENCE).await?;
        match answer {
            Some(CallAnswer::Submit(Answer::Committed { .. })) => {
                let arrived = Arrived {
                    watermark: what.until,
                    transactions: what.transactions,
                    term: region.term,
                    homes: region.homes.clone(),
                };
                Ok(wire::ApplyResponse { applied: true, arrived: Some(to_wire(arrived)) })
            }
            Some(CallAnswer::Submit(Answer::Aborted {
                reason: AbortReason::ConditionFailed { .. },
                ..
            })) => {
                let arrived = self.where_from(&namespace, &from).await?;
                Ok(wire::ApplyResponse { applied: false, arrived: Some(to_wire(arrived)) })
            }
            Some(CallAnswer::Submit(Answer::Overloaded { what, retry_after_ms })) => {
                Err(ServiceError::Overloaded { what, retry_after_ms })
            }
            Some(CallAnswer::Submit(Answer::Unavailable { shard })) => {
                Err(ServiceError::ShardUnavailable { shard })
            }
            Some(CallAnswer::Submit(other)) => Err(ServiceError::Internal(format!("{other:?}"))),
            Some(CallAnswer::Read(_) | CallAnswer::Outcome(_)) => {
                Err(outcome::mismatch("a submission"))
            }
            // Whoever sends it again learns by its condition whether it was applied.
            None => Err(ServiceError::ReadTimedOut { waited_ms: PATIENCE.as_millis() as u64 }),
        }
    }

    fn fail(&self, error: ServiceError) -> Status {
        self.shared.metrics.refused(&error);
        error.into()
    }
}

#[tonic::async_trait]
impl Region for RegionService {
    async fn arrived(
        &self,
        request: Request<wire::ArrivedRequest>,
    ) -> Result<Response<wire::ArrivedResponse>, Status> {
        let found = async {
            let _room = self.shared.enter()?;
            let (namespace, from) = self.between(request.into_inner().between)?;
            self.where_from(&namespace, &from).await
        };
        let found = found.await.map_err(|error| self.fail(error))?;
        Ok(Response::new(to_wire(found)))
    }

    async fn apply(
        &self,
        request: Request<wire::ApplyRequest>,
    ) -> Result<Response<wire::ApplyResponse>, Status> {
        let request = request.into_inner();
        wait_for_clock(request.until_us)?;
        let applied = Self::apply(self, request).await;
        Ok(Response::new(applied.map_err(|error| self.fail(error))?))
    }
}

fn now_us() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_micros()).unwrap_or(i64::MAX)
}

/// What committed later than this clock says waits until it does not.
fn wait_for_clock(until_us: i64) -> Result<(), Status> {
    let ahead_us = until_us.saturating_sub(now_us().saturating_add(MAX_AHEAD_US));
    let Ok(ahead_us @ 1..) = u64::try_from(ahead_us) else { return Ok(()) };
    let ahead = Duration::from_micros(ahead_us);
    let why = format!(
        "the clock of the sending region is ahead of this one's, by {ahead:?} more than is taken: nothing was \
         applied; synchronize the clocks"
    );
    let mut details = ErrorDetails::new();
    details.set_retry_info(Some(ahead));
    Err(Status::with_error_details(Code::ResourceExhausted, why, details))
}

fn to_wire(arrived: Arrived) -> wire::ArrivedResponse {
    let (home, tables) = homes_to_wire(&arrived.homes);
    wire::ArrivedResponse {
        watermark_us: arrived.watermark.0,
        transactions: arrived.transactions,
        term: arrived.term,
        home,
        tables: tables.into_iter().map(|(table, home)| wire::TableHome { table, home }).collect(),
    }
}

/// A tombstone may be gone that would have hidden what is very old: then the regions would differ for ever. Where
/// a table is written in one region only, its tombstones come in order.
fn refuse_ancient(
    namespace: &Namespace,
    region: &RegionSettings,
    rows: &[RowMutation],
    now_us: i64,
) -> Result<(), ServiceError> {
    let most_us = i64::try_from(region.oldest_ms.saturating_mul(1_000)).unwrap_or(i64::MAX);
    let before = Timestamp(now_us.saturating_sub(most_us));
    let anywhere = |row: &&RowMutation| {
        let table = namespace.table(row.key.table);
        table.is_some_and(|table| region.home_of(table.full_name()).is_none())
    };
    let ancient = |row: &RowMutation| row.delta.oldest().is_some_and(|at| at < before);
    if rows.iter().filter(anywhere).any(ancient) {
        let why = format!(
            "some were written more than {} ms ago (region.oldest_ms), in a table that is written in every \
             region: what was deleted here since could come back. Copy the tables, and say so with `handfast \
             region accept`",
            region.oldest_ms
        );
        return Err(ServiceError::invalid("rows", why));
    }
    Ok(())
}
