//! A column, and a table, are dropped while a cluster runs: what needs them waits, everything else goes on.

use std::time::{Duration, Instant};

use handfast_cassandra_tests::Cql;
use handfast_client::{Client, Level, Options, Outcome, RetryPolicy, Transaction};
use handfast_cluster::{Cluster, ClusterSpec, Member};
use serde_json::Value as Json;
use tokio::runtime::Runtime;

const NAMESPACE: &str = "parked";
const DEFINITION: &str = r#"name = "parked"
shards = 4

[[table]]
cql = "CREATE TABLE accounts (id text PRIMARY KEY, balance bigint, note text)"

[[table]]
cql = "CREATE TABLE audit (id text PRIMARY KEY, v bigint)"

[[table]]
cql = "CREATE TABLE goes (id text PRIMARY KEY, v bigint)"
"#;
const REFUSED_ROWS: usize = 1_000;
const ROWS_AT_ONCE: usize = 100;
/// No wait takes as long, on any machine.
const PATIENCE: Duration = Duration::from_secs(90);
/// Within which everything must go on that does not need what was dropped.
const GOES_ON: Duration = Duration::from_secs(15);
/// What a thousand small rows may take of a server's memory, and of what it holds for the tables.
const MEMORY_BYTES: u64 = 128 << 20;
const OVERLAY_BYTES: f64 = 2e6;

struct Scene {
    cluster: Cluster,
    tokio: Runtime,
    cql: Cql,
}

