//! Delivering messages to the targets of the namespaces that are served, doing what is due later, and sending what
//! was committed to other regions.

mod declared;
mod worker;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use coordinator::runtime::Handle;
use coordinator::service::Delivering;
use delivery::region::ShipStatus;
use delivery::runtime::{Members, WhoElse};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use wal_core::namespace::Namespace;

pub(super) use self::declared::hold_at_first;
use self::declared::{Declared, hold, is_idle};
use self::worker::{Place, Worker};
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
        stop_all(open.into_values().filter_map(|it| it.worker.ok()), patience).await;
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

/// Lets all of them go at the same time.
async fn stop_all(workers: impl IntoIterator<Item = Worker>, patience: Duration) {
    let stopping = workers.into_iter().map(|worker| tokio::spawn(worker.stop(patience)));
    for stopped in stopping.collect::<Vec<_>>() {
        let _ = stopped.await; // what was not let go is claimed by others
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
        stop_all(hosted.deliveries.outdated(&served), REPLACE_PATIENCE).await;
        for (namespace, handle, declared) in hosted.deliveries.missing(&served) {
            let members = hosted.deliveries.members(|| {
                let alone = hosted.member.is_none();
                let who_else = if alone { WhoElse::Nobody } else { WhoElse::Others };
                Members::start(Arc::clone(&store), who_else)
            });
            let place = Place {
                hosted: &hosted,
                namespaces: &namespaces,
                namespace: &namespace,
                handle: &handle,
                store: &store,
                members,
            };
            let worker = place.begin(&declared);
            if let Err(why) = &worker {
                let (namespace, name) = (namespace.name(), declared.name());
                tracing::error!(namespace, name, why, "cannot deliver");
            }
            let key = (namespace.name().to_owned(), declared.name());
            let since = Instant::now();
            hosted.deliveries.open().insert(key, Open { declared, worker, since });
        }
    }
}
