//! Brokers and logs on them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use handfast_stack::{Stack, StackSpec};
use wal_core::Nonce;
use wal_core::log::LogError;
use wal_core::log::kafka::{Identity, KafkaLog, KafkaOptions, MemoryHints};
use wal_core::namespace::KafkaSettings;

static SHARED: Mutex<Weak<Stack>> = Mutex::new(Weak::new());
static ALONE: Mutex<()> = Mutex::new(());

/// One broker, shared by the tests of this process that run at the same time. Nobody may hurt it.
pub fn shared() -> Arc<Stack> {
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(stack) = shared.upgrade() {
        return stack;
    }
    let stack = Arc::new(start(1));
    *shared = Arc::downgrade(&stack);
    stack
}

/// Brokers of a test's own, to be killed and paused. One such test runs at a time.
pub fn alone(brokers: usize) -> (Stack, MutexGuard<'static, ()>) {
    let guard = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    (start(brokers), guard)
}

fn start(brokers: usize) -> Stack {
    let spec = StackSpec { kafka: brokers, ..StackSpec::default() };
    Stack::start(&spec).expect("brokers that start")
}

/// A name that no other test uses.
pub fn topic(test: &str) -> String {
    format!("{test}-{:08x}", rand::random::<u32>())
}

/// Options for a log on these brokers, with tests' patience.
pub fn options(stack: &Stack, topic: &str, shards: u16) -> KafkaOptions {
    let brokers = stack.kafka_bootstrap();
    let few = !brokers.contains(',');
    let kafka = KafkaSettings {
        brokers,
        topic: topic.to_owned(),
        replication: if few { 1 } else { 3 },
        development: few,
        client: BTreeMap::new(),
    };
    KafkaOptions {
        read_timeout: Duration::from_secs(30),
        ..KafkaOptions::new(kafka, shards, Identity::Unknown, Arc::new(MemoryHints::default()))
    }
}

/// Opens a log that must open.
pub fn open(options: &KafkaOptions) -> KafkaLog {
    KafkaLog::open(options.clone()).expect("a log that opens")
}

/// Why a log does not open.
pub fn refusal(options: &KafkaOptions) -> LogError {
    match KafkaLog::open(options.clone()) {
        Ok(_) => panic!("it opened"),
        Err(error) => error,
    }
}

/// The same options, by somebody who knows the log.
pub fn knowing(options: &KafkaOptions, identity: Nonce) -> KafkaOptions {
    KafkaOptions { identity: Identity::Known(identity), ..options.clone() }
}
