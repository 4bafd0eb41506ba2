//! The log in Kafka keeps every clause, on one broker and on three.

use std::rc::Rc;
use std::sync::MutexGuard;
use std::time::Duration;

use handfast_kafka_tests::{brokers, fidelity, raw};
use handfast_stack::{Server, Stack};
use wal_core::limits::MAX_RECORD_BYTES;
use wal_core::log::conformance::{self, Subject};
use wal_core::log::kafka::{Identity, KafkaLog, KafkaOptions};
use wal_core::log::{IntentLog, LogError, ShardBatch};
use wal_core::{Epoch, ShardId};

const SHARDS: u16 = 3;

struct Kafka {
    log: KafkaLog,
    options: KafkaOptions,
    stack: Rc<Stack>,
}

impl Kafka {
    fn boxed(stack: Rc<Stack>, options: KafkaOptions) -> Box<dyn Subject> {
        Box::new(Self { log: brokers::open(&options), options, stack })
    }
}

impl Subject for Kafka {
    fn log(&self) -> &dyn IntentLog {
        &self.log
    }

    fn reopen(self: Box<Self>) -> Option<Box<dyn Subject>> {
        let identity = Identity::Known(self.log.identity());
        let options = KafkaOptions { identity, ..self.options.clone() };
        let stack = Rc::clone(&self.stack);
        drop(self);
        Some(Self::boxed(stack, options))
    }

    fn open_second(&self) -> Option<LogError> {
        None
    }

    fn rejected(&self, shard: ShardId, epoch: Epoch) -> Option<ShardBatch> {
        Some(conformance::batch(shard, epoch, 1, 1, MAX_RECORD_BYTES))
    }

    fn make_unknown(&self, shard: ShardId) -> bool {
        let partition = i32::from(shard.0);
        let leader = raw::leader(&self.options.kafka.brokers, &self.options.kafka.topic, partition);
        let index = usize::try_from(leader.expect("a leader") - 1).expect("brokers count from 1");
        self.stack.pause(Server::Kafka(index)).expect("a broker that runs");
        true
    }

    fn third_shard(&self) -> ShardId {
        ShardId(SHARDS - 1)
    }
}

/// Every clause on brokers of its own, which are left running.
fn run_on(brokers: usize) -> (Rc<Stack>, MutexGuard<'static, ()>) {
    let (stack, guard) = brokers::alone(brokers);
    let stack = Rc::new(stack);
    conformance::run(&mut || {
        for index in 0..brokers {
            stack.resume(Server::Kafka(index)).expect("a broker that runs");
        }
        let options = brokers::options(&stack, &brokers::topic("clauses"), SHARDS);
        let options = KafkaOptions { append_timeout: Duration::from_secs(4), ..options };
        Kafka::boxed(Rc::clone(&stack), options)
    });
    (stack, guard)
}

#[test]
fn one_broker_keeps_every_clause() {
    drop(run_on(1));
}

#[test]
fn three_brokers_keep_every_clause_and_answer_as_the_model_does() {
    let (stack, _guard) = run_on(3);
    (0..3).for_each(|index| stack.resume(Server::Kafka(index)).expect("a broker that runs"));
    fidelity::play(&stack);
}
