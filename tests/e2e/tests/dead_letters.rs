//! Dead letters: kept until they are redriven or discarded, redriven at a pace that may be interrupted and taken
//! back, none of them twice; and a target that has as many as it may waits.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use handfast_client::{Client, Message, v1};
use handfast_e2e::{
    Endpoint, Server, bank, binary, run, served_with_targets, target_status, write,
};
use serde_json::Value as Json;
use tokio::process::Command;
use tokio::time::Instant;

/// How often a server looks for what is to be redriven, and some more.
const SEVERAL_LOOKS: Duration = Duration::from_millis(2_500);

/// What `handfast dead-letters` says to these words.
async fn letters(endpoint: &str, words: &[&str]) -> anyhow::Result<Json> {
    let words = [&["--endpoint", endpoint, "-o", "json", "dead-letters"], words].concat();
    Ok(serde_json::from_str(&run(&words).await?.expect_success())?)
}

/// Writes so many messages, each of its own key, to `shop`, which refuses them for good; their names, once all of
/// them are dead letters.
async fn bury(client: &Client, shop: &Endpoint, count: u64) -> anyhow::Result<BTreeSet<String>> {
    shop.answers(|_, _| Some(422));
    let mut names = BTreeSet::new();
    for number in 0..count {
        let message = Message::new(format!("order {number}")).key(format!("key-{number}"));
        names.insert(format!("{}/0", write(client, message.to("shop")).await?));
    }
    target_status(client, "shop", |it| it.dead_letters == count).await?;
    Ok(names)
}

