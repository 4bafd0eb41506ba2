//! Composition: the one place that names logs, tables and the control plane together. Everything else
//! sees them as [`Backend`] and [`Control`].

mod deliver;
mod explain;
pub(crate) mod recover;
mod stores;
mod tables;

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use anyhow::Context;
use control::{FollowOptions, Follower, POLL};
use coordinator::api::Call;
use coordinator::placement::PlacementConfig;
use coordinator::runtime::{
    Answers, Busy, Cluster, Handle, NamespaceSnapshot, ParkedDone, ParkedList, Parts, Running,
    Stopped, SystemClock, engine_schema,
};
use coordinator::service::peers::Peers;
use coordinator::service::{Backend, BackendError, Control, Delivering, LoggedRecord, Refused};
use delivery::region::ShipStatus;
use participant::engine::{Leadership, ParkedChoice};
use participant::store::cassandra;
use wal_core::TxnId;
use wal_core::log::IntentLog;
use wal_core::namespace::{LogKind, Namespace};

use crate::control_plane::{Namespaces, Serve, TRY_AGAIN_AFTER, Unserved};
use deliver::{Deliveries, hold_at_first};
use explain::explain;
use stores::Stores;

/// When a caller should try again after the queue of calls was full, milliseconds.
const RETRY_AFTER_MS: u64 = 20;

/// A running server without its network.
pub(crate) struct System {
    /// What the gRPC service calls.
    pub(crate) backend: Arc<dyn Backend>,
    /// What its administration calls.
    pub(crate) control: Arc<dyn Control>,
    hosted: Arc<Hosted>,
}

/// One server of several.
pub(crate) struct Member {
    /// The cluster's name: tables are claimed in it.
    pub(crate) cluster: String,
    /// The way to the others.
    pub(crate) peers: Arc<Peers>,
    /// Where the others reach this server.
    pub(crate) address: Arc<str>,
    /// Whether it delivers messages to targets.
    pub(crate) delivers: bool,
    /// The pool of the namespaces whose shards it leads; `None` for a gateway, which leads none.
    pub(crate) pool: Option<String>,
}

/// How long a leader may answer without asking the log; its successor waits for so long.
const LEASE_US: u64 = 2_000_000;
/// How much the rates of two clocks may differ.
const LEASE_DRIFT_PPM: u64 = 1_000;
/// Threads of a namespace that read its tables, where they are across a network.
const READERS: usize = 4;
/// Cassandra syncs its commit log every 10 s by default; this is well beyond.
const KEEP_LOG_FOR: Duration = Duration::from_secs(60);

impl System {
    /// Opens everything in the data folder and serves every namespace that was created. `address` is
    /// where this process can be reached; `control` the control plane's database, by default a file of the
    /// data folder.
    pub(crate) async fn open(
        data: &Path,
        address: String,
        control: Option<&str>,
        member: Option<Member>,
    ) -> anyhow::Result<Self> {
        std::fs::create_dir_all(data).with_context(|| {
            format!("cannot create the data folder {}; choose another with --data", data.display())
        })?;
        let lock = lock(data)?;
        let follower = Follower::start(match control {
            None => FollowOptions {
                address: format!("sqlite:{}", data.join("control.db").display()),
                // The database is a file of the same folder: it is never away alone.
                copy: None,
                poll: POLL,
            },
            Some(address) => FollowOptions {
                address: address.to_owned(),
                copy: Some(data.join("namespaces-last-seen.json")),
                poll: POLL,
            },
        });
        let follower = follower.await?;
        let hosted = Arc::new(Hosted {
            _lock: lock,
            data: data.to_owned(),
            address: member.as_ref().map_or(address, |member| member.address.to_string()),
            member,
            namespaces: RwLock::default(),
            unserved: Mutex::default(),
            running: Mutex::default(),
            deliveries: Deliveries::default(),
        });
        let unserved = match &hosted.member {
            Some(_) => Unserved::TryAgain(TRY_AGAIN_AFTER),
            None => Unserved::Stop,
        };
        let control = Namespaces::start(follower, hosted.clone(), unserved).await?;
        let delivers = hosted.member.as_ref().is_none_or(|member| member.delivers);
        Deliveries::start(&hosted, &control, delivers);
        Ok(Self { backend: hosted.clone(), control, hosted })
    }

    /// Why a namespace serves no more, if one has failed. What it acknowledged is safe.
    pub(crate) fn failure(&self) -> Option<String> {
        let namespaces = self.hosted.namespaces.read().unwrap_or_else(PoisonError::into_inner);
        namespaces.iter().find_map(|(name, served)| match served.handle.stopped()? {
            Stopped::Failed(why) => Some(format!("namespace {name:?}: {why}")),
            Stopped::Drained => None,
        })
    }

    /// Lets go what it delivers, so that others need not wait; at most for `patience`.
    pub(crate) async fn stop_delivering(&self, patience: Duration) {
        self.hosted.deliveries.stop(patience).await;
    }

