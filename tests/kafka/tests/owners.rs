//! Several owners of one shard, on one real broker: what anybody was told counts, counts.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use handfast_kafka_tests::owner::{Owner, answer, counted, numbers, submit};
use handfast_kafka_tests::{brokers, seed};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rustix::process::{Pid, Signal, kill_process};
use wal_core::log::conformance::{append, batch};
use wal_core::log::kafka::{KafkaLog, KafkaOptions, MAX_DRIFT_MS};
use wal_core::log::{Appended, IntentLog};
use wal_core::{Epoch, ShardId};

const SHARD: ShardId = ShardId(0);

fn is_durable(answer: &Appended) -> bool {
    matches!(answer, Appended::Durable { .. })
}

#[test]
fn a_deposed_owner_is_told_so_and_its_late_records_do_not_count() {
    let stack = brokers::shared();
    let options = brokers::options(&stack, &brokers::topic("deposed"), 1);
    let (first, second) = (brokers::open(&options), brokers::open(&options));
    assert_eq!(first.identity(), second.identity(), "one log (clause 10)");
    let mut old = Owner::stand(&first, SHARD).expect("nobody else stands");
    assert!(is_durable(&old.append(&first, &[1, 2])));
    let mut new = Owner::stand(&second, SHARD).expect("nobody else stands");
    assert_eq!(new.epoch, old.epoch.next());
    // The old one does not know yet, and its record lands behind the new epoch's.
    let late = old.append(&first, &[3]);
    let Appended::Unknown { why } = &late else { panic!("{late:?}") };
    assert!(why.contains("epoch 2 began") && why.contains("deposed"), "{why}");
    let later = old.append(&first, &[4]);
    assert!(matches!(later, Appended::Rejected { .. }), "{later:?}");
    // The junk between its records takes nothing from the new one, and gives it a new base.
    assert!(is_durable(&new.append(&second, &[5])));
    assert!(is_durable(&new.append(&second, &[6, 7])));
    assert_eq!(second.stats().read_backs, 1, "once, for the one place where they differ");
    assert_eq!(numbers(&second, SHARD), [1, 2, 5, 6, 7]);
    assert_eq!(numbers(&first, SHARD), [1, 2, 5, 6, 7], "all readers agree");
}

#[test]
fn a_candidate_that_loses_reads_so() {
    let stack = brokers::shared();
    let options = brokers::options(&stack, &brokers::topic("candidates"), 1);
    let logs: Vec<KafkaLog> = (0..4).map(|_| brokers::open(&options)).collect();
    for round in 1..=3 {
        let stood: Vec<_> = std::thread::scope(|scope| {
            let standing: Vec<_> =
                logs.iter().map(|log| scope.spawn(|| Owner::stand(log, SHARD))).collect();
            standing.into_iter().map(|it| it.join().expect("it does not panic")).collect()
        });
        // Some may have stood one after the other; for each epoch there is one winner.
        let mut won: Vec<Epoch> = stood.iter().flatten().map(|owner| owner.epoch).collect();
        println!("round {round}: {won:?} of {} candidates", stood.len());
        won.sort();
        let all = won.len();
        won.dedup();
        assert!(!won.is_empty() && won.len() == all, "one owner for each epoch: {stood:?}");
    }
}

#[test]
fn a_zombies_junk_does_not_depose_a_good_leader() {
    let stack = brokers::shared();
    let options = brokers::options(&stack, &brokers::topic("zombie"), 1);
    let (good, zombie) = (brokers::open(&options), brokers::open(&options));
    let mut leader = Owner::stand(&good, SHARD).expect("nobody else stands");
    let end = Instant::now() + Duration::from_secs(3);
    let (mut told, mut junk) = (Vec::new(), 0);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut sent = 0;
            // Of epochs that never began: no reader counts them.
            for epoch in 100.. {
                if Instant::now() > end {
                    break;
                }
                for first in 0..5 {
                    append(&zombie, vec![batch(SHARD, Epoch(epoch), first, 1, 50)]);
                    sent += 1;
                }
            }
            sent
        });
        for number in 1.. {
            if Instant::now() > end {
                break;
            }
            let answer = leader.append(&good, &[number]);
            assert!(is_durable(&answer), "record {number}: {answer:?}");
            told.push(number);
        }
        junk = writer.join().expect("the zombie does not panic");
    });
    let stats = good.stats();
    println!("{} records counted among {junk} of a zombie; {stats:?}", told.len());
    assert!(stats.read_backs > 0, "the zombie was in the way");
    assert_eq!(numbers(&good, SHARD), told);
    let (_, acceptor) = counted(&good, SHARD);
    assert_eq!(acceptor.epoch, leader.epoch, "it leads still");
}

