//! Messages reach their targets: whole, in the order of their key, over failures and kills; what does not is
//! in the dead letters.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Context;
use handfast_client::{
    Client, Level, Message, Outcome, SubmitError, Transaction, Uuid, column, v1,
};
use handfast_e2e::{
    Arrived, Endpoint, Server, bank, run, served_with_targets, target_status, write,
};
use handfast_stack::Memcached;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::Instant;

const PATIENCE: Duration = Duration::from_secs(60);

/// A server of the bank with these targets.
async fn served(targets: &str) -> anyhow::Result<(TempDir, Server, Client)> {
    served_with_targets("", targets).await
}

/// An order of two rows with its message.
fn order(number: usize, key: &str) -> Transaction {
    let message = Message::new(format!("order {number}")).key(key.to_owned()).to("shop");
    Transaction::new("bank")
        .add("accounts", "shop", ("balance", 1))
        .add("accounts", format!("buyer-{number}"), ("balance", -1))
        .message(message)
}

/// That the messages of each key came in order: none of them behind a later one, but for repeats of what had
/// come before.
fn expect_order(arrived: &[Arrived]) {
    let mut seen: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for one in arrived {
        let number = one.body.rsplit(' ').next().and_then(|it| it.parse().ok()).expect("a number");
        let of_key = seen.entry(&one.headers["handfast-key"]).or_default();
        assert!(
            of_key.contains(&number) || of_key.iter().all(|before| *before < number),
            "{number} came behind {of_key:?}"
        );
        of_key.push(number);
    }
}

#[tokio::test]
async fn messages_are_delivered_in_the_order_of_their_key_over_failures_and_kills()
-> anyhow::Result<()> {
    let shop = Endpoint::start().await?;
    let (_folder, mut server, client) = served(&shop.target("shop", "")).await?;
    // The first three tries of every fifth message fail.
    shop.answers(|arrived, before| {
        let number: usize = arrived.body.rsplit(' ').next()?.parse().ok()?;
        Some(if number.is_multiple_of(5) && before < 3 { 500 } else { 200 })
    });
    let refused = order(99, "hot").require("accounts", "nobody", column("balance").at_least(1));
    assert!(matches!(client.submit(&refused).await?, Outcome::Aborted(_)));
    let mut sent = BTreeSet::new();
    for number in 0..60 {
        let order = order(number, if number % 3 == 0 { "hot" } else { "cold" });
        assert!(client.submit(&order).await?.is_committed());
        sent.insert(format!("{}/0", order.id()));
        if number % 20 == 10 {
            server.kill().await?;
            server.restart().await?;
        }
    }
    let taken = shop.until_taken(sent.len()).await?;
    let names: BTreeSet<String> = taken.iter().map(|it| it.name().to_owned()).collect();
    assert_eq!(names, sent, "every one, and not the aborted one");
    expect_order(&taken);
    let first = &taken[0].headers;
    assert_eq!(first["handfast-namespace"], "bank");
    assert!(shop.arrived().iter().any(|it| it.answered == 500), "the failures were met");

    // Once everything is dealt with, another start repeats nothing.
    let settled =
        |it: &v1::TargetStatus| it.shards.len() == 8 && it.shards.iter().all(|s| s.held == 0);
    target_status(&client, "shop", settled).await?;
    server.stop().await?;
    let before = shop.arrived().len();
    server.restart().await?;
    let id = write(&client, Message::new("order 101").key("hot").to("shop")).await?;
    shop.until_taken(sent.len() + 1).await?;
    let after = shop.arrived();
    assert_eq!(after.len(), before + 1, "{:?}", &after[before..]);
    assert_eq!(after[before].name(), format!("{id}/0"));
    let shop = [("namespace", "bank"), ("target", "shop")];
    server.until_metric("handfast_delivery_held", &shop, |held| held == 0.0).await?;
    let delivered = [("target", "shop"), ("what", "delivered")];
    assert_eq!(server.metric("handfast_delivery_total", &delivered).await?, 1.0, "since the start");
    assert_eq!(server.metric("handfast_dead_letters", &shop).await?, 0.0);
    server.stop().await
}

