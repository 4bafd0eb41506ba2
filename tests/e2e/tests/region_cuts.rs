//! Regions that cannot reach each other for a while, one way, the other, or both, and go on writing; what they send
//! to each other when they can, and by how many connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::ensure;
use handfast_client::{Client, Key, Row, StreamOptions, Transaction, Value};
use handfast_e2e::{Regions, WayState, bank, commit, until};
use tokio::task::JoinHandle;
use uuid::Uuid;

const NAMES: [&str; 2] = ["eu", "us"];
/// Accounts that both regions write.
const SHARED: usize = 7;

async fn two(home: &str) -> anyhow::Result<Regions> {
    let regions = Regions::start(&NAMES).await?;
    regions.create(&bank(""), &format!("home = \"{home}\"")).await?;
    Ok(regions)
}

fn account(name: impl Into<String>, balance: i64) -> Transaction {
    Transaction::new("bank").put("accounts", name.into(), ("balance", balance))
}

/// Writes in a region until it is told to stop: accounts of its own, and with each of them one that both write. How
/// many there were, and when the last one committed.
fn write(
    client: Client,
    region: usize,
    stop: Arc<AtomicBool>,
) -> JoinHandle<anyhow::Result<(usize, i64)>> {
    tokio::spawn(async move {
        let (mut number, mut last) = (0, 0);
        while !stop.load(Ordering::Relaxed) {
            let own = account(own(region, number), number as i64);
            let shared = format!("shared {}", (number * 3 + region) % SHARED);
            let both = match number % 5 {
                4 => own.delete_row("accounts", shared),
                _ => own.put("accounts", shared, ("balance", (number * 2 + region) as i64)),
            };
            last = commit(&client, &both).await?;
            number += 1;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok((number, last))
    })
}

fn own(region: usize, number: usize) -> String {
    format!("{} {number}", NAMES[region])
}

async fn rows_of(client: &Client, names: &[String]) -> anyhow::Result<Vec<Row>> {
    Ok(client.read("bank", names.iter().map(|name| ("accounts", name.as_str()))).await?)
}

#[tokio::test]
async fn regions_that_are_cut_while_both_write_lose_nothing_and_become_equal() -> anyhow::Result<()>
{
    let regions = two("any").await?;
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..2)
        .map(|region| write(regions.clients[region].clone(), region, Arc::clone(&stop)))
        .collect();
    // The first way, the other, and both; broken, and without a word.
    let cuts: [(&[(usize, usize)], WayState); 4] = [
        (&[(0, 1)], WayState::Broken),
        (&[(1, 0)], WayState::Silent),
        (&[(0, 1), (1, 0)], WayState::Broken),
        (&[(0, 1), (1, 0)], WayState::Silent),
    ];
    for (cut, how) in cuts {
        tokio::time::sleep(Duration::from_millis(300)).await;
        for (from, to) in cut {
            regions.way(*from, *to).set(how);
        }
        for (from, to) in cut {
            let why = format!("the lag from {from} to {to} does not grow, {how:?}");
            until(&why, async || Ok((regions.lag(*from, *to).await? > 1.5).then_some(()))).await?;
        }
        if let [(from, to)] = cut {
            let other = regions.lag(*to, *from).await?;
            ensure!(other < 1.0, "the way back is open, and lags by {other} s");
        }
        for (from, to) in cut {
            regions.way(*from, *to).set(WayState::Open);
        }
        for (from, to) in cut {
            let why = format!("the lag from {from} to {to} does not fall, {how:?}");
            until(&why, async || Ok((regions.lag(*from, *to).await? < 0.5).then_some(()))).await?;
        }
    }
    stop.store(true, Ordering::Relaxed);
    let mut wrote = Vec::new();
    for writer in writers {
        wrote.push(writer.await??);
    }
    let mut names: Vec<String> = (0..SHARED).map(|number| format!("shared {number}")).collect();
    for (region, (count, last)) in wrote.iter().enumerate() {
        regions.until_arrived(region, 1 - region, *last).await?;
        let arrived = regions.seen(1 - region, region).await?.arrived_transactions;
        assert_eq!(arrived, *count as u64, "whole, and once");
        names.extend((0..*count).map(|number| own(region, number)));
    }
    let (in_eu, in_us) =
        (rows_of(&regions.clients[0], &names).await?, rows_of(&regions.clients[1], &names).await?);
    assert_eq!(in_eu, in_us);
    let owned = wrote.iter().flat_map(|(count, _)| 0..*count);
    for (row, number) in in_eu[SHARED..].iter().zip(owned) {
        assert_eq!(row.integer("balance"), Some(number as i64));
    }
    regions.stop().await
}

