//! Delivering messages to the targets of the namespaces that are served, doing what is due later, and sending what
//! was committed to other regions.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use coordinator::runtime::{Handle, Hold};
use coordinator::service::{
    Backend, Chained, Control, Delivering, Firing, RegionHome, RegionPeer, delayed_table,
};
use delivery::region::{PiecesTo, Ship, ShipParts, ShipStatus};
use delivery::runtime::{Delivery, Members, MessagesTo, Parts, Settings, ShardDelivery, WhoElse};
use delivery::schedule::{DELAYS, Delays, DelaysParts, Index};
use delivery::target::{
    HttpOptions, HttpTarget, KafkaOptions, KafkaTarget, MemcachedOptions, MemcachedTarget, Target,
    TargetError,
};
use delivery::{Owner, Store};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use wal_core::namespace::{
    self, DelaySettings, Namespace, RegionMember, RegionSettings, TargetPlace,
};
use wal_core::{Nonce, ShardId};

use super::{Hosted, tables};
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

/// Whether a namespace declares nothing of the kind.
fn is_idle(namespace: &Namespace) -> bool {
    Declared::all(namespace).next().is_none()
}

/// What of the log is kept of a namespace before it is known how far deliveries are.
pub(super) fn hold_at_first(namespace: &Namespace) -> Hold {
    if is_idle(namespace) { Hold::Nothing } else { Hold::everything() }
}

/// What a namespace declares that something is to be done for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Declared {
    /// Messages are delivered to it.
    Target(namespace::Target),
    /// What is due later is noted, with these settings, and done if its table is written in this region.
    Delays { settings: DelaySettings, fires: bool },
    /// What is committed is sent to another region, which has this number.
    Region { to: RegionMember, number: u8, settings: RegionSettings },
}

impl Declared {
    fn name(&self) -> String {
        match self {
            Self::Target(target) => target.name.clone(),
            Self::Delays { .. } => DELAYS.to_owned(),
            Self::Region { to, .. } => ShipParts::course_of(&to.name),
        }
    }

    fn all(namespace: &Namespace) -> impl Iterator<Item = Self> + '_ {
        let targets = namespace.targets().iter().cloned().map(Self::Target);
        let region = namespace.region();
        let delays = namespace.delay().map(move |settings| Self::Delays {
            settings: settings.clone(),
            fires: region.is_none_or(|region| region.is_written_here(&settings.table)),
        });
        let regions = region.into_iter().flat_map(|region| {
            let there = region.others().filter(|(_, to)| !to.servers.is_empty());
            there.map(|(number, to)| Self::Region {
                to: to.clone(),
                number,
                settings: region.clone(),
            })
        });
        targets.chain(delays).chain(regions)
    }
}

/// What does it.
enum Worker {
    Delivery(Delivery),
    Delays(Delays),
    Ship(Ship),
}

impl Worker {
    fn shards(&self) -> Vec<ShardDelivery> {
        match self {
            Self::Delivery(delivery) => delivery.shards(),
            Self::Delays(delays) => delays.shards(),
            Self::Ship(_) => Vec::new(),
        }
    }

    async fn stop(self, patience: Duration) {
        match self {
            Self::Delivery(delivery) => delivery.stop(patience).await,
            Self::Delays(delays) => delays.stop(patience).await,
            Self::Ship(ship) => ship.stop(patience).await,
        }
    }
}

/// Something that is done, or cannot be.
struct Open {
    declared: Declared,
    worker: Result<Worker, String>,
    /// When it was opened.
    since: Instant,
}

