//! Files that are not as the server left them: refused with a clear message, and left as they are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use handfast_client::{Transaction, Uuid};
use handfast_e2e::{Said, Server, Start, bank};
use tempfile::TempDir;

/// A data folder whose server has stopped in order, with something in its log.
async fn written() -> anyhow::Result<(TempDir, Server)> {
    let folder = TempDir::new()?;
    let mut server = Server::start(folder.path(), &[&bank("")]).await?;
    let client = server.client().await?;
    for number in 0..50_u128 {
        let transaction = Transaction::new("bank")
            .add("accounts", format!("account-{number}"), ("balance", 1))
            .put("transfers", ("a", Uuid::from_u128(number)), ("note", vec![7_u8; 3_000]));
        assert!(client.submit(&transaction).await?.is_committed());
    }
    server.stop().await?;
    Ok((folder, server))
}

fn segment(server: &Server) -> PathBuf {
    server.log_folder("bank").join("segment-000000000001.log")
}

/// Every file of a folder with its content.
fn content(folder: &Path) -> anyhow::Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        files.insert(path.clone(), std::fs::read(&path)?);
    }
    Ok(files)
}

/// Changes bytes of a file, and holds the server to refusing it and to leaving the log as it is.
async fn refused(
    server: &Server,
    file: &Path,
    change: impl FnOnce(&mut [u8]),
) -> anyhow::Result<Said> {
    let good = std::fs::read(file)?;
    let mut bytes = good.clone();
    change(&mut bytes);
    assert!(bytes != good, "nothing was changed");
    std::fs::write(file, &bytes)?;
    let folder = file.parent().context("a file is in a folder")?;
    let before = content(folder)?;
    let said = Start::on(server.how().data.clone()).await?.refused().await?;
    assert!(content(folder)? == before, "it changed what it refused: {said:#?}");
    std::fs::write(file, good)?;
    Ok(said)
}

#[tokio::test]
async fn a_flipped_bit_before_the_last_block_is_refused() -> anyhow::Result<()> {
    let (_folder, mut server) = written().await?;
    let file = segment(&server);
    // The first block begins behind the segment's header page: its magic, its checksum, its content; and
    // something in the middle of the log.
    for offset in [4096, 4096 + 5, 4096 + 64 + 9, 4096 * 9 + 70, 4096 * 30 + 100] {
        let said = refused(&server, &file, |bytes| bytes[offset] ^= 4).await?;
        said.expect_failure(1, &["bank", "damaged"]);
    }
    server.restart().await?;
    let client = server.client().await?;
    let rows = (0..50).map(|number| ("accounts", format!("account-{number}")));
    let rows = client.read("bank", rows).await?;
    assert!(rows.iter().all(|row| row.integer("balance") == Some(1)), "{rows:?}");
    server.stop().await
}

#[tokio::test]
async fn a_log_of_another_format_version_is_refused_and_told_from_damage() -> anyhow::Result<()> {
    let (_folder, mut server) = written().await?;
    let file = segment(&server);
    let said = refused(&server, &file, |bytes| {
        bytes[8] = 9;
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&bytes[..12]);
        checksum.update(&bytes[16..64]);
        bytes[12..16].copy_from_slice(&checksum.finalize().to_le_bytes());
    })
    .await?;
    said.expect_failure(1, &["bank", "format", "9"]);
    assert!(!said.err.contains("damaged"), "{said:#?}");
    let said = refused(&server, &file, |bytes| bytes[8] = 9).await?;
    said.expect_failure(1, &["bank", "damaged"]);
    server.restart().await?;
    server.stop().await
}

#[tokio::test]
async fn a_segment_that_is_gone_or_shorter_is_refused() -> anyhow::Result<()> {
    let (_folder, mut server) = written().await?;
    let file = segment(&server);
    let aside = file.with_extension("aside");
    std::fs::rename(&file, &aside)?;
    let said = Start::on(server.how().data.clone()).await?.refused().await?;
    said.expect_failure(1, &["bank", "segment-000000000001.log is missing"]);
    let good = std::fs::read(&aside)?;
    std::fs::write(&file, &good[..good.len() / 2])?;
    let said = Start::on(server.how().data.clone()).await?.refused().await?;
    said.expect_failure(1, &["bank", "segment-000000000001.log was shortened"]);
    std::fs::rename(&aside, &file)?;
    server.restart().await?;
    server.stop().await
}

#[tokio::test]
async fn a_damaged_control_database_is_refused_and_named() -> anyhow::Result<()> {
    let (_folder, mut server) = written().await?;
    let file = server.how().data.join("control.db");
    let good = std::fs::read(&file)?;
    std::fs::write(
        &file,
        "this is no database, but it is long enough to be looked at as if it were one",
    )?;
    let said = Start::on(server.how().data.clone()).await?.refused().await?;
    said.expect_failure(1, &["control"]);
    std::fs::write(&file, good)?;
    server.restart().await?;
    server.stop().await
}
