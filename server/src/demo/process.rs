//! The demo's own server, as a process that can be killed.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use handfast_client::{Client, ConnectError, Options, RetryPolicy};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::time::Instant;

/// How long a server may take to serve.
const START_PATIENCE: Duration = Duration::from_secs(30);
/// How long it may take to stop in order.
const STOP_PATIENCE: Duration = Duration::from_secs(30);

/// `handfast serve` on a folder and two ports.
pub(super) struct Server {
    data: PathBuf,
    logs: PathBuf,
    grpc: SocketAddr,
    http: SocketAddr,
    child: Child,
}

impl Server {
    /// Starts a server on a folder and waits until it serves.
    pub(super) async fn start(folder: &Path) -> anyhow::Result<Self> {
        let (grpc, http) = (free_port().await?, free_port().await?);
        let (data, logs) = (folder.join("data"), folder.join("server.log"));
        let child = spawn(&data, &logs, grpc, http)?;
        let mut server = Self { data, logs, grpc, http, child };
        server.wait_until_it_serves().await?;
        Ok(server)
    }

    /// Kills the process as `kill -9` does.
    pub(super) async fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("cannot kill the server")
    }

    /// Starts it again on the same folder and ports. How long it took until it served.
    pub(super) async fn restart(&mut self) -> anyhow::Result<Duration> {
        let start = Instant::now();
        self.child = spawn(&self.data, &self.logs, self.grpc, self.http)?;
        self.wait_until_it_serves().await?;
        Ok(start.elapsed())
    }

    /// Asks it to stop, and holds it to exit code 0.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        let id = self.child.id().context("the server has stopped already")?;
        let asked = Command::new("sh").arg("-c").arg(format!("kill -TERM {id}")).status().await?;
        ensure!(asked.success(), "cannot send SIGTERM to the server");
        let stopped = tokio::time::timeout(STOP_PATIENCE, self.child.wait()).await;
        let status = stopped.context("the server did not stop on SIGTERM")??;
        ensure!(status.success(), "the server stopped with {status}; its log: {}", self.log_path());
        Ok(())
    }

    pub(super) fn process_id(&self) -> u32 {
        self.child.id().unwrap_or_default()
    }

    pub(super) fn endpoint(&self) -> String {
        format!("http://{}", self.grpc)
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.grpc
    }

    pub(super) fn http(&self) -> SocketAddr {
        self.http
    }

    pub(super) fn log_path(&self) -> String {
        self.logs.display().to_string()
    }

    /// Waits for the process to end by itself.
    pub(super) async fn wait(&mut self) -> anyhow::Result<()> {
        self.child.wait().await?;
        Ok(())
    }

    async fn impatient_client(&self) -> Result<Client, ConnectError> {
        let options = Options { retry: RetryPolicy::NEVER, ..Options::default() };
        Client::connect_with([self.endpoint()], options).await
    }

    async fn wait_until_it_serves(&mut self) -> anyhow::Result<()> {
        let end = Instant::now() + START_PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait()? {
                let log = std::fs::read_to_string(&self.logs).unwrap_or_default();
                bail!("the server stopped with {status}; it said:\n{log}");
            }
            if let Ok(client) = self.impatient_client().await
                && client.admin().list_namespaces().await.is_ok()
            {
                return Ok(());
            }
            ensure!(
                Instant::now() < end,
                "the server does not serve; its log: {}",
                self.log_path()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn spawn(data: &Path, logs: &Path, grpc: SocketAddr, http: SocketAddr) -> anyhow::Result<Child> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let log = std::fs::File::options().create(true).append(true).open(logs)?;
    Command::new(program)
        .arg("serve")
        .arg("--data")
        .arg(data)
        .args(["--listen", &grpc.to_string(), "--http", &http.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .env("NO_COLOR", "1")
        .kill_on_drop(true)
        .spawn()
        .context("cannot start the server")
}

async fn free_port() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await.context("no port is free")?;
    Ok(listener.local_addr()?)
}
