//! What operators get wrong, and what befalls machines: told, bounded, and survived, beside a load that must
//! not suffer by it.

mod scene;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use handfast_cassandra_tests::Cql;
use handfast_client::{Client, Level, Options, RetryPolicy, SubmitError, Transaction};
use handfast_cluster::load::NAMESPACE;
use handfast_cluster::{Cluster, ClusterSpec, Member, Part};
use handfast_e2e::{OffsetClock, Said, Start, Surroundings};
use handfast_stack::Server;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use scene::Scene;

/// No wait takes as long, on any machine.
const PATIENCE: Duration = Duration::from_secs(90);
/// By how much a clock is wrong.
const MINUTES_MS: i64 = 180_000;
/// Where nobody listens.
const NOWHERE: &str = "127.0.0.1:1";

const ONE_TABLE: &str = r#"
[[table]]
cql = "CREATE TABLE t (id text PRIMARY KEY, v text)"
"#;

/// A wall clock for each server that is to have a wrong one.
struct Clocks {
    _folder: TempDir,
    gateway: OffsetClock,
    participant: OffsetClock,
}

const WRONG_GATEWAY: Member = Member::Gateway(1);
const WRONG_PARTICIPANT: Member = Member::Participant(1);

impl Clocks {
    fn build(tokio: &Runtime) -> Self {
        let folder = TempDir::new().expect("a folder");
        let clock = |name: &str| {
            let folder = folder.path().join(name);
            std::fs::create_dir(&folder).expect("a folder");
            tokio.block_on(OffsetClock::build(&folder)).expect("a clock")
        };
        let (gateway, participant) = (clock("gateway"), clock("participant"));
        Self { _folder: folder, gateway, participant }
    }

    /// Words before the servers' command lines.
    fn through(&self) -> BTreeMap<Member, Vec<String>> {
        let words = |clock: &OffsetClock| {
            let variables = clock.environment();
            let set = variables.map(|(name, path)| format!("{name}={}", path.display()));
            std::iter::once("env".to_owned()).chain(set).collect()
        };
        [(WRONG_GATEWAY, words(&self.gateway)), (WRONG_PARTICIPANT, words(&self.participant))]
            .into()
    }
}

/// The command line against one server, as an operator runs it.
fn handfast(tokio: &Runtime, endpoint: &str, args: &[&str]) -> Said {
    let args = [args, &["--endpoint", endpoint]].concat();
    tokio.block_on(handfast_e2e::run(&args)).expect("it ends")
}

/// No write time may be of a clock that was wrong.
fn no_write_is_of_the_future(cluster: &Cluster) {
    let cql = Cql::connect(&cluster.stack().cassandra_nodes());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let now_us = i64::try_from(now.as_micros()).expect("not so late");
    for select in ["WRITETIME(n) FROM faults.counters", "WRITETIME(balance) FROM faults.accounts"] {
        let times = cql.rows::<(i64,)>(&format!("SELECT {select}"));
        let newest = times.iter().map(|(us,)| *us).max().expect("something was written");
        assert!(newest <= now_us + 1_000_000, "written {} us ahead", newest - now_us);
    }
}

