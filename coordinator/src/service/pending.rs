//! What a target that is to be left out of a namespace has not been sent yet.

use std::collections::BTreeMap;
use std::sync::Arc;

use delivery::Owner;
use delivery::runtime::{MessagesTo, Picks, place_of};
use participant::follow::{Follower, Scope};
use wal_core::ShardId;
use wal_core::log::{IntentLog, LogError};
use wal_core::namespace::{Namespace, Target};

use super::admin::AdminService;
use super::backend::BackendError;
use super::control::ControlError;
use super::errors::ServiceError;

impl AdminService {
    /// Refuses a definition that leaves out targets with work pending.
    pub(super) async fn refuse_pending(&self, definition: &str) -> Result<(), ServiceError> {
        // What is wrong with it otherwise is told by whoever makes the change.
        let Ok(new) = Namespace::from_toml(definition) else { return Ok(()) };
        let Ok(current) = self.shared.namespace(new.name(), "definition") else { return Ok(()) };
        for target in current.targets() {
            if new.target_named(&target.name).is_err()
                && let Some(pending) = self.pending(&current, target).await?
            {
                let refused = format!(
                    "the target {:?} has work pending: {pending}; wait until it is delivered, or give it up \
                     (`--give-up-pending`)",
                    target.name
                );
                return Err(ControlError::ChangeRefused(refused).into());
            }
        }
        Ok(())
    }

    async fn pending(
        &self,
        namespace: &Arc<Namespace>,
        target: &Target,
    ) -> Result<Option<String>, ServiceError> {
        let store = self.control.deliveries()?;
        let counts = store.count(namespace.name()).await?;
        let letters: u64 =
            counts.iter().filter(|it| it.target == target.name).map(|it| it.count).sum();
        if letters > 0 {
            return Ok(Some(format!("{letters} dead letters, to be redriven or discarded")));
        }
        let owners = store.owners(namespace.name()).await?;
        let log = self.shared.backend.log(namespace)?;
        let (namespace, name) = (Arc::clone(namespace), target.name.clone());
        let looked =
            tokio::task::spawn_blocking(move || first_pending(&*log, &namespace, &owners, &name));
        let broken = |error: String| ServiceError::from(BackendError::Broken(error));
        let found = looked.await.map_err(|error| broken(error.to_string()))?;
        let found = found.map_err(|error| broken(error.to_string()))?;
        Ok(found
            .map(|shard| format!("messages of shard {shard}, if not of others, are in the log")))
    }
}

/// The first shard whose log has messages to a target behind the mark of its delivery. Blocks.
fn first_pending(
    log: &dyn IntentLog,
    namespace: &Namespace,
    owners: &[Owner],
    target: &str,
) -> Result<Option<ShardId>, LogError> {
    let picks = MessagesTo { namespace: namespace.name().into(), target: target.into() };
    for shard in (0..namespace.shards()).map(ShardId) {
        let mut of_it = owners.iter().filter(|it| it.course.shard == shard);
        let owner = of_it.find(|it| *it.course.target == *target);
        let mark = owner.and_then(|it| it.mark.as_ref()).filter(|it| it.log == log.identity());
        let place = mark.map(place_of).transpose().map_err(stopped)?.unwrap_or_default();
        let from = BTreeMap::from([(shard, place.from)]);
        let mut follower = Follower::new(shard, Scope::Parts, place);
        let mut found = false;
        let read = log.replay(&from, &mut |_, position, record| {
            let told = follower.take(position, record).map_err(stopped)?;
            let picked = told.map_or_else(|| Ok(Vec::new()), |told| picks.pick(&told));
            found = !picked.map_err(stopped)?.is_empty();
            if found { Err(stopped("found")) } else { Ok(()) }
        });
        match read {
            _ if found => return Ok(Some(shard)),
            Ok(_) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

fn stopped(why: impl ToString) -> LogError {
    LogError::Stopped(why.to_string())
}
