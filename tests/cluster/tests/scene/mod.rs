//! A cluster under load, faults, and what must hold afterwards.

#![allow(dead_code, reason = "each test of this folder plays some of the scenes")]

mod delivered;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use handfast_cassandra_tests::Cql;
use handfast_client::Uuid;
use handfast_cluster::load::{DEFINITION, Found, Load, NAMESPACE, touch_every_shard};
use handfast_cluster::{Cluster, Member, Part};
use tokio::runtime::Runtime;

use delivered::{TARGETS, Targets};

const CLIENTS: usize = 9;
/// In which every shard must serve again.
const SERVES_AGAIN: Duration = Duration::from_secs(60);
/// In which everybody leads again who can: who failed to lead leaves it to others for a while.
const EVENED_OUT: Duration = Duration::from_secs(120);
/// In which everything is done that was due later, and is in the tables.
const DONE_LATER: Duration = Duration::from_secs(60);
/// How long the load runs undisturbed between two faults.
const CALM: Duration = Duration::from_secs(2);

pub(crate) struct Scene {
    pub(crate) cluster: Cluster,
    tokio: Runtime,
    load: Load,
    /// Where the load's messages are delivered, if they are.
    targets: Option<Targets>,
}

pub(crate) fn participant(index: usize) -> Part {
    Part::Member(Member::Participant(index))
}

impl Scene {
    pub(crate) fn on(cluster: Cluster) -> Self {
        Self::with(cluster, Runtime::new().expect("a runtime"), None)
    }

    /// With messages that are delivered to an endpoint of this process, and to a topic.
    pub(crate) fn delivering(cluster: Cluster) -> Self {
        let tokio = Runtime::new().expect("a runtime");
        let targets = tokio.block_on(Targets::start(&cluster)).expect("an endpoint and a topic");
        Self::with(cluster, tokio, Some(targets))
    }

    fn with(cluster: Cluster, tokio: Runtime, targets: Option<Targets>) -> Self {
        let load = tokio.block_on(async {
            let client = cluster.client().await?;
            let sections = targets.as_ref().map(|it| it.file(&cluster)).unwrap_or_default();
            let file = cluster.definition(&format!("{DEFINITION}{sections}"));
            client.admin().create_namespace(&file).await?;
            let names: &[&str] = if targets.is_some() { &TARGETS } else { &[] };
            Load::start(&cluster.endpoints(), CLIENTS, names).await
        });
        let load = load.expect("clients at work");
        let scene = Self { cluster, tokio, load, targets };
        scene.serves_again("at the start", Instant::now());
        scene
    }

    /// Waits until every shard has committed something new, and says how long that took.
    pub(crate) fn serves_again(&self, after: &str, since: Instant) {
        let done = self.tokio.block_on(async {
            tokio::time::timeout(SERVES_AGAIN, async {
                loop {
                    if self.touch_every_shard().await.is_ok() {
                        return;
                    }
                }
            })
            .await
        });
        let fared = self.load.lap();
        println!(
            "{after}: every shard serves again after {} ms; {} answers, {} unknown, {} failed; the longest \
             wait was {} ms",
            since.elapsed().as_millis(),
            fared.answered,
            fared.unknown,
            fared.failed,
            fared.longest_ms,
        );
        done.unwrap_or_else(|_| panic!("{after}: not every shard serves after {SERVES_AGAIN:?}"));
    }

    async fn touch_every_shard(&self) -> anyhow::Result<()> {
        touch_every_shard(&self.cluster.client().await?).await
    }

    /// How many shards each server leads, by its address; those that nobody is known to lead under "".
    pub(crate) fn leaders(&self) -> BTreeMap<String, usize> {
        leaders_of(&self.cluster, &self.tokio, NAMESPACE)
    }

