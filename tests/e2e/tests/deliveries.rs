//! Messages reach their targets: whole, in the order of their key, over failures and kills; what does not is
//! in the dead letters.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Context;
use handfast_client::{
    Client, Durable, Level, Message, Outcome, SubmitError, Transaction, Uuid, column, v1,
};
use handfast_e2e::{Arrived, Endpoint, Server, bank, run};
use handfast_stack::Memcached;
use serde_json::Value as Json;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::Instant;

const PATIENCE: Duration = Duration::from_secs(60);

/// A server of the bank with these targets.
async fn served(targets: &str) -> anyhow::Result<(TempDir, Server, Client)> {
    served_with("", targets).await
}

async fn served_with(settings: &str, targets: &str) -> anyhow::Result<(TempDir, Server, Client)> {
    let folder = TempDir::new()?;
    let file = format!("{}{targets}", bank(settings));
    let server = Server::start(folder.path(), &[&file]).await?;
    let client = server.client().await?;
    Ok((folder, server, client))
}

/// An order of two rows with its message.
fn order(number: usize, key: &str) -> Transaction {
    let message = Message::new(format!("order {number}")).key(key.to_owned()).to("shop");
    Transaction::new("bank")
        .add("accounts", "shop", ("balance", 1))
        .add("accounts", format!("buyer-{number}"), ("balance", -1))
        .message(message)
}

async fn write(client: &Client, message: Message) -> anyhow::Result<Uuid> {
    let id = Uuid::now_v7();
    match client.write_to_log("bank", id, message).await? {
        Durable::True { .. } => Ok(id),
        other => anyhow::bail!("{other:?}"),
    }
}