/// Owners that depose one another at random, with records in flight: whatever anybody was told is durable
/// counts, in the order of the sequences.
#[test]
fn owners_that_fight_are_told_nothing_false() {
    let mut random = StdRng::seed_from_u64(seed("owners_that_fight_are_told_nothing_false"));
    let stack = brokers::shared();
    let options = brokers::options(&stack, &brokers::topic("fight"), 1);
    let logs: Vec<KafkaLog> = (0..3).map(|_| brokers::open(&options)).collect();
    let mut owners: Vec<Option<Owner>> = vec![None; logs.len()];
    let (mut next, mut told, mut lost) = (1, Vec::new(), 0);
    for _ in 0..60 {
        let who = random.random_range(0..logs.len());
        if owners[who].is_none() || random.random_ratio(1, 4) {
            owners[who] = Owner::stand(&logs[who], SHARD).ok();
        }
        // Everybody who believes to own the shard writes at the same time.
        let mut waiting = Vec::new();
        for (log, owner) in logs.iter().zip(&mut owners) {
            let Some(owner) = owner else { continue };
            for _ in 0..random.random_range(0..4) {
                let batch: Vec<u32> = (next..next + random.random_range(1..5)).collect();
                next += 5;
                waiting.push((owner.epoch, batch.clone(), submit(log, owner.records(&batch))));
            }
        }
        for (epoch, batch, receive) in waiting {
            if is_durable(&answer(&receive)) {
                told.extend(batch);
            } else {
                lost += 1;
                for owner in
                    owners.iter_mut().filter(|it| it.as_ref().is_some_and(|it| it.epoch == epoch))
                {
                    *owner = None;
                }
            }
        }
    }
    let counted = numbers(&logs[0], SHARD);
    println!(
        "{} records told durable, {} count, {lost} batches in doubt",
        told.len(),
        counted.len()
    );
    assert!(told.len() > 50 && lost > 0, "the test must test something");
    for number in &told {
        assert!(counted.contains(number), "{number} was told durable and does not count");
    }
}

/// A process of its own that owns the shard.
struct Elsewhere {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Elsewhere {
    fn start(brokers: &str, topic: &str, append_timeout: Duration) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_handfast-kafka-owner"))
            .args([brokers, topic, &append_timeout.as_millis().to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the owner starts");
        let out = child.stdout.take().expect("a pipe");
        Self { child, lines: BufReader::new(out).lines() }
    }

    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).expect("a process id");
        kill_process(Pid::from_raw(id).expect("not 0"), signal).expect("it runs");
    }

    fn line(&mut self) -> Option<String> {
        self.lines.next().map(|line| line.expect("a readable pipe"))
    }

    /// The numbers that it was told count, up to its last word.
    fn rest(&mut self) -> (Vec<u32>, Option<String>) {
        let mut told = Vec::new();
        while let Some(line) = self.line() {
            match line.strip_prefix("counted ") {
                Some(number) => told.push(number.parse().expect("a number")),
                None => return (told, Some(line)),
            }
        }
        (told, None)
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended
        let _ = self.child.wait();
    }
}

/// The first numbers that it was told count.
fn first_told(elsewhere: &mut Elsewhere, count: usize) -> Vec<u32> {
    let first = elsewhere.line().expect("it leads");
    assert!(first.starts_with("leads epoch"), "{first}");
    let number =
        |line: String| line.strip_prefix("counted ").expect("it leads").parse().expect("a number");
    (0..count).map(|_| number(elsewhere.line().expect("it goes on"))).collect()
}

