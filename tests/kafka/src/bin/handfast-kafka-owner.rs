//! An owner of shard 0 in a process of its own, to be stopped and killed by tests.
//!
//! `handfast-kafka-owner <brokers> <topic> <milliseconds>`: stands, keeps 64 records in flight that carry
//! 1, 2, 3, …, and prints `counted <number>` for each that is durable, in order. When its epoch is over
//! it prints `over: <why>` and exits. The milliseconds are the time after which an append is in doubt.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use handfast_kafka_tests::owner::{Owner, answer, submit};
use wal_core::ShardId;
use wal_core::log::Appended;
use wal_core::log::kafka::{Identity, KafkaLog, KafkaOptions, MemoryHints};
use wal_core::namespace::KafkaSettings;

const IN_FLIGHT: usize = 64;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [brokers, topic, millis] = &arguments[..] else {
        anyhow::bail!("usage: handfast-kafka-owner <brokers> <topic> <milliseconds>");
    };
    let few = !brokers.contains(',');
    let kafka = KafkaSettings {
        brokers: brokers.clone(),
        topic: topic.clone(),
        replication: if few { 1 } else { 3 },
        development: few,
        client: BTreeMap::new(),
    };
    let append_timeout = Duration::from_millis(millis.parse().context("milliseconds")?);
    let hints = Arc::new(MemoryHints::default());
    let options = KafkaOptions::new(kafka, 1, Identity::Unknown, hints);
    let log = KafkaLog::open(KafkaOptions { append_timeout, ..options })?;
    let mut owner = Owner::stand(&log, ShardId(0)).map_err(anyhow::Error::msg)?;
    let mut out = io::stdout().lock();
    writeln!(out, "leads epoch {}", owner.epoch)?;
    let mut waiting = VecDeque::new();
    for number in 1.. {
        waiting.push_back((number, submit(&log, owner.records(&[number]))));
        if waiting.len() < IN_FLIGHT {
            continue;
        }
        let (number, receive) = waiting.pop_front().expect("many wait");
        match answer(&receive) {
            Appended::Durable { .. } => writeln!(out, "counted {number}")?,
            Appended::Unknown { why } | Appended::Rejected { why } => {
                writeln!(out, "over: {why}")?;
                break;
            }
        }
        out.flush()?;
    }
    Ok(())
}