#[tokio::test]
async fn a_region_that_was_cut_off_for_long_catches_up() -> anyhow::Result<()> {
    const BEHIND: usize = 30_000;
    let regions = two("eu").await?;
    let eu = &regions.clients[0];
    let first = commit(eu, &account("first", 1)).await?;
    regions.until_arrived(0, 1, first).await?;
    regions.way(0, 1).set(WayState::Broken);
    let stream = eu.stream(StreamOptions::default());
    let mut answers = Vec::new();
    for number in 0..BEHIND {
        answers.push(stream.send(account(format!("account {number}"), number as i64)).await);
    }
    for answer in answers {
        assert!(answer.await?.is_committed());
    }
    let last = commit(eu, &account("last", 1)).await?;
    until("the lag does not grow", async || Ok((regions.lag(0, 1).await? > 1.0).then_some(())))
        .await?;
    assert!(!regions.clients[1].read_row("bank", "accounts", "account 0").await?.exists);
    regions.way(0, 1).set(WayState::Open);
    regions.until_arrived(0, 1, last).await?;
    assert_eq!(regions.seen(1, 0).await?.arrived_transactions, BEHIND as u64 + 2);
    let names: Vec<String> = (0..BEHIND).map(|number| format!("account {number}")).collect();
    for (part, names) in names.chunks(10_000).enumerate() {
        let rows = rows_of(&regions.clients[1], names).await?;
        for (index, row) in rows.iter().enumerate() {
            assert_eq!(row.integer("balance"), Some((part * 10_000 + index) as i64));
        }
    }
    until("the lag stays", async || Ok((regions.lag(0, 1).await? == 0.0).then_some(()))).await?;
    regions.stop().await
}

#[tokio::test]
async fn a_region_that_cannot_be_reached_has_a_lag_after_a_restart_too() -> anyhow::Result<()> {
    let mut regions = two("eu").await?;
    let first = commit(&regions.clients[0], &account("first", 1)).await?;
    regions.until_arrived(0, 1, first).await?;
    regions.way(0, 1).set(WayState::Broken);
    let mut last = 0;
    for number in 0..20 {
        last = commit(&regions.clients[0], &account(own(0, number), 1)).await?;
    }
    regions.servers[0].kill().await?;
    regions.servers[0].restart().await?;
    until("no lag is seen", async || {
        Ok(regions.lag(0, 1).await.is_ok_and(|lag| lag > 1.0).then_some(()))
    })
    .await?;
    let seen = regions.seen(0, 1).await?;
    assert!(seen.sends && seen.waiting >= 20 && seen.sent_us < last, "{seen:?}");
    assert!(seen.problem.contains("us"), "{seen:?}");
    regions.way(0, 1).set(WayState::Open);
    regions.until_arrived(0, 1, last).await?;
    assert_eq!(regions.seen(1, 0).await?.arrived_transactions, 21);
    until("the lag stays", async || Ok((regions.lag(0, 1).await? == 0.0).then_some(()))).await?;
    regions.stop().await
}

#[tokio::test]
async fn one_connection_carries_everything_and_what_repeats_itself_crosses_in_few_bytes()
-> anyhow::Result<()> {
    const NOTES: u128 = 64;
    const NOTE_BYTES: usize = 64 << 10;
    let regions = two("any").await?;
    for (from, client) in regions.clients.iter().enumerate() {
        let at_us = commit(client, &account(own(from, 0), 1)).await?;
        regions.until_arrived(from, 1 - from, at_us).await?;
    }
    let ways = [regions.way(0, 1), regions.way(1, 0)];
    let before = ways.map(|way| (way.connections(), way.bytes().0));
    let note = |region: usize, number: u128| {
        let id = Uuid::from_u128(number * 2 + region as u128);
        let key: Key = (format!("{}", number % 24), id).into();
        let text = b"this and that, and so on; ".iter().copied().cycle();
        let note: Vec<u8> = text.take(NOTE_BYTES).collect();
        Transaction::new("bank").put("transfers", key, ("note", Value::from(note)))
    };
    for (from, client) in regions.clients.iter().enumerate() {
        let stream = client.stream(StreamOptions { window: 16, ..StreamOptions::default() });
        let mut last = 0;
        for number in 0..NOTES {
            let _ = stream.send(note(from, number)).await.await?;
        }
        for number in 1..200 {
            last = commit(client, &account(own(from, number), 1)).await?;
        }
        regions.until_arrived(from, 1 - from, last).await?;
        let arrived = regions.seen(1 - from, from).await?.arrived_transactions;
        assert_eq!(arrived, NOTES as u64 + 200);
    }
    for (way, (connections, bytes)) in ways.into_iter().zip(before) {
        assert_eq!(way.connections(), connections, "one that was there carries everything");
        assert!(connections <= 2, "{connections} connections");
        let (crossed, rows) = (way.bytes().0 - bytes, NOTES as u64 * NOTE_BYTES as u64);
        assert!(crossed < rows / 10, "{rows} bytes of rows cross in {crossed}");
    }
    regions.stop().await
}
