//! The guided demo: a real server process, real files, the public API, and `kill -9` in the middle.
//!
//! It claims nothing that it does not check: the first claim that does not hold ends it with an error.

mod bank;
mod crash;
mod far;
mod ground;
mod process;
mod say;
mod shop;
mod way;

use anyhow::{bail, ensure};
use handfast_client::{AbortReason, Client, Locator, Outcome};

use self::bank::{Bank, TOTAL, Transfer};
use self::ground::Ground;
use self::process::Server;
use crate::cli::{DemoArgs, Global};
use crate::exit::Failure;

/// `handfast demo`.
pub(crate) async fn command(args: DemoArgs, global: &Global) -> Result<(), Failure> {
    let folder =
        tempfile::Builder::new().prefix("handfast-demo-").tempdir().map_err(Failure::error)?;
    match play(&args, global, folder.path()).await {
        Ok(()) => Ok(()),
        Err(error) => {
            let mut said = format!("the demo failed: {error:#}");
            if args.definition.is_none() {
                let kept = folder.keep();
                said += "\nits data and the server's log are kept in ";
                said += &kept.display().to_string();
            }
            Err(Failure::error(said))
        }
    }
}

async fn play(args: &DemoArgs, global: &Global, folder: &std::path::Path) -> anyhow::Result<()> {
    let mut ground = Ground::new(args, global, folder).await?;
    let client = ground.client().await?;

    say::title("Two tables");
    let made = client.admin().create_namespace(ground.definition()).await?;
    let bank = Bank { namespace: made.name.as_str().into() };
    let tables: Vec<&str> = made.tables.iter().map(|table| table.name.as_str()).collect();
    say::line(format!(
        "namespace {}: {} over {} shards",
        made.name,
        tables.join(", "),
        made.shards
    ));
    bank.open_accounts(&client).await?;
    say::line(format!(
        "twenty accounts were opened in one transaction; together they hold {TOTAL}"
    ));

    let first = commits(&bank, &client).await?;
    fails(&bank, &client).await?;
    repeats(&bank, &client, &first).await?;
    let ended = crash::survives(&bank, &mut ground).await?;

    say::title("Nothing lost, nothing doubled, nothing torn");
    let client = ground.client().await?;
    let total = bank.total(&client).await?;
    ensure!(total == TOTAL, "the accounts hold {total} together, not {TOTAL}");
    say::line(format!("the accounts still hold {total} together"));
    bank.check_rows(&client, &ended).await?;
    let count = ended.len();
    say::line(format!("each of {count} transfers has its row if it committed, and none if not"));

    explains(&client, &first.0.transaction.locator()).await?;
    match ground {
        Ground::Own(server) => {
            shop::play(&client).await?;
            far::play(&client, &server.endpoint(), folder).await?;
            end(args, server).await
        }
        Ground::Running(_) => {
            say::title(&format!("All of it held. The namespace {} stays", bank.namespace));
            Ok(())
        }
    }
}

/// A transfer that commits.
async fn commits(bank: &Bank, client: &Client) -> anyhow::Result<(Transfer, Outcome)> {
    say::title("A transfer over two tables and several partitions");
    let transfer = bank.transfer("alice", "bob", 300);
    let outcome = client.submit(&transfer.transaction).await?;
    let Outcome::Committed(committed) = &outcome else {
        bail!("the transfer did not commit: {outcome:?}");
    };
    say::line(format!("alice sends bob 300: committed at {} µs", committed.timestamp_us));
    say::line(format!("its id is {}", transfer.transaction.id()));
    Ok((transfer, outcome))
}

/// A transfer whose condition does not hold.
async fn fails(bank: &Bank, client: &Client) -> anyhow::Result<()> {
    say::title("A transfer whose condition does not hold");
    let transfer = bank.transfer("alice", "carol", 5_000);
    let outcome = client.submit(&transfer.transaction).await?;
    let Outcome::Aborted(aborted) = &outcome else {
        bail!("a transfer of more than there is was not aborted: {outcome:?}");
    };
    let AbortReason::ConditionFailed(failed) = &aborted.reason else {
        bail!("it was aborted for another reason: {}", aborted.reason);
    };
    ensure!(failed.index == 0, "condition {} is said to have failed, not 0", failed.index);
    say::line("alice sends carol 5000: aborted, and nothing was written");
    say::line(format!("the answer says why: {}", aborted.reason));
    Ok(())
}

/// The first transfer, sent again under its id.
async fn repeats(bank: &Bank, client: &Client, first: &(Transfer, Outcome)) -> anyhow::Result<()> {
    say::title("The same transaction sent again");
    let again = client.submit(&first.0.transaction).await?;
    let (Outcome::Committed(before), Outcome::Committed(now)) = (&first.1, &again) else {
        bail!("the first transfer is answered {again:?} when it is sent again");
    };
    ensure!(before.timestamp_us == now.timestamp_us, "it was committed twice: {again:?}");
    let alice = client.read_row(&bank.namespace, "accounts", "alice").await?;
    ensure!(alice.integer("balance") == Some(700), "alice paid twice: {alice:?}");
    say::line("it is answered with its first outcome, and alice has paid once: she holds 700");
    Ok(())
}

/// The life of a transaction.
async fn explains(client: &Client, locator: &Locator) -> anyhow::Result<()> {
    say::title("The life of the first transfer, from the log");
    let explained = client.explain(locator).await?;
    ensure!(!explained.events.is_empty(), "the log says nothing of it");
    let committed = explained.outcome.as_ref().is_some_and(Outcome::is_committed);
    ensure!(committed, "it is no longer known to be committed: {:?}", explained.outcome);
    for event in &explained.events {
        let kind = event.kind().as_str_name().trim_start_matches("EVENT_KIND_").to_lowercase();
        let rows: Vec<String> = event.rows.iter().map(ToString::to_string).collect();
        let (shard, epoch, sequence) = (event.shard, event.epoch, event.sequence);
        say::line(format!(
            "shard {shard:>2}, epoch {epoch}, record {sequence:>4}: {kind:<13} {}",
            event.text
        ));
        if !rows.is_empty() {
            say::line(format!("{:32}{}", "", rows.join(" ")));
        }
    }
    Ok(())
}

/// Stops the server, or leaves it running.
async fn end(args: &DemoArgs, mut server: Server) -> anyhow::Result<()> {
    if args.keep {
        say::title("All of it held. The server is left running: Ctrl-C ends it");
        say::try_next(&server.endpoint(), &format!("http://{}", server.http()));
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted?,
            ended = server.wait() => {
                ended?;
                bail!("the server has ended; its log: {}", server.log_path());
            }
        }
        return Ok(());
    }
    server.stop().await?;
    say::title("All of it held. The server stopped in order, with exit code 0");
    say::what_next();
    Ok(())
}
