//! `handfast serve` as a process.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use handfast_client::{Client, Options, RetryPolicy};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::time::Instant;

use crate::command::{Said, binary, http_get};
use crate::surroundings::Surroundings;

/// How long a server may take to serve, on a busy machine.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// How long it may take to stop in order.
const STOP_PATIENCE: Duration = Duration::from_secs(60);
/// `--drain` of a server that is not told otherwise, which is the binary's own default.
const DRAIN_SECONDS: u32 = 30;
/// How often a start is tried whose port somebody else took first.
const PORT_TRIES: usize = 5;

/// How to start a server.
#[derive(Clone, Debug)]
pub struct Start {
    /// Its data folder.
    pub data: PathBuf,
    /// Where its gRPC and HTTP listen.
    pub ports: (SocketAddr, SocketAddr),
    /// Files for `--namespace`.
    pub namespaces: Vec<PathBuf>,
    /// What it runs in.
    pub surroundings: Surroundings,
    /// `--drain`, in seconds.
    pub drain_seconds: u32,
}

impl Start {
    /// On a data folder and two free ports.
    pub async fn on(data: impl Into<PathBuf>) -> anyhow::Result<Self> {
        let ports = (free_port().await?, free_port().await?);
        let surroundings = Surroundings::default();
        let (data, namespaces) = (data.into(), Vec::new());
        Ok(Self { data, ports, namespaces, surroundings, drain_seconds: DRAIN_SECONDS })
    }

    fn command(&self) -> anyhow::Result<Command> {
        let mut command = self.surroundings.command(&binary()?);
        command.arg("serve").arg("--data").arg(&self.data);
        command.args(["--listen", &self.ports.0.to_string(), "--http", &self.ports.1.to_string()]);
        command.args(["--drain", &format!("{}s", self.drain_seconds)]);
        for file in &self.namespaces {
            command.arg("--namespace").arg(file);
        }
        command.stdin(Stdio::null()).env("NO_COLOR", "1").env("HANDFAST_LOG", "info");
        command.kill_on_drop(true);
        Ok(command)
    }

