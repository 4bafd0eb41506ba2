//! The second act: an order with its message to an endpoint that fails, a dead letter that is redriven, a
//! reminder that is due in two seconds, and one that is cancelled.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, ensure};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use handfast_client::{Client, Due, Message, Outcome, Transaction, Uuid, v1};
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::say;

const NAMESPACE: &str = "shop";
/// How often the endpoint fails before it takes an order.
const FAILURES: usize = 3;
/// When the reminder is due.
const REMINDED_AFTER: Duration = Duration::from_secs(2);
/// Counted from the time in an id, which is cut to milliseconds.
const CUT: Duration = Duration::from_millis(1);
/// How long anything may take to arrive.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the endpoint was sent.
#[derive(Clone, Debug)]
struct Arrived {
    /// The message's name, which is its idempotency key.
    name: String,
    body: String,
    taken: bool,
    at: Instant,
}

/// An HTTP endpoint in this process.
#[derive(Clone, Default)]
struct Mail(Arc<Mutex<Inbox>>);

#[derive(Default)]
struct Inbox {
    arrived: Vec<Arrived>,
    /// Whether letters to nobody are taken by now.
    knows_nobody: bool,
}

impl Mail {
    /// Starts to listen. Its address.
    async fn start(&self) -> anyhow::Result<String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no port is free")?;
        let address = listener.local_addr()?;
        let routes = Router::new().route("/", post(take)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Ok(format!("http://{address}/"))
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of(&self, body: &str) -> Vec<Arrived> {
        self.inbox().arrived.iter().filter(|it| it.body == body).cloned().collect()
    }

    /// Waits until a message was taken; all tries of it.
    async fn until_taken(&self, body: &str) -> anyhow::Result<Vec<Arrived>> {
        let begun = Instant::now();
        loop {
            let tries = self.of(body);
            if tries.iter().any(|it| it.taken) {
                return Ok(tries);
            }
            ensure!(begun.elapsed() < PATIENCE, "{body:?} does not arrive: {tries:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Orders fail three times, letters to nobody are refused until it knows better.
async fn take(State(mail): State<Mail>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let name = headers.get("idempotency-key").map(|it| it.to_str().unwrap_or_default());
    let body = String::from_utf8_lossy(&body).into_owned();
    let mut inbox = mail.inbox();
    let before = inbox.arrived.iter().filter(|it| it.body == body).count();
    let answer = match &*body {
        "order 1" if before < FAILURES => StatusCode::SERVICE_UNAVAILABLE,
        "to nobody" if !inbox.knows_nobody => StatusCode::UNPROCESSABLE_ENTITY,
        _ => StatusCode::OK,
    };
    let (name, taken) = (name.unwrap_or_default().to_owned(), answer == StatusCode::OK);
    inbox.arrived.push(Arrived { name, body, taken, at: Instant::now() });
    answer
}

/// The namespace, with the endpoint as a target.
fn definition(url: &str) -> String {
    format!(
        r#"name = "{NAMESPACE}"
[delay]
table = "later"
[[table]]
cql = "CREATE TABLE orders (id text PRIMARY KEY, state text)"
[[table]]
cql = "CREATE TABLE stock (item text PRIMARY KEY, left_over bigint)"
[[table]]
cql = "{}"
[[target]]
name = "mail"
kind = "http"
url = "{url}"
"#,
        wal_core::namespace::DELAYED_CQL
    )
}

/// Plays it.
pub(super) async fn play(client: &Client) -> anyhow::Result<()> {
    let mail = Mail::default();
    let url = mail.start().await?;
    client.admin().create_namespace(&definition(&url)).await?;
    orders(client, &mail).await?;
    redrives(client, &mail).await?;
    reminds(client, &mail).await
}

fn letter(body: &str, key: &str) -> Message {
    Message::new(body.to_owned()).key(key.to_owned()).content_type("text/plain").to("mail")
}

/// An order over two tables, and the message that commits with it.
async fn orders(client: &Client, mail: &Mail) -> anyhow::Result<()> {
    say::title("An order in two tables, and its message to an endpoint that fails three times");
    let order = Transaction::new(NAMESPACE)
        .insert("orders", "o-1", ("state", "open"))
        .add("stock", "tea", ("left_over", -1))
        .message(letter("order 1", "o-1"));
    ensure!(client.submit(&order).await?.is_committed(), "the order did not commit");
    let tries = mail.until_taken("order 1").await?;
    let name = format!("{}/0", order.id());
    ensure!(tries.len() == FAILURES + 1, "it was tried {} times: {tries:?}", tries.len());
    ensure!(tries.iter().all(|it| it.name == name), "a try had another name: {tries:?}");
    say::line("the order and its message committed together");
    say::line(format!("the endpoint took it at the fourth try, each under the key {name}"));
    Ok(())
}

async fn dead_letters(client: &Client) -> anyhow::Result<Vec<v1::DeadLetter>> {
    let all = v1::DeadLetterSelection::default();
    Ok(client.admin().list_dead_letters(NAMESPACE, all, 10, "").await?.letters)
}

async fn until_dead_letters(client: &Client, count: usize) -> anyhow::Result<Vec<v1::DeadLetter>> {
    let begun = Instant::now();
    loop {
        let letters = dead_letters(client).await?;
        if letters.len() == count {
            return Ok(letters);
        }
        ensure!(begun.elapsed() < PATIENCE, "there are {} dead letters", letters.len());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What the endpoint refuses for good is kept, and sent again when somebody says so.
async fn redrives(client: &Client, mail: &Mail) -> anyhow::Result<()> {
    say::title("A message that is refused becomes a dead letter, and is redriven");
    client.write_to_log(NAMESPACE, Uuid::now_v7(), letter("to nobody", "n")).await?;
    let dead = until_dead_letters(client, 1).await?;
    let why = dead[0].history.last().map(|it| it.text.clone()).unwrap_or_default();
    say::line(format!("refused, and kept as {}: {why}", dead[0].name));
    mail.inbox().knows_nobody = true;
    let all = v1::DeadLetterSelection::default();
    let wish = v1::DeadLetterWish::Redrive;
    ensure!(client.admin().change_dead_letters(NAMESPACE, all, wish).await? == 1, "it is gone");
    let tries = mail.until_taken("to nobody").await?;
    ensure!(tries.iter().all(|it| it.name == dead[0].name), "another name: {tries:?}");
    until_dead_letters(client, 0).await?;
    say::line("the endpoint knows better now; redriven, it arrived under the same name");
    Ok(())
}

/// What is due later, and what is cancelled before.
async fn reminds(client: &Client, mail: &Mail) -> anyhow::Result<()> {
    say::title("A reminder that is due in two seconds, and one that is cancelled");
    let begun = Instant::now();
    let reminder = |body: &str| Transaction::new(NAMESPACE).message(letter(body, "o-1"));
    let due = Due::after(REMINDED_AFTER);
    let order = Transaction::new(NAMESPACE)
        .put("orders", "o-1", ("state", "shipped"))
        .later(due, reminder("pay!"))
        .later(due, reminder("pay again!"));
    ensure!(client.submit(&order).await?.is_committed(), "they were not scheduled");
    let second = format!("{}/1", order.id());
    let cancelled = client.cancel_delayed(NAMESPACE, Uuid::now_v7(), &second).await?;
    ensure!(cancelled.is_committed(), "it was not cancelled: {cancelled:?}");
    let twice = client.cancel_delayed(NAMESPACE, Uuid::now_v7(), &second).await?;
    ensure!(matches!(twice, Outcome::Aborted(_)), "it was cancelled twice: {twice:?}");
    let taken = mail.until_taken("pay!").await?;
    let took = taken[0].at.saturating_duration_since(begun);
    ensure!(taken.len() == 1, "it came {} times", taken.len());
    ensure!(took + CUT >= REMINDED_AFTER, "it came after {} ms", took.as_millis());
    say::line(format!("the reminder arrived once, {} ms after it was scheduled", took.as_millis()));
    // The other was due at the same time.
    tokio::time::sleep(Duration::from_millis(300)).await;
    ensure!(mail.of("pay again!").is_empty(), "what was cancelled arrived");
    say::line("the other was cancelled, once and for all, and never came");
    Ok(())
}
