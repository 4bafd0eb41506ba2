//! The committed stream: whole, once, in order, over kills; positions, filters, back-pressure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, ensure};
use handfast_client::{
    Client, CommittedTransaction, Level, Options, Outcome, RetryPolicy, SubscribeError, Subscribed,
    Subscription, Transaction, Uuid, column,
};
use handfast_e2e::{Server, run, served};
use serde_json::Value as Json;

const PATIENCE: Duration = Duration::from_secs(30);

fn transfer(from: usize, to: usize, amount: i64) -> Transaction {
    let name = |n: usize| format!("account-{n}");
    Transaction::new("bank")
        .require("accounts", name(from), column("balance").at_least(amount))
        .add("accounts", name(from), ("balance", -amount))
        .add("accounts", name(to), ("balance", amount))
}

/// Opens accounts; that they are is told to whoever subscribes from now on, no more, as it is applied.
async fn open(client: &Client, accounts: usize) -> anyhow::Result<Uuid> {
    let open = (0..accounts).fold(Transaction::new("bank"), |txn, n| {
        txn.insert("accounts", format!("account-{n}"), ("balance", 100))
    });
    ensure!(client.at_level(Level::Applied).submit(&open).await?.is_committed());
    Ok(open.id())
}

async fn next(stream: &mut Subscribed) -> anyhow::Result<handfast_client::Told> {
    Ok(tokio::time::timeout(PATIENCE, stream.next()).await.context("nothing is told")??)
}

/// Reads until everything in `wanted` was told, and fails if anything is told twice.
async fn told(
    stream: &mut Subscribed,
    wanted: &BTreeSet<Uuid>,
) -> anyhow::Result<Vec<CommittedTransaction>> {
    let mut seen = BTreeSet::new();
    let mut all = Vec::new();
    while !wanted.is_subset(&seen) {
        for transaction in next(stream).await?.transactions {
            ensure!(seen.insert(transaction.id), "{} is told twice", transaction.id);
            all.push(transaction);
        }
    }
    Ok(all)
}

/// Those of one shard stand in the order of its log.
fn expect_order(told: &[CommittedTransaction]) {
    let mut last = BTreeMap::new();
    for it in told {
        let before = last.insert(it.shard, (it.epoch, it.sequence));
        assert!(before < Some((it.epoch, it.sequence)), "{it:?} behind {before:?}");
    }
}

/// Transfers by several clients while the server is killed: those that are committed.
async fn transfers_over_kills(server: &mut Server) -> anyhow::Result<BTreeSet<Uuid>> {
    let mut clients = Vec::new();
    for number in 0..4_usize {
        let client = server.client().await?;
        clients.push(tokio::spawn(async move {
            let mut committed = BTreeSet::new();
            for round in 0..150_usize {
                let (from, to) = ((number + round) % 10, (number * 3 + round * 7 + 1) % 10);
                if from == to {
                    continue;
                }
                let transfer = transfer(from, to, 1);
                if let Outcome::Committed(_) = client.submit(&transfer).await? {
                    committed.insert(transfer.id());
                }
            }
            anyhow::Ok(committed)
        }));
    }
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(150)).await;
        server.kill().await?;
        server.restart().await?;
    }
    let mut committed = BTreeSet::new();
    for client in clients {
        committed.extend(client.await??);
    }
    Ok(committed)
}

