//! The rules of the house, as ARCHITECTURE.md tells them: who may know whom, and what engines may name.

use std::collections::BTreeMap;
use std::path::Path;

use handfast_docs_tests::{read, rust_files, without_tests};

/// What each crate of the product may use of the others.
const MAY_USE: [(&str, &[&str]); 10] = [
    ("wal-core", &[]),
    ("proto", &[]),
    ("participant", &["wal-core"]),
    ("control", &["wal-core", "delivery"]),
    ("coordinator", &["wal-core", "participant", "delivery", "handfast-proto"]),
    ("client", &["handfast-proto"]),
    ("delivery", &["wal-core", "participant"]),
    ("jepsen/checker", &[]),
    ("jepsen/maelstrom", &["wal-core", "participant", "coordinator", "handfast-checker"]),
    (
        "server",
        &[
            "wal-core",
            "participant",
            "coordinator",
            "control",
            "delivery",
            "handfast-proto",
            "handfast-client",
            "handfast-checker",
        ],
    ),
];

/// Where the crate of an engine meets the world.
const AT_THE_EDGE: [&str; 7] = [
    "delivery/src/caught.rs",
    "delivery/src/runtime",
    "delivery/src/target",
    "delivery/src/schedule/runtime.rs",
    "delivery/src/region/runtime.rs",
    "delivery/src/region/term.rs",
    "delivery/src/region/metrics.rs",
];

/// What engines may not name: runtimes, clocks, randomness, input and output, and maps whose order
/// differs from one process to the next.
const NOT_IN_ENGINES: [&str; 16] = [
    "tokio",
    "async ",
    "Instant::now",
    "SystemTime",
    "std::thread",
    "std::fs",
    "std::net",
    "std::io",
    "rand::",
    "Uuid::now",
    "HashMap",
    "HashSet",
    "tracing",
    "println!",
    "metrics::",
    "unsafe",
];

/// Where each outside system's crate may be named.
const ONLY_IN: [(&str, &[&str]); 9] = [
    ("fjall::", &["participant/src/store/embedded/"]),
    ("rdkafka::", &["wal-core/src/log/kafka/", "delivery/src/target/kafka"]),
    ("reqwest::", &["delivery/src/target/http"]),
    ("scylla::", &["participant/src/store/cassandra/"]),
    ("sqlx::", &["control/"]),
    ("rusqlite::", &[]),
    (
        "tonic::",
        &[
            "proto/",
            "client/",
            "coordinator/src/service/",
            "server/src/serve.rs",
            "server/src/control_plane.rs",
        ],
    ),
    ("axum::", &["server/src/http.rs", "server/src/serve.rs", "server/src/demo/shop.rs"]),
    ("clap::", &["server/src/", "tests/"]),
];

fn names(line: &str, word: &str) -> bool {
    let mut rest = line;
    while let Some(at) = rest.find(word) {
        let before = rest[..at].chars().next_back();
        let after = rest[at + word.len()..].chars().next();
        let part_of_a_word = |letter: Option<char>| {
            letter.is_some_and(|letter| letter.is_alphanumeric() || letter == '_')
        };
        let whole = !word.ends_with(|last: char| last.is_alphanumeric()) || !part_of_a_word(after);
        if whole && !part_of_a_word(before) {
            return true;
        }
        rest = &rest[at + word.len()..];
    }
    false
}

#[test]
fn words_are_found_whole() {
    assert!(names("use tokio::sync;", "tokio"));
    assert!(names("rand::random()", "rand::"));
    assert!(!names("operand::random()", "rand::"));
    assert!(!names("FxHashMap", "HashMap"));
}

#[test]
fn crates_use_only_those_below_them() {
    let ours: Vec<&str> = ["handfast"]
        .into_iter()
        .chain(["wal-core", "participant", "coordinator", "control", "delivery"])
        .chain(["handfast-proto", "handfast-client", "handfast-checker"])
        .collect();
    for (folder, allowed) in MAY_USE {
        let manifest: toml::Table =
            read(Path::new(folder).join("Cargo.toml")).parse().expect("a manifest");
        for section in ["dependencies", "build-dependencies"] {
            let Some(used) = manifest.get(section).and_then(toml::Value::as_table) else {
                continue;
            };
            for name in used.keys().filter(|name| ours.contains(&name.as_str())) {
                assert!(allowed.contains(&name.as_str()), "{folder} may not use {name}");
            }
        }
    }
}

#[test]
fn every_crate_of_the_product_is_under_the_rule() {
    let workspace: toml::Table = read("Cargo.toml").parse().expect("a manifest");
    let members = workspace["workspace"]["members"].as_array().expect("a list of members");
    for member in members {
        let member = member.as_str().expect("a path");
        let ruled = MAY_USE.iter().any(|(folder, _)| *folder == member);
        let is_test = ["tests/", "jepsen", "bench"].iter().any(|folder| member.starts_with(folder));
        assert!(ruled || is_test, "say in {} what {member} may use", file!());
    }
}

#[test]
fn engines_name_no_runtime_clock_randomness_or_unordered_map() {
    let mut named = Vec::new();
    for folder in [
        "participant/src/engine",
        "coordinator/src/engine",
        "delivery/src",
        "participant/src/follow",
        "coordinator/src/placement",
        "coordinator/src/quota",
    ] {
        for (path, text) in rust_files(folder) {
            if AT_THE_EDGE.iter().any(|edge| path.starts_with(edge)) {
                continue;
            }
            if path.ends_with("tests.rs") || path.components().any(|it| it.as_os_str() == "tests") {
                continue;
            }
            for line in without_tests(&text).lines() {
                for word in NOT_IN_ENGINES {
                    if names(line, word) || (word.starts_with("Hash") && line.contains(word)) {
                        named.push(format!("{}: {}", path.display(), line.trim()));
                    }
                }
            }
        }
    }
    assert!(named.is_empty(), "engines are pure:\n{}", named.join("\n"));
}

#[test]
fn outside_systems_are_named_where_they_may_be() {
    let mut named = Vec::new();
    for (path, text) in rust_files("") {
        let path = path.display().to_string();
        let is_test = ["tests/", "jepsen/"].iter().any(|folder| path.starts_with(folder))
            || path.contains("/tests/");
        for (word, places) in ONLY_IN {
            let allowed = places.iter().any(|place| path.starts_with(place));
            if !allowed && !is_test && without_tests(&text).lines().any(|line| names(line, word)) {
                named.push(format!("{path} names {word}"));
            }
        }
    }
    assert!(named.is_empty(), "{}", named.join("\n"));
}

#[test]
fn nothing_is_unwrapped() {
    let unwrapping = concat!(".unwrap", "()");
    let mut found = Vec::new();
    for (path, text) in rust_files("") {
        let lines = text.lines().enumerate().filter(|(_, line)| line.contains(unwrapping));
        found.extend(lines.map(|(number, _)| format!("{}:{}", path.display(), number + 1)));
    }
    assert!(found.is_empty(), "say with `expect` why it cannot fail:\n{}", found.join("\n"));
}

#[test]
fn no_file_is_too_long_to_read() {
    const MOST_LINES: usize = 600;
    let mut long = BTreeMap::new();
    for (path, text) in rust_files("") {
        let is_test = path.iter().any(|part| part == "tests") || path.ends_with("tests.rs");
        let lines = text.lines().count();
        if !is_test && lines > MOST_LINES {
            long.insert(path, lines);
        }
    }
    assert!(long.is_empty(), "split these: {long:?}");
}
