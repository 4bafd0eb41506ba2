//! Delivering messages to the targets of the namespaces that are served.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use coordinator::runtime::{Handle, Hold};
use coordinator::service::Delivering;
use delivery::runtime::{Delivery, Members, Parts, WhoElse};
use delivery::target::{
    HttpOptions, HttpTarget, KafkaOptions, KafkaTarget, MemcachedOptions, MemcachedTarget, Target,
    TargetError,
};
use delivery::{Owner, Store};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use wal_core::namespace::{self, Namespace, TargetPlace};
use wal_core::{Nonce, ShardId};

use super::Hosted;
use crate::control_plane::Namespaces;

/// How often it is looked whether targets have come, changed or gone.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How often it is asked how far deliveries are, so that the log behind them may go.
const HOLDS_EVERY: Duration = Duration::from_secs(2);
/// A target that could not be opened is tried again so much later.
const AGAIN_AFTER: Duration = Duration::from_secs(10);
/// How long it may take to tell others that this process has stopped.
const LEAVE_PATIENCE: Duration = Duration::from_secs(2);
/// How long a delivery may take to end that is replaced by another.
const REPLACE_PATIENCE: Duration = Duration::from_secs(15);

/// What of the log is kept of a namespace before it is known how far deliveries are.
pub(super) fn hold_at_first(namespace: &Namespace) -> Hold {
    if namespace.targets().is_empty() { Hold::Nothing } else { Hold::everything() }
}

/// A target that is delivered to, or cannot be.
struct Open {
    definition: namespace::Target,
    delivery: Result<Delivery, String>,
    /// When it was opened.
    since: Instant,
}

/// All deliveries of this process, by namespace and target.
#[derive(Default)]
pub(super) struct Deliveries {
    open: Mutex<BTreeMap<(String, String), Open>>,
    task: Mutex<Option<JoinHandle<()>>>,
    /// Who else delivers, once something is to be delivered.
    members: Mutex<Option<Members>>,
}

impl Deliveries {
    fn open(&self) -> MutexGuard<'_, BTreeMap<(String, String), Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows the namespaces from now on. Where this process does not deliver, it only sees to it that the log
    /// is kept for those that do.
    pub(super) fn start(hosted: &Arc<Hosted>, namespaces: &Arc<Namespaces>, delivers: bool) {
        let task = tokio::spawn(follow(Arc::clone(hosted), Arc::clone(namespaces), delivers));
        *hosted.deliveries.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
    }

    /// Who else delivers. Whoever asks first begins to beat.
    fn members(&self, start: impl FnOnce() -> Members) -> Members {
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        members.get_or_insert_with(start).clone()
    }

