//! Measures appends: `cargo run --release -p handfast-kafka-tests --example kafka_append [brokers] [seconds]`.
//!
//! Starts 1 or 3 brokers of its own, and in the same run compares the client library alone (`acks=all`, an
//! idempotent producer, one record of 256 bytes a message) with the log, for 1 to 1024 appends in flight on 1
//! and 16 shards. Prints appends per second, percentiles, and the ratio of the two.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use handfast_kafka_tests::brokers;
use handfast_stack::{Jit, Stack, StackSpec};
use hdrhistogram::Histogram;
use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DeliveryResult, ProducerContext, ThreadedProducer};
use wal_core::log::conformance::{append, batch, replay};
use wal_core::log::kafka::{KafkaLog, KafkaOptions};
use wal_core::log::{Appended, IntentLog};
use wal_core::{Epoch, Position, ShardId};

const RECORD_BYTES: usize = 256;
const SHARDS: u16 = 16;

struct Measured {
    per_second: f64,
    times: Histogram<u64>,
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let brokers = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(3);
    let seconds = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(5);
    let spec = StackSpec { kafka: brokers, jit: Jit::Peak, ..StackSpec::default() };
    let stack = Stack::start(&spec).expect("brokers that start");
    let options = brokers::options(&stack, &brokers::topic("bench"), SHARDS);
    let log = brokers::open(&options);
    // A topic with the same settings for the library alone: the log has no other writer.
    let raw_options = brokers::options(&stack, &brokers::topic("raw"), SHARDS);
    drop(brokers::open(&raw_options));
    let lasts = Duration::from_secs(seconds);
    println!("{brokers} brokers, {seconds} s each, records of {RECORD_BYTES} bytes");
    let mut epoch = 0;
    print_epochs(&log, &mut epoch);
    for (shards, in_flight) in [(1, 1), (1, 64), (1, 1024), (16, 16), (16, 64), (16, 1024)] {
        // Each half twice, in turns, and the first turn not counted: everything is warm by then.
        let mut results = Vec::new();
        for turn in 0..2 {
            let time = if turn == 0 { lasts / 5 } else { lasts };
            epoch += 1;
            results.clear();
            results.push(raw(&raw_options, shards, in_flight, time));
            results.push(ours(&log, Epoch(epoch), shards, in_flight, time));
        }
        let [raw, ours] = &results[..] else { unreachable!("two were pushed") };
        println!(
            "{shards:>2} shards, {in_flight:>4} in flight: raw {}, log {}; {:.2} of raw",
            told(raw),
            told(ours),
            ours.per_second / raw.per_second
        );
    }
    let stats = log.stats();
    println!(
        "{} records in {} groups, {} read back",
        stats.records, stats.groups, stats.read_backs
    );
    print_replay(&log);
}

/// How long an epoch's first append takes: its producer is new.
fn print_epochs(log: &KafkaLog, epoch: &mut u64) {
    for shards in [1, SHARDS] {
        let mut times = Vec::new();
        for _ in 0..5 {
            *epoch += 1;
            let first = |shard| batch(ShardId(shard), Epoch(*epoch), 0, 1, RECORD_BYTES);
            let begun = Instant::now();
            let answers = append(log, (0..shards).map(first).collect());
            assert!(answers.iter().all(|it| matches!(it, Appended::Durable { .. })), "{answers:?}");
            times.push(begun.elapsed());
        }
        println!("first append of an epoch of {shards} shards: {times:.0?}");
    }
}

fn told(measured: &Measured) -> String {
    let at = |share: f64| measured.times.value_at_quantile(share) as f64 / 1e3;
    format!("{:.0}/s p50 {:.2} ms p99 {:.2} ms", measured.per_second, at(0.5), at(0.99))
}

