//! What a client can be told, and that it stays true: levels, waits, fences, retries over restarts and
//! trims.

use std::time::Duration;

use anyhow::{Context, ensure};
use handfast_client::{
    AbortReason, Client, EventKind, ExplainError, Level, Locator, Options, Outcome, SubmitError,
    Transaction, Uuid, column, not_exists,
};
use handfast_e2e::served;

/// A transaction over several shards: an account each.
fn wide(accounts: usize) -> Transaction {
    (0..accounts).fold(Transaction::new("bank"), |txn, n| {
        txn.add("accounts", format!("account-{n}"), ("balance", 1))
    })
}

/// Waits until a transaction is applied, and returns when it committed.
async fn applied(client: &Client, locator: &Locator) -> anyhow::Result<i64> {
    match client.wait_for(locator, Level::Applied, Duration::from_secs(30)).await? {
        Outcome::Committed(committed) => {
            ensure!(committed.applied, "told applied, and not: {committed:?}");
            Ok(committed.timestamp_us)
        }
        other => anyhow::bail!("{other:?}"),
    }
}

#[tokio::test]
async fn each_level_says_what_it_means() -> anyhow::Result<()> {
    let (_folder, mut server, client) = served("").await?;
    for accounts in [1, 6] {
        let logged = wide(accounts);
        match client.at_level(Level::Logged).submit(&logged).await? {
            Outcome::Committed(_) => {} // it was quicker than the answer
            Outcome::Unknown(unknown) => {
                assert!(unknown.logged, "{unknown:?}");
                assert!(unknown.receipt.context("a receipt")?.epoch > 0);
            }
            Outcome::Aborted(aborted) => panic!("{aborted:?}"),
        }
        applied(&client, &logged.locator()).await?;

        let committed = wide(accounts);
        let outcome = client.at_level(Level::Committed).submit(&committed).await?;
        assert!(outcome.is_committed(), "{outcome:?}");

        let outcome = client.at_level(Level::Applied).submit(&wide(accounts)).await?;
        let Outcome::Committed(committed) = outcome else { panic!("{outcome:?}") };
        assert!(committed.applied && committed.receipt.is_some(), "{committed:?}");
    }
    let row = client.read_row("bank", "accounts", "account-0").await?;
    assert_eq!(row.integer("balance"), Some(6));
    server.stop().await
}

#[tokio::test]
async fn a_wait_that_ends_first_is_unknown_with_a_locator_and_the_outcome_comes_later()
-> anyhow::Result<()> {
    let (_folder, mut server, client) = served("").await?;
    let hasty = client.with_options(Options {
        wait: Duration::from_millis(1),
        level: Level::Applied,
        ..Options::default()
    });
    let mut seen = 0;
    for round in 0..40_u128 {
        // Megabytes in several shards are not applied within a millisecond.
        let big = (0..3).fold(Transaction::new("bank"), |txn, n| {
            let note = vec![round as u8; 1 << 20];
            txn.put("transfers", (format!("{n}"), Uuid::from_u128(round)), ("note", note))
        });
        match hasty.submit(&big).await? {
            Outcome::Unknown(unknown) => {
                assert_eq!(unknown.locator.id, big.id());
                applied(&client, &unknown.locator).await?;
                assert!(client.outcome(&unknown.locator).await?.is_committed());
                seen += 1;
                if seen == 2 {
                    return server.stop().await;
                }
            }
            Outcome::Committed(_) => {}
            Outcome::Aborted(aborted) => panic!("{aborted:?}"),
        }
    }
    panic!("no wait of a millisecond ended first")
}