    /// Starts it where it must refuse to serve: what it said when it had ended by itself.
    pub async fn refused(&self) -> anyhow::Result<Said> {
        let mut command = self.command()?;
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let ended = tokio::time::timeout(START_PATIENCE, child.wait_with_output()).await;
        let output = ended.context("the server neither refused nor ended")??;
        Ok(Said {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}

/// A server that runs, or ran. Dropping it kills the process.
#[derive(Debug)]
pub struct Server {
    start: Start,
    log: PathBuf,
    child: Child,
}

impl Server {
    /// Starts a server on `folder`, which gets `data/` and `server.log`, with the namespaces of these
    /// definitions, and waits until it serves.
    pub async fn start(folder: &Path, definitions: &[&str]) -> anyhow::Result<Self> {
        Self::start_in(folder, definitions, Surroundings::default()).await
    }

    /// As [`Self::start`], in these surroundings.
    pub async fn start_in(
        folder: &Path,
        definitions: &[&str],
        surroundings: Surroundings,
    ) -> anyhow::Result<Self> {
        Self::start_within(folder, definitions, surroundings, DRAIN_SECONDS).await
    }

    /// As [`Self::start_in`], with `--drain` in seconds, for its later starts, too.
    pub async fn start_within(
        folder: &Path,
        definitions: &[&str],
        surroundings: Surroundings,
        drain_seconds: u32,
    ) -> anyhow::Result<Self> {
        let folder = std::path::absolute(folder)?;
        let mut namespaces = Vec::new();
        for (number, definition) in definitions.iter().enumerate() {
            let file = folder.join(format!("namespace-{number}.toml"));
            std::fs::write(&file, definition)?;
            namespaces.push(file);
        }
        let mut last = anyhow::anyhow!("no port was tried");
        for _ in 0..PORT_TRIES {
            let start = Start {
                namespaces: namespaces.clone(),
                surroundings: surroundings.clone(),
                drain_seconds,
                ..Start::on(folder.join("data")).await?
            };
            match Self::start_as(start, folder.join("server.log")).await {
                Err(error) if error.to_string().contains("is taken by another program") => {
                    last = error
                }
                other => return other,
            }
        }
        Err(last)
    }

    /// Starts a server as told, its standard error appended to `log`, and waits until it serves.
    pub async fn start_as(start: Start, log: PathBuf) -> anyhow::Result<Self> {
        let child = spawn(&start, &log)?;
        let mut server = Self { start, log, child };
        server.wait_until_it_serves().await?;
        Ok(server)
    }

    /// Starts it again on the same folder and ports, and waits until it serves. How long that took.
    pub async fn restart(&mut self) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        ensure!(self.child.try_wait()?.is_some(), "it still runs: stop or kill it first");
        self.child = spawn(&self.start, &self.log)?;
        self.wait_until_it_serves().await?;
        Ok(begun.elapsed())
    }

    /// Kills the process as `kill -9` does, and waits until it is gone.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("cannot kill the server")
    }

    /// Sends a signal by its name, such as `TERM`, `STOP` or `CONT`.
    pub async fn signal(&self, name: &str) -> anyhow::Result<()> {
        let id = self.child.id().context("the server has stopped already")?;
        let sent = Command::new("sh").arg("-c").arg(format!("kill -{name} {id}")).status().await?;
        ensure!(sent.success(), "cannot send SIG{name} to the server");
        Ok(())
    }

    /// Waits until the process ends by itself.
    pub async fn ended(&mut self) -> anyhow::Result<ExitStatus> {
        let ended = tokio::time::timeout(STOP_PATIENCE, self.child.wait()).await;
        Ok(ended.with_context(|| format!("the server does not stop: {}", self.said()))??)
    }

    /// Asks it to stop by SIGTERM, and holds it to exit code 0 and to a log without a panic.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        self.signal("TERM").await?;
        let status = self.ended().await?;
        let said = self.said();
        ensure!(status.success(), "the server stopped with {status}: {said}");
        ensure!(!said.contains("panicked"), "the server panicked: {said}");
        Ok(())
    }

    /// What its processes so far said on standard error.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// How it was started.
    pub const fn how(&self) -> &Start {
        &self.start
    }

    /// Whether the process has ended; how, if it has.
    pub fn has_ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Its process id; `None` once it has ended.
    pub fn process_id(&self) -> Option<u32> {
        self.child.id()
    }

    /// For clients.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.start.ports.0)
    }

    /// For operators: metrics, liveness, readiness.
    pub const fn http(&self) -> SocketAddr {
        self.start.ports.1
    }

    /// The folder of a namespace's log.
    pub fn log_folder(&self, namespace: &str) -> PathBuf {
        self.start.data.join("namespaces").join(namespace).join("log")
    }

    /// A client as anybody would use it.
    pub async fn client(&self) -> anyhow::Result<Client> {
        Ok(Client::connect([self.endpoint()]).await?)
    }

    /// A client that tries each call once, so that nothing is retried away.
    pub async fn impatient_client(&self) -> anyhow::Result<Client> {
        let options = Options { retry: RetryPolicy::NEVER, ..Options::default() };
        Ok(Client::connect_with([self.endpoint()], options).await?)
    }

    async fn wait_until_it_serves(&mut self) -> anyhow::Result<()> {
        let end = Instant::now() + START_PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("the server stopped with {status}; it said:\n{}", self.said());
            }
            if let Ok(client) = self.impatient_client().await
                && client.admin().list_namespaces().await.is_ok()
                && http_get(self.http(), "/readyz").await.is_ok_and(|(status, _)| status == 200)
            {
                return Ok(());
            }
            ensure!(Instant::now() < end, "the server does not serve; it said:\n{}", self.said());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn spawn(start: &Start, log: &Path) -> anyhow::Result<Child> {
    let log = std::fs::File::options().create(true).append(true).open(log)?;
    let mut command = start.command()?;
    command.stdout(Stdio::null()).stderr(log).spawn().context("cannot start the server")
}

async fn free_port() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await.context("no port is free")?;
    Ok(listener.local_addr()?)
}
