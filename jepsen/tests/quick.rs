//! Every workload against the real server, in a few seconds each; long runs have a command of their own.

use std::path::Path;
use std::time::Duration;

use handfast_jepsen::{Fault, Kind, NotRun, Options, Validity, run};
use tempfile::TempDir;

/// Clients at the same time.
const CLIENTS: u16 = 8;

fn options(workload: Kind, fault: Fault, faults: usize, folder: &Path) -> Options {
    Options {
        workload,
        fault,
        time: Duration::from_secs(4),
        seed: 7,
        concurrency: CLIENTS,
        at_least_committed: 100,
        at_least_faults: faults,
        folder: folder.join("run"),
    }
}

async fn holds(workload: Kind, fault: Fault, faults: usize) -> anyhow::Result<()> {
    let folder = TempDir::new()?;
    let report = match run(&options(workload, fault, faults, folder.path())).await {
        // As the tests of a full disk do: only where the machine has no mounts for us, and we were told.
        Err(error) if error.is::<NotRun>() && std::env::var_os("HANDFAST_NO_MOUNT").is_some() => {
            println!("{error}");
            return Ok(());
        }
        other => other?,
    };
    println!("{report}");
    if report.validity() != Validity::Valid {
        let kept = folder.keep();
        panic!("{report}everything is kept in {}", kept.display());
    }
    assert!(report.missing.is_empty() || std::env::var_os("HANDFAST_NO_MOUNT").is_some());
    let left = |name: &str| std::fs::read_to_string(folder.path().join("run").join(name));
    let (edn, json) = (left("history.edn")?, left("history.jsonl")?);
    assert_eq!(edn.lines().count(), json.lines().count());
    assert!(edn.lines().all(|line| line.starts_with("{:index ") && line.ends_with('}')));
    assert!(left("verdict.json")?.contains("\"valid\": true"));
    assert!(edn.contains(":ts "));
    let picture = left("timeline.svg")?;
    assert!(picture.contains("last reads") && picture.contains(&format!("client {}", CLIENTS - 1)));
    assert!(picture.matches("<title>").count() > faults, "each strike has its band");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_are_strictly_serializable_whatever_happens_at_once() -> anyhow::Result<()> {
    holds(Kind::ListAppend, Fault::Everything, 8).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn registers_are_strictly_serializable_over_kills() -> anyhow::Result<()> {
    holds(Kind::Register, Fault::Kill, 12).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn registers_are_strictly_serializable_over_jumps_of_the_clock() -> anyhow::Result<()> {
    holds(Kind::Register, Fault::Clock, 3).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pairs_are_never_read_unequal_or_stale_over_pauses() -> anyhow::Result<()> {
    holds(Kind::ReadSkew, Fault::Pause, 3).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hot_counter_counts_every_acknowledged_increment_once_over_kills() -> anyhow::Result<()> {
    holds(Kind::HotCounter, Fault::Kill, 12).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_set_keeps_every_acknowledged_element_whole_over_full_disks() -> anyhow::Result<()> {
    holds(Kind::Set, Fault::Disk, 2).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bank_keeps_its_total_over_drains() -> anyhow::Result<()> {
    holds(Kind::Bank, Fault::Drain, 3).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_due_later_is_done_in_time_and_once_over_kills() -> anyhow::Result<()> {
    holds(Kind::Delayed, Fault::Kill, 12).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_are_taken_in_order_or_dead_letters_over_kills() -> anyhow::Result<()> {
    holds(Kind::Deliveries, Fault::Kill, 6).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_region_shows_whole_transactions_and_both_end_equal_whatever_happens()
-> anyhow::Result<()> {
    holds(Kind::Regions, Fault::Everything, 2).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_region_misses_nothing_of_another_over_kills() -> anyhow::Result<()> {
    holds(Kind::Regions, Fault::Kill, 6).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_did_too_little_is_not_valid() -> anyhow::Result<()> {
    let folder = TempDir::new()?;
    let lazy = Options {
        time: Duration::from_millis(300),
        at_least_committed: 1_000_000,
        ..options(Kind::HotCounter, Fault::None, 0, folder.path())
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
