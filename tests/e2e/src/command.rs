//! The binary, and commands of it that end by themselves.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;

/// How long a command that ends by itself may take, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The `handfast` binary beside this executable. `HANDFAST_BIN` names another.
pub fn binary() -> anyhow::Result<PathBuf> {
    if let Some(path) = std::env::var_os("HANDFAST_BIN") {
        return Ok(path.into());
    }
    let this = std::env::current_exe().context("cannot find this executable")?;
    let mut folder = this.parent().context("an executable is in a folder")?;
    if folder.ends_with("deps") {
        folder = folder.parent().context("deps is in a folder")?;
    }
    let path = folder.join("handfast");
    let release = if folder.ends_with("release") { " --release" } else { "" };
    ensure!(
        path.is_file(),
        "there is no {}; build it first: cargo build{release} -p handfast",
        path.display()
    );
    Ok(path)
}

/// What a command said when it ended.
#[derive(Clone, Debug)]
pub struct Said {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

impl Said {
    /// Holds it to an exit code and to words in what it said on standard error, and to neither panic
    /// nor silence.
    #[track_caller]
    pub fn expect_failure(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:#?}");
        assert!(!self.err.contains("panicked"), "{self:#?}");
        for word in words {
            assert!(self.err.contains(word), "no {word:?} in {self:#?}");
        }
    }

    /// Holds it to success, and returns its standard output.
    #[track_caller]
    pub fn expect_success(self) -> String {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self.out
    }
}

/// Runs `handfast` with arguments until it ends, at most a minute.
pub async fn run(arguments: &[&str]) -> anyhow::Result<Said> {
    run_with_input(arguments, "").await
}

/// As [`run`], with text on standard input.
pub async fn run_with_input(arguments: &[&str], input: &str) -> anyhow::Result<Said> {
    let mut child = Command::new(binary()?)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .env("NO_COLOR", "1")
        .env_remove("HANDFAST_OUTPUT")
        .kill_on_drop(true)
        .spawn()?;
    let mut stdin = child.stdin.take().context("its input is a pipe")?;
    // A command that fails early does not read its input: that is its right.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let ended = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
    let output = ended.with_context(|| format!("handfast {arguments:?} hangs"))??;
    Ok(Said {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// GETs a path over HTTP/1.1: status and body.
pub async fn http_get(address: SocketAddr, path: &str) -> anyhow::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await??;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").context("no end of the headers")?;
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    Ok((status, body.to_owned()))
}
