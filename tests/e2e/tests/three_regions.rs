//! A namespace in three regions, each a server of its own: all write, all become equal, nothing goes round, and the
//! third follows when a home moves from the first to the second.

use std::time::Duration;

use anyhow::ensure;
use handfast_client::{Client, Row, Transaction, exists, not_exists};
use handfast_e2e::{Regions, WayState, bank, commit, lags, until};
use serde_json::Value as Json;

const NAMES: [&str; 3] = ["eu", "us", "asia"];
const SHARDS: usize = 8;
/// Transactions that each region commits.
const EACH: usize = 90;
const ACCOUNTS: usize = 9;

/// The bank, where each region has notes of its own, and all have the accounts.
async fn three() -> anyhow::Result<Regions> {
    let regions = Regions::start(&NAMES).await?;
    let notes = NAMES.map(|name| {
        format!(
            "\n[[table]]\ncql = \"CREATE TABLE {name}_notes (id text PRIMARY KEY, number bigint)\"\n"
        )
    });
    let homes = NAMES.map(|name| format!("{name}_notes = \"{name}\"\n")).concat();
    let lines = format!("home = \"any\"\n\n[region.tables]\n{homes}");
    regions.create(&format!("{}{}", bank(""), notes.concat()), &lines).await?;
    Ok(regions)
}

/// A transaction of a region: a note that nobody else writes, on a condition, and an account that all write, or
/// delete.
fn both(region: usize, number: usize) -> Transaction {
    let (table, note) = (format!("{}_notes", NAMES[region]), format!("note {number}"));
    let account = format!("account {}", (number * 7 + region * 2) % ACCOUNTS);
    let begun = Transaction::new("bank")
        .put(table.as_str(), note.as_str(), ("number", number as i64))
        .require(table.as_str(), note.as_str(), not_exists());
    match (number + region) % 4 {
        0 => begun.delete_row("accounts", account),
        _ => begun.put("accounts", account, ("balance", (number * 10 + region) as i64)),
    }
}

/// Every row that was written.
async fn all_rows(client: &Client) -> anyhow::Result<Vec<Row>> {
    let accounts = (0..ACCOUNTS).map(|number| ("accounts".to_owned(), format!("account {number}")));
    let notes = NAMES.iter().flat_map(|name| {
        (0..EACH).map(move |number| (format!("{name}_notes"), format!("note {number}")))
    });
    Ok(client.read("bank", accounts.chain(notes)).await?)
}

