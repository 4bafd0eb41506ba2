//! A node that asks who is there, lets not everybody do everything, and speaks TLS.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use handfast_cassandra_tests::{Cql, options};
use handfast_stack::{Network, Stack, StackSpec};
use participant::store::cassandra::{
    CassandraStore, Cluster, ClusterOptions, Credentials, OpenError, Registry, StoreOptions,
};
use participant::store::{Refusal, StoreError, TableStore};
use wal_core::schema::{Ownership, Table};
use wal_core::value::Value;
use wal_core::{Cell, ColumnId, Row, RowKey, RowMutation, TableId, Timestamp};

fn start(folder: &Path) -> Stack {
    let network = Network::drawn();
    handfast_stack::certificates(folder, network.host(1)).expect("certificates");
    let keystore = folder.join("node.p12");
    let settings = [
        ("authenticator", "PasswordAuthenticator".to_owned()),
        ("authorizer", "CassandraAuthorizer".to_owned()),
        // A permission that was granted counts at once.
        ("permissions_validity", "0ms".to_owned()),
        ("roles_validity", "0ms".to_owned()),
        ("credentials_validity", "0ms".to_owned()),
        (
            "client_encryption_options",
            format!(
                "{{ enabled: true, optional: true, keystore: {}, keystore_password: handfast, \
                 store_type: PKCS12 }}",
                keystore.display()
            ),
        ),
    ];
    let cassandra_settings =
        settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let spec = StackSpec {
        cassandra: 1,
        cassandra_settings,
        network: Some(network),
        ..StackSpec::default()
    };
    Stack::start(&spec).expect("a node that starts")
}

fn of_role(stack: &Stack, user: &str, password: &str) -> ClusterOptions {
    let credentials = Credentials { user: user.to_owned(), password: password.to_owned() };
    ClusterOptions { credentials: Some(credentials), ..options(stack) }
}

fn accounts() -> Vec<(String, Arc<Table>)> {
    let table = |(id, name)| {
        let cql = format!("CREATE TABLE {name} (id text PRIMARY KEY, v bigint)");
        let table = Table::new(TableId(id), cql.parse().expect("CQL"), Ownership::Owned);
        ("bank".to_owned(), Arc::new(table))
    };
    [(0, "accounts"), (1, "\"Audit\"")].map(table).into()
}

fn row(table: u32, at: i64) -> RowMutation {
    let key = RowKey {
        table: TableId(table),
        partition: b"k".as_slice().into(),
        clustering: bytes::Bytes::new(),
    };
    let value = Some(Value::BigInt(at).encode());
    let cell = Cell { column: ColumnId(1), timestamp: Timestamp(at), value };
    RowMutation { key, delta: Row { cells: vec![cell], ..Row::default() } }
}

fn open(cluster: &Arc<Cluster>, create_tables: bool) -> Result<CassandraStore, OpenError> {
    let options = StoreOptions { concurrency: 8, create_tables };
    CassandraStore::open(Arc::clone(cluster), &accounts(), &options)
}

/// Why it does not open: denied, with the statement that grants what is missing.
fn denied<T: std::fmt::Debug>(opened: Result<T, OpenError>, grant: &str) {
    match opened {
        Err(error @ OpenError::Denied { .. }) => {
            let text = error.to_string();
            println!("{text}");
            assert!(text.contains(&format!("have an administrator run: {grant}")), "{text}");
        }
        other => panic!("{other:?}"),
    }
}

fn logins_are_refused_clearly(stack: &Stack) {
    for (given, words) in [
        (options(stack), ["asks for a login", "set HANDFAST_CASSANDRA_USER"]),
        (of_role(stack, "bank", "wrong"), ["does not let the role \"bank\" in", "check HANDFAST"]),
        (of_role(stack, "nobody", "secret"), ["the role \"nobody\" in", "HANDFAST_CASSANDRA_PASS"]),
    ] {
        match Cluster::connect(&given) {
            Err(error @ OpenError::Login { .. }) => {
                let text = error.to_string();
                println!("{text}");
                assert!(words.iter().all(|word| text.contains(word)), "{text}");
                assert!(!text.contains("secret") && !text.contains("wrong"), "{text}");
            }
            other => panic!("{other:?}"),
        }
    }
}

