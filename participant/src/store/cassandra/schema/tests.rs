use std::sync::Arc;

use wal_core::TableId;
use wal_core::schema::{Ownership, Table};

use super::*;

const GRACE: u64 = 28_800;

fn table() -> ClusterTable {
    let cql = "CREATE TABLE t (a text, b int, v bigint, PRIMARY KEY (a, b))";
    let table = Table::new(TableId(0), cql.parse().expect("CQL"), Ownership::Owned);
    ClusterTable::new("ks", Arc::new(table))
}

fn column(kind: &str, position: i32, ty: &str) -> Column {
    Column { kind: kind.to_owned(), position, ty: ty.to_owned() }
}

fn found() -> Found {
    Found {
        columns: BTreeMap::from([
            ("a".to_owned(), column("partition_key", 0, "text")),
            ("b".to_owned(), column("clustering", 0, "int")),
            ("v".to_owned(), column("regular", -1, "bigint")),
        ]),
        gc_grace_seconds: 864_000,
        default_time_to_live: 0,
        flags: vec!["compound".to_owned()],
    }
}

fn only(change: impl FnOnce(&mut Found)) -> String {
    let mut found = found();
    change(&mut found);
    let messages = differences(&table(), &found, GRACE);
    assert_eq!(messages.len(), 1, "{messages:#?}");
    messages.into_iter().next().expect("counted above")
}

#[test]
fn a_table_as_the_namespace_says_is_taken() {
    assert!(differences(&table(), &found(), GRACE).is_empty());
}

#[test]
fn every_difference_is_told_with_the_statement_that_mends_it() {
    let message = only(|found| drop(found.columns.remove("v")));
    assert!(message.ends_with("ALTER TABLE ks.t ADD v bigint;"), "{message}");
    let message = only(|found| drop(found.columns.remove("b")));
    assert!(message.contains("key column \"b\" is not there"), "{message}");
    let message = only(|found| {
        found.columns.insert("W".to_owned(), column("regular", -1, "int"));
    });
    assert!(message.contains("`\"W\" int`") && message.ends_with("ALTER TABLE ks.t DROP \"W\";"));
    let message = only(|found| {
        found.columns.insert("w".to_owned(), column("regular", -1, "list<int>"));
    });
    assert!(message.contains("list<int>, which is not supported yet"), "{message}");
    let message = only(|found| {
        found.columns.insert("w".to_owned(), column("static", -1, "int"));
    });
    assert!(message.contains("static of type int, which is not supported yet"), "{message}");
    let message = only(|found| {
        found.columns.insert("v".to_owned(), column("regular", -1, "int"));
    });
    assert!(message.contains("is int in the cluster and bigint in the namespace"), "{message}");
    let message = only(|found| {
        found.columns.insert("b".to_owned(), column("regular", -1, "int"));
    });
    assert!(message.contains("regular -1 in the cluster and clustering 0"), "{message}");
    let message = only(|found| found.gc_grace_seconds = 28_799);
    assert!(message.ends_with("ALTER TABLE ks.t WITH gc_grace_seconds = 864000;"), "{message}");
    let message = only(|found| found.default_time_to_live = 60);
    assert!(message.ends_with("default_time_to_live = 0;"), "{message}");
    let message = only(|found| found.flags.push("counter".to_owned()));
    assert!(message.contains("it is a counter table"), "{message}");
}

#[test]
fn durations_are_read_as_servers_print_them() {
    let hours = Some(Duration::from_secs(3 * 60 * 60));
    for text in ["3h", "180m", "10800s", "10800000ms", "10800000"] {
        assert_eq!(duration(text), hours, "{text}");
    }
    assert_eq!(duration("3 h"), None);
    assert_eq!(duration("h"), None);
}
