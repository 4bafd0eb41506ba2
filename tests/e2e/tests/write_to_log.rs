//! One message alone: asked about and waited for by its receipt, one append each, and refused with its place where
//! something is wrong, in `WriteToLog` and in `Submit`.

use std::time::Duration;

use anyhow::Context;
use handfast_client::{
    Client, Durable, Level, Locator, Message, Outcome, SubmitError, Transaction, Uuid,
};
use handfast_e2e::{
    Endpoint, Server, bank, run, run_with_input, served, served_with_targets, write,
};
use serde_json::{Value as Json, json};
use tempfile::TempDir;

const WAIT: Duration = Duration::from_secs(30);

/// What of a transaction or message must be refused as wrong: its fields, and the message.
fn invalid<T: std::fmt::Debug>(answer: Result<T, SubmitError>) -> anyhow::Result<(String, String)> {
    match answer {
        Err(SubmitError::Invalid { message, violations }) => {
            let fields: Vec<&str> = violations.iter().map(|it| it.field.as_str()).collect();
            Ok((fields.join(" "), message))
        }
        other => anyhow::bail!("not refused as invalid: {other:?}"),
    }
}

/// Whether the log says anything of an id.
async fn is_logged(client: &Client, id: Uuid) -> bool {
    client.explain(&Locator::new("bank", id)).await.is_ok()
}

#[tokio::test]
async fn a_message_is_asked_about_and_waited_for_by_its_receipt() -> anyhow::Result<()> {
    let (_folder, mut server, client) = served("").await?;
    let id = Uuid::now_v7();
    let written = client.write_to_log("bank", id, Message::new("hello").key("k")).await?;
    let Durable::True { receipt: Some(receipt) } = written else { panic!("{written:?}") };
    assert_eq!(receipt.id, id);
    let home = receipt.home_shard.to_string();
    let by_receipt = Locator { home_shard: Some(receipt.home_shard), ..Locator::new("bank", id) };
    let endpoint = server.endpoint();
    let command = async |words: &[&str]| {
        let words = [&["--endpoint", &endpoint, "-o", "json"], words, &["--namespace", "bank"]];
        run(&words.concat()).await
    };
    let text = id.to_string();
    for is_restarted in [false, true] {
        for locator in [Locator::new("bank", id), by_receipt.clone()] {
            let asked = client.outcome(&locator).await?;
            let waited = client.wait_for(&locator, Level::Committed, WAIT).await?;
            let applied = client.wait_for(&locator, Level::Applied, WAIT).await?;
            for (outcome, of_level) in [(asked, false), (waited, false), (applied, true)] {
                let Outcome::Committed(committed) = outcome else { panic!("{outcome:?}") };
                assert_eq!(committed.receipt.map(|it| it.home_shard), Some(receipt.home_shard));
                assert!(committed.timestamp_us > 0 && (committed.applied || !of_level));
            }
        }
        for words in
            [&["outcome", &text, "--home", &home][..], &["outcome", &text, "--wait", "applied"]]
        {
            let told: Json = serde_json::from_str(&command(words).await?.expect_success())?;
            assert_eq!(told["outcome"], "committed", "{told}");
            assert_eq!(
                (&told["id"], &told["home_shard"]),
                (&json!(text), &json!(receipt.home_shard))
            );
        }
        if !is_restarted {
            server.kill().await?;
            server.restart().await?;
        }
    }
    // Of what nobody wrote nothing is known; once it is barred it is known never to be written.
    let never = Uuid::now_v7();
    let locator = Locator::new("bank", never);
    let asked = client.wait_for(&locator, Level::Applied, Duration::from_millis(200)).await?;
    assert!(matches!(asked, Outcome::Unknown(it) if !it.logged));
    let text = never.to_string();
    command(&["outcome", &text]).await?.expect_failure(5, &["not known"]);
    command(&["outcome", &text, "--fence"]).await?.expect_success();
    assert_eq!(client.write_to_log("bank", never, Message::new("late")).await?, Durable::False);
    command(&["outcome", &text]).await?.expect_failure(4, &["aborted"]);
    server.stop().await
}

