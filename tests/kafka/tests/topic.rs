//! The topic under the log: what is refused, what is lost, what is trimmed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use handfast_kafka_tests::owner::{Owner, counted};
use handfast_kafka_tests::{brokers, raw};
use wal_core::log::conformance::{append, append_durable, batch, replay};
use wal_core::log::kafka::{FileHints, HintStore, Identity, KafkaLog, KafkaOptions, MemoryHints};
use wal_core::log::{Appended, IntentLog, LogError};
use wal_core::{Epoch, Nonce, Position, ShardId};

const SHARD: ShardId = ShardId(0);

/// What every topic of the log says; `max.message.bytes` is larger than any record.
const SAFE: [(&str, &str); 6] = [
    ("cleanup.policy", "delete"),
    ("retention.ms", "-1"),
    ("retention.bytes", "-1"),
    ("unclean.leader.election.enable", "false"),
    ("message.timestamp.type", "LogAppendTime"),
    ("max.message.bytes", "20000000"),
];

#[test]
fn a_topic_that_could_lose_records_is_refused_with_the_fix() {
    let stack = brokers::shared();
    let dangerous = [
        ("cleanup.policy", "compact"),
        ("cleanup.policy", "compact,delete"),
        ("retention.ms", "604800000"),
        ("retention.bytes", "1000000000"),
        ("unclean.leader.election.enable", "true"),
        ("message.timestamp.type", "CreateTime"),
        ("max.message.bytes", "1048588"),
    ];
    for (name, value) in dangerous {
        let topic = brokers::topic("dangerous");
        let mut settings = SAFE.to_vec();
        let setting = settings.iter_mut().find(|(of, _)| *of == name).expect("a known setting");
        let right = std::mem::replace(&mut setting.1, value);
        raw::create_topic(&stack.kafka_bootstrap(), &topic, 2, &settings);
        let refused = brokers::refusal(&brokers::options(&stack, &topic, 2));
        let LogError::Unsafe { log, problems } = &refused else { panic!("{refused}") };
        assert_eq!(*log, topic);
        let told = format!("{name} is {value:?}");
        assert!(problems.contains(&told), "{problems}");
        assert_eq!(problems.matches(" is \"").count(), 1, "only that is wrong: {problems}");
        let fix = format!("--add-config {name}=");
        assert!(problems.contains(&fix), "{problems}");
        if name != "max.message.bytes" {
            assert!(problems.contains(&format!("{fix}{right}")), "{problems}");
        }
        let (low, high) = raw::limits(&stack.kafka_bootstrap(), &topic, 0);
        assert_eq!((low, high), (0, 0), "nothing was written");
    }
}

#[test]
fn too_few_copies_are_refused_but_for_development() {
    let stack = brokers::shared();
    let topic = brokers::topic("copies");
    raw::create_topic(&stack.kafka_bootstrap(), &topic, 2, &SAFE);
    let mut options = brokers::options(&stack, &topic, 2);
    drop(brokers::open(&options));
    options.kafka.development = false;
    let refused = brokers::refusal(&options).to_string();
    assert!(refused.contains("a partition has 1 copies, 3 are needed"), "{refused}");
    assert!(refused.contains("min.insync.replicas is \"1\""), "{refused}");
    assert!(refused.contains("log.development = true"), "{refused}");
    // A new topic cannot even be made with three copies on one broker.
    options.kafka.topic = brokers::topic("copies");
    options.kafka.replication = 3;
    let refused = brokers::refusal(&options).to_string();
    assert!(refused.contains("fewer than 3 brokers run"), "{refused}");
}

#[test]
fn a_topic_of_another_size_or_with_other_content_is_refused() {
    let stack = brokers::shared();
    let options = brokers::options(&stack, &brokers::topic("size"), 4);
    drop(brokers::open(&options));
    let more = KafkaOptions { shards: 5, ..options.clone() };
    let refused = brokers::refusal(&more).to_string();
    assert!(refused.contains("it has 4 partitions, the namespace 5 shards"), "{refused}");
    let topic = brokers::topic("foreign");
    raw::create_topic(&stack.kafka_bootstrap(), &topic, 1, &SAFE);
    raw::produce(&stack.kafka_bootstrap(), &topic, 0, b"somebody else's");
    let refused = brokers::refusal(&brokers::options(&stack, &topic, 1)).to_string();
    assert!(refused.contains("messages that are not Handfast's"), "{refused}");
}

#[test]
fn two_deployments_do_not_share_a_topic() {
    let stack = brokers::shared();
    let options = brokers::options(&stack, &brokers::topic("shared"), 1);
    let mine = KafkaOptions { identity: Identity::Begun(Nonce(11)), ..options.clone() };
    let log = brokers::open(&mine);
    assert_eq!(log.identity(), Nonce(11));
    assert_eq!(brokers::open(&mine).identity(), Nonce(11), "it may begin twice");
    assert_eq!(brokers::open(&options).identity(), Nonce(11), "the topic says so");
    let theirs = KafkaOptions { identity: Identity::Begun(Nonce(12)), ..options.clone() };
    let refused = brokers::refusal(&theirs).to_string();
    assert!(refused.contains("another deployment or namespace"), "{refused}");
    let (other, both) = std::thread::scope(|scope| {
        let options = brokers::options(&stack, &brokers::topic("race"), 1);
        let first = scope.spawn({
            let options = options.clone();
            move || brokers::open(&options).identity()
        });
        (brokers::open(&options).identity(), first.join().expect("it opens"))
    });
    assert_eq!(other, both, "of two that begin at once, the first in the topic counts");
}

