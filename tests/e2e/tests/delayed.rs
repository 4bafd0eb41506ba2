//! What is due later is done then: once, not before, over kills; and until then it can be cancelled and
//! scheduled anew, with one answer each.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use handfast_client::{
    Client, Due, Durable, Level, Message, Outcome, SubmitError, Transaction, Uuid, column, exists,
    v1,
};
use handfast_e2e::{Endpoint, OffsetClock, Server, Surroundings, bank, run};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);
/// The time in an id is cut to milliseconds.
const CUT: Duration = Duration::from_millis(1);

/// The namespace `bank`, with delays.
fn definition(settings: &str, targets: &str) -> String {
    let later = "CREATE TABLE later (id uuid, place int, due timestamp, body blob, problem text, \
                 PRIMARY KEY ((id, place)))";
    let delay = format!("[[table]]\ncql = \"{later}\"\n[delay]\ntable = \"later\"\n{settings}\n");
    format!("{}{delay}{targets}", bank(""))
}

async fn served(settings: &str, targets: &str) -> anyhow::Result<(TempDir, Server, Client)> {
    let folder = TempDir::new()?;
    let server = Server::start(folder.path(), &[&definition(settings, targets)]).await?;
    let client = server.client().await?;
    Ok((folder, server, client))
}

/// Adds one to an account.
fn add(account: &str) -> Transaction {
    Transaction::new("bank").add("accounts", account, ("balance", 1))
}

async fn balance(client: &Client, account: &str) -> anyhow::Result<i64> {
    Ok(client.read_row("bank", "accounts", account).await?.integer("balance").unwrap_or(0))
}

