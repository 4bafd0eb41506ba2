//! Scripts that a seed draws.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Steps of one script.
const STEPS: usize = 20;
const ROWS: [&str; 4] = ["a", "b", "c", "d"];

fn pick<'a>(random: &mut StdRng, all: &[&'a str]) -> &'a str {
    all[random.random_range(0..all.len())]
}

/// One change at that time.
fn change(random: &mut StdRng, at: i64) -> String {
    let column = pick(random, &["x", "y", "z"]);
    match random.random_range(0..10) {
        0 => format!("delete@{at}"),
        1 | 2 => format!("insert@{at}"),
        3 | 4 => format!("{column}=null@{at}"),
        _ if column == "z" => format!("z={}@{at}", pick(random, &["-1", "0", "1", "7"])),
        _ => format!("{column}={}@{at}", pick(random, &["''", "a", "aa", "b", "ü"])),
    }
}

/// Steps at any times, from a range so small that ties are common, in any order, some of them again.
pub fn random(seed: u64) -> Vec<String> {
    let random = &mut StdRng::seed_from_u64(seed);
    let mut steps: Vec<String> = Vec::new();
    let changes = |random: &mut StdRng, most: u32| {
        let count = random.random_range(1..=most);
        (0..count).fold(pick(random, &ROWS).to_owned(), |all, _| {
            let at = random.random_range(1..=9);
            format!("{all} {}", change(random, at))
        })
    };
    while steps.len() < STEPS {
        steps.push(match random.random_range(0..10) {
            0..=4 => {
                let count = random.random_range(1..=4);
                let all: Vec<String> = (0..count).map(|_| changes(random, 3)).collect();
                format!("apply {}", all.join("; "))
            }
            5 if steps.iter().any(|step| step.starts_with("apply")) => "again".to_owned(),
            5 | 6 => format!("others {}", changes(random, 2)),
            _ => format!("read {} {}", pick(random, &ROWS), pick(random, &ROWS)),
        });
    }
    steps.push("read a b c d".to_owned());
    steps
}

/// Steps whose times rise, as those of commits do: each row is read, kept in memory, and must be there what it
/// is in the tables, whenever memory says that it knows.
pub fn rising(seed: u64) -> Vec<String> {
    let random = &mut StdRng::seed_from_u64(seed);
    let mut steps = vec!["keep a".to_owned(), "keep b".to_owned()];
    for at in 1..=(STEPS as i64 / 2) {
        let row = pick(random, &ROWS[..2]);
        // All that one transaction does to a row has its commit's time, or its puts' that one beside it.
        let count = random.random_range(1..=2);
        let changes: Vec<String> = (0..count).map(|_| change(random, at * 8)).collect();
        steps.push(format!("apply {row} {}", changes.join(" ")));
        steps.push(format!("kept {row}"));
        steps.push(format!("read {row}"));
        if random.random_ratio(1, 4) {
            steps.push(format!("keep {row}"));
        }
    }
    steps
}
