//! Brokers that die, pause and elect, under load.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use handfast_kafka_tests::owner::{Owner, answer, numbers, submit};
use handfast_kafka_tests::{brokers, raw, seed};
use handfast_stack::{Server, Stack};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use wal_core::ShardId;
use wal_core::log::kafka::{KafkaLog, KafkaOptions};
use wal_core::log::{Appended, IntentLog};

const IN_FLIGHT: usize = 32;

/// Appends to every shard as a server would: a doubt ends the epoch, and the next one goes on.
struct Load<'a> {
    log: &'a KafkaLog,
    shards: Vec<Shard>,
    next: u32,
    doubts: u64,
    longest: Duration,
}

struct Shard {
    shard: ShardId,
    owner: Option<Owner>,
    waiting: VecDeque<(u32, std::sync::mpsc::Receiver<Appended>)>,
    told: Vec<u32>,
    last_told: Instant,
}

impl<'a> Load<'a> {
    fn new(log: &'a KafkaLog, shards: u16) -> Self {
        let shard = |shard| Shard {
            shard: ShardId(shard),
            owner: None,
            waiting: VecDeque::new(),
            told: Vec::new(),
            last_told: Instant::now(),
        };
        let shards = (0..shards).map(shard).collect();
        Self { log, shards, next: 1, doubts: 0, longest: Duration::ZERO }
    }

