//! Short runs on a real cluster, with everything that can happen to it; long ones have a command of their own.

use std::time::Duration;

use handfast_cluster::apart;
use handfast_jepsen::{Arena, Fault, Kind, Options, Validity};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Decides what the clients ask and what strikes.
const SEED: u64 = 5;

#[test]
fn a_cluster_keeps_its_word_whatever_happens_at_once() {
    apart::play("a_cluster_keeps_its_word_whatever_happens_at_once", || {
        println!("seed {SEED}");
        Runtime::new().expect("a runtime").block_on(async {
            let mut arena = Arena::default();
            for workload in [Kind::ListAppend, Kind::Bank, Kind::Delayed] {
                holds(&mut arena, workload).await;
            }
            arena.close().await.expect("nothing is left running");
        });
    });
}

async fn holds(arena: &mut Arena, workload: Kind) {
    let folder = TempDir::new().expect("a folder");
    let options = Options {
        workload,
        fault: Fault::Everything,
        time: Duration::from_secs(10),
        seed: SEED,
        concurrency: 8,
        at_least_committed: 100,
        at_least_faults: 1,
        folder: folder.path().join("run"),
    };
    let report = match arena.run(&options).await {
        Ok(report) => report,
        Err(error) => panic!("{error:#}; what there is, is in {}", folder.keep().display()),
    };
    println!("{report}");
    if report.validity() != Validity::Valid {
        panic!("{report}everything is kept in {}", folder.keep().display());
    }
    assert!(report.missing.is_empty(), "{:?}", report.missing);
    let left = |name: &str| std::fs::read_to_string(options.folder.join(name)).expect(name);
    assert!(left("verdict.json").contains("\"on\": \"cluster\""));
    assert!(left("history.edn").contains(":nemesis"));
    assert!(left("logs/participant-1.log").contains("serving"), "its log is kept");
    assert!(left("timeline.svg").contains("last reads"));
}
