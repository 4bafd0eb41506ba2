//! Measures the target: `cargo run --release -p handfast-kafka-tests --example kafka_deliver [brokers] [seconds]`.
//!
//! Starts 1 or 3 brokers of its own, and delivers messages of 300 bytes with keys to a topic of three partitions, so
//! many at a time. Prints deliveries per second, percentiles, and the processor time of this process for each.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use delivery::target::{KafkaOptions, KafkaTarget, Target};
use delivery::{Answer, Name, Outgoing};
use handfast_kafka_tests::raw;
use handfast_stack::{Jit, Stack, StackSpec};
use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use wal_core::message::Message;
use wal_core::{Millis, ShardId, Timestamp, TxnId};

const PAYLOAD_BYTES: usize = 300;
const TOPIC: &str = "deliveries";

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let brokers = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(3);
    let seconds = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(5);
    let spec = StackSpec { kafka: brokers, jit: Jit::Peak, ..StackSpec::default() };
    let starting = tokio::task::spawn_blocking(move || Stack::start(&spec));
    let stack = starting.await.expect("it ends").expect("brokers that start");
    let addresses = stack.kafka_bootstrap();
    let copies = i32::try_from(brokers).expect("a few");
    raw::create_copied_topic(&addresses, TOPIC, 3, copies, &[]);
    let target =
        Arc::new(KafkaTarget::new(KafkaOptions::new(&addresses, TOPIC)).expect("a target"));
    println!("{brokers} brokers, {seconds} s each, payloads of {PAYLOAD_BYTES} bytes");
    for in_flight in [1, 16, 64, 256] {
        // Once before, not counted: everything is warm by then.
        measure(&target, in_flight, Duration::from_secs(seconds) / 4).await;
        let before = processor_us();
        let (times, took) = measure(&target, in_flight, Duration::from_secs(seconds)).await;
        let spent = processor_us() - before;
        let at = |share: f64| times.value_at_quantile(share) as f64 / 1e3;
        println!(
            "{in_flight:>4} in flight: {:.0}/s, p50 {:.2} ms, p99 {:.2} ms, {:.0} µs of processor time each",
            times.len() as f64 / took.as_secs_f64(),
            at(0.5),
            at(0.99),
            spent as f64 / times.len() as f64,
        );
    }
}

/// So many senders, each with one message under way.
async fn measure(
    target: &Arc<KafkaTarget>,
    in_flight: u16,
    lasts: Duration,
) -> (Histogram<u64>, Duration) {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let empty = || Histogram::new_with_bounds(1, 60_000_000, 3).expect("bounds of a histogram");
    let begun = Instant::now();
    let mut senders: JoinSet<_> = (0..in_flight)
        .map(|number| {
            let target = Arc::clone(target);
            async move {
                let mut times = empty();
                while begun.elapsed() < lasts {
                    let message = Message {
                        key: Some(Bytes::copy_from_slice(&number.to_be_bytes())),
                        payload: Bytes::from_static(&[7; PAYLOAD_BYTES]),
                        ..Message::default()
                    };
                    let index = NEXT.fetch_add(1, Ordering::Relaxed);
                    let outgoing = Outgoing {
                        namespace: "bench".into(),
                        shard: ShardId(0),
                        name: Name { id: TxnId::from_parts(Millis(1_700_000_000_000), 1), index },
                        timestamp: Timestamp(1_700_000_000_123_456),
                        message: Arc::new(message),
                    };
                    let sent = Instant::now();
                    assert_eq!(target.send(outgoing).await, Answer::Delivered);
                    times.saturating_record(sent.elapsed().as_micros() as u64);
                }
                times
            }
        })
        .collect();
    let mut all = empty();
    while let Some(times) = senders.join_next().await {
        all += times.expect("a sender that ends");
    }
    (all, begun.elapsed())
}

/// Processor time of this process so far, microseconds.
fn processor_us() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields = stat.rsplit(") ").next().expect("fields behind the name").split(' ');
    let ticks: u64 = fields.skip(11).take(2).filter_map(|it| it.parse::<u64>().ok()).sum();
    ticks * 10_000 // of 10 ms
}
