//! Tables in a cluster.

use super::*;

const CLUSTER: &str = r#"
    name = "bank"

    [store]
    kind = "cassandra"
    contact_points = ["10.0.0.1", "[::1]:9042", "db.example:9043"]
    datacenter = "dc1"
    keyspace = "bank"

    [[table]]
    cql = "CREATE TABLE accounts (id text PRIMARY KEY, balance bigint)"

    [[table]]
    cql = "CREATE TABLE other.ledger (id text PRIMARY KEY)"
"#;

#[test]
fn a_cluster_of_tables_is_read_and_written() {
    let bank = read(CLUSTER);
    let store = bank.store();
    assert_eq!((store.kind, store.concurrency), (StoreKind::Cassandra, 64));
    assert_eq!((store.own_keyspace.as_str(), store.create_tables), ("handfast", false));
    let keyspaces: Vec<_> = bank.tables().iter().map(|table| bank.keyspace_of(table)).collect();
    assert_eq!(keyspaces, [Some("bank"), Some("other")]);
    assert_eq!(read(&bank.to_toml()), bank);
    assert_eq!(read(BANK).store().kind, StoreKind::Embedded);
    let with_tls = CLUSTER.replace("datacenter", "tls_ca = \"/etc/ca.pem\"\n    datacenter");
    let with_tls = read(&with_tls);
    assert_eq!(with_tls.store().tls_ca.as_deref(), Some("/etc/ca.pem"));
    assert_eq!(read(&with_tls.to_toml()), with_tls);
    bank.validate_change(&with_tls).expect("TLS may come later");
}

#[test]
fn what_is_wrong_with_a_cluster_is_told_with_its_place() {
    let replaced = |from: &str, to: &str| {
        assert!(CLUSTER.contains(from), "{from}");
        problems(&CLUSTER.replace(from, to))
    };
    for (from, to, expected) in [
        ("kind = \"cassandra\"", "", "store.contact_points: only a cluster has this"),
        ("\"10.0.0.1\"", "\"cql://x\"", "store.contact_points: \"cql://x\" is not host"),
        ("\"10.0.0.1\"", "\"x:0\"", "store.contact_points: \"x:0\" is not host"),
        ("\"10.0.0.1\"", "7", "store.contact_points: expected a list of strings, got"),
        ("datacenter = \"dc1\"", "", "store.datacenter: name the data centre"),
        ("datacenter", "datacentre", "store.datacentre: unknown key: did you mean \"datacenter\"?"),
        ("keyspace = \"bank\"", "", "table[0].cql: accounts is in no keyspace"),
        ("keyspace = \"bank\"", "keyspace = \"b-k\"", "store.keyspace: \"b-k\" is not a keyspace"),
        (
            "datacenter",
            "create_tables = 1\ndatacenter",
            "store.create_tables: expected true or false",
        ),
        ("datacenter", "tls_ca = \"\"\ndatacenter", "store.tls_ca: name a file with certificates"),
        ("datacenter", "concurrency = 0\ndatacenter", "store.concurrency: expected a whole number"),
    ] {
        let found = replaced(from, to);
        assert!(found[0].starts_with(expected), "{found:#?}\n{expected}");
    }
}

#[test]
fn a_namespace_keeps_its_store_and_keyspaces() {
    let old = read(CLUSTER);
    let new = CLUSTER.replace("keyspace = \"bank\"", "keyspace = \"b2\"\nown_keyspace = \"h2\"");
    let error = old.validate_change(&read(&new)).expect_err("both are kept");
    let paths: Vec<_> = error.problems.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(paths, ["store.keyspace", "store.own_keyspace"]);
    let elsewhere = CLUSTER.replace("10.0.0.1", "10.0.0.9");
    old.validate_change(&read(&elsewhere)).expect("contact points may change");
}