#[tokio::test]
async fn what_commits_is_told_once_whole_and_in_order_over_kills() -> anyhow::Result<()> {
    let (_folder, mut server, client) = served("").await?;
    let opened = open(&client, 10).await?;
    let mut whole = client.subscribe(Subscription::new("bank").from_beginning());
    let mut parts = client.subscribe(Subscription::new("bank").from_beginning().parts());
    // They are under way while the server is killed.
    told(&mut whole, &[opened].into()).await?;
    let mut committed = transfers_over_kills(&mut server).await?;
    assert!(committed.len() > 100, "{} committed", committed.len());

    let all = told(&mut whole, &committed).await?;
    expect_order(&all);
    let ids: BTreeSet<Uuid> = all.iter().map(|told| told.id).collect();
    assert_eq!(ids, committed, "nothing else committed, as no answer was left unknown");
    let mut sums: BTreeMap<String, i64> = BTreeMap::new();
    for it in &all {
        assert_eq!(it.changes.len(), 2, "both rows are told: {it:?}");
        for change in &it.changes {
            let (name, value) = &change.added[0];
            assert_eq!((change.table.as_str(), name.as_str()), ("accounts", "balance"));
            let key = change.key[0].as_text().context("a name")?;
            *sums.entry(key.to_owned()).or_default() += value.as_integer().context("a number")?;
        }
    }

    // Parts have the results: the last one told of a row is what a read finds.
    committed.insert(opened);
    let mut last: BTreeMap<String, i64> = BTreeMap::new();
    let mut heard: BTreeSet<(Uuid, u16)> = BTreeSet::new();
    let mut of = BTreeSet::new();
    let mut complete: BTreeSet<Uuid> = BTreeSet::new();
    while !committed.is_subset(&complete) {
        for it in next(&mut parts).await?.transactions {
            assert!(heard.insert((it.id, it.shard)), "{it:?} is told twice");
            of.insert(it.id);
            for change in &it.changes {
                let key = change.key[0].as_text().context("a name")?;
                let balance = change.columns[0].1.as_integer().context("a number")?;
                last.insert(key.to_owned(), balance);
            }
            if it.participants.iter().all(|shard| heard.contains(&(it.id, *shard))) {
                complete.insert(it.id);
            }
        }
    }
    assert_eq!(of, committed);
    for n in 0..10 {
        let name = format!("account-{n}");
        let row = client.read_row("bank", "accounts", name.as_str()).await?;
        let balance = row.integer("balance").context("a balance")?;
        assert_eq!(last[&name], balance, "{name}, by its last change");
        assert_eq!(100 + sums.get(&name).copied().unwrap_or(0), balance, "{name}, by sums");
    }
    server.stop().await
}

#[tokio::test]
async fn another_goes_on_where_one_stopped_and_a_subscription_may_begin_now() -> anyhow::Result<()>
{
    let (_folder, mut server, client) = served("").await?;
    let opened = open(&client, 10).await?;
    let mut now = client.subscribe(Subscription::new("bank"));
    // The first thing told is the place, before anything commits.
    let begun = next(&mut now).await?;
    assert!(begun.transactions.is_empty() && !begun.resume.is_empty(), "{begun:?}");

    let mut committed = BTreeSet::new();
    let mut seen = Vec::new();
    let mut place = begun.resume.clone();
    for round in 0..12 {
        for n in 0..5 {
            let transfer = transfer(n, n + 1, 1);
            assert!(client.submit(&transfer).await?.is_committed());
            committed.insert(transfer.id());
        }
        if round == 6 {
            server.kill().await?;
            server.restart().await?;
        }
        // Each round somebody else, who takes what comes first and goes away.
        let mut stream = client.subscribe(Subscription::new("bank").resume(place.clone()));
        loop {
            let told = next(&mut stream).await?;
            place = told.resume;
            if !told.transactions.is_empty() {
                seen.extend(told.transactions);
                break;
            }
        }
    }
    let mut rest = client.subscribe(Subscription::new("bank").resume(place));
    while seen.len() < committed.len() {
        seen.extend(next(&mut rest).await?.transactions);
    }
    let ids: BTreeSet<Uuid> = seen.iter().map(|told| told.id).collect();
    assert_eq!((seen.len(), &ids), (committed.len(), &committed), "once each, nothing of before");
    assert!(!ids.contains(&opened));
    expect_order(&seen);
    let by_now = told(&mut now, &committed).await?;
    assert_eq!(by_now.len(), committed.len());
    server.stop().await
}

