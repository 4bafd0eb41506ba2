//! Plants every bug in turn, and says which check caught it and after how many seeds.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::bug::{BUGS, Bug};
use crate::failure::{Check, Failure};
use crate::plan::Options;
use crate::runner::run_seed;

/// What came of one planted bug.
#[derive(Clone, Debug)]
pub struct Caught {
    /// The bug.
    pub bug: &'static Bug,
    /// How many seeds were run: the last one caught it, if any did.
    pub seeds: u64,
    /// Which check caught it; `None` if it escaped.
    pub check: Option<Check>,
    /// Worlds among these that fail without the bug too: then nothing was proved.
    pub unbroken: Option<(u64, Failure)>,
}

/// Runs worlds with this bug until one fails, then the same worlds without it.
pub fn plant(bug: &'static Bug, most_seeds: u64, txns: u32) -> Caught {
    let options = |seed| Options::new(seed, txns).plant(bug);
    let mut caught = Caught { bug, seeds: 0, check: None, unbroken: None };
    while caught.check.is_none() && caught.seeds < most_seeds {
        caught.check = run_seed(&options(caught.seeds)).failure.map(|failure| failure.check);
        caught.seeds += 1;
    }
    caught.unbroken = (0..caught.seeds).find_map(|seed| {
        let whole = Options { planted: None, ..options(seed) };
        Some((seed, run_seed(&whole).failure?))
    });
    caught
}

/// Every bug, on so many threads, in the order of the list.
pub fn plant_all(bugs: &[&'static Bug], most_seeds: u64, txns: u32, threads: usize) -> Vec<Caught> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(bug) = bugs.get(index) else { return done };
            done.push((index, plant(bug, most_seeds, txns)));
        }
    };
    let mut all: Vec<(usize, Caught)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        let join = |worker: std::thread::ScopedJoinHandle<'_, Vec<_>>| {
            worker.join().expect("a worker catches the panics of its worlds")
        };
        workers.into_iter().flat_map(join).collect()
    });
    all.sort_by_key(|(index, _)| *index);
    all.into_iter().map(|(_, caught)| caught).collect()
}

/// Every bug there is.
pub fn all_bugs() -> Vec<&'static Bug> {
    BUGS.iter().collect()
}

/// The table as the documentation has it. The counts of seeds change with every change of a world, so
/// they are left out where `counts` is false.
pub fn table(results: &[Caught], counts: bool) -> String {
    let mut table = String::from("| # | rule or mistake | what goes wrong | planted in | worlds |");
    table += if counts { " caught by | seeds |\n" } else { "\n" };
    table += "|---:|---|---|---|---|";
    table += if counts { "---|---:|\n" } else { "\n" };
    for caught in results {
        let bug = caught.bug;
        let number = bug.number.map_or_else(|| "+".to_owned(), |number| number.to_string());
        let focus = bug.focus.map_or_else(|| "all".to_owned(), crate::focus::Focus::name);
        let (name, place) = (bug.name(), bug.planted_in());
        table += &format!("| {number} | `{name}` | {} | {place} | {focus} |", bug.what);
        if counts {
            let check = caught.check.map_or_else(|| "**nothing**".to_owned(), |c| format!("{c:?}"));
            table += &format!(" {check} | {} |", caught.seeds);
        }
        table.push('\n');
    }
    table
}
