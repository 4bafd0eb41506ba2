//! What Handfast cannot do (yet) is refused: where it stands, that it is not supported, and what to do instead. And a
//! read that waits for another region in vain says what has arrived.

use std::time::Duration;

use handfast_client::{ArrivedFrom, Message, Options, RetryPolicy, SubmitError, Transaction, Uuid};
use handfast_e2e::{Server, bank, run, run_with_input, served};
use tempfile::TempDir;
use tokio::time::Instant;

#[tokio::test]
async fn indices_views_and_tables_that_expire_are_refused_in_a_namespace_file() -> anyhow::Result<()>
{
    let (_folder, mut server, _client) = served("").await?;
    let endpoint = server.endpoint();
    let table = "CREATE TABLE t (id text PRIMARY KEY, name text)";
    let cases = [
        ("CREATE INDEX ON t (name)".to_owned(), "secondary indices are not supported yet"),
        (
            format!("{table}; CREATE INDEX by_name ON t (name)"),
            "secondary indices are not supported yet",
        ),
        ("CREATE CUSTOM INDEX ON t (name)".to_owned(), "secondary indices are not supported yet"),
        (
            "CREATE MATERIALIZED VIEW v AS SELECT id FROM t".to_owned(),
            "materialized views are not supported",
        ),
        (
            format!("{table} WITH default_time_to_live = 60"),
            "rows that expire are not supported yet",
        ),
        (table.replace("name text", "names set<text>"), "set is not supported yet"),
        (
            "CREATE TABLE t (a text, b int, n int static, PRIMARY KEY (a, b))".to_owned(),
            "static columns are not supported yet",
        ),
    ];
    for (cql, words) in cases {
        let file = format!("name = \"other\"\n[[table]]\ncql = \"\"\"{cql}\"\"\"\n");
        for verb in ["validate", "create"] {
            let said =
                run_with_input(&["--endpoint", &endpoint, "namespace", verb, "-"], &file).await?;
            said.expect_failure(1, &["table[0].cql", words, ": "]);
        }
    }
    let index = "CREATE INDEX ON t (name)";
    let file = format!("name = \"other\"\n[[table]]\ncql = \"{index}\"\n");
    let said =
        run_with_input(&["--endpoint", &endpoint, "namespace", "create", "-"], &file).await?;
    said.expect_failure(1, &["declare a table whose primary key is what is looked up"]);
    server.stop().await
}

#[tokio::test]
async fn ranges_and_values_that_expire_are_refused_in_a_transaction() -> anyhow::Result<()> {
    let (_folder, mut server, client) = served("").await?;
    let row = ("a", Uuid::nil());
    let put = Transaction::new("bank").put("transfers", row, ("amount", 1));
    assert!(client.submit(&put).await?.is_committed());
    // A key that ends after the partition key's columns.
    let range = Transaction::new("bank").delete_row("transfers", "a");
    match client.submit(&range).await {
        Err(SubmitError::Invalid { message, violations }) => {
            assert_eq!(violations[0].field, "transaction.mutations[0].row.key");
            assert!(message.contains("ranges are not supported yet: name each row"), "{message}");
        }
        other => panic!("{other:?}"),
    }
    let endpoint = server.endpoint();
    let submit = ["--endpoint", &endpoint, "submit", "--namespace", "bank", "-"];
    let cases = [
        (
            r#"{"delete": {"table": "transfers", "key": {"account": "a"}}}"#,
            "mutations[0].key: the key of transfers also needs id; it names a range of rows, and ranges are not \
             supported yet: name each row by its whole key",
        ),
        (
            r#"{"put": {"table": "accounts", "key": {"id": "a"}, "columns": {"balance": 1}, "ttl": 60}}"#,
            "mutations[0].put.ttl: values that expire are not supported yet: leave it out, and delete them when \
             their time has come, by a transaction that is due later",
        ),
        (
            r#"{"insert": {"table": "accounts", "key": {"id": "a"}, "ttl": 60}}"#,
            "mutations[0].insert.ttl: values that expire are not supported yet",
        ),
    ];
    for (mutation, words) in cases {
        let batch = format!(r#"{{"mutations": [{mutation}]}}"#);
        run_with_input(&submit, &batch).await?.expect_failure(1, &[words]);
    }
    assert!(client.read_row("bank", "transfers", row).await?.exists);
    assert!(!client.read_row("bank", "accounts", "a").await?.exists);
    server.stop().await
}

/// A server of the bank in the region `us`; that of `eu` is not there.
async fn served_in_us() -> anyhow::Result<(TempDir, Server)> {
    let folder = TempDir::new()?;
    let regions = "[[table]]\ncql = \"CREATE TABLE arrived (region text PRIMARY KEY, watermark bigint, \
                   term bigint, transactions bigint)\"\n\
                   [region]\nhere = \"us\"\nhome = \"us\"\ntable = \"arrived\"\n\
                   [[region.all]]\nname = \"eu\"\nservers = [\"http://127.0.0.1:1\"]\n\
                   [[region.all]]\nname = \"us\"\nservers = [\"http://127.0.0.1:2\"]\n";
    let server = Server::start(folder.path(), &[&format!("{}{regions}", bank(""))]).await?;
    Ok((folder, server))
}

#[tokio::test]
async fn a_read_that_waits_for_another_region_in_vain_says_what_has_arrived() -> anyhow::Result<()>
{
    let (_folder, mut server) = served_in_us().await?;
    let client = server.client().await?;
    let message = Transaction::new("bank").message(Message::new("x")).to_regions(["mars"]);
    let refused = client.submit(&message).await.expect_err("there is no such region");
    assert!(refused.to_string().contains("unknown region \"mars\""), "{refused}");
    let endpoint = server.endpoint();
    let read = ["--endpoint", &endpoint, "--timeout", "1s", "read", "--namespace", "bank"];
    let waits = [&read[..], &["accounts", "a", "--not-before", "eu=1767225600000000"]].concat();
    let said = run(&waits).await?;
    said.expect_failure(
        5,
        &[
            "region \"eu\" has arrived up to 0 only",
            "up to 1767225600000000 was asked for",
            "wait for longer, or look at `handfast region list`",
        ],
    );
    let unknown = [&read[..], &["accounts", "a", "--not-before", "mars=7"]].concat();
    run(&unknown).await?.expect_failure(1, &["not_before[0].region", "unknown region \"mars\""]);

    // A server that stops ends such a wait: another one may have it.
    let options =
        Options { retry: RetryPolicy::NEVER, wait: Duration::from_secs(60), ..Options::default() };
    let client = server.impatient_client().await?.with_options(options);
    let begun = Instant::now();
    let waiting = tokio::spawn(async move {
        let eu = ArrivedFrom { region: "eu".to_owned(), watermark_us: i64::MAX };
        client.read_arrived("bank", [("accounts", "a")], &[eu]).await
    });
    server
        .until_metric("handfast_quota_in_flight", &[("namespace", "bank")], |it| it > 0.0)
        .await?;
    server.stop().await?;
    let error = waiting.await?.expect_err("nothing arrives");
    assert!(error.to_string().contains("the server is shutting down"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(20), "it waited {:?}", begun.elapsed());
    Ok(())
}
