//! Many worlds, each fully checked; the same seed twice; and bugs put in on purpose, each of them found.

use std::process::Command;

use handfast_sim::{
    BUGS, Focus, Options, all_bugs, command, plant_all, run_seed, run_seeds, table,
};

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[test]
fn a_thousand_worlds_hold_and_every_kind_of_fault_and_event_happens() {
    let base = Options::new(0, 100);
    let summary = run_seeds(&base, 0..1_000, threads(), &|_| true);
    for (fault, count) in summary.faults.iter() {
        println!("{:<20} {count:>9}", fault.name());
    }
    for (name, count) in &summary.counts {
        println!("{name:<28} {count:>9}");
    }
    for (seed, failure) in &summary.failures {
        let again = command(&Options { seed: *seed, ..base.clone() });
        println!("seed {seed} FAILED {failure}\n  again: {again}");
    }
    assert!(summary.failures.is_empty(), "{} worlds failed", summary.failures.len());
    assert!(summary.faults.never().is_empty(), "never struck: {:?}", summary.faults.never());
    assert!(summary.never().is_empty(), "never happened: {:?}", summary.never());
    assert!(summary.committed > 30_000, "only {} transactions committed", summary.committed);
}

#[test]
fn the_same_seed_is_the_same_world_here_and_in_another_process() {
    for seed in 0..10 {
        let options = Options::new(seed, 100);
        let first = run_seed(&options);
        let second = run_seed(&options);
        assert_eq!(first.trace_hash, second.trace_hash, "seed {seed} differs within a process");
        let output = Command::new(env!("CARGO_BIN_EXE_handfast-sim"))
            .args(["run", "--seed", &seed.to_string(), "--txns", "100", "--json"])
            .output()
            .expect("the simulator starts");
        let json: serde_json::Value =
            serde_json::from_slice(&output.stdout).expect("the simulator prints JSON");
        let hash = format!("{:016x}", first.trace_hash);
        assert_eq!(json["trace_hash"], hash, "seed {seed} differs between processes");
    }
}

/// Worlds that found something, and what: they must hold from then on.
const FOUND: [(u64, u32, &str); 3] = [
    (556, 300, "a memory full of open transactions refused their next attempts for ever"),
    (110, 100, "what was due later was told anew by its row's own time, and then lost"),
    (7068, 300, "a deposed leader condemned a transaction for what it remembered of a row"),
];

#[test]
fn worlds_that_found_something_hold() {
    for (seed, txns, what) in FOUND {
        let failure = run_seed(&Options::new(seed, txns)).failure;
        assert!(failure.is_none(), "seed {seed} ({what}): {failure:?}");
    }
}

#[test]
fn worlds_of_every_focus_hold() {
    for focus in Focus::ALL {
        let base = Options { focus: Some(focus), ..Options::new(0, 100) };
        let summary = run_seeds(&base, 0..100, threads(), &|_| true);
        for (seed, failure) in &summary.failures {
            println!("seed {seed} FAILED {failure}\n  again: {}", command(&base));
        }
        assert!(summary.failures.is_empty(), "{focus:?}: {} worlds failed", summary.failures.len());
    }
}

#[test]
fn every_planted_bug_is_caught_within_a_thousand_seeds() {
    let results = plant_all(&all_bugs(), 1_000, 100, threads());
    println!("{}", table(&results, true));
    let escaped: Vec<String> =
        results.iter().filter(|c| c.check.is_none()).map(|c| c.bug.name()).collect();
    assert!(escaped.is_empty(), "not caught within 1,000 seeds: {escaped:?}");
    for caught in &results {
        assert!(caught.unbroken.is_none(), "fails without a bug: {:?}", caught.unbroken);
    }
}

#[test]
fn all_thirty_seven_are_in_the_list_once() {
    let numbers: Vec<u8> = BUGS.iter().filter_map(|bug| bug.number).collect();
    assert_eq!(numbers, (1..=37).collect::<Vec<u8>>());
    let mut names: Vec<String> = BUGS.iter().map(handfast_sim::Bug::name).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), BUGS.len(), "two bugs are the same");
}