#[tokio::test]
async fn a_fence_bars_what_has_not_committed_and_only_that() -> anyhow::Result<()> {
    let (_folder, mut server, client) = served("").await?;
    for accounts in [1, 6] {
        let barred = wide(accounts);
        let before = client.outcome(&barred.locator()).await?;
        assert!(matches!(before, Outcome::Unknown(_)), "an unseen id is {before:?}");
        for _ in 0..2 {
            let fenced = client.fence(&barred.locator()).await?;
            let Outcome::Aborted(aborted) = fenced else { panic!("{fenced:?}") };
            assert_eq!(aborted.reason, AbortReason::Fenced);
        }
        let late = client.submit(&barred).await?;
        assert!(matches!(late, Outcome::Aborted(_)), "it was barred: {late:?}");
        let asked = client.outcome(&barred.locator()).await?;
        assert!(matches!(asked, Outcome::Aborted(_)), "{asked:?}");
        assert!(!client.read_row("bank", "accounts", "account-0").await?.exists);
    }
    let committed = wide(6);
    assert!(client.submit(&committed).await?.is_committed());
    assert!(client.fence(&committed.locator()).await?.is_committed());
    // Fences hold over a kill.
    let barred = wide(3);
    client.fence(&barred.locator()).await?;
    server.kill().await?;
    server.restart().await?;
    assert!(matches!(client.submit(&barred).await?, Outcome::Aborted(_)));
    assert_eq!(client.read_row("bank", "accounts", "account-0").await?.integer("balance"), Some(1));
    server.stop().await
}

#[tokio::test]
async fn a_failed_condition_says_which_and_what_was_found_to_everybody() -> anyhow::Result<()> {
    let (_folder, mut server, client) = served("").await?;
    let open = Transaction::new("bank").insert("accounts", "a", ("balance", 10));
    assert!(client.submit(&open).await?.is_committed());
    let failing = Transaction::new("bank")
        .require("accounts", "b", not_exists())
        .require("accounts", "a", column("balance").at_least(11))
        .add("accounts", "a", ("balance", -11))
        .add("accounts", "b", ("balance", 11));
    let answer = client.submit(&failing).await?;
    let Outcome::Aborted(aborted) = &answer else { panic!("{answer:?}") };
    let AbortReason::ConditionFailed(failed) = &aborted.reason else { panic!("{aborted:?}") };
    assert_eq!(failed.index, 1);
    assert!(aborted.reason.to_string().contains("balance is 10"), "{}", aborted.reason);
    let rich = Transaction::new("bank").put("accounts", "a", ("balance", 100));
    assert!(client.submit(&rich).await?.is_committed());
    // The condition would hold now: the answer is final all the same.
    for restart in [false, true] {
        if restart {
            server.kill().await?;
            server.restart().await?;
        }
        assert_eq!(client.submit(&failing).await?, answer);
        let asked = client.outcome(&failing.locator()).await?;
        let Outcome::Aborted(asked) = asked else { panic!("{asked:?}") };
        assert_eq!(asked.reason, aborted.reason, "who asks is told something else");
    }
    let most = Transaction::new("bank").add("accounts", "a", ("balance", i64::MAX));
    let answer = client.submit(&most).await?;
    let Outcome::Aborted(aborted) = &answer else { panic!("{answer:?}") };
    assert!(matches!(aborted.reason, AbortReason::Overflow(_)), "{aborted:?}");
    server.stop().await
}

#[tokio::test]
async fn a_retry_after_a_kill_is_answered_with_the_first_outcome() -> anyhow::Result<()> {
    let (_folder, mut server, client) = served("").await?;
    let transactions: Vec<Transaction> = (1..=8).map(wide).collect();
    let mut first = Vec::new();
    for transaction in &transactions {
        let outcome = client.submit(transaction).await?;
        let Outcome::Committed(committed) = outcome else { panic!("{outcome:?}") };
        first.push(committed.timestamp_us);
    }
    for kill in [true, false] {
        if kill {
            server.kill().await?
        } else {
            server.stop().await?
        }
        server.restart().await?;
        for (transaction, first) in transactions.iter().zip(&first) {
            let again = client.submit(transaction).await?;
            let Outcome::Committed(again) = again else { panic!("{again:?}") };
            assert_eq!(again.timestamp_us, *first);
        }
    }
    let row = client.read_row("bank", "accounts", "account-0").await?;
    assert_eq!(row.integer("balance"), Some(8), "a retry was executed again");
    server.stop().await
}

