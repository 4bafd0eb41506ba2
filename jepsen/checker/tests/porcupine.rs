//! A second opinion on single keys, by Porcupine: its verdict and the checker's are the same.
//!
//! It needs Go. Without it the test says that it was not run, and fails if `HANDFAST_REQUIRE_GO` is set, as
//! `./check full` does.

use std::path::{Path, PathBuf};
use std::process::Command;

use handfast_checker::{
    Event, Format, History, Model, Options, Type, Validity, Value, check, generate, write,
};
use tempfile::TempDir;

/// Builds the program; `None` without Go.
fn program(folder: &Path) -> Option<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../porcupine");
    let program = folder.join("porcupine");
    let built =
        Command::new("go").arg("build").arg("-o").arg(&program).current_dir(source).output();
    match built {
        Ok(output) => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            Some(program)
        }
        Err(error) => {
            let required = std::env::var_os("HANDFAST_REQUIRE_GO").is_some();
            assert!(!required, "go cannot be run ({error}): install Go 1.22 or newer");
            eprintln!("NOT RUN: Porcupine needs Go 1.22 or newer, and it cannot be run: {error}");
            None
        }
    }
}

/// What Porcupine says.
fn porcupine(program: &Path, folder: &Path, events: &[Event]) -> Validity {
    let mut text = Vec::new();
    for event in events {
        write(&mut text, Format::JsonLines, event).expect("memory takes all");
    }
    let file = folder.join("history.jsonl");
    std::fs::write(&file, text).expect("a file in a temporary folder");
    let output = Command::new(program).arg(&file).output().expect("the program runs");
    match output.status.code() {
        Some(0) => Validity::Valid,
        Some(1) => Validity::Invalid,
        other => panic!("{other:?}: {}", String::from_utf8_lossy(&output.stderr)),
    }
}

/// Makes the last answered read that found something find nothing.
fn go_back(events: &mut [Event]) {
    let found = events.iter_mut().rev().filter(|event| event.kind == Type::Ok).find_map(|event| {
        let Value::List(parts) = &mut event.value else { return None };
        let Some(Value::List(part)) = parts.first_mut() else { return None };
        let reads = part[0].name() == Some("r") && !matches!(&part[2], Value::Nil);
        (reads && part[2] != Value::List(vec![])).then_some(&mut part[2])
    });
    *found.expect("some read found something") = Value::Nil;
}

#[test]
fn porcupine_and_the_checker_agree_on_single_keys() {
    let folder = TempDir::new().expect("a temporary folder");
    let Some(program) = program(folder.path()) else { return };
    for (seed, model) in (1..=6).zip([Model::Append, Model::Register].into_iter().cycle()) {
        let shape = generate::Shape {
            model,
            operations: 400,
            concurrency: 6,
            keys: 4,
            writes_per_key: 20,
            parts: 1,
            info_per_mille: 20,
            timestamps: false,
            seed,
        };
        let mut events: Vec<Event> = generate::Generator::new(shape).collect();
        for expected in [Validity::Valid, Validity::Invalid] {
            let history = History::from_events(&events).expect("a generated history");
            let verdict = check(&history, &Options::default());
            assert_eq!(verdict.valid, expected, "seed {seed}: {verdict}");
            assert_eq!(porcupine(&program, folder.path(), &events), expected, "seed {seed}");
            go_back(&mut events);
        }
    }
}
