//! Messages: they commit with their transaction or not at all, are told in the order of their key, and are
//! written once however often they are sent.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Context;
use handfast_client::{
    CommittedMessage, Durable, Message, Outcome, SubmitError, Subscribed, Subscription,
    Transaction, Uuid, column,
};
use handfast_e2e::{bank, run, run_with_input, served};
use serde_json::Value as Json;

const PATIENCE: Duration = Duration::from_secs(30);

/// An order of two rows with its message.
fn order(number: usize, key: &str) -> Transaction {
    let message = Message::new(format!("order {number}"))
        .key(key.to_owned())
        .content_type("text/plain")
        .header("number", number.to_string());
    Transaction::new("bank")
        .add("accounts", "shop", ("balance", 1))
        .add("accounts", format!("buyer-{number}"), ("balance", -1))
        .message(message)
}

/// Messages until so many were told, each with the id of its transaction.
async fn messages(
    stream: &mut Subscribed,
    count: usize,
) -> anyhow::Result<Vec<(Uuid, CommittedMessage)>> {
    let mut all = Vec::new();
    while all.len() < count {
        let told =
            tokio::time::timeout(PATIENCE, stream.next()).await.context("nothing is told")??;
        for transaction in told.transactions {
            all.extend(transaction.messages.into_iter().map(|message| (transaction.id, message)));
        }
    }
    Ok(all)
}

#[tokio::test]
async fn messages_commit_with_their_transaction_and_are_told_once_in_order() -> anyhow::Result<()> {
    let (_folder, mut server, client) = served("").await?;
    let mut whole = client.subscribe(Subscription::new("bank").from_beginning().messages());
    let mut parts = client.subscribe(Subscription::new("bank").from_beginning().parts().messages());
    let refused = order(99, "hot").require("accounts", "nobody", column("balance").at_least(1));
    assert!(matches!(client.submit(&refused).await?, Outcome::Aborted(_)));
    // One client after the other, so that the order is known; over two kills.
    let mut sent = Vec::new();
    for number in 0..60 {
        let order = order(number, if number % 3 == 0 { "hot" } else { "cold" });
        assert!(client.submit(&order).await?.is_committed());
        sent.push(order.id());
        if number % 25 == 20 {
            server.kill().await?;
            server.restart().await?;
        }
        // A transaction without a message between them is not told.
        let plain = Transaction::new("bank").add("accounts", "shop", ("balance", 0));
        assert!(client.submit(&plain).await?.is_committed());
    }
    let heard = messages(&mut whole, sent.len()).await?;
    let ids: BTreeSet<Uuid> = heard.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, sent.iter().copied().collect(), "each once, not the aborted one");
    let (_, first) = heard.iter().find(|(id, _)| *id == sent[0]).context("the first")?;
    assert_eq!((&first.payload[..], first.content_type.as_str()), (&b"order 0"[..], "text/plain"));
    assert_eq!(first.headers, [("number".to_owned(), "0".into())]);
    let mut by_key: BTreeMap<Vec<u8>, Vec<Uuid>> = BTreeMap::new();
    for (id, message) in messages(&mut parts, sent.len()).await? {
        by_key.entry(message.key.context("a key")?.to_vec()).or_default().push(id);
    }
    for (key, remainder) in [("hot", [0].as_slice()), ("cold", &[1, 2])] {
        let expected: Vec<Uuid> = (0..sent.len())
            .filter(|number| remainder.contains(&(number % 3)))
            .map(|number| sent[number])
            .collect();
        assert_eq!(
            by_key[key.as_bytes()],
            expected,
            "those of {key} in the order of their commits"
        );
    }
    // Nothing of them is in the tables, and the rows are.
    let shop = client.read_row("bank", "accounts", "shop").await?;
    assert_eq!(shop.integer("balance"), Some(60));
    server.stop().await
}