/// Asks again and again until there is an answer.
fn until<T>(mut ask: impl FnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        match ask() {
            Ok(found) => return found,
            Err(why) => assert!(Instant::now() < end, "{why}"),
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

impl Scene {
    /// The command line against one server, as an operator runs it.
    fn handfast(&self, member: Member, args: &[&str]) -> Json {
        let endpoint = self.cluster.endpoint(member);
        let whom = ["--namespace", NAMESPACE, "--endpoint", &endpoint, "--output", "json"];
        let said = self.tokio.block_on(handfast_e2e::run(&[args, &whom].concat()));
        serde_json::from_str(&said.expect("it ends").expect_success()).expect("JSON")
    }

    fn parked_rows(&self) -> u64 {
        let list = |member| self.handfast(member, &["parked", "list", "--limit", "1"]);
        let total = |list: Json| list["total"].as_u64().expect("a number");
        self.cluster.participants().map(|member| total(list(member))).sum()
    }

    fn wait_for_parked(&self, expected: u64) -> Duration {
        let begun = Instant::now();
        until(|| match self.parked_rows() {
            found if found == expected => Ok(begun.elapsed()),
            found => Err(format!("{found} rows are parked, not {expected}")),
        })
    }

    /// What the servers hold for the tables, once they say that they do: gauges are set about once in a second.
    fn overlay_bytes(&self) -> f64 {
        let of = |member| self.cluster.metric(member, "handfast_overlay_bytes").expect("metrics");
        until(|| {
            let bytes: f64 = self.cluster.participants().filter_map(of).sum();
            let why = || "no server says that it holds anything for the tables".to_owned();
            (bytes > 0.0).then_some(bytes).ok_or_else(why)
        })
    }

    fn client(&self, level: Level) -> Client {
        let options =
            Options { level, wait: GOES_ON, retry: RetryPolicy::default(), ..Options::default() };
        let connecting = Client::connect_with(self.cluster.endpoints(), options);
        self.tokio.block_on(connecting).expect("a client")
    }

    fn commit(&self, client: &Client, transaction: &Transaction) -> bool {
        match self.tokio.block_on(client.submit(transaction)).expect("an answer") {
            Outcome::Committed(committed) => committed.applied,
            other => panic!("{other:?}"),
        }
    }

    fn resident_bytes(&self) -> u64 {
        let states = self.cluster.states();
        let servers = states.iter().filter(|state| state.name.starts_with("participant"));
        servers.filter_map(|state| state.resident_bytes).sum()
    }
}

fn note(number: usize, round: usize) -> (String, String) {
    (format!("row-{number:04}"), format!("note {round} of {number}"))
}

/// Every row's note, in transactions of a hundred, each with a row of another table.
fn write_notes(scene: &Scene, client: &Client, round: usize) {
    for first in (0..REFUSED_ROWS).step_by(ROWS_AT_ONCE) {
        let v = i64::try_from(round).expect("few rounds");
        let mut transaction =
            Transaction::new(NAMESPACE).put("audit", format!("audit-{first}"), ("v", v));
        for number in first..first + ROWS_AT_ONCE {
            let (row, text) = note(number, round);
            transaction = transaction.put("accounts", row, ("note", text));
        }
        scene.commit(client, &transaction);
    }
}

fn a_dropped_column_parks_what_needs_it(scene: &Scene) {
    let (committed, applied) = (scene.client(Level::Committed), scene.client(Level::Applied));
    let open = Transaction::new(NAMESPACE).put("accounts", "free", ("balance", 1_i64));
    assert!(scene.commit(&applied, &open));
    let before = scene.resident_bytes();
    scene.cql.run("ALTER TABLE parked.accounts DROP note");
    let rounds = 3;
    for round in 1..=rounds {
        write_notes(scene, &committed, round);
    }
    let took = scene.wait_for_parked(REFUSED_ROWS as u64);
    println!("{REFUSED_ROWS} rows, written {rounds} times, are parked after another {took:?}");

    // Others go on, of the same table too, and are applied.
    let begun = Instant::now();
    for number in 0..20_i64 {
        let other = Transaction::new(NAMESPACE).put("accounts", "free", ("balance", number)).put(
            "audit",
            format!("other-{number}"),
            ("v", number),
        );
        assert!(scene.commit(&applied, &other), "{number} is applied");
    }
    println!("20 transactions beside them were applied in {:?}", begun.elapsed());
    let audits = "SELECT count(*) FROM parked.audit WHERE v = 3 ALLOW FILTERING";
    let expected = (REFUSED_ROWS / ROWS_AT_ONCE) as i64 + 1;
    assert_eq!(scene.cql.rows::<(i64,)>(audits), [(expected,)], "the rest of each transaction");

    // What is listed, and how much.
    for member in scene.cluster.participants().collect::<Vec<_>>() {
        let all = scene.handfast(member, &["parked", "list", "--limit", "10000"]);
        let total = all["total"].as_u64().expect("a number");
        assert!(total > 10, "{member} leads some of them");
        assert_eq!(all["rows"].as_array().map(Vec::len), Some(total as usize));
        let few = scene.handfast(member, &["parked", "list", "--limit", "10"]);
        assert_eq!(
            (few["rows"].as_array().map(Vec::len), &few["total"]),
            (Some(10), &all["total"])
        );
        let row = &few["rows"][0];
        assert_eq!(row["row"]["table"], "accounts");
        let reason = row["reason"].as_str().expect("a text");
        assert!(reason.contains("ALTER TABLE parked.accounts ADD note text"), "{reason}");
        let text = row["columns"]["note"].as_str().expect("a text");
        assert!(text.starts_with(&format!("note {rounds} of")), "{text}");
    }
    let overlay = scene.overlay_bytes();
    let more = scene.resident_bytes().saturating_sub(before);
    println!("they take {overlay} bytes of the overlay; the servers take {} KiB more", more >> 10);
    assert!(overlay > 0.0 && overlay < OVERLAY_BYTES && more < MEMORY_BYTES);

    // Reads see what is committed, whatever the tables hold.
    let (row, text) = note(7, rounds);
    let read = scene.tokio.block_on(committed.read_row(NAMESPACE, "accounts", row.clone()));
    assert_eq!(read.expect("a row").text("note"), Some(text.as_str()));

    scene.cql.run("ALTER TABLE parked.accounts ADD note text");
    for member in scene.cluster.participants().collect::<Vec<_>>() {
        scene.handfast(member, &["parked", "retry", "--all"]);
    }
    println!("with the column back all are applied after {:?}", scene.wait_for_parked(0));
    let mut found: Vec<(String, String)> =
        scene.cql.rows("SELECT id, note FROM parked.accounts WHERE note > '' ALLOW FILTERING");
    found.sort();
    let expected: Vec<_> = (0..REFUSED_ROWS).map(|number| note(number, rounds)).collect();
    assert_eq!(found, expected, "the last of each, and all of them");
}

fn a_dropped_table_holds_up_no_other(scene: &Scene) {
    scene.cql.run("DROP TABLE parked.goes");
    let client = scene.client(Level::Committed);
    let handle = scene.tokio.handle();
    // Rows of it are asked for all the while, from every shard.
    let waiting: Vec<_> = (0..16)
        .map(|number| {
            let client = client.clone();
            let read =
                async move { client.read_row(NAMESPACE, "goes", format!("g{number}")).await };
            handle.spawn(read)
        })
        .collect();
    std::thread::sleep(Duration::from_millis(500));
    let mut slowest = Duration::ZERO;
    for number in 0..100 {
        // Nobody has read these before: they come from the tables.
        let begun = Instant::now();
        let rows = ["accounts", "audit"].map(|table| (table, format!("unread-{number}")));
        let rows = scene.tokio.block_on(client.read(NAMESPACE, rows)).expect("rows");
        assert!(rows.iter().all(|row| !row.exists));
        slowest = slowest.max(begun.elapsed());
    }
    println!("of 100 reads beside a table that is gone the slowest took {slowest:?}");
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
    scene.cql.run("CREATE TABLE parked.goes (id text PRIMARY KEY, v bigint)");
    let begun = Instant::now();
    loop {
        let rows = (0..16).map(|number| ("goes", format!("g{number}")));
        if scene.tokio.block_on(client.read(NAMESPACE, rows)).is_ok() {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "the table is back, and is not read");
    }
    println!("the table is back, and read after {:?}", begun.elapsed());
    for read in waiting {
        let _ = scene.tokio.block_on(read).expect("it does not panic"); // it may have waited in vain
    }
}

#[test]
fn what_was_dropped_stops_what_needs_it_and_nothing_else() {
    let spec = ClusterSpec {
        kafka: 1,
        cassandra: 1,
        gateways: 0,
        participants: 2,
        ..ClusterSpec::default()
    };
    let cluster = Cluster::start(&spec).expect("a cluster");
    let tokio = Runtime::new().expect("threads");
    tokio.block_on(async {
        let client = cluster.client().await.expect("a client");
        let definition = cluster.definition(DEFINITION);
        client.admin().create_namespace(&definition).await.expect("a namespace");
    });
    let cql = Cql::connect(&cluster.stack().cassandra_nodes());
    let scene = Scene { cluster, tokio, cql };
    a_dropped_column_parks_what_needs_it(&scene);
    a_dropped_table_holds_up_no_other(&scene);
    scene.cluster.stop_all().expect("all stop in order");
}
