//! A log in Kafka that is lost, given up for a new one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use coordinator::runtime::{SystemClock, found_log};
use participant::store::cassandra::{self, Credentials, Registry};
use uuid::Uuid;
use wal_core::log::LogError;
use wal_core::log::kafka::{Identity, KafkaLog, KafkaOptions, MemoryHints};
use wal_core::namespace::{KafkaSettings, LogKind, Namespace, StoreKind};
use wal_core::{Clock, Millis, Nonce};

use super::LEASE_US;
use super::stores::Hints;

/// Until then nobody leads the lost log any more, and every write time that it gave lies in the past:
/// a lease, and a second for clocks that differ.
const ALL_OVER_AFTER: Duration = Duration::from_micros(LEASE_US + 1_000_000);

/// A namespace whose log is lost.
#[derive(Debug)]
pub(crate) struct Lost {
    /// The topic.
    pub(crate) topic: String,
    /// How the loss was seen.
    pub(crate) what: String,
    namespace: Namespace,
    registry: Arc<Registry>,
    identity: Nonce,
}

/// Looks whether a namespace's log is lost; `None` if it is whole. Changes nothing. Blocks.
pub(crate) fn examine(namespace: Namespace) -> anyhow::Result<Option<Lost>> {
    let settings = settings(&namespace)?.clone();
    let registry = cassandra::open_registry(&namespace, Credentials::from_environment())?;
    let registry = Arc::new(registry);
    let Some(identity) = registry.known_identity(&settings.topic)?.map(Nonce) else {
        anyhow::bail!("no server has opened this namespace yet, so that nothing of it can be lost");
    };
    let hints = Arc::new(Hints::new(Arc::clone(&registry), &settings, identity));
    if !hints.was_opened()? {
        anyhow::bail!(
            "no server has opened the log of this namespace yet, so that nothing of it can be lost; it \
             is begun by the first one that does"
        );
    }
    let known = Identity::Known(identity);
    let options = KafkaOptions::new(settings, namespace.shards(), known, hints);
    match KafkaLog::open(options) {
        Ok(_) => Ok(None),
        Err(LogError::Lost { log: topic, what }) => {
            Ok(Some(Lost { topic, what, namespace, registry, identity }))
        }
        Err(other) => Err(other.into()),
    }
}

fn settings(namespace: &Namespace) -> anyhow::Result<&KafkaSettings> {
    match (namespace.log().kind, &namespace.log().kafka, namespace.store().kind) {
        (LogKind::Kafka, Some(settings), StoreKind::Cassandra) => Ok(settings),
        _ => anyhow::bail!(
            "the log of this namespace is in a server's own folder: restore that folder from a copy; only a \
             log in Kafka can be begun anew"
        ),
    }
}

impl Lost {
    /// The shards of the namespace.
    pub(crate) fn shards(&self) -> u16 {
        self.namespace.shards()
    }

    /// Bytes of acknowledged writes that all shards of one server together may have had in memory alone.
    pub(crate) fn most_bytes_lost(&self) -> u64 {
        self.namespace.limits().overlay_bytes
    }

    /// Ids up to which time will be too old, if clients' clocks run ahead by so much at most.
    pub(crate) fn floor(ahead: Duration) -> Millis {
        let ahead = u64::try_from(ahead.as_millis()).unwrap_or(u64::MAX);
        Millis(SystemClock::new().now().millis().0.saturating_add(ahead))
    }

    /// Begins a new log in a new topic of the same name, and makes it the namespace's. Blocks, for longer
    /// than anybody's lease on the lost one.
    ///
    /// Nothing is the namespace's before the last step; a topic that an interrupted run left behind holds
    /// nothing that anybody was promised.
    pub(crate) fn begin_anew(&self, floor: Millis) -> anyhow::Result<()> {
        let all_over = Instant::now() + ALL_OVER_AFTER;
        let new = Nonce(Uuid::new_v4().as_u128());
        let settings = settings(&self.namespace)?;
        let begun = Identity::Begun(new);
        let hints = Arc::new(MemoryHints::default());
        let options = KafkaOptions::new(settings.clone(), self.shards(), begun, hints);
        let log = KafkaLog::open(options).map_err(|error| match error {
            LogError::Unsafe { log, problems } => anyhow::anyhow!(
                "the topic {log} cannot be the new log: {problems}\nIf nobody else needs what is in it, \
                 delete it, and run this again:\n    kafka-topics.sh --bootstrap-server {} --delete \
                 --topic {log}",
                settings.brokers
            ),
            other => other.into(),
        })?;
        let owner = Nonce(Uuid::new_v4().as_u128());
        found_log(&log, self.shards(), owner, SystemClock::new().now(), floor)?;
        std::thread::sleep(all_over.saturating_duration_since(Instant::now()));
        Hints::new(Arc::clone(&self.registry), settings, new).note_opened()?;
        let replaced = self.registry.replace_identity(&settings.topic, self.identity.0, new.0)?;
        anyhow::ensure!(replaced, "somebody else has begun a new log meanwhile; look at it again");
        Ok(())
    }
}