    /// Brings what is under way in the engines to an end, and stops them. Blocks, at most `patience`.
    pub(crate) fn stop(self, patience: Duration) {
        let end = Instant::now() + patience;
        let running = std::mem::take(
            &mut *self.hosted.running.lock().unwrap_or_else(PoisonError::into_inner),
        );
        for mut namespace in running {
            namespace.drain(end.saturating_duration_since(Instant::now()));
        }
    }
}

/// Makes the data folder this process's own.
fn lock(data: &Path) -> anyhow::Result<File> {
    let path = data.join("LOCK");
    let lock = File::create(&path).with_context(|| {
        format!(
            "cannot write to the data folder {}; mend its permissions, or choose another with --data",
            data.display()
        )
    })?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => anyhow::bail!(
            "another server is using the data folder {}; stop it, or choose another with --data",
            data.display()
        ),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}

/// A namespace that is served.
struct Served {
    namespace: Arc<Namespace>,
    handle: Handle,
    /// The tables where they are in a cluster.
    cluster: Option<Arc<cassandra::Opened>>,
}

/// Every namespace of this process, each with its own log and tables.
struct Hosted {
    data: PathBuf,
    /// By which others know this server.
    address: String,
    /// The others, if this server is one of several.
    member: Option<Member>,
    /// Never held across anything that blocks.
    namespaces: RwLock<BTreeMap<String, Served>>,
    /// Those that could not be opened, and why.
    unserved: Mutex<BTreeMap<String, String>>,
    running: Mutex<Vec<Running>>,
    deliveries: Deliveries,
    /// Held until the process ends, however it ends.
    _lock: File,
}

impl Hosted {
    fn handle(&self, name: &str) -> Option<Handle> {
        let namespaces = self.namespaces.read().unwrap_or_else(PoisonError::into_inner);
        Some(namespaces.get(name)?.handle.clone())
    }

    /// All that are served, as they are now.
    fn served(&self) -> Vec<(Arc<Namespace>, Handle)> {
        let namespaces = self.namespaces.read().unwrap_or_else(PoisonError::into_inner);
        namespaces.values().map(|it| (Arc::clone(&it.namespace), it.handle.clone())).collect()
    }

    fn unserved(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.unserved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this server may lead shards of a namespace that `pool` serves.
    fn participates(&self, pool: &str) -> bool {
        self.member.as_ref().is_some_and(|member| member.pool.as_deref() == Some(pool))
    }

    fn start(
        &self,
        namespace: &Arc<Namespace>,
        pool: &str,
    ) -> Result<(Running, Option<cassandra::Opened>), String> {
        let folder = self.data.join("namespaces").join(namespace.name());
        let deployment = self.member.as_ref().map_or("", |member| &member.cluster);
        let Stores { log, store, cluster } = stores::open(namespace, &folder, deployment)?;
        let is_remote = cluster.is_some();
        let exclusive = namespace.log().kind != LogKind::Kafka;
        let parts = Parts {
            namespace: Arc::clone(namespace),
            log,
            store,
            clock: Arc::new(SystemClock::new()),
            leadership: if exclusive {
                Leadership::Exclusive
            } else {
                Leadership::Lease { lease_us: LEASE_US, drift_ppm: LEASE_DRIFT_PPM }
            },
            address: self.address.clone(),
            seed: rand::random(),
            readers: if is_remote { READERS } else { 1 },
            keep_log_for: if is_remote { KEEP_LOG_FOR } else { Duration::ZERO },
            // Until it is known how far deliveries are.
            hold: hold_at_first(namespace),
        };
        if exclusive {
            let running = coordinator::runtime::start(parts).map_err(|error| error.to_string())?;
            return Ok((running, cluster));
        }
        let Some(Member { peers, address, .. }) = &self.member else {
            return Err(
                "a log in Kafka is shared by the servers of a cluster: start this one with \
                        --peer-listen, and with --peer for each of the others"
                    .to_owned(),
            );
        };
        let transport = peers.transport(namespace.name());
        let participates = self.participates(pool);
        let (log, shards) = (parts.log.identity(), namespace.shards());
        let placement = PlacementConfig::new(address.clone(), log, participates, shards);
        let parts = Parts { address: address.to_string(), ..parts };
        let started = coordinator::runtime::start_among(parts, Cluster { transport, placement });
        let running = started.map_err(|error| error.to_string())?;
        peers.register(namespace.name(), running.handle());
        Ok((running, cluster))
    }
}

impl Serve for Hosted {
    fn open(&self, namespace: Arc<Namespace>, pool: &str) -> Result<(), String> {
        let name = namespace.name().to_owned();
        let (running, cluster) = match self.start(&namespace, pool) {
            Ok(started) => started,
            Err(why) => {
                self.unserved().insert(name, why.clone());
                return Err(why);
            }
        };
        self.unserved().remove(&name);
        let served = Served {
            handle: running.handle(),
            namespace: Arc::clone(&namespace),
            cluster: cluster.map(Arc::new),
        };
        self.running.lock().unwrap_or_else(PoisonError::into_inner).push(running);
        let mut namespaces = self.namespaces.write().unwrap_or_else(PoisonError::into_inner);
        namespaces.insert(name, served);
        Ok(())
    }