    /// Lets everything go, in order, at most for `patience`, and then tells the others.
    pub(super) async fn stop(&self, patience: Duration) {
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            task.abort();
            let _ = task.await; // aborted
        }
        let open = std::mem::take(&mut *self.open());
        let stopping = open.into_values().filter_map(|it| it.delivery.ok());
        let stopping = stopping.map(|delivery| tokio::spawn(delivery.stop(patience)));
        for stopped in stopping.collect::<Vec<_>>() {
            let _ = stopped.await; // what was not let go is claimed by others
        }
        let members = self.members.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(members) = members {
            members.leave(LEAVE_PATIENCE).await;
        }
    }

    /// How what is delivered of a namespace stands.
    pub(super) fn of(&self, namespace: &str) -> Vec<Delivering> {
        let open = self.open();
        let of_it = open.iter().filter(|((name, _), _)| name == namespace);
        let delivering = of_it.map(|((_, target), open)| {
            let (shards, problem) = match &open.delivery {
                Ok(delivery) => (delivery.shards(), None),
                Err(why) => (Vec::new(), Some(why.clone())),
            };
            Delivering { target: target.clone(), shards, problem }
        });
        delivering.collect()
    }

    /// Tries now whatever waits for a retry.
    pub(super) fn retry(&self, namespace: &str, target: &str) {
        let key = (namespace.to_owned(), target.to_owned());
        if let Some(Open { delivery: Ok(delivery), .. }) = self.open().get(&key) {
            delivery.retry();
        }
    }

    /// Takes out what is no longer declared so.
    fn outdated(&self, served: &[(Arc<Namespace>, Handle)]) -> Vec<Delivery> {
        let declared = |(name, target): &(String, String)| {
            let (namespace, _) = served.iter().find(|(namespace, _)| namespace.name() == name)?;
            namespace.target_named(target).ok()
        };
        let mut open = self.open();
        let gone = open.extract_if(.., |key, open| {
            let is_same = declared(key) == Some(&open.definition);
            let is_due = open.delivery.is_err() && open.since.elapsed() >= AGAIN_AFTER;
            !is_same || is_due
        });
        gone.filter_map(|(_, open)| open.delivery.ok()).collect()
    }

    fn missing(
        &self,
        served: &[(Arc<Namespace>, Handle)],
    ) -> Vec<(Arc<Namespace>, Handle, namespace::Target)> {
        let open = self.open();
        let all = served.iter().flat_map(|(namespace, handle)| {
            let targets = namespace.targets().iter();
            targets.map(move |target| (Arc::clone(namespace), handle.clone(), target.clone()))
        });
        all.filter(|(namespace, _, target)| {
            !open.contains_key(&(namespace.name().to_owned(), target.name.clone()))
        })
        .collect()
    }
}