#[tokio::test]
async fn filters_choose_transactions_and_shards_divide_them() -> anyhow::Result<()> {
    let (_folder, mut server, client) = served("").await?;
    open(&client, 10).await?;
    let mut wanted = BTreeSet::new();
    for n in 0..5 {
        let noted = transfer(n, n + 1, 1).insert(
            "transfers",
            (format!("account-{n}"), Uuid::now_v7()),
            ("recipient", "somebody"),
        );
        assert!(client.submit(&noted).await?.is_committed());
        assert!(client.submit(&transfer(7, 8, 1)).await?.is_committed());
        wanted.insert(noted.id());
    }
    let from_beginning = || Subscription::new("bank").from_beginning();
    let mut by_table = client.subscribe(from_beginning().table("transfers"));
    let all = told(&mut by_table, &wanted).await?;
    assert!(all.iter().all(|it| wanted.contains(&it.id) && it.changes.len() == 3), "{all:?}");

    let mut by_row = client.subscribe(from_beginning().row("accounts", "account-3"));
    let of_row = loop {
        let told = next(&mut by_row).await?.transactions;
        if !told.is_empty() {
            break told;
        }
    };
    let names = |it: &CommittedTransaction| -> BTreeSet<String> {
        let accounts = it.changes.iter().filter(|change| change.table == "accounts");
        accounts.filter_map(|change| Some(change.key[0].as_text()?.to_owned())).collect()
    };
    assert!(of_row.iter().all(|it| names(it).contains("account-3")), "{of_row:?}");

    let mut divided = BTreeSet::new();
    for shards in [0..4, 4..8] {
        let subscription = shards.clone().fold(from_beginning(), Subscription::shard);
        let mut stream = client.subscribe(subscription.table("transfers"));
        // The place alone is told at once, and again when everything there is has been read.
        for _ in 0..2 {
            for it in next(&mut stream).await?.transactions {
                assert!(shards.contains(&it.shard) && divided.insert(it.id), "{it:?}");
            }
        }
    }
    assert_eq!(divided, wanted);
    server.stop().await
}

#[tokio::test]
async fn a_slow_subscriber_holds_nobody_up_and_misses_nothing() -> anyhow::Result<()> {
    const COUNT: usize = 3_000;
    let (_folder, mut server, client) = served("").await?;
    let mut slow = client.subscribe(Subscription::new("bank"));
    next(&mut slow).await?;
    let stream = client.stream(handfast_client::StreamOptions::default());
    let mut sent = Vec::new();
    let mut wanted = BTreeSet::new();
    for n in 0..COUNT {
        let note = bytes::Bytes::from(vec![n as u8; 2_000]);
        let txn = Transaction::new("bank").insert(
            "transfers",
            ("somebody", Uuid::now_v7()),
            [("note", note)],
        );
        wanted.insert(txn.id());
        sent.push(stream.send(txn).await);
    }
    for answer in sent {
        assert!(answer.await?.is_committed());
    }
    // 6 MB were told of, and two responses of 1 MiB may wait. Nor is a server held up that stops.
    let begun = std::time::Instant::now();
    server.signal("TERM").await?;
    assert!(server.ended().await?.success());
    assert!(begun.elapsed() < Duration::from_secs(20), "as long as its --drain allows");
    server.restart().await?;
    let all = told(&mut slow, &wanted).await?;
    assert_eq!(all.len(), COUNT);
    expect_order(&all);
    server.stop().await
}

