//! What a client can get wrong, through the client library and the wire: refused before anything is
//! logged, with the place and what to do.

use anyhow::Context;
use handfast_client::{
    Client, Outcome, SubmitError, Transaction, Uuid, Value, column, exists, not_exists,
};
use handfast_e2e::served;

/// Submits what must be refused: the fields and the message.
async fn refused(client: &Client, transaction: Transaction) -> anyhow::Result<(String, String)> {
    match client.submit(&transaction).await {
        Err(SubmitError::Invalid { message, violations }) => {
            let fields: Vec<&str> = violations.iter().map(|it| it.field.as_str()).collect();
            Ok((fields.join(" "), message))
        }
        other => anyhow::bail!("not refused as invalid: {other:?}"),
    }
}

#[tokio::test]
async fn what_is_wrong_is_refused_with_its_place_and_nothing_is_logged() -> anyhow::Result<()> {
    let (_folder, mut server, client) = served("").await?;
    let new = || Transaction::new("bank");
    let cases = [
        (new(), "", "empty"),
        (new().put("acounts", "a", ("balance", 1)), "table", "did you mean \"accounts\"?"),
        (new().put("accounts", "a", ("balanc", 1)), "columns", "did you mean \"balance\"?"),
        (new().put("accounts", "a", ("balance", "one")), "columns", "bigint"),
        (new().put("accounts", 7, ("balance", 1)), "key", "text"),
        (new().put("transfers", "a", ("amount", 1)), "key", "id"),
        (new().put("accounts", ("a", "b"), ("balance", 1)), "key", ""),
        (new().put("accounts", Value::null(), ("balance", 1)), "key", ""),
        (new().put("accounts", "a", ("id", "b")), "columns", "key"),
        (new().add("transfers", ("a", Uuid::nil()), ("recipient", 1)), "columns", ""),
        (new().require("accounts", "a", column("nope").equals(1)), "conditions[0]", "nope"),
        (
            new().require("accounts", "a", column("balance").less_than("x")),
            "conditions[0]",
            "bigint",
        ),
        (new().require("nope", "a", exists()), "conditions[0]", "nope"),
        (new().with_id(Uuid::from_u128(7)).delete_row("accounts", "a"), "id", "version 7"),
    ];
    for (transaction, field, words) in cases {
        let shown = format!("{transaction:?}");
        let locator = transaction.locator();
        let (fields, message) = refused(&client, transaction).await.context(shown.clone())?;
        assert!(fields.contains(field), "{field:?} is not in {fields:?} of {message:?}: {shown}");
        assert!(message.contains(words), "{words:?} is not in {message:?}: {shown}");
        assert!(client.explain(&locator).await.is_err(), "something of it was logged: {shown}");
    }
    let row = client.read("bank", [("acounts", "a")]).await;
    assert!(row.expect_err("no such table").to_string().contains("did you mean"));
    server.stop().await
}

#[tokio::test]
async fn an_unknown_namespace_is_not_found_by_every_call() -> anyhow::Result<()> {
    let (_folder, mut server, client) = served("").await?;
    let transaction = Transaction::new("bnak").delete_row("accounts", "a");
    let error = client.submit(&transaction).await.expect_err("no such namespace");
    assert!(matches!(error, SubmitError::NamespaceNotFound { .. }), "{error:?}");
    assert!(error.to_string().contains("\"bnak\""), "{error}");
    let locator = transaction.locator();
    assert!(client.outcome(&locator).await.is_err());
    assert!(client.fence(&locator).await.is_err());
    assert!(client.explain(&locator).await.is_err());
    assert!(client.read("bnak", [("accounts", "a")]).await.is_err());
    assert!(client.admin().describe_namespace("bnak").await.is_err());
    assert!(client.admin().status("bnak").await.is_err());
    assert!(client.admin().list_unresolved("bnak", 0, 1).await.is_err());
    server.stop().await
}

#[tokio::test]
async fn too_many_rows_conditions_shards_or_bytes_are_refused() -> anyhow::Result<()> {
    let limits = "limits.rows_per_transaction = 3\nlimits.conditions_per_transaction = 2\n\
                  limits.shards_per_transaction = 2\nlimits.bytes_per_transaction = 1000";
    let (_folder, mut server, client) = served(limits).await?;
    let new = || Transaction::new("bank");
    // Rows of one partition lie in one shard.
    let rows = |count: u128| {
        (0..count)
            .fold(new(), |txn, n| txn.insert("transfers", ("a", Uuid::from_u128(n)), ("amount", 1)))
    };
    assert!(client.submit(&rows(3)).await?.is_committed());
    let (_, message) = refused(&client, rows(4)).await?;
    assert!(message.contains("rows") && message.contains('3'), "{message}");

    let conditions = (0..3).fold(new().delete_row("accounts", "a"), |txn, _| {
        txn.require("accounts", "a", not_exists())
    });
    let (_, message) = refused(&client, conditions).await?;
    assert!(message.contains("conditions") && message.contains('2'), "{message}");

    let long = vec![7_u8; 1_001];
    let bytes = new().put("transfers", ("a", Uuid::nil()), ("note", long));
    let (_, message) = refused(&client, bytes).await?;
    assert!(message.contains("bytes") && message.contains("1000"), "{message}");

    // Among so many triples of accounts some lie in three shards, and all the others commit.
    let mut refusals = 0;
    for n in 0..20 {
        let three =
            (0..3).fold(new(), |txn, m| txn.add("accounts", format!("{n}-{m}"), ("balance", 1)));
        match client.submit(&three).await {
            Ok(outcome) => assert!(outcome.is_committed(), "{outcome:?}"),
            Err(SubmitError::Invalid { message, .. }) => {
                assert!(message.contains("shards") && message.contains('2'), "{message}");
                refusals += 1;
            }
            Err(other) => return Err(other.into()),
        }
    }
    assert!(refusals > 0, "no triple lay in three of eight shards");
    server.stop().await
}