#[tokio::test]
async fn a_retry_after_the_log_was_trimmed_is_answered_with_the_first_outcome() -> anyhow::Result<()>
{
    let settings =
        "log.retain_ms = 0\nlog.retain_bytes = 33554432\nlog.checkpoint_every_bytes = 65536";
    let (_folder, mut server, client) = served(settings).await?;
    let single = wide(1);
    let many = wide(6);
    let barred = wide(2);
    let mut outcomes = Vec::new();
    for transaction in [&single, &many] {
        let outcome = client.submit(transaction).await?;
        let Outcome::Committed(committed) = outcome else { panic!("{outcome:?}") };
        outcomes.push(committed.timestamp_us);
    }
    client.fence(&barred.locator()).await?;
    let oldest = server.log_folder("bank").join("segment-000000000001.log");
    assert!(oldest.exists());
    let mut written = 0_u128;
    while oldest.exists() {
        ensure!(written < 100, "the log is not trimmed: {written} MiB are written");
        let note = vec![written as u8; 1 << 20];
        let key = (format!("{}", written % 24), Uuid::from_u128(written));
        let big = Transaction::new("bank").put("transfers", key, ("note", note));
        assert!(client.at_level(Level::Applied).submit(&big).await?.is_committed());
        written += 1;
    }
    for restart in [false, true] {
        if restart {
            server.kill().await?;
            server.restart().await?;
        }
        for (transaction, first) in [&single, &many].into_iter().zip(&outcomes) {
            let again = client.submit(transaction).await?;
            let Outcome::Committed(again) = again else { panic!("{again:?}") };
            assert_eq!(again.timestamp_us, *first);
        }
        assert!(matches!(client.submit(&barred).await?, Outcome::Aborted(_)));
        let row = client.read_row("bank", "accounts", "account-0").await?;
        assert_eq!(row.integer("balance"), Some(2), "a retry was executed again");
        for n in 0..written {
            let key = (format!("{}", n % 24), Uuid::from_u128(n));
            let row = client.read_row("bank", "transfers", key).await?;
            let note = row.get("note").and_then(|value| value.kind.clone());
            let whole = matches!(note, Some(handfast_client::Kind::Blob(note))
                if note.len() == 1 << 20 && note.iter().all(|byte| *byte == n as u8));
            assert!(whole, "row {n} is lost or torn");
        }
    }
    server.stop().await
}

#[tokio::test]
async fn the_life_of_a_transaction_can_be_told_from_the_log() -> anyhow::Result<()> {
    let (_folder, mut server, client) = served("").await?;
    let transaction = wide(6);
    assert!(client.submit(&transaction).await?.is_committed());
    applied(&client, &transaction.locator()).await?;
    let explained = client.explain(&transaction.locator()).await?;
    assert!(explained.outcome.context("an outcome")?.is_committed());
    let count = |kind| explained.events.iter().filter(|event| event.kind() == kind).count();
    assert!(count(EventKind::Prepare) >= 2, "{:?}", explained.events);
    assert!(explained.events.iter().all(|event| event.accepted && !event.text.is_empty()));
    let unseen = client.explain(&wide(1).locator()).await;
    assert!(matches!(unseen, Err(ExplainError::NotFound { .. })), "{unseen:?}");
    let nothing = client.admin().list_unresolved("bank", 5_000, 10).await?;
    assert!(nothing.is_empty(), "{nothing:?}");
    server.stop().await
}

#[tokio::test]
async fn a_client_without_a_server_is_told_that_nothing_was_done() -> anyhow::Result<()> {
    let (_folder, mut server, _) = served("").await?;
    let client = server.impatient_client().await?;
    server.stop().await?;
    // The first call may still meet the closing connection: then it is in doubt, and says so.
    let transaction = wide(2);
    let mut last = None;
    for _ in 0..50 {
        match client.submit(&transaction).await {
            Err(SubmitError::Unavailable { .. }) => return Ok(()),
            other => last = Some(other),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{last:?}")
}
