//! What the demo is played on: a server of its own, or servers that run already.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use handfast_client::{Client, ConnectError, Options, RetryPolicy};
use tokio::process::Command;
use tokio::time::Instant;

use super::bank;
use super::process::Server;
use super::say;
use crate::cli::{DemoArgs, Global};

/// How long running servers may take to serve again once they were mended.
const MEND_PATIENCE: Duration = Duration::from_secs(60);

/// What the demo is played on.
pub(super) enum Ground {
    /// A server that the demo started.
    Own(Server),
    /// Servers that somebody else runs.
    Running(Running),
}

/// Servers that run already.
pub(super) struct Running {
    endpoints: Vec<String>,
    definition: String,
    strike: Option<String>,
    mend: Option<String>,
}

impl Ground {
    /// Starts a server, or reaches those that run.
    pub(super) async fn new(
        args: &DemoArgs,
        global: &Global,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let Some(file) = &args.definition else {
            say::title("A server");
            let server = Server::start(folder).await?;
            say::line(format!("process {} serves {}", server.process_id(), server.endpoint()));
            say::line(format!("its log and its tables are real files in {}", folder.display()));
            return Ok(Self::Own(server));
        };
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("cannot read the namespace file {}", file.display()))?;
        let running = Running {
            endpoints: global.endpoint.clone(),
            definition: of_its_own(&text).with_context(|| file.display().to_string())?,
            strike: args.strike.clone(),
            mend: args.mend.clone(),
        };
        say::title("Servers that run already");
        say::line(format!("reached through {}", running.endpoints.join(", ")));
        Ok(Self::Running(running))
    }

    /// The namespace file that the demo is played in.
    pub(super) fn definition(&self) -> &str {
        match self {
            Self::Own(_) => bank::DEFINITION,
            Self::Running(running) => &running.definition,
        }
    }

    fn endpoints(&self) -> Vec<String> {
        match self {
            Self::Own(server) => vec![server.endpoint()],
            Self::Running(running) => running.endpoints.clone(),
        }
    }

    /// A client as anybody would use it.
    pub(super) async fn client(&self) -> Result<Client, ConnectError> {
        Client::connect(self.endpoints()).await
    }

    /// A client that tries each call once, so that the demo sees what others retry away.
    pub(super) async fn impatient_client(&self) -> Result<Client, ConnectError> {
        let options = Options { retry: RetryPolicy::NEVER, ..Options::default() };
        Client::connect_with(self.endpoints(), options).await
    }

    /// Does the worst, in the middle of the load.
    pub(super) async fn strike(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Own(server) => server.kill().await,
            Self::Running(running) => shell("--strike", running.strike.as_deref()).await,
        }
    }

    /// Brings back what was struck, and waits until all is served. How long that took.
    pub(super) async fn mend(&mut self, bank: &bank::Bank) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        match self {
            Self::Own(server) => return server.restart().await,
            Self::Running(running) => shell("--mend", running.mend.as_deref()).await?,
        }
        let client = self.client().await?;
        loop {
            match bank.total(&client).await {
                Ok(_) => return Ok(begun.elapsed()),
                Err(error) => ensure!(
                    begun.elapsed() < MEND_PATIENCE,
                    "the accounts cannot be read {} s after it was mended: {error:#}",
                    MEND_PATIENCE.as_secs()
                ),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Runs a command of the user's, if there is one.
async fn shell(flag: &str, command: Option<&str>) -> anyhow::Result<()> {
    let Some(command) = command else { return Ok(()) };
    say::line(format!("{flag}: {command}"));
    let status = Command::new("sh").arg("-c").arg(command).status().await?;
    ensure!(status.success(), "the command of {flag} ended with {status}");
    Ok(())
}

/// The same namespace under a name, and with a keyspace, that nobody has used: what the demo claims is about
/// its own rows alone.
fn of_its_own(text: &str) -> anyhow::Result<String> {
    let mut definition: toml::Table = text.parse()?;
    let name = format!("demo_{:08x}", rand::random::<u32>());
    definition.insert("name".to_owned(), name.clone().into());
    if let Some(store) = definition.get_mut("store").and_then(toml::Value::as_table_mut)
        && store.contains_key("keyspace")
    {
        store.insert("keyspace".to_owned(), name.into());
    }
    if let Some(log) = definition.get_mut("log").and_then(toml::Value::as_table_mut) {
        log.remove("topic"); // the default is named after the namespace
    }
    Ok(definition.to_string())
}
