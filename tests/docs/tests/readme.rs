//! The README is true: its blocks are the files that it names, and they work.

use std::process::Command;

use handfast_docs_tests::{Page, Server, read};
use serde_json::Value;

#[test]
fn its_blocks_are_the_files() {
    let page = Page::open("README.md");
    for (language, file) in [
        ("toml", "examples/bank.toml"),
        ("json", "examples/transfer.json"),
        ("rust", "client/examples/smallest.rs"),
    ] {
        assert_eq!(page.block(language), read(file), "README.md does not show {file} as it is");
        assert!(page.text().contains(&format!("`{file}`")), "README.md does not name {file}");
    }
}

#[test]
fn it_fits_a_screen_or_two() {
    let lines = Page::open("README.md").text().lines().count();
    assert!(lines <= 115, "README.md has {lines} lines: move something to docs/");
}

#[test]
fn what_it_shows_works() {
    let page = Page::open("README.md");
    let server = Server::start();
    server.check("handfast namespace create examples/bank.toml");
    let blocks = page.blocks("sh");
    let client = blocks
        .iter()
        .flat_map(|block| block.lines())
        .filter(|line| line.starts_with("handfast ") && !line.starts_with("handfast serve"));
    let (mut ran, mut last) = (0, String::new());
    for line in client {
        last = server.check(line);
        ran += 1;
    }
    assert_eq!(ran, 3, "README.md shows another number of client commands");
    assert_eq!(balance(&last), 70, "the batch that README.md shows moves 30");

    // The program moves 30 twice; then there is too little.
    for said in ["committed at ", "committed at ", "aborted, nothing was written: condition 0 "] {
        let output = Command::new(env!("CARGO_BIN_EXE_readme-smallest"))
            .env("HANDFAST_ENDPOINT", server.endpoint())
            .output()
            .expect("the program runs");
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && printed.starts_with(said), "{output:?}");
    }
    let alice = server.check("handfast read --namespace bank accounts alice");
    assert_eq!(balance(&alice), 10);
}

fn balance(rows: &str) -> i64 {
    let rows: Value = serde_json::from_str(rows).expect("rows as JSON");
    rows[0]["columns"]["balance"].as_i64().expect("a balance")
}
