//! The second act goes on: a second region, a server of its own, that is cut off and catches up.

use std::path::Path;

use anyhow::{Context, ensure};
use handfast_client::{ArrivedFrom, Client, Outcome, Transaction};
use tokio::time::Instant;
use wal_core::namespace::ARRIVED_CQL;

use super::process::Server;
use super::say;
use super::way::Way;

const NAMESPACE: &str = "far";
/// Transactions that commit while the second region is cut off.
const MISSED: i64 = 200;

/// The namespace as one of the regions has it.
fn definition(here: &str, home: &str, away: &str) -> String {
    format!(
        r#"name = "{NAMESPACE}"
[region]
here = "{here}"
home = "home"
table = "arrived"
[[region.all]]
name = "home"
servers = ["{home}"]
[[region.all]]
name = "away"
servers = ["{away}"]
[[table]]
cql = "CREATE TABLE purses (id text PRIMARY KEY, coins bigint)"
[[table]]
cql = "{ARRIVED_CQL}"
"#
    )
}

/// Plays it; `endpoint` is the first region's server.
pub(super) async fn play(client: &Client, endpoint: &str, folder: &Path) -> anyhow::Result<()> {
    say::title("A second region, cut off and caught up");
    let folder = folder.join("away");
    std::fs::create_dir(&folder).context("cannot create a folder")?;
    let server = Server::start(&folder).await?;
    let mut way = Way::to(server.address()).await?;
    let away = Client::connect([server.endpoint()]).await?;
    for (here, client) in [("home", client), ("away", &away)] {
        let definition = definition(here, endpoint, &way.url());
        client.admin().create_namespace(&definition).await?;
    }
    let begun = Instant::now();
    let first = moved(client, 0).await?;
    holds(&away, 0, first).await?;
    say::line(format!(
        "two rows that committed here were both there {} ms later",
        begun.elapsed().as_millis()
    ));
    way.cut().await;
    let mut last = first;
    for number in 1..=MISSED {
        last = moved(client, number).await?;
    }
    // It has what it had, and says up to when that is everything.
    holds(&away, 0, first).await?;
    say::line(format!(
        "the way there was cut; {MISSED} transactions committed here, and whoever read there read what it had"
    ));
    way.mend().await?;
    let begun = Instant::now();
    holds(&away, MISSED, last).await?;
    say::line(format!(
        "the way was mended; it had all of them, each whole, {} ms later",
        begun.elapsed().as_millis()
    ));
    let refused = away.submit(&coins(MISSED + 1)).await;
    let Err(refused) = refused else {
        anyhow::bail!("a table whose home is elsewhere was written: {refused:?}");
    };
    say::line(format!("a write there is refused: {refused}"));
    server.stop().await
}

/// So many coins in one purse, and as many debts in the other: together always nothing.
fn coins(number: i64) -> Transaction {
    Transaction::new(NAMESPACE).put("purses", "left", ("coins", number)).put(
        "purses",
        "right",
        ("coins", -number),
    )
}

/// When it committed.
async fn moved(client: &Client, number: i64) -> anyhow::Result<i64> {
    match client.submit(&coins(number)).await? {
        Outcome::Committed(committed) => Ok(committed.timestamp_us),
        other => anyhow::bail!("it did not commit: {other:?}"),
    }
}

/// Waits until a transaction has arrived, and holds both rows to it.
async fn holds(away: &Client, number: i64, committed_us: i64) -> anyhow::Result<()> {
    let not_before = [ArrivedFrom { region: "home".to_owned(), watermark_us: committed_us }];
    let rows = [("purses", "left"), ("purses", "right")];
    let (rows, arrived) = away.read_arrived(NAMESPACE, rows, &not_before).await?;
    let coins: Vec<_> = rows.iter().map(|row| row.integer("coins")).collect();
    ensure!(coins == [Some(number), Some(-number)], "there is {coins:?}, not {number}");
    ensure!(arrived[0].watermark_us >= committed_us, "{arrived:?} is behind {committed_us}");
    Ok(())
}
