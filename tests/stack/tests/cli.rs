//! The command, from outside.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

fn stack(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_handfast-stack"))
        .args(args)
        .args(["--dir", folder.to_str().expect("a path")])
        .env_remove("HANDFAST_OUTPUT")
        .output()
        .expect("it runs")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn shown(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(output)))
}

/// Wipes also when a test fails.
struct Wiped(TempDir);

impl Drop for Wiped {
    fn drop(&mut self) {
        stack(self.0.path(), &["wipe"]);
    }
}

#[test]
fn a_stack_is_brought_up_mended_stopped_and_wiped() {
    let kept = Wiped(tempfile::tempdir().expect("a folder"));
    let folder = kept.0.path();
    let first = stack(folder, &["up", "--postgres"]);
    assert!(first.status.success(), "{}", said(&first));
    let pid = shown(&first)["servers"][0]["pid"].as_i64().expect("it runs");
    let url = shown(&first)["postgres"].clone();

    let again = stack(folder, &["up"]);
    assert!(again.status.success() && said(&again).contains("up already"), "{}", said(&again));
    assert_eq!(shown(&again)["servers"][0]["pid"].as_i64(), Some(pid));
    let other = stack(folder, &["up", "--kafka", "1"]);
    assert!(!other.status.success() && said(&other).contains("wipe it first"), "{}", said(&other));

    let killed = Command::new("sh").arg("-c").arg(format!("kill -9 {pid}")).status();
    assert!(killed.expect("a shell").success());
    // Killed and not yet gone, it does not answer, and is not down either.
    let show = loop {
        let show = stack(folder, &["show", "-o", "table"]);
        if String::from_utf8_lossy(&show.stdout).contains("down") {
            break show;
        }
    };
    assert_eq!(show.status.code(), Some(1));
    let mended = stack(folder, &["up"]);
    assert!(mended.status.success(), "{}", said(&mended));
    assert_eq!(shown(&mended)["postgres"], url, "addresses stay");

    assert!(stack(folder, &["down"]).status.success());
    assert_eq!(shown(&stack(folder, &["show"]))["serves"], false);
    assert!(stack(folder, &["wipe"]).status.success());
    assert!(!folder.exists());
    let nothing = stack(folder, &["show"]);
    assert!(said(&nothing).contains("`handfast-stack up` starts one"), "{}", said(&nothing));
}

#[test]
fn bad_input_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let two = stack(folder.path(), &["up", "--kafka", "2"]);
    assert!(said(&two).contains("choose 0, 1 or 3"), "{}", said(&two));
    std::fs::write(folder.path().join("mine"), "not a stack's").expect("written");
    let full = stack(folder.path(), &["up", "--postgres"]);
    assert!(said(&full).contains("files in it that are no stack's"), "{}", said(&full));
    assert!(folder.path().join("mine").exists());

    let folder = tempfile::tempdir().expect("a folder");
    let no_java = Command::new(env!("CARGO_BIN_EXE_handfast-stack"))
        .args(["up", "--kafka", "1", "--dir", folder.path().to_str().expect("a path")])
        .env("PATH", folder.path())
        .output()
        .expect("it runs");
    let said = said(&no_java);
    assert!(said.contains("java is missing: apt-get install default-jdk-headless"), "{said}");
}