/// The target's status, when it is as wanted.
async fn status(
    client: &Client,
    target: &str,
    is_wanted: impl Fn(&v1::TargetStatus) -> bool,
) -> anyhow::Result<v1::TargetStatus> {
    let end = Instant::now() + PATIENCE;
    loop {
        let all = client.admin().list_targets("bank").await?;
        let found = all.into_iter().find(|it| it.name == target).context("no such target")?;
        if is_wanted(&found) {
            return Ok(found);
        }
        anyhow::ensure!(Instant::now() < end, "it does not become so: {found:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
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
    status(&client, "shop", settled).await?;
    server.stop().await?;
    let before = shop.arrived().len();
    server.restart().await?;
    let id = write(&client, Message::new("order 101").key("hot").to("shop")).await?;
    shop.until_taken(sent.len() + 1).await?;
    let after = shop.arrived();
    assert_eq!(after.len(), before + 1, "{:?}", &after[before..]);
    assert_eq!(after[before].name(), format!("{id}/0"));
    server.stop().await
}

#[tokio::test]
async fn what_is_given_up_is_a_dead_letter_until_it_is_redriven_or_discarded() -> anyhow::Result<()>
{
    let shop = Endpoint::start().await?;
    let (_folder, mut server, client) = served(&shop.target("shop", "tries = 3")).await?;
    // One is refused for good, one is never taken, and what comes behind it of its key waits for that.
    shop.answers(|arrived, _| match &*arrived.body {
        "order 1" => Some(422),
        "order 2" => Some(500),
        _ => Some(200),
    });
    let mut ids = Vec::new();
    for (number, key) in [(1, "a"), (2, "b"), (3, "b"), (4, "c")] {
        let message = Message::new(format!("order {number}"))
            .key(key)
            .header("number", number.to_string())
            .content_type("text/plain")
            .to("shop");
        ids.push(write(&client, message).await?);
    }
    shop.until_taken(2).await?;
    status(&client, "shop", |it| it.dead_letters == 2).await?;
    let arrived = shop.arrived();
    let of = |body: &str| arrived.iter().filter(|it| it.body == body).count();
    assert_eq!((of("order 1"), of("order 2"), of("order 3")), (1, 3, 1));

    // They are there after a kill, whole, and are not delivered again by themselves.
    server.kill().await?;
    server.restart().await?;
    let endpoint = server.endpoint();
    let command = async |words: &[&str]| -> anyhow::Result<Json> {
        let words = [&["--endpoint", &endpoint, "-o", "json", "dead-letters"], words].concat();
        Ok(serde_json::from_str(&run(&words).await?.expect_success())?)
    };
    let listed = command(&["list", "-n", "bank", "--target", "shop"]).await?;
    let names: Vec<_> = listed.as_array().context("a list")?.iter().map(|it| &it["name"]).collect();
    assert_eq!(names.len(), 2, "{listed}");
    let [first, second] = [ids[0], ids[1]].map(|id| format!("{id}/0"));
    let shown = command(&["show", "-n", "bank", &first]).await?;
    assert_eq!((&shown["cause"], &shown["tries"]), (&"permanent".into(), &1.into()), "{shown}");
    assert_eq!(shown["message"]["headers"]["number"], "1", "{shown}");
    let said = shown["history"][0]["text"].as_str().context("a text")?;
    assert!(said.contains("422") && said.contains("said the endpoint"), "{said}");
    let shown = command(&["show", "-n", "bank", &second]).await?;
    assert_eq!(
        (&shown["cause"], &shown["tries"]),
        (&"tries exhausted".into(), &3.into()),
        "{shown}"
    );

    // Sent again while it is still refused, it is dead again, with one more try.
    let dry = command(&["redrive", "-n", "bank", "--key", "a", "--dry-run"]).await?;
    assert_eq!(dry["would_be"], 1, "{dry}");
    let failed = command(&["redrive", "-n", "bank", &first, "--wait", "60s"]).await?;
    assert_eq!((&failed["delivered"], &failed["dead"]), (&0.into(), &1.into()), "{failed}");
    assert_eq!(command(&["show", "-n", "bank", &first]).await?["tries"], 2);
    shop.answers(|_, _| Some(200));
    let done = command(&["redrive", "-n", "bank", &first, "--wait", "60s"]).await?;
    assert_eq!((&done["delivered"], &done["dead"]), (&1.into(), &0.into()), "{done}");
    let discarded = command(&["discard", "-n", "bank", &second]).await?;
    assert_eq!(discarded["discarded"], 1, "{discarded}");
    assert_eq!(command(&["discard", "-n", "bank", &second]).await?["discarded"], 0, "twice");
    let everything =
        run(&["--endpoint", &endpoint, "dead-letters", "discard", "-n", "bank"]).await?;
    assert!(everything.err.contains("name the letters"), "{everything:?}");
    status(&client, "shop", |it| it.dead_letters == 0 && it.redriving == 0).await?;
    let taken = shop.until_taken(3).await?;
    assert!(taken.iter().any(|it| it.name() == first), "redriven under its name");
    assert!(!taken.iter().any(|it| it.name() == second), "discarded");
    let before = shop.arrived().len();
    server.kill().await?;
    server.restart().await?;
    let last = write(&client, Message::new("order 5").to("shop")).await?;
    shop.until_taken(4).await?;
    let again: Vec<_> = shop.arrived()[before..].iter().map(|it| it.name().to_owned()).collect();
    assert!(again.contains(&format!("{last}/0")));
    assert!(!again.contains(&first) && !again.contains(&second), "settled: {again:?}");
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
    let tried = status(&client, "stuck", |it| it.shards.iter().any(|s| s.waiting_for_retry > 0));
    tried.await?;
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
    status(&client, "late", held).await?;
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
    let (_folder, mut server, client) = served_with(settings, &shop.target("shop", "")).await?;
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
    server.kill().await?;
    let took = server.restart().await?;
    println!("served again {took:?} after a kill");
    assert!(oldest.exists());
    shop.answers(|_, _| Some(200));
    client.admin().retry_target("bank", "shop").await?;
    let taken = shop.until_taken(sent.len()).await?;
    assert_eq!(taken.iter().map(|it| it.name().to_owned()).collect::<BTreeSet<_>>(), sent);
    expect_order(&taken);
    let end = Instant::now() + PATIENCE;
    let mut number = 100;
    while oldest.exists() {
        anyhow::ensure!(Instant::now() < end, "the log is kept for nothing");
        write_large(number).await?;
        number += 1;
    }
    server.stop().await
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
        status(&client, "cache", settled).await?;
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
    status(&client, "cache", |it| it.dead_letters == 1).await?;
    let endpoint = server.endpoint();
    let words = ["--endpoint", &endpoint, "-o", "json", "dead-letters", "export", "-n", "bank"];
    let exported = run(&words).await?.expect_success();
    assert!(exported.contains("the message has no key"), "{exported}");
    server.stop().await
}
