//! Regions, for administrators.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use handfast_proto::v1;
use wal_core::build::{Batch, Mutation, Write, arrival, arrived_columns};
use wal_core::namespace::RegionSettings;
use wal_core::value::Value;
use wal_core::{ShardId, Timestamp};

use super::home::{give_pulse, move_homes};
use super::{PATIENCE, arrived_in, arrived_key, homes_to_wire, region_of};
use crate::api::{Answer, Call, CallAnswer, Level};
use crate::service::admin::AdminService;
use crate::service::calls::{ask, read};
use crate::service::control::ControlError;
use crate::service::errors::ServiceError;
use crate::service::submission::draw_id;

/// How long servers may take to see a new version of a namespace, and between two looks.
const SEEN_WITHIN: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(200);

impl AdminService {
    pub(in crate::service) async fn regions(
        &self,
        name: &str,
    ) -> Result<v1::ListRegionsResponse, ServiceError> {
        let namespace = self.shared.namespace(name, "namespace")?;
        let settings = region_of(&namespace)?;
        let backend = &*self.shared.backend;
        let others: Vec<_> = settings.others().map(|(_, member)| &member.name).collect();
        let keys = others.iter().map(|name| arrived_key(&namespace, settings, name));
        let rows = read(backend, &namespace, keys.collect::<Result<_, _>>()?, PATIENCE).await?;
        let sending = backend.sending(&namespace);
        let regions = settings.members.iter().map(|member| {
            let place = others.iter().position(|name| **name == member.name);
            let row = place.and_then(|place| rows.get(place));
            let (arrived, transactions) =
                row.map_or_else(Default::default, |row| arrived_in(&namespace, settings, row));
            let sent = sending.iter().find(|(to, _)| *to == member.name);
            let mut sent = sent.map(|(_, status)| status.clone()).unwrap_or_default();
            if member.servers.is_empty() && member.name != settings.here {
                sent.problem = Some("its servers are none: nothing is sent there".to_owned());
            }
            v1::Region {
                name: member.name.clone(),
                servers: member.servers.clone(),
                arrived_us: arrived.0,
                arrived_transactions: transactions,
                sends: sent.sends,
                sent_us: sent.watermark.0,
                sent_transactions: sent.transactions,
                waiting: sent.waiting.0 as u64,
                waiting_bytes: sent.waiting.1 as u64,
                lags: sent
                    .lag_us
                    .into_iter()
                    .map(|(shard, lag_us)| v1::ShardLag { shard: shard.0.into(), lag_us })
                    .collect(),
                problem: sent.problem.unwrap_or_default(),
            }
        });
        let (home, tables) = homes_to_wire(&settings.homes);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(v1::ListRegionsResponse {
            here: settings.here.clone(),
            term: settings.term,
            home,
            tables: tables.into_iter().map(|(table, home)| v1::TableHome { table, home }).collect(),
            regions: regions.collect(),
            now_us: i64::try_from(now.as_micros()).unwrap_or(i64::MAX),
        })
    }

    pub(in crate::service) async fn move_homes(
        &self,
        request: v1::MoveHomesRequest,
    ) -> Result<v1::MoveHomesResponse, ServiceError> {
        let v1::MoveHomesRequest { namespace: name, from, to, term } = request;
        let namespace = self.shared.namespace(&name, "namespace")?;
        let settings = region_of(&namespace)?;
        for (field, region) in [("from", &from), ("to", &to)] {
            let known = settings.member_named(region);
            known.map_err(|error| ServiceError::invalid(field, error))?;
        }
        move_homes(&*self.control, &name, term, |homes| homes.moved(&from, &to)).await?;
        let changed = self.control.describe(&name).await?.namespace;
        let found = region_of(&changed)?;
        if found.term != term {
            let why =
                format!("region {:?} is in term {} already, not {term}", found.here, found.term);
            return Err(ControlError::ChangeRefused(why).into());
        }
        let closed = self.close(&name, changed.version(), settings).await?;
        Ok(v1::MoveHomesResponse { closed_us: closed.0 })
    }

    /// Every shard takes a pulse that was validated under a version of the namespace: so whoever leads it knows
    /// that version, and so does whoever leads it next, for the pulse stands in its log.
    async fn close(
        &self,
        name: &str,
        version: u32,
        settings: &RegionSettings,
    ) -> Result<Timestamp, ServiceError> {
        let end = tokio::time::Instant::now() + SEEN_WITHIN;
        let mut why = "it has not seen the new version yet".to_owned();
        while tokio::time::Instant::now() < end {
            let namespace = self.shared.namespace(name, "namespace")?;
            if namespace.version() >= version {
                let shards: Vec<ShardId> = (0..namespace.shards()).map(ShardId).collect();
                match give_pulse(&*self.shared.backend, &namespace, &shards, true).await {
                    Ok(closed) => return Ok(closed),
                    Err(error) => why = error,
                }
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Err(ServiceError::NotServedYet(format!(
            "homes have moved, but not every shard of region {:?} is known to have seen it; do the same again: {why}",
            settings.here
        )))
    }

    pub(in crate::service) async fn set_arrived(
        &self,
        request: v1::SetArrivedRequest,
    ) -> Result<v1::SetArrivedResponse, ServiceError> {
        let v1::SetArrivedRequest { namespace: name, from, watermark_us } = request;
        let namespace = self.shared.namespace(&name, "namespace")?;
        let settings = region_of(&namespace)?;
        let known = settings.member_named(&from);
        known.map_err(|error| ServiceError::invalid("from", error))?;
        if from == settings.here || watermark_us < 0 {
            let why = "name another region than this one, and a time since 1970";
            return Err(ServiceError::invalid("from", why));
        }
        let backend = &*self.shared.backend;
        let key = arrived_key(&namespace, settings, &from)?;
        let row = read(backend, &namespace, vec![key], PATIENCE).await?.pop().unwrap_or_default();
        let (before, _) = arrived_in(&namespace, settings, &row);
        // The row with the watermark 0 is none.
        let write = match watermark_us {
            0 => Write::DeleteRow,
            us => Write::Put(vec![("watermark".to_owned(), Some(Value::BigInt(us)))]),
        };
        let table = settings.table.clone();
        let mutations = vec![Mutation { table, key: arrived_columns(&from), write }];
        let batch = Batch { mutations, ..Batch::default() };
        let txn = arrival(&namespace, draw_id(), &batch, Vec::new())
            .map_err(|error| ServiceError::Internal(error.to_string()))?;
        let call = Call::Submit { txn: std::sync::Arc::new(txn), level: Level::Committed };
        match ask(backend, &namespace, call, PATIENCE).await? {
            Some(CallAnswer::Submit(Answer::Committed { .. })) => {
                Ok(v1::SetArrivedResponse { before_us: before.0 })
            }
            other => Err(ServiceError::Internal(format!("{other:?}: look, and do the same again"))),
        }
    }
}
