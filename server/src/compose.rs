//! Composition: the one file that names the embedded log, the embedded tables and the control plane
//! together. Everything else sees them as [`Backend`] and [`Control`].

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use anyhow::Context;
use control::ControlPlane;
use coordinator::api::Call;
use coordinator::runtime::{
    Answers, Busy, Handle, NamespaceSnapshot, Parts, Running, Stopped, SystemClock, engine_schema,
};
use coordinator::service::{Backend, BackendError, Control, LoggedRecord, Refused};
use participant::engine::Leadership;
use participant::store::embedded::{EmbeddedOptions, EmbeddedStore};
use wal_core::log::segment::{Observer, SegmentLog, SegmentOptions};
use wal_core::log::{IntentLog, LogError};
use wal_core::namespace::{LogKind, Namespace, StoreKind};
use wal_core::record::{Acceptor, Body, Record, Verdict, decode};
use wal_core::{Position, Sequence, ShardId, TxnId};

use crate::control_plane::{Namespaces, Serve};

/// When a caller should try again after the queue of calls was full, milliseconds.
const RETRY_AFTER_MS: u64 = 20;

/// A running server without its network.
pub(crate) struct System {
    /// What the gRPC service calls.
    pub(crate) backend: Arc<dyn Backend>,
    /// What its administration calls.
    pub(crate) control: Arc<dyn Control>,
    embedded: Arc<Embedded>,
}

impl System {
    /// Opens everything in the data folder and serves every namespace that was created. `address` is
    /// where this process can be reached.
    pub(crate) async fn open(data: &Path, address: String) -> anyhow::Result<Self> {
        std::fs::create_dir_all(data).with_context(|| {
            format!("cannot create the data folder {}; choose another with --data", data.display())
        })?;
        let lock = lock(data)?;
        let plane = ControlPlane::open(data.join("control.db")).await?;
        let embedded = Arc::new(Embedded {
            _lock: lock,
            data: data.to_owned(),
            address,
            namespaces: RwLock::default(),
            running: Mutex::default(),
        });
        for summary in plane.list().await? {
            let described = plane.describe(&summary.name, None).await?;
            let (serve, namespace) = (Arc::clone(&embedded), Arc::new(described.namespace));
            let opening = tokio::task::spawn_blocking(move || serve.open(namespace));
            let opened = opening.await.context("opening a namespace was cut off")?;
            opened.map_err(|why| anyhow::anyhow!("namespace {:?}: {why}", summary.name))?;
        }
        let control = Arc::new(Namespaces::new(plane, embedded.clone()));
        Ok(Self { backend: embedded.clone(), control, embedded })
    }

    /// Why a namespace serves no more, if one has failed. What it acknowledged is safe.
    pub(crate) fn failure(&self) -> Option<String> {
        let namespaces = self.embedded.namespaces.read().unwrap_or_else(PoisonError::into_inner);
        namespaces.iter().find_map(|(name, served)| match served.handle.stopped()? {
            Stopped::Failed(why) => Some(format!("namespace {name:?}: {why}")),
            Stopped::Drained => None,
        })
    }

