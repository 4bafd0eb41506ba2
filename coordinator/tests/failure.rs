//! A server alone whose log fails serves no more; what it was working on is not left to wait for ever.

use std::sync::Arc;
use std::time::Duration;

use coordinator::api::{Call, CallAnswer, Level};
use coordinator::runtime::{Answers, Busy, Hold, Parts, Running, Stopped, SystemClock, start};
use crossbeam_channel::{Receiver, Sender};
use participant::engine::Leadership;
use participant::store::memory::MemoryStore;
use serde_json::json;
use wal_core::log::memory::{Fault, MemoryLog};
use wal_core::namespace::Namespace;
use wal_core::{Nonce, ShardId, TxnId};

const DEFINITION: &str = r#"
name = "bank"
shards = 8
[[table]]
cql = "CREATE TABLE accounts (id text PRIMARY KEY, balance bigint)"
"#;
/// Within which everything here must happen; that is much.
const PATIENCE: Duration = Duration::from_secs(30);

struct Sink(Sender<(u64, Option<CallAnswer>)>);

impl Answers for Sink {
    fn deliver(&self, answers: &mut Vec<(u64, Option<CallAnswer>)>) {
        for answer in answers.drain(..) {
            self.0.send(answer).expect("the test waits");
        }
    }
}

/// A namespace that is running, and everything that it answers.
struct World {
    namespace: Arc<Namespace>,
    log: MemoryLog,
    running: Running,
    sink: Arc<Sink>,
    answers: Receiver<(u64, Option<CallAnswer>)>,
}

impl World {
    fn new() -> Self {
        let namespace = Arc::new(Namespace::from_toml(DEFINITION).expect("a definition"));
        let log = MemoryLog::new(Nonce(7));
        let parts = Parts {
            namespace: namespace.clone(),
            log: Arc::new(log.clone()),
            store: Arc::new(MemoryStore::default()),
            clock: Arc::new(SystemClock::new()),
            leadership: Leadership::Exclusive,
            address: "alone".to_owned(),
            seed: 1,
            readers: 1,
            keep_log_for: Duration::ZERO,
            hold: Hold::Nothing,
        };
        let running = start(parts).expect("it starts");
        let (sender, answers) = crossbeam_channel::unbounded();
        Self { namespace, log, running, sink: Arc::new(Sink(sender)), answers }
    }

    /// A write to so many rows: the call, and the shards that have part in it.
    fn write(&self, rows: u32) -> (Call, Vec<ShardId>) {
        let put = |row| json!({"put": {"table": "accounts", "key": {"id": format!("{row}")}, "columns": {"balance": 1}}});
        let puts: Vec<_> = (0..rows).map(put).collect();
        let batch = wal_core::json::parse_batch(&self.namespace, &json!({"mutations": puts}));
        let id = TxnId(uuid::Uuid::now_v7().as_u128());
        let txn = wal_core::build::build(&self.namespace, id, &batch.expect("a batch").batch);
        let txn = txn.expect("a transaction");
        let shards = txn.participants().collect();
        (Call::Submit { txn: Arc::new(txn), level: Level::Committed }, shards)
    }

    fn hand_over(&self, calls: Vec<(Call, u64)>) -> Result<u64, Busy> {
        self.running.handle().call(calls, self.sink.clone())
    }

    fn answer(&self) -> (u64, Option<CallAnswer>) {
        self.answers.recv_timeout(PATIENCE).expect("every call has its answer")
    }
}

#[test]
fn whoever_waits_for_a_log_that_failed_is_told_that_nobody_answers() {
    let mut world = World::new();
    let (call, shards) = world.write(20);
    assert!(shards.len() > 2, "several shards have part in it");
    world.hand_over(vec![(call, 1)]).expect("it is taken");
    assert!(matches!(world.answer(), (1, Some(CallAnswer::Submit(_)))));

    // One shard's part of the next is in doubt; the others wait for it.
    world.log.plan(shards[1], Fault::UnknownLost);
    world.hand_over((2..5).map(|tag| (world.write(20).0, tag)).collect()).expect("they are taken");
    let mut told: Vec<_> = (2..5).map(|_| world.answer()).collect();
    told.sort_by_key(|(tag, _)| *tag);
    assert!(
        told.iter().map(|(tag, _)| *tag).eq(2..5) && told.iter().all(|(_, it)| it.is_none()),
        "{told:?}"
    );

    assert!(matches!(world.running.handle().stopped(), Some(Stopped::Failed(_))));
    let refused = world.hand_over(vec![(world.write(1).0, 6)]);
    assert!(matches!(refused, Err(Busy::Stopped(Stopped::Failed(_)))), "{refused:?}");

    // Nothing that is left can be brought to an end: there is nothing to be patient for.
    let (done, is_done) = crossbeam_channel::bounded(1);
    std::thread::spawn(move || {
        world.running.drain(PATIENCE * 100);
        done.send(world.answers.try_iter().count()).expect("the test waits");
    });
    assert_eq!(is_done.recv_timeout(PATIENCE), Ok(0), "nobody is answered twice");
}

#[test]
fn whoever_waits_for_a_namespace_that_is_closed_is_told_that_nobody_answers() {
    let world = World::new();
    world.log.hold_answers();
    world.hand_over(vec![(world.write(20).0, 1)]).expect("it is taken");
    assert!(world.answers.recv_timeout(Duration::from_millis(50)).is_err(), "the log holds it up");
    let World { running, answers, .. } = world;
    drop(running);
    assert_eq!(answers.recv_timeout(PATIENCE), Ok((1, None)));
}