#[tokio::test]
async fn a_message_alone_costs_one_append_of_one_record() -> anyhow::Result<()> {
    const MESSAGES: u32 = 300;
    let (_folder, mut server, client) = served("").await?;
    let of_bank = [("namespace", "bank")];
    let appended = async || -> anyhow::Result<(f64, f64)> {
        let appends = server.metric("handfast_append_records_count", &of_bank).await?;
        Ok((appends, server.metric("handfast_append_records_sum", &of_bank).await?))
    };
    write(&client, Message::new("the first")).await?;
    let before = appended().await?;
    for number in 0..MESSAGES {
        let message = Message::new(format!("order {number}"));
        write(&client, if number % 2 == 0 { message.key("k") } else { message }).await?;
    }
    let after = appended().await?;
    // Beside the messages' there are some of the shards' own housekeeping, such as their floors.
    let (appends, records) = (after.0 - before.0, after.1 - before.1);
    let (least, most) = (f64::from(MESSAGES), f64::from(MESSAGES) * 1.4);
    assert!((least..most).contains(&appends), "{appends} appends of {MESSAGES} messages");
    assert!((least..most).contains(&records), "{records} records of {MESSAGES} messages");
    server.stop().await
}

#[tokio::test]
async fn a_message_that_is_too_large_is_refused_and_nothing_of_it_is_logged() -> anyhow::Result<()>
{
    let (folder, mut server, client) = served("limits.bytes_per_transaction = 100000").await?;
    let message = |bytes: usize| Message::new(vec![b'x'; bytes]).key("k");
    let put = || Transaction::new("bank").put("accounts", "a", ("balance", 1));
    // 17 MiB are more than any request may have; they are not even read.
    for bytes in [100_001, 5 << 20] {
        let id = Uuid::now_v7();
        let (field, what) = invalid(client.write_to_log("bank", id, message(bytes)).await)?;
        assert!(field.starts_with("transaction.messages[0]"), "{field}: {what}");
        assert!(what.contains("more than 100000 bytes"), "{what}");
        assert!(!is_logged(&client, id).await);
        let outbox = put().message(message(bytes));
        let (field, what) = invalid(client.submit(&outbox).await)?;
        assert!(field.starts_with("transaction.messages[0]"), "{field}: {what}");
        assert!(what.contains("more than 100000 bytes"), "{what}");
        assert!(!is_logged(&client, outbox.id()).await);
    }
    let id = Uuid::now_v7();
    let refused = client.write_to_log("bank", id, message(17 << 20)).await;
    let Err(SubmitError::Refused { message: what, .. }) = refused else { panic!("{refused:?}") };
    assert!(what.contains("too large"), "{what}");
    assert!(!is_logged(&client, id).await);
    let outbox = put().message(message(17 << 20));
    let refused = client.submit(&outbox).await;
    assert!(matches!(&refused, Err(SubmitError::Refused { .. })), "{refused:?}");
    assert!(!is_logged(&client, outbox.id()).await);

    let file = folder.path().join("large");
    std::fs::write(&file, vec![b'x'; 100_001])?;
    let (endpoint, file) = (server.endpoint(), file.display().to_string());
    let words = ["--endpoint", &endpoint, "write", "--namespace", "bank", &file];
    run(&words).await?.expect_failure(1, &["more than 100000 bytes"]);

    // The connection goes on, and nothing of a refused transaction is there.
    write(&client, message(90_000)).await?;
    assert!(!client.read_row("bank", "accounts", "a").await?.exists);
    server.stop().await
}