/// Commits of one region are in both others, but for those that are not counted.
async fn expect_counts(regions: &Regions, committed: [u64; 3]) -> anyhow::Result<()> {
    for (from, count) in committed.into_iter().enumerate() {
        for to in (0..3).filter(|to| *to != from) {
            let arrived = regions.seen(to, from).await?.arrived_transactions;
            let (from, to) = (NAMES[from], NAMES[to]);
            ensure!(arrived == count, "{to} has {arrived} of {from}, which committed {count}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn three_regions_that_write_at_the_same_time_become_equal_and_nothing_goes_round()
-> anyhow::Result<()> {
    let mut regions = three().await?;
    let writers: Vec<_> = (0..3)
        .map(|region| {
            let client = regions.clients[region].clone();
            tokio::spawn(async move {
                for number in 0..EACH {
                    commit(&client, &both(region, number)).await?;
                }
                anyhow::Ok(())
            })
        })
        .collect();
    // One of them dies meanwhile: its client sends the same again.
    tokio::time::sleep(Duration::from_millis(300)).await;
    regions.servers[1].kill().await?;
    regions.servers[1].restart().await?;
    for writer in writers {
        writer.await??;
    }
    // What is known for sure in the end: the last of each region.
    let ends = [
        Transaction::new("bank").delete_row("accounts", "account 0"),
        Transaction::new("bank").put("accounts", "account 1", ("balance", 1_000)),
        Transaction::new("bank").delete_row("accounts", "account 2"),
    ];
    for (region, end) in ends.iter().enumerate() {
        let at_us = commit(&regions.clients[region], end).await?;
        for to in (0..3).filter(|to| *to != region) {
            regions.until_arrived(region, to, at_us).await?;
        }
    }
    let rows = all_rows(&regions.clients[0]).await?;
    for client in &regions.clients[1..] {
        assert_eq!(all_rows(client).await?, rows);
    }
    let balances: Vec<_> = rows[..3].iter().map(|row| row.integer("balance")).collect();
    assert_eq!(balances, [None, Some(1_000), None]);
    assert!(rows[3..ACCOUNTS].iter().any(|row| row.exists), "{rows:?}");
    for (index, note) in rows[ACCOUNTS..].iter().enumerate() {
        assert_eq!(note.integer("number"), Some((index % EACH) as i64));
    }
    // What came from one region is not sent to the third: each has counted what the others committed, and that is
    // still so when there was time to send it on.
    let committed = [EACH as u64 + 1; 3];
    expect_counts(&regions, committed).await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    expect_counts(&regions, committed).await?;
    regions.stop().await
}

#[tokio::test]
async fn each_way_has_a_lag_of_its_own_and_nobody_sends_for_another() -> anyhow::Result<()> {
    let regions = three().await?;
    let [eu, us, asia] = &regions.clients[..] else { panic!("there are three") };
    let first = commit(eu, &both(0, 1)).await?;
    regions.until_arrived(0, 2, first).await?;
    regions.way(0, 2).set(WayState::Broken);
    let mut last = 0;
    for number in 2..20 {
        last = commit(eu, &both(0, number)).await?;
    }
    regions.until_arrived(0, 1, last).await?;
    // The second has it, and goes on to send what it commits itself: to the third, too.
    let other = commit(us, &both(1, 1)).await?;
    regions.until_arrived(1, 2, other).await?;
    let note = asia.read_row("bank", "eu_notes", "note 19").await?;
    assert!(!note.exists, "somebody has sent it on: {note:?}");
    until("the lag does not grow", async || Ok((regions.lag(0, 2).await? > 1.0).then_some(())))
        .await?;
    assert!(regions.lag(0, 1).await? < 1.0, "it has everything");
    // Each serves a lag for every shard of each other region.
    for server in &regions.servers {
        let served = lags(server).await?;
        assert_eq!(served.len(), 2 * SHARDS, "{served:?}");
    }
    let listed = regions.command(0, &["list", "bank"]).await?.expect_success();
    let listed: Json = serde_json::from_str(&listed)?;
    let (to_us, to_asia) = (&listed[1], &listed[2]);
    assert_eq!((&to_us["region"], &to_asia["region"]), (&"us".into(), &"asia".into()));
    assert!(to_us["sent_us"].as_i64() >= Some(last), "{to_us}");
    assert!(to_us["arrived_us"].as_i64() >= Some(other), "{to_us}");
    assert_eq!(to_us["lags"].as_array().map(Vec::len), Some(0), "{to_us}");
    let of_shards = to_asia["lags"].as_array().cloned().unwrap_or_default();
    assert!(of_shards.len() > 1, "several shards wait: {to_asia}");
    let most = of_shards.iter().filter_map(|lag| lag["lag_us"].as_u64()).max();
    assert!(most > Some(1_000_000), "{to_asia}");
    assert_eq!(to_asia["lag_ms"].as_u64(), most.map(|us| us / 1_000));
    assert!(to_asia["sent_us"].as_i64() < Some(last), "{to_asia}");
    assert!(to_asia["problem"].as_str().is_some_and(|it| it.contains("asia")), "{to_asia}");

    regions.way(0, 2).set(WayState::Open);
    regions.until_arrived(0, 2, last).await?;
    assert!(asia.read_row("bank", "eu_notes", "note 19").await?.exists);
    until("the lag stays", async || Ok((regions.lag(0, 2).await? == 0.0).then_some(()))).await?;
    expect_counts(&regions, [19, 1, 0]).await?;
    regions.stop().await
}

fn put(account: &str, balance: i64) -> Transaction {
    Transaction::new("bank").put("accounts", account, ("balance", balance))
}

/// In whose words a region refuses what is written elsewhere.
async fn refuses(regions: &Regions, here: usize, home: &str) -> anyhow::Result<()> {
    let refused = regions.clients[here].submit(&put("a", -1)).await;
    let refused = refused.expect_err("it is written elsewhere").to_string();
    let expected = format!("is written in region \"{home}\"");
    ensure!(refused.contains(&expected), "{}: {refused}", NAMES[here]);
    Ok(())
}

async fn until_term(regions: &Regions, here: usize, term: u64, home: &str) -> anyhow::Result<()> {
    until(&format!("{} does not follow", NAMES[here]), async || {
        let listed = regions.clients[here].admin().list_regions("bank").await?;
        Ok((listed.term == term && listed.home == home).then_some(()))
    })
    .await?;
    refuses(regions, here, home).await
}

async fn balances(client: &Client) -> anyhow::Result<[Option<i64>; 2]> {
    let rows = client.read("bank", [("accounts", "a"), ("accounts", "b")]).await?;
    Ok([rows[0].integer("balance"), rows[1].integer("balance")])
}

#[tokio::test]
async fn a_third_region_follows_a_home_that_moves_planned_and_forced() -> anyhow::Result<()> {
    let mut regions = Regions::start(&NAMES).await?;
    regions.create(&bank(""), "home = \"eu\"").await?;
    let [eu, us, asia] = regions.clients.clone().try_into().expect("there are three");
    commit(&eu, &put("a", 1)).await?;
    refuses(&regions, 2, "eu").await?;
    let planned = ["failover", "bank", "--to", "us", "--yes"];
    regions.command(2, &planned).await?.expect_success();
    until_term(&regions, 2, 2, "us").await?;
    until_term(&regions, 0, 2, "us").await?;
    // The new home has everything; the third gets what both have written, each from the one that did.
    let second = put("a", 2).require("accounts", "a", exists());
    let at_us = commit(&us, &second).await?;
    regions.until_arrived(1, 2, at_us).await?;
    regions.until_arrived(1, 0, at_us).await?;
    assert_eq!(balances(&asia).await?, [Some(2), None]);

    // The second is lost with something that nobody else has.
    for to in [0, 2] {
        regions.way(1, to).set(WayState::Broken);
    }
    commit(&us, &put("a", 3)).await?;
    commit(&us, &put("b", 3)).await?;
    regions.servers[1].kill().await?;
    for to in [0, 2] {
        regions.way(1, to).set(WayState::Open);
    }
    let forced = ["failover", "bank", "--to", "eu", "--from", "us", "--force", "--yes"];
    regions.command(0, &forced).await?.expect_success();
    until_term(&regions, 2, 3, "eu").await?;
    let at_us = commit(&eu, &put("a", 4)).await?;
    regions.until_arrived(0, 2, at_us).await?;
    assert_eq!(balances(&asia).await?, [Some(4), None]);

    // It comes back, follows, and sends what it had: that is older, and nowhere takes the place of what is newer.
    regions.servers[1].restart().await?;
    until_term(&regions, 1, 3, "eu").await?;
    for client in [&eu, &us, &asia] {
        until("they are not equal", async || {
            Ok((balances(client).await? == [Some(4), Some(3)]).then_some(()))
        })
        .await?;
    }
    regions.stop().await
}

#[tokio::test]
async fn a_third_region_that_was_away_while_a_home_moved_follows_by_itself() -> anyhow::Result<()> {
    let mut regions = Regions::start(&NAMES).await?;
    regions.create(&bank(""), "home = \"eu\"").await?;
    let at_us = commit(&regions.clients[0], &put("a", 1)).await?;
    regions.until_arrived(0, 2, at_us).await?;
    regions.servers[2].kill().await?;
    let said = regions.command(1, &["failover", "bank", "--to", "us", "--yes"]).await?;
    let told = "region \"asia\" was not told, and will follow by itself";
    ensure!(said.err.contains(told), "{said:?}");
    said.expect_success();
    let at_us = commit(&regions.clients[1], &put("a", 2)).await?;
    regions.servers[2].restart().await?;
    until_term(&regions, 2, 2, "us").await?;
    regions.until_arrived(1, 2, at_us).await?;
    assert_eq!(balances(&regions.clients[2]).await?, [Some(2), None]);
    regions.stop().await
}