#[tokio::test]
async fn a_target_that_hangs_holds_up_no_other_and_targets_come_and_go() -> anyhow::Result<()> {
    let (shop, stuck, late) =
        (Endpoint::start().await?, Endpoint::start().await?, Endpoint::start().await?);
    stuck.answers(|_, _| None);
    let targets = shop.target("shop", "") + &stuck.target("stuck", "timeout_ms = 300");
    let (_folder, mut server, client) = served(&targets).await?;
    match client.write_to_log("bank", Uuid::now_v7(), Message::new("x").to("shp")).await {
        Err(SubmitError::Invalid { message, .. }) => {
            assert!(message.contains("did you mean \"shop\""), "{message}");
        }
        other => panic!("{other:?}"),
    }
    for number in 0..40 {
        let message = Message::new(format!("order {number}")).key("k").to("shop").to("stuck");
        write(&client, message).await?;
    }
    let taken = shop.until_taken(40).await?;
    expect_order(&taken);
    assert!(stuck.taken().is_empty());
    // What does not answer in time is tried again; then it comes back.
    let tried =
        target_status(&client, "stuck", |it| it.shards.iter().any(|s| s.waiting_for_retry > 0));
    tried.await?;
    let of_stuck = [("target", "stuck")];
    server.until_metric("handfast_delivery_oldest_seconds", &of_stuck, |it| it > 0.0).await?;
    server.until_metric("handfast_delivery_held", &of_stuck, |it| it == 40.0).await?;
    server.until_metric("handfast_delivery_held", &[("target", "shop")], |it| it == 0.0).await?;
    stuck.answers(|_, _| Some(200));
    let first = stuck.until_taken(40).await?;
    expect_order(&first);

    // Another one, paused, comes without a restart; what it is sent waits.
    let with = |paused: bool, retired: &str| {
        let late = late.target("late", &format!("paused = {paused}"));
        format!("{}{}{}{late}", bank(""), shop.target("shop", ""), stuck.target("stuck", retired))
    };
    client.admin().change_namespace(&with(true, ""), 1).await?;
    let waiting = write(&client, Message::new("order 41").key("k").to("late").to("shop")).await?;
    shop.until_taken(41).await?;
    let held =
        |it: &v1::TargetStatus| it.shards.iter().any(|s| s.held == 1 && s.held_up_by == "paused");
    target_status(&client, "late", held).await?;
    assert!(late.arrived().is_empty());
    // One that is in use may not go; a retired one takes nothing new, and may.
    let without = format!("{}{}{}", bank(""), shop.target("shop", ""), late.target("late", ""));
    let refused = client.admin().change_namespace(&without, 2).await.expect_err("in use");
    assert!(refused.to_string().contains("retired = true"), "{refused}");
    stuck.answers(|_, _| Some(503));
    write(&client, Message::new("order 43").key("k").to("stuck")).await?;
    client.admin().change_namespace(&with(false, "retired = true"), 2).await?;
    let taken = late.until_taken(1).await?;
    assert_eq!(taken[0].name(), format!("{waiting}/0"));
    let refused = client.write_to_log("bank", Uuid::now_v7(), Message::new("x").to("stuck")).await;
    assert!(
        matches!(&refused, Err(SubmitError::Invalid { message, .. }) if message.contains("retired"))
    );
    // Nor may it go with work pending, unless somebody gives that up.
    let refused = client.admin().change_namespace(&without, 3).await.expect_err("pending");
    assert!(refused.to_string().contains("--give-up-pending"), "{refused}");
    stuck.answers(|_, _| Some(200));
    let end = Instant::now() + PATIENCE;
    while let Err(error) = client.admin().change_namespace(&without, 3).await {
        anyhow::ensure!(error.to_string().contains("work pending"), "{error}");
        anyhow::ensure!(Instant::now() < end, "{error}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(stuck.taken().len(), 41);
    let names: Vec<String> =
        client.admin().list_targets("bank").await?.into_iter().map(|it| it.name).collect();
    assert_eq!(names, ["shop", "late"]);
    write(&client, Message::new("order 42").key("k").to("shop").to("late")).await?;
    late.until_taken(2).await?;

    late.answers(|_, _| Some(503));
    write(&client, Message::new("order 44").key("k").to("late")).await?;
    let retired = late.target("late", "retired = true");
    let retired = format!("{}{}{retired}", bank(""), shop.target("shop", ""));
    client.admin().change_namespace(&retired, 4).await?;
    let shop_alone = format!("{}{}", bank(""), shop.target("shop", ""));
    client.admin().change_namespace(&shop_alone, 5).await.expect_err("pending");
    client.admin().change_namespace_giving_up_pending(&shop_alone, 5).await?;
    write(&client, Message::new("order 45").key("k").to("shop")).await?;
    shop.until_taken(43).await?;
    server.stop().await
}

#[tokio::test]
async fn the_log_is_kept_for_a_target_that_takes_nothing_and_goes_when_it_has_it()
-> anyhow::Result<()> {
    let shop = Endpoint::start().await?;
    shop.answers(|_, _| Some(503));
    let settings =
        "log.retain_ms = 0\nlog.retain_bytes = 33554432\nlog.checkpoint_every_bytes = 65536";
    let (_folder, mut server, client) =
        served_with_targets(settings, &shop.target("shop", "")).await?;
    let mut sent = BTreeSet::new();
    for number in 0..3 {
        let message = Message::new(format!("order {number}")).key("k").to("shop");
        sent.insert(format!("{}/0", write(&client, message).await?));
    }
    let oldest = server.log_folder("bank").join("segment-000000000001.log");
    let client = client.at_level(Level::Applied);
    let write_large = async |number: usize| -> anyhow::Result<()> {
        let note = vec![number as u8; 1 << 20];
        let key = (format!("{}", number % 24), Uuid::now_v7());
        let large = Transaction::new("bank").put("transfers", key, ("note", note));
        anyhow::ensure!(client.submit(&large).await?.is_committed());
        Ok(())
    };
    // Far more than is kept of a log that nobody needs: with the same settings and no target it goes after some
    // 40 MiB.
    for number in 0..100 {
        write_large(number).await?;
    }
    assert!(oldest.exists(), "what was not delivered is gone");
    let kept = server.until_metric("handfast_log_bytes", &[], |it| it > 100e6).await?;
    server.kill().await?;
    let took = server.restart().await?;
    assert!(oldest.exists());
    // It goes on from its checkpoints: what is kept for the target is not replayed.
    let replayed = replayed_bytes(&server)?;
    assert!(replayed < kept / 4.0, "{replayed} bytes of {kept} were replayed");
    assert!(took < Duration::from_secs(20), "it served again {took:?} after a kill");
    // What to alert on: how much is kept, for whom, and for how long the oldest has waited.
    let of_shop = [("namespace", "bank"), ("target", "shop")];
    server.until_metric("handfast_log_bytes", &[("namespace", "bank")], |it| it >= kept).await?;
    server.until_metric("handfast_delivery_held", &of_shop, |it| it == 3.0).await?;
    server.until_metric("handfast_delivery_oldest_seconds", &of_shop, |it| it > 1.0).await?;
    let held_up = |it: &v1::TargetStatus| {
        it.shards.iter().any(|it| it.held == 3 && it.held_up_by == "overloaded")
    };
    target_status(&client, "shop", held_up).await?;
    shop.answers(|_, _| Some(200));
    client.admin().retry_target("bank", "shop").await?;
    let taken = shop.until_taken(sent.len()).await?;
    assert_eq!(taken.iter().map(|it| it.name().to_owned()).collect::<BTreeSet<_>>(), sent);
    expect_order(&taken);
    server.until_metric("handfast_delivery_oldest_seconds", &of_shop, |it| it == 0.0).await?;
    let end = Instant::now() + PATIENCE;
    let mut number = 100;
    while oldest.exists() {
        anyhow::ensure!(Instant::now() < end, "the log is kept for nothing");
        write_large(number).await?;
        number += 1;
    }
    server.until_metric("handfast_log_bytes", &[("namespace", "bank")], |it| it < kept).await?;
    server.stop().await
}

/// How much of its log a server has read at its last start before it served.
fn replayed_bytes(server: &Server) -> anyhow::Result<f64> {
    let said = server.said();
    let line = said.lines().rfind(|line| line.contains("replayed the log")).context("no line")?;
    let (_, bytes) = line.split_once("bytes=").context("no bytes")?;
    Ok(bytes.split_whitespace().next().context("no number")?.parse()?)
}

/// What a memcached has under a key.
async fn item(cache: &Memcached, key: &str) -> anyhow::Result<Option<String>> {
    let mut stream = BufReader::new(TcpStream::connect(cache.address()).await?);
    stream.write_all(format!("get {key}\r\n").as_bytes()).await?;
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    if line == "END\r\n" {
        return Ok(None);
    }
    let bytes = line.split_whitespace().nth(3).and_then(|bytes| bytes.parse().ok());
    let mut value = vec![0; bytes.with_context(|| line.clone())?];
    stream.read_exact(&mut value).await?;
    Ok(Some(String::from_utf8(value)?))
}

#[tokio::test]
async fn what_is_in_memcached_is_what_the_last_message_of_its_key_said() -> anyhow::Result<()> {
    let cache = Memcached::start(&[])?;
    let target = format!(
        "\n[[target]]\nname = \"cache\"\nkind = \"memcached\"\nservers = [\"{}\"]\nprefix = \"bank:\"\n\
         timeout_ms = 500\nfirst_pause_ms = 10\n",
        cache.address()
    );
    let (_folder, mut server, client) = served(&target).await?;
    let mut expected = BTreeMap::new();
    for number in 0..120 {
        let key = format!("key-{}", number % 7);
        let message = Message::new(format!("value {number}")).key(key.clone()).to("cache");
        let is_deleted = number % 5 == 4;
        let message = if is_deleted { message.header("op", "delete") } else { message };
        write(&client, message).await?;
        expected.insert(key, (!is_deleted).then(|| format!("value {number}")));
        match number {
            30 | 90 => {
                server.kill().await?;
                server.restart().await?;
            }
            // It answers nothing for a while: what was being tried is tried again.
            50 => cache.pause()?,
            70 => cache.resume()?,
            _ => {}
        }
    }
    assert!(expected.values().any(Option::is_none), "some are deleted in the end");
    let settled =
        |it: &v1::TargetStatus| it.shards.len() == 8 && it.shards.iter().all(|s| s.held == 0);
    let end = Instant::now() + PATIENCE;
    loop {
        target_status(&client, "cache", settled).await?;
        let mut found = BTreeMap::new();
        for key in expected.keys() {
            found.insert(key.clone(), item(&cache, &format!("bank:{key}")).await?);
        }
        if found == expected {
            break;
        }
        // Its status may be from before something was read.
        anyhow::ensure!(Instant::now() < end, "{found:?} is there, and should be {expected:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // What can be no item is a dead letter, and says why.
    write(&client, Message::new("no key").to("cache")).await?;
    target_status(&client, "cache", |it| it.dead_letters == 1).await?;
    let endpoint = server.endpoint();
    let words = ["--endpoint", &endpoint, "-o", "json", "dead-letters", "export", "-n", "bank"];
    let exported = run(&words).await?.expect_success();
    assert!(exported.contains("the message has no key"), "{exported}");
    server.stop().await
}
