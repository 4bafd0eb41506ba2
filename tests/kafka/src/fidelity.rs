//! Real brokers give the same answers to the same scripts as the model of the log does.

use std::cell::Cell;
use std::time::{Duration, Instant};

use handfast_fidelity::log::{Engine, Owners, SHARDS, random, scripts};
use handfast_fidelity::script::{check, record};
use handfast_fidelity::seed;
use handfast_sim::fidelity::ModelBroker;
use handfast_stack::Stack;
use wal_core::log::kafka::KafkaOptions;
use wal_core::log::{IntentLog, ShardBatch};

use crate::{brokers, raw};

/// Shards of the one topic: every script has some of its own.
const ALL_SHARDS: u16 = 120;
/// How long scripts are drawn.
const DRAWING: Duration = Duration::from_secs(30);
/// Fewer than any machine plays in that time.
const LEAST_DRAWN: u16 = 3;

struct Brokers {
    options: KafkaOptions,
    /// Somebody who is no log: what it sends lands as it is.
    raw: raw::Sender,
    /// Whether what does not count is looked at: of batches that a deposed owner has on their way at once, some
    /// land and some are not sent any more, as it happens.
    shows_junk: Cell<bool>,
}

impl Engine for Brokers {
    fn open(&self) -> Box<dyn IntentLog> {
        Box::new(brokers::open(&self.options))
    }

    fn land(&self, batch: &ShardBatch) {
        let partition = i32::from(batch.shard.0);
        batch
            .records()
            .for_each(|record| self.raw.send(&self.options.kafka.topic, partition, &record));
    }

    fn keeps_junk(&self) -> bool {
        self.shows_junk.get()
    }
}

struct Model(ModelBroker);

impl Engine for Model {
    fn open(&self) -> Box<dyn IntentLog> {
        Box::new(self.0.open())
    }

    fn land(&self, batch: &ShardBatch) {
        self.0.land(batch);
    }
}

/// Plays what is written down, and then what is drawn for a while.
///
/// # Panics
/// If an answer is another than the model's.
pub fn play(stack: &Stack) {
    let options = brokers::options(stack, &brokers::topic("fidelity"), ALL_SHARDS);
    let raw = raw::Sender::new(&options.kafka.brokers);
    let engine = Brokers { options, raw, shows_junk: Cell::new(true) };
    let mut handles: Vec<_> = (0..3).map(|_| engine.open()).collect();
    let mut next = 0;
    let mut on_brokers = |script: &_| {
        let mut owners = Owners::with(&engine, next, std::mem::take(&mut handles));
        next += SHARDS;
        check("Kafka", script, &mut owners);
        handles = owners.into_handles();
    };
    let begun = Instant::now();
    let scripts = scripts();
    scripts.iter().for_each(&mut on_brokers);
    let written = begun.elapsed();

    engine.shows_junk.set(false);
    let first = seed("brokers_answer_as_the_model_does");
    let (begun, mut drawn) = (Instant::now(), 0);
    let most = ALL_SHARDS / SHARDS - u16::try_from(scripts.len()).expect("few scripts");
    while begun.elapsed() < DRAWING && drawn < most {
        let model = Model(ModelBroker::new(SHARDS));
        let steps = random(first.wrapping_add(u64::from(drawn)));
        let name = format!("seed {first}, script {drawn}");
        on_brokers(&record(name, steps, &mut Owners::new(&model, 0)));
        drawn += 1;
    }
    println!(
        "{} scripts in {written:?}, {drawn} that were drawn in {:?}",
        scripts.len(),
        begun.elapsed()
    );
    assert!(drawn >= LEAST_DRAWN, "only {drawn} scripts in {DRAWING:?}");
}