/// All deliveries of this process, by namespace and name.
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
        let stopping = open.into_values().filter_map(|it| it.worker.ok());
        let stopping = stopping.map(|worker| tokio::spawn(worker.stop(patience)));
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
            let (shards, problem) = match &open.worker {
                Ok(worker) => (worker.shards(), None),
                Err(why) => (Vec::new(), Some(why.clone())),
            };
            Delivering { target: target.clone(), shards, problem }
        });
        delivering.collect()
    }

    /// How sending to other regions stands, by region.
    pub(super) fn sending(&self, namespace: &str) -> Vec<(String, ShipStatus)> {
        let open = self.open();
        let of_it = open.iter().filter(|((name, _), _)| name == namespace);
        let sending = of_it.filter_map(|(_, open)| match (&open.declared, &open.worker) {
            (Declared::Region { to, .. }, Ok(Worker::Ship(ship))) => {
                Some((to.name.clone(), ship.status()))
            }
            (Declared::Region { to, .. }, Err(why)) => {
                let problem = Some(why.clone());
                Some((to.name.clone(), ShipStatus { problem, ..ShipStatus::default() }))
            }
            _ => None,
        });
        sending.collect()
    }

    /// Tries now whatever waits for a retry.
    pub(super) fn retry(&self, namespace: &str, target: &str) {
        let key = (namespace.to_owned(), target.to_owned());
        if let Some(Open { worker: Ok(Worker::Delivery(delivery)), .. }) = self.open().get(&key) {
            delivery.retry();
        }
    }

    /// Takes out what is no longer declared so.
    fn outdated(&self, served: &[(Arc<Namespace>, Handle)]) -> Vec<Worker> {
        let is_declared = |name: &str, declared: &Declared| {
            let namespace = served.iter().find(|(namespace, _)| namespace.name() == name);
            namespace.is_some_and(|(it, _)| Declared::all(it).any(|one| one == *declared))
        };
        let mut open = self.open();
        let gone = open.extract_if(.., |(name, _), open| {
            let is_due = open.worker.is_err() && open.since.elapsed() >= AGAIN_AFTER;
            is_due || !is_declared(name, &open.declared)
        });
        gone.filter_map(|(_, open)| open.worker.ok()).collect()
    }

    fn missing(
        &self,
        served: &[(Arc<Namespace>, Handle)],
    ) -> Vec<(Arc<Namespace>, Handle, Declared)> {
        let open = self.open();
        let all = served.iter().flat_map(|(namespace, handle)| {
            Declared::all(namespace).map(move |it| (Arc::clone(namespace), handle.clone(), it))
        });
        all.filter(|(namespace, _, declared)| {
            !open.contains_key(&(namespace.name().to_owned(), declared.name()))
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
        if served.iter().all(|(namespace, _)| is_idle(namespace))
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
        for worker in hosted.deliveries.outdated(&served) {
            worker.stop(REPLACE_PATIENCE).await;
        }
        for (namespace, handle, declared) in hosted.deliveries.missing(&served) {
            let members = hosted.deliveries.members(|| {
                let alone = hosted.member.is_none();
                let who_else = if alone { WhoElse::Nobody } else { WhoElse::Others };
                Members::start(Arc::clone(&store), who_else)
            });
            let place = Place { hosted: &hosted, namespace: &namespace, handle: &handle };
            let begun = match &declared {
                Declared::Target(target) => place
                    .deliver(target, Arc::clone(&store), members)
                    .map_err(|error| error.to_string()),
                Declared::Delays { settings, fires } => {
                    let index = namespaces.index().ok_or("the control database is away".to_owned());
                    index.and_then(|index| {
                        place.delay(settings, *fires, (Arc::clone(&store), index), members)
                    })
                }
                Declared::Region { to, number, settings } => {
                    let control = Arc::clone(&namespaces) as Arc<dyn Control>;
                    place.ship((to, *number), settings, Arc::clone(&store), members, control)
                }
            };
            if let Err(why) = &begun {
                let (namespace, name) = (namespace.name(), declared.name());
                tracing::error!(namespace, name, why, "cannot deliver");
            }
            let key = (namespace.name().to_owned(), declared.name());
            let since = Instant::now();
            hosted.deliveries.open().insert(key, Open { declared, worker: begun, since });
        }
    }
}

/// A namespace that is served here.
struct Place<'a> {
    hosted: &'a Arc<Hosted>,
    namespace: &'a Arc<Namespace>,
    handle: &'a Handle,
}

