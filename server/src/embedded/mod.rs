//! The embedded composition: files, the embedded table store and SQLite, in one data folder.
//!
//! This is the only place that names a log, a table store and a control plane together.
//!
//! ```text
//! <data>/LOCK                      held while a server runs
//! <data>/control.db                namespaces and their history
//! <data>/namespaces/<name>/log     the intent log, all shards in one
//! <data>/namespaces/<name>/tables  the tables
//! ```

mod backend;
mod plane;

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use control::ControlPlane;
use coordinator::runtime::{self, Handle, Parts, Running, StartError, Stopped, SystemClock};
use participant::engine::Leadership;
use participant::store::embedded::{EmbeddedOptions, EmbeddedStore};
use wal_core::log::segment::{SegmentLog, SegmentOptions};
use wal_core::log::{IntentLog, LogError};
use wal_core::namespace::Namespace;

/// Why a data folder cannot be served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// The folder cannot be made or written.
    #[error("cannot use the data folder {folder}: {source}; choose another with --data, or mend its permissions")]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another server runs on it.
    #[error("another server is using the data folder {folder}; stop it, or choose another with --data")]
    Locked {
        /// The folder.
        folder: PathBuf,
    },
    /// The control plane's database.
    #[error(transparent)]
    Control(#[from] control::OpenError),
    /// A call to the control plane.
    #[error(transparent)]
    Namespaces(#[from] control::ControlError),
    /// One namespace.
    #[error("namespace {name:?}: {source}")]
    Namespace {
        /// Its name.
        name: String,
        /// Why.
        source: NamespaceError,
    },
}

/// Why one namespace cannot be served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NamespaceError {
    /// Its log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Its tables.
    #[error(transparent)]
    Tables(#[from] participant::store::embedded::OpenError),
    /// Its recovery.
    #[error(transparent)]
    Start(#[from] StartError),
    /// It asks for a log that an embedded server does not have.
    #[error("its log is {kind:?}, and this server has only embedded ones; set log.kind = \"embedded\"")]
    LogKind {
        /// What it asks for.
        kind: wal_core::namespace::LogKind,
    },
}

/// A namespace that is served.
pub(crate) struct Served {
    namespace: RwLock<Arc<Namespace>>,
    handle: Handle,
    running: Mutex<Running>,
    log: Arc<SegmentLog>,
}

impl Served {
    fn namespace(&self) -> Arc<Namespace> {
        self.namespace.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Everything that a data folder holds, running.
pub(crate) struct Embedded {
    folder: PathBuf,
    address: String,
    seed: u64,
    control: ControlPlane,
    served: RwLock<BTreeMap<String, Arc<Served>>>,
    /// Held until the last; the operating system frees it whatever happens to the process.
    _lock: File,
}

impl Embedded {
    /// Opens the folder, or makes it, and starts every namespace in it.
    ///
    /// # Errors
    /// [`OpenError`] names the folder or the namespace, and what to do.
    pub(crate) async fn open(folder: &Path, address: &str, seed: u64) -> Result<Arc<Self>, OpenError> {
        let lock = lock_folder(folder)?;
        let control = ControlPlane::open(folder.join("control.db")).await?;
        let embedded = Arc::new(Self {
            folder: folder.to_owned(),
            address: address.to_owned(),
            seed,
            control,
            served: RwLock::default(),
            _lock: lock,
        });
        for summary in embedded.control.list().await? {
            let described = embedded.control.describe(&summary.name, None).await?;
            embedded.serve(described.namespace).await?;
        }
        Ok(embedded)
    }

    /// The control plane's store.
    pub(crate) fn control(&self) -> &ControlPlane {
        &self.control
    }

    /// Why a namespace serves no more, if one does not.
    pub(crate) fn failure(&self) -> Option<String> {
        let served = self.served.read().unwrap_or_else(PoisonError::into_inner);
        served.iter().find_map(|(name, served)| match served.handle.stopped()? {
            Stopped::Failed(why) => Some(format!("namespace {name:?}: {why}")),
            Stopped::Drained => None,
        })
    }

    /// Takes nothing new, brings what is under way to an end, and stops every namespace. Blocks.
    pub(crate) fn drain(&self, patience: Duration) {
        let all = std::mem::take(&mut *self.served.write().unwrap_or_else(PoisonError::into_inner));
        for served in all.values() {
            served.running.lock().unwrap_or_else(PoisonError::into_inner).drain(patience);
        }
    }

    /// Starts a namespace, on a thread that may block.
    async fn serve(self: &Arc<Self>, namespace: Namespace) -> Result<(), OpenError> {
        let embedded = self.clone();
        let name = namespace.name().to_owned();
        let started = tokio::task::spawn_blocking(move || embedded.start(namespace));
        match started.await {
            Ok(Ok(served)) => {
                let mut all = self.served.write().unwrap_or_else(PoisonError::into_inner);
                all.insert(name, Arc::new(served));
                Ok(())
            }
            Ok(Err(source)) => Err(OpenError::Namespace { name, source }),
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }

    fn start(&self, namespace: Namespace) -> Result<Served, NamespaceError> {
        let kind = namespace.log().kind;
        if kind != wal_core::namespace::LogKind::Embedded {
            return Err(NamespaceError::LogKind { kind });
        }
        let folder = self.folder.join("namespaces").join(namespace.name());
        let options = SegmentOptions {
            segment_bytes: namespace.log().segment_bytes,
            observer: Some(observe_syncs(namespace.name())),
            ..SegmentOptions::default()
        };
        let log = Arc::new(SegmentLog::open(&folder.join("log"), &options)?);
        let store = EmbeddedStore::open(&folder.join("tables"), EmbeddedOptions::default())?;
        let namespace = Arc::new(namespace);
        let running = runtime::start(Parts {
            namespace: namespace.clone(),
            log: log.clone() as Arc<dyn IntentLog>,
            store: Arc::new(store),
            clock: Arc::new(SystemClock::new()),
            leadership: Leadership::Exclusive,
            address: self.address.clone(),
            seed: self.seed,
        })?;
        Ok(Served {
            namespace: RwLock::new(namespace),
            handle: running.handle(),
            running: Mutex::new(running),
            log,
        })
    }
}

/// Tells every group commit of a namespace's log to the metrics.
fn observe_syncs(name: &str) -> wal_core::log::segment::Observer {
    let seconds = metrics::histogram!("handfast_log_sync_seconds", "namespace" => name.to_owned());
    Arc::new(move |synced| seconds.record(synced.took.as_secs_f64()))
}

/// Makes the folder if need be, and locks it.
fn lock_folder(folder: &Path) -> Result<File, OpenError> {
    let failed = |source| OpenError::Folder { folder: folder.to_owned(), source };
    std::fs::create_dir_all(folder).map_err(failed)?;
    let lock = File::create(folder.join("LOCK")).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked { folder: folder.to_owned() }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}
