//! Processes that come, and stop in order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use control::ControlPlane;
use delivery::runtime::{Delivery, Members, MessagesTo, Parts, Settings, WhoElse};
use delivery::target::{Later, Target};
use delivery::{Answer, Outgoing, Store};
use tokio::time::Instant;
use uuid::Uuid;
use wal_core::log::memory::MemoryLog;
use wal_core::namespace::Namespace;

use super::{LOG, process};
use crate::database::Database;

const PATIENCE: Duration = Duration::from_secs(60);
const BANK: &str = r#"
name = "bank"
shards = 24

[[table]]
cql = "CREATE TABLE accounts (id text PRIMARY KEY, balance bigint)"

[[target]]
name = "orders"
kind = "http"
url = "http://127.0.0.1:9"
"#;

/// A target that takes everything.
struct Takes;

impl Target for Takes {
    fn send(&self, _outgoing: Outgoing) -> Later<'_, Answer> {
        Box::pin(async { Answer::Delivered })
    }
}

fn deliver(control: &ControlPlane, log: &Arc<MemoryLog>, members: &Members) -> Delivery {
    let bank = Namespace::from_toml(BANK).unwrap_or_else(|error| panic!("{error}"));
    Delivery::start(Parts {
        namespace: "bank".into(),
        shards: bank.shards(),
        log: Arc::<MemoryLog>::clone(log),
        name: bank.targets()[0].name.as_str().into(),
        picks: Arc::new(MessagesTo {
            namespace: "bank".into(),
            target: bank.targets()[0].name.as_str().into(),
        }),
        settings: Settings::of(&bank.targets()[0]),
        target: Arc::new(Takes),
        store: Arc::new(control.clone()),
        members: members.clone(),
        seed: 1,
    })
}

/// Waits until the shards are claimed as wanted: how many by whom. How long that took.
async fn claimed(
    control: &ControlPlane,
    is_wanted: impl Fn(&BTreeMap<Option<Uuid>, usize>) -> bool,
) -> Duration {
    let begun = Instant::now();
    loop {
        let mut claims = BTreeMap::new();
        for owner in control.owners("bank").await.expect("owners") {
            *claims.entry(owner.process).or_default() += 1;
        }
        if is_wanted(&claims) {
            return begun.elapsed();
        }
        assert!(begun.elapsed() < PATIENCE, "{claims:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) async fn who_stops_in_order_hands_over_at_once(database: Database) {
    let control = database.open().await;
    let other = database.another(&control).await;
    let log = Arc::new(MemoryLog::new(LOG));
    let staying = Members::start(Arc::new(control.clone()), WhoElse::Others);
    let going = Members::start(Arc::new(other.clone()), WhoElse::Others);
    let _stays = deliver(&control, &log, &staying);
    let goes = deliver(&other, &log, &going);
    let both = [staying.me(), going.me()].map(Some);
    claimed(&control, |claims| {
        let has_some = |process| claims.contains_key(process);
        both.iter().all(has_some) && claims.values().sum::<usize>() == 24 && claims.len() == 2
    })
    .await;
    goes.stop(PATIENCE).await;
    going.leave(PATIENCE).await;
    let took = claimed(&control, |claims| claims.get(&both[0]) == Some(&24)).await;
    println!("handed over after {took:?}");
    // Who is killed is missed five seconds later only.
    assert!(took < Duration::from_secs(4), "{took:?}");
}

/// It leaves at any time between two beats, and while one is under way.
pub(crate) async fn who_has_left_beats_no_more(database: Database) {
    let control = database.open().await;
    let mut tasks = Vec::new();
    for number in 0..12 {
        let members = Members::start(Arc::new(control.clone()), WhoElse::Others);
        tasks.push(tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(number * 50)).await;
            members.leave(PATIENCE).await;
            members.me()
        }));
    }
    let mut left = Vec::new();
    for task in tasks {
        left.push(task.await.expect("no panic"));
        let beats = control.beat(process(9)).await.expect("counted");
        assert!(beats.iter().all(|(process, _)| !left.contains(process)), "{beats:?}, {left:?}");
    }
    tokio::time::sleep(Duration::from_millis(700)).await;
    let beats = control.beat(process(9)).await.expect("counted");
    assert_eq!(beats, [(process(9), 13)]);
}
