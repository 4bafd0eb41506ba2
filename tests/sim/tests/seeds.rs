//! Many worlds, each fully checked; the same seed twice; and bugs put in on purpose, each of them found.

use std::process::Command;

use handfast_sim::{Options, Planted, run_seed, run_seeds};
use participant::engine::Rule;

fn options() -> Options {
    Options { seed: 0, txns: 100, trace: false, without: Vec::new(), planted: None }
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[test]
fn a_thousand_worlds_hold_and_every_kind_of_fault_and_event_happens() {
    let summary = run_seeds(&options(), 0..1_000, threads(), &|_| true);
    for (fault, count) in summary.faults.iter() {
        println!("{:<20} {count:>9}", fault.name());
    }
    for (name, count) in &summary.counts {
        println!("{name:<28} {count:>9}");
    }
    for (seed, failure) in &summary.failures {
        println!(
            "seed {seed} FAILED {failure}\n  again: cargo run --release -p handfast-sim -- --seed {seed} --txns 100 --trace"
        );
    }
    assert!(summary.failures.is_empty(), "{} worlds failed", summary.failures.len());
    assert!(summary.faults.never().is_empty(), "never struck: {:?}", summary.faults.never());
    assert!(summary.never().is_empty(), "never happened: {:?}", summary.never());
    assert!(summary.committed > 30_000, "only {} transactions committed", summary.committed);
}

#[test]
fn the_same_seed_is_the_same_world_here_and_in_another_process() {
    for seed in 0..10 {
        let options = Options { seed, ..options() };
        let first = run_seed(&options);
        let second = run_seed(&options);
        assert_eq!(first.trace_hash, second.trace_hash, "seed {seed} differs within a process");
        let output = Command::new(env!("CARGO_BIN_EXE_handfast-sim"))
            .args(["--seed", &seed.to_string(), "--txns", "100", "--json"])
            .output()
            .expect("the simulator starts");
        let json: serde_json::Value =
            serde_json::from_slice(&output.stdout).expect("the simulator prints JSON");
        let hash = format!("{:016x}", first.trace_hash);
        assert_eq!(json["trace_hash"], hash, "seed {seed} differs between processes");
    }
}

/// Rules that no engine asks about yet, or whose absence few worlds show: not demanded here. Those that
/// an engine asks about are missed by a story when they are taken out (participant/tests/stories.rs).
const NOT_DEMANDED: [Rule; 7] = [
    Rule::PrepareBoundToEpoch,
    Rule::FloorIsDurable,
    Rule::EpochIsReadBack,
    Rule::LeadershipIsProved,
    Rule::SuccessorWaitsForLease,
    Rule::LeaseTestedAfterRead,
    Rule::CommitBeforeLockReuse,
];

#[test]
fn every_planted_bug_is_caught() {
    const WITHIN_SEEDS: u64 = 3_000;
    let demanded =
        |planted: &Planted| !NOT_DEMANDED.iter().any(|rule| *planted == Planted::Rule(*rule));
    let mut escaped = Vec::new();
    for planted in Planted::all().filter(demanded) {
        let options = Options { planted: Some(planted), ..options() };
        let summary =
            run_seeds(&options, 0..WITHIN_SEEDS, threads(), &|outcome| outcome.failure.is_none());
        match summary.failures.first() {
            Some((seed, failure)) => println!(
                "{:<30} after {:>5} seeds, by seed {seed}: {:?}",
                planted.name(),
                summary.seeds,
                failure.check
            ),
            None => escaped.push(planted.name()),
        }
    }
    assert!(escaped.is_empty(), "not caught within {WITHIN_SEEDS} seeds: {escaped:?}");
}
