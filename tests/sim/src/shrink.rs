//! A failing world made small, and told.

use crate::failure::Check;
use crate::fault::Fault;
use crate::plan::Options;
use crate::runner::{Outcome, run_seed};

/// Worlds that are run at most to find a smaller one.
const MOST_RUNS: u32 = 150;
/// Lines of a timeline that are told.
const TOLD_LINES: usize = 120;

/// A failing world as small as it was found.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// What runs it.
    pub options: Options,
    /// How it ends, with its timeline.
    pub outcome: Outcome,
    /// How many worlds were run to find it.
    pub runs: u32,
}

struct Search {
    check: Check,
    best: Options,
    runs: u32,
}

impl Search {
    /// Takes a smaller world if it still fails in the same way.
    fn try_one(&mut self, change: impl FnOnce(&mut Options)) -> bool {
        if self.runs == MOST_RUNS {
            return false;
        }
        self.runs += 1;
        let mut smaller = self.best.clone();
        change(&mut smaller);
        let fails = run_seed(&smaller).failure.is_some_and(|failure| failure.check == self.check);
        if fails {
            self.best = smaller;
        }
        fails
    }
}

/// Looks for a smaller world that fails in the same way: fewer namespaces, transactions and kinds of
/// faults, and faults that end sooner.
pub fn shrink(options: &Options, check: Check) -> Shrunk {
    let best = Options { trace: false, ..options.clone() };
    let mut search = Search { check, best, runs: 0 };
    search.try_one(|options| options.max_namespaces = Some(1));
    let strikes: Vec<Fault> = run_seed(&search.best)
        .faults
        .iter()
        .filter(|(_, n)| *n > 0)
        .map(|(fault, _)| fault)
        .collect();
    // Half of the kinds at once, then one by one: most have nothing to do with it.
    for half in strikes.chunks(strikes.len().div_ceil(2).max(1)) {
        search.try_one(|options| options.without.extend(half));
    }
    for fault in strikes {
        if !search.best.without.contains(&fault) {
            search.try_one(|options| options.without.push(fault));
        }
    }
    let mut until_us = run_seed(&search.best).simulated_us;
    for _ in 0..8 {
        until_us = until_us / 3 * 2;
        search.try_one(|options| options.faults_until_us = Some(until_us));
    }
    let mut txns = search.best.txns;
    for _ in 0..14 {
        let fewer = txns * 2 / 3;
        if fewer > 0 && search.try_one(|options| options.txns = fewer) {
            txns = fewer;
        } else {
            txns = txns.saturating_sub(1 + txns / 10);
            if txns == 0 || !search.try_one(|options| options.txns = txns) {
                break;
            }
        }
    }
    let outcome = run_seed(&Options { trace: true, ..search.best.clone() });
    Shrunk { options: search.best, outcome, runs: search.runs }
}

impl Shrunk {
    /// The last lines of the timeline that matter: faults, who leads, and everything about the
    /// transactions and rows that the failure names.
    pub fn story(&self) -> Vec<String> {
        let Some(failure) = &self.outcome.failure else { return Vec::new() };
        let named = ids_in(&failure.story);
        let matters = |line: &&String| {
            const ALWAYS: [&str; 8] =
                ["FAULT", "HEAL", "crashes", " starts", "Leading", "Halt", "cut:", "mended"];
            ALWAYS.iter().any(|word| line.contains(word))
                || named.iter().any(|id| line.contains(id.as_str()))
        };
        let lines: Vec<String> = self.outcome.timeline.iter().filter(matters).cloned().collect();
        let skip = lines.len().saturating_sub(TOLD_LINES);
        lines.into_iter().skip(skip).collect()
    }
}

/// What looks like a transaction's id (`018bcfe5-7552-7c64-90f5-2844788e3a60`).
fn ids_in(story: &str) -> Vec<String> {
    let is_part = |c: char| c.is_ascii_hexdigit() || c == '-';
    let mut ids: Vec<String> = story
        .split(|c| !is_part(c))
        .filter(|word| word.len() == 36 && word.matches('-').count() == 4)
        .map(str::to_owned)
        .collect();
    ids.sort();
    ids.dedup();
    ids
}

/// The command that runs a world again.
pub fn command(options: &Options) -> String {
    let mut line = format!(
        "cargo run --release -p handfast-sim -- run --seed {} --txns {}",
        options.seed, options.txns
    );
    if !options.without.is_empty() {
        let names: Vec<_> = options.without.iter().map(|fault| fault.name()).collect();
        line += &format!(" --without {}", names.join(","));
    }
    if let Some(focus) = options.focus {
        line += &format!(" --focus {}", focus.name());
    }
    if let Some(until_us) = options.faults_until_us {
        line += &format!(" --faults-until-us {until_us}");
    }
    if let Some(most) = options.max_namespaces {
        line += &format!(" --max-namespaces {most}");
    }
    if let Some(bug) = options.planted {
        line += &format!(" --plant {}", bug.name());
    }
    line + " --timeline"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bug::Bug;

    #[test]
    fn a_failing_world_is_made_smaller_and_told() {
        let bug = Bug::find("AbsentRowsLock").expect("the bug is in the list");
        let failing = (0..100)
            .map(|seed| Options::new(seed, 100).plant(bug))
            .find_map(|options| Some((options.clone(), run_seed(&options).failure?)));
        let (options, failure) = failing.expect("the bug is caught within a hundred seeds");
        let shrunk = shrink(&options, failure.check);
        let again = run_seed(&shrunk.options).failure.expect("the smaller world fails too");
        assert_eq!(again.check, failure.check);
        assert!(shrunk.options.txns < options.txns && shrunk.runs <= MOST_RUNS);
        assert!(!shrunk.story().is_empty(), "there is nothing to read");
        assert!(command(&shrunk.options).contains("--plant AbsentRowsLock"));
    }
}
