//! A log of one shard that a test writes, a target that does as it is told, and what is delivered between them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use wal_core::log::memory::MemoryLog;
use wal_core::log::{Appended, IntentLog, ShardBatch};
use wal_core::message::{MESSAGES, Message};
use wal_core::record::{Body, CommitSingle, Header, decode, encode_into};
use wal_core::{
    CellOp, ColumnId, Epoch, Fingerprint, Millis, Nonce, Position, RowKey, RowOp, Sequence,
    ShardId, Timestamp, TxnId, WriteOp,
};

use super::ledger::Ledger;
use crate::config::DeliveryConfig;
use crate::message::Answer;
use crate::outgoing::Outgoing;
use crate::runtime::{
    Delivery, Members, MessagesTo, Parts, PicksMessages, Settings, ShardDelivery, WhoElse,
};
use crate::target::{Later, Target};

pub(super) const NAMESPACE: &str = "bank";
pub(super) const TARGET: &str = "shop";
pub(super) const LOG: Nonce = Nonce(1);
/// Nothing takes this long, on any machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// A value that a panic of somebody else cannot leave half changed.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until something is so.
pub(super) async fn until(what: &str, is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "waited in vain: {what}");
}

type Script = Box<dyn Fn(&Outgoing) -> Answer + Send + Sync>;

/// A target that does as it is told, and remembers what it took. Tries take a moment.
pub(super) struct Scripted {
    script: Mutex<Script>,
    taken: Mutex<Vec<String>>,
}

impl Scripted {
    pub(super) fn new(script: impl Fn(&Outgoing) -> Answer + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { script: Mutex::new(Box::new(script)), taken: Mutex::default() })
    }

    pub(super) fn takes_all() -> Arc<Self> {
        Self::new(|_| Answer::Delivered)
    }

    /// From now on.
    pub(super) fn does(&self, script: impl Fn(&Outgoing) -> Answer + Send + Sync + 'static) {
        *lock(&self.script) = Box::new(script);
    }

    /// The payloads that it took, in their order.
    pub(super) fn taken(&self) -> Vec<String> {
        lock(&self.taken).clone()
    }

    pub(super) fn has_taken(&self, payload: &str) -> bool {
        self.taken().iter().any(|taken| taken == payload)
    }
}

pub(super) fn payload(outgoing: &Outgoing) -> String {
    String::from_utf8_lossy(&outgoing.message.payload).into_owned()
}

impl Target for Scripted {
    fn send(&self, outgoing: Outgoing) -> Later<'_, Answer> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            let answer = lock(&self.script)(&outgoing);
            if answer == Answer::Delivered {
                lock(&self.taken).push(payload(&outgoing));
            }
            answer
        })
    }
}

/// Everything around a delivery.
pub(super) struct World {
    pub(super) log: MemoryLog,
    header: Header,
    written: u64,
    pub(super) store: Arc<Ledger>,
    metrics: PrometheusRecorder,
}

impl World {
    pub(super) fn new() -> Self {
        let mut world = Self {
            log: MemoryLog::new(LOG),
            header: Header { epoch: Epoch(1), ..Header::default() },
            written: 0,
            store: Arc::new(Ledger::default()),
            metrics: PrometheusBuilder::new().build_recorder(),
        };
        let (log, owner) = (LOG, Nonce(1));
        world.write(&Body::Epoch { log, owner, address: String::new(), wall_us: 0 });
        world
    }

    fn write(&mut self, body: &Body) {
        let mut bytes = Vec::new();
        let hash = encode_into(&mut bytes, &self.header, body);
        self.garbage(bytes.into());
        self.header.previous = hash;
    }

    /// Appends bytes that need be no record.
    pub(super) fn garbage(&mut self, bytes: Bytes) {
        let first = self.header.seq;
        self.header.seq = Sequence(first.0 + 1);
        let ends = vec![u32::try_from(bytes.len()).expect("a small record")];
        let (shard, epoch) = (ShardId(0), self.header.epoch);
        let batch = ShardBatch { shard, epoch, first, bytes, ends };
        let check = |done: Vec<Appended>| {
            assert!(matches!(done[..], [Appended::Durable { .. }]), "{done:?}");
        };
        self.log.append(vec![batch], Box::new(check));
    }

    /// Commits a message of a key to the target; the payload is given.
    pub(super) fn message(&mut self, key: &'static str, payload: &'static str) {
        let payload = Bytes::from_static(payload.as_bytes());
        let targets = vec![TARGET.to_owned()];
        let message = Message { payload, targets, ..Message::default() };
        self.encoded(key, message.encode());
    }

    /// Commits a message of a key as some other version may write it.
    pub(super) fn encoded(&mut self, key: &'static str, value: Bytes) -> TxnId {
        self.written += 1;
        let id = TxnId::from_parts(Millis(1_760_000_000_000), self.written.into());
        let partition = Bytes::from_static(key.as_bytes());
        let key = RowKey { table: MESSAGES, partition, clustering: Bytes::new() };
        let cells = vec![CellOp::Put { column: ColumnId(0), value }];
        let write = WriteOp::Cells { insert: false, cells };
        let part = Arc::new(vec![RowOp { key, conditions: Vec::new(), write }]);
        let timestamp = Timestamp(i64::try_from(self.written).expect("few") * 8);
        let (fingerprint, adds) = (Fingerprint(1), Vec::new());
        let commit = CommitSingle { id, fingerprint, timestamp, part, adds };
        self.write(&Body::CommitSingle(Box::new(commit)));
        id
    }

    /// Where the transaction stands in the log.
    pub(super) fn position_of(&self, id: TxnId) -> Position {
        let mut found = None;
        let from = BTreeMap::from([(ShardId(0), Position(0))]);
        let replayed = self.log.replay(&from, &mut |_, position, bytes| {
            let (record, _) = decode(bytes).expect("a record");
            if matches!(&record.body, Body::CommitSingle(commit) if commit.id == id) {
                found = Some(position);
            }
            Ok(())
        });
        replayed.expect("a log in memory can be read");
        found.expect("it was committed")
    }

    pub(super) fn picks() -> Arc<PicksMessages> {
        Arc::new(MessagesTo { namespace: NAMESPACE.into(), target: TARGET.into() })
    }

    pub(super) fn deliver(&self, target: &Arc<Scripted>) -> Delivery {
        self.deliver_to(Arc::clone(target) as _, Self::picks())
    }

    pub(super) fn deliver_to(
        &self,
        target: Arc<dyn Target>,
        picks: Arc<PicksMessages>,
    ) -> Delivery {
        let engine = DeliveryConfig::new(0);
        let parts = Parts {
            namespace: NAMESPACE.into(),
            shards: 1,
            log: Arc::new(self.log.clone()),
            name: TARGET.into(),
            picks,
            settings: Settings { engine, timeout: PATIENCE, dead_letters: 100, paused: false },
            target,
            store: Arc::clone(&self.store) as _,
            members: Members::start(Arc::clone(&self.store) as _, WhoElse::Nobody),
            seed: 7,
        };
        metrics::with_local_recorder(&self.metrics, || Delivery::start(parts))
    }

    /// What a gauge of the target says, as it is scraped.
    pub(super) fn shows(&self, gauge: &str, value: u32) -> bool {
        let line = format!("{gauge}{{namespace=\"{NAMESPACE}\",target=\"{TARGET}\"}} {value}\n");
        self.metrics.handle().render().contains(&line)
    }
}

/// How the one shard stands, if it is claimed.
pub(super) fn only(delivery: &Delivery) -> Option<ShardDelivery> {
    delivery.shards().pop()
}