#[tokio::test]
async fn unknown_targets_and_regions_are_refused_with_their_place() -> anyhow::Result<()> {
    let shop = Endpoint::start().await?;
    let (_folder, mut server, client) = served_with_targets("", &shop.target("shop", "")).await?;
    let message = || Message::new("x").key("k").to("shop");
    let put = || Transaction::new("bank").put("accounts", "a", ("balance", 1));
    let id = Uuid::now_v7();
    let refused = client.write_to_log("bank", id, message().to("shp")).await;
    let (field, what) = invalid(refused)?;
    assert_eq!(field, "transaction.messages[0].targets[1]");
    assert!(what.contains("unknown target \"shp\": did you mean \"shop\"?"), "{what}");
    let twice = client.write_to_log("bank", id, message().to("shop")).await;
    assert!(invalid(twice)?.1.contains("named twice"));
    let refused = put().message(message()).message(Message::new("y").to("nowhere"));
    let (field, what) = invalid(client.submit(&refused).await)?;
    assert_eq!(field, "transaction.messages[1].targets[0]");
    assert!(what.contains("unknown target \"nowhere\""), "{what}");
    let abroad = put().message(message()).to_regions(["mars"]);
    let (field, what) = invalid(client.submit(&abroad).await)?;
    assert!(field.contains("regions"), "{field}");
    assert!(what.contains("the namespace is in one region"), "{what}");
    for id in [id, refused.id(), abroad.id()] {
        assert!(!is_logged(&client, id).await);
    }
    assert!(!client.read_row("bank", "accounts", "a").await?.exists);

    // The same by batches, which say it with their own paths.
    let endpoint = server.endpoint();
    let submit = ["--endpoint", &endpoint, "-o", "json", "submit", "--namespace", "bank", "-"];
    let batch = |more: &str| {
        format!(
            r#"{{"mutations": [{{"put": {{"table": "accounts", "key": {{"id": "a"}}, "columns": {{"balance": 1}}}}}}], {more}}}"#
        )
    };
    let cases = [
        (
            r#""messages": [{"payload": "x", "targets": ["shp"]}]"#,
            "messages[0].targets[0]: unknown target",
        ),
        (
            r#""messages": [{"payload": "x", "targets": "shop"}]"#,
            "messages[0].targets: expected a list",
        ),
        (r#""messages": [{"payload": "x", "target": ["shop"]}]"#, "did you mean \"targets\"?"),
        (r#""regions": ["mars"]"#, "regions: the namespace is in one region"),
        (r#""regions": [7]"#, "regions[0]: expected a name"),
    ];
    for (more, what) in cases {
        run_with_input(&submit, &batch(more)).await?.expect_failure(1, &[what]);
    }
    let outbox = r#""messages": [{"key": "k", "payload": {"json": [1]}, "targets": ["shop"]}]"#;
    let done = run_with_input(&submit, &batch(outbox)).await?.expect_success();
    let done: Json = serde_json::from_str(&done)?;
    let taken = shop.until_taken(1).await?;
    assert_eq!(taken[0].name(), format!("{}/0", done["id"].as_str().context("an id")?));
    assert_eq!((&*taken[0].body, &*taken[0].headers["content-type"]), ("[1]", "application/json"));
    assert_eq!(shop.arrived().len(), 1, "nothing of what was refused");
    server.stop().await
}

#[tokio::test]
async fn a_batch_goes_to_the_regions_that_it_names() -> anyhow::Result<()> {
    let folder = TempDir::new()?;
    let mut servers = Vec::new();
    for name in ["eu", "us"] {
        let place = folder.path().join(name);
        std::fs::create_dir(&place)?;
        servers.push(Server::start(&place, &[]).await?);
    }
    let [eu, us] = [servers[0].endpoint(), servers[1].endpoint()];
    for (server, here) in servers.iter().zip(["eu", "us"]) {
        let file = format!(
            "{}[[table]]\ncql = \"CREATE TABLE arrived (region text PRIMARY KEY, watermark bigint, term bigint, \
             transactions bigint)\"\n[region]\nhere = \"{here}\"\nhome = \"eu\"\ntable = \"arrived\"\n\
             [[region.all]]\nname = \"eu\"\nservers = [\"{eu}\"]\n\
             [[region.all]]\nname = \"us\"\nservers = [\"{us}\"]\n",
            bank("")
        );
        server.client().await?.admin().create_namespace(&file).await?;
    }
    let submit = async |account: &str, regions: Json| {
        let put = json!({"put": {"table": "accounts", "key": {"id": account}, "columns": {"balance": 1}}});
        let batch = json!({"mutations": [put], "regions": regions});
        let words = ["--endpoint", &eu, "-o", "json", "submit", "--namespace", "bank", "-"];
        run_with_input(&words, &batch.to_string()).await
    };
    let unknown = submit("mars", json!(["eu", "uss"])).await?;
    unknown.expect_failure(1, &["regions[1]: unknown region \"uss\": did you mean \"us\"?"]);
    submit("home", json!(["eu"])).await?.expect_success();
    submit("both", json!(["eu", "us"])).await?.expect_success();
    let last: Json = serde_json::from_str(&submit("all", json!([])).await?.expect_success())?;
    let last = format!("eu={}", last["commit_timestamp_us"]);
    for (account, arrives) in [("home", false), ("both", true), ("all", true), ("mars", false)] {
        let words =
            ["--endpoint", &us, "-o", "json", "read", "--namespace", "bank", "accounts", account];
        let read = run(&[&words[..], &["--not-before", &last]].concat()).await?.expect_success();
        let read: Json = serde_json::from_str(&read)?;
        assert_eq!(read[0]["exists"], arrives, "{account}: {read}");
    }
    let client = servers[0].client().await?;
    let mars = client.read_row("bank", "accounts", "mars").await?;
    assert!(!mars.exists, "what was refused is nowhere");
    for server in &mut servers {
        server.stop().await?;
    }
    Ok(())
}
