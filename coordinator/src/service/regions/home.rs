//! This region, as far as sending to others needs it.

use std::sync::Arc;

use delivery::region::Home;
use delivery::target::Later;
use wal_core::build::pulse;
use wal_core::namespace::{Homes, Namespace};
use wal_core::{ShardId, Timestamp};

use super::PATIENCE;
use crate::api::{Answer, Call, CallAnswer, Level};
use crate::service::backend::Backend;
use crate::service::calls::ask;
use crate::service::control::{Control, ControlError};
use crate::service::submission::draw_id;

/// A namespace of this region.
pub struct RegionHome {
    backend: Arc<dyn Backend>,
    control: Arc<dyn Control>,
    namespace: Arc<str>,
}

impl RegionHome {
    /// The namespace with this name.
    pub fn new(backend: Arc<dyn Backend>, control: Arc<dyn Control>, namespace: Arc<str>) -> Self {
        Self { backend, control, namespace }
    }
}

/// Raises the last timestamps of shards; when that was done.
pub(super) async fn give_pulse(
    backend: &dyn Backend,
    namespace: &Namespace,
    shards: &[ShardId],
    is_told: bool,
) -> Result<Timestamp, String> {
    let txn = Arc::new(pulse(namespace, draw_id(), shards, is_told));
    let call = Call::Submit { txn, level: Level::Committed };
    let answer =
        ask(backend, namespace, call, PATIENCE).await.map_err(|error| error.to_string())?;
    match answer {
        Some(CallAnswer::Submit(Answer::Committed { timestamp, .. })) => Ok(timestamp),
        Some(other) => Err(format!("{other:?}")),
        None => Err("it was not answered in time".to_owned()),
    }
}

/// Gives a namespace other homes, as of a later term than its own; an earlier one changes nothing.
pub(super) async fn move_homes(
    control: &dyn Control,
    namespace: &str,
    term: u64,
    homes: impl Fn(Homes) -> Homes,
) -> Result<(), ControlError> {
    loop {
        let current = control.describe(namespace).await?.namespace;
        let Some(region) = current.region().filter(|region| region.term < term) else {
            return Ok(());
        };
        let moved = (*current).clone().with_homes(term, homes(region.homes.clone()));
        match control.change(&moved.to_toml(), current.version()).await {
            Ok(_) => return Ok(()),
            Err(ControlError::VersionConflict { .. }) => {} // somebody was quicker: look again
            Err(error) => return Err(error),
        }
    }
}

impl Home for RegionHome {
    fn pulse(&self, shards: Vec<ShardId>) -> Later<'_, Result<(), String>> {
        Box::pin(async move {
            let namespace = self.backend.namespace(&self.namespace).ok_or("it is not served")?;
            give_pulse(&*self.backend, &namespace, &shards, false).await.map(|_| ())
        })
    }

    fn adopt(&self, term: u64, homes: Homes) -> Later<'_, Result<(), String>> {
        Box::pin(async move {
            let moved = move_homes(&*self.control, &self.namespace, term, |_| homes.clone()).await;
            moved.map_err(|error| error.to_string())
        })
    }
}