/// The names of what the endpoint took from a place on, as often as it took them.
fn taken_since(shop: &Endpoint, place: usize) -> Vec<String> {
    let mut names: Vec<String> =
        shop.taken()[place..].iter().map(|it| it.name().to_owned()).collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn what_is_given_up_is_a_dead_letter_until_it_is_redriven_or_discarded() -> anyhow::Result<()>
{
    let shop = Endpoint::start().await?;
    let (_folder, mut server, client) =
        served_with_targets("", &shop.target("shop", "tries = 3")).await?;
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
    target_status(&client, "shop", |it| it.dead_letters == 2).await?;
    let arrived = shop.arrived();
    let of = |body: &str| arrived.iter().filter(|it| it.body == body).count();
    assert_eq!((of("order 1"), of("order 2"), of("order 3")), (1, 3, 1));

    // They are there after a kill, whole, and are not delivered again by themselves.
    server.kill().await?;
    server.restart().await?;
    let endpoint = server.endpoint();
    let command = async |words: &[&str]| letters(&endpoint, words).await;
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

    let all = [("namespace", "bank"), ("target", "shop")];
    server.until_metric("handfast_dead_letters", &all, |it| it == 2.0).await?;

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
    target_status(&client, "shop", |it| it.dead_letters == 0 && it.redriving == 0).await?;
    let taken = shop.until_taken(3).await?;
    server.until_metric("handfast_dead_letters", &all, |it| it == 0.0).await?;
    for what in ["redriven", "redrive_failed"] {
        let of_it = [("target", "shop"), ("what", what)];
        assert_eq!(server.metric("handfast_delivery_total", &of_it).await?, 1.0, "{what}");
    }
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
async fn dead_letters_are_redriven_at_a_rate_each_once() -> anyhow::Result<()> {
    let shop = Endpoint::start().await?;
    let (_folder, mut server, client) = served_with_targets("", &shop.target("shop", "")).await?;
    let names = bury(&client, &shop, 12).await?;
    let of_shop = [("namespace", "bank"), ("target", "shop")];
    server.until_metric("handfast_dead_letters", &of_shop, |it| it == 12.0).await?;
    let endpoint = server.endpoint();
    let all = ["-n", "bank", "--target", "shop"];

    // Whole, one a line.
    let export = ["--endpoint", &endpoint, "dead-letters", "export", "-n", "bank"];
    let exported = run(&export).await?.expect_success();
    let exported: Vec<Json> =
        exported.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let told = exported.iter().filter_map(|it| it["name"].as_str().map(str::to_owned));
    assert_eq!(told.collect::<BTreeSet<_>>(), names);
    for letter in &exported {
        let payload = letter["message"]["payload"].as_str().context("a payload")?;
        assert!(payload.starts_with("order "), "{letter}");
        assert_eq!((&letter["target"], &letter["cause"]), (&"shop".into(), &"permanent".into()));
        assert_eq!(letter["history"][0]["class"], "permanent", "{letter}");
    }

    // To say how many it would be does nothing.
    let before = shop.arrived().len();
    let dry = letters(&endpoint, &[&["redrive"], &all[..], &["--dry-run"]].concat()).await?;
    assert_eq!(dry["would_be"], 12, "{dry}");
    tokio::time::sleep(SEVERAL_LOOKS).await;
    assert_eq!(shop.arrived().len(), before, "nothing was sent");

    // Twelve at four a second take two seconds.
    shop.answers(|_, _| Some(200));
    let begun = Instant::now();
    let slowly = [&["redrive"], &all[..], &["--rate", "4", "--wait", "60s"]].concat();
    let words = [&["--endpoint", &endpoint, "-o", "json", "dead-letters"], &slowly[..]].concat();
    let said = run(&words).await?;
    assert!(begun.elapsed() > Duration::from_millis(1_500), "{:?}", begun.elapsed());
    assert!(!said.err.is_empty(), "progress is told: {said:?}");
    let done: Json = serde_json::from_str(&said.expect_success())?;
    assert_eq!((&done["delivered"], &done["dead"]), (&12.into(), &0.into()), "{done}");
    assert_eq!(taken_since(&shop, 0), names.into_iter().collect::<Vec<_>>(), "each once");
    server.until_metric("handfast_dead_letters", &of_shop, |it| it == 0.0).await?;
    for (what, count) in [("dead", 12.0), ("redriven", 12.0), ("redrive_failed", 0.0)] {
        let of_it = [("target", "shop"), ("what", what)];
        assert_eq!(server.metric("handfast_delivery_total", &of_it).await?, count, "{what}");
    }
    server.stop().await
}

#[tokio::test]
async fn a_redrive_that_is_interrupted_leaves_the_rest_as_it_is() -> anyhow::Result<()> {
    let shop = Endpoint::start().await?;
    let (_folder, mut server, client) = served_with_targets("", &shop.target("shop", "")).await?;
    let names = bury(&client, &shop, 8).await?;
    shop.answers(|_, _| Some(200));
    let endpoint = server.endpoint();
    let mut command = Command::new(binary()?)
        .args(["--endpoint", &endpoint, "dead-letters", "redrive", "-n", "bank", "--rate", "1"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    shop.until_taken(1).await?;
    command.kill().await?;
    let settled = target_status(&client, "shop", |it| it.redriving == 0).await?;
    let taken = shop.taken().len() as u64;
    assert!((1..8).contains(&taken), "{taken} were sent");
    assert_eq!(settled.dead_letters, 8 - taken, "the rest are dead letters still");
    tokio::time::sleep(SEVERAL_LOOKS).await;
    assert_eq!(shop.taken().len() as u64, taken, "and are not sent by themselves");
    let rest = letters(&endpoint, &["redrive", "-n", "bank", "--wait", "60s"]).await?;
    assert_eq!((&rest["delivered"], &rest["dead"]), (&(8 - taken).into(), &0.into()), "{rest}");
    assert_eq!(taken_since(&shop, 0), names.into_iter().collect::<Vec<_>>(), "each once");
    server.stop().await
}

#[tokio::test]
async fn a_redrive_is_taken_back_and_what_was_redriven_is_not_sent_again() -> anyhow::Result<()> {
    let shop = Endpoint::start().await?;
    let (_folder, mut server, client) = served_with_targets("", &shop.target("shop", "")).await?;
    let delivered = format!("{}/0", write(&client, Message::new("fine").to("shop")).await?);
    shop.until_taken(1).await?;
    let names = bury(&client, &shop, 6).await?;
    let endpoint = server.endpoint();
    let command = async |words: &[&str]| letters(&endpoint, words).await;

    // The target takes nothing just now: they stay on their way until somebody takes that back.
    shop.answers(|_, _| Some(503));
    let before = shop.arrived().len();
    command(&["redrive", "-n", "bank"]).await?;
    let (admin, all) = (client.admin(), v1::DeadLetterSelection::default());
    let again = admin.change_dead_letters("bank", all, v1::DeadLetterWish::Redrive).await?;
    assert_eq!(again, 0, "they are on their way already");
    let status = target_status(&client, "shop", |_| shop.arrived().len() > before).await?;
    assert_eq!((status.redriving, status.dead_letters), (6, 0), "{status:?}");
    let of_shop = [("namespace", "bank"), ("target", "shop")];
    server.until_metric("handfast_redriving_letters", &of_shop, |it| it == 6.0).await?;
    assert_eq!(command(&["cancel", "-n", "bank"]).await?["cancelled"], 6);
    assert_eq!(command(&["cancel", "-n", "bank"]).await?["cancelled"], 0, "twice");
    server.until_metric("handfast_redriving_letters", &of_shop, |it| it == 0.0).await?;
    tokio::time::sleep(SEVERAL_LOOKS).await;
    shop.answers(|_, _| Some(200));
    tokio::time::sleep(SEVERAL_LOOKS).await;
    assert_eq!(shop.taken().len(), 1, "what was taken back is not sent");
    target_status(&client, "shop", |it| it.dead_letters == 6 && it.redriving == 0).await?;

    // Two at once redrive each of them once.
    let redrive = ["redrive", "-n", "bank", "--wait", "60s"];
    let (one, other) = tokio::join!(command(&redrive), command(&redrive));
    assert_eq!((&one?["dead"], &other?["dead"]), (&0.into(), &0.into()));
    shop.until_taken(7).await?;
    assert_eq!(taken_since(&shop, 1), names.iter().cloned().collect::<Vec<_>>(), "each once");

    // What was delivered, redriven, or never a dead letter is none: that is said, and nothing is sent.
    let never = format!("{}/0", handfast_client::Uuid::now_v7());
    let redriven = names.first().context("there are six")?;
    for name in [redriven, &delivered, &never] {
        let again = command(&["redrive", "-n", "bank", name, "--wait", "60s"]).await?;
        assert_eq!((&again["redriving"], &again["delivered"]), (&0.into(), &0.into()), "{again}");
        let show = ["--endpoint", &endpoint, "dead-letters", "show", "-n", "bank", name];
        run(&show).await?.expect_failure(1, &["there is no dead letter", "delivered"]);
    }
    tokio::time::sleep(SEVERAL_LOOKS).await;
    assert_eq!(shop.taken().len(), 7, "nothing is sent twice");
    let wrong = ["--endpoint", &endpoint, "dead-letters", "redrive", "-n", "bank", "7"];
    run(&wrong).await?.expect_failure(1, &["ID/INDEX"]);
    server.stop().await
}

/// The bank with `shop`, which may have so many dead letters.
fn limited(shop: &Endpoint, dead_letters: u32) -> String {
    let limit = format!("tries = 1\ndead_letters = {dead_letters}");
    format!("{}{}", bank(""), shop.target("shop", &limit))
}

/// Whether a target waits as its dead letters are full, with so many messages that are not dealt with.
fn is_full(it: &v1::TargetStatus, letters: u64, held: u64) -> bool {
    let full = it.shards.iter().find(|it| it.held_up_by == "dead letters");
    it.dead_letters == letters && full.is_some_and(|it| it.held == held)
}

#[tokio::test]
async fn a_target_that_refuses_everything_waits_with_as_many_dead_letters_as_it_may_have()
-> anyhow::Result<()> {
    let shop = Endpoint::start().await?;
    shop.answers(|_, _| Some(422));
    let folder = tempfile::TempDir::new()?;
    let mut server = Server::start(folder.path(), &[&limited(&shop, 2)]).await?;
    let client = server.client().await?;
    let mut names = BTreeSet::new();
    for number in 0..6 {
        let message = Message::new(format!("order {number}")).key("k").to("shop");
        names.insert(format!("{}/0", write(&client, message).await?));
    }
    // Two are given up, the third would be: it waits, and those behind it.
    let full = |it: &v1::TargetStatus| is_full(it, 2, 4);
    target_status(&client, "shop", full).await?;
    let endpoint = server.endpoint();
    let list = ["--endpoint", &endpoint, "-o", "json", "target", "list", "-n", "bank"];
    let listed: Json = serde_json::from_str(&run(&list).await?.expect_success())?;
    let mut shards = listed[0]["shards"].as_array().context("a list")?.iter();
    assert!(shards.any(|it| it["held_up_by"] == "dead letters"), "{listed}");
    let of_shop = [("namespace", "bank"), ("target", "shop")];
    server.until_metric("handfast_dead_letters", &of_shop, |it| it == 2.0).await?;
    server.until_metric("handfast_delivery_held", &of_shop, |it| it == 4.0).await?;
    server.until_metric("handfast_delivery_oldest_seconds", &of_shop, |it| it > 1.0).await?;
    // A kill changes nothing of that.
    server.kill().await?;
    server.restart().await?;
    target_status(&client, "shop", full).await?;
    assert_eq!(shop.taken().len(), 0);

    // With room for one more it goes on by itself, until that is taken, too.
    let first = names.first().context("there are six")?;
    assert_eq!(letters(&endpoint, &["discard", "-n", "bank", first]).await?["discarded"], 1);
    target_status(&client, "shop", |it| is_full(it, 2, 3)).await?;

    // With a higher limit the same.
    client.admin().change_namespace(&limited(&shop, 4), 1).await?;
    target_status(&client, "shop", |it| is_full(it, 4, 1)).await?;

    // Full as they are they are redriven once it is mended, which makes room for the last; none is lost.
    shop.answers(|_, _| Some(200));
    letters(&endpoint, &["redrive", "-n", "bank", "--wait", "60s"]).await?;
    let buried = |it: &v1::TargetStatus| {
        it.dead_letters == 1 && it.shards.iter().all(|it| it.held == 0 && it.held_up_by.is_empty())
    };
    target_status(&client, "shop", buried).await?;
    let redriven = letters(&endpoint, &["redrive", "-n", "bank", "--wait", "60s"]).await?;
    assert_eq!((&redriven["delivered"], &redriven["dead"]), (&1.into(), &0.into()), "{redriven}");
    let taken = taken_since(&shop, 0);
    assert_eq!(taken, names.iter().skip(1).cloned().collect::<Vec<_>>(), "each once");
    server.until_metric("handfast_dead_letters", &of_shop, |it| it == 0.0).await?;
    server.stop().await
}