impl Place<'_> {
    /// Begins to deliver to a target.
    fn deliver(
        &self,
        target: &namespace::Target,
        store: Arc<dyn Store>,
        members: Members,
    ) -> Result<Worker, TargetError> {
        let namespace: Arc<str> = self.namespace.name().into();
        let name: Arc<str> = target.name.as_str().into();
        let opened = self.open(target)?;
        Ok(Worker::Delivery(Delivery::start(Parts {
            namespace: Arc::clone(&namespace),
            shards: self.namespace.shards(),
            log: Arc::clone(self.handle.log()),
            name: Arc::clone(&name),
            picks: Arc::new(MessagesTo { namespace, target: name }),
            settings: Settings::of(target),
            target: opened,
            store,
            members,
            seed: rand::random(),
        })))
    }

    /// Opens a target as it is declared.
    fn open(&self, target: &namespace::Target) -> Result<Arc<dyn Target>, TargetError> {
        let timeout = Duration::from_millis(target.delivery.timeout_ms);
        let of_a_shard = usize::try_from(target.delivery.in_flight).unwrap_or(MAX_REQUESTS);
        let max_requests = (of_a_shard * usize::from(self.namespace.shards())).min(MAX_REQUESTS);
        Ok(match target.place.clone() {
            TargetPlace::Http { url, headers } => {
                let options =
                    HttpOptions { headers, timeout, max_requests, ..HttpOptions::new(url) };
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
            TargetPlace::Table { tables, login } => {
                Arc::new(tables::target(tables, login, timeout)?)
            }
            TargetPlace::Namespace { namespace, to } => {
                let backend = Arc::clone(self.hosted) as Arc<dyn Backend>;
                Arc::new(Chained::new(backend, target.name.clone(), namespace, to))
            }
        })
    }

    /// Begins to do what is due.
    fn delay(
        &self,
        settings: &DelaySettings,
        fires: bool,
        (store, index): (Arc<dyn Store>, Arc<dyn Index>),
        members: Members,
    ) -> Result<Worker, String> {
        let namespace: Arc<str> = self.namespace.name().into();
        let backend = Arc::clone(self.hosted) as Arc<dyn Backend>;
        Ok(Worker::Delays(Delays::start(DelaysParts {
            shards: self.namespace.shards(),
            log: Arc::clone(self.handle.log()),
            table: delayed_table(self.namespace).ok_or("its table is not declared")?,
            store,
            index,
            fires_here: fires,
            fires: Arc::new(Firing::new(backend, Arc::clone(&namespace))),
            in_flight: usize::try_from(settings.in_flight).unwrap_or(usize::MAX),
            namespace,
            members,
            seed: rand::random(),
        })))
    }

    /// Begins to send to another region.
    fn ship(
        &self,
        (to, number): (&RegionMember, u8),
        settings: &RegionSettings,
        store: Arc<dyn Store>,
        members: Members,
        control: Arc<dyn Control>,
    ) -> Result<Worker, String> {
        let namespace: Arc<str> = self.namespace.name().into();
        let backend = Arc::clone(self.hosted) as Arc<dyn Backend>;
        let arrived = self.namespace.find_table(&settings.table);
        let arrived = arrived.ok_or("its table is not declared")?.id();
        Ok(Worker::Ship(Ship::start(ShipParts {
            shards: self.namespace.shards(),
            log: Arc::clone(self.handle.log()),
            settings: settings.clone(),
            to: to.name.as_str().into(),
            picks: PiecesTo { region: number, arrived },
            peer: Arc::new(RegionPeer::new(
                Arc::clone(&backend),
                Arc::clone(self.namespace),
                settings.clone(),
                to.name.clone(),
                to.servers.clone(),
            )),
            home: Arc::new(RegionHome::new(backend, control, Arc::clone(&namespace))),
            namespace,
            store,
            members,
        })))
    }
}

/// Sees to it that the log is kept that somebody has to deliver still.
async fn hold(store: &dyn Store, namespace: &Namespace, handle: &Handle) {
    if is_idle(namespace) {
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
        let of_it = |declared: Declared| {
            let name = declared.name();
            let course = owners.iter().map(|owner| (&owner.course, &owner.mark));
            let mut found = course.filter(|(it, _)| it.shard == shard && *it.target == *name);
            let (_, mark) = found.next()?;
            mark.as_ref().filter(|mark| mark.log == log).map(|mark| mark.hold)
        };
        let holds: Option<Vec<_>> = Declared::all(namespace).map(of_it).collect();
        if let Some(least) = holds.and_then(|holds| holds.into_iter().min()) {
            shards.insert(shard, least);
        }
    }
    Hold::From(shards)
}

/// Requests that one process has under way to one endpoint at most, however many shards it delivers.
const MAX_REQUESTS: usize = 1_024;

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
