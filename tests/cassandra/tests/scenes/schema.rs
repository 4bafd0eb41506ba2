//! Tables that are not as the namespace says, from the start or all of a sudden.

use handfast_cassandra_tests::{namespace, options, store};
use participant::store::cassandra::{self, Cluster, OpenError};
use participant::store::{Refusal, StoreError, TableStore};
use wal_core::value::Value;

use super::{Scene, cell, key, put, table};

const GOOD: &str = "CREATE TABLE good (id text PRIMARY KEY, v bigint)";

/// Opens a namespace and returns what is wrong with its tables, one text each.
fn problems(scene: &Scene<'_>, more: &str, cql: &[&str]) -> Vec<String> {
    let namespace = namespace(scene.stack, "drift", "differ", more, cql);
    match cassandra::open(&namespace, 1, None) {
        Ok(opened) => {
            let names = opened.store.table_names().into_iter();
            opened.registry.release(1, names).expect("released");
            Vec::new()
        }
        Err(OpenError::Schema(problems)) => problems.iter().map(ToString::to_string).collect(),
        Err(other) => panic!("{other}"),
    }
}

/// The statements that a refusal tells to run.
fn fixes(problem: &str) -> String {
    problem.lines().filter_map(|line| line.strip_prefix("    ")).collect::<Vec<_>>().join("\n")
}

pub(crate) fn every_difference_is_refused_and_its_fix_mends_it(scene: &Scene<'_>) {
    // No keyspace.
    let found = problems(scene, "", &[GOOD]);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].starts_with("differ: the keyspace is not there"), "{found:#?}");
    scene.cql.run(&fixes(&found[0]).replace(": 3}", ": 1}"));
    // No table: refused with its statement, or created where that was asked for.
    let found = problems(scene, "", &[GOOD]);
    assert!(found[0].starts_with("differ.good: the table is not there"), "{found:#?}");
    scene.cql.run(&fixes(&found[0]));
    assert!(problems(scene, "", &[GOOD]).is_empty());
    let asked = "CREATE TABLE asked (id text PRIMARY KEY, v bigint) WITH comment = 'kept'";
    assert!(problems(scene, "create_tables = true", &[GOOD, asked]).is_empty());
    let comment = "SELECT comment FROM system_schema.tables WHERE keyspace_name = 'differ' AND \
                   table_name = 'asked'";
    assert_eq!(scene.cql.rows::<(String,)>(comment), [("kept".to_owned(),)]);
    // Each of these has a statement that mends it.
    for (change, expected) in [
        ("ALTER TABLE differ.good DROP v", "the column \"v\" is not there"),
        ("ALTER TABLE differ.good ADD \"X y\" int", "does not know the column \"X y\""),
        ("ALTER TABLE differ.good ADD tags set<text>", "set<text>, which is not supported"),
        ("ALTER TABLE differ.good WITH gc_grace_seconds = 3600", "gc_grace_seconds is 3600"),
        ("ALTER TABLE differ.good WITH default_time_to_live = 60", "expire by themselves"),
    ] {
        scene.cql.run(change);
        // Asked to create tables or not, it never alters one.
        for more in ["", "create_tables = true"] {
            let found = problems(scene, more, &[GOOD]);
            assert_eq!(found.len(), 1, "{change}: {found:#?}");
            assert!(found[0].contains(expected), "{change}: {found:#?}");
        }
        scene.cql.run(&fixes(&problems(scene, "", &[GOOD])[0]));
        assert!(problems(scene, "", &[GOOD]).is_empty(), "{change}");
    }
    // These have none: another table, or another namespace file.
    scene.cql.run("CREATE TABLE differ.counted (id text PRIMARY KEY, v counter)");
    scene.cql.run("CREATE TABLE differ.keyed (a text, id text, v int, PRIMARY KEY (a, id))");
    let counted = "CREATE TABLE counted (id text PRIMARY KEY, v bigint)";
    let keyed = "CREATE TABLE keyed (id text PRIMARY KEY, a text, v bigint)";
    let found = problems(scene, "", &[GOOD, counted, keyed]);
    for expected in [
        "differ.counted: it is a counter table",
        "differ.counted: the column \"v\" is counter in the cluster and bigint",
        "differ.keyed: the column \"v\" is int in the cluster and bigint in the namespace",
        "differ.keyed: the column \"id\" is clustering 0 in the cluster and partition_key 0",
        "differ.keyed: the column \"a\" is partition_key 0 in the cluster and regular",
    ] {
        assert!(
            found.iter().any(|problem| problem.starts_with(expected)),
            "{expected}\n{found:#?}"
        );
    }
}

