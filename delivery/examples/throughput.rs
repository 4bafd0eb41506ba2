//! How many messages a second go through the engine, as its public interface is used. Run with
//! `cargo run --release -p delivery --example throughput`.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;
use delivery::{
    Answer, Command, DeliveryConfig, Engine, ErrorClass, Event, Failure, Message, Ticket,
};
use wal_core::{Now, Position};

const MESSAGES: u64 = 1_000_000;

/// Delivers them all, each second try out of `fail_every` failing, to a target that answers in order.
fn measure(name: &str, keys: u64, held: usize, fail_every: u64) {
    let mut config = DeliveryConfig::new(1);
    (config.max_messages, config.max_bytes) = (held, u64::MAX);
    config.window.latency = None;
    let keys: Vec<Bytes> = (0..keys).map(|key| Bytes::from(format!("customer-{key:08}"))).collect();
    let mut engine: Engine<u64> = Engine::new(config, Position(0));
    let (mut out, mut flying) = (Vec::new(), VecDeque::new());
    let (mut next, mut now_us, mut sent) = (0, 0, 0_u64);
    let begin = Instant::now();
    while engine.mark() < Position(MESSAGES) {
        now_us += 1;
        let now = Now { wall_us: 0, mono_us: now_us };
        if next < MESSAGES && !engine.room().is_full() {
            let key =
                keys.get((next.wrapping_mul(0x9e37_79b9) % keys.len().max(1) as u64) as usize);
            let ticket = Ticket { position: Position(next), index: 0 };
            let message = Message { ticket, key: key.cloned(), size_bytes: 100, payload: next };
            engine.step(now, Event::Take(message), &mut out);
            next += 1;
            if next == MESSAGES {
                engine.step(now, Event::ReadTo { position: Position(MESSAGES) }, &mut out);
            }
        }
        if let Some((ticket, number)) = flying.pop_front() {
            sent += 1;
            let answer = if sent.is_multiple_of(fail_every) {
                Answer::Failed(Failure { class: ErrorClass::Transient, text: "reset".into() })
            } else {
                Answer::Delivered
            };
            engine.step(now, Event::Answered { ticket, number, answer }, &mut out);
        } else if next == MESSAGES || engine.room().is_full() {
            now_us = engine.next_wake().unwrap_or(now_us);
            engine.step(Now { wall_us: 0, mono_us: now_us }, Event::Tick, &mut out);
        }
        for command in out.drain(..) {
            match command {
                Command::Send { ticket, number, .. } => flying.push_back((ticket, number)),
                Command::Bury { ticket, .. } => panic!("{ticket} is given up"),
                Command::Mark { .. } | Command::Drained { .. } => {}
            }
        }
    }
    let rate = MESSAGES as f64 / begin.elapsed().as_secs_f64();
    println!("{name}: {rate:.0} messages/s");
}

fn main() {
    measure("no keys", 0, 10_000, u64::MAX);
    measure("1,000 keys", 1_000, 10_000, u64::MAX);
    measure("100,000 keys, 100,000 held", 100_000, 100_000, u64::MAX);
    measure("one key, 10,000 held", 1, 10_000, u64::MAX);
    measure("one key, 100,000 held", 1, 100_000, u64::MAX);
    measure("1,000 keys, one try in 100 fails", 1_000, 10_000, 100);
}