#[test]
fn a_wrong_address_is_named_with_what_was_tried() {
    let stack = brokers::shared();
    for (brokers, what) in [
        (
            "127.0.0.1:1",
            "127.0.0.1:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused",
        ),
        ("no-such-host.invalid:9092", "Failed to resolve 'no-such-host.invalid:9092'"),
    ] {
        let mut options = brokers::options(&stack, "anything", 1);
        options.kafka.brokers = brokers.into();
        options.read_timeout = Duration::from_secs(5);
        let begun = Instant::now();
        let refused = brokers::refusal(&options);
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
        assert!(matches!(refused, LogError::Unreachable { .. }), "{refused}");
        let told = refused.to_string();
        assert!(told.contains(&format!("cannot reach Kafka at {brokers}")), "{told}");
        assert!(told.contains(what), "{told}");
    }
}

#[test]
fn client_settings_pass_through_but_for_those_that_make_it_safe() {
    let stack = brokers::shared();
    let topic = brokers::topic("settings");
    let with = |name: &str, value: &str| {
        let mut options = brokers::options(&stack, &topic, 1);
        options.kafka.client.insert(name.into(), value.into());
        options.read_timeout = Duration::from_secs(3);
        options
    };
    for name in ["acks", "enable.idempotence", "auto.offset.reset", "max.in.flight", "linger.ms"] {
        let refused = brokers::refusal(&with(name, "1")).to_string();
        assert!(refused.contains(name) && refused.contains("leave it out"), "{refused}");
    }
    let refused = brokers::refusal(&with("securty.protocol", "ssl")).to_string();
    assert!(refused.contains("securty.protocol"), "{refused}");
    // The client tries TLS, and this broker speaks none.
    let refused = brokers::refusal(&with("security.protocol", "ssl")).to_string();
    println!("{refused}");
    assert!(refused.contains("SSL") || refused.contains("ssl"), "{refused}");
    for codec in ["zstd", "gzip", "lz4", "snappy"] {
        let log = brokers::open(&with("compression.type", codec));
        let mut owner = Owner::stand(&log, SHARD).expect("nobody else stands");
        let answer = owner.append(&log, &[1]);
        assert!(matches!(answer, Appended::Durable { .. }), "{codec}: {answer:?}");
    }
}

#[test]
fn a_topic_deleted_and_made_anew_is_another_log() {
    let stack = brokers::shared();
    let brokers = stack.kafka_bootstrap();
    let options = brokers::options(&stack, &brokers::topic("anew"), 1);
    let options = KafkaOptions {
        append_timeout: Duration::from_secs(5),
        read_timeout: Duration::from_secs(5),
        ..options
    };
    let log = brokers::open(&options);
    let identity = log.identity();
    let mut owner = Owner::stand(&log, SHARD).expect("nobody else stands");
    for number in 1..=20 {
        assert!(matches!(owner.append(&log, &[number]), Appended::Durable { .. }));
    }
    let (_, positions) = replay(&log, &[(SHARD, Position(0))]).expect("a readable log");
    let at = positions[&SHARD];
    raw::delete_topic(&brokers, &options.kafka.topic);
    let known = brokers::knowing(&options, identity);
    let gone = brokers::refusal(&known);
    assert!(matches!(gone, LogError::Lost { .. }), "{gone}");
    println!("{gone}");
    assert!(gone.to_string().contains("recover --new-log"), "{gone}");
    // Somebody makes it anew, and another server begins a log in it.
    raw::create_topic(&brokers, &options.kafka.topic, 1, &SAFE);
    let empty = brokers::refusal(&known);
    assert!(matches!(empty, LogError::Lost { .. }), "{empty}");
    let newer = brokers::open(&options);
    let another = brokers::refusal(&known);
    assert!(another.to_string().contains("was deleted and made anew"), "{another}");
    // Whoever owns the shard still is told nothing false, and stops for good.
    let answer = owner.append(&log, &[21]);
    println!("{answer:?}");
    assert!(!matches!(answer, Appended::Durable { .. }), "{answer:?}");
    let reading = replay(&log, &[(SHARD, at)]).expect_err("the records are gone");
    println!("{reading}");
    assert!(matches!(reading, LogError::Lost { .. }), "{reading}");
    assert!(log.lost().is_some(), "it stopped for good");
    let standing = append(&log, vec![batch(SHARD, Epoch(9), 0, 1, 10)]);
    assert!(matches!(standing[..], [Appended::Rejected { .. }]), "{standing:?}");
    let mut other = Owner::stand(&newer, SHARD).expect("the new log is one");
    assert!(matches!(other.append(&newer, &[1]), Appended::Durable { .. }));
}