    /// Waits until all shards are led, by so many servers. How long that took.
    pub(crate) fn wait_for_leaders(&self, count: usize) -> Duration {
        let begun = Instant::now();
        loop {
            let leaders = self.leaders();
            if leaders.len() == count && !leaders.contains_key("") {
                return begun.elapsed();
            }
            assert!(begun.elapsed() < EVENED_OUT, "{leaders:?} lead, {count} should");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Plays a fault, has it mended, and waits until all serve again.
    pub(crate) fn fault(&self, what: &str, play: impl FnOnce(&Cluster)) {
        std::thread::sleep(CALM);
        let begun = Instant::now();
        play(&self.cluster);
        self.serves_again(what, begun);
    }

    pub(crate) fn kill_and_restart(&self, part: Part) {
        self.fault(&format!("{part} killed"), |cluster| {
            cluster.kill(part).expect("killed");
            self.serves_again(&format!("{part} gone"), Instant::now());
            cluster.restart(part).expect("it starts again");
        });
    }

    /// Plays a fault that no client may notice: no call fails, no outcome is unknown.
    pub(crate) fn unnoticed(&self, what: &str, play: impl FnOnce(&Cluster)) {
        let before = self.load.lap();
        self.fault(what, play);
        let after = self.load.fared();
        assert_eq!(
            (after.unknown, after.failed),
            (before.unknown, before.failed),
            "{what} was noticed"
        );
    }

    /// Ends the load and holds the tables to what the clients were told. The cluster goes on.
    pub(crate) fn end(self) -> Cluster {
        let Self { cluster, tokio, load, targets } = self;
        let endpoints = cluster.endpoints();
        let ended = tokio.block_on(load.end(&endpoints)).expect("one outcome each, applied");
        println!(
            "{} committed, {} aborted, of which {} had to be asked for",
            ended.committed(),
            ended.aborted(),
            ended.resolved
        );
        assert!(ended.committed() > 500, "too little was done to mean anything");
        let end = Instant::now() + DONE_LATER;
        while let Err(error) = ended.check(&read_tables(&cluster)) {
            assert!(Instant::now() < end, "the tables do not agree with every answer: {error:#}");
            std::thread::sleep(Duration::from_secs(1));
        }
        let (scheduled, cancelled) = ended.scheduled();
        println!("{scheduled} reminders were scheduled, of which {cancelled} were cancelled");
        assert!(scheduled > 10, "too little was due later to mean anything");
        if let Some(targets) = targets {
            let delivered = tokio.block_on(targets.end(&cluster, &ended));
            delivered.expect("every message of what committed, at both targets");
        }
        no_lock_is_left(&cluster, &tokio);
        cluster
    }
}

/// As [`Scene::leaders`], of any namespace.
pub(crate) fn leaders_of(
    cluster: &Cluster,
    tokio: &Runtime,
    namespace: &str,
) -> BTreeMap<String, usize> {
    let status = tokio.block_on(async {
        let client = cluster.client().await?;
        anyhow::Ok(client.admin().status(namespace).await?)
    });
    let mut leaders = BTreeMap::new();
    for shard in status.expect("its shards").shards {
        *leaders.entry(shard.leader).or_default() += 1;
    }
    leaders
}

/// Stops all servers in order; none of them may ever have panicked.
pub(crate) fn stop_in_order(cluster: &Cluster) {
    for member in cluster.members().collect::<Vec<_>>() {
        let log = cluster.log(Part::Member(member)).expect("a log");
        assert!(!log.contains("panicked"), "{member} panicked:\n{log}");
        cluster.stop(Part::Member(member)).expect("it stops in order");
    }
}

/// Every lock and every open transaction ends, once nobody begins anything.
fn no_lock_is_left(cluster: &Cluster, tokio: &Runtime) {
    let end = Instant::now() + Duration::from_secs(30);
    let names =
        ["handfast_prepared_transactions", "handfast_locked_keys", "handfast_open_transactions"];
    loop {
        let left: Vec<String> = cluster
            .participants()
            .flat_map(|member| names.map(|name| (member, name)))
            .filter_map(|(member, name)| {
                let value = cluster.metric(member, name).expect("metrics").unwrap_or_default();
                (value != 0.0).then(|| format!("{member}: {name} {value}"))
            })
            .collect();
        if left.is_empty() {
            break;
        }
        assert!(Instant::now() < end, "left behind: {left:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
    let unresolved = tokio.block_on(async {
        let client = cluster.client().await?;
        anyhow::Ok(client.admin().list_unresolved(NAMESPACE, 0, 10).await?)
    });
    let unresolved = unresolved.expect("an answer");
    assert!(unresolved.is_empty(), "{unresolved:?}");
}

/// As any reader of the tables sees them.
fn read_tables(cluster: &Cluster) -> Found {
    let cql = Cql::connect(&cluster.stack().cassandra_nodes());
    let counter = cql.rows::<(i64,)>("SELECT n FROM faults.counters WHERE id = 'hot'");
    Found {
        accounts: cql.rows("SELECT id, balance FROM faults.accounts").into_iter().collect(),
        transfers: cql
            .rows::<(String, Uuid)>("SELECT account, id FROM faults.transfers")
            .into_iter()
            .collect(),
        counter: counter.first().expect("the counter's row").0,
        orders: cql
            .rows::<(i64,)>("SELECT id FROM faults.orders")
            .into_iter()
            .map(|(id,)| id)
            .collect(),
        lines: cql.rows("SELECT product, order_id FROM faults.lines").into_iter().collect(),
        reminders: cql.rows("SELECT order_id, n FROM faults.reminders").into_iter().collect(),
        pending: cql.rows::<(Uuid,)>("SELECT id FROM faults.later").len(),
    }
}
