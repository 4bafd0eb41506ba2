//! The real process, killed with `kill -9` fifty times under load, every doubt resolved, everything checked.

use std::time::Duration;

use handfast_jepsen::{Fault, Kind, Options, Validity, run};
use tempfile::TempDir;

const KILLS: usize = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bank_loses_nothing_and_keeps_its_total_over_fifty_kills() -> anyhow::Result<()> {
    let folder = TempDir::new()?;
    let options = Options {
        workload: Kind::Bank,
        fault: Fault::Kill,
        // It goes on until all kills are done, which takes some 20 seconds, and at most for five times this.
        time: Duration::from_secs(12),
        seed: 50,
        concurrency: 8,
        at_least_committed: 1_000,
        at_least_faults: KILLS,
        folder: folder.path().join("run"),
    };
    let report = run(&options).await?;
    println!("{report}");
    if report.validity() != Validity::Valid {
        panic!("{report}everything is kept in {}", folder.keep().display());
    }
    let kills = report.struck.get("kill").copied().unwrap_or(0);
    assert!(kills >= KILLS, "{kills} kills");
    // Each of them ended a process, and another one served after it; and one more before the last reads.
    let log = std::fs::read_to_string(options.folder.join("server.log"))?;
    let served = log.lines().filter(|line| line.contains("serving address=")).count();
    assert_eq!(served, 1 + kills + 1, "processes that served");
    let stopped = log.lines().filter(|line| line.contains("handfast::serve: stopped")).count();
    assert_eq!(stopped, 1, "only the last process was asked to stop");
    assert!(report.verdict.unknown > 0, "no kill struck anything in flight");
    Ok(())
}