#[test]
fn an_owner_whose_topic_is_made_anew_between_two_appends_stops_for_good() {
    let stack = brokers::shared();
    let brokers = stack.kafka_bootstrap();
    let options = brokers::options(&stack, &brokers::topic("behind"), 1);
    let options = KafkaOptions { append_timeout: Duration::from_secs(8), ..options };
    let log = brokers::open(&options);
    let mut owner = Owner::stand(&log, SHARD).expect("nobody else stands");
    assert!(matches!(owner.append(&log, &[1, 2, 3]), Appended::Durable { .. }));
    raw::delete_topic(&brokers, &options.kafka.topic);
    raw::create_topic(&brokers, &options.kafka.topic, 1, &SAFE);
    let answer = owner.append(&log, &[4]);
    let Appended::Unknown { why } = &answer else { panic!("{answer:?}") };
    println!("{why}");
    let reading = replay(&log, &[(SHARD, Position(0))]).expect_err("the records are gone");
    assert!(matches!(reading, LogError::Lost { .. }), "{reading}");
    let later = append(&log, vec![batch(SHARD, Epoch(2), 0, 1, 10)]);
    assert!(matches!(later[..], [Appended::Rejected { .. }]), "{later:?}");
}

#[test]
fn trimming_deletes_records_and_nothing_else() {
    let stack = brokers::shared();
    let options = brokers::options(&stack, &brokers::topic("trim"), 2);
    let log = brokers::open(&options);
    let identity = log.identity();
    let mut owner = Owner::stand(&log, SHARD).expect("nobody else stands");
    for number in 1..=100 {
        assert!(matches!(owner.append(&log, &[number]), Appended::Durable { .. }));
    }
    let at = counted(&log, SHARD).0[50].position;
    let size = log.size_bytes();
    log.trim(SHARD, at).expect("a trim");
    assert!(log.size_bytes() < size, "{} of {size}", log.size_bytes());
    let (low, _) = raw::limits(&options.kafka.brokers, &options.kafka.topic, 0);
    assert_eq!(Ok(low), i64::try_from(at.0), "the broker deleted them");
    let before = replay(&log, &[(SHARD, Position(at.0 - 1))]);
    assert!(matches!(before, Err(LogError::Trimmed { .. })), "{before:?}");
    let (left, _) = replay(&log, &[(SHARD, Position(0))]).expect("a readable log");
    assert_eq!(left.len(), 51);
    log.trim(SHARD, Position(u64::MAX)).expect("a trim of everything");
    let (left, next) = replay(&log, &[(SHARD, Position(0))]).expect("a readable log");
    assert!(left.is_empty() && next[&SHARD] > at);
    // The identity was trimmed with the rest; it was written down, and the next epoch's record has it.
    assert!(matches!(owner.append(&log, &[101]), Appended::Durable { .. }), "it leads still");
    assert_eq!(brokers::open(&brokers::knowing(&options, identity)).identity(), identity);
    let unknown = brokers::refusal(&options).to_string();
    assert!(unknown.contains("names no identity"), "{unknown}");
}

#[test]
fn hints_shorten_a_replay_and_a_lost_one_does_not_matter() {
    let stack = brokers::shared();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("hints");
    let hints = || -> Arc<dyn HintStore> { Arc::new(FileHints::open(&path).expect("hints")) };
    let options = brokers::options(&stack, &brokers::topic("hints"), 2);
    let log = brokers::open(&KafkaOptions { hints: hints(), ..options.clone() });
    let options = brokers::knowing(&options, log.identity());
    let at = append_durable(&log, batch(SHARD, Epoch(1), 0, 3, 10));
    let later = append_durable(&log, batch(SHARD, Epoch(1), 3, 3, 10));
    log.store_hint(SHARD, later).expect("a hint");
    log.store_hint(SHARD, at).expect("an older hint");
    drop(log);
    let log = brokers::open(&KafkaOptions { hints: hints(), ..options.clone() });
    assert_eq!(log.hint(SHARD).expect("a hint"), Some(later), "the greatest, kept over a restart");
    assert_eq!(log.hint(ShardId(1)).expect("none"), None);
    // One that was trimmed away is not given: the replay that it should shorten would fail.
    log.trim(SHARD, Position(later.0 + 1)).expect("a trim");
    assert_eq!(log.hint(SHARD).expect("none"), None);
    drop(log);
    // One beyond the end shows that the log was cut.
    let beyond: Arc<dyn HintStore> = Arc::new(MemoryHints::default());
    beyond.store(SHARD, Position(1_000)).expect("a hint");
    let read_timeout = Duration::from_secs(2);
    let refused = KafkaLog::open(KafkaOptions { hints: beyond, read_timeout, ..options });
    let refused = refused.err().expect("the log is shorter than it was");
    assert!(matches!(refused, LogError::Lost { .. }), "{refused}");
}