    fn run(&mut self, lasts: Duration) {
        let end = Instant::now() + lasts;
        while Instant::now() < end {
            self.step();
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn step(&mut self) {
        for shard in &mut self.shards {
            if shard.owner.is_none() {
                shard.owner = Owner::stand(self.log, shard.shard).ok();
            }
            let Some(owner) = &mut shard.owner else { continue };
            while shard.waiting.len() < IN_FLIGHT {
                let batch = owner.records(&[self.next]);
                shard.waiting.push_back((self.next, submit(self.log, batch)));
                self.next += 1;
            }
            while let Some((number, receive)) = shard.waiting.front() {
                match receive.try_recv() {
                    Ok(Appended::Durable { .. }) => shard.told.push(*number),
                    Ok(Appended::Unknown { .. } | Appended::Rejected { .. }) => {
                        self.doubts += 1;
                        shard.owner = None;
                        shard.waiting.clear();
                        break;
                    }
                    Err(_) => break,
                }
                self.longest = self.longest.max(shard.last_told.elapsed());
                shard.last_told = Instant::now();
                shard.waiting.pop_front();
            }
        }
    }

    /// Goes on until every shard was told of something new.
    fn until_all_serve(&mut self, patience: Duration) {
        let begun = Instant::now();
        let before: Vec<usize> = self.shards.iter().map(|shard| shard.told.len()).collect();
        while self.shards.iter().zip(&before).any(|(shard, before)| shard.told.len() == *before) {
            assert!(begun.elapsed() < patience, "every shard serves again within {patience:?}");
            self.step();
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// What anybody was told is durable counts, in order.
    fn check(&mut self) {
        for shard in &mut self.shards {
            for (number, receive) in shard.waiting.drain(..) {
                if matches!(answer(&receive), Appended::Durable { .. }) {
                    shard.told.push(number);
                }
            }
            let counted = numbers(self.log, shard.shard);
            let mut left = counted.iter();
            for number in &shard.told {
                let found = left.any(|counted| counted == number);
                assert!(
                    found,
                    "{number} of shard {} was told durable: lost or out of order",
                    shard.shard
                );
            }
        }
        let told: usize = self.shards.iter().map(|shard| shard.told.len()).sum();
        println!(
            "{told} records told durable, {} batches in doubt, longest silence {:?}",
            self.doubts, self.longest
        );
        assert!(told > 100, "the test must test something");
    }
}

/// The broker that leads a shard, waited for.
fn leader_of(stack: &Stack, topic: &str, shard: ShardId) -> Server {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(leader) = raw::leader(&stack.kafka_bootstrap(), topic, i32::from(shard.0)) {
            return Server::Kafka(usize::try_from(leader - 1).expect("brokers count from 1"));
        }
        assert!(Instant::now() < end, "no broker leads shard {shard}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn brokers_killed_under_load_lose_nothing_that_was_told() {
    const SHARDS: u16 = 4;
    let mut random =
        StdRng::seed_from_u64(seed("brokers_killed_under_load_lose_nothing_that_was_told"));
    let (stack, _guard) = brokers::alone(3);
    let options = brokers::options(&stack, &brokers::topic("killed"), SHARDS);
    let log = brokers::open(&options);
    let mut load = Load::new(&log, SHARDS);
    load.run(Duration::from_secs(2));
    for round in 0..2 {
        // The leader of a shard, drawn: another is elected meanwhile.
        let shard = ShardId(random.random_range(0..SHARDS));
        let victim = leader_of(&stack, &options.kafka.topic, shard);
        let begun = Instant::now();
        stack.kill9(victim).expect("killed");
        while leader_of(&stack, &options.kafka.topic, shard) == victim {
            assert!(begun.elapsed() < Duration::from_secs(60), "another is elected");
            load.run(Duration::from_millis(50));
        }
        let elected = begun.elapsed();
        load.until_all_serve(Duration::from_secs(60));
        println!(
            "round {round}: {victim:?} killed, another elected after {elected:?}, all shards served \
             again after {:?}",
            begun.elapsed()
        );
        load.run(Duration::from_millis(random.random_range(500..2_000)));
        std::thread::scope(|scope| {
            let restarting = scope.spawn(|| stack.restart(victim).expect("back"));
            while !restarting.is_finished() {
                load.step();
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        load.run(Duration::from_secs(2));
    }
    load.check();
    println!("{:?}", log.stats());
}

#[test]
fn a_broker_that_hangs_is_a_doubt_and_the_next_epoch_finds_the_truth() {
    const APPEND_TIMEOUT: Duration = Duration::from_secs(3);
    let (stack, _guard) = brokers::alone(1);
    let options = brokers::options(&stack, &brokers::topic("hangs"), 1);
    let log = brokers::open(&KafkaOptions { append_timeout: APPEND_TIMEOUT, ..options });
    let shard = ShardId(0);
    let mut owner = Owner::stand(&log, shard).expect("nobody else stands");
    assert!(matches!(owner.append(&log, &[1, 2]), Appended::Durable { .. }));
    stack.pause(Server::Kafka(0)).expect("paused");
    let begun = Instant::now();
    let waiting: Vec<_> = (3..300).map(|number| submit(&log, owner.records(&[number]))).collect();
    let answers: Vec<Appended> = waiting.iter().map(answer).collect();
    let took = begun.elapsed();
    println!("in doubt after {took:?}");
    assert!(took >= APPEND_TIMEOUT && took < APPEND_TIMEOUT * 4, "{took:?}");
    assert!(answers.iter().all(|answer| !matches!(answer, Appended::Durable { .. })));
    assert!(matches!(answers[0], Appended::Unknown { .. }), "{:?}", answers[0]);
    // Groups: what was not handed over never will be in the log.
    let rejected = answers.iter().position(|it| matches!(it, Appended::Rejected { .. }));
    let rejected = rejected.expect("some were not handed over");
    assert!(answers[rejected..].iter().all(|it| matches!(it, Appended::Rejected { .. })));
    stack.resume(Server::Kafka(0)).expect("resumed");
    let mut next = Owner::stand(&log, shard).expect("nobody else stands");
    assert!(matches!(next.append(&log, &[1_000]), Appended::Durable { .. }));
    let counted = numbers(&log, shard);
    assert!(counted.starts_with(&[1, 2]) && counted.ends_with(&[1_000]), "{counted:?}");
    let landed = counted.len() - 3;
    assert!(landed <= rejected, "{landed} of {rejected} in doubt had landed: {counted:?}");
    println!("{landed} of {rejected} records in doubt had landed");
}

#[test]
fn two_of_three_brokers_down_is_a_doubt_and_one_is_not() {
    let (stack, _guard) = brokers::alone(3);
    let options = brokers::options(&stack, &brokers::topic("quorum"), 1);
    let append_timeout = Duration::from_secs(25);
    let log = brokers::open(&KafkaOptions { append_timeout, ..options.clone() });
    let shard = ShardId(0);
    let mut owner = Owner::stand(&log, shard).expect("nobody else stands");
    let leader = leader_of(&stack, &options.kafka.topic, shard);
    let others: Vec<Server> =
        (0..3).map(Server::Kafka).filter(|server| *server != leader).collect();
    stack.kill9(others[0]).expect("killed");
    let begun = Instant::now();
    let answer = owner.append(&log, &[1]);
    assert!(matches!(answer, Appended::Durable { .. }), "two of three have it: {answer:?}");
    println!("one follower down: durable after {:?}", begun.elapsed());
    stack.kill9(others[1]).expect("killed");
    let begun = Instant::now();
    let answer = owner.append(&log, &[2]);
    println!("two down: {answer:?} after {:?}", begun.elapsed());
    assert!(matches!(answer, Appended::Unknown { .. }), "one copy is not durable: {answer:?}");
    for server in others {
        println!("{server:?} is back after {:?}", stack.restart(server).expect("back"));
    }
    let end = Instant::now() + Duration::from_secs(60);
    let mut next = loop {
        match Owner::stand(&log, shard) {
            Ok(owner) => break owner,
            Err(why) => assert!(Instant::now() < end, "{why}"),
        }
    };
    assert!(matches!(next.append(&log, &[3]), Appended::Durable { .. }));
    let counted = numbers(&log, shard);
    assert!(counted == [1, 3] || counted == [1, 2, 3], "{counted:?}");
    assert!(log.size_bytes() > 0);
}
