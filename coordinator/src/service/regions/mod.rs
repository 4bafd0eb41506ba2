//! A namespace in several regions: sending to the others, taking what they send, and moving homes.

mod admin;
mod arrive;
mod home;
mod peer;
mod rows;

use std::collections::BTreeMap;
use std::time::Duration;

use delivery::region::Arrived;
use handfast_proto::region as wire;
use handfast_proto::v1;
use wal_core::build::{arrived_columns, build_key};
use wal_core::namespace::{Homes, Namespace, RegionSettings};
use wal_core::value::Value;
use wal_core::{Row, RowKey, ShardId, Timestamp};

use super::backend::Backend;
use super::calls::read;
use super::errors::ServiceError;
use super::shared::Shared;

pub(super) use arrive::RegionService;
pub use home::RegionHome;
pub use peer::RegionPeer;

/// How long a read or a transaction inside may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of one batch from another region, compressed or not: a whole transaction fits in any case.
pub(super) const MAX_BATCH_BYTES: usize = 48 << 20;

/// The regions of a namespace, or that it is in one only.
fn region_of(namespace: &Namespace) -> Result<&RegionSettings, ServiceError> {
    namespace.region().ok_or_else(|| {
        let why =
            format!("namespace {:?} is in one region: its file has no [region]", namespace.name());
        ServiceError::invalid("namespace", why)
    })
}

/// The row that says what has arrived from a region, routed.
pub(super) fn arrived_key(
    namespace: &Namespace,
    settings: &RegionSettings,
    region: &str,
) -> Result<(ShardId, RowKey), ServiceError> {
    build_key(namespace, &settings.table, &arrived_columns(region))
        .map_err(|error| ServiceError::Internal(error.to_string()))
}

/// The watermark that such a row says, and how many transactions have arrived.
pub(super) fn arrived_in(
    namespace: &Namespace,
    settings: &RegionSettings,
    row: &Row,
) -> (Timestamp, u64) {
    let number = |column: &str| {
        let table = namespace.find_table(&settings.table)?;
        let column = table.find_column(column)?;
        match Value::decode(column.ty, row.get(column.id)?) {
            Ok(Value::BigInt(number)) => Some(number),
            _ => None,
        }
    };
    let transactions = number("transactions").unwrap_or(0);
    (Timestamp(number("watermark").unwrap_or(0)), u64::try_from(transactions).unwrap_or(0))
}

/// How often it is looked whether something has arrived that a reader waits for.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Reads rows as [`read`] does, and with them, at the same point of the serial order, what has arrived from other
/// regions; waits until that is what is asked. It does not wait on while the server stops: another one may have it.
pub(super) async fn read_with_arrived(
    shared: &Shared,
    namespace: &Namespace,
    keys: &[(ShardId, RowKey)],
    not_before: &[v1::ArrivedFrom],
    wait: Duration,
) -> Result<(Vec<Row>, Vec<v1::ArrivedFrom>), ServiceError> {
    let settings = region_of(namespace)?;
    for (index, asked) in not_before.iter().enumerate() {
        let wrong = match settings.member_named(&asked.region) {
            Ok(_) if asked.region != settings.here => continue,
            Ok(_) => format!("this is region {:?}: all of it is here", settings.here),
            Err(error) => error.to_string(),
        };
        return Err(ServiceError::invalid(format!("not_before[{index}].region"), wrong));
    }
    let others: Vec<&str> = settings.others().map(|(_, member)| &*member.name).collect();
    let mut all = keys.to_vec();
    for other in &others {
        all.push(arrived_key(namespace, settings, other)?);
    }
    let mut draining = shared.draining.clone();
    let end = tokio::time::Instant::now() + wait;
    let mut missing = None;
    loop {
        let left = end.saturating_duration_since(tokio::time::Instant::now());
        let read = read(&*shared.backend, namespace, all.clone(), left).await;
        let mut rows = match (read, missing.take()) {
            // The wait was for the other region.
            (Err(ServiceError::ReadTimedOut { .. }), Some(missing)) => return Err(missing),
            (read, _) => read?,
        };
        let arrived = rows.split_off(keys.len());
        let arrived: Vec<_> = (others.iter().zip(&arrived))
            .map(|(region, row)| v1::ArrivedFrom {
                region: (*region).to_owned(),
                watermark_us: arrived_in(namespace, settings, row).0.0,
            })
            .collect();
        let Some(error) = not_arrived(&arrived, not_before, wait) else {
            return Ok((rows, arrived));
        };
        if tokio::time::Instant::now() + LOOK_AGAIN >= end {
            return Err(error);
        }
        missing = Some(error);
        tokio::select! {
            () = tokio::time::sleep(LOOK_AGAIN) => {}
            () = draining.begun() => return Err(ServiceError::ShuttingDown),
        }
    }
}

/// The first of what is asked for that has not arrived.
fn not_arrived(
    arrived: &[v1::ArrivedFrom],
    not_before: &[v1::ArrivedFrom],
    wait: Duration,
) -> Option<ServiceError> {
    not_before.iter().find_map(|asked| {
        let here = arrived.iter().find(|it| it.region == asked.region)?;
        (here.watermark_us < asked.watermark_us).then(|| ServiceError::NotArrived {
            region: asked.region.clone(),
            arrived: Timestamp(here.watermark_us),
            asked: Timestamp(asked.watermark_us),
            waited_ms: wait.as_millis() as u64,
        })
    })
}

/// What has arrived from a region.
async fn arrived_from(
    backend: &dyn Backend,
    namespace: &Namespace,
    settings: &RegionSettings,
    region: &str,
) -> Result<Arrived, ServiceError> {
    let key = arrived_key(namespace, settings, region)?;
    let row = read(backend, namespace, vec![key], PATIENCE).await?.pop().unwrap_or_default();
    let (watermark, transactions) = arrived_in(namespace, settings, &row);
    let (term, homes) = (settings.term, settings.homes.clone());
    Ok(Arrived { watermark, transactions, term, homes })
}

fn homes_to_wire(homes: &Homes) -> (String, Vec<(String, String)>) {
    let word = |home: &Option<String>| home.clone().unwrap_or_default();
    let tables = homes.tables.iter().map(|(table, home)| (table.clone(), word(home)));
    (word(&homes.home), tables.collect())
}

fn homes_from_wire(home: String, tables: Vec<wire::TableHome>) -> Homes {
    let word = |home: String| (!home.is_empty()).then_some(home);
    let tables: BTreeMap<_, _> = tables.into_iter().map(|it| (it.table, word(it.home))).collect();
    Homes { home: word(home), tables }
}