pub(crate) fn a_dropped_column_refuses_its_own_writes_only(scene: &Scene<'_>) {
    scene.cql.keyspace("dropped", 1);
    let cluster = Cluster::connect(&options(scene.stack)).expect("nodes");
    let cql = "CREATE TABLE t (id text PRIMARY KEY, a bigint, b bigint)";
    let store = store(&cluster, "dropped", &[table(0, cql)]);
    let write = |id: &str, column, at, value| {
        put(&key(0, id), [cell(column, at, Some(Value::BigInt(value)))])
    };
    let both: Vec<_> = (0..6)
        .map(|n| {
            let (a, b) = (Value::BigInt(n), Value::BigInt(n));
            put(&key(0, &format!("k{n}")), [cell(1, 10, Some(a)), cell(2, 10, Some(b))])
        })
        .collect();
    store.apply(&both).expect("an apply");
    scene.cql.run("ALTER TABLE dropped.t DROP b");
    // In one batch with others: the others are taken, and the refusal names the right one.
    let mixed: Vec<_> =
        (0..6).map(|n| write(&format!("k{n}"), if n == 4 { 2 } else { 1 }, 20, 100 + n)).collect();
    for _ in 0..2 {
        match store.apply(&mixed) {
            Err(StoreError::Refused(refused)) => {
                let [Refusal { index: 4, why }] = &refused[..] else { panic!("{refused:?}") };
                assert!(why.contains("the column b of dropped.t was dropped"), "{why}");
                assert!(why.contains("ALTER TABLE dropped.t ADD b bigint"), "{why}");
            }
            other => panic!("{other:?}"),
        }
    }
    // A mutation with a good and a dropped column is refused whole.
    let (a, b) = (cell(1, 30, Some(Value::BigInt(7))), cell(2, 30, Some(Value::BigInt(7))));
    let refused = store.apply(&[put(&key(0, "k4"), [a, b])]);
    assert!(is_refused(&refused, 0), "{refused:?}");
    // Reads go on with what is left.
    let keys: Vec<_> = (0..6).map(|n| key(0, &format!("k{n}"))).collect();
    for (n, row) in (0..).zip(store.read(&keys).expect("a read")) {
        let (at, value) = if n == 4 { (10, 4) } else { (20, 100 + n) };
        assert_eq!(row.cells, [cell(1, at, Some(Value::BigInt(value)))], "k{n}");
    }
    // Without it, the rest is taken at once; with the column back, so is that.
    let rest: Vec<_> =
        mixed.iter().enumerate().filter(|(n, _)| *n != 4).map(|(_, m)| m.clone()).collect();
    store.apply(&rest).expect("an apply");
    scene.cql.run("ALTER TABLE dropped.t ADD b bigint");
    // Cells written before the column was dropped would stay hidden: this one is newer than the drop.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("now");
    let now = i64::try_from(now.as_micros()).expect("micros");
    store.apply(&[write("k4", 2, now, 104)]).expect("the column is back");
    let back = "SELECT b FROM dropped.t WHERE id = 'k4'";
    assert_eq!(scene.cql.rows::<(Option<i64>,)>(back), [(Some(104),)]);
    assert!(store.counts().refused >= 3);
}

pub(crate) fn a_dropped_table_refuses_its_own_writes_only(scene: &Scene<'_>) {
    let cluster = Cluster::connect(&options(scene.stack)).expect("nodes");
    let tables = [
        table(0, "CREATE TABLE stays (id text PRIMARY KEY, v bigint)"),
        table(1, "CREATE TABLE goes (id text PRIMARY KEY, v bigint)"),
    ];
    let store = store(&cluster, "dropped", &tables);
    let write = |table, id: &str, at| put(&key(table, id), [cell(1, at, Some(Value::BigInt(at)))]);
    let both = |at| [write(0, "x", at), write(1, "x", at), write(0, "y", at)];
    store.apply(&both(10)).expect("an apply");
    scene.cql.run("DROP TABLE dropped.goes");
    match store.apply(&both(20)) {
        Err(StoreError::Refused(refused)) => {
            let [Refusal { index: 1, why }] = &refused[..] else { panic!("{refused:?}") };
            assert!(why.contains("the table dropped.goes was dropped"), "{why}");
        }
        other => panic!("{other:?}"),
    }
    let keys = [key(0, "x"), key(0, "y")];
    for row in store.read(&keys).expect("a read") {
        assert_eq!(row.cells, [cell(1, 20, Some(Value::BigInt(20)))]);
    }
    let gone = store.read(&[key(1, "x")]);
    let Err(StoreError::Refused(refused)) = gone else { panic!("{gone:?}") };
    let [Refusal { index: 0, why }] = &refused[..] else { panic!("{refused:?}") };
    assert!(why.contains("the table dropped.goes was dropped; create it again"), "{why}");
    // Read with others it is named, wherever it stands; a table that the store was never told of, too.
    let mixed = store.read(&[key(0, "x"), key(1, "x"), key(0, "y"), key(1, "y"), key(9, "x")]);
    let Err(StoreError::Refused(refused)) = mixed else { panic!("{mixed:?}") };
    assert_eq!(refused.iter().map(|refusal| refusal.index).collect::<Vec<_>>(), [1, 3, 4]);
    // A table that the store was never told of, and a key that is none.
    let unknown = store.apply(&[write(0, "x", 30), write(9, "x", 30)]);
    assert!(is_refused(&unknown, 1), "{unknown:?}");
    let mut odd = write(0, "x", 30);
    odd.key.clustering = b"more".as_slice().into();
    let refused = store.apply(&[odd]);
    assert!(is_refused(&refused, 0), "{refused:?}");
}

/// Whether this mutation is refused, and no other.
fn is_refused(answer: &Result<(), StoreError>, index: usize) -> bool {
    matches!(answer, Err(StoreError::Refused(refused))
        if refused.len() == 1 && refused[0].index == index)
}