#[tokio::test]
async fn a_transaction_beyond_the_greatest_message_is_refused_and_the_connection_goes_on()
-> anyhow::Result<()> {
    let (_folder, mut server, _) = served("").await?;
    let client = server.impatient_client().await?;
    let put = |bytes: usize| {
        Transaction::new("bank").put("transfers", ("a", Uuid::nil()), ("note", vec![1_u8; bytes]))
    };
    let (_, message) = refused(&client, put(5 << 20)).await?;
    assert!(message.contains("bytes"), "{message}");
    let huge = client.submit(&put(17 << 20)).await;
    assert!(!matches!(&huge, Ok(outcome) if outcome.is_committed()), "{huge:?}");
    assert!(client.submit(&put(3 << 20)).await?.is_committed());
    server.stop().await
}

#[tokio::test]
async fn the_same_id_with_other_content_is_told_so_and_changes_nothing() -> anyhow::Result<()> {
    let (_folder, mut server, client) = served("").await?;
    let first = Transaction::new("bank").add("accounts", "a", ("balance", 5));
    assert!(client.submit(&first).await?.is_committed());
    let other = Transaction::new("bank").add("accounts", "a", ("balance", 7)).with_id(first.id());
    let error = client.submit(&other).await.expect_err("the id was used");
    assert!(matches!(error, SubmitError::IdReused { .. }), "{error:?}");
    // With other shards too: the one that they share knows.
    let wider = other.add("accounts", "b", ("balance", 1)).add("accounts", "c", ("balance", 1));
    let answer = client.submit(&wider).await;
    let told = matches!(answer, Err(SubmitError::IdReused { .. }) | Ok(Outcome::Aborted(_)));
    assert!(told, "{answer:?}");
    let rows = client.read("bank", [("accounts", "a"), ("accounts", "b")]).await?;
    assert_eq!((rows[0].integer("balance"), rows[1].exists), (Some(5), false));
    assert!(client.submit(&first).await?.is_committed());
    server.stop().await
}

#[tokio::test]
async fn ids_from_the_future_and_below_the_floor_are_refused() -> anyhow::Result<()> {
    let (_folder, mut server, client) = served("").await?;
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_millis() as u64;
    let at = |millis| {
        let id = uuid::Builder::from_unix_timestamp_millis(millis, &[7; 10]).into_uuid();
        Transaction::new("bank").add("accounts", "a", ("balance", 5)).with_id(id)
    };
    let hour = 60 * 60 * 1000;
    let (fields, message) = refused(&client, at(now + hour)).await?;
    assert!(fields.contains("id") && message.contains("clock"), "{fields} {message}");
    // A shard that never had a record has forgotten nothing: it takes old ids until its floor stands.
    let first = Transaction::new("bank").add("accounts", "b", ("balance", 1));
    assert!(client.submit(&first.add("accounts", "a", ("balance", 0))).await?.is_committed());
    let floor = async || -> anyhow::Result<u64> {
        let shards = client.admin().status("bank").await?.shards;
        Ok(shards.iter().filter(|it| it.sequence > 0).map(|it| it.floor_ms).min().unwrap_or(0))
    };
    let end = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
    while floor().await? == 0 {
        assert!(tokio::time::Instant::now() < end, "the floor never stands");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let old = at(now - hour);
    let error = client.submit(&old).await.expect_err("it may have been forgotten");
    assert!(matches!(error, SubmitError::TooOld { .. }), "{error:?}");
    assert!(client.outcome(&old.locator()).await.is_err(), "neither outcome may be concluded");
    let row = client.read_row("bank", "accounts", "a").await?;
    assert_eq!(row.integer("balance"), Some(0));
    assert!(client.submit(&at(now - 60_000)).await?.is_committed(), "a minute is not too old");
    server.stop().await
}

#[tokio::test]
async fn an_id_that_was_forgotten_is_too_old_and_is_never_executed_again() -> anyhow::Result<()> {
    let (_folder, mut server, client) = served("limits.remembered_ids = 1000").await?;
    let add = || Transaction::new("bank").add("accounts", "a", ("balance", 1));
    let first = add();
    assert!(client.submit(&first).await?.is_committed());
    // Few at a time: with as many in flight as are remembered, one on its way may be too old already.
    let options = handfast_client::StreamOptions { window: 8, ..Default::default() };
    let stream = client.stream(options);
    let mut sent = 1;
    let mut forgotten = false;
    for _ in 0..40 {
        let mut answers = Vec::new();
        for _ in 0..1_000 {
            answers.push(stream.send(add()).await);
        }
        for answer in answers {
            assert!(answer.await?.is_committed());
            sent += 1;
        }
        match client.submit(&first).await {
            Ok(outcome) => assert!(outcome.is_committed(), "{outcome:?}"),
            Err(SubmitError::TooOld { .. }) => {
                forgotten = true;
                break;
            }
            Err(other) => return Err(other.into()),
        }
    }
    let row = client.read_row("bank", "accounts", "a").await?;
    assert_eq!(row.integer("balance"), Some(sent), "a forgotten id was executed twice");
    assert!(forgotten, "{sent} ids were remembered where 1000 may be");
    server.stop().await
}