#[tokio::test]
async fn a_message_alone_is_written_once_and_can_be_asked_about() -> anyhow::Result<()> {
    let (_folder, mut server, client) = served("").await?;
    let mut stream = client.subscribe(Subscription::new("bank").from_beginning().messages());
    let (id, other) = (Uuid::now_v7(), Uuid::now_v7());
    let message = Message::new("hello").key("greetings");
    let first = client.write_to_log("bank", id, message.clone()).await?;
    let Durable::True { receipt: Some(receipt) } = first else { panic!("{first:?}") };
    server.kill().await?;
    server.restart().await?;
    for _ in 0..3 {
        let again = client.write_to_log("bank", id, message.clone()).await?;
        assert_eq!(again, Durable::True { receipt: Some(receipt) }, "the same receipt");
    }
    let reused = client.write_to_log("bank", id, Message::new("else").key("greetings")).await;
    assert!(matches!(reused, Err(SubmitError::IdReused { .. })), "{reused:?}");
    // Without a key; and one that is fenced before it is sent is not durable, for good.
    assert!(matches!(
        client.write_to_log("bank", other, Message::new("bye")).await?,
        Durable::True { .. }
    ));
    let barred = Transaction::new("bank").message(Message::new("never").key("greetings"));
    assert!(matches!(client.fence(&barred.locator()).await?, Outcome::Aborted(_)));
    let fenced = client.write_to_log("bank", barred.id(), Message::new("never").key("greetings"));
    assert_eq!(fenced.await?, Durable::False);
    let heard = messages(&mut stream, 2).await?;
    assert_eq!(heard.iter().map(|(id, _)| *id).collect::<BTreeSet<_>>(), [id, other].into());
    let explained = client.explain(&barred.locator()).await?;
    assert!(explained.outcome.is_some_and(|outcome| matches!(outcome, Outcome::Aborted(_))));
    server.stop().await
}

#[tokio::test]
async fn an_older_namespace_refuses_messages_until_it_is_raised() -> anyhow::Result<()> {
    let (folder, mut server, client) = served("").await?;
    let older = bank("").replace("name = \"bank\"", "name = \"older\"\nwrite_version = 2");
    client.admin().create_namespace(&older).await?;
    let message = || Message::new("x");
    match client.write_to_log("older", Uuid::now_v7(), message()).await {
        Err(SubmitError::Invalid { message, .. }) if message.contains("write_version = 3") => {}
        other => panic!("{other:?}"),
    }
    let raised = folder.path().join("older.toml");
    std::fs::write(&raised, older.replace("write_version = 2", "write_version = 3"))?;
    let endpoint = server.endpoint();
    let raised = raised.display().to_string();
    run(&["--endpoint", &endpoint, "namespace", "change", &raised, "--expected-version", "1"])
        .await?
        .expect_success();
    let written = client.write_to_log("older", Uuid::now_v7(), message()).await?;
    assert!(matches!(written, Durable::True { .. }), "{written:?}");
    server.stop().await
}

#[tokio::test]
async fn the_command_line_writes_messages_alone_and_in_batches() -> anyhow::Result<()> {
    let (_folder, mut server, _client) = served("").await?;
    let endpoint = server.endpoint();
    let base = ["--endpoint", endpoint.as_str()];
    let write = [
        &base[..],
        &[
            "write",
            "--namespace",
            "bank",
            "--key",
            "k",
            "--header",
            "a=b",
            "--content-type",
            "text/plain",
        ],
    ]
    .concat();
    let out = run_with_input(&write, "hello").await?.expect_success();
    let written: Json = serde_json::from_str(&out)?;
    assert_eq!(written["durable"], true, "{written}");
    assert!(written["epoch"].is_u64() && written["id"].is_string(), "{written}");
    let batch = r#"{"mutations": [{"add": {"table": "accounts", "key": {"id": "a"}, "columns": {"balance": 1}}}],
        "messages": [{"key": "k", "payload": {"json": {"a": [1, 2]}}}, {"payload": {"blob": "0x00ff"}}]}"#;
    let submit = [&base[..], &["submit", "--namespace", "bank", "-"]].concat();
    run_with_input(&submit, batch).await?.expect_success();
    let subscribe =
        ["subscribe", "--namespace", "bank", "--from-beginning", "--messages", "--count", "2"];
    let lines = run(&[&base[..], &subscribe].concat()).await?.expect_success();
    let told: Vec<Json> = lines.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let alone = told.iter().find(|it| it["id"] == written["id"]).context("the first")?;
    assert_eq!(alone["messages"][0]["payload"], "hello", "{alone}");
    assert_eq!(alone["messages"][0]["headers"]["a"], "b", "{alone}");
    let outbox = told.iter().find(|it| it["id"] != written["id"]).context("the second")?;
    assert_eq!(outbox["changes"][0]["key"][0], "a", "{outbox}");
    assert_eq!(outbox["messages"][0]["payload"], r#"{"a":[1,2]}"#, "{outbox}");
    assert_eq!(outbox["messages"][0]["content_type"], "application/json", "{outbox}");
    assert_eq!(outbox["messages"][1]["payload"]["blob"], "0x00ff", "{outbox}");
    let wrong = run_with_input(&submit, r#"{"messages": [{"paylod": "x"}]}"#).await?;
    wrong.expect_failure(1, &["messages[0]", "payload"]);
    server.stop().await
}
