//! HTTP targets that answer nonsense, half, or without end, and ones that are slow or away for long and come back.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use handfast_client::{Client, Message};
use handfast_e2e::{Endpoint, Server, bank, run, served_with_targets, target_status, write};
use serde_json::Value as Json;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What an endpoint answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// 200, and nothing else.
    Fine,
    /// Not HTTP.
    Garbage,
    /// The first half of the headers.
    Half,
    /// Nothing: the connection ends.
    Nothing,
    /// This status, and a body that never ends.
    Endless(&'static str),
}

/// An endpoint that speaks HTTP as badly as it is told. It ends with the test.
#[derive(Clone)]
struct Raw {
    url: String,
    /// How often each body came.
    came: Arc<Mutex<BTreeMap<String, usize>>>,
}

impl Raw {
    /// Says how a body is answered that came so often before.
    async fn start(answer: fn(&str, usize) -> Answer) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/", listener.local_addr()?);
        let raw = Self { url, came: Arc::default() };
        let serving = raw.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let one = serving.clone();
                // Whoever calls may go at any moment.
                tokio::spawn(async move { one.serve(stream, answer).await.ok() });
            }
        });
        Ok(raw)
    }

    fn came(&self, body: &str) -> usize {
        let came = self.came.lock().unwrap_or_else(PoisonError::into_inner);
        came.get(body).copied().unwrap_or(0)
    }

    /// Answers one request, and ends the connection.
    async fn serve(
        self,
        stream: TcpStream,
        answer: fn(&str, usize) -> Answer,
    ) -> anyhow::Result<()> {
        let mut stream = BufReader::new(stream);
        let mut bytes = 0;
        loop {
            let mut line = String::new();
            anyhow::ensure!(stream.read_line(&mut line).await? > 0, "it went");
            let line = line.to_ascii_lowercase();
            if let Some(length) = line.strip_prefix("content-length:") {
                bytes = length.trim().parse()?;
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; bytes];
        stream.read_exact(&mut body).await?;
        let body = String::from_utf8(body)?;
        let before = {
            let mut came = self.came.lock().unwrap_or_else(PoisonError::into_inner);
            let came = came.entry(body.clone()).or_default();
            std::mem::replace(came, *came + 1)
        };
        match answer(&body, before) {
            Answer::Fine => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await?
            }
            Answer::Garbage => {
                stream.write_all(b"SSH-2.0-OpenSSH_9.9\r\n\0\x01\xff garbage\r\n").await?
            }
            Answer::Half => stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-le").await?,
            Answer::Nothing => {}
            Answer::Endless(status) => {
                let head = format!("HTTP/1.1 {status}\r\ntransfer-encoding: chunked\r\n\r\n");
                stream.write_all(head.as_bytes()).await?;
                loop {
                    stream.write_all(b"10\r\nand so on and on\r\n").await?;
                    // Without end, and not as fast as goes: others want the processor, too.
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        }
        Ok(stream.shutdown().await?)
    }
}

/// The first try of each message is answered as its body says, the next ones well; but one never is.
fn badly(body: &str, before: usize) -> Answer {
    match body {
        "always" => Answer::Garbage,
        "refused" => Answer::Endless("422 Unprocessable Content"),
        "fine" => Answer::Endless("200 OK"),
        _ if before > 0 => Answer::Fine,
        "garbage" => Answer::Garbage,
        "half" => Answer::Half,
        "nothing" => Answer::Nothing,
        "endless" => Answer::Endless("500 Internal Server Error"),
        _ => Answer::Fine,
    }
}

#[tokio::test]
async fn answers_that_are_no_http_half_or_without_end_are_judged_and_hold_up_nothing()
-> anyhow::Result<()> {
    let raw = Raw::start(badly).await?;
    let target = format!(
        "\n[[target]]\nname = \"raw\"\nkind = \"http\"\nurl = \"{}\"\nfirst_pause_ms = 10\ntries = 3\n\
         timeout_ms = 5000\n",
        raw.url
    );
    let (_folder, mut server, client) = served_with_targets("", &target).await?;
    let bodies = ["always", "refused", "garbage", "half", "nothing", "endless", "fine", "plain"];
    let mut names = BTreeMap::new();
    for body in bodies {
        // Of keys of their own: none waits for another.
        let id = write(&client, Message::new(body).key(body).to("raw")).await?;
        names.insert(body, format!("{id}/0"));
    }
    let settled = |it: &handfast_client::v1::TargetStatus| {
        it.shards.len() == 8 && it.shards.iter().all(|it| it.held == 0) && it.dead_letters == 2
    };
    let of_raw = |what| [("target", "raw"), ("what", what)];
    server.until_metric("handfast_delivery_total", &of_raw("delivered"), |it| it >= 6.0).await?;
    target_status(&client, "raw", settled).await?;
    // A status counts, whatever becomes of the body; what is no answer is tried again.
    let often = bodies.map(|body| (body, raw.came(body)));
    let expected = [3, 1, 2, 2, 2, 2, 1, 1];
    assert_eq!(often.map(|(_, often)| often), expected, "{often:?}");
    let endpoint = server.endpoint();
    let cases = [("always", "tries exhausted", "gave no answer"), ("refused", "permanent", "422")];
    for (body, cause, said) in cases {
        let words = ["--endpoint", &endpoint, "-o", "json", "dead-letters", "show", "-n", "bank"];
        let shown = run(&[&words[..], &[&names[body]]].concat()).await?.expect_success();
        let shown: Json = serde_json::from_str(&shown)?;
        assert_eq!(shown["cause"], cause, "{shown}");
        let history = shown["history"].as_array().context("a list")?;
        assert_eq!(history.len(), raw.came(body), "{shown}");
        for one in history {
            let text = one["text"].as_str().context("a text")?;
            assert!(text.contains(said) && text.len() < 1_000, "{text}");
        }
    }
    let counted = async |what| server.metric("handfast_delivery_total", &of_raw(what)).await;
    assert_eq!((counted("delivered").await?, counted("dead").await?), (6.0, 2.0));
    assert_eq!(counted("retried").await?, 2.0 + 4.0, "tries beyond the first");
    server.stop().await
}

/// A server of the bank in one shard, with the target `shop`.
async fn served(shop: &Endpoint) -> anyhow::Result<(TempDir, Server, Client)> {
    let folder = TempDir::new()?;
    let file = bank("").replace("shards = 8", "shards = 1") + &shop.target("shop", "");
    let server = Server::start(folder.path(), &[&file]).await?;
    let client = server.client().await?;
    Ok((folder, server, client))
}

/// Writes so many messages, 64 at a time: faster than `shop` takes them.
async fn write_all(client: &Client, messages: usize) -> anyhow::Result<()> {
    let mut written = tokio::task::JoinSet::new();
    for part in 0..64 {
        let client = client.clone();
        written.spawn(async move {
            for number in 0..messages / 64 {
                write(&client, Message::new(format!("{part}-{number}")).to("shop")).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(written) = written.join_next().await {
        written??;
    }
    Ok(())
}

/// How many are sent to `shop` at once, when that is as wanted.
async fn window(server: &Server, is_wanted: impl Fn(f64) -> bool) -> anyhow::Result<f64> {
    let of_shop = [("namespace", "bank"), ("target", "shop")];
    server.until_metric("handfast_delivery_window", &of_shop, is_wanted).await
}

#[tokio::test]
async fn a_target_that_is_away_for_long_is_left_alone_and_gets_everything_when_it_is_back()
-> anyhow::Result<()> {
    let shop = Endpoint::start().await?;
    let (_folder, mut server, client) = served(&shop).await?;
    shop.takes(Duration::from_millis(20));
    write_all(&client, 640).await?;
    shop.until_taken(640).await?;
    let wide = window(&server, |it| it >= 12.0).await?;
    // It takes nothing for seconds: one try at a time asks whether it does again, and pauses grow.
    shop.answers(|_, _| Some(503));
    let before = shop.arrived().len();
    write_all(&client, 192).await?;
    window(&server, |it| it == 1.0).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let asked = shop.arrived().len() - before;
    assert!(asked < 120, "it was asked {asked} times while it was away");
    let of_shop = [("namespace", "bank"), ("target", "shop")];
    server.until_metric("handfast_delivery_held", &of_shop, |it| it == 192.0).await?;
    shop.answers(|_, _| Some(200));
    shop.until_taken(640 + 192).await?;
    let back = window(&server, |it| it > 1.0).await?;
    assert!(back <= wide, "it comes back with care: {back} after {wide}");
    server.until_metric("handfast_delivery_held", &of_shop, |it| it == 0.0).await?;
    target_status(&client, "shop", |it| it.dead_letters == 0).await?;
    server.stop().await
}

#[tokio::test]
async fn fewer_are_sent_at_once_to_a_target_that_becomes_slow_and_more_when_it_is_fast_again()
-> anyhow::Result<()> {
    let shop = Endpoint::start().await?;
    let (_folder, mut server, client) = served(&shop).await?;
    // While all goes well more and more are sent at once.
    shop.takes(Duration::from_millis(20));
    write_all(&client, 1_280).await?;
    shop.until_taken(1_280).await?;
    let wide = window(&server, |it| it >= 20.0).await?;
    shop.takes(Duration::from_millis(400));
    write_all(&client, 192).await?;
    shop.until_taken(1_280 + 192).await?;
    let narrow = window(&server, |it| it < wide).await?;
    shop.takes(Duration::from_millis(20));
    write_all(&client, 1_280).await?;
    shop.until_taken(1_280 + 192 + 1_280).await?;
    window(&server, |it| it > narrow).await?;
    target_status(&client, "shop", |it| it.dead_letters == 0).await?;
    server.stop().await
}