/// Keeps `in_flight` appends in flight over some shards: `send` starts one, and `receive` waits for the shard
/// of one that is done.
fn measure(
    shards: u64,
    in_flight: u64,
    lasts: Duration,
    mut send: impl FnMut(u64, Instant),
    receive: &mpsc::Receiver<(u64, Instant)>,
) -> Measured {
    let mut times = Histogram::new_with_bounds(1, 60_000_000, 3).expect("bounds of a histogram");
    let begun = Instant::now();
    (0..in_flight).for_each(|number| send(number % shards, Instant::now()));
    for _ in 0..in_flight {
        loop {
            let (shard, sent) = receive.recv_timeout(Duration::from_secs(60)).expect("an answer");
            times.saturating_record(u64::try_from(sent.elapsed().as_micros()).unwrap_or(u64::MAX));
            if begun.elapsed() > lasts {
                break;
            }
            send(shard, Instant::now());
        }
    }
    Measured { per_second: times.len() as f64 / begun.elapsed().as_secs_f64(), times }
}

struct Taken(mpsc::Sender<(u64, Instant)>);

impl ClientContext for Taken {}

impl ProducerContext for Taken {
    type DeliveryOpaque = Box<(u64, Instant)>;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: Self::DeliveryOpaque) {
        let message = result.as_ref().expect("a record that is taken");
        assert!(message.offset() >= 0);
        self.0.send(*opaque).expect("somebody waits");
    }
}

/// The client library alone: one producer for all partitions, as programs use it.
fn raw(options: &KafkaOptions, shards: u64, in_flight: u64, lasts: Duration) -> Measured {
    let (to, receive) = mpsc::channel();
    let producer: ThreadedProducer<Taken> = ClientConfig::new()
        .set("bootstrap.servers", &options.kafka.brokers)
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("linger.ms", "0")
        .create_with_context(Taken(to))
        .expect("a producer");
    let payload = [7; RECORD_BYTES];
    let send = |shard: u64, sent: Instant| {
        let record: BaseRecord<'_, (), [u8], _> =
            BaseRecord::with_opaque_to(&options.kafka.topic, Box::new((shard, sent)));
        let partition = i32::try_from(shard).expect("few shards");
        let taken = producer.send(record.partition(partition).payload(&payload));
        assert!(taken.is_ok(), "the client's queue is large enough");
    };
    measure(shards, in_flight, lasts, send, &receive)
}

fn ours(log: &KafkaLog, epoch: Epoch, shards: u64, in_flight: u64, lasts: Duration) -> Measured {
    let (to, receive) = mpsc::channel();
    let mut sequences = [0; SHARDS as usize];
    let send = |shard: u64, sent: Instant| {
        let seq = &mut sequences[usize::try_from(shard).expect("few shards")];
        let next =
            batch(ShardId(u16::try_from(shard).expect("few shards")), epoch, *seq, 1, RECORD_BYTES);
        *seq += 1;
        let to = to.clone();
        let done = move |results: Vec<Appended>| {
            assert!(matches!(results[..], [Appended::Durable { .. }]), "{results:?}");
            to.send((shard, sent)).expect("somebody waits");
        };
        log.append(vec![next], Box::new(done));
    };
    measure(shards, in_flight, lasts, send, &receive)
}

fn print_replay(log: &KafkaLog) {
    let all: Vec<_> = (0..SHARDS).map(|shard| (ShardId(shard), Position(0))).collect();
    let begun = Instant::now();
    let (visited, next) = replay(log, &all).expect("a readable log");
    let took = begun.elapsed();
    println!(
        "replayed {} records of {SHARDS} shards in {took:.2?}: {:.0}/s; the log says that it has {} bytes",
        visited.len(),
        visited.len() as f64 / took.as_secs_f64(),
        log.size_bytes()
    );
    let next: Vec<_> = next.into_iter().collect();
    let begun = Instant::now();
    let (visited, _) = replay(log, &next).expect("a readable log");
    println!("replayed {} records more in {:.2?}", visited.len(), begun.elapsed());
    let end = next[0].1.0 - 1;
    for _ in 0..3 {
        let begun = Instant::now();
        let (visited, _) = replay(log, &[(ShardId(0), Position(end))]).expect("a readable log");
        println!("replayed {} record of one shard in {:.2?}", visited.len(), begun.elapsed());
    }
}
