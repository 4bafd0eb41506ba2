//! A disk that is full: said clearly, nothing acknowledged is lost, and with room again it goes on.
//!
//! These tests need a mount namespace, which root may have, and users where the kernel allows it.
//! Elsewhere they fail, with the reason, unless `HANDFAST_NO_MOUNT` is set; then they say *not run*.

use std::time::Duration;

use anyhow::ensure;
use handfast_client::{Client, Kind, Level, Outcome, SubmitError, Transaction, Uuid};
use handfast_e2e::{Server, SmallDisk, Start, Surroundings, bank};
use tempfile::TempDir;
use tokio::time::Instant;

/// Room for two segments, the store's first journal and a little more.
const DISK_BYTES: u64 = 192 << 20;
/// How long a full disk may go unnoticed by a server that is written to: less than a client waits.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long it may drain. What is in work when the disk is full cannot be finished: it waits for none of it.
const VERY_PATIENT_SECONDS: u32 = 3_600;

/// A small disk at `data` of the folder, if this machine has one for us.
async fn small_disk(folder: &TempDir) -> anyhow::Result<Option<SmallDisk>> {
    match SmallDisk::mount(&folder.path().join("data"), DISK_BYTES).await {
        Ok(disk) => Ok(Some(disk)),
        Err(error) if std::env::var_os("HANDFAST_NO_MOUNT").is_some() => {
            println!("not run: {error:#}");
            Ok(None)
        }
        Err(error) => Err(error.context("set HANDFAST_NO_MOUNT=1 to leave this test out")),
    }
}

/// Half a MiB in one row, and a count in another: two shards, or one.
fn write(number: u128) -> Transaction {
    let note = vec![number as u8; 1 << 19];
    Transaction::new("bank")
        .put("transfers", (format!("{}", number % 7), Uuid::from_u128(number)), ("note", note))
        .add("accounts", "count", ("balance", 1))
}

/// What a writer was told.
#[derive(Default)]
struct Told {
    committed: Vec<(u128, Transaction)>,
    unknown: Vec<(u128, Transaction)>,
}

/// Writes until the server has ended by itself or patience has.
async fn write_until_it_ends(server: &mut Server, client: &Client) -> anyhow::Result<Told> {
    let mut told = Told::default();
    let end = Instant::now() + PATIENCE;
    for number in 1_u128.. {
        if server.has_ended()?.is_some() {
            break;
        }
        let transaction = write(number);
        match client.submit(&transaction).await {
            Ok(Outcome::Committed(_)) => told.committed.push((number, transaction)),
            Ok(Outcome::Unknown(_)) => told.unknown.push((number, transaction)),
            // It was not taken: were it, the count at the end would be wrong.
            Err(SubmitError::Unavailable { .. }) => {}
            other => anyhow::bail!("{other:?}"),
        }
        ensure!(Instant::now() < end, "the disk is full, and nobody noticed: {}", server.said());
    }
    Ok(told)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_said_and_nothing_acknowledged_is_lost() -> anyhow::Result<()> {
    let folder = TempDir::new()?;
    let Some(disk) = small_disk(&folder).await? else { return Ok(()) };
    let around = Surroundings::default().with_disk(&disk);
    let patient = bank("policy.wait_ms = 3600000");
    let mut server =
        Server::start_within(folder.path(), &[&patient], around, VERY_PATIENT_SECONDS).await?;
    server.stop().await?; // what its databases have room for is used up
    server.restart().await?;
    let client = server.impatient_client().await?;
    ensure!(client.submit(&write(0)).await?.is_committed(), "it does not even begin");
    ensure!(disk.fill()? > 0, "there was no room to take");

    let told = write_until_it_ends(&mut server, &client).await?;
    let status = server.ended().await?;
    let said = server.said();
    assert_eq!(status.code(), Some(1), "a supervisor must see that it failed: {said}");
    assert!(!said.contains("panicked"), "{said}");
    for words in ["the disk is full; free space", "everything acknowledged is safe"] {
        assert!(said.contains(words), "no {words:?} in {said}");
    }
    // Segments are preallocated: what they have room for is taken.
    assert!(told.committed.len() > 5, "{} committed", told.committed.len());

    let again = Start::on(server.how().data.clone()).await?;
    let again = Start { surroundings: server.how().surroundings.clone(), ..again };
    // The log, or the control database, whichever finds no room first.
    again.refused().await?.expect_failure(1, &["the disk is full; free space"]);

    disk.free()?;
    server.restart().await?;
    let client = server.client().await?;
    for (number, transaction) in &told.committed {
        let outcome = client.outcome(&transaction.locator()).await?;
        assert!(outcome.is_committed(), "{number} was acknowledged, and is {outcome:?}");
    }
    for (_, transaction) in &told.unknown {
        assert!(client.submit(transaction).await?.is_committed());
    }
    let written = || told.committed.iter().chain(&told.unknown).map(|(number, _)| *number);
    let count = 1 + written().count() as i64;
    let row = client.read_row("bank", "accounts", "count").await?;
    assert_eq!(row.integer("balance"), Some(count), "a refused one was done, or one done twice");
    for number in written() {
        let key = (format!("{}", number % 7), Uuid::from_u128(number));
        let row = client.read_row("bank", "transfers", key).await?;
        let note = row.get("note").and_then(|value| value.kind.clone());
        let whole = matches!(note, Some(Kind::Blob(note))
            if note.len() == 1 << 19 && note.iter().all(|byte| *byte == number as u8));
        assert!(whole, "row {number} is lost or torn");
    }
    let applied = client.at_level(Level::Applied).submit(&write(1_000_000)).await?;
    assert!(applied.is_committed(), "it serves again, its tables too: {applied:?}");
    server.stop().await
}

/// Root is stopped by no permission, but by a disk that takes nothing.
#[tokio::test]
async fn a_data_folder_on_a_read_only_disk_is_told_with_its_path() -> anyhow::Result<()> {
    let folder = TempDir::new()?;
    let Some(disk) = small_disk(&folder).await? else { return Ok(()) };
    let around = Surroundings::default().with_disk(&disk);
    let mut server = Server::start_in(folder.path(), &[&bank("")], around.clone()).await?;
    server.stop().await?;
    disk.make_read_only().await?;
    let data = folder.path().join("data");
    for data in [data.clone(), data.join("below")] {
        let start = Start { surroundings: around.clone(), ..Start::on(data).await? };
        start.refused().await?.expect_failure(1, &["the data folder", "data", "--data"]);
    }
    Ok(())
}
