//! A namespace gets a table while it is used.

use std::time::Instant;

use handfast_cassandra_tests::Cql;
use handfast_client::{Level, Transaction};
use handfast_cluster::Cluster;
use handfast_cluster::load::NAMESPACE;
use tokio::runtime::Runtime;

const TABLE: &str = r#"
[[table]]
cql = "CREATE TABLE added (id text PRIMARY KEY, n bigint)"
"#;

/// The server that was asked serves the new version at once. The others, on which its transactions take
/// part, have not seen it then, nor made its tables their own.
pub(crate) fn a_new_table_is_served(cluster: &Cluster) {
    let tokio = Runtime::new().expect("a runtime");
    tokio.block_on(async {
        let client = cluster.client().await.expect("it is served");
        let (admin, begun) = (client.admin(), Instant::now());
        let current = admin.describe_namespace(NAMESPACE).await.expect("it is there");
        let (file, version) = (format!("{}{TABLE}", current.definition), current.version);
        let changed = admin.change_namespace(&file, version).await.expect("a table may be added");
        assert_eq!(changed.version, version + 1);
        let client = client.at_level(Level::Applied);
        for number in 0..20_i64 {
            // Of one shard, and of several.
            let one =
                Transaction::new(NAMESPACE).put("added", format!("one-{number}"), ("n", number));
            let many = Transaction::new(NAMESPACE)
                .add("added", format!("many-{number}"), ("n", number))
                .put("counters", format!("added-{number}"), ("n", number));
            for transaction in [one, many] {
                let outcome = client.submit(&transaction).await.expect("it is served");
                assert!(outcome.is_committed(), "{outcome:?}");
            }
        }
        println!(
            "a new table: 40 transactions, {} ms after the change",
            begun.elapsed().as_millis()
        );
    });
    let cql = Cql::connect(&cluster.stack().cassandra_nodes());
    let mut found = cql.rows::<(String, i64)>("SELECT id, n FROM faults.added");
    found.sort_unstable();
    let each = |kind: &'static str| (0..20_i64).map(move |n| (format!("{kind}-{n}"), n));
    let mut expected: Vec<(String, i64)> = each("one").chain(each("many")).collect();
    expected.sort_unstable();
    assert_eq!(found, expected);
}