async fn until_balance(client: &Client, account: &str, wanted: i64) -> anyhow::Result<()> {
    let end = Instant::now() + PATIENCE;
    while balance(client, account).await? != wanted {
        anyhow::ensure!(Instant::now() < end, "{account} does not become {wanted}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// Schedules a transaction; its name.
async fn schedule(client: &Client, due: Due, then: Transaction) -> anyhow::Result<String> {
    let transaction = Transaction::new("bank").later(due, then);
    let outcome = client.submit(&transaction).await?;
    anyhow::ensure!(outcome.is_committed(), "{outcome:?}");
    Ok(format!("{}/0", transaction.id()))
}

async fn listed(client: &Client, refused: bool) -> anyhow::Result<Vec<v1::DelayedPart>> {
    let namespace = "bank".to_owned();
    let request = v1::ListDelayedRequest { namespace, refused, ..Default::default() };
    Ok(client.admin().list_delayed(request).await?.parts)
}

async fn until_listed(client: &Client, refused: bool, wanted: usize) -> anyhow::Result<()> {
    let end = Instant::now() + PATIENCE;
    loop {
        let found = listed(client, refused).await?;
        if found.len() == wanted {
            return Ok(());
        }
        anyhow::ensure!(Instant::now() < end, "not {wanted} but {found:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn what_is_due_later_is_done_once_and_not_before_over_kills() -> anyhow::Result<()> {
    let (_folder, mut server, client) = served("", "").await?;
    let mut wanted: BTreeMap<String, (i64, Instant)> = BTreeMap::new();
    for number in 0..60_u64 {
        let account = format!("due-{number}");
        let delay = Duration::from_millis(300 + number * 397 % 4_000);
        let not_before = Instant::now() + delay;
        // With something that is done at once: both or neither.
        let order = add("orders").later(Due::after(delay), add(&account));
        assert!(client.submit(&order).await?.is_committed());
        let name = format!("{}/0", order.id());
        wanted.insert(account.clone(), (1, not_before));
        if number % 7 == 3 {
            let cancelled = client.cancel_delayed("bank", Uuid::now_v7(), &name).await?;
            wanted.insert(account.clone(), (i64::from(!cancelled.is_committed()), not_before));
        }
        if number % 5 == 2 {
            let again = Due::after(Duration::from_millis(2_500));
            let not_before = Instant::now() + Duration::from_millis(2_500);
            let anew = client.reschedule_delayed("bank", Uuid::now_v7(), &name, again).await?;
            if anew.is_committed() {
                wanted.insert(account, (1, not_before));
            }
        }
        if number % 20 == 12 {
            server.kill().await?;
            server.restart().await?;
        }
    }
    let end = Instant::now() + PATIENCE;
    loop {
        let mut is_over = true;
        for (account, (times, not_before)) in &wanted {
            let found = balance(&client, account).await?;
            let read = Instant::now();
            assert!(found <= *times, "{account} was done {found} times");
            assert!(found == 0 || read + CUT >= *not_before, "{account} was done early");
            is_over &= found == *times;
        }
        if is_over {
            break;
        }
        anyhow::ensure!(Instant::now() < end, "it is not over");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(balance(&client, "orders").await?, 60);
    until_listed(&client, false, 0).await?;
    // Another start does nothing again.
    server.stop().await?;
    server.restart().await?;
    schedule(&client, Due::after(Duration::ZERO), add("last")).await?;
    until_balance(&client, "last", 1).await?;
    for (account, (times, _)) in &wanted {
        assert_eq!(balance(&client, account).await?, *times, "{account}");
    }
    let of_bank = [("namespace", "bank")];
    for gauge in ["handfast_delayed_held", "handfast_delayed_overdue_seconds"] {
        server.until_metric(gauge, &of_bank, |it| it == 0.0).await?;
    }
    for counter in ["handfast_delayed_fired_total", "handfast_delayed_lateness_seconds_count"] {
        assert_eq!(
            server.until_metric(counter, &of_bank, |it| it > 0.0).await?,
            1.0,
            "since the start"
        );
    }
    assert_eq!(server.metric("handfast_delayed_refused_total", &of_bank).await?, 0.0);
    server.stop().await
}

#[tokio::test]
async fn cancelling_and_scheduling_anew_have_one_answer() -> anyhow::Result<()> {
    let (_folder, mut server, client) = served("after_ms = 200", "").await?;
    let hour = Due::after(Duration::from_secs(3_600));
    let name = schedule(&client, hour, add("a")).await?;
    let change = Uuid::now_v7();
    assert!(client.cancel_delayed("bank", change, &name).await?.is_committed());
    assert!(client.cancel_delayed("bank", change, &name).await?.is_committed(), "the same change");
    let twice = client.cancel_delayed("bank", Uuid::now_v7(), &name).await?;
    assert!(matches!(twice, Outcome::Aborted(_)), "{twice:?}");
    let anew = client.reschedule_delayed("bank", Uuid::now_v7(), &name, Due::default()).await?;
    assert!(matches!(anew, Outcome::Aborted(_)), "{anew:?}");

    // Far away, then by the namespace's default, 200 ms.
    let name = schedule(&client, hour, add("b")).await?;
    until_listed(&client, false, 1).await?;
    let anew = client.reschedule_delayed("bank", Uuid::now_v7(), &name, Due::default()).await?;
    assert!(anew.is_committed());
    until_balance(&client, "b", 1).await?;
    let late = client.cancel_delayed("bank", Uuid::now_v7(), &name).await?;
    assert!(matches!(late, Outcome::Aborted(_)), "{late:?}");

    // What is due in the past is due now. It is done while it is scheduled anew: one of the two.
    for _ in 0..30 {
        let account = Uuid::now_v7().to_string();
        let past = Due::at(std::time::SystemTime::UNIX_EPOCH);
        let name = schedule(&client, past, add(&account)).await?;
        let anew = client.reschedule_delayed("bank", Uuid::now_v7(), &name, hour).await?;
        if anew.is_committed() {
            assert_eq!(balance(&client, &account).await?, 0);
            let now = client.reschedule_delayed("bank", Uuid::now_v7(), &name, past).await?;
            assert!(now.is_committed());
        }
        until_balance(&client, &account, 1).await?;
    }

    // Cancelled together with something else, or neither.
    let paid = Transaction::new("bank").later(hour, add("reminded"));
    assert!(client.submit(&paid).await?.is_committed());
    for expected in [true, false] {
        let pay = add("paid").delete_row("later", (paid.id(), 0)).require(
            "later",
            (paid.id(), 0),
            exists(),
        );
        assert_eq!(client.submit(&pay).await?.is_committed(), expected);
    }
    assert_eq!(balance(&client, "paid").await?, 1);
    until_listed(&client, false, 0).await?;
    server.stop().await
}

#[tokio::test]
async fn what_cannot_be_done_when_it_is_due_waits_for_somebody() -> anyhow::Result<()> {
    let (_folder, mut server, client) = served("", "").await?;
    let only_rich = add("a").require("accounts", "treasury", column("balance").at_least(1));
    let name = schedule(&client, Due::after(Duration::from_millis(50)), only_rich).await?;
    until_listed(&client, true, 1).await?;
    assert_eq!(balance(&client, "a").await?, 0);
    let endpoint = server.endpoint();
    let words = ["--endpoint", &endpoint, "-o", "json", "delayed", "show", "-n", "bank", &name];
    let shown = run(&words).await?.expect_success();
    assert!(shown.contains("condition 0 did not hold"), "{shown}");
    let of_bank = [("namespace", "bank")];
    for (counter, wanted) in [("refused", 1.0), ("fired", 0.0)] {
        let counter = format!("handfast_delayed_{counter}_total");
        assert_eq!(server.metric(&counter, &of_bank).await?, wanted, "{counter}");
    }
    // It survives a kill, and waits.
    server.kill().await?;
    server.restart().await?;
    until_listed(&client, true, 1).await?;
    assert!(client.submit(&add("treasury")).await?.is_committed());
    let now = Due::after(Duration::ZERO);
    assert!(client.reschedule_delayed("bank", Uuid::now_v7(), &name, now).await?.is_committed());
    until_balance(&client, "a", 1).await?;
    until_listed(&client, true, 0).await?;
    until_listed(&client, false, 0).await?;
    server.stop().await
}

#[tokio::test]
async fn a_message_is_delivered_when_it_is_due() -> anyhow::Result<()> {
    let mail = Endpoint::start().await?;
    let (_folder, mut server, client) = served("", &mail.target("mail", "")).await?;
    let begun = Instant::now();
    let delay = Duration::from_millis(700);
    let id = Uuid::now_v7();
    let message = || Message::new("pay!").key("bob").to("mail");
    for _ in 0..2 {
        let durable = client.write_to_log_later("bank", id, Due::after(delay), message()).await?;
        assert!(matches!(durable, Durable::True { .. }), "{durable:?}");
    }
    let other = Uuid::now_v7();
    client.write_to_log_later("bank", other, Due::after(delay), message()).await?;
    let cancelled = client.cancel_delayed("bank", Uuid::now_v7(), &format!("{other}/0")).await?;
    assert!(cancelled.is_committed());
    let taken = mail.until_taken(1).await?;
    assert!(begun.elapsed() + CUT >= delay);
    assert_eq!(taken[0].body, "pay!");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(mail.arrived().len(), 1, "the other was cancelled");
    server.stop().await
}

#[tokio::test]
async fn a_clock_that_jumps_ahead_for_a_moment_makes_nothing_early() -> anyhow::Result<()> {
    let folder = TempDir::new()?;
    let clock = OffsetClock::build(folder.path()).await?;
    let surroundings = Surroundings::default().with_clock(&clock);
    let data = folder.path().join("server");
    std::fs::create_dir(&data)?;
    let mut server = Server::start_in(&data, &[&definition("", "")], surroundings).await?;
    let client = server.client().await?;
    schedule(&client, Due::after(Duration::ZERO), add("warm")).await?;
    until_balance(&client, "warm", 1).await?;
    let begun = Instant::now();
    let delay = Duration::from_millis(3_000);
    schedule(&client, Due::after(delay), add("a")).await?;
    clock.set(4_000)?;
    while begun.elapsed() < Duration::from_millis(1_500) {
        assert_eq!(balance(&client, "a").await?, 0);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    clock.set(0)?;
    until_balance(&client, "a", 1).await?;
    assert!(begun.elapsed() + CUT >= delay, "after {:?}", begun.elapsed());
    server.stop().await
}

#[tokio::test]
async fn what_is_wrong_is_told_when_it_is_scheduled() -> anyhow::Result<()> {
    let (_folder, mut server, client) = served("longest_ms = 10000", "").await?;
    let refused = async |transaction: Transaction, field: &str, what: &str| match client
        .at_level(Level::Committed)
        .submit(&transaction)
        .await
    {
        Err(SubmitError::Invalid { violations, .. }) => {
            let told = format!("{violations:?}");
            assert!(told.contains(field) && told.contains(what), "{told}");
        }
        other => panic!("{other:?}"),
    };
    let in_a_second = Due::after(Duration::from_secs(1));
    let scheduled = |due, then| Transaction::new("bank").later(due, then);
    let too_long = scheduled(Due::after(Duration::from_secs(11)), add("a"));
    refused(too_long, "transaction.delayed[0].due", "longest_ms").await;
    let unknown = Transaction::new("bank").add("acounts", "a", ("balance", 1));
    let field = "transaction.delayed[0].transaction.mutations[0]";
    refused(scheduled(in_a_second, unknown), field, "accounts").await;
    refused(scheduled(in_a_second, Transaction::new("bank")), "delayed[0]", "nothing").await;
    let nested = scheduled(in_a_second, scheduled(in_a_second, add("a")));
    refused(nested, "delayed[0].transaction.delayed", "delays nothing itself").await;
    let to_nobody = Transaction::new("bank").message(Message::new("x").to("nobody"));
    refused(scheduled(in_a_second, to_nobody), "delayed[0].transaction.messages[0]", "nobody")
        .await;
    // Its table is not written by hand, but for what cancels and schedules anew.
    let key = (Uuid::now_v7(), 0);
    let by_hand = Transaction::new("bank").insert("later", key, ("problem", "none"));
    refused(by_hand, "mutations[0]", "schedule with `delayed`").await;
    let blind = Transaction::new("bank").delete_row("later", key);
    refused(blind, "mutations[0]", "exists").await;

    let plain = TempDir::new()?;
    let mut other = Server::start(plain.path(), &[&bank("")]).await?;
    let outcome = other.client().await?.submit(&scheduled(in_a_second, add("a"))).await;
    assert!(format!("{outcome:?}").contains("[delay]"), "{outcome:?}");
    other.stop().await?;
    let endpoint = server.endpoint();
    let words = ["--endpoint", &endpoint, "delayed", "cancel", "-n", "bank", "nonsense"];
    run(&words).await?.expect_failure(1, &["not the name", "ID/INDEX"]);
    server.stop().await
}
