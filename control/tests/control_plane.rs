//! The control plane on real files.

use control::{Change, ControlError, ControlPlane, OpenError};
use proptest::prelude::*;
use sqlx::Connection;
use tempfile::TempDir;
use wal_core::Millis;

const BANK: &str = r#"
# The ledger of the demo.
name = "bank"
shards = 8

[[table]]
cql = "CREATE TABLE accounts (id text PRIMARY KEY, balance bigint)"
"#;

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

async fn open(folder: &TempDir) -> ControlPlane {
    ControlPlane::open(folder.path().join("control.db")).await.expect("a database")
}

fn by(by: &'static str, at: u64) -> Change<'static> {
    Change { by, note: "a note", at: Millis(at), expected_version: None }
}

fn from(version: u32) -> Change<'static> {
    Change { expected_version: Some(version), ..by("ada", 9) }
}

fn with_in_flight(count: u32) -> String {
    format!("{BANK}\n[limits]\nin_flight = {count}\n")
}

#[tokio::test]
async fn a_namespace_is_created_changed_and_found_again_after_a_restart() {
    let folder = folder();
    let control = open(&folder).await;
    let first = control.create(BANK, &by("ada", 1)).await.expect("created");
    assert_eq!((first.namespace.version(), first.namespace.shards()), (1, 8));
    let second = control.change(&with_in_flight(7), &from(1)).await.expect("changed");
    assert_eq!((second.namespace.version(), second.namespace.limits().in_flight), (2, 7));
    control.close().await;

    let control = open(&folder).await;
    assert_eq!(control.describe("bank", None).await.expect("current"), second);
    let old = control.describe("bank", Some(1)).await.expect("the first");
    assert_eq!(old, first);
    assert!(old.source.contains("# The ledger of the demo."));
    let history = control.history("bank", None, 10).await.expect("a history");
    assert_eq!(history, [second.entry.clone(), first.entry.clone()]);
    assert_eq!(control.history("bank", Some(2), 10).await.expect("older"), [first.entry]);
    assert_eq!(control.history("bank", Some(1), 10).await.expect("none"), []);
    assert_eq!(control.history("bank", None, 1).await.expect("newest"), history[..1]);
    let list = control.list().await.expect("a list");
    assert_eq!((list.len(), list[0].name.as_str(), &list[0].current), (1, "bank", &second.entry));
}

#[tokio::test]
async fn a_change_from_an_old_version_is_a_conflict() {
    let folder = folder();
    let control = open(&folder).await;
    control.create(BANK, &by("ada", 1)).await.expect("created");
    control.change(&with_in_flight(7), &from(1)).await.expect("changed");
    let error = control.change(&with_in_flight(8), &from(1)).await.expect_err("too late");
    assert!(matches!(error, ControlError::Conflict { expected: 1, current: 2, .. }), "{error}");
    assert_eq!(control.describe("bank", None).await.expect("current").namespace.version(), 2);
}