    /// Brings what is under way in the engines to an end, and stops them. Blocks, at most `patience`.
    pub(crate) fn stop(self, patience: Duration) {
        let end = Instant::now() + patience;
        let running = std::mem::take(
            &mut *self.embedded.running.lock().unwrap_or_else(PoisonError::into_inner),
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

/// Tells every group commit of a namespace's log to the metrics.
fn observe_syncs(name: &str) -> Observer {
    let seconds = metrics::histogram!("handfast_log_sync_seconds", "namespace" => name.to_owned());
    Arc::new(move |synced| seconds.record(synced.took.as_secs_f64()))
}

/// A namespace that is served.
struct Served {
    namespace: Arc<Namespace>,
    handle: Handle,
}

/// Every namespace of this process, each with its own log and tables.
struct Embedded {
    data: PathBuf,
    address: String,
    /// Never held across anything that blocks.
    namespaces: RwLock<BTreeMap<String, Served>>,
    running: Mutex<Vec<Running>>,
    /// Held until the process ends, however it ends.
    _lock: File,
}

impl Embedded {
    fn handle(&self, name: &str) -> Option<Handle> {
        let namespaces = self.namespaces.read().unwrap_or_else(PoisonError::into_inner);
        Some(namespaces.get(name)?.handle.clone())
    }
}

impl Serve for Embedded {
    fn open(&self, namespace: Arc<Namespace>) -> Result<(), String> {
        let folder = self.data.join("namespaces").join(namespace.name());
        let log: Arc<dyn IntentLog> = match namespace.log().kind {
            LogKind::Embedded => {
                let options = SegmentOptions {
                    segment_bytes: namespace.log().segment_bytes,
                    observer: Some(observe_syncs(namespace.name())),
                    ..SegmentOptions::default()
                };
                let opened = SegmentLog::open(&folder.join("log"), &options);
                Arc::new(opened.map_err(|error| error.to_string())?)
            }
            kind @ (LogKind::Kafka | LogKind::Memory) => {
                return Err(format!("a server keeps no {kind:?} log; set `log.kind` to embedded"));
            }
        };
        if namespace.store().kind != StoreKind::Embedded {
            return Err(
                "this server keeps its tables in files; set `store.kind` to embedded".into()
            );
        }
        let store = EmbeddedStore::open(&folder.join("tables"), EmbeddedOptions::default());
        let running = coordinator::runtime::start(Parts {
            namespace: Arc::clone(&namespace),
            log,
            store: Arc::new(store.map_err(|error| error.to_string())?),
            clock: Arc::new(SystemClock::new()),
            leadership: Leadership::Exclusive,
            address: self.address.clone(),
            seed: rand::random(),
        })
        .map_err(|error| error.to_string())?;
        let served = Served { handle: running.handle(), namespace: Arc::clone(&namespace) };
        self.running.lock().unwrap_or_else(PoisonError::into_inner).push(running);
        let mut namespaces = self.namespaces.write().unwrap_or_else(PoisonError::into_inner);
        namespaces.insert(namespace.name().to_owned(), served);
        Ok(())
    }

    fn change(&self, namespace: Arc<Namespace>) -> Result<(), String> {
        let mut namespaces = self.namespaces.write().unwrap_or_else(PoisonError::into_inner);
        let served = namespaces.get_mut(namespace.name()).ok_or("it is not served")?;
        // The engines first: nothing may be validated under tables that they do not know.
        served.handle.change_schema(Arc::new(engine_schema(&namespace)));
        served.namespace = namespace;
        Ok(())
    }
}

impl Backend for Embedded {
    fn address(&self) -> &str {
        &self.address
    }

    fn namespace(&self, name: &str) -> Option<Arc<Namespace>> {
        let namespaces = self.namespaces.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&namespaces.get(name)?.namespace))
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
            Busy::Stopped(Stopped::Drained) => Refused::ShuttingDown,
            Busy::Stopped(Stopped::Failed(why)) => {
                tracing::error!(namespace = namespace.name(), why, "the namespace has stopped");
                Refused::ShuttingDown
            }
        })
    }

    fn forget(&self, namespace: &Namespace, call: u64) {
        if let Some(handle) = self.handle(namespace.name()) {
            handle.forget(call);
        }
    }

    fn explain(&self, namespace: &Namespace, id: TxnId) -> Result<Vec<LoggedRecord>, BackendError> {
        let handle = self
            .handle(namespace.name())
            .ok_or_else(|| BackendError::Broken("it is not served".to_owned()))?;
        explain(&**handle.log(), handle.shards(), id)
            .map_err(|error| BackendError::Broken(error.to_string()))
    }

    fn look(&self, namespace: &Namespace, limit: usize) -> Result<NamespaceSnapshot, BackendError> {
        let snapshot = self.handle(namespace.name()).and_then(|handle| handle.look(limit));
        snapshot.ok_or_else(|| BackendError::Broken("the namespace has stopped".to_owned()))
    }
}

/// Every record about a transaction that is left in the log, by shard, in log order.
fn explain(log: &dyn IntentLog, shards: u16, id: TxnId) -> Result<Vec<LoggedRecord>, LogError> {
    let from = (0..shards).map(|shard| (ShardId(shard), Position(0))).collect();
    let mut acceptors: BTreeMap<ShardId, Acceptor> = BTreeMap::new();
    let mut found = Vec::new();
    log.replay(&from, &mut |shard, position, bytes| {
        let (record, hash) = decode(bytes).map_err(|error| LogError::Stopped(error.to_string()))?;
        let acceptor = acceptors.entry(shard).or_insert_with(|| first_left(&record));
        let accepted = acceptor.judge(&record, hash) == Verdict::Accepted;
        if record.body.txn() == Some(id) {
            found.push(LoggedRecord { shard, position, accepted, record });
        }
        Ok(())
    })?;
    found.sort_by_key(|logged| (logged.shard, logged.position));
    Ok(found)
}

/// Judges from the first record that is left on: what came before it was trimmed, and it counted, or
/// the log could not have been trimmed up to it.
fn first_left(record: &Record) -> Acceptor {
    let header = record.header;
    match record.body {
        Body::Epoch { .. } => {
            Acceptor { epoch: wal_core::Epoch(header.epoch.0 - 1), ..Acceptor::default() }
        }
        _ => Acceptor {
            epoch: header.epoch,
            last: Sequence(header.seq.0.saturating_sub(1)),
            hash: header.previous,
            ..Acceptor::default()
        },
    }
}
