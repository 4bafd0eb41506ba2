//! The log of a simulated cluster, without faults and in no time: a broker, and the adapters of its owners.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use wal_core::log::{AppendDone, Appended, IntentLog, LogError, ShardBatch, Visit};
use wal_core::record::{Acceptor, Verdict, decode};
use wal_core::{Epoch, Nonce, Position, ShardId};

use crate::log::{Broker, Trimmed};
use crate::producer::{Acknowledged, Fate, Producer};

/// More than any script writes.
const ALL: usize = 1 << 20;

/// The simulator's broker, to which every handle of [`ModelLog`] appends.
#[derive(Clone)]
pub struct ModelBroker {
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    broker: Broker,
    /// For each shard, what the records' own rules say of each of them.
    truth: Vec<(Acceptor, Vec<bool>)>,
    appends: u64,
}

impl ModelBroker {
    /// An empty one.
    pub fn new(shards: u16) -> Self {
        let truth = (0..shards).map(|_| Default::default()).collect();
        let shared = Shared { broker: Broker::new(shards), truth, appends: 0 };
        Self { shared: Arc::new(Mutex::new(shared)) }
    }

    /// A new owner's log.
    pub fn open(&self) -> ModelLog {
        ModelLog { broker: self.clone(), producers: Mutex::default() }
    }

    /// A batch reaches the broker, and nobody hears of it.
    pub fn land(&self, batch: &ShardBatch) {
        self.lock().land(batch);
    }

    // A panic leaves whole records behind: the state is always fit for use.
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// As `World::land` does.
    fn land(&mut self, batch: &ShardBatch) -> u64 {
        let log = self.broker.shard(batch.shard);
        let (acceptor, accepted) = &mut self.truth[usize::from(batch.shard.0)];
        let offset = log.end();
        for bytes in batch.records() {
            let counts = match decode(bytes.clone()) {
                Ok((record, hash)) => acceptor.judge(&record, hash) == Verdict::Accepted,
                Err(_) => false,
            };
            accepted.push(counts);
            log.records.push(bytes);
        }
        offset
    }
}

/// One owner's handle: the simulated adapter of each shard, which decides what an acknowledgement means.
pub struct ModelLog {
    broker: ModelBroker,
    producers: Mutex<BTreeMap<ShardId, (Epoch, Producer)>>,
}

impl ModelLog {
    /// As the world does it: sent, landed, acknowledged, read back if the offset is not the expected one.
    fn append_one(&self, batch: ShardBatch) -> Appended {
        let mut producers = self.producers.lock().unwrap_or_else(PoisonError::into_inner);
        let (epoch, producer) = producers.entry(batch.shard).or_default();
        if batch.epoch > *epoch {
            // Whoever stands again has a producer of its own for that epoch.
            (*epoch, *producer) = (batch.epoch, Producer::default());
        }
        let batch = Arc::new(batch);
        let shared = &mut *self.broker.lock();
        shared.appends += 1;
        let append = shared.appends;
        producer.submit(append, &batch);
        if !producer.dead {
            let offset = shared.land(&batch);
            if producer.on_acknowledged(append, offset) == Acknowledged::MustReadBack {
                let is_winner = shared.truth[usize::from(batch.shard.0)].1[offset as usize];
                let log = shared.broker.shard(batch.shard);
                producer.read_back(append, offset, log, is_winner, false);
            }
        }
        let settled = producer.pop_settled().expect("everything is settled at once here");
        match settled.fate {
            Some(Fate::Durable(offset)) => Appended::Durable { first: Position(offset) },
            Some(Fate::Rejected) => Appended::Rejected { why: "it does not count".to_owned() },
            Some(Fate::Unknown) | None => Appended::Unknown { why: "nobody knows".to_owned() },
        }
    }
}

impl IntentLog for ModelLog {
    fn identity(&self) -> Nonce {
        Nonce(1)
    }

    fn append(&self, batches: Vec<ShardBatch>, done: AppendDone) {
        done(batches.into_iter().map(|batch| self.append_one(batch)).collect());
    }

    fn replay(
        &self,
        from: &BTreeMap<ShardId, Position>,
        visit: Visit<'_>,
    ) -> Result<BTreeMap<ShardId, Position>, LogError> {
        let mut next = BTreeMap::new();
        for (&shard, &asked) in from {
            let (start, records) = {
                let shared = &mut *self.broker.lock();
                let log = shared.broker.shard(shard);
                let start = log.start(asked).map_err(|Trimmed| LogError::Trimmed {
                    shard,
                    asked,
                    first: Position(log.first()),
                })?;
                (start, log.read(start, ALL, false))
            };
            next.insert(shard, Position(start + records.len() as u64));
            for (position, record) in (start..).zip(records) {
                visit(shard, Position(position), Bytes::copy_from_slice(&record))?;
            }
        }
        Ok(next)
    }

    fn trim(&self, shard: ShardId, before: Position) -> Result<(), LogError> {
        self.broker.lock().broker.shard(shard).trim(before);
        Ok(())
    }

    fn store_hint(&self, shard: ShardId, checkpoint: Position) -> Result<(), LogError> {
        self.broker.lock().broker.shard(shard).store_hint(checkpoint);
        Ok(())
    }

    fn hint(&self, shard: ShardId) -> Result<Option<Position>, LogError> {
        Ok(self.broker.lock().broker.shard(shard).hint())
    }

    fn size_bytes(&self) -> u64 {
        0
    }
}
