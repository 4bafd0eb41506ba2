//! The log and the tables over `lin-kv` pass the suites that every log and every table store passes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use handfast_maelstrom::kv::memory::{Faults, FaultyKv};
use handfast_maelstrom::kv::{Answer, Kv, Request, call};
use handfast_maelstrom::log::{LinKvLog, Options};
use handfast_maelstrom::tables::LinKvStore;
use participant::store::TableStore;
use participant::store::conformance as store_conformance;
use wal_core::log::conformance::{Subject, run};
use wal_core::log::{IntentLog, LogError, ShardBatch};
use wal_core::{Epoch, ShardId};

static OWNERS: AtomicU64 = AtomicU64::new(1);

struct Opened {
    kv: Arc<FaultyKv>,
    log: LinKvLog,
}

fn open(kv: Arc<FaultyKv>) -> Opened {
    let options = Options {
        append_patience: Duration::from_millis(300),
        read_patience: Duration::from_secs(10),
    };
    let owner = OWNERS.fetch_add(1, Ordering::Relaxed);
    let shared: Arc<dyn Kv> = kv.clone();
    Opened { kv, log: LinKvLog::open(shared, owner, options).expect("the log opens") }
}

impl Subject for Opened {
    fn log(&self) -> &dyn IntentLog {
        &self.log
    }

    fn reopen(self: Box<Self>) -> Option<Box<dyn Subject>> {
        Some(Box::new(open(self.kv)))
    }

    fn open_second(&self) -> Option<LogError> {
        None // a log across a network may have two owners: the later epoch wins
    }

    fn rejected(&self, shard: ShardId, epoch: Epoch) -> Option<ShardBatch> {
        // Another owner takes the next place.
        let place = (1..).find(|number| {
            let key = format!("log/{shard}/{number}");
            loop {
                match call(&*self.kv, Request::Read { key: key.clone() }) {
                    Answer::Missing => return true,
                    Answer::Value(_) => return false,
                    _ => {}
                }
            }
        })?;
        let key = format!("log/{shard}/{place}");
        let empty = format!("ffff.{place:x}.{:x}.0.", epoch.0);
        while !matches!(
            call(&*self.kv, Request::Write { key: key.clone(), value: empty.clone() }),
            Answer::Done
        ) {}
        Some(wal_core::log::conformance::batch(shard, epoch, 7, 1, 10))
    }

    fn make_unknown(&self, shard: ShardId) -> bool {
        self.kv.silence(Some(format!("log/{shard}/")));
        true
    }
}

const NETWORK: Faults = Faults { lost: 20, answer_lost: 20, repeated: 20, late: 0 };

#[test]
fn the_log_keeps_every_clause() {
    run(&mut || Box::new(open(Arc::new(FaultyKv::new(1, Faults::default())))));
}

#[test]
fn the_log_keeps_every_clause_over_a_bad_network() {
    let mut seed = 100;
    run(&mut || {
        seed += 1;
        Box::new(open(Arc::new(FaultyKv::new(seed, NETWORK))))
    });
}

struct Stores {
    seed: u64,
    faults: Faults,
}

impl store_conformance::Subject for Stores {
    fn fresh(&mut self) -> Box<dyn TableStore> {
        self.seed += 1;
        let kv = Arc::new(FaultyKv::new(self.seed, self.faults));
        Box::new(LinKvStore::new(kv, Duration::from_secs(10)))
    }
}

#[test]
fn the_tables_keep_every_clause() {
    store_conformance::run(&mut Stores { seed: 0, faults: Faults::default() });
}

#[test]
fn the_tables_keep_every_clause_over_a_bad_network() {
    let faults = Faults { lost: 1, answer_lost: 1, repeated: 20, late: 1 };
    store_conformance::run(&mut Stores { seed: 50, faults });
}