#[tokio::test]
async fn of_many_changes_at_once_each_version_is_made_by_one() {
    let folder = folder();
    let control = open(&folder).await;
    control.create(BANK, &by("ada", 1)).await.expect("created");
    let mut tasks = Vec::new();
    for number in 0..8 {
        // Half of them through a second opening of the same file, as another process would.
        let control = if number % 2 == 0 { control.clone() } else { open(&folder).await };
        tasks.push(tokio::spawn(async move {
            control.change(&with_in_flight(100 + number), &from(1)).await
        }));
    }
    let mut won = 0;
    for task in tasks {
        match task.await.expect("no panic") {
            Ok(described) => {
                assert_eq!(described.namespace.version(), 2);
                won += 1;
            }
            Err(ControlError::Conflict { expected: 1, current: 2, .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(won, 1);
    assert_eq!(control.history("bank", None, 10).await.expect("a history").len(), 2);
}

#[tokio::test]
async fn what_changes_nothing_makes_no_version() {
    let folder = folder();
    let control = open(&folder).await;
    let first = control.create(BANK, &by("ada", 1)).await.expect("created");
    let spelled_out = first.namespace.to_toml();
    let same = control.change(&spelled_out, &by("bob", 2)).await.expect("nothing to do");
    assert_eq!(same, first);
}

#[tokio::test]
async fn bad_files_and_names_change_nothing_and_say_what_to_do() {
    let folder = folder();
    let control = open(&folder).await;
    let error = control.change(BANK, &by("ada", 1)).await.expect_err("not created yet");
    assert_eq!(error.to_string(), "there is no namespace \"bank\"");
    let error = control.create("name = 'bank'", &by("ada", 1)).await.expect_err("no table");
    assert!(matches!(error, ControlError::Invalid(_)));
    assert_eq!(control.list().await.expect("a list"), []);

    control.create(BANK, &by("ada", 1)).await.expect("created");
    let error = control.create(BANK, &by("bob", 2)).await.expect_err("it exists");
    assert!(matches!(error, ControlError::Exists { version: 1, .. }), "{error}");
    let fewer = BANK.replace("shards = 8", "shards = 4");
    let error = control.change(&fewer, &from(1)).await.expect_err("shards may not change");
    assert!(matches!(error, ControlError::ChangeRefused(_)), "{error}");
    let error = control.validate(&fewer).await.expect_err("the same");
    assert!(matches!(error, ControlError::ChangeRefused(_)), "{error}");
    assert_eq!(control.validate(&with_in_flight(3)).await.expect("good").version(), 2);

    let error = control.describe("bnak", None).await.expect_err("misspelt");
    assert_eq!(error.to_string(), "there is no namespace \"bnak\": did you mean \"bank\"?");
    let error = control.describe("bank", Some(7)).await.expect_err("not made yet");
    assert_eq!(error.to_string(), "there is no version 7 of \"bank\": its newest is 1");
    assert!(control.history("bnak", None, 9).await.is_err());
    let long = "x".repeat(control::MAX_NOTE_BYTES + 1);
    let change = Change { note: &long, ..by("ada", 1) };
    let error = control.change(&with_in_flight(5), &change).await.expect_err("too long");
    assert!(matches!(error, ControlError::NoteTooLong));
    let huge = format!("{BANK}#{}", "x".repeat(control::MAX_FILE_BYTES));
    assert!(matches!(
        control.create(&huge, &by("ada", 1)).await,
        Err(ControlError::FileTooLarge { .. })
    ));
    assert_eq!(control.history("bank", None, 9).await.expect("a history").len(), 1);
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused_and_left_alone() {
    let folder = folder();
    open(&folder).await.close().await;
    run(
        &folder,
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                  VALUES (9999, 'from the future', TRUE, X'00', 0)",
    )
    .await;
    let path = folder.path().join("control.db");
    let error = ControlPlane::open(&path).await.expect_err("too new");
    assert!(matches!(error, OpenError::TooNew { found: 9999, known: 1, .. }), "{error}");
    assert!(error.to_string().contains("newer version of Handfast"));
    run(&folder, "DELETE FROM _sqlx_migrations WHERE version = 9999").await;
    open(&folder).await;
    run(&folder, "UPDATE _sqlx_migrations SET checksum = X'00'").await;
    let error = ControlPlane::open(&path).await.expect_err("another migration");
    assert!(matches!(error, OpenError::Foreign { migration: 1, .. }), "{error}");
}

#[tokio::test]
async fn a_damaged_version_is_told_and_never_used() {
    let folder = folder();
    let control = open(&folder).await;
    control.create(BANK, &by("ada", 1)).await.expect("created");
    run(&folder, "UPDATE namespace_versions SET canonical = 'name = 7'").await;
    let error = control.describe("bank", None).await.expect_err("damaged");
    assert!(matches!(error, ControlError::Damaged { version: 1, .. }), "{error}");
}

#[tokio::test]
async fn a_file_that_is_no_database_or_cannot_be_made_is_refused() {
    let folder = folder();
    let path = folder.path().join("control.db");
    std::fs::write(&path, "x".repeat(4096)).expect("written");
    let error = ControlPlane::open(&path).await.expect_err("no database");
    assert!(error.to_string().starts_with("cannot open the control database"), "{error}");
    assert!(ControlPlane::open(folder.path().join("nowhere/control.db")).await.is_err());
}

/// Runs a statement behind the control plane's back.
async fn run(folder: &TempDir, statement: &'static str) {
    let url = format!("sqlite://{}", folder.path().join("control.db").display());
    let mut connection = sqlx::SqliteConnection::connect(&url).await.expect("a database");
    sqlx::query(statement).execute(&mut connection).await.expect("a good statement");
    connection.close().await.expect("closed");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Whatever is done in whatever order, each version's number is one more than the last, and every
    /// version reads back as it was made.
    #[test]
    fn versions_are_numbered_without_gaps(steps in proptest::collection::vec((1u32..6, 0u32..5), 1..8)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let folder = folder();
            let control = open(&folder).await;
            let mut made = vec![control.create(BANK, &by("ada", 1)).await.expect("created")];
            for (expected, in_flight) in steps {
                let current = made.last().expect("never empty").clone();
                let result = control.change(&with_in_flight(in_flight + 1), &from(expected)).await;
                match result {
                    Ok(next) if next != current => {
                        assert_eq!(expected, current.namespace.version());
                        assert_eq!(next.namespace.version(), expected + 1);
                        made.push(next);
                    }
                    Ok(_) => assert_eq!(expected, current.namespace.version()),
                    Err(error) => {
                        assert!(matches!(error, ControlError::Conflict { .. }), "{error}");
                        assert_ne!(expected, current.namespace.version());
                    }
                }
            }
            for described in &made {
                let version = described.namespace.version();
                assert_eq!(&control.describe("bank", Some(version)).await.expect("kept"), described);
            }
        });
    }
}
