//! The log and the tables of one namespace, wherever its file says that they are.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use participant::store::TableStore;
use participant::store::cassandra::{self, Credentials, Registry};
use participant::store::embedded::{EmbeddedOptions, EmbeddedStore};
use uuid::Uuid;
use wal_core::log::kafka::{HintStore, Identity, KafkaLog, KafkaOptions};
use wal_core::log::segment::{Observer, SegmentLog, SegmentOptions};
use wal_core::log::{IntentLog, LogError};
use wal_core::namespace::{KafkaSettings, LogKind, Namespace, StoreKind};
use wal_core::{Nonce, Position, ShardId};

/// Age at which tombstones of the embedded store go. Every write that one of them hides has been applied
/// long before, so this is for those who look into the files.
const PURGE_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// A namespace's log and tables, opened.
pub(super) struct Stores {
    pub(super) log: Arc<dyn IntentLog>,
    pub(super) store: Arc<dyn TableStore>,
    /// The tables where they are in a cluster, across a network. The embedded store takes rows of any table.
    pub(super) cluster: Option<cassandra::Opened>,
}

/// Opens both. `deployment` names the cluster of servers that may claim the tables. Blocks.
pub(super) fn open(
    namespace: &Namespace,
    folder: &Path,
    deployment: &str,
) -> Result<Stores, String> {
    let (store, cluster): (Arc<dyn TableStore>, _) = match namespace.store().kind {
        StoreKind::Embedded => {
            let options =
                EmbeddedOptions { purge_after: Some(PURGE_AFTER), ..EmbeddedOptions::default() };
            let store = EmbeddedStore::open(&folder.join("tables"), options);
            (Arc::new(store.map_err(|error| error.to_string())?), None)
        }
        StoreKind::Cassandra => {
            let deployment = Uuid::new_v5(&Uuid::NAMESPACE_OID, deployment.as_bytes()).as_u128();
            let opened = cassandra::open(namespace, deployment, Credentials::from_environment());
            let opened = opened.map_err(|error| error.to_string())?;
            (Arc::clone(&opened.store) as _, Some(opened))
        }
    };
    let log: Arc<dyn IntentLog> = match (namespace.log().kind, &namespace.log().kafka, &cluster) {
        (LogKind::Embedded, ..) => {
            let options = SegmentOptions {
                segment_bytes: namespace.log().segment_bytes,
                observer: Some(observe_syncs(namespace.name())),
                ..SegmentOptions::default()
            };
            let opened = SegmentLog::open(&folder.join("log"), &options);
            Arc::new(opened.map_err(|error| error.to_string())?)
        }
        (LogKind::Kafka, Some(settings), Some(cluster)) => {
            cluster.claim_log(namespace, &settings.topic).map_err(|error| error.to_string())?;
            open_kafka(namespace, settings, Arc::clone(&cluster.registry))?
        }
        (LogKind::Kafka, ..) => {
            return Err(
                "a log in Kafka is shared by several servers, and so must its tables be: set \
                        store.kind = \"cassandra\""
                    .to_owned(),
            );
        }
        (LogKind::Memory, ..) => {
            return Err("a server keeps no log in memory; set log.kind = \"embedded\"".to_owned());
        }
    };
    Ok(Stores { log, store, cluster })
}

/// Tells every group commit of a namespace's log to the metrics.
fn observe_syncs(name: &str) -> Observer {
    let seconds = metrics::histogram!("handfast_log_sync_seconds", "namespace" => name.to_owned());
    Arc::new(move |synced| seconds.record(synced.took.as_secs_f64()))
}

fn open_kafka(
    namespace: &Namespace,
    settings: &KafkaSettings,
    registry: Arc<Registry>,
) -> Result<Arc<dyn IntentLog>, String> {
    let drawn = registry.log_identity(&settings.topic, Uuid::new_v4().as_u128());
    let nonce = Nonce(drawn.map_err(|error| error.to_string())?);
    let hints = Arc::new(Hints::new(registry, settings, nonce));
    let was_opened = hints.was_opened().map_err(|error| error.to_string())?;
    let identity = if was_opened { Identity::Known(nonce) } else { Identity::Begun(nonce) };
    let options = KafkaOptions::new(settings.clone(), namespace.shards(), identity, hints.clone());
    let log = KafkaLog::open(options).map_err(|error| error.to_string())?;
    if !was_opened {
        hints.note_opened().map_err(|error| error.to_string())?;
    }
    Ok(Arc::new(log))
}

/// Where checkpoints start, kept beside the tables, apart for each identity of a log: those of one that
/// was given up mean nothing in its successor.
pub(super) struct Hints {
    registry: Arc<Registry>,
    log: String,
}

impl Hints {
    const FIRST: ShardId = ShardId(0);

    pub(super) fn new(registry: Arc<Registry>, settings: &KafkaSettings, identity: Nonce) -> Self {
        Self { registry, log: format!("{}/{}", settings.topic, Uuid::from_u128(identity.0)) }
    }

    /// Whether the log was opened before. It has a hint then: from then on a topic without the identity is
    /// a loss.
    pub(super) fn was_opened(&self) -> Result<bool, LogError> {
        Ok(self.load(Self::FIRST)?.is_some())
    }

    /// From now on it was.
    pub(super) fn note_opened(&self) -> Result<(), LogError> {
        self.store(Self::FIRST, Position(0))
    }
}

fn io(action: &str) -> impl FnOnce(cassandra::OpenError) -> LogError {
    let action = action.to_owned();
    move |error| LogError::Io { action, source: std::io::Error::other(error) }
}

impl HintStore for Hints {
    fn store(&self, shard: ShardId, checkpoint: Position) -> Result<(), LogError> {
        let stored = self.registry.store_hint(&self.log, shard, checkpoint);
        stored.map_err(io("store a checkpoint's position"))
    }

    fn load(&self, shard: ShardId) -> Result<Option<Position>, LogError> {
        self.registry.hint(&self.log, shard).map_err(io("read a checkpoint's position"))
    }
}
