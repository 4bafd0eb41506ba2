//! Connections that become too old: clients that live for long notice nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::ensure;
use handfast_client::{Outcome, StreamOptions, Transaction};
use handfast_e2e::{Server, Surroundings, bank, http_get};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::Instant;

const PATIENCE: Duration = Duration::from_secs(120);

fn deposit(account: String) -> Transaction {
    Transaction::new("bank").add("accounts", account, ("balance", 1))
}

/// A figure of `/metrics`; 0 if it is not there.
async fn metric(server: &Server, name: &str) -> anyhow::Result<f64> {
    let (_, text) = http_get(server.http(), "/metrics").await?;
    let line = text.lines().find(|line| line.starts_with(name));
    Ok(line.and_then(|line| line.rsplit(' ').next()).map_or(Ok(0.0), str::parse)?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_lives_for_long_goes_on_over_connections_that_are_aged_out()
-> anyhow::Result<()> {
    let folder = TempDir::new()?;
    let around = Surroundings::default().with_variable("HANDFAST_CONNECTION_AGE", "250ms");
    let mut server = Server::start_in(folder.path(), &[&bank("")], around).await?;
    let client = server.client().await?;
    let stop = Arc::new(AtomicBool::new(false));
    let mut callers = JoinSet::new();
    for caller in 0..4 {
        let (client, stop) = (client.clone(), Arc::clone(&stop));
        callers.spawn(async move {
            let mut done = 0_i64;
            while !stop.load(Ordering::Relaxed) {
                let outcome = client.submit(&deposit(format!("unary-{caller}"))).await;
                assert!(matches!(outcome, Ok(Outcome::Committed(_))), "{outcome:?}");
                client.read("bank", [("accounts", "unary-0")]).await.expect("a row");
                done += 1;
            }
            done
        });
    }
    for caller in 0..2 {
        let (stream, stop) = (client.stream(StreamOptions::default()), Arc::clone(&stop));
        callers.spawn(async move {
            let mut done = 0_i64;
            while !stop.load(Ordering::Relaxed) {
                let mut answers = Vec::new();
                for number in 0..64 {
                    let account = format!("stream-{caller}-{number}");
                    answers.push(stream.send(deposit(account)).await);
                }
                for answer in answers {
                    let outcome = answer.await;
                    assert!(matches!(outcome, Ok(Outcome::Committed(_))), "{outcome:?}");
                    done += 1;
                }
            }
            done
        });
    }
    let aged = "handfast_connections_total{fate=\"aged\"}";
    let begun = Instant::now();
    while metric(&server, aged).await? < 10.0 {
        ensure!(begun.elapsed() < PATIENCE, "the connections do not age");
        ensure!(!callers.is_empty(), "every caller has ended");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut done = 0;
    while let Some(ended) = callers.join_next().await {
        done += ended?;
    }
    println!("{done} transactions over {} connections", metric(&server, aged).await?);
    let unary = (0..4).map(|caller| ("accounts", format!("unary-{caller}")));
    let streamed = (0..2)
        .flat_map(|caller| (0..64).map(move |n| ("accounts", format!("stream-{caller}-{n}"))));
    let rows = client.read("bank", unary.chain(streamed)).await?;
    let total: i64 = rows.iter().filter_map(|row| row.integer("balance")).sum();
    assert_eq!(total, done, "each was done once");
    server.stop().await
}