    fn place(&self, name: &str, pool: &str) {
        // A server that is alone leads what it has.
        if let (Some(handle), Some(_)) = (self.handle(name), &self.member) {
            let participates = self.participates(pool);
            tracing::info!(namespace = name, pool, participates, "another pool serves it");
            handle.participate(participates);
        }
    }

    fn change(&self, namespace: Arc<Namespace>) -> Result<(), String> {
        let cluster = {
            let namespaces = self.namespaces.read().unwrap_or_else(PoisonError::into_inner);
            namespaces.get(namespace.name()).ok_or("it is not served")?.cluster.clone()
        };
        // The tables first, then the engines: nothing may be validated under tables that they do not know.
        if let Some(cluster) = cluster {
            cluster.change(&namespace).map_err(|error| error.to_string())?;
        }
        let mut namespaces = self.namespaces.write().unwrap_or_else(PoisonError::into_inner);
        let served = namespaces.get_mut(namespace.name()).ok_or("it is not served")?;
        // Before anything is taken for a new target: how far it is, is learnt later.
        if served.namespace.targets() != namespace.targets()
            || served.namespace.delay() != namespace.delay()
            || served.namespace.region().map(|it| &it.members)
                != namespace.region().map(|it| &it.members)
        {
            served.handle.hold(hold_at_first(&namespace));
        }
        served.handle.change_schema(Arc::new(engine_schema(&namespace)));
        served.namespace = namespace;
        Ok(())
    }
}

impl Backend for Hosted {
    fn address(&self) -> &str {
        &self.address
    }

    fn namespace(&self, name: &str) -> Option<Arc<Namespace>> {
        let namespaces = self.namespaces.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&namespaces.get(name)?.namespace))
    }

    fn why_unserved(&self, name: &str) -> Option<String> {
        self.unserved().get(name).cloned()
    }

    fn call(
        &self,
        namespace: &Namespace,
        calls: Vec<(Call, u64)>,
        answers: Arc<dyn Answers>,
    ) -> Result<u64, Refused> {
        let handle = self.handle(namespace.name()).ok_or(Refused::ShuttingDown)?;
        handle.call(calls, answers).map_err(|busy| match busy {
            Busy::Full => {
                Refused::Overloaded { what: "the queue of calls", retry_after_ms: RETRY_AFTER_MS }
            }
            Busy::Stopped(_) => Refused::ShuttingDown,
        })
    }

    fn forget(&self, namespace: &Namespace, call: u64) {
        if let Some(handle) = self.handle(namespace.name()) {
            handle.forget(call);
        }
    }

    fn log(&self, namespace: &Namespace) -> Result<Arc<dyn IntentLog>, BackendError> {
        Ok(Arc::clone(self.handle(namespace.name()).ok_or_else(stopped)?.log()))
    }

    fn explain(&self, namespace: &Namespace, id: TxnId) -> Result<Vec<LoggedRecord>, BackendError> {
        let handle = self.handle(namespace.name()).ok_or_else(stopped)?;
        explain(&**handle.log(), handle.shards(), id)
            .map_err(|error| BackendError::Broken(error.to_string()))
    }

    fn delivering(&self, namespace: &Namespace) -> Vec<Delivering> {
        self.deliveries.of(namespace.name())
    }

    fn sending(&self, namespace: &Namespace) -> Vec<(String, ShipStatus)> {
        self.deliveries.sending(namespace.name())
    }

    fn retry_target(&self, namespace: &Namespace, target: &str) {
        self.deliveries.retry(namespace.name(), target);
    }

    fn parked(&self, namespace: &Namespace, limit: usize) -> Result<ParkedList, BackendError> {
        let list = self.handle(namespace.name()).and_then(|handle| handle.parked(limit));
        list.ok_or_else(stopped)
    }

    fn retry_parked(
        &self,
        namespace: &Namespace,
        which: ParkedChoice,
    ) -> Result<ParkedDone, BackendError> {
        let done = self.handle(namespace.name()).and_then(|handle| handle.retry_parked(which));
        done.ok_or_else(stopped)
    }

    fn discard_parked(
        &self,
        namespace: &Namespace,
        which: ParkedChoice,
    ) -> Result<ParkedDone, BackendError> {
        let handle = self.handle(namespace.name()).ok_or_else(stopped)?;
        handle.discard_parked(which).ok_or_else(|| {
            let why = "the rows may have been discarded or not: the log did not answer in time; list \
                       the parked rows, and discard what is left again";
            BackendError::Broken(why.to_owned())
        })
    }

    fn look(&self, namespace: &Namespace, limit: usize) -> Result<NamespaceSnapshot, BackendError> {
        let snapshot = self.handle(namespace.name()).and_then(|handle| handle.look(limit));
        snapshot.ok_or_else(stopped)
    }
}

fn stopped() -> BackendError {
    BackendError::Broken("the namespace has stopped".to_owned())
}
