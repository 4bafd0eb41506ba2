//! Short runs of every workload, with nodes as processes that are cut off and killed.

use std::path::PathBuf;
use std::time::Duration;

use handfast_checker::Validity;
use handfast_maelstrom::runner::{Fault, Report, RunnerOptions, Workload, run};

fn options(workload: Workload, seed: u64, folder: PathBuf) -> RunnerOptions {
    RunnerOptions {
        workload,
        node: env!("CARGO_BIN_EXE_handfast-maelstrom-node").into(),
        // Short leases, so that a short run sees many leaders.
        node_arguments: ["--commit-timestamps", "--lease-ms", "400", "--silence-ms", "300"]
            .map(str::to_owned)
            .to_vec(),
        nodes: 3,
        time: Duration::from_secs(10),
        rate: 150.0,
        concurrency: 18,
        latency: Duration::from_millis(1),
        loss: 0.0,
        faults: vec![Fault::Cut, Fault::Kill],
        fault_interval: Duration::from_millis(1_200),
        seed,
        at_least_ok: 150,
        folder,
    }
}

fn passes(workload: Workload, seed: u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let options = options(workload, seed, folder.path().to_owned());
    let report = run(&options).expect("a run");
    let logs = || {
        let read = |n| std::fs::read_to_string(folder.path().join(format!("n{n}.log")));
        (1..=3).filter_map(|n| read(n).ok()).collect::<Vec<_>>().join("\n-- next node --\n")
    };
    assert!(report.passed(), "{report}\n{}", logs());
    for file in ["history.edn", "history.jsonl", "verdict.txt", "verdict.json"] {
        let length = std::fs::metadata(folder.path().join(file)).expect(file).len();
        assert!(length > 0, "{file} is empty");
    }
}

#[test]
fn lists_are_strictly_serializable_while_nodes_are_cut_off_and_killed() {
    passes(Workload::TxnListAppend, 11);
}

#[test]
fn registers_are_strictly_serializable_while_nodes_are_cut_off_and_killed() {
    passes(Workload::TxnRwRegister, 12);
}

#[test]
fn keys_are_linearizable_while_nodes_are_cut_off_and_killed() {
    passes(Workload::LinKv, 13);
}

/// The program that is wrong on purpose, which cargo builds beside the tests.
fn forgetful() -> PathBuf {
    let own = std::env::current_exe().expect("a path");
    let profile = own.parent().and_then(|deps| deps.parent()).expect("tests are in deps");
    profile.join("examples").join("forgetful")
}

fn without_faults(folder: &tempfile::TempDir) -> RunnerOptions {
    RunnerOptions {
        time: Duration::from_secs(2),
        faults: Vec::new(),
        loss: 0.0,
        ..options(Workload::TxnListAppend, 14, folder.path().to_owned())
    }
}

#[test]
fn a_node_that_is_wrong_is_found_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut options = without_faults(&folder);
    options.node = forgetful();
    options.node_arguments = Vec::new();
    options.at_least_ok = 50;
    let report: Report = run(&options).expect("a run");
    assert_eq!(report.validity, Validity::Invalid, "{report}");
}

#[test]
fn too_few_operations_fail_the_run_and_say_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut options = without_faults(&folder);
    options.at_least_ok = 1_000_000;
    let report = run(&options).expect("a run");
    assert!(!report.passed());
    assert!(report.to_string().contains("too few operations happened"), "{report}");
}

#[test]
fn a_program_that_is_no_node_is_a_clear_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut options = without_faults(&folder);
    options.node = "no-such-program".into();
    let error = run(&options).expect_err("there is no such program");
    assert!(format!("{error:#}").contains("--bin"), "{error:#}");
}
