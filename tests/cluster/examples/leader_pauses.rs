//! For how long clients wait when a leader is killed, again and again: the distribution of it.
//!
//! `cargo run --release -p handfast-cluster --example leader_pauses 30` kills 30 times, each participant in turn,
//! under a load that transfers, counts and orders. Printed is the longest wait of any client for one answer around
//! each kill, and how long it took until every shard had committed something new.

use std::time::{Duration, Instant};

use anyhow::Context;
use handfast_cluster::load::{DEFINITION, Load, touch_every_shard};
use handfast_cluster::{Cluster, ClusterSpec, Member, Part};
use handfast_stack::Jit;
use tokio::runtime::Runtime;

const CLIENTS: usize = 9;
/// How long the load runs undisturbed before a kill.
const CALM: Duration = Duration::from_secs(2);
const SERVES_AGAIN: Duration = Duration::from_secs(60);

fn percentiles(what: &str, mut all: Vec<u64>) {
    all.sort_unstable();
    let at = |percent: usize| all[(all.len() * percent).div_ceil(100).clamp(1, all.len()) - 1];
    println!("{what}: p50 {} ms, p90 {} ms, p99 {} ms, max {} ms", at(50), at(90), at(99), at(100));
}

fn main() -> anyhow::Result<()> {
    let kills: usize = match std::env::args().nth(1) {
        Some(count) => count.parse().context("how often to kill, such as 30")?,
        None => 30,
    };
    let cluster = Cluster::start(&ClusterSpec { jit: Jit::Peak, ..ClusterSpec::default() })?;
    let tokio = Runtime::new()?;
    let client = tokio.block_on(cluster.client())?;
    tokio.block_on(client.admin().create_namespace(&cluster.definition(DEFINITION)))?;
    let load = tokio.block_on(Load::start(&cluster.endpoints(), CLIENTS, &[]))?;
    let (mut waits, mut pauses) = (Vec::new(), Vec::new());
    for number in 0..kills.max(1) {
        let participant = Part::Member(Member::Participant(number % 3));
        std::thread::sleep(CALM);
        load.lap();
        let killed = Instant::now();
        cluster.kill(participant)?;
        let served = tokio.block_on(async {
            let serve = async { while touch_every_shard(&client).await.is_err() {} };
            tokio::time::timeout(SERVES_AGAIN, serve).await
        });
        served.context("not every shard serves again")?;
        let pause = u64::try_from(killed.elapsed().as_millis())?;
        // Whoever waits still is answered by now, or soon.
        std::thread::sleep(CALM);
        let fared = load.lap();
        println!(
            "{participant} killed: every shard serves after {pause} ms, the longest wait was {} ms",
            fared.longest_ms
        );
        waits.push(fared.longest_ms);
        pauses.push(pause);
        cluster.restart(participant)?;
        std::thread::sleep(CALM);
    }
    let fared = load.fared();
    percentiles("longest wait of a client", waits);
    percentiles("every shard serves again", pauses);
    println!("{} answers, {} unknown, {} failed", fared.answered, fared.unknown, fared.failed);
    let ended = tokio.block_on(load.end(&cluster.endpoints()))?;
    println!("{} committed, {} had to be asked for", ended.committed(), ended.resolved);
    cluster.stop_all()
}
