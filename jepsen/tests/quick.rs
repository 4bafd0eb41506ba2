//! Every workload against the real server, in a few seconds each; long runs have a command of their own.

use std::path::Path;
use std::time::Duration;

use handfast_checker::{Format, Options as CheckOptions, check, read_resolved};
use handfast_jepsen::{Fault, Kind, Options, Validity, run};
use tempfile::TempDir;

fn options(workload: Kind, fault: Fault, faults: usize, folder: &Path) -> Options {
    Options {
        workload,
        fault,
        time: Duration::from_secs(4),
        seed: 7,
        concurrency: 8,
        at_least_committed: 100,
        at_least_faults: faults,
        folder: folder.join("run"),
    }
}

async fn holds(workload: Kind, fault: Fault, faults: usize) -> anyhow::Result<()> {
    let folder = TempDir::new()?;
    let verdict = run(&options(workload, fault, faults, folder.path())).await?;
    println!("{verdict}");
    if verdict.validity() != Validity::Valid {
        let kept = folder.keep();
        panic!("{verdict}everything is kept in {}", kept.display());
    }
    let left = |name: &str| std::fs::read_to_string(folder.path().join("run").join(name));
    let (edn, json) = (left("history.edn")?, left("history.jsonl")?);
    assert_eq!(edn.lines().count(), json.lines().count());
    assert!(edn.lines().all(|line| line.starts_with("{:index ") && line.ends_with('}')));
    assert!(left("verdict.json")?.contains("\"valid\": true"));
    assert!(edn.contains(":ts "));
    if workload == Kind::Append {
        let files = [edn, left("resolved.edn")?, json, left("resolved.jsonl")?];
        files_are_valid(Format::Edn, &files[..2]);
        files_are_valid(Format::JsonLines, &files[2..]);
    }
    Ok(())
}

/// What a run leaves says the same to whoever reads it later.
fn files_are_valid(format: Format, files: &[String]) {
    let [history, resolved] = [files[0].as_bytes(), files[1].as_bytes()];
    let history = read_resolved(history, format, resolved, format)
        .unwrap_or_else(|(part, error)| panic!("{part:?}: {error}"));
    let options = CheckOptions { durability: true, ..CheckOptions::default() };
    let verdict = check(&history, &options);
    assert_eq!(verdict.valid, handfast_checker::Validity::Valid, "{verdict}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bank_keeps_its_total_over_kills() -> anyhow::Result<()> {
    holds(Kind::Bank, Fault::Kill, 12).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hot_counter_counts_every_acknowledged_increment_once_over_kills() -> anyhow::Result<()> {
    holds(Kind::Counter, Fault::Kill, 12).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_set_keeps_every_acknowledged_element_whole_over_kills() -> anyhow::Result<()> {
    holds(Kind::Set, Fault::Kill, 12).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_are_strictly_serializable_over_kills_pauses_and_drains() -> anyhow::Result<()> {
    holds(Kind::Append, Fault::All, 12).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bank_keeps_its_total_over_drains() -> anyhow::Result<()> {
    holds(Kind::Bank, Fault::Drain, 3).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_did_too_little_is_not_valid() -> anyhow::Result<()> {
    let folder = TempDir::new()?;
    let lazy = Options {
        time: Duration::from_millis(300),
        at_least_committed: 1_000_000,
        ..options(Kind::Counter, Fault::None, 0, folder.path())
    };
    let verdict = run(&lazy).await?;
    assert_eq!(verdict.validity(), Validity::Unknown);
    let said = verdict.to_string();
    assert!(said.contains("too few") && said.contains("NOT DECIDED"), "{said}");
    Ok(())
}

#[tokio::test]
async fn a_folder_that_no_run_made_is_not_emptied() -> anyhow::Result<()> {
    let folder = TempDir::new()?;
    std::fs::create_dir(folder.path().join("run"))?;
    std::fs::write(folder.path().join("run/thesis.txt"), "years of work")?;
    let error = run(&options(Kind::Bank, Fault::None, 0, folder.path())).await;
    assert!(error.expect_err("not empty").to_string().contains("choose another folder"));
    assert!(folder.path().join("run/thesis.txt").exists());
    Ok(())
}
