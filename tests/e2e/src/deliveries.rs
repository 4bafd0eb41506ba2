//! What tests of deliveries ask of a server of the bank.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use handfast_client::{Client, Durable, Message, Uuid, v1};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::bank;
use crate::server::Server;

/// How long a delivery may take to become as wanted.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server of the bank with these settings and targets, on a folder of its own, and a client of it.
pub async fn served_with_targets(
    settings: &str,
    targets: &str,
) -> anyhow::Result<(TempDir, Server, Client)> {
    let folder = TempDir::new()?;
    let file = format!("{}{targets}", bank(settings));
    let server = Server::start(folder.path(), &[&file]).await?;
    let client = server.client().await?;
    Ok((folder, server, client))
}

/// Writes a message to the bank; its id.
pub async fn write(client: &Client, message: Message) -> anyhow::Result<Uuid> {
    let id = Uuid::now_v7();
    match client.write_to_log("bank", id, message).await? {
        Durable::True { .. } => Ok(id),
        other => bail!("{other:?}"),
    }
}

/// The status of a target of the bank, once it is as wanted.
pub async fn target_status(
    client: &Client,
    target: &str,
    is_wanted: impl Fn(&v1::TargetStatus) -> bool,
) -> anyhow::Result<v1::TargetStatus> {
    let end = Instant::now() + PATIENCE;
    loop {
        let all = client.admin().list_targets("bank").await?;
        let found = all.into_iter().find(|it| it.name == target).context("no such target")?;
        if is_wanted(&found) {
            return Ok(found);
        }
        ensure!(Instant::now() < end, "it does not become so: {found:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
