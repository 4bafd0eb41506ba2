//! The simulator's page says what is in the code.

use std::path::Path;

use handfast_sim::{Caught, Fault, Focus, all_bugs, table};

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/simulator.md");
    std::fs::read_to_string(path).expect("docs/simulator.md is there")
}

/// The rows of the table of bugs, without what was measured.
fn rows(of: &str) -> Vec<String> {
    let is_row = |line: &&str| line.starts_with("| ") && line.contains("| `");
    let known = |line: &str| line.split(" | ").take(5).collect::<Vec<_>>().join(" | ");
    let rows = of.lines().filter(is_row).map(|line| known(line.trim_end_matches(" |")));
    rows.collect()
}

#[test]
fn the_table_of_bugs_is_the_list() {
    let planned = |bug| Caught { bug, seeds: 0, check: None, unbroken: None };
    let list: Vec<Caught> = all_bugs().into_iter().map(planned).collect();
    let page = page();
    let begin = page.find("<!-- bugs -->").expect("the table begins with a mark");
    let end = page.find("<!-- /bugs -->").expect("the table ends with a mark");
    assert_eq!(
        rows(&page[begin..end]),
        rows(&table(&list, false)),
        "put what `handfast-sim bugs` prints between the marks of docs/simulator.md"
    );
    assert!(!page[begin..end].contains("**nothing**"), "a bug escaped");
}

#[test]
fn every_focus_is_told_and_the_kinds_of_faults_are_counted() {
    let page = page();
    for focus in Focus::ALL {
        assert!(page.contains(&format!("| `{}` |", focus.name())), "{focus:?} is not told");
    }
    let count = format!("{} kinds of faults", Fault::ALL.len());
    assert!(page.contains(&count), "docs/simulator.md does not say \"{count}\"");
}