fn permissions_are_named(stack: &Stack, admin: &Cql) {
    let cluster = Cluster::connect(&of_role(stack, "bank", "right")).expect("it may log in");
    let run = |grant: &str| admin.run(grant.trim_end_matches(';'));
    // Not even the keyspace is there.
    denied(open(&cluster, true), "GRANT CREATE ON ALL KEYSPACES TO bank;");
    admin.keyspace("bank", 1);
    let cluster = Cluster::connect(&of_role(stack, "bank", "right")).expect("it may log in");
    denied(open(&cluster, true), "GRANT CREATE ON ALL TABLES IN KEYSPACE bank TO bank;");
    for table in ["accounts", "\"Audit\""] {
        run(&format!("CREATE TABLE bank.{table} (id text PRIMARY KEY, v bigint)"));
    }
    for grant in [
        "GRANT SELECT ON TABLE bank.accounts TO bank;",
        "GRANT MODIFY ON TABLE bank.accounts TO bank;",
        "GRANT SELECT ON TABLE bank.\"Audit\" TO bank;",
        "GRANT MODIFY ON TABLE bank.\"Audit\" TO bank;",
    ] {
        denied(open(&cluster, false), grant);
        run(grant);
    }
    let store = open(&cluster, false).expect("it has all that it needs");
    denied(
        Registry::open(Arc::clone(&cluster), "handfast"),
        "GRANT CREATE ON ALL KEYSPACES TO bank;",
    );

    // A permission that is taken away while it runs stops what needs it, and nothing else.
    store.apply(&[row(0, 10), row(1, 10)]).expect("both");
    run("REVOKE MODIFY ON TABLE bank.\"Audit\" FROM bank");
    let refused = match store.apply(&[row(0, 20), row(1, 20)]) {
        Err(StoreError::Refused(refused)) => refused,
        other => panic!("{other:?}"),
    };
    let [Refusal { index: 1, why }] = &refused[..] else { panic!("{refused:?}") };
    println!("{why}");
    assert!(why.contains("GRANT MODIFY ON TABLE bank.\"Audit\" TO bank;"), "{why}");
    run("REVOKE SELECT ON TABLE bank.\"Audit\" FROM bank");
    let keys = [0, 1].map(|table| row(table, 0).key);
    let refused = match store.read(&keys) {
        Err(StoreError::Refused(refused)) => refused,
        other => panic!("{other:?}"),
    };
    let [Refusal { index: 1, why }] = &refused[..] else { panic!("{refused:?}") };
    assert!(why.contains("GRANT SELECT ON TABLE bank.\"Audit\" TO bank;"), "{why}");
    store.apply(&[row(0, 30)]).expect("the other table");
    assert_eq!(store.read(&keys[..1]).expect("the other table")[0].newest(), Some(Timestamp(30)));
    run("GRANT MODIFY ON TABLE bank.\"Audit\" TO bank");
    run("GRANT SELECT ON TABLE bank.\"Audit\" TO bank");
    store.apply(&[row(1, 40)]).expect("it was granted again");
    assert_eq!(store.read(&keys).expect("both")[1].newest(), Some(Timestamp(40)));
}

fn tls_is_spoken_and_checked(stack: &Stack, admin: &Cql, folder: &Path) {
    let by = |authority: PathBuf, points: Vec<String>| ClusterOptions {
        tls_ca: Some(authority),
        contact_points: points,
        ..of_role(stack, "bank", "right")
    };
    let points: Vec<String> = options(stack).contact_points;
    let cluster = Cluster::connect(&by(folder.join("ca.pem"), points.clone())).expect("TLS");
    let store = open(&cluster, false).expect("the tables");
    store.apply(&[row(0, 50)]).expect("an apply");
    let of_bank =
        "SELECT ssl_enabled FROM system_views.clients WHERE username = 'bank' ALLOW FILTERING";
    let encrypted = admin.rows::<(bool,)>(of_bank).into_iter().filter(|(tls,)| *tls).count();
    assert!(encrypted > 0, "the node says that somebody came with TLS");

    match Cluster::connect(&by(folder.join("other.pem"), points.clone())) {
        Err(error @ OpenError::Unreachable { .. }) => {
            let text = error.to_string();
            println!("{text}");
            assert!(text.contains("ertificate") && text.contains("store.tls_ca"), "{text}");
        }
        other => panic!("another authority did not sign it: {other:?}"),
    }
    std::fs::write(folder.join("empty.pem"), "nothing\n").expect("written");
    for name in ["empty.pem", "missing.pem"] {
        match Cluster::connect(&by(folder.join(name), points.clone())) {
            Err(error @ OpenError::Authority { .. }) => {
                let text = error.to_string();
                println!("{text}");
                assert!(text.contains(name) && text.contains("store.tls_ca"), "{text}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn a_node_with_logins_permissions_and_tls() {
    let folder = tempfile::tempdir().expect("a folder");
    let stack = start(folder.path());
    let admin = Cql::connect_as(&stack.cassandra_nodes(), "cassandra", "cassandra");
    admin.run("CREATE ROLE bank WITH PASSWORD = 'right' AND LOGIN = true");
    logins_are_refused_clearly(&stack);
    permissions_are_named(&stack, &admin);
    tls_is_spoken_and_checked(&stack, &admin, folder.path());
}