fn clocks_minutes_apart(scene: &Scene, clocks: &Clocks) {
    // One that was wrong from the start leads nothing, and what it would lead another does.
    scene.unnoticed("a participant with a wrong clock stands", |cluster| {
        let begun = Instant::now();
        loop {
            let log = cluster.log(Part::Member(WRONG_PARTICIPANT)).expect("its log");
            if log.contains("ahead of the broker's") && log.contains("synchronize") {
                break;
            }
            assert!(begun.elapsed() < PATIENCE, "{log}");
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    let led = scene.leaders();
    assert_eq!(led.len(), 1, "who has the wrong clock leads: {led:?}");
    scene.unnoticed("a clock put right", |_| {
        clocks.participant.set(0).expect("set");
        println!("it leads {:?} after its clock was put right", scene.wait_for_leaders(2));
    });
    no_write_is_of_the_future(&scene.cluster);
    scene.unnoticed("the gateway's clock put right too", |_| {
        clocks.gateway.set(0).expect("set");
    });
}

/// Which one, what was tried, what to do; and once it is cured, it is served.
fn wrong_addresses(cluster: &Cluster, tokio: &Runtime) {
    let folder = TempDir::new().expect("a folder");
    let endpoint = cluster.endpoint(Member::Gateway(0));
    let brokers = cluster.stack().kafka_bootstrap();
    let node = cluster.stack().cassandra_nodes()[0].to_string();
    for (name, right, wrong, words) in [
        ("broker", brokers.as_str(), NOWHERE, &["127.0.0.1:1", "log.brokers"]),
        ("node", &node, NOWHERE, &["127.0.0.1:1", "store.contact_points"]),
        ("centre", "\"datacenter1\"", "\"nowhere\"", &["nowhere", "datacenter1"]),
    ] {
        let good = cluster.definition(&format!("name = \"{name}\"\nshards = 1\n{ONE_TABLE}"));
        let bad = good.replace(right, wrong);
        assert_ne!(good, bad);
        let file = |kind: &str, text: &str| {
            let path = folder.path().join(format!("{name}-{kind}.toml"));
            std::fs::write(&path, text).expect("written");
            path.to_str().expect("a name").to_owned()
        };
        let begun = Instant::now();
        let said = handfast(tokio, &endpoint, &["namespace", "create", &file("bad", &bad)]);
        println!("{name}: refused after {:?}: {}", begun.elapsed(), said.err.trim());
        said.expect_failure(1, &["it is stored, but cannot be served yet"]);
        said.expect_failure(1, words);
        let version = ["--expected-version", "1"];
        let good = file("good", &good);
        let change = [&["namespace", "change", &good][..], &version].concat();
        handfast(tokio, &endpoint, &change).expect_success();
        let client = tokio.block_on(cluster.client()).expect("a gateway");
        let put = Transaction::new(name).put("t", "x", ("v", "y"));
        let done = tokio.block_on(client.submit(&put)).expect("it is served");
        assert!(done.is_committed(), "{done:?}");
    }
}

fn a_control_plane_that_is_not_there(tokio: &Runtime) {
    let folder = TempDir::new().expect("a folder");
    let url = format!("postgres://nobody:secret@{NOWHERE}/none");
    let surroundings = Surroundings::default().with_variable("HANDFAST_CONTROL", &url);
    let said = tokio.block_on(async {
        let start = Start { surroundings, ..Start::on(folder.path().join("data")).await? };
        start.refused().await
    });
    let said = said.expect("it ends");
    said.expect_failure(1, &[NOWHERE, "--control"]);
    assert!(!said.err.contains("secret"), "{}", said.err);
}

/// Another deployment: a control plane of its own, and the same topic, or the same table.
fn another_deployment(cluster: &Cluster, tokio: &Runtime) {
    let folder = TempDir::new().expect("a folder");
    let surroundings = Surroundings::default()
        .with_variable("HANDFAST_CLUSTER", "another")
        .with_variable("HANDFAST_PEER_LISTEN", "127.0.0.1:0");
    let server = tokio.block_on(handfast_e2e::Server::start_in(folder.path(), &[], surroundings));
    let mut server = server.expect("it starts, and serves nothing yet");
    let definition = cluster.definition(&format!("name = \"{NAMESPACE}\"\nshards = 8\n{ACCOUNTS}"));
    let file = folder.path().join("taken.toml");
    let create = |text: &str, words: &[&str]| {
        std::fs::write(&file, text).expect("written");
        let path = file.to_str().expect("a name");
        let said = handfast(tokio, &server.endpoint(), &["namespace", "create", path]);
        println!("another deployment: {}", said.err.trim());
        said.expect_failure(1, words);
    };
    create(&definition, &["faults.accounts belongs to", "deployment"]);
    let same_topic = cluster
        .definition(&format!("name = \"theirs\"\nshards = 8\n{ACCOUNTS}"))
        .replace("kind = \"kafka\"", "kind = \"kafka\"\ntopic = \"handfast-faults\"");
    create(&same_topic, &["log handfast-faults belongs to", "deployment"]);
    tokio.block_on(server.stop()).expect("it stops in order");
}

const ACCOUNTS: &str = r#"
[[table]]
cql = "CREATE TABLE accounts (id text PRIMARY KEY, balance bigint)"
"#;

/// Tables that do not answer: what is committed waits in bounded memory, then new work is refused, with a hint
/// when to come back; once they answer again, all of it goes on.
fn tables_that_hang(cluster: &Cluster, tokio: &Runtime) {
    const OVERLAY_BYTES: u32 = 8 << 20;
    let text = format!("name = \"slow\"\nshards = 2\nlimits.overlay_bytes = {OVERLAY_BYTES}\n");
    let definition = cluster.definition(&format!("{text}{ONE_TABLE}"));
    let options = Options { retry: RetryPolicy::NEVER, ..Options::default() };
    let connect = || Client::connect_with(cluster.endpoints(), options);
    let client = tokio.block_on(connect()).expect("a gateway");
    tokio.block_on(client.admin().create_namespace(&definition)).expect("a namespace");
    let begun = Instant::now();
    // Who is handed a shard just then would have to ask the tables where its newest checkpoint is.
    while scene::leaders_of(cluster, tokio, "slow").len() < 2 {
        assert!(begun.elapsed() < PATIENCE, "each leads one of two shards");
        std::thread::sleep(Duration::from_millis(200));
    }
    let filler = "x".repeat(10_000);
    let put = |key: &str| Transaction::new("slow").put("t", key, ("v", filler.as_str()));
    let first = tokio.block_on(async {
        let patient = cluster.client().await.expect("a gateway").at_level(Level::Applied);
        patient.submit(&put("first")).await
    });
    assert!(first.expect("it is served").is_committed());

    cluster.pause(Part::Engine(Server::Cassandra(0))).expect("paused");
    let begun = Instant::now();
    let work = async |writer: usize| {
        let mut committed = BTreeSet::new();
        for number in 0.. {
            let key = format!("{writer}-{number}");
            match client.submit(&put(&key)).await {
                Ok(outcome) if outcome.is_committed() => drop(committed.insert(key)),
                Err(SubmitError::Unavailable { message }) => {
                    let hint = message.contains("overloaded") && message.contains("try again in");
                    assert!(hint, "{message}");
                    break;
                }
                other => panic!("{other:?}"),
            }
            assert!(begun.elapsed() < PATIENCE, "{number} were taken and none refused");
        }
        committed
    };
    let mut committed: BTreeSet<String> = ["first".to_owned()].into();
    let all = tokio.block_on(async { tokio::join!(work(0), work(1), work(2), work(3)) });
    committed.extend([all.0, all.1, all.2, all.3].into_iter().flatten());
    println!("{} were taken within {:?}, then refused", committed.len(), begun.elapsed());
    let held: f64 = cluster
        .participants()
        .filter_map(|it| cluster.metric(it, "handfast_overlay_bytes").expect("metrics"))
        .sum();
    // A shard may have four times its share, and what was let in together comes on top.
    assert!(held > 1e6 && held < 5.0 * f64::from(OVERLAY_BYTES), "{held} bytes are held");
    let wait = Duration::from_secs(2);
    let reader = Options { wait, ..options };
    let reader = tokio.block_on(Client::connect_with(cluster.endpoints(), reader)).expect("one");
    let asked = Instant::now();
    tokio.block_on(reader.read_row("slow", "t", "unread")).expect_err("the tables hang");
    assert!(asked.elapsed() < wait + Duration::from_secs(20), "{:?}", asked.elapsed());

    cluster.resume(Part::Engine(Server::Cassandra(0))).expect("it goes on");
    let resumed = Instant::now();
    while tokio.block_on(client.submit(&put("after"))).is_err() {
        assert!(resumed.elapsed() < PATIENCE, "nothing is taken again");
        std::thread::sleep(Duration::from_millis(100));
    }
    println!("taken again {:?} after the tables went on", resumed.elapsed());
    committed.insert("after".to_owned());
    let cql = Cql::connect(&cluster.stack().cassandra_nodes());
    loop {
        let found = cql.rows::<(String,)>("SELECT id FROM slow.t");
        let found: BTreeSet<String> = found.into_iter().map(|(id,)| id).collect();
        if found == committed {
            break;
        }
        let lost = committed.difference(&found).count();
        assert!(resumed.elapsed() < PATIENCE, "{lost} of {} are not there", committed.len());
        std::thread::sleep(Duration::from_millis(200));
    }
    println!("all {} are in the tables after {:?}", committed.len(), resumed.elapsed());
}

#[test]
fn misfortunes_are_told_bounded_and_survived() {
    let tokio = Runtime::new().expect("threads");
    let clocks = Clocks::build(&tokio);
    clocks.gateway.set(-MINUTES_MS).expect("set");
    clocks.participant.set(MINUTES_MS).expect("set");
    let spec = ClusterSpec {
        kafka: 1,
        cassandra: 1,
        gateways: 2,
        participants: 2,
        ..ClusterSpec::default()
    };
    let cluster = Cluster::start_through(&spec, clocks.through()).expect("a cluster");
    let scene = Scene::on(cluster);
    clocks_minutes_apart(&scene, &clocks);
    scene.unnoticed("wrong addresses", |cluster| wrong_addresses(cluster, &tokio));
    scene.unnoticed("another deployment", |cluster| another_deployment(cluster, &tokio));
    a_control_plane_that_is_not_there(&tokio);
    let cluster = scene.end();
    tables_that_hang(&cluster, &tokio);
    scene::stop_in_order(&cluster);
}
