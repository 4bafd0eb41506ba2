//! The Kafka target against the client library's own imitation of brokers, which fails as it is told to.
#![cfg(feature = "kafka")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use bytes::Bytes;
use delivery::target::{KafkaOptions, KafkaTarget, Target};
use delivery::{Answer, ErrorClass, Failure, Name, Outgoing};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use wal_core::message::Message;
use wal_core::{Millis, ShardId, Timestamp, TxnId};

const AWAY: ErrorClass = ErrorClass::Overloaded { retry_after_us: None };
/// Nothing takes this long, on any machine.
const PATIENCE: Duration = Duration::from_secs(60);
const TOPIC: &str = "orders";
static NEXT: AtomicU16 = AtomicU16::new(0);

type Mock = MockCluster<'static, DefaultProducerContext>;

/// Brokers with a topic of so many partitions, each led by another broker.
fn brokers(count: i32) -> Mock {
    let mock = Mock::new(count).expect("brokers");
    mock.create_topic(TOPIC, count, 1).expect("a topic");
    for partition in 0..count {
        mock.partition_leader(TOPIC, partition, Some(partition + 1)).expect("a partition");
    }
    mock
}

fn target(mock: &Mock) -> KafkaTarget {
    let options = KafkaOptions {
        timeout: Duration::from_secs(4),
        ..KafkaOptions::new(mock.bootstrap_servers(), TOPIC)
    };
    KafkaTarget::new(options).expect("a target")
}

async fn send(target: &KafkaTarget, key: Option<&'static str>) -> Answer {
    let index = NEXT.fetch_add(1, Ordering::Relaxed);
    let key = key.map(|key| Bytes::from_static(key.as_bytes()));
    let outgoing = Outgoing {
        namespace: "bank".into(),
        shard: ShardId(3),
        name: Name { id: TxnId::from_parts(Millis(1_700_000_000_000), 1), index },
        timestamp: Timestamp(1_700_000_000_123_456),
        message: Arc::new(Message { key, ..Message::default() }),
    };
    let sending = target.send(outgoing);
    let answer = tokio::time::timeout(PATIENCE, sending).await.expect("an answer");
    if let Answer::Failed(Failure { class, text }) = &answer {
        println!("{class:?}: {text}");
    }
    answer
}

fn class(answer: Answer) -> Option<ErrorClass> {
    match answer {
        Answer::Delivered => None,
        Answer::Failed(failure) => Some(failure.class),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_that_failed_for_good_is_made_anew() {
    let mock = brokers(1);
    let refused = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED];
    mock.request_errors(RDKafkaApiKey::InitProducerId, &refused);
    let target = target(&mock);
    assert_eq!(class(send(&target, None).await), Some(AWAY), "it may not write");
    assert_eq!(send(&target, None).await, Answer::Delivered, "now it may");
}

#[tokio::test(flavor = "multi_thread")]
async fn too_few_replicas_are_the_whole_targets_affair() {
    let mock = brokers(1);
    let target = target(&mock);
    assert_eq!(send(&target, None).await, Answer::Delivered);
    let too_few = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS; 1_000];
    mock.request_errors(RDKafkaApiKey::Produce, &too_few);
    assert_eq!(class(send(&target, None).await), Some(AWAY));
    mock.clear_request_errors(RDKafkaApiKey::Produce);
    assert_eq!(send(&target, None).await, Answer::Delivered);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_is_away_alone_overloads_nobody() {
    // `abc` goes to partition 1 of 2, and `21` to partition 0.
    let (there, away) = ("21", "abc");
    let mock = brokers(2);
    let target = target(&mock);
    for key in [there, away] {
        assert_eq!(send(&target, Some(key)).await, Answer::Delivered);
    }
    mock.broker_down(2).expect("a broker");
    let others = async {
        for _ in 0..5 {
            assert_eq!(send(&target, Some(there)).await, Answer::Delivered);
        }
    };
    let (answer, ()) = tokio::join!(send(&target, Some(away)), others);
    assert_eq!(class(answer), Some(ErrorClass::Transient));
    mock.broker_up(2).expect("a broker");
    while send(&target, Some(away)).await != Answer::Delivered {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_believed_only_of_a_record_alone() {
    let mock = brokers(1);
    let target = target(&mock);
    for refusal in [
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP,
    ] {
        mock.request_errors(RDKafkaApiKey::Produce, &[refusal]);
        assert_eq!(send(&target, None).await, Answer::Delivered, "it was another's fault");
        mock.request_errors(RDKafkaApiKey::Produce, &[refusal, refusal]);
        assert_eq!(class(send(&target, None).await), Some(ErrorClass::Permanent));
        assert_eq!(send(&target, None).await, Answer::Delivered);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_dropped_leaves_nobody_waiting() {
    let mock = brokers(1);
    mock.broker_down(1).expect("a broker");
    let target = target(&mock);
    let sending = send(&target, None);
    // Under way, and then dropped with the target.
    let begun = tokio::time::timeout(Duration::from_millis(100), sending).await;
    assert!(begun.is_err(), "nobody is there");
    drop(target);
}