#[tokio::test]
async fn what_cannot_be_told_is_refused_with_the_reason() -> anyhow::Result<()> {
    let settings =
        "log.retain_ms = 0\nlog.retain_bytes = 33554432\nlog.checkpoint_every_bytes = 65536";
    let (_folder, mut server, client) = served(settings).await?;
    let once = client.with_options(Options { retry: RetryPolicy::NEVER, ..Options::default() });
    let invalid = [
        (Subscription::new("bank").table("acounts"), "accounts"),
        (Subscription::new("bank").shard(8), "shards 0 to 7"),
        (Subscription::new("bank").resume("gibberish"), "resume"),
        (Subscription::new("bank").row("accounts", ("a", 1)), "rows[0]"),
    ];
    for (subscription, word) in invalid {
        match once.subscribe(subscription).next().await {
            Err(SubscribeError::Invalid { message, .. }) if message.contains(word) => {}
            other => panic!("{word}: {other:?}"),
        }
    }
    let absent = once.subscribe(Subscription::new("bnak")).next().await;
    assert!(matches!(absent, Err(SubscribeError::NamespaceNotFound { .. })), "{absent:?}");

    open(&client, 3).await?;
    let mut stream = client.subscribe(Subscription::new("bank").from_beginning());
    let begun = loop {
        let told = next(&mut stream).await?;
        if !told.transactions.is_empty() {
            break told;
        }
    };
    drop(stream);
    let parts = Subscription::new("bank").parts().resume(begun.resume.clone());
    match once.subscribe(parts).next().await {
        Err(SubscribeError::Invalid { message, .. }) if message.contains("scope") => {}
        other => panic!("{other:?}"),
    }

    // More than the log keeps.
    let stream = client.stream(handfast_client::StreamOptions::default());
    let trimmed = async {
        loop {
            let mut sent = Vec::new();
            for n in 0..100_usize {
                let note = bytes::Bytes::from(vec![n as u8; 60_000]);
                let key = (format!("account-{n}"), Uuid::now_v7());
                let txn = Transaction::new("bank").insert("transfers", key, [("note", note)]);
                sent.push(stream.send(txn).await);
            }
            for answer in sent {
                ensure!(answer.await?.is_committed());
            }
            let again = Subscription::new("bank").resume(begun.resume.clone());
            match once.subscribe(again).next().await {
                Err(SubscribeError::Missed { message }) => return Ok(message),
                Ok(_) => {}
                other => anyhow::bail!("{other:?}"),
            }
        }
    };
    let message =
        tokio::time::timeout(PATIENCE * 2, trimmed).await.context("nothing is trimmed")??;
    assert!(message.contains("keeps nothing before"), "{message}");
    server.stop().await
}

#[tokio::test]
async fn the_command_line_prints_lines_and_keeps_its_place() -> anyhow::Result<()> {
    let (folder, mut server, client) = served("").await?;
    open(&client, 3).await?;
    let place = folder.path().join("place.bin").display().to_string();
    let endpoint = server.endpoint();
    let subscribe = [
        "--endpoint",
        &endpoint,
        "subscribe",
        "--namespace",
        "bank",
        "--from-beginning",
        "--parts",
        "--resume",
        &place,
        "--count",
    ];
    // The accounts lie on one to three shards, which tell a part each.
    let first = run(&[&subscribe[..], &["1"]].concat()).await?.expect_success();
    let line: Json = serde_json::from_str(first.lines().next().context("a line")?)?;
    assert_eq!(line["changes"][0]["table"], "accounts", "{line}");
    assert_eq!(line["changes"][0]["columns"]["balance"], 100, "{line}");
    assert_eq!(line["changes"][0]["inserted"], true, "{line}");
    let transfer = transfer(0, 1, 5);
    assert!(client.submit(&transfer).await?.is_committed());
    let mut last = Json::Null;
    for _ in 0..10 {
        let next = run(&[&subscribe[..], &["1"]].concat()).await?.expect_success();
        last = serde_json::from_str(next.trim())?;
        if last["id"] == transfer.id().to_string() {
            break;
        }
    }
    assert_eq!(last["id"], transfer.id().to_string(), "the place was kept and gone on from");
    let refused = run(&["--endpoint", &endpoint, "subscribe", "--namespace", "bnak"]).await?;
    refused.expect_failure(3, &["bnak"]);
    server.stop().await
}