#[test]
fn an_owner_stopped_for_longer_than_every_timeout_is_told_so_when_it_wakes() {
    const APPEND_TIMEOUT: Duration = Duration::from_secs(2);
    let stack = brokers::shared();
    let options = brokers::options(&stack, &brokers::topic("stopped"), 1);
    let log = brokers::open(&options);
    let mut old = Elsewhere::start(&options.kafka.brokers, &options.kafka.topic, APPEND_TIMEOUT);
    let mut told = first_told(&mut old, 500);
    old.signal(Signal::STOP);
    let mut new = Owner::stand(&log, SHARD).expect("nobody else stands");
    let asleep = Instant::now();
    let mut mine = Vec::new();
    // Longer than the doubt of an append, a request's time-out, and whatever the broker keeps of it.
    while asleep.elapsed() < Duration::from_secs(8) {
        let number = 1_000_000 + u32::try_from(mine.len()).expect("few");
        assert!(is_durable(&new.append(&log, &[number])));
        mine.push(number);
        std::thread::sleep(Duration::from_millis(20));
    }
    old.signal(Signal::CONT);
    let (rest, last) = old.rest();
    told.extend(rest);
    println!("it was told of {} records, then: {last:?}", told.len());
    assert!(last.is_some_and(|last| last.starts_with("over: ")), "it noticed");
    // What it had on its way may land only now.
    for number in 2_000_000..2_000_020 {
        assert!(is_durable(&new.append(&log, &[number])));
        mine.push(number);
    }
    let counted = numbers(&log, SHARD);
    assert!(counted.ends_with(&mine), "the new owner's records, in order and undisturbed");
    for number in &told {
        assert!(counted.contains(number), "{number} was told durable and does not count");
    }
}

#[test]
fn an_owner_that_is_killed_leaves_what_it_was_told() {
    let stack = brokers::shared();
    let options = brokers::options(&stack, &brokers::topic("killed"), 1);
    let log = brokers::open(&options);
    for life in 1..=3 {
        let timeout = Duration::from_secs(30);
        let mut old = Elsewhere::start(&options.kafka.brokers, &options.kafka.topic, timeout);
        let mut told = first_told(&mut old, 200);
        old.signal(Signal::KILL);
        told.extend(old.rest().0);
        let before = counted(&log, SHARD).0;
        let own: Vec<u32> =
            before.iter().filter(|it| it.epoch == Epoch(life)).map(|it| it.number).collect();
        // The rest may be there too: nobody was told anything about it.
        assert!(own.len() > told.len(), "{} of {}", own.len(), told.len());
        assert_eq!(own[0], 0, "the epoch's own record");
        assert_eq!(own[1..=told.len()], told, "in order, without a gap");
    }
}

#[test]
fn a_server_whose_clock_is_wrong_does_not_lead() {
    let stack = brokers::shared();
    let options = brokers::options(&stack, &brokers::topic("clocks"), 2);
    for (apart_ms, word) in [(MAX_DRIFT_MS + 5_000, "ahead of"), (-MAX_DRIFT_MS - 60_000, "behind")]
    {
        let right = Arc::clone(&options.wall_ms);
        let wall_ms = Arc::new(move || right() + apart_ms);
        let log = &brokers::open(&KafkaOptions { wall_ms, ..options.clone() });
        let refused = Owner::stand(log, SHARD).expect_err("the clock is wrong");
        assert!(refused.contains(word) && refused.contains("synchronize"), "{refused}");
        let other = Owner::stand(log, ShardId(1)).expect_err("it does not depose others either");
        assert!(other.contains("Rejected"), "nothing was appended: {other}");
    }
    let good = brokers::open(&options);
    assert_eq!(counted(&good, ShardId(1)).1.epoch, Epoch(0));
    let mut leader = Owner::stand(&good, SHARD).expect("its clock is right");
    assert!(is_durable(&leader.append(&good, &[1])));
}