async fn follow(hosted: Arc<Hosted>, namespaces: Arc<Namespaces>, delivers: bool) {
    let mut every = tokio::time::interval(LOOK_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut held = Instant::now() - HOLDS_EVERY;
    loop {
        every.tick().await;
        let served = hosted.served();
        if served.iter().all(|(namespace, _)| namespace.targets().is_empty())
            && hosted.deliveries.open().is_empty()
        {
            continue;
        }
        let Some(store) = namespaces.store() else { continue };
        if held.elapsed() >= HOLDS_EVERY {
            held = Instant::now();
            for (namespace, handle) in &served {
                hold(&*store, namespace, handle).await;
            }
        }
        if !delivers {
            continue;
        }
        for delivery in hosted.deliveries.outdated(&served) {
            delivery.stop(REPLACE_PATIENCE).await;
        }
        for (namespace, handle, target) in hosted.deliveries.missing(&served) {
            let members = hosted.deliveries.members(|| {
                let alone = hosted.member.is_none();
                let who_else = if alone { WhoElse::Nobody } else { WhoElse::Others };
                Members::start(Arc::clone(&store), who_else)
            });
            let delivery = open(&namespace, &target).map(|opened| {
                Delivery::start(Parts {
                    namespace: namespace.name().into(),
                    shards: namespace.shards(),
                    log: Arc::clone(handle.log()),
                    definition: target.clone(),
                    target: opened,
                    store: Arc::clone(&store),
                    members,
                    seed: rand::random(),
                })
            });
            let delivery = delivery.map_err(|error| {
                let (namespace, target) = (namespace.name(), &target.name);
                tracing::error!(namespace, target, %error, "cannot deliver");
                error.to_string()
            });
            let key = (namespace.name().to_owned(), target.name.clone());
            let since = Instant::now();
            hosted.deliveries.open().insert(key, Open { definition: target, delivery, since });
        }
    }
}

/// Sees to it that the log is kept that somebody has to deliver still.
async fn hold(store: &dyn Store, namespace: &Namespace, handle: &Handle) {
    if namespace.targets().is_empty() {
        handle.hold(Hold::Nothing);
        return;
    }
    match store.owners(namespace.name()).await {
        Ok(owners) => handle.hold(hold_of(namespace, handle.log().identity(), &owners)),
        // It stays as it is: nothing is trimmed that somebody may need.
        Err(error) => tracing::debug!(%error, "it is not known how far deliveries are"),
    }
}

/// Each shard from where the slowest of all targets is. One that some target has not begun with is kept whole.
fn hold_of(namespace: &Namespace, log: Nonce, owners: &[Owner]) -> Hold {
    let mut shards = BTreeMap::new();
    for shard in (0..namespace.shards()).map(ShardId) {
        let of_target = |target: &namespace::Target| {
            let course = owners.iter().map(|owner| (&owner.course, &owner.mark));
            let mut found =
                course.filter(|(it, _)| it.shard == shard && *it.target == *target.name);
            let (_, mark) = found.next()?;
            mark.as_ref().filter(|mark| mark.log == log).map(|mark| mark.hold)
        };
        let holds: Option<Vec<_>> = namespace.targets().iter().map(of_target).collect();
        if let Some(least) = holds.and_then(|holds| holds.into_iter().min()) {
            shards.insert(shard, least);
        }
    }
    Hold::From(shards)
}

/// Requests that one process has under way to one endpoint at most, however many shards it delivers.
const MAX_REQUESTS: usize = 1_024;

/// Opens a target as it is declared.
fn open(namespace: &Namespace, target: &namespace::Target) -> Result<Arc<dyn Target>, TargetError> {
    let timeout = Duration::from_millis(target.delivery.timeout_ms);
    let of_a_shard = usize::try_from(target.delivery.in_flight).unwrap_or(MAX_REQUESTS);
    let max_requests = (of_a_shard * usize::from(namespace.shards())).min(MAX_REQUESTS);
    Ok(match target.place.clone() {
        TargetPlace::Http { url, headers } => {
            let options = HttpOptions { headers, timeout, max_requests, ..HttpOptions::new(url) };
            Arc::new(HttpTarget::new(options)?)
        }
        TargetPlace::Kafka { brokers, topic, client } => {
            let options = KafkaOptions { client, timeout, ..KafkaOptions::new(brokers, topic) };
            Arc::new(KafkaTarget::new(options)?)
        }
        TargetPlace::Memcached { servers, prefix, ttl_s } => {
            let options = MemcachedOptions { servers, prefix, ttl_s, max_requests, timeout };
            Arc::new(MemcachedTarget::new(options)?)
        }
    })
}

#[cfg(test)]
mod tests {
    use delivery::{Course, Mark};
    use wal_core::Position;

    use super::*;

    #[test]
    fn the_log_is_kept_from_where_the_slowest_target_is() {
        let file = "name = \"bank\"\nshards = 2\n[[table]]\ncql = \"CREATE TABLE t (i int PRIMARY KEY)\"\n";
        let target =
            |name| format!("[[target]]\nname = \"{name}\"\nkind = \"http\"\nurl = \"http://a\"\n");
        let bank = Namespace::from_toml(&format!("{file}{}{}", target("a"), target("b")));
        let bank = bank.unwrap_or_else(|error| panic!("{error}"));
        let owner = |target: &str, shard, log, hold| Owner {
            course: Course {
                namespace: "bank".into(),
                target: target.into(),
                shard: ShardId(shard),
            },
            process: None,
            generation: 1,
            mark: Some(Mark {
                log: Nonce(log),
                dealt_with: Position(hold + 5),
                hold: Position(hold),
                place: bytes::Bytes::new(),
            }),
        };
        let owners = [
            owner("a", 0, 7, 30),
            owner("b", 0, 7, 20),
            owner("a", 1, 7, 40),
            // Of a log that was given up: nothing is known of this one.
            owner("b", 1, 6, 50),
            owner("gone", 0, 7, 1),
        ];
        let expected = Hold::From(BTreeMap::from([(ShardId(0), Position(20))]));
        assert_eq!(hold_of(&bank, Nonce(7), &owners), expected);
        assert_eq!(hold_of(&bank, Nonce(7), &owners[..1]), Hold::everything());
    }
}
