//! The real server keeps copies of rows in a real node: its messages write them.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use handfast_cassandra_tests::{Cql, DATACENTER};
use handfast_client::{Client, Message, Transaction, v1};
use handfast_e2e::{Server, bank, run};
use handfast_stack::{Server as Part, Stack, StackSpec};
use scylla::deserialize::row::DeserializeRow;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::time::Instant;

const PATIENCE: Duration = Duration::from_secs(120);

fn target(stack: &Stack) -> String {
    let points: Vec<String> =
        stack.cassandra_nodes().iter().map(|node| format!("\"{node}\"")).collect();
    format!(
        "\n[[target]]\nname = \"copy\"\nkind = \"table\"\ncontact_points = [{}]\ndatacenter = \"{DATACENTER}\"\n\
         keyspace = \"copies\"\ncreate_tables = true\nrequest_timeout_ms = 1000\ntimeout_ms = 4000\n\
         first_pause_ms = 10\nlongest_pause_ms = 500\ntries = 1000\ntables = [\n\
         \"CREATE TABLE balances (id text PRIMARY KEY, balance bigint)\",\n\
         \"CREATE TABLE late (id text PRIMARY KEY, v bigint)\"]\n",
        points.join(", ")
    )
}

/// Changes an account, and its copy in the same transaction.
async fn change(client: &Client, id: &str, balance: Option<i64>) -> anyhow::Result<()> {
    let key = format!("{{\"table\": \"balances\", \"key\": {{\"id\": \"{id}\"}}");
    let (transaction, copy) = match balance {
        Some(balance) => (
            Transaction::new("bank").put("accounts", id.to_owned(), ("balance", balance)),
            format!("{{\"put\": {key}, \"columns\": {{\"balance\": {balance}}}}}}}"),
        ),
        None => (
            Transaction::new("bank").delete_row("accounts", id.to_owned()),
            format!("{{\"delete\": {key}}}}}"),
        ),
    };
    let message = Message::new(copy).key(id.to_owned()).content_type("application/json").to("copy");
    anyhow::ensure!(client.submit(&transaction.message(message)).await?.is_committed());
    Ok(())
}

async fn tell(client: &Client, payload: &str) -> anyhow::Result<()> {
    let message = Message::new(payload.to_owned()).to("copy");
    let told = client.submit(&Transaction::new("bank").message(message)).await?;
    anyhow::ensure!(told.is_committed(), "{told:?}");
    Ok(())
}

/// Waits until so many are dead letters and everything else is delivered.
async fn settled(client: &Client, dead: u64) -> anyhow::Result<()> {
    let is_settled = |it: &v1::TargetStatus| {
        it.dead_letters == dead
            && it.redriving == 0
            && it.shards.len() == 8
            && it.shards.iter().all(|shard| shard.held == 0)
    };
    let end = Instant::now() + PATIENCE;
    loop {
        let all = client.admin().list_targets("bank").await?;
        let found = all.into_iter().find(|it| it.name == "copy").context("no such target")?;
        if is_settled(&found) {
            return Ok(());
        }
        anyhow::ensure!(Instant::now() < end, "it does not become so: {found:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Asks until the rows are as expected: a status may be from before something was read, or a table was made.
fn expect<R>(cql: &Cql, text: &str, expected: &[R])
where
    R: for<'f, 'm> DeserializeRow<'f, 'm> + Ord + std::fmt::Debug,
{
    let end = std::time::Instant::now() + PATIENCE;
    loop {
        let found = cql.try_rows::<R>(text).map(|mut rows| {
            rows.sort_unstable();
            rows
        });
        if found.as_ref().is_ok_and(|found| found == expected) {
            return;
        }
        assert!(std::time::Instant::now() < end, "{found:?}, and should be {expected:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn what_is_in_the_tables_of_a_target_is_what_was_written_last() -> anyhow::Result<()> {
    let stack = Stack::start(&StackSpec { cassandra: 1, ..StackSpec::default() })?;
    let cql = Cql::connect(&stack.cassandra_nodes());
    cql.keyspace("copies", 1);
    let runtime = Runtime::new()?;
    let folder = TempDir::new()?;
    let file = format!("{}{}", bank(""), target(&stack));
    let mut server = runtime.block_on(Server::start(folder.path(), &[&file]))?;
    let client = runtime.block_on(server.client())?;

    // Every balance follows, over kills of the server and a node that hangs for a while.
    let mut last = BTreeMap::new();
    for number in 0..90_i64 {
        let (id, balance) =
            (format!("account {}", number % 7), (number % 5 != 4).then_some(number));
        runtime.block_on(change(&client, &id, balance))?;
        last.insert(id, balance);
        match number {
            20 | 70 => {
                runtime.block_on(server.kill())?;
                runtime.block_on(server.restart())?;
            }
            40 => stack.pause(Part::Cassandra(0))?,
            60 => stack.resume(Part::Cassandra(0))?,
            _ => {}
        }
    }
    assert!(last.values().any(Option::is_none), "some are deleted in the end");
    let last: Vec<(String, i64)> =
        last.into_iter().filter_map(|(id, balance)| Some((id, balance?))).collect();
    runtime.block_on(settled(&client, 0))?;
    expect(&cql, "SELECT id, balance FROM copies.balances", &last);

    // What is no row of these tables is a dead letter, and says why.
    runtime
        .block_on(tell(&client, r#"{"put": {"table": "balanses", "key": {}, "columns": {}}}"#))?;
    runtime.block_on(settled(&client, 1))?;
    let endpoint = server.endpoint();
    let letters = |words: &[&str]| {
        let words = [&["--endpoint", &endpoint, "-o", "json", "dead-letters"], words].concat();
        anyhow::Ok(runtime.block_on(run(&words))?.expect_success())
    };
    let exported = letters(&["export", "-n", "bank"])?;
    assert!(exported.contains("did you mean") && exported.contains("balances"), "{exported}");
    letters(&["discard", "-n", "bank", "--target", "copy"])?;
    runtime.block_on(settled(&client, 0))?;

    // A dead letter that is redriven overwrites nothing that was written since.
    let late = |v: i64| {
        format!(
            "{{\"put\": {{\"table\": \"late\", \"key\": {{\"id\": \"k\"}}, \"columns\": {{\"v\": {v}}}}}}}"
        )
    };
    cql.run("DROP TABLE copies.late");
    runtime.block_on(tell(&client, &late(1)))?;
    runtime.block_on(settled(&client, 1))?;
    let exported = letters(&["export", "-n", "bank"])?;
    assert!(exported.contains("the table copies.late was dropped"), "{exported}");
    cql.run("CREATE TABLE copies.late (id text PRIMARY KEY, v bigint)");
    runtime.block_on(tell(&client, &late(2)))?;
    expect(&cql, "SELECT v FROM copies.late WHERE id = 'k'", &[(2_i64,)]);
    letters(&["redrive", "-n", "bank", "--target", "copy", "--wait", "60s"])?;
    runtime.block_on(settled(&client, 0))?;
    assert_eq!(cql.rows::<(i64,)>("SELECT v FROM copies.late WHERE id = 'k'"), [(2,)]);
    runtime.block_on(server.stop())
}
