//! Ordinary CQL beside Handfast, on the same tables.

use handfast_cassandra_tests::{options, store};
use participant::store::TableStore;
use participant::store::cassandra::Cluster;
use wal_core::value::Value;
use wal_core::{Row, RowMutation, Timestamp};

use super::{Scene, cell, key, put, table};

const CQL: &str = "CREATE TABLE accounts (id text PRIMARY KEY, owner text, balance bigint)";

pub(crate) fn others_read_and_write_the_same_tables(scene: &Scene<'_>) {
    scene.cql.keyspace("plain", 1);
    // The table and a row of it were there before.
    scene.cql.run("CREATE TABLE plain.accounts (id text PRIMARY KEY, owner text, balance bigint)");
    scene.cql.run("INSERT INTO plain.accounts (id, owner, balance) VALUES ('old', 'ann', 5)");
    let (at,) = scene
        .cql
        .rows::<(i64,)>("SELECT WRITETIME(balance) FROM plain.accounts WHERE id = 'old'")
        .remove(0);
    let cluster = Cluster::connect(&options(scene.stack)).expect("nodes");
    let store = store(&cluster, "plain", &[table(0, CQL)]);

    let old = key(0, "old");
    let row = store.read(std::slice::from_ref(&old)).expect("a read").remove(0);
    let ann = cell(1, at, Some(Value::from("ann")));
    let five = cell(2, at, Some(Value::BigInt(5)));
    let expected = Row { cells: vec![ann.clone(), five], ..Row::default() }.shown();
    assert_eq!(row, expected, "what others wrote can be read, with its write times");

    // Overwritten: the other column stays as it was.
    let later = at + 8;
    store.apply(&[put(&old, [cell(2, later, Some(Value::BigInt(6)))])]).expect("an apply");
    let all = "SELECT id, owner, balance, WRITETIME(owner), WRITETIME(balance) FROM plain.accounts";
    type All = (String, Option<String>, Option<i64>, Option<i64>, Option<i64>);
    let expected = ("old".to_owned(), Some("ann".to_owned()), Some(6), Some(at), Some(later));
    assert_eq!(scene.cql.rows::<All>(all), [expected]);
    // Nothing but the namespace's columns is in the table.
    let columns = "SELECT column_name FROM system_schema.columns WHERE keyspace_name = 'plain' AND \
                   table_name = 'accounts'";
    let columns: Vec<_> = scene.cql.rows::<(String,)>(columns);
    assert_eq!(columns, ["balance", "id", "owner"].map(|name| (name.to_owned(),)));

    // A write that is older than what is there changes nothing, however late it comes.
    store.apply(&[put(&old, [cell(2, at + 1, Some(Value::BigInt(7)))])]).expect("an apply");
    let balance = "SELECT balance FROM plain.accounts WHERE id = 'old'";
    assert_eq!(scene.cql.rows::<(i64,)>(balance), [(6,)]);
    let delta = Row { deleted_at: Some(Timestamp(later + 8)), ..Row::default() };
    store.apply(&[RowMutation { key: old.clone(), delta }]).expect("an apply");
    assert!(scene.cql.rows::<(i64,)>(balance).is_empty());
    assert_eq!(store.read(&[old]).expect("a read"), [Row::default()]);
}

/// What CQL shows of markers is all that can be known of them: this is the ground of
/// [`Row::is_decided`].
pub(crate) fn a_row_of_nothing_but_its_key_exists(scene: &Scene<'_>) {
    let cluster = Cluster::connect(&options(scene.stack)).expect("nodes");
    let store = store(&cluster, "plain", &[table(0, CQL)]);
    let read = |id: &str| store.read(&[key(0, id)]).expect("a read").remove(0);
    let apply = |id: &str, delta: Row| {
        store.apply(&[RowMutation { key: key(0, id), delta }]).expect("an apply");
    };
    let marker = Row { marker_at: Some(Timestamp(9)), ..Row::default() };
    let one = |at, value| Row { cells: vec![cell(2, at, value)], ..Row::default() };
    for (id, insert) in [("inserted", true), ("updated", false)] {
        if insert {
            apply(id, marker.clone());
            assert_eq!(read(id), marker.shown(), "{id}");
        }
        apply(id, one(17, Some(Value::BigInt(1))));
        // With a live cell nobody can tell the two apart …
        assert_eq!(read(id), one(17, Some(Value::BigInt(1))).shown(), "{id}");
        let mut merged = read(id);
        merged.merge(&one(24, None));
        assert!(!merged.is_decided(), "{id}");
        // … and without one, they differ.
        apply(id, one(24, None));
        assert_eq!(read(id).exists(), insert, "{id}");
        assert!(read(id).is_decided(), "{id}");
        let rows = scene
            .cql
            .rows::<(String,)>(&format!("SELECT id FROM plain.accounts WHERE id = '{id}'"));
        assert_eq!(rows.len(), usize::from(insert), "{id}");
    }
}
