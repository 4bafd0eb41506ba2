//! Two regions, each on a Kafka, a Cassandra and a PostgreSQL of its own: what commits in one arrives in the other
//! while servers of both die, and the home moves without loss.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use handfast_client::{ArrivedFrom, Client, Outcome, Transaction, not_exists};
use handfast_cluster::{Cluster, ClusterSpec, Member, Part};
use handfast_stack::Jit;

const NAMES: [&str; 2] = ["eu", "us"];
const NAMESPACE: &str = "far";
/// What has not arrived within so long, with everything up, is lost.
const PATIENCE: Duration = Duration::from_secs(120);

fn spec() -> ClusterSpec {
    ClusterSpec {
        kafka: 1,
        cassandra: 1,
        gateways: 1,
        participants: 2,
        deliveries: 2,
        jit: Jit::QuickStart,
    }
}

/// The namespace as one of the regions has it.
fn file(clusters: &[Cluster; 2], here: usize) -> String {
    let all: String = (NAMES.iter().zip(clusters))
        .map(|(name, cluster)| {
            let servers = cluster.endpoints();
            format!("[[region.all]]\nname = \"{name}\"\nservers = {servers:?}\n")
        })
        .collect();
    let region = format!(
        "[region]\nhere = \"{}\"\nhome = \"eu\"\ntable = \"arrived\"\n{all}\n",
        NAMES[here]
    );
    clusters[here].definition(&format!(
        "name = \"{NAMESPACE}\"\nshards = 4\n{region}[[table]]\ncql = \"CREATE TABLE pairs (id bigint PRIMARY KEY, \
         twin bigint)\"\n[[table]]\ncql = \"CREATE TABLE arrived (region text PRIMARY KEY, watermark bigint, term \
         bigint, transactions bigint)\"\n"
    ))
}

/// Two rows on two partitions, neither of which may be there.
fn pair(number: i64) -> Transaction {
    let (one, other) = (2 * number, 2 * number + 1);
    Transaction::new(NAMESPACE)
        .require("pairs", one, not_exists())
        .put("pairs", one, ("twin", other))
        .put("pairs", other, ("twin", one))
}

/// Commits pairs in whichever region takes them, until it is to stop: their numbers, and the last commit timestamp.
async fn load(clients: [Client; 2], stop: Arc<AtomicBool>) -> (Vec<i64>, i64) {
    let (mut committed, mut last, mut number) = (Vec::new(), 0, 0);
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        for client in &clients {
            let transaction = pair(number);
            let mut outcome = client.submit(&transaction).await;
            for _ in 0..30 {
                // The same under the same id, until it is known.
                if !matches!(outcome, Ok(Outcome::Unknown(_))) {
                    break;
                }
                outcome = client.submit(&transaction).await;
            }
            if let Ok(Outcome::Committed(it)) = outcome {
                committed.push(number);
                last = last.max(it.timestamp_us);
                break;
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    (committed, last)
}

/// Holds a region to having every pair, whole.
async fn has_all(client: &Client, committed: &[i64], not_before: &[ArrivedFrom]) {
    for numbers in committed.chunks(500) {
        let ids: Vec<i64> =
            numbers.iter().flat_map(|number| [2 * number, 2 * number + 1]).collect();
        let keys = ids.iter().map(|id| ("pairs", *id));
        let (rows, _) =
            client.read_arrived(NAMESPACE, keys, not_before).await.expect("they are read");
        for (id, row) in ids.iter().zip(rows) {
            assert_eq!(row.integer("twin"), Some(id ^ 1), "row {id}");
        }
    }
}

/// Reads pairs that are being written, and holds the region to showing both rows or none.
async fn never_halves(client: Client, stop: Arc<AtomicBool>) -> u64 {
    let mut seen = 0;
    let mut number = 1;
    while !stop.load(Ordering::Relaxed) {
        let keys = (number..number + 20).flat_map(|number| [2 * number, 2 * number + 1]);
        let keys: Vec<_> = keys.map(|id| ("pairs", id)).collect();
        if let Ok(rows) = client.read(NAMESPACE, keys).await {
            for pair in rows.chunks(2) {
                assert_eq!(pair[0].exists, pair[1].exists, "half a transaction is there");
            }
            if rows.iter().all(|row| row.exists) {
                seen += 20;
                number += 20;
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    seen
}

fn strike(cluster: &Cluster, part: Part, pause: Duration) {
    cluster.kill(part).expect("killed");
    std::thread::sleep(pause);
    cluster.restart(part).expect("it starts again");
}

#[test]
fn two_regions_on_stacks_of_their_own_over_kills_and_a_failover() {
    let [eu, us] =
        NAMES.map(|_| std::thread::spawn(|| Cluster::start(&spec()).expect("a cluster")));
    let clusters = [eu.join().expect("eu starts"), us.join().expect("us starts")];
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let clients = runtime.block_on(async {
        let clients = [
            clusters[0].client().await.expect("eu answers"),
            clusters[1].client().await.expect("us answers"),
        ];
        for (here, client) in clients.iter().enumerate() {
            let file = file(&clusters, here);
            client.admin().create_namespace(&file).await.expect("the namespace is created");
        }
        clients
    });
    let stop = Arc::new(AtomicBool::new(false));
    let loaded = runtime.spawn(load(clients.clone(), Arc::clone(&stop)));
    let watched = runtime.spawn(never_halves(clients[1].clone(), Arc::clone(&stop)));
    let [eu, us] = &clusters;
    let (participant, delivery) = (Member::Participant(0), Member::Delivery(0));
    let second = Duration::from_secs(1);
    std::thread::sleep(3 * second);
    strike(eu, Part::Member(participant), second);
    strike(us, Part::Member(participant), second);
    // Whoever sends: another takes over.
    strike(eu, Part::Member(delivery), 8 * second);
    strike(us, Part::Member(Member::Gateway(0)), 3 * second);
    std::thread::sleep(3 * second);
    // The home moves under load.
    let endpoint = us.endpoints().join(",");
    let arguments = [
        "--endpoint",
        &endpoint,
        "--timeout",
        "60s",
        "region",
        "failover",
        NAMESPACE,
        "--to",
        "us",
        "--yes",
    ];
    let moved = runtime.block_on(handfast_e2e::run(&arguments)).expect("it runs");
    moved.expect_success();
    std::thread::sleep(5 * second);
    stop.store(true, Ordering::Relaxed);
    let (committed, last) = runtime.block_on(loaded).expect("the load ends");
    let seen = runtime.block_on(watched).expect("no half was seen");
    println!("{} pairs committed, {seen} watched as they arrived", committed.len());
    assert!(committed.len() > 300, "only {} were committed", committed.len());
    let everything = async {
        has_all(&clients[1], &committed, &[]).await;
        // What the new home has committed arrives in the old one.
        let not_before = [ArrivedFrom { region: "us".to_owned(), watermark_us: last }];
        let end = tokio::time::Instant::now() + PATIENCE;
        while clients[0].read_arrived(NAMESPACE, [("pairs", 2_i64)], &not_before).await.is_err() {
            assert!(tokio::time::Instant::now() < end, "it does not arrive");
        }
        has_all(&clients[0], &committed, &not_before).await;
        let refused = clients[0].submit(&pair(1_000_000)).await;
        assert!(refused.is_err(), "eu is not the home any more: {refused:?}");
    };
    runtime.block_on(everything);
}
